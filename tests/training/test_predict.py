import keras
import numpy as np
import pytest

from hpa_lib.data import cache, checks, image_files
from hpa_lib.decisions import calibration
from hpa_lib.training import augment, predict

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 12, 12, 4), np.uint8)


def corner_model():
    """Logits that depend on one corner only, so that every turn of an image gives another answer."""
    inputs = keras.Input((12, 12, 4), dtype="uint8")
    x = keras.layers.Rescaling(1 / 64, offset=-2)(inputs)
    x = keras.layers.Cropping2D(((0, 11), (0, 10)))(x)
    return keras.Model(inputs, keras.layers.Flatten()(x))  # (N, 8)


def test_rows_keep_their_order_whatever_the_batch_size():
    model, rows = corner_model(), np.array([9, 2, 5, 2, 0])
    expected = IMAGES[rows, 0, :2].reshape(5, 8) / 64.0 - 2
    for batch_size in (1, 2, 64):
        assert predict.predict_logits(model, IMAGES, rows, batch_size) == pytest.approx(expected, abs=1e-5)


def test_turns_average_logits():
    model, rows = corner_model(), np.arange(11)
    views = [predict.predict_logits(model, augment.turn(IMAGES, number), rows) for number in range(8)]
    mean = predict.predict_probs(model, IMAGES, rows, turns=8)
    assert mean == pytest.approx(calibration.sigmoid(np.mean(views, axis=0)), abs=1e-6)


def test_embeddings_are_those_of_the_unturned_image():
    inputs = keras.Input((12, 12, 4), dtype="uint8")
    corner = corner_model()(inputs)
    model, rows = keras.Model(inputs, keras.layers.Dense(28, name="logits")(corner)), np.array([9, 2, 5])
    probs, embeddings = predict.predict_embeddings(model, IMAGES, rows, turns=3)
    assert embeddings.dtype == np.float16
    assert embeddings == pytest.approx(predict.predict_logits(corner_model(), IMAGES, rows), abs=1e-3)
    assert probs == pytest.approx(predict.predict_probs(model, IMAGES, rows, turns=3), abs=1e-6)
    probs, embeddings = predict.predict_embeddings(model, IMAGES, rows[:0])
    assert probs.shape == (0, 28) and embeddings.shape == (0, 8), "a run set may have no hold-out"


def test_turns_out_of_range_are_refused():
    with pytest.raises(ValueError, match="use 1 to 8 turns"):
        predict.predict_probs(corner_model(), IMAGES, np.arange(2), turns=9)
    inputs = keras.Input((12, 12, 4), dtype="uint8")
    model = keras.Model(inputs, keras.layers.Dense(28, name="logits")(corner_model()(inputs)))
    with pytest.raises(ValueError, match="use 1 to 8 turns"):
        predict.predict_embeddings(model, IMAGES, np.arange(2), turns=0)


def test_a_folder_is_read_in_parts_and_bad_images_do_not_stop_it(tiny_dataset, monkeypatch):
    """Every part has as many rows as usable images; images are reduced as the cache reduces them."""
    monkeypatch.setattr(checks, "CHUNK", 3)
    folder = tiny_dataset(test_images=8, size=24) / "test"
    for number in (3, 4, 5):  # a whole part
        (folder / f"test-{number:04d}_red.png").unlink()
    ids = image_files.list_ids(folder)
    parts = list(predict.predict_folder(corner_model(), folder, ids, turns=2))
    assert [len(names) for names, *_ in parts] == [3, 0, 2] and [len(found) for *_, found in parts] == [0, 3, 0]
    names, images, probs, _ = parts[2]
    assert names == ["test-0006", "test-0007"] and images.shape == (2, 12, 12, 4)
    assert (images[1] == cache.read_image(folder.parent, "test", "test-0007", 12)).all()
    assert (probs == predict.predict_probs(corner_model(), images, np.arange(2), turns=2)).all()
