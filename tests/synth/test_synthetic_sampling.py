"""Label sets with the real statistics, in groups, with a floor for the rare classes."""

import hashlib

import numpy as np
import pytest

from hpa_lib import atlas
from hpa_synth import data_sets, sampling, writing

KAGGLE_COUNTS = [  # images per class in the real training table
    *(12885, 1254, 3621, 1561, 1858, 2513, 1008, 2822, 53, 45, 28, 1093, 688, 537),
    *(1066, 21, 530, 210, 902, 1482, 172, 3777, 802, 2965, 322, 8228, 328, 11),
]


def plan(images=3300, floor=40, dark=0.22, seed=0):
    return sampling.make_plan(np.random.default_rng(seed), images, floor, dark)


def test_label_sets_are_the_real_ones():
    sets, counts = sampling.read_label_sets()
    assert sets.shape == (577, 28)
    assert counts.sum() == 31072
    assert (counts @ sets).tolist() == KAGGLE_COUNTS


def test_the_kaggle_profile_has_the_real_counts_exactly():
    profile = data_sets.DATA_SETS["kaggle"]
    labels = plan(profile.images, profile.floor).labels
    assert labels.sum(0).tolist() == KAGGLE_COUNTS
    assert labels.sum(0)[27] == 11


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["quick", "course", "kaggle"])
def test_cardinality_and_company_stay_natural(name, seed):
    profile = data_sets.DATA_SETS[name]
    labels = plan(profile.images, profile.floor, seed=seed).labels
    assert 1.60 <= labels.sum(1).mean() <= 1.70
    assert labels.sum(1).min() >= 1
    assert not (labels[:, 10] & ~labels[:, 9]).any()  # no Lysosomes without Endosomes
    alone = labels[labels.sum(1) == 1].sum(0)
    assert alone[17] == alone[15] == alone[10] == 0  # never alone in the real table either


def test_the_floor_keeps_the_number_of_labels_an_image():
    """The real table has 1.634; the floor's companions alone would push the quick profile to 1.67."""
    made = [plan(seed=seed).labels.sum(1).mean() for seed in range(8)]
    assert abs(np.mean(made) - 1.634) < 0.02


@pytest.mark.parametrize("name", ["quick", "course"])
def test_pairs_are_as_frequent_as_in_the_real_table(name):
    """Pairs of two classes that the floor leaves alone: |log ratio| under .3 where 20 or more are expected."""
    profile = data_sets.DATA_SETS[name]
    sets, counts = sampling.read_label_sets()
    labels = np.mean([_pairs(plan(profile.images, profile.floor, seed=seed).labels) for seed in range(16)], axis=0)
    expected = (sets.T * counts) @ sets * (profile.images / counts.sum())
    common = (np.diag(expected) > 1.5 * profile.floor)[:, None] & (np.diag(expected) > 1.5 * profile.floor)
    common &= (expected >= 20) & ~np.eye(28, dtype=bool)
    assert common.sum() >= 20
    assert np.abs(np.log(labels[common] / expected[common])).max() < 0.3


def _pairs(labels):
    return labels.T.astype(int) @ labels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("images", [150, 280, 700, 3300])
def test_every_class_reaches_the_floor(images, seed):
    floor = data_sets.possible_floor(40, images)
    assert floor >= 3
    assert plan(images, floor, seed=seed).labels.sum(0).min() >= floor


def test_the_imbalance_survives_the_floor():
    counts = plan().labels.sum(0)
    assert counts.max() / counts.min() > 25


def test_a_floor_that_cannot_be_met_is_told():
    with pytest.raises(ValueError, match="lower the floor"):
        plan(100, 30)


@pytest.mark.parametrize("images", [28, 280, 3300, 31072])
def test_groups_hold_two_to_four_images_of_one_label_set(images):
    made = plan(images, 0)
    assert len(made.labels) == len(made.groups) == len(made.dark) == images
    _, sizes = np.unique(made.groups, return_counts=True)
    assert sizes.max() <= 4
    single = 0.02 * images if images == 31072 else 1  # the real table has sets that stand there once
    assert (sizes == 1).sum() <= single
    for group in np.unique(made.groups)[:50]:
        inside = made.groups == group
        assert (made.labels[inside] == made.labels[inside][0]).all()
        assert len(set(made.dark[inside])) == 1


def test_the_dark_share_is_met():
    assert abs(plan(dark=0.22).dark.mean() - 0.22) < 0.03
    assert abs(plan(dark=0.51).dark.mean() - 0.51) < 0.03
    assert not plan(dark=0.0).dark.any()


def test_order_and_id_say_nothing_about_the_labels():
    """Position, Id order and group number against every label: correlations at chance for 3,300 images."""
    jobs = writing.make_jobs(data_sets.DATA_SETS["quick"], 0, "train")
    labels = np.zeros((len(jobs), atlas.NUM_LABELS))
    for row, job in zip(labels, jobs, strict=True):
        row[list(job.labels)] = 1
    by_id = np.argsort(np.argsort([job.id for job in jobs]))
    position = np.arange(len(jobs))
    for clue in (position, by_id, [job.protein for job in jobs], position % 2, position % 3, by_id % 7):
        centred = clue - np.mean(clue)
        r = centred @ (labels - labels.mean(0)) / (len(jobs) * np.std(clue) * labels.std(0))
        assert np.abs(r).max() < 7 / np.sqrt(len(jobs))  # groups of three count as one: 7 is 4 standard errors


def test_train_and_test_share_neither_ids_nor_proteins():
    train, test = (writing.make_jobs(data_sets.DATA_SETS["smoke"], 0, part) for part in atlas.IMAGE_FOLDERS)
    assert not {job.id for job in train} & {job.id for job in test}
    assert not {job.protein for job in train} & {job.protein for job in test}
    assert not {job.index for job in train} & {job.index for job in test}
    assert len({job.id for job in train + test}) == len(train) + len(test)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ratio, low, high", [(1, 1, 1.4), (10, 8, 12), (100, 80, 140), (1000, 300, 1500)])
def test_imbalance_is_the_ratio_of_the_commonest_to_the_rarest(ratio, low, high, seed):
    """1000 : 1 of 3,300 images would be 1.3 images of the rarest; a group has two or more."""
    labels = sampling.make_plan(np.random.default_rng(seed), 3300, 0, 0.2, ratio).labels
    counts = labels.sum(axis=0, dtype=int)
    assert low <= counts.max() / counts.min() <= high, counts
    assert len(labels) == 3300
    assert 1.58 <= labels.sum(axis=1).mean() <= 1.69


@pytest.mark.parametrize("ratio", [1, 10, 100, 1000])
def test_imbalance_is_met_exactly_in_the_weights_and_keeps_the_order(ratio):
    sets, real = sampling.read_label_sets()
    counts = sampling.weigh_sets(ratio) @ sets
    assert abs(counts.max() / counts.min() / ratio - 1) < 0.01
    if ratio > 1:
        assert (np.argsort(counts) == np.argsort(real @ sets, kind="stable")).all()


def test_imbalance_keeps_the_test_part():
    settings = data_sets.DATA_SETS["smoke"]
    tests = [writing.make_jobs(settings, 0, "test", ratio) for ratio in (1, 100)]
    assert tests[0] == tests[1]
    assert np.bincount(np.concatenate([job.labels for job in tests[0]]), minlength=28).max() <= 10  # of 60 images
    train = [writing.make_jobs(settings, 0, "train", ratio) for ratio in (1, 100)]
    assert len(train[0]) == len(train[1]) == settings.images
    assert not {job.id for job in train[0]} & {job.id for job in train[1]}


def test_without_imbalance_every_job_is_as_it_was():
    """A digest of the jobs as version 1.2 drew them before it knew of imbalance; the Ids follow from them."""
    jobs = [writing.make_jobs(data_sets.DATA_SETS["smoke"], 3, part) for part in atlas.IMAGE_FOLDERS]
    assert (
        hashlib.sha256(repr([[tuple(job) for job in part] for part in jobs]).encode()).hexdigest()[:16]
        == "821db64ed5690740"
    )


def test_profiles_can_be_resized():
    smaller = data_sets.find_profile("quick", 330, None, False)
    assert (smaller.images, smaller.test_images, smaller.floor) == (330, 60, 6)
    assert data_sets.find_profile("quick", None, 512, False).um_per_px == 0.32
    assert data_sets.find_profile("quick", None, 128, False).um_per_px == 0.64
    assert data_sets.find_profile("quick", None, None, True).dark_test == 0.51
    assert data_sets.find_profile("quick", None, None, False).dark_test == 0.22


@pytest.mark.parametrize(
    "arguments, told",
    [(("quik", None, None), "quik"), (("quick", 5, None), "images 5"), (("quick", None, 8), "size 8")],
)
def test_wrong_profiles_are_told(arguments, told):
    with pytest.raises(ValueError, match=told):
        data_sets.find_profile(*arguments, False)
