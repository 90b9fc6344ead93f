import numpy as np
import pytest

from hpa_lib.training import imbalance

COUNTS = np.array([12885, 1254, 11, 0])


def test_schemes_by_hand():
    assert imbalance.class_weights(COUNTS, "none").tolist() == [1, 1, 1, 1]
    assert imbalance.class_weights(COUNTS, "inverse", cap=1e9)[:3] == pytest.approx([1, 12885 / 1254, 12885 / 11])
    assert imbalance.class_weights(COUNTS, "sqrt", cap=1e9)[2] == pytest.approx((12885 / 11) ** 0.5)
    effective = imbalance.class_weights(COUNTS, "effective", cap=1e9, beta=0.99)
    assert effective[2] == pytest.approx((1 - 0.99**12885) / (1 - 0.99**11))


def test_cap_and_classes_without_images():
    weights = imbalance.class_weights(COUNTS, "inverse", cap=12)
    assert weights.max() == 12 and weights[3] == 12 and weights.dtype == np.float32


def test_no_images_count_as_one_and_no_cap_is_below_1():
    assert imbalance.class_weights(COUNTS, "inverse", cap=1e9)[3] == 12885
    assert imbalance.class_weights(COUNTS, "inverse", cap=0.5).tolist() == [1, 1, 1, 1]
    assert imbalance.class_weights(COUNTS, "inverse", cap=1.5).tolist() == [1, 1.5, 1.5, 1.5]


def test_defaults_are_those_of_the_notebooks():
    assert imbalance.class_weights(COUNTS) == pytest.approx([1, (12885 / 1254) ** 0.5, 12, 12])
    effective = imbalance.class_weights(COUNTS, "effective", cap=1e9)
    assert effective[2] == pytest.approx((1 - 0.999**12885) / (1 - 0.999**11))
    labels = np.zeros((400, 3), int)
    labels[:, 0] = labels[:16, 1] = labels[0, 2] = 1
    weights = imbalance.sampling_weights(labels)
    assert weights[[0, 1, 399]] / weights[399] == pytest.approx([12, 5, 1])  # sqrt(400), capped, and sqrt(400 / 16)


def test_images_without_a_label_and_classes_without_images_are_sampled_as_common_ones():
    labels = np.zeros((4, 3), int)
    labels[:2, 0] = labels[0, 1] = 1
    assert imbalance.sampling_weights(labels, power=1) == pytest.approx(np.array([2, 1, 1, 1]) / 5)


def test_hand_set_weights_are_taken_as_they_are():
    assert imbalance.class_weights(COUNTS, "1,2.5,3,4").tolist() == [1, 2.5, 3, 4]


@pytest.mark.parametrize("scheme", ["squirt", "1,2", "1,2,3,x", "1,2,3,-4", "1,2,3,0", "1,2,3,inf"])
def test_bad_schemes_name_the_remedy(scheme):
    with pytest.raises(ValueError, match="use one of|separated by commas"):
        imbalance.class_weights(COUNTS, scheme)


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="counts"):
        imbalance.class_weights(np.array([3, -1]), "sqrt")
    with pytest.raises(ValueError, match="counts"):
        imbalance.class_weights(np.array([[3, 1]]), "sqrt")


def test_sampling_follows_the_rarest_label():
    labels = np.zeros((100, 3), int)
    labels[:, 0] = 1
    labels[:4, 1] = 1
    labels[0, 2] = 1
    weights = imbalance.sampling_weights(labels, power=0.5, cap=8)
    assert weights.sum() == pytest.approx(1)
    assert weights[1] / weights[99] == pytest.approx(5)  # sqrt(100 / 4)
    assert weights[0] / weights[99] == pytest.approx(8)  # sqrt(100 / 1), capped


def test_prior_logits_are_where_the_weighted_loss_is_smallest():
    labels = np.zeros((100, 2), int)
    labels[:30, 0] = 1
    logits = imbalance.prior_logits(labels, np.array([1.0, 4.0]))
    assert 1 / (1 + np.exp(-logits[0])) == pytest.approx(0.3)
    assert logits[1] == pytest.approx(np.log(4 * 0.5 / 100))  # none counts as half an image
    everywhere = imbalance.prior_logits(np.ones((100, 2), int), np.array([1.0, 4.0]))
    assert everywhere == pytest.approx(np.log([100 / 0.5, 400 / 0.5]))
    labels[:10, 1] = 1
    grid = np.linspace(-5, 5, 2001)
    loss = 4 * 10 * np.log1p(np.exp(-grid)) + 90 * np.log1p(np.exp(grid))
    best = grid[loss.argmin()]
    assert imbalance.prior_logits(labels, np.array([1.0, 4.0]))[1] == pytest.approx(best, abs=0.01)


def test_what_an_epoch_draws_is_told_as_it_is():
    assert imbalance.describe_sampling(None) == "An epoch goes through every training image once, in a new order."
    weights = np.array([0.4, *[0.1] * 6])
    text = imbalance.describe_sampling(weights)
    draws = np.random.default_rng(0).choice(7, (4000, 7), p=weights)
    different = np.mean([len(set(row)) for row in draws.tolist()])
    assert f"draws 7 times with replacement: about {different:.0f} images" in text
    assert "each from 0.7 to 2.8 times on average" in text
