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
    scored = candidates.load_scored(folder, list(fake_runs.RUNS), "holdout")
    assert list(scored) == list(fake_runs.RUNS)
    ids, probs = store.load_probs(folder, "densenet-rgby-none", "holdout")
    for array, expected in zip(scored["densenet-rgby-none"], (None, probs, None), strict=True):
        assert len(array) == len(ids) and (expected is None or (array == expected).all())
    np.testing.assert_array_equal(scored["densenet-rgby-none"][0], store.load_truth(folder, ids)[0])


@pytest.mark.parametrize("has_holdout", [True, False])
@pytest.mark.parametrize("fill_empty", [True, False])
def test_every_candidate_is_tuned_cross_fitted_and_judged_by_one_rule(folder, has_holdout, fill_empty):
    run = "resnet18-rgby-none"
    labels, probs, _ = candidates.load_scored(folder, [run], "val")[run]
    _, holdout_probs, _ = candidates.load_scored(folder, [run], "holdout")[run]
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
