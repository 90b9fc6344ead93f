"""Members and ensembles on every split part: loaded, averaged, decided with thresholds, united, left out."""

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import store
from hpa_lib.decisions import answers, ensemble, thresholds

FOLDS = np.arange(400) % 3


@pytest.fixture(scope="module")
def case():
    """Labels, and the probabilities of three members on validation and of the same labels on a hold-out."""
    generator = np.random.default_rng(0)
    labels = fake_runs.draw_labels(generator, 400)
    probs = {"val": {}, "holdout": {}}
    for part in probs:
        shared = generator.normal(size=labels.shape)
        for name, sharpness in (("a", 0.9), ("b", 1.2), ("c", 1.5)):
            probs[part][name] = fake_runs.draw_probs(generator, labels, sharpness, shared)
    return labels, probs


def test_members_are_loaded_by_part_with_their_folds_joined(tmp_path):
    fake_runs.write_out(tmp_path / "out", tmp_path / "data", {"a-x-y": 1.0, "a-x-y-fold1": 1.0}, num_images=200)
    members = {"a-x-y": ["a-x-y", "a-x-y-fold1"]}
    ids, probs = answers.load_members(tmp_path / "out", members, has_test=False)
    assert list(ids) == list(probs) == ["val", "holdout"]
    parts = [store.load_probs(tmp_path / "out", run, "val") for run in members["a-x-y"]]
    assert set(ids["val"]) == {image_id for part_ids, _ in parts for image_id in part_ids}
    assert probs["val"]["a-x-y"].shape == (len(ids["val"]), 28)
    assert list(answers.load_members(tmp_path / "out", members, has_test=True)[0]) == ["val", "holdout", "test"]


def test_averages_follow_the_members_and_out_of_fold_ones_differ_from_fitted_ones(case):
    labels, probs = case
    fitted = answers.fit(labels, probs["val"])
    averaged = answers.average(probs["val"], fitted)
    assert list(averaged) == ["a", "b", "c", "mean", "geometric mean", "rank mean", "weighted mean", "stacked"]
    probs_list = list(probs["val"].values())
    np.testing.assert_array_equal(averaged["stacked"], ensemble.stack(probs_list, fitted["stacked"]))
    united = answers.combine_labels(dict.fromkeys("abc", labels), ["a", "b", "c"], ["a", "b"])
    words = {name for name in [*averaged, *united] if " " not in name} - set("abc")
    assert words <= set(store.TAKEN)  # no run may have the name of an ensemble
    crossed = answers.fit_out_of_fold(labels, probs["val"], FOLDS)
    assert list(crossed) == ["weighted mean", "stacked"]
    expected = ensemble.out_of_fold(labels, probs_list, FOLDS, ensemble.fit_stacker, ensemble.stack)
    np.testing.assert_array_equal(crossed["stacked"], expected)


def test_validation_is_cross_fitted_and_thresholds_of_fold_means_are_carried_over(case):
    labels, probs = case
    tuned, preds = answers.decide(labels, probs, {"a": probs["val"]["a"]}, FOLDS, "exact", True, is_folded=False)
    np.testing.assert_array_equal(tuned["holdout"]["b"], thresholds.tune(labels, probs["val"]["b"], "exact"))
    crossed = thresholds.cross_fit(labels, probs["val"]["a"], FOLDS, "exact", True)
    assert list(preds["val"]) == ["a"] and (preds["val"]["a"] == crossed).all() and preds["holdout"]["c"].any(1).all()
    carried, carried_preds = answers.decide(labels, probs, {}, FOLDS, "exact", False, is_folded=True)
    expected = answers.carry_over(tuned["val"]["b"], probs["val"]["b"], probs["holdout"]["b"])
    np.testing.assert_array_equal(carried["holdout"]["b"], expected)
    np.testing.assert_array_equal(carried["val"]["b"], tuned["val"]["b"])
    np.testing.assert_array_equal(carried_preds["holdout"]["b"], thresholds.apply(probs["holdout"]["b"], expected))
    flat, _ = answers.decide(labels, probs, {}, FOLDS, "half", False, is_folded=True)
    assert (flat["holdout"]["b"] == 0.5).all()


def test_members_are_ranked_and_paired(case):
    labels, _ = case
    preds = {"bad": 1 - labels, "good": labels, "mean": labels}
    assert answers.rank_members(labels, preds, ["bad", "good"]) == ["good", "bad"]
    assert answers.choose_pair("", ["good", "bad", "other"]) == ["good", "bad"]
    assert answers.choose_pair(" other, bad ", ["good", "bad", "other"]) == ["other", "bad"]
    assert answers.choose_pair("", ["good"]) == ["good"]
    for names in ("bad", "bad,bad", "bad,typo"):
        with pytest.raises(ValueError, match="name two different ones of good, bad"):
            answers.choose_pair(names, ["good", "bad"])


def test_label_sets_are_combined_and_only_the_smaller_ones_filled(case):
    _, probs = case
    preds = {name: np.zeros((2, 28), np.uint8) for name in "abc"}
    preds["a"][0, 1] = preds["b"][0, 1] = preds["c"][0, 2] = preds["c"][1, 3] = 1
    bare = answers.combine_labels(preds, ["a", "b", "c"], ["a", "b"])
    labels_of = {name: [np.flatnonzero(row).tolist() for row in array] for name, array in bare.items()}
    assert labels_of["union of two"] == [[1], []] and labels_of["union of all"] == [[1, 2], [3]]
    assert labels_of["intersection"] == [[], []] and labels_of["majority vote"] == [[1], []]
    filling = probs["val"]["a"][:2]
    filled = answers.combine_labels(preds, ["a", "b", "c"], ["a", "b"], filling)
    assert filled["intersection"].argmax(axis=1).tolist() == filling.argmax(axis=1).tolist()
    assert (
        not filled["union of two"][1].any() and filled["majority vote"][0].tolist() == bare["majority vote"][0].tolist()
    )


def test_half_of_the_members_are_no_majority():
    preds = {name: np.full((1, 28), name in "ab", np.uint8) for name in "abcd"}
    assert not answers.combine_labels(preds, list("abcd"), ["a", "b"])["majority vote"].any()


def test_thresholds_are_carried_over_to_as_many_predictions(case):
    _, probs = case
    source, target = probs["val"]["a"], probs["holdout"]["a"] / 3
    tuned = np.full(28, 0.4)
    carried = answers.carry_over(tuned, source, target)
    np.testing.assert_allclose((target >= carried).mean(axis=0), (source >= tuned).mean(axis=0), atol=0.01)
    assert answers.carry_over(tuned, source, target[:0]) is tuned


def test_leaving_out_combines_all_others():
    arrays = {name: np.full((1, 28), value) for name, value in (("a", 0.1), ("b", 0.3), ("c", 0.8), ("mean", 0.0))}
    left = answers.leave_one_out(arrays, ["a", "b", "c"], ensemble.mean)
    assert {name: round(float(array[0, 0]), 2) for name, array in left.items()} == {"a": 0.55, "b": 0.45, "c": 0.2}
    assert answers.leave_one_out(arrays, ["a"], ensemble.mean) == {}
    assert list(answers.leave_one_out(arrays, ["a", "b"], ensemble.mean)) == ["a", "b"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "not told apart")]
    + [(0.0, 0.2, "not told apart"), (-0.2, 0.0, "not told apart")],
)
def test_a_gain_is_said_with_its_interval(low, high, words):
    row = pd.Series({"gain": (low + high) / 2, "gain_low": low, "gain_high": high})
    sentence = answers.describe_gain(row, "resnet18")
    assert sentence.endswith(words) and f"[{low:+.3f}, {high:+.3f}] against resnet18" in sentence
