"""All ways to choose thresholds on one run: what is tuned, what is cross-fitted, what is judged."""

import fake_runs
import numpy as np
import pytest

from hpa_lib import store
from hpa_lib.decisions import candidates, metrics, thresholds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    fake_runs.write_out(folder / "out", folder / "data", num_images=400)
    return folder / "out"


def test_each_run_is_loaded_with_the_truth_of_its_images(folder):
    labels, probs, groups = store.load_scored(folder, "densenet-rgby-none", "holdout")
    ids, expected = store.load_probs(folder, "densenet-rgby-none", "holdout")
    np.testing.assert_array_equal(probs, expected)
    for array, expected in zip((labels, groups), store.load_truth(folder, ids), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("has_holdout", [True, False])
@pytest.mark.parametrize("fill_empty", [True, False])
def test_every_candidate_is_tuned_cross_fitted_and_judged_by_one_rule(folder, has_holdout, fill_empty):
    run = "resnet18-rgby-none"
    labels, probs, _ = store.load_scored(folder, run, "val")
    _, holdout_probs, _ = store.load_scored(folder, run, "holdout")
    probs, holdout_probs, folds = probs / 3, holdout_probs / 3, np.arange(len(labels)) % 3  # .5 leaves all rows empty
    table = candidates.evaluate(labels, probs, folds, holdout_probs if has_holdout else None, fill_empty)
    assert table["name"].tolist() == list(thresholds.CANDIDATES)
    row = table.set_index("name").loc["exact"]
    tuned, crossed = thresholds.tune(labels, probs), thresholds.cross_fit(labels, probs, folds, "exact", fill_empty)
    np.testing.assert_array_equal(row["thresholds"], tuned)
    assert row["tuned_on"] == metrics.macro_f1(labels, thresholds.apply(probs, tuned, fill_empty))
    assert row["cross_fitted"] == metrics.macro_f1(labels, crossed)
    assert row["class_optimism"].mean() == pytest.approx(row["optimism"])
    expected = thresholds.apply(holdout_probs, tuned, fill_empty) if has_holdout else crossed
    np.testing.assert_array_equal(row["preds"], expected)
    half = table.set_index("name").loc["half"]
    assert not half["unfilled"].any() and half["preds"].any(axis=1).all() == fill_empty
