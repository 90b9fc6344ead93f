import time

import keras
import numpy as np
import pytest

from hpa_lib.training import batches

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
    assert len(dataset) == 2 and sorted(dataset.order) == ROWS.tolist() != dataset.order.tolist()
    before = dataset.order.tolist()
    dataset.start_epoch(1)
    assert sorted(dataset.order) == ROWS.tolist() and dataset.order.tolist() != before


def test_the_same_epoch_gives_the_same_stream_and_another_one_another():
    settings = {"batch_size": 8, "shuffle": True, "augmentation": "study", "mix": "mixup", "seed": 5}
    first, second = (batches.ImageBatches(IMAGES, LABELS, ROWS, **settings) for _ in range(2))
    first.start_epoch(1)
    second.start_epoch(1)
    assert (everything(first)[0] == everything(second)[0]).all()
    second.start_epoch(2)
    assert (everything(first)[0] != everything(second)[0]).any()


@pytest.mark.parametrize(
    "changed", [{"augmentation": "turns"}, {"augmentation": "strong"}, {"mix": "mixup"}, {"mix": "cutmix"}]
)
def test_each_epoch_changes_the_same_images_in_another_way(changed):
    """In order, so that the epochs can only differ in what is done to an image."""
    dataset = batches.ImageBatches(IMAGES, LABELS, ROWS, batch_size=20, **changed)
    epochs = []
    for epoch in range(3):
        dataset.start_epoch(epoch)
        epochs.append(everything(dataset)[0].tobytes())
    assert len(set(epochs)) == 3


def test_each_batch_is_mixed_with_numbers_of_its_own():
    dataset = batches.ImageBatches(IMAGES, LABELS, np.tile(ROWS[:8], 2), batch_size=8, mix="mixup")
    assert (dataset[0][0] != dataset[1][0]).any()


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


def test_one_image_is_followed_through_the_epochs_as_training_sees_it():
    settings = {"augmentation": "study", "seed": 5}
    followed = batches.first_images(batches.ImageBatches(IMAGES, LABELS, ROWS[:8], **settings), epochs=4)
    train = batches.ImageBatches(IMAGES, LABELS, ROWS, batch_size=4, shuffle=True, **settings)
    for epoch, image in enumerate(followed):
        train.start_epoch(epoch)
        assert (everything(train)[0][train.order.tolist().index(ROWS[0])] == image).all()


def fed(dataset):
    """The batches in the order in which Keras hands them to the training step, over two epochs."""
    from keras.src.trainers.data_adapters import py_dataset_adapter

    parts = []
    for epoch in (0, 1):
        dataset.start_epoch(epoch)
        adapter = py_dataset_adapter.PyDatasetAdapter(dataset)
        adapter.on_epoch_begin()
        parts += list(adapter.get_numpy_iterator())
        adapter.on_epoch_end()
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def test_any_number_of_workers_feeds_the_same_stream():
    settings = {"batch_size": 4, "shuffle": True, "augmentation": "strong", "mix": "cutmix", "seed": 5}
    single, two, four = (fed(batches.ImageBatches(IMAGES, LABELS, ROWS, **settings, workers=n)) for n in (1, 2, 4))
    assert len(single[0]) == 2 * len(ROWS)
    for other in (two, four):
        assert (single[0] == other[0]).all() and (single[1] == other[1]).all()


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_no_number_of_workers_leaves_tf_data_to_tune_itself(workers):
    """Its tuner makes each epoch wait after the last batch; the wait itself is measured in the slow test below."""
    from keras.src.trainers.data_adapters import py_dataset_adapter

    dataset = batches.ImageBatches(IMAGES, LABELS, ROWS, batch_size=8, workers=workers)
    assert py_dataset_adapter.PyDatasetAdapter(dataset).get_tf_dataset().options().autotune.enabled is False


@pytest.mark.slow
def test_an_epoch_does_not_wait_after_its_last_batch():
    """The ticks of tf.data's tuner come at 5.1, 10.2, 20.5 s: epochs that end between them would wait for seconds."""
    inputs = keras.Input((16, 16, 4), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(28)(pooled))
    model.compile("sgd", "mse", jit_compile=False)
    ends, steps, waits = [], [], []

    class SlowStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            time.sleep(0.1)
            ends.append(time.perf_counter())

    for repeats in (12, 24, 46):  # epochs of about 6, 12 and 23 s
        dataset = batches.ImageBatches(IMAGES, LABELS, ROWS.repeat(repeats), batch_size=4, shuffle=True, workers=1)
        ends.clear()
        model.fit(dataset, shuffle=False, verbose=0, callbacks=[SlowStep()])
        waits.append(time.perf_counter() - ends[-1])
        steps.append(np.median(np.diff(ends)))
    assert max(waits) < 10 * np.median(steps), f"waits after the last batch {waits}, a step takes {np.median(steps)} s"
