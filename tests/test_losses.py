import keras
import numpy as np
import pytest
from keras import ops

from hpa_lib import losses

LABELS = np.array([[1, 0, 1], [0, 0, 1]], np.float32)
LOGITS = np.array([[0.3, -1.2, 2.0], [1.5, 0.1, -0.7]], np.float32)
ONES = np.ones(3, np.float32)
PROBS = 1 / (1 + np.exp(-LOGITS.astype(float)))


def value(name, labels, logits, weights=ONES):
    return ops.convert_to_numpy(losses.make_loss(name, weights)(labels, logits))


def gradient(name, labels, logits, weights):
    """d(mean loss) / d(logits) by central differences, in float32's reach."""
    step, result = 1e-2, np.zeros_like(logits)
    for index in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += step
        down[index] -= step
        rise = value(name, labels, up, weights).mean() - value(name, labels, down, weights).mean()
        result[index] = rise / (2 * step)
    return result


def test_bce_by_hand():
    weights = np.array([2, 1, 5], np.float32)
    terms = -(weights * LABELS * np.log(PROBS) + (1 - LABELS) * np.log(1 - PROBS))
    assert value("bce", LABELS, LOGITS, weights) == pytest.approx(terms.mean(axis=1), rel=1e-5)


def test_bce_equals_keras():
    expected = ops.convert_to_numpy(keras.losses.binary_crossentropy(LABELS, LOGITS, from_logits=True))
    assert value("bce", LABELS, LOGITS) == pytest.approx(expected, rel=1e-5)


def test_focal_by_hand_and_gamma_zero_is_bce():
    expected = -(LABELS * (1 - PROBS) ** 2 * np.log(PROBS) + (1 - LABELS) * PROBS**2 * np.log(1 - PROBS)).mean(axis=1)
    assert value("focal", LABELS, LOGITS) == pytest.approx(expected, rel=1e-5)
    plain = ops.convert_to_numpy(losses.focal(LABELS, LOGITS, ONES, gamma=0.0))
    assert plain == pytest.approx(value("bce", LABELS, LOGITS), rel=1e-6)


def test_asymmetric_by_hand():
    shifted = np.maximum(PROBS - 0.05, 0)
    expected = -(LABELS * np.log(PROBS) + (1 - LABELS) * shifted**4 * np.log(1 - shifted)).mean(axis=1)
    assert value("asymmetric", LABELS, LOGITS) == pytest.approx(expected, rel=1e-5)


def test_soft_f1_by_hand():
    f1 = 2 * (LABELS * PROBS).sum(axis=0) / (LABELS.sum(axis=0) + PROBS.sum(axis=0))
    assert value("soft_f1", LABELS, LOGITS) == pytest.approx(np.full(2, (1 - f1).mean()), rel=1e-5)


def test_lovasz_by_hand():
    # One class, labels 1 0, logits .5 -.2. Errors .5 and .8, sorted .8 (negative), .5 (positive).
    # Jaccard loss after one, two errors: 1 - 1/2 and 1, so the steps are .5 and .5: .8 * .5 + .5 * .5 = .65.
    # The mirrored problem has labels 0 1: the same errors, steps: the .8 is now positive: 1 - 0/1 = 1, then 0: .8.
    labels, logits = np.array([[1.0], [0.0]], np.float32), np.array([[0.5], [-0.2]], np.float32)
    assert value("lovasz", labels, logits, ONES[:1]) == pytest.approx(np.full(2, (0.65 + 0.8) / 2), rel=1e-5)


def test_a_sum_is_the_sum():
    both = value("bce", LABELS, LOGITS) + value("soft_f1", LABELS, LOGITS)
    assert value("bce+soft_f1", LABELS, LOGITS) == pytest.approx(both)


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("size", [0.0, 1e4, -1e4])
def test_finite_with_its_gradient_at_extreme_logits(name, size):
    import tensorflow as tf

    logits = tf.Variable(np.full((2, 3), size, np.float32))
    with tf.GradientTape() as tape:
        result = tf.reduce_mean(losses.make_loss(name, ONES)(LABELS, logits))
    assert np.isfinite(result.numpy()) and np.isfinite(tape.gradient(result, logits).numpy()).all()


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_weight_of_a_class_moves_the_gradient_of_its_logit_alone(name):
    base = gradient(name, LABELS, LOGITS, ONES)
    weighted = gradient(name, LABELS, LOGITS, np.array([1, 1, 3], np.float32))
    assert weighted[:, :2] == pytest.approx(base[:, :2], abs=2e-5)
    assert np.abs(weighted[:, 2] - base[:, 2]).max() > 1e-2


def test_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="hinge.*use one of"):
        losses.make_loss("bce+hinge", ONES)
