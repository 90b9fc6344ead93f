import numpy as np
import pytest

from hpa_lib import augment

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 40, 40, 4), np.uint8)
SEEDS = [augment.image_seed(0, 1, row) for row in range(5)]


@pytest.mark.parametrize("name", augment.AUGMENTS)
def test_an_image_depends_on_its_own_seed_alone(name):
    together = augment.augment_images(IMAGES, name, SEEDS)
    alone = augment.augment_images(IMAGES[3:4], name, SEEDS[3:4])
    assert together.dtype == np.uint8 and together.shape == IMAGES.shape
    assert (together[3] == alone[0]).all()


def test_another_epoch_is_another_image():
    seeds = [augment.image_seed(0, epoch, 0) for epoch in range(20)]
    turned = augment.augment_images(np.repeat(IMAGES[:1], 20, axis=0), "report", seeds)
    assert len({one.tobytes() for one in turned}) > 5


def test_the_originals_stay_as_they_are():
    before = IMAGES.copy()
    for name in augment.AUGMENTS:
        augment.augment_images(IMAGES, name, SEEDS)
    augment.mix_images(IMAGES, np.eye(5, 28, dtype=np.float32), "cutmix", np.random.default_rng(0))
    assert np.array_equal(IMAGES, before)


def test_the_eight_turns_are_exact_and_different():
    square = IMAGES[0]
    turned = [augment.turn(square, number) for number in range(8)]
    assert len({one.tobytes() for one in turned}) == 8
    assert all((np.sort(one, axis=None) == np.sort(square, axis=None)).all() for one in turned)
    assert (augment.turn(IMAGES, 5)[2] == augment.turn(IMAGES[2], 5)).all()


def test_imgaug_quarter_turn_equals_the_exact_one():
    turned = augment.iaa.Affine(rotate=90)(image=IMAGES[0])
    assert np.abs(turned[1:-1, 1:-1].astype(int) - np.rot90(IMAGES[0], -1)[1:-1, 1:-1]).max() <= 1


def test_report_pipeline_holds_the_six_operations():
    assert [type(one).__name__ for one in augment.report_pipeline()] == ["Affine"] * 4 + ["Fliplr", "Flipud"]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_labels_keep_their_sum(name):
    labels = np.eye(5, 28, dtype=np.float32)
    images, mixed = augment.mix_images(IMAGES, labels, name, np.random.default_rng(3))
    assert images.shape == IMAGES.shape and images.dtype == np.uint8
    assert mixed.sum(axis=1) == pytest.approx(np.ones(5)) and ((mixed > 0).sum(axis=1) > 1).any()


def test_cutmix_share_is_the_area_left():
    images = np.stack([np.zeros((40, 40, 4), np.uint8), np.full((40, 40, 4), 255, np.uint8)])
    mixed, labels = augment.mix_images(images, np.eye(2, 28, dtype=np.float32), "cutmix", np.random.default_rng(1))
    assert mixed[0].mean() / 255 == pytest.approx(labels[0, 1], abs=1e-6)


@pytest.mark.parametrize("call", [
    lambda: augment.augment_images(IMAGES, "wild", SEEDS),
    lambda: augment.mix_images(IMAGES, np.zeros((5, 28)), "blend", np.random.default_rng(0)),
])  # fmt: skip
def test_unknown_names_are_refused(call):
    with pytest.raises(ValueError, match="use one of"):
        call()
