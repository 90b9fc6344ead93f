"""Reliability, calibration error and temperature, held to drawn probabilities whose truth is known."""

import numpy as np
import pytest

from hpa_lib.decisions import calibration, metrics

NUM_LABELS = 28


def draw_calibrated(num_images: int = 4000, seed: int = 0):
    """Labels that come true exactly as often as the probabilities say."""
    generator = np.random.default_rng(seed)
    probs = calibration.sigmoid(generator.normal(-1, 1.5, (num_images, NUM_LABELS)))
    return (generator.random(probs.shape) < probs).astype(np.uint8), probs


def test_calibrated_probabilities_lie_on_the_diagonal():
    labels, probs = draw_calibrated()
    table = calibration.reliability(labels, probs, bins=10)
    assert table["count"].sum() == probs.size
    assert ((table["low"] <= table["mean_prob"]) & (table["mean_prob"] <= table["high"])).all()
    np.testing.assert_allclose(table["mean_prob"], table["positive_share"], atol=0.03)
    assert calibration.expected_calibration_error(labels, probs) < 0.01
    assert calibration.fit_temperature(labels, probs) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("truth", [0.4, 2.5])
def test_the_temperature_is_found_and_mends_the_error(truth):
    labels, probs = draw_calibrated()
    sure = calibration.scale(probs, 1 / truth)
    found = calibration.fit_temperature(labels, sure)
    assert found == pytest.approx(truth, rel=0.05)
    mended = calibration.scale(sure, found)
    error, before = (calibration.expected_calibration_error(labels, array) for array in (mended, sure))
    assert error < 0.2 * before


def test_there_are_15_bins_of_equal_width_unless_told_otherwise():
    labels, probs = draw_calibrated()
    table = calibration.reliability(labels, probs)
    assert list(table.columns) == ["low", "high", "count", "mean_prob", "positive_share"]
    np.testing.assert_allclose(table[["low", "high"]], np.stack([np.arange(15), np.arange(1, 16)], axis=1) / 15)
    for error in (calibration.expected_calibration_error, calibration.calibration_error_per_class):
        np.testing.assert_array_equal(error(labels, probs), error(labels, probs, bins=15))


def test_scaling_keeps_the_order_within_a_class():
    labels, probs = draw_calibrated(500)
    scaled = calibration.scale(probs, 3.0)
    np.testing.assert_allclose(metrics.average_precision(labels, scaled), metrics.average_precision(labels, probs))


def test_the_error_by_hand():
    labels = np.array([[1], [0], [0], [0]])
    probs = np.array([[0.9], [0.9], [0.1], [0.1]])
    assert calibration.expected_calibration_error(labels, probs, bins=2) == pytest.approx(0.25)
    assert calibration.calibration_error_per_class(np.tile(labels, 28), np.tile(probs, 28)).shape == (28,)


def test_separated_labels_reach_the_coldest_temperature_without_a_warning():
    labels = (np.random.default_rng(0).random((50, NUM_LABELS)) < 0.5).astype(np.uint8)
    found = calibration.fit_temperature(labels, np.where(labels, 0.8, 0.2))
    assert found == pytest.approx(0.01, rel=1e-3)
    assert calibration.fit_temperature(labels, np.where(labels, 0.2, 0.8)) == pytest.approx(100, rel=1e-3)


def test_probabilities_at_the_ends_are_kept():
    table = calibration.reliability(np.array([[0], [1]]), np.array([[0.0], [1.0]]), bins=4)
    assert table["count"].tolist() == [1, 1] and table["positive_share"].tolist() == [0, 1]
    assert np.isfinite(calibration.logit(np.array([0.0, 1.0]))).all()


def test_wrong_input_is_refused():
    labels, probs = draw_calibrated(10)
    with pytest.raises(ValueError, match="temperature 0"):
        calibration.scale(probs, 0)
    with pytest.raises(ValueError, match="NaN"):
        calibration.reliability(labels, probs * np.nan)
    with pytest.raises(ValueError, match="labels have shape"):
        calibration.fit_temperature(labels[:5], probs)
    with pytest.raises(ValueError, match=r"labels have shape \(5, 28\)"):
        calibration.reliability(labels[:5], probs)


def test_cross_fitted_scaling_never_looks_at_the_images_it_scales():
    random = np.random.default_rng(0)
    labels = (random.random((300, 28)) < 0.2).astype(np.uint8)
    probs = calibration.sigmoid(random.normal(size=labels.shape) * 3 + labels).astype(np.float32)
    folds = np.arange(300) % 3
    scaled = calibration.scale_cross_fitted(labels, probs, folds)
    changed = labels.copy()
    changed[folds == 1] = 1 - changed[folds == 1]
    again = calibration.scale_cross_fitted(changed, probs, folds)
    np.testing.assert_array_equal(scaled[folds == 1], again[folds == 1])
    assert (scaled[folds != 1] != again[folds != 1]).any()
    inside = folds == 2
    temperature = calibration.fit_temperature(labels[~inside], probs[~inside])
    np.testing.assert_array_equal(scaled[inside], calibration.scale(probs[inside], temperature))


def test_bins_count_by_what_they_hold():
    labels = np.array([[1], [1], [1], [0]])
    probs = np.array([[0.9], [0.9], [0.9], [0.1]])  # three are .1 off, one is .1 off
    assert calibration.expected_calibration_error(labels, probs, bins=2) == pytest.approx(0.1)
    probs[3] = 0.3  # three are .1 off, one is .3 off
    assert calibration.expected_calibration_error(labels, probs, bins=2) == pytest.approx((3 * 0.1 + 0.3) / 4)


def test_the_error_of_a_class_is_that_of_its_column_with_the_same_bins():
    labels, probs = draw_calibrated(300)
    probs[:, 4] = 1 - probs[:, 4]
    errors = calibration.calibration_error_per_class(labels, probs, bins=4)
    assert errors[4] > 2 * errors[[3, 5]].max()
    for column in (0, 4):
        part = labels[:, [column]], probs[:, [column]]
        assert errors[column] == calibration.expected_calibration_error(*part, bins=4)
        assert errors[column] != calibration.expected_calibration_error(*part, bins=15)


def test_scaled_probabilities_are_stored_as_float32():
    assert calibration.scale(np.full((2, NUM_LABELS), 0.3), 2.0).dtype == np.float32
