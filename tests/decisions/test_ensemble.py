"""Unions from label sets, means of probabilities, alignment by Id, fitted weights, and what a member adds."""

import inspect

import fake_runs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from hpa_lib.decisions import calibration, ensemble, metrics, submission, thresholds

NUM_LABELS = 28


def draw_preds(seed: int, num_members: int, num_images: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return list((generator.random((num_members, num_images, NUM_LABELS)) < 0.2).astype(np.uint8))


members = st.builds(draw_preds, st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12))


def draw_members(num_images: int = 600, seed: int = 0):
    """Labels and three members, the first of which is the best."""
    generator = np.random.default_rng(seed)
    labels = fake_runs.draw_labels(generator, num_images)
    shared = generator.normal(size=labels.shape)
    probs_list = [fake_runs.draw_probs(generator, labels, sharpness, shared) for sharpness in (0.9, 1.2, 1.5)]
    return labels, probs_list


@settings(deadline=None)
@given(members, st.randoms(use_true_random=False))
def test_union_and_intersection_are_idempotent_and_order_free(preds_list, random):
    shuffled = random.sample(preds_list, len(preds_list))
    for combine in (ensemble.union, ensemble.intersection):
        combined = combine(preds_list)
        np.testing.assert_array_equal(combined, combine(shuffled))
        np.testing.assert_array_equal(combined, combine([*preds_list, combined]))
        np.testing.assert_array_equal(combine([preds_list[0]] * 3), preds_list[0])


@settings(deadline=None)
@given(members)
def test_union_is_any_intersection_is_all_and_votes_lie_between(preds_list):
    stacked = np.stack(preds_list).astype(bool)
    np.testing.assert_array_equal(ensemble.union(preds_list), stacked.any(axis=0))
    np.testing.assert_array_equal(ensemble.intersection(preds_list), stacked.all(axis=0))
    votes = [ensemble.vote(preds_list, number) for number in range(1, len(preds_list) + 1)]
    assert all((more <= fewer).all() for fewer, more in zip(votes[:-1], votes[1:], strict=True))


def test_union_of_two_submission_files_alone(tmp_path):
    (tmp_path / "a.csv").write_text("Id,Predicted\nx,16 0\ny,25\nz,\n")
    (tmp_path / "b.csv").write_text("Id,Predicted\nz,3\nx,0 2\ny,25\n")
    files = {name: submission.read(tmp_path / f"{name}.csv") for name in "ab"}
    ids, preds = ensemble.align(files)
    table = submission.make_table(ids, ensemble.union(list(preds.values())), ids)
    assert table["Predicted"].tolist() == ["0 2 16", "25", "3"]


@pytest.mark.parametrize("combine", [ensemble.mean, ensemble.geometric_mean])
def test_means_of_one_member_are_that_member(combine):
    _, (probs, *_) = draw_members(50)
    np.testing.assert_allclose(combine([probs]), probs, rtol=1e-5)
    np.testing.assert_allclose(combine([probs, probs]), probs, rtol=1e-5)


def test_means_by_hand():
    low, high = np.full((1, NUM_LABELS), 0.1), np.full((1, NUM_LABELS), 0.9)
    assert ensemble.mean([low, high])[0, 0] == pytest.approx(0.5)
    assert ensemble.geometric_mean([low, low, high])[0, 0] == pytest.approx(1 / (1 + 9 ** (1 / 3)))
    assert ensemble.weighted([low, high], [3, 1])[0, 0] == pytest.approx(0.3)


def test_geometric_mean_is_the_mean_of_logits():
    _, probs_list = draw_members(40)
    combined = ensemble.geometric_mean(probs_list)
    expected = np.mean([calibration.logit(probs) for probs in probs_list], axis=0)
    np.testing.assert_allclose(calibration.logit(combined), expected, atol=1e-3)


def test_rank_mean_ignores_the_members_scales_and_shares_ties():
    _, probs_list = draw_members(200)
    squeezed = [probs_list[0] ** 3, probs_list[1], probs_list[2] / 2]
    np.testing.assert_allclose(ensemble.rank_mean(probs_list), ensemble.rank_mean(squeezed), atol=1e-3)
    np.testing.assert_allclose(ensemble.rank_mean([np.full((4, NUM_LABELS), 0.7)]), 0.5)
    metrics.check_probs(ensemble.rank_mean(probs_list))


def test_rank_mean_by_hand():
    first, second = np.array([[0.1], [0.2], [0.9]]), np.array([[0.5], [0.7], [0.6]])
    np.testing.assert_allclose(ensemble.rank_mean([first, second])[:, 0], np.array([0.5, 2.0, 2.0]) / 3)
    assert ensemble.rank_mean([first[:1]]).tolist() == [[0.5]]


def test_align_brings_members_to_one_order_by_id():
    ids, array = np.array(["a", "b", "c"]), np.eye(3, NUM_LABELS)
    order = [2, 0, 1]
    aligned_ids, arrays = ensemble.align({"first": (ids, array), "second": (ids[order], array[order])})
    assert aligned_ids.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(arrays["second"], array)


@pytest.mark.parametrize(
    ("other_ids", "words"),
    [
        (["a", "b", "d"], "1 ids of first are not in second, first 'c'"),
        (["a", "b", "c", "d"], "1 ids of second are not in first, first 'd'"),
        (["a", "b", "b"], "second: 3 ids, 2 different"),
    ],
)
def test_mismatches_are_refused_by_name(other_ids, words):
    pair = {
        name: (np.array(ids), np.zeros((len(ids), NUM_LABELS)))
        for name, ids in {"first": ["a", "b", "c"], "second": other_ids}.items()
    }
    with pytest.raises(ValueError, match=words):
        ensemble.align(pair)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ensemble.align({}), "without members"),
        (lambda: ensemble.mean([]), "weights|members"),
        (lambda: ensemble.union([]), "at_least 1 of 0 members"),
        (lambda: ensemble.union([np.zeros((2, 28)), np.zeros((3, 28))]), "members have shapes"),
        (lambda: ensemble.union([np.full((2, 28), 0.5)]), "preds hold 0.5"),
        (lambda: ensemble.weighted([np.zeros((2, 28))] * 2, [1, -1]), "0 or more"),
        (lambda: ensemble.weighted([np.zeros((2, 28))] * 2, [0, 0]), "not all 0"),
        (lambda: ensemble.weighted([np.zeros((2, 28))] * 2, [1]), "for 2 members"),
        (lambda: ensemble.mean([np.full((2, 28), np.nan)]), "NaN"),
    ],
)
def test_wrong_members_are_refused_in_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_no_members_and_a_single_negative_weight_are_refused():
    probs = np.full((2, NUM_LABELS), 0.5)
    with pytest.raises(ValueError, match="an ensemble without members"):
        ensemble.geometric_mean([])
    with pytest.raises(ValueError, match=r"weights \[2.0, -1.0\] for 2 members"):
        ensemble.weighted([probs, probs], [2, -1])


def test_runs_of_several_folds_are_one_member():
    runs = ["a-rgby", "a-rgby-fold1", "a-rgby-fold2-seed1", "b-rgby-fold10", "manifold-5"]
    assert ensemble.group_folds(runs) == {
        "a-rgby": ["a-rgby", "a-rgby-fold1"],
        "a-rgby-seed1": ["a-rgby-fold2-seed1"],
        "b-rgby": ["b-rgby-fold10"],
        "manifold-5": ["manifold-5"],
    }


def test_folds_are_put_together_and_shared_images_averaged():
    parts = [
        (np.array(["b", "a"]), np.full((2, NUM_LABELS), 0.2)),
        (np.array(["c", "a"]), np.full((2, NUM_LABELS), 0.6)),
    ]
    ids, probs = ensemble.join_folds(parts)
    assert ids.tolist() == ["b", "a", "c"] and probs.dtype == np.float32
    np.testing.assert_allclose(probs[:, 0], [0.2, 0.4, 0.6], rtol=1e-6)


def test_hill_climbing_finds_the_useful_members():
    labels, probs_list = draw_members()
    noise = np.random.default_rng(5).random(labels.shape)
    weights = ensemble.hill_climb(labels, [*probs_list, noise])
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all() and weights[3] == 0
    climbed = metrics.average_precision(labels, ensemble.weighted([*probs_list, noise], weights)).mean()
    assert climbed >= max(metrics.average_precision(labels, probs).mean() for probs in probs_list)
    np.testing.assert_allclose(ensemble.hill_climb(np.zeros_like(labels), probs_list), 1 / 3)


def test_more_rounds_of_hill_climbing_never_lose():
    labels, probs_list = draw_members(300)
    scores = [
        metrics.average_precision(
            labels, ensemble.weighted(probs_list, ensemble.hill_climb(labels, probs_list, rounds))
        )
        for rounds in range(1, 12)
    ]
    assert (np.diff(np.mean(scores, axis=1)) > -1e-6).all()


def test_hill_climbing_adds_what_helps_beside_the_others():
    """Each member is right about other images: only their mean ranks all of them rightly. A class is absent."""
    labels = np.array([[1, 0], [1, 0], [0, 0], [0, 0]])
    probs_list = [np.array([[a, 0.1] for a in column]) for column in ([1.0, 0.25, 0.5, 0], [0.25, 1.0, 0, 0.5])]
    assert ensemble.hill_climb(labels, probs_list).tolist() == [0.5, 0.5]
    assert ensemble.hill_climb(labels, probs_list, rounds=1).tolist() == [1, 0]
    assert ensemble.hill_climb(labels, [probs_list[0]] * 2).tolist() == [1, 0]  # of equal rounds the first counts
    assert ensemble.hill_climb(labels[:, 1:], [probs_list[0][:, 1:]] * 2).tolist() == [0.5, 0.5]  # nothing to go by


@pytest.mark.parametrize("strength", [0.5, 5.0])
def test_no_other_coefficients_have_a_lower_penalized_loss(strength):
    labels, probs_list = draw_members(300)
    labels = labels[:, :6]  # from common to rare
    members = [probs[:, :6] for probs in probs_list]
    fitted = ensemble.fit_stacker(labels, members, strength)
    values = np.stack([*map(calibration.logit, members), np.ones(labels.shape)])  # (M + 1, N, 6)
    fitted_probs = calibration.sigmoid(np.einsum("mnc,cm->nc", values, fitted))
    away = fitted - np.array([1 / 3, 1 / 3, 1 / 3, 0])
    slope = np.einsum("mnc,nc->cm", values, fitted_probs - labels) + np.array([strength] * 3 + [0.01]) * away
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    if strength == 5:
        np.testing.assert_array_equal(fitted, ensemble.fit_stacker(labels, members))


def test_stacker_recovers_from_members_that_are_sure_and_wrong():
    generator = np.random.default_rng(0)
    labels = (generator.random((300, NUM_LABELS)) < 0.3).astype(np.uint8)
    wrong = np.where(generator.random(labels.shape) < 0.1, labels, 1 - labels) * 0.9998 + 0.0001
    coefficients = ensemble.fit_stacker(labels, [wrong], strength=1e-2)
    assert (coefficients[:, 0] < 0).all()
    assert metrics.macro_f1(labels, thresholds.apply(ensemble.stack([wrong], coefficients), 0.5)) > 0.8


def test_stacker_with_a_weak_penalty_is_logistic_regression():
    labels, probs_list = draw_members(800)
    coefficients = ensemble.fit_stacker(labels, probs_list, strength=1e-2)
    column = int(np.abs(labels.mean(axis=0) - 0.3).argmin())
    features = np.stack([calibration.logit(probs[:, column]) for probs in probs_list], axis=1)
    expected = LogisticRegression(C=1e2, tol=1e-8, max_iter=1000).fit(features, labels[:, column])
    np.testing.assert_allclose(coefficients[column, :3], expected.coef_[0], atol=0.01)
    assert coefficients[column, 3] == pytest.approx(expected.intercept_[0], abs=0.02)
    by_hand = expected.predict_proba(features)[:, 1]
    np.testing.assert_allclose(ensemble.stack(probs_list, coefficients)[:, column], by_hand, atol=0.01)


def test_stacker_with_a_strong_penalty_ranks_as_the_geometric_mean_and_survives_perfect_members():
    labels, probs_list = draw_members()
    strong = ensemble.fit_stacker(labels, probs_list, strength=1e9)
    np.testing.assert_allclose(strong[:, :3], 1 / 3, atol=1e-4)
    perfect = ensemble.fit_stacker(labels, [labels.astype(float)])
    assert np.isfinite(perfect).all()
    np.testing.assert_array_equal(thresholds.apply(ensemble.stack([labels.astype(float)], perfect), 0.5), labels)


def test_out_of_fold_combinations_do_not_see_their_own_labels():
    labels, probs_list = draw_members(300)
    folds = np.arange(300) % 3
    before = ensemble.out_of_fold(labels, probs_list, folds, ensemble.fit_stacker, ensemble.stack)
    changed = labels.copy()
    changed[folds == 1] = 1 - changed[folds == 1]
    after = ensemble.out_of_fold(changed, probs_list, folds, ensemble.fit_stacker, ensemble.stack)
    np.testing.assert_array_equal(before[folds == 1], after[folds == 1])
    assert np.abs(before - after)[folds != 1].max() > 0.01


def test_each_fold_is_combined_by_what_was_fitted_on_the_others():
    probs = np.zeros((6, NUM_LABELS))

    def count_images(labels, probs_list):
        return len(labels)

    def fill(probs_list, number):
        return np.full_like(probs_list[0], number)

    combined = ensemble.out_of_fold(probs, [probs], np.array([0, 0, 0, 1, 1, 2]), count_images, fill)
    assert combined[:, 0].tolist() == [3, 3, 3, 4, 4, 5]


def test_contributions_are_of_the_same_resamples_as_other_intervals():
    defaults = inspect.signature(ensemble.contributions).parameters
    assert (defaults["draws"].default, defaults["seed"].default) == (1000, 0)


def test_contributions_rank_the_members_by_what_is_lost_without_them():
    labels, probs_list = draw_members()
    silent = np.zeros_like(labels)
    preds = {"good": labels * draw_preds(0, 1, 600)[0], "better": labels * (1 - draw_preds(1, 1, 600)[0]), "no": silent}
    without = {name: ensemble.union([array for other, array in preds.items() if other != name]) for name in preds}
    whole = {"union": ensemble.union(list(preds.values())), "good alone": preds["good"]}
    table = ensemble.contributions(labels, whole, {"union": without, "good alone": {"good": silent}}, draws=50)
    assert table["member"].tolist() == ["better", "good", "no", "good"]
    assert table["ensemble"].tolist() == ["union"] * 3 + ["good alone"]
    assert table["adds"].iloc[3] == pytest.approx(metrics.macro_f1(labels, preds["good"]))
    assert (
        table["adds"].iloc[2] == 0 and (table["low"] <= table["adds"]).all() and (table["adds"] <= table["high"]).all()
    )
    assert ensemble.contributions(labels, {"union": silent}, {"union": {}}).empty
