"""Exact thresholds beat every grid and every midpoint; ties, constants and empty classes; cross-fitting."""

import inspect

import fake_runs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from hpa_lib import store
from hpa_lib.decisions import answers, calibration, metrics, thresholds

NUM_LABELS = 28


def draw_case(seed: int, num_images: int, decimals: int):
    """Labels and probabilities that know something of them, with ties, constant, empty and full columns."""
    generator = np.random.default_rng(seed)
    rates = generator.choice([0, 0.05, 0.4, 1], NUM_LABELS)
    labels = (generator.random((num_images, NUM_LABELS)) < rates).astype(np.uint8)
    logits = generator.normal(size=labels.shape) + 1.5 * labels - 1
    probs = np.round(1 / (1 + np.exp(-logits)), decimals)
    probs[:, generator.integers(NUM_LABELS, size=3)] = generator.choice([0, 0.5, 1])
    return labels, probs.astype(generator.choice([np.float32, np.float64]))


cases = st.builds(draw_case, st.integers(0, 10**6), st.integers(1, 50), st.integers(0, 9))


def every_cut(probs: np.ndarray) -> np.ndarray:
    """All thresholds that can matter: each probability, all midpoints, an even grid, and above everything."""
    values = np.unique(probs.astype(np.float64))
    return np.concatenate([values, (values[1:] + values[:-1]) / 2, np.arange(100) / 100, [1.1]])


def brute_force(labels: np.ndarray, probs: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """F1 (cuts, 28), each cut compared anew."""
    labels = labels.astype(bool)
    scores = []
    for cut in cuts:
        preds = probs.astype(np.float64) >= cut
        counts = 2 * (preds & labels).sum(axis=0), preds.sum(axis=0) + labels.sum(axis=0)
        scores.append(np.where(counts[1] > 0, counts[0] / np.maximum(counts[1], 1), 0))
    return np.array(scores)


@settings(deadline=None)
@given(cases)
def test_exact_is_never_beaten_by_any_cut_and_reaches_the_best(case):
    labels, probs = case
    achieved = metrics.f1_per_class(labels, thresholds.apply(probs, thresholds.tune(labels, probs)))
    np.testing.assert_allclose(achieved, brute_force(labels, probs, every_cut(probs)).max(axis=0), atol=1e-12)


@settings(deadline=None)
@given(cases, st.integers(2, 200))
def test_grid_is_never_better_than_exact(case, points):
    labels, probs = case
    exact, grid = (
        metrics.f1_per_class(labels, thresholds.apply(probs, tuned))
        for tuned in (thresholds.tune(labels, probs), thresholds.tune(labels, probs, "grid", points=points))
    )
    assert (grid <= exact + 1e-12).all()


def test_grid_equals_the_loop_over_scikit_learn():
    labels, probs = draw_case(7, 200, 9)
    tuned = thresholds.tune(labels, probs, "grid")
    for column in np.flatnonzero(labels.any(axis=0)):
        scores = [
            reference.f1_score(labels[:, column], probs[:, column] >= cut, zero_division=0)
            for cut in np.arange(100) / 100
        ]
        assert tuned[column] == np.argmax(scores) / 100


@settings(deadline=None)
@given(cases)
def test_global_is_one_number_and_never_beaten_by_another(case):
    labels, probs = case
    tuned = thresholds.tune(labels, probs, "global")
    assert len(set(tuned)) == 1
    achieved = metrics.macro_f1(labels, thresholds.apply(probs, tuned))
    assert achieved >= brute_force(labels, probs, every_cut(probs)).mean(axis=1).max() - 1e-9


@settings(deadline=None)
@given(cases)
def test_f1_curve_equals_brute_force(case):
    labels, probs = case
    cuts = every_cut(probs)
    np.testing.assert_allclose(thresholds.f1_curve(labels, probs, cuts), brute_force(labels, probs, cuts))


@settings(deadline=None, max_examples=30)
@given(cases, st.sampled_from(sorted(thresholds.CANDIDATES)))
def test_every_candidate_gives_finite_thresholds_and_repeats_itself(case, name):
    method, options = thresholds.CANDIDATES[name]
    first, second = (thresholds.tune(*case, method, **options) for _ in range(2))
    assert first.shape == (NUM_LABELS,) and np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


@settings(deadline=None, max_examples=30)
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(case, random):
    labels, probs = case
    order = random.sample(range(len(labels)), len(labels))
    for method in ("exact", "global", "proportion", "shrunken"):
        np.testing.assert_allclose(
            thresholds.tune(labels, probs, method), thresholds.tune(labels[order], probs[order], method)
        )


@pytest.mark.parametrize("method", ["exact", "grid", "bagged", "shrunken", "proportion"])
def test_a_class_without_positives_gets_the_global_threshold(method):
    labels, probs = draw_case(11, 60, 9)
    labels[:, 3] = 0
    assert thresholds.tune(labels, probs, method)[3] == thresholds.tune(labels, probs, "global")[0]


@pytest.mark.parametrize("method", sorted(set(thresholds.METHODS) - {"flat"}))
def test_without_any_positive_all_thresholds_are_a_half(method):
    _, probs = draw_case(11, 20, 9)
    assert set(thresholds.tune(np.zeros(probs.shape), probs, method)) == {thresholds.NO_POSITIVES}


def test_all_positive_and_constant_columns_are_predicted():
    labels, probs = np.zeros((6, NUM_LABELS), np.uint8), np.full((6, NUM_LABELS), 0.3, np.float32)
    labels[:, 0], labels[2, 1] = 1, 1
    probs[:, 2] = 0
    preds = thresholds.apply(probs, thresholds.tune(labels, probs))
    assert preds[:, :2].all()
    assert metrics.f1_per_class(labels, preds)[:2] == pytest.approx([1, 2 / 7])


def test_neighbouring_floats_are_told_apart():
    probs = np.zeros((2, NUM_LABELS))
    probs[:, 0] = [0.5, np.nextafter(0.5, 1)]
    labels = np.zeros((2, NUM_LABELS), np.uint8)
    labels[1, 0] = 1
    assert thresholds.apply(probs, thresholds.tune(labels, probs))[:, 0].tolist() == [0, 1]


def test_positive_is_reaching_the_threshold():
    probs = np.tile([[0.2], [0.5], [0.8]], NUM_LABELS)
    assert thresholds.apply(probs, 0.5)[:, 0].tolist() == [0, 1, 1]
    assert thresholds.apply(probs, np.full(NUM_LABELS, 0.8)).dtype == np.uint8
    assert thresholds.apply(probs, 0)[:, 0].all() and not thresholds.apply(probs, 1.1).any()


def test_empty_rows_are_filled_only_when_asked():
    probs = np.full((2, NUM_LABELS), 0.1)
    probs[0, 5], probs[1, 7] = 0.9, 0.3
    assert thresholds.apply(probs, 0.5).sum(axis=1).tolist() == [1, 0]
    filled = thresholds.apply(probs, 0.5, fill_empty=True)
    assert filled.sum(axis=1).tolist() == [1, 1] and filled[0, 5] and filled[1, 7]


def test_proportions_are_matched_and_a_prior_of_none_is_never_predicted():
    generator = np.random.default_rng(0)
    probs = generator.random((1000, NUM_LABELS))
    priors = np.linspace(0, 0.9, NUM_LABELS)
    predicted = thresholds.apply(probs, thresholds.match_proportions(probs, priors)).mean(axis=0)
    np.testing.assert_allclose(predicted, priors, atol=5e-4)
    assert not thresholds.apply(np.ones((3, NUM_LABELS)), thresholds.match_proportions(probs, priors))[:, 0].any()
    labels = (generator.random(probs.shape) < 0.2).astype(np.uint8)
    by_hand = thresholds.match_proportions(probs, labels.mean(axis=0))
    np.testing.assert_array_equal(thresholds.tune(labels, probs, "proportion"), by_hand)


def test_shrinking_goes_from_exact_to_the_steadier_method():
    labels, probs = draw_case(4, 300, 9)
    labels[:2], probs = [[1] * NUM_LABELS] * 2, probs.clip(0.01, 0.99)
    for towards in ("global", "proportion"):
        for strength, limit in ((0, "exact"), (1e12, towards)):
            tuned = thresholds.tune(labels, probs, "shrunken", strength=strength, towards=towards)
            np.testing.assert_allclose(tuned, thresholds.tune(labels, probs, limit), rtol=1e-6)


def test_cross_fitting_never_looks_at_the_fold_it_scores():
    labels, probs = draw_case(9, 200, 9)
    folds = np.arange(200) % 4
    before = thresholds.cross_fit(labels, probs, folds)
    changed = labels.copy()
    changed[folds == 2] = 1 - changed[folds == 2]
    after = thresholds.cross_fit(changed, probs, folds)
    np.testing.assert_array_equal(before[folds == 2], after[folds == 2])
    assert (before[folds != 2] != after[folds != 2]).any()


def test_cross_fitting_fills_empty_rows_when_asked():
    labels, probs = draw_case(9, 200, 9)
    folds = np.arange(200) % 4
    plain, filled = (thresholds.cross_fit(labels, probs, folds, "flat", fill, value=0.95) for fill in (False, True))
    np.testing.assert_array_equal(thresholds.fill_empty_rows(plain, probs), filled)
    assert (plain.sum(axis=1) == 0).any() and (filled.sum(axis=1) > 0).all()


def test_the_threshold_is_midway_between_the_probabilities_it_separates():
    probs, labels = np.zeros((4, NUM_LABELS)), np.zeros((4, NUM_LABELS), np.uint8)
    probs[:, 0], labels[:2, 0] = [0.9, 0.8, 0.4, 0.1], 1
    labels[:, 1:], probs[:, 1:] = [[1], [0], [0], [0]], [[0.7], [0.2], [0.2], [0.2]]
    for method, expected in (("exact", [0.6, 0.45]), ("proportion", [0.6, 0.45])):
        assert thresholds.tune(labels, probs, method)[:2] == pytest.approx(expected)
    assert thresholds.tune(labels, probs, "global")[0] == pytest.approx((0.7 + 0.4) / 2)


def test_bagged_is_the_mean_logit_of_the_exact_thresholds_of_resamples():
    labels, probs = draw_case(21, 200, 9)
    generator, logits = np.random.default_rng(5), []
    for _ in range(8):
        rows = generator.integers(200, size=200)
        exact = thresholds.tune(labels[rows], probs[rows])
        logits.append(np.where(labels[rows].any(axis=0), calibration.logit(exact), np.nan))
    tuned = thresholds.tune(labels, probs, "bagged", draws=8, seed=5)
    tunable = labels.any(axis=0)
    expected = calibration.sigmoid(np.nanmean(np.array(logits)[:, tunable], axis=0))
    np.testing.assert_allclose(tuned[tunable], expected)
    assert np.abs(tuned - thresholds.tune(labels, probs))[tunable].max() > 0.01


def simulate_folds(generator, num_models: int):
    """Labels and probabilities of a single model, then twice of the mean of ``num_models`` models, on other images."""
    prevalence = np.geomspace(0.4, 0.004, NUM_LABELS)
    center = np.log(prevalence / (1 - prevalence)) - 0.5 + generator.normal(0, 0.7, NUM_LABELS)
    sharpness = generator.uniform(1.5, 3, NUM_LABELS)
    parts = []
    for size, models in ((2400, 1), (1200, num_models), (2400, num_models)):
        labels = (generator.random((size, NUM_LABELS)) < prevalence).astype(np.uint8)
        known = center + sharpness * labels + 0.8 * generator.normal(size=labels.shape)
        noise = generator.normal(size=(models, *labels.shape))  # what training adds, different for each fold's model
        parts += [labels, calibration.sigmoid(known + 1.2 * noise).mean(axis=0)]
    return parts


@pytest.mark.parametrize(("num_models", "cost"), [(2, 0.0), (5, 0.02)])
def test_thresholds_of_single_models_are_carried_over_to_their_mean(num_models, cost):
    """Against thresholds used as they are, and against ones tuned on means of fresh validation images."""
    scores = []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        labels, probs, judged, means, fresh_labels, fresh = simulate_folds(generator, num_models)
        tuned = thresholds.tune(labels, probs, "bagged")
        carried = answers.carry_over(tuned, probs, means)
        ideal = thresholds.tune(fresh_labels, fresh, "bagged")
        each = [thresholds.apply(means, limits, True) for limits in (tuned, carried, ideal)]
        scores.append([metrics.macro_f1(judged, preds) for preds in each])
        shares = [thresholds.apply(*pair).mean(axis=0) for pair in ((probs, tuned), (means, carried))]
        np.testing.assert_allclose(*shares, atol=1 / len(means))
    used, carried, ideal = np.mean(scores, axis=0)
    assert carried - used > cost and ideal - carried < 0.02


def test_a_class_that_should_be_predicted_at_all_is_predicted_at_least_once():
    probs = np.random.default_rng(0).random((10, NUM_LABELS))
    predicted = thresholds.apply(probs, thresholds.match_proportions(probs, np.full(NUM_LABELS, 0.01)))
    assert (predicted.sum(axis=0) == 1).all()


def test_carrying_over_to_no_image_changes_nothing():
    labels, probs = draw_case(3, 50, 9)
    tuned = thresholds.tune(labels, probs)
    np.testing.assert_array_equal(answers.carry_over(tuned, probs, probs[:0]), tuned)


def test_tuning_on_noise_is_optimistic_and_cross_fitting_shows_it():
    generator = np.random.default_rng(1)
    labels = (generator.random((400, NUM_LABELS)) < 0.02).astype(np.uint8)
    probs = generator.random(labels.shape)
    tuned_on = metrics.macro_f1(labels, thresholds.apply(probs, thresholds.tune(labels, probs)))
    honest = metrics.macro_f1(labels, thresholds.cross_fit(labels, probs, np.arange(400) % 5))
    assert tuned_on > 1.3 * honest


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda labels, probs: thresholds.tune(labels, probs, "best"), "method 'best': use one of exact"),
        (lambda labels, probs: thresholds.tune(labels, probs[:5]), r"\(9, 28\) but probs \(5, 28\)"),
        (lambda labels, probs: thresholds.tune(labels, probs * np.nan), "NaN"),
        (lambda labels, probs: thresholds.apply(probs * np.nan, 0.5), "NaN"),
        (lambda labels, probs: thresholds.apply(probs * 4 + 1, 0.5), "sigmoid"),
        (lambda labels, probs: thresholds.apply(probs, np.full(27, 0.5)), r"thresholds of shape \(27,\)"),
        (lambda labels, probs: thresholds.apply(probs, np.full(28, np.nan)), "not NaN"),
        (lambda labels, probs: thresholds.tune(labels, probs, "shrunken", strength=-1), "strength -1"),
        (lambda labels, probs: thresholds.match_proportions(probs, np.full(28, 2)), "priors of shape"),
        (lambda labels, probs: thresholds.cross_fit(labels, probs, np.zeros(9)), "9 fold numbers, 1 different"),
        (lambda labels, probs: thresholds.cross_fit(labels, probs, np.arange(5)), "for 9 images"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(call, words):
    labels, probs = draw_case(2, 9, 5)
    with pytest.raises(ValueError, match=words):
        call(labels, probs)


def test_a_candidate_is_found_by_name():
    assert thresholds.find_candidate("grid") == ("grid", {})
    with pytest.raises(ValueError, match="CANDIDATE 'best': use one of half, flat"):
        thresholds.find_candidate("best")


def test_a_runs_thresholds_are_those_of_notebook_05_or_one_half(tmp_path):
    fake_runs.write_out(tmp_path / "out", tmp_path / "data", num_images=200)
    tuned, fill_empty = thresholds.load(tmp_path / "out", "densenet-rgby-none")
    assert tuned.tolist() == [0.5] * 28 and fill_empty is True
    fake_runs.complete(tmp_path / "out")
    decision = store.load_decision(tmp_path / "out", "thresholds")
    tuned, fill_empty = thresholds.load(tmp_path / "out", "densenet-rgby-none")
    assert tuned.tolist() == decision["thresholds"]["densenet-rgby-none"][decision["recommended"]]
    assert fill_empty == decision.get("fill_empty", True)


def test_only_empty_rows_are_filled():
    preds, probs = np.zeros((2, 28), np.uint8), np.zeros((2, 28))
    preds[0, 3], probs[:, 5] = 1, 0.4
    assert [np.flatnonzero(row).tolist() for row in thresholds.fill_empty_rows(preds, probs)] == [[3], [5]]


def test_a_shape_a_share_or_a_threshold_that_is_none_is_refused():
    labels, probs = np.zeros((3, 28), np.uint8), np.full((3, 28), 0.5)
    for call in (thresholds.fill_empty_rows, thresholds.tune):
        with pytest.raises(ValueError, match="give the same images and classes"):
            call(labels[:2], probs)
    one_wrong = np.append(np.full(27, 0.5), np.nan)
    with pytest.raises(ValueError, match="give one per class, not NaN"):
        thresholds.apply(probs, one_wrong)
    with pytest.raises(ValueError, match="give one share in 0..1"):
        thresholds.match_proportions(probs, one_wrong)
    assert thresholds.tune(labels, probs).tolist() == [0.5] * 28  # no class has a positive


def test_the_defaults_are_those_that_the_notebooks_name():
    methods = (thresholds.tune_bagged, thresholds.tune_shrunken, thresholds.tune_flat, thresholds.tune_grid)
    found = {name: value.default for method in methods for name, value in inspect.signature(method).parameters.items()}
    assert {name: found[name] for name in ("draws", "seed", "strength", "value", "points")} == {
        "draws": 40, "seed": 0, "strength": 10, "value": 0.25, "points": 100
    }  # fmt: skip
    assert [thresholds.CANDIDATES[name][1]["value"] for name in ("half", "flat")] == [0.5, 0.25]


def test_bagged_and_shrunken_thresholds_by_hand():
    generator = np.random.default_rng(3)
    labels = (generator.random((60, 28)) < 0.2).astype(np.uint8)
    labels[:, 4], labels[:2, 4] = 0, 1  # absent from some resamples
    probs = generator.random((60, 28))
    logits = []
    for rows in np.random.default_rng(0).integers(60, size=(40, 60)):
        if labels[rows, 4].any():
            logits.append(calibration.logit(thresholds.tune(labels[rows], probs[rows])[4]))
    assert len(logits) < 40
    assert thresholds.tune(labels, probs, "bagged")[4] == pytest.approx(calibration.sigmoid(np.mean(logits)))
    exact, steady = (calibration.logit(thresholds.tune(labels, probs, name)[4]) for name in ("exact", "proportion"))
    shrunken = thresholds.tune(labels, probs, "shrunken", strength=6)[4]  # 2 positives: a weight of 2 / 8
    assert shrunken == pytest.approx(calibration.sigmoid(0.25 * exact + 0.75 * steady))


@pytest.mark.parametrize("num_folds", [2, 3])
def test_each_fold_is_decided_by_thresholds_of_the_others(num_folds):
    generator = np.random.default_rng(5)
    labels, probs = (generator.random((90, 28)) < 0.3).astype(np.uint8), generator.random((90, 28))
    folds = np.arange(90) % num_folds
    crossed = thresholds.cross_fit(labels, probs, folds)
    for fold in range(num_folds):
        tuned = thresholds.tune(labels[folds != fold], probs[folds != fold])
        np.testing.assert_array_equal(crossed[folds == fold], thresholds.apply(probs[folds == fold], tuned))
