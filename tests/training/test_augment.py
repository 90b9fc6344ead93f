import numpy as np
import pytest

from hpa_lib.training import augment

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
    turned = augment.augment_images(np.repeat(IMAGES[:1], 20, axis=0), "study", seeds)
    assert len({image.tobytes() for image in turned}) > 5


def test_the_originals_stay_as_they_are():
    before = IMAGES.copy()
    for name in augment.AUGMENTS:
        augment.augment_images(IMAGES, name, SEEDS)
    augment.mix_images(IMAGES, np.eye(5, 28, dtype=np.float32), "cutmix", np.random.default_rng(0))
    assert np.array_equal(IMAGES, before)


def test_the_eight_turns_are_exact_and_different():
    square = IMAGES[0]
    turned = [augment.turn(square, number) for number in range(8)]
    assert len({image.tobytes() for image in turned}) == 8
    assert all((np.sort(image, axis=None) == np.sort(square, axis=None)).all() for image in turned)
    assert (augment.turn(IMAGES, 5)[2] == augment.turn(IMAGES[2], 5)).all()


@pytest.mark.parametrize("size", [40, 41, 224])
@pytest.mark.parametrize("operation, number", augment.EXACT_TURNS.items())
def test_exact_turns_are_what_imgaug_makes(size, operation, number):
    image = RNG.integers(0, 256, (size, size, 4), np.uint8)
    assert (augment.study_pipeline()[operation](image=image) == augment.turn(image, number)).all()


def test_report_draws_each_operation_as_often_as_imgaug_does():
    """A sixth each for the three turns; a sixth is sheared; of the flips' third, one half is left as it was."""
    image = IMAGES[:1, :8, :8]
    known = {augment.turn(image[0], number).tobytes(): number for number in range(8)}
    made = augment.augment_images(np.repeat(image, 3000, axis=0), "study", list(range(3000)))
    counts = np.bincount([known.get(image.tobytes(), 8) for image in made], minlength=9) / 3000
    expected = np.array([1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 12, 0, 1 / 12, 0, 1 / 6])  # 4 and 6 are the two flips
    assert counts == pytest.approx(expected, abs=0.02)


def test_study_pipeline_holds_the_six_operations():
    assert [type(augmenter).__name__ for augmenter in augment.study_pipeline()] == ["Affine"] * 4 + ["Fliplr", "Flipud"]


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
