import keras
import numpy as np
import pytest
from keras import ops

from hpa_lib.training import imbalance, losses

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


PER_IMAGE, PER_BATCH = ("bce", "focal", "asymmetric"), ("soft_f1", "lovasz")


def test_every_loss_weighs_in_one_of_two_ways():
    assert {*PER_IMAGE, *PER_BATCH} == set(losses.LOSSES)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_a_weight_multiplies_the_gradient_of_the_positives_of_its_class_alone(name):
    labels = np.array([[1, 0, 1], [0, 0, 0]], np.float32)
    base = gradient(name, labels, LOGITS, ONES)
    weighted = gradient(name, labels, LOGITS, np.array([1, 1, 3], np.float32))
    factors = np.array([[1, 1, 3], [1, 1, 1]])
    assert weighted == pytest.approx(factors * base, abs=5e-5) and np.abs(base[:, 2]).min() > 5e-4


@pytest.mark.parametrize("name", PER_BATCH)
def test_the_loss_of_a_batch_is_the_weighted_mean_of_its_classes(name):
    """Every class's gradient by hand: its share of the weights times the number of classes."""
    weights = np.array([1, 2, 9], np.float32)
    labels = np.array([[1, 0, 1], [0, 1, 0]], np.float32)
    base = gradient(name, labels, LOGITS, ONES)
    assert gradient(name, labels, LOGITS, weights) == pytest.approx(base * weights / 4, abs=5e-5)
    assert value(name, labels, LOGITS, 50 * weights) == pytest.approx(value(name, labels, LOGITS, weights))


@pytest.mark.parametrize("scheme", ["none", "inverse", "sqrt", "effective"])
def test_weights_do_not_change_the_share_of_soft_f1_in_a_sum(scheme):
    """At most 1, as it is without weights: on Kaggle's counts it once began at 5.2 beside a cross-entropy of .35."""
    weights = imbalance.class_weights(np.geomspace(12885, 11, 28), scheme)
    random = np.random.default_rng(0)
    labels = (random.random((16, 28)) < 0.06).astype(np.float32)
    assert 0.5 < value("soft_f1", labels, np.full((16, 28), -3, np.float32), weights)[0] <= 1


def test_a_class_without_positives_has_a_gradient_in_all_losses_but_soft_f1():
    labels = np.array([[1, 0, 1], [0, 0, 1]], np.float32)  # the second class is absent
    pushed = {name: gradient(name, labels, LOGITS, ONES)[:, 1].max() > 1e-3 for name in losses.LOSSES}
    assert pushed == dict.fromkeys(losses.LOSSES, True) | {"soft_f1": False}
    assert value("soft_f1", labels[:, 1:2], LOGITS[:, 1:2], ONES[:1]) == pytest.approx([1, 1])


def test_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="hinge.*use one of"):
        losses.make_loss("bce+hinge", ONES)


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("bce", [1, 1], "All classes weigh 1 in bce."),
        ("bce", [5, 5], "All classes weigh 5 in bce."),
        ("focal", [1, 6.5], "Class weights from 1 to 6.5: they multiply the positive terms of focal."),
        ("lovasz", [1, 2], "Class weights from 1 to 2: they set the share of each class in lovasz."),
        ("bce+soft_f1", [1, 2], "Class weights from 1 to 2: they multiply the positive terms of bce; they set the "
         "share of each class in soft_f1."),
    ],
)  # fmt: skip
def test_the_use_of_the_weights_is_told_as_it_is(name, weights, expected):
    assert losses.describe_weights(name, np.array(weights, np.float32)) == expected


def test_lovasz_is_the_mean_of_jaccard_steps_over_classes_of_several_images():
    """The extension by its definition: sorted errors, each times the growth of |wrong| / |labels or wrong|."""
    random = np.random.default_rng(0)
    labels, logits = (random.random((6, 3)) < 0.5).astype(np.float32), random.normal(size=(6, 3)).astype(np.float32)
    terms = []
    for column in range(3):
        for truth, score in ((labels[:, column], logits[:, column]), (1 - labels[:, column], -logits[:, column])):
            errors, before = 1 - score * (2 * truth - 1), 0.0
            order = np.argsort(-errors)
            for count in range(1, 7):
                wrong = np.isin(np.arange(6), order[:count])
                jaccard = wrong.sum() / (wrong | (truth == 1)).sum()
                terms.append(max(errors[order[count - 1]], 0) * (jaccard - before))
                before = jaccard
    assert value("lovasz", labels, logits)[0] == pytest.approx(np.sum(terms) / 6, rel=1e-5)


def test_a_loss_is_called_as_it_was_asked_for():
    assert losses.make_loss("bce+soft_f1", ONES).__name__ == "bce+soft_f1"
