"""Folds keep groups whole, spread every class evenly, and depend on the seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

from hpa_lib.data import kaggle, splits


def rare_labels(num_images=2000, seed=0):
    """Labels whose classes have from about half of the images down to a handful."""
    random = np.random.default_rng(seed)
    labels = (random.random((num_images, 28)) < np.geomspace(0.4, 0.004, 28)).astype(np.uint8)
    labels[labels.sum(axis=1) == 0, 0] = 1
    return labels


def deviation(labels, folds, num_folds):
    """The mean distance of a fold's count of a class from its fair share, in images."""
    counts = np.array([labels[folds == fold].sum(axis=0, dtype=int) for fold in range(num_folds)])
    return np.abs(counts - labels.sum(axis=0) / num_folds).mean()


def package_folds(labels, num_folds, seed):
    folds = np.empty(len(labels), int)
    splitter = MultilabelStratifiedKFold(num_folds, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(splitter.split(np.zeros(len(labels)), labels)):
        folds[rows] = fold
    return folds


def test_every_class_is_spread_evenly():
    labels = rare_labels()
    folds = splits.make_folds(labels, np.arange(len(labels)), 5, seed=0)
    counts = np.array([labels[folds == fold].sum(axis=0, dtype=int) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= 3).all()
    assert np.ptp(np.bincount(folds, minlength=5)) <= 0.03 * len(labels)


@pytest.mark.parametrize("seed", range(3))
def test_balance_is_as_good_as_the_iterative_stratification_package(seed):
    labels = rare_labels(seed=seed)
    ours = deviation(labels, splits.make_folds(labels, np.arange(len(labels)), 5, seed), 5)
    theirs = deviation(labels, package_folds(labels, 5, seed), 5)
    assert ours <= theirs * 1.05


def test_balance_on_the_real_table(real_samples):
    _, labels = kaggle.read_labels(real_samples / "train.csv")
    folds = splits.make_folds(labels, np.arange(len(labels)), 5, seed=0)
    assert deviation(labels, folds, 5) <= deviation(labels, package_folds(labels, 5, 0), 5) + 1e-9
    rods_and_rings = np.bincount(folds[labels[:, 27] == 1], minlength=5)
    assert rods_and_rings.sum() == 11
    assert set(rods_and_rings) <= {2, 3}


def test_groups_stay_whole_and_classes_still_spread():
    labels = rare_labels()
    groups = np.random.default_rng(1).integers(0, 600, len(labels))
    folds = splits.make_folds(labels, groups, 4, seed=0)
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))
    common = labels.sum(axis=0) > 100
    counts = np.array([labels[folds == fold].sum(axis=0, dtype=int) for fold in range(4)])[:, common]
    assert (np.abs(counts - counts.mean(axis=0)) < 0.15 * counts.mean(axis=0) + 3).all()


def test_group_values_may_be_texts_and_do_not_matter():
    labels = rare_labels(300)
    numbers = np.arange(300) // 3
    texts = np.array([f"group {number:04d}" for number in numbers])
    np.testing.assert_array_equal(splits.make_folds(labels, numbers, 3, 5), splits.make_folds(labels, texts, 3, 5))


def test_the_seed_decides_and_nothing_else():
    labels, groups = rare_labels(500), np.arange(500)
    first = splits.make_split(labels, groups, 4, 0.2, seed=1)
    np.testing.assert_array_equal(first, splits.make_split(labels, groups, 4, 0.2, seed=1))
    assert (first != splits.make_split(labels, groups, 4, 0.2, seed=2)).any()


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_holdout_has_its_share_of_every_class(fraction):
    labels = rare_labels()
    held = splits.make_holdout(labels, np.arange(len(labels)), fraction, seed=0)
    assert held.dtype == bool
    counts = labels.sum(axis=0)
    assert (np.abs(labels[held].sum(axis=0) - fraction * counts) <= 2).all()
    assert abs(held.mean() - fraction) < 0.02


def test_split_is_holdout_and_folds_of_the_rest():
    labels, groups = rare_labels(1000), np.arange(1000) // 2
    folds = splits.make_split(labels, groups, 4, 0.2, seed=0)
    np.testing.assert_array_equal(folds == -1, splits.make_holdout(labels, groups, 0.2, seed=0))
    assert set(folds) == {-1, 0, 1, 2, 3}
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))
    assert set(splits.make_split(labels, groups, 4, 0, seed=0)) == {0, 1, 2, 3}


def test_images_without_labels_are_spread_too():
    labels = np.zeros((100, 28), np.uint8)
    assert np.bincount(splits.make_folds(labels, np.arange(100), 4, 0)).tolist() == [25] * 4
    assert splits.make_holdout(labels, np.arange(100), 0.2, 0).sum() == 20


@pytest.mark.parametrize("seed", range(3))
def test_left_over_images_go_to_the_fold_with_most_room(seed):
    labels = np.repeat(np.eye(28, dtype=np.uint8), 5, axis=0)  # five images a class: four folds get one, one is over
    folds = splits.make_folds(labels, np.arange(140), 4, seed)
    assert np.bincount(folds).tolist() == [35] * 4


def test_random_folds_are_equal_in_size_and_keep_groups():
    assert np.bincount(splits.make_random_folds(np.arange(10), 4, 0)).tolist() == [3, 3, 2, 2]
    folds = splits.make_random_folds(np.repeat(["a", "b", "c", "d"], 3), 2, 0)
    assert np.bincount(folds).tolist() == [6, 6]
    assert (folds.reshape(4, 3) == folds[::3, None]).all()


def test_count_table_adds_up():
    labels = rare_labels(400)
    folds = splits.make_split(labels, np.arange(400), 3, 0.25, seed=0)
    table = splits.count_by_fold(labels, folds)
    assert list(table.columns) == ["class", "all", "holdout", "fold 0", "fold 1", "fold 2"]
    np.testing.assert_array_equal(table["all"], labels.sum(axis=0))
    np.testing.assert_array_equal(table.iloc[:, 2:].sum(axis=1), table["all"])


def test_every_split_can_be_cross_fitted_later():
    """Notebooks 05 and 06 take at most FOLDS folds: a split that 00 makes must be enough for them."""
    labels, groups = rare_labels(40), np.repeat(np.arange(8), 5)
    folds = splits.make_split(labels, groups, 2, 0, seed=0)
    for fold in (0, 1):
        inside = folds == fold
        num_groups = len(np.unique(groups[inside]))
        assert len(np.unique(splits.make_cross_folds(labels[inside], groups[inside], 5, 0))) == min(5, num_groups) < 5
    with pytest.raises(ValueError, match="fold 0 of 3 has a single group of images: use fewer folds or more groups"):
        splits.make_split(labels[:12], np.repeat([0, 1, 2], 4), 3, 0, seed=0)
    folds = splits.make_split(labels[:12], np.repeat(np.arange(6), 2), 3, 0, seed=0)
    assert np.bincount(folds).tolist() == [4, 4, 4]  # two groups in each are enough
    many = rare_labels(40)
    folds = splits.make_cross_folds(many, np.arange(40), 5, 1)
    np.testing.assert_array_equal(folds, splits.make_folds(many, np.arange(40), 5, 1))


def test_wrong_input_is_refused():
    labels, groups = rare_labels(20), np.zeros(20, int)
    with pytest.raises(ValueError, match="1 groups cannot fill 4 folds: use fewer folds"):
        splits.make_folds(labels, groups, 4, 0)
    with pytest.raises(ValueError, match="num_folds 1: use 2 or more"):
        splits.make_folds(labels, groups, 1, 0)
    with pytest.raises(ValueError, match="20 rows of labels but 19 groups"):
        splits.make_folds(labels, groups[1:], 2, 0)
    with pytest.raises(ValueError, match=r"fraction 1\.5: use a number between 0 and 1"):
        splits.make_holdout(labels, groups, 1.5, 0)
    for fraction in (0, 1):
        with pytest.raises(ValueError, match=f"fraction {fraction}: use a number between 0 and 1"):
            splits.make_holdout(labels, np.arange(20), fraction, 0)
    with pytest.raises(ValueError, match="^0 groups cannot fill 2 folds"):
        splits.make_folds(labels[:0], groups[:0], 2, 0)


@settings(max_examples=60, deadline=None)
@given(
    num_images=st.integers(8, 60), num_groups=st.integers(4, 30), num_folds=st.integers(2, 4), seed=st.integers(0, 99)
)
def test_property_every_image_has_a_fold_and_every_group_one(num_images, num_groups, num_folds, seed):
    random = np.random.default_rng(seed)
    labels = (random.random((num_images, 28)) < 0.05).astype(np.uint8)
    groups = np.concatenate([np.arange(4), random.integers(0, num_groups, num_images - 4)])
    folds = splits.make_folds(labels, groups, num_folds, seed)
    assert set(folds) <= set(range(num_folds))
    assert len(set(zip(groups.tolist(), folds.tolist(), strict=True))) == len(set(groups.tolist()))


@pytest.mark.parametrize("seed", range(8))
def test_large_groups_are_dealt_out_before_small_ones(seed):
    """A group of four images and four single ones: the single ones fill the other fold only if they come later."""
    labels = np.zeros((8, 28), np.uint8)
    labels[:, 3] = 1
    folds = splits.make_folds(labels, np.array([0, 0, 0, 0, 1, 2, 3, 4]), 2, seed)
    assert np.bincount(folds).tolist() == [4, 4] and len(set(folds[:4])) == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_group_takes_the_room_of_all_its_images(seed):
    """Fold A gets the group of five, B the other image of class 5; so B has room for the image without a label."""
    labels = np.zeros((7, 28), np.uint8)
    labels[[0, 5], 5] = 1
    folds = splits.make_folds(labels, np.array([0, 0, 0, 0, 0, 1, 2]), 2, seed)
    assert folds[6] == folds[5] != folds[0]


@pytest.mark.parametrize("seed", range(8))
def test_of_two_folds_that_want_a_label_alike_the_emptier_one_gets_it(seed):
    labels = np.zeros((6, 28), np.uint8)
    labels[0, 5] = labels[5, 6] = 1
    folds = splits.make_folds(labels, np.array([0, 0, 0, 0, 0, 1]), 2, seed)
    assert folds[5] != folds[0]


def test_chance_decides_among_equal_folds_and_the_seed_decides_chance():
    labels = np.zeros((40, 28), np.uint8)
    labels[:, 0] = 1
    labels[7, 27] = 1  # the only image of its class: any fold will do
    assert len({splits.make_folds(labels, np.arange(40), 4, seed)[7] for seed in range(12)}) == 4
    assert len({splits.make_folds(labels, np.arange(40), 2, seed)[7] for seed in range(12)}) == 2
    held = [splits.make_holdout(rare_labels(300), np.arange(300), 0.3, seed) for seed in (1, 1, 2)]
    assert (held[0] == held[1]).all() and (held[0] != held[2]).any()
    folds = [splits.make_random_folds(np.arange(300), 3, seed) for seed in (1, 1, 2)]
    assert (folds[0] == folds[1]).all() and (folds[0] != folds[2]).any()
    assert (folds[0] != np.arange(300) % 3).any()
