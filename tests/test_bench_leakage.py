"""What bench/leakage.py compares: copies that the finder does and does not know, and folds that part them or not."""

import importlib.util

import numpy as np
import pandas as pd
import pytest

import hpa_synth
from hpa_lib import paths, store
from hpa_lib.data import duplicates, splits


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_leakage", paths.PROJECT / "bench" / "leakage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("kind", "is_found"), [("again", True), ("turned", False)])
def test_the_finder_knows_a_field_recorded_again_and_no_turned_one(bench, kind, is_found):
    image = hpa_synth.render(0, 0, [0], 96, 0.739)
    copy = bench.make_copy(image, kind, np.random.default_rng(0))
    assert copy.shape == image.shape and copy.dtype == np.uint8 and (copy != image).any()
    pairs, _ = duplicates.find_pairs(duplicates.hash_images(np.stack([image, copy])))
    assert len(pairs) == is_found


def test_optimism_is_what_the_copies_give_away(bench):
    random = np.random.default_rng(0)

    def make_set():
        """Features that say nothing about the labels, each image twice."""
        values, labels = random.normal(size=(300, 5)), random.integers(0, 2, (300, 28)).astype(np.uint8)
        return {"values": values.repeat(2, axis=0), "labels": labels.repeat(2, axis=0), "groups": np.arange(600) // 2}

    data, fresh = make_set(), make_set()
    fresh_folds = splits.make_folds(fresh["labels"], fresh["groups"], bench.FOLDS, 0)
    found = {}
    for name, groups in {"images": np.arange(600), "groups": data["groups"]}.items():
        folds = splits.make_folds(data["labels"], groups, bench.FOLDS, 0)
        found[name] = bench.score("nearest", data, folds, fresh, fresh_folds)["optimism_f1"]
    assert found["images"] > 0.2 and abs(found["groups"]) < 0.05, found


def test_the_stored_table_says_what_the_page_says():
    table = pd.read_csv(store.REFERENCE / "leakage" / "leakage.csv").set_index(["copies", "split"])
    assert (table.loc[("some", "images"), ["low_ap", "low_f1"]] > 0).all(axis=None), "random folds promise too much"
    assert (table.loc[("some", "groups.csv"), "parted"] == 0).all(), "groups.csv parts no copies"
    found = table.loc[("some", "near-duplicates")].iloc[0]
    assert found["found_again"] > 0.9 and found["found_turned"] < 0.1
