import numpy as np
import pytest

from hpa_lib import batches

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (23, 16, 16, 4), np.uint8)
LABELS = (RNG.random((23, 28)) < 0.1).astype(np.uint8)
ROWS = np.arange(3, 23)


def everything(dataset):
    parts = [dataset[index] for index in range(len(dataset))]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def test_in_order_and_complete_when_not_shuffled():
    images, labels = everything(batches.ImageBatches(IMAGES, LABELS, ROWS, batch_size=8))
    assert (images == IMAGES[ROWS]).all() and (labels == LABELS[ROWS]).all() and labels.dtype == np.float32


def test_a_shuffled_epoch_draws_each_row_once_and_drops_the_rest():
    dataset = batches.ImageBatches(IMAGES, LABELS, ROWS, batch_size=8, shuffle=True)
    assert len(dataset) == 2 and sorted(dataset.order) == ROWS.tolist()


def test_the_same_epoch_gives_the_same_stream_and_another_one_another():
    settings = {"batch_size": 8, "shuffle": True, "augmentation": "report", "mix": "mixup", "seed": 5}
    first, second = (batches.ImageBatches(IMAGES, LABELS, ROWS, **settings) for _ in range(2))
    first.start_epoch(1)
    second.start_epoch(1)
    assert (everything(first)[0] == everything(second)[0]).all()
    second.start_epoch(2)
    assert (everything(first)[0] != everything(second)[0]).any()


def test_sampling_draws_the_heavy_rows():
    weights = np.zeros(len(ROWS))
    weights[:2] = 0.5
    dataset = batches.ImageBatches(IMAGES, LABELS, ROWS, batch_size=8, shuffle=True, sampling=weights)
    assert set(dataset.order) <= set(ROWS[:2])


def test_a_small_part_makes_one_small_batch_and_an_empty_one_is_refused():
    assert batches.ImageBatches(IMAGES, LABELS, ROWS[:3], batch_size=8, shuffle=True)[0][0].shape == (3, 16, 16, 4)
    with pytest.raises(ValueError, match="no images in this part"):
        batches.ImageBatches(IMAGES, LABELS, ROWS[:0])


def test_copies_of_an_image_drawn_twice_in_an_epoch_differ():
    weights = np.zeros(len(ROWS))
    weights[0] = 1
    settings = {"batch_size": 16, "shuffle": True, "augmentation": "turns", "sampling": weights}
    images, _ = batches.ImageBatches(IMAGES, LABELS, ROWS, **settings)[0]
    assert len({image.tobytes() for image in images}) > 4
