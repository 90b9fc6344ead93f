"""Training F1: the streamed one of an epoch, and the clean one at the end."""

import keras
import numpy as np
import pytest
import train_tiny

from hpa_lib.decisions import calibration, metrics, thresholds
from hpa_lib.figures import learning
from hpa_lib.training import batches, loop, losses, streamed


def test_counts_over_batches_give_the_f1_of_all_images_with_empty_rows_filled():
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 28)) < 0.1).astype(np.float32)
    logits = rng.normal(-1.5, 1, (40, 28)).astype(np.float32)
    metric = streamed.StreamedMacroF1()
    for start in range(0, 40, 16):
        metric.update_state(labels[start : start + 16], logits[start : start + 16])
    preds = thresholds.apply(calibration.sigmoid(logits), 0.5, fill_empty=True)
    assert (thresholds.apply(calibration.sigmoid(logits), 0.5).sum(axis=1) == 0).any(), "no empty row is tried"
    assert float(metric.result()) == pytest.approx(metrics.macro_f1(labels, preds), abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


def test_an_overfitted_run_has_a_training_f1_near_1_and_the_curves_show_it(tmp_path):
    """Random labels cannot be learnt, only learnt by heart."""
    plain, val = train_tiny.tiny_parts()
    train = batches.ImageBatches(plain.images, plain.labels, plain.rows, 16, shuffle=True)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 4), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255, -0.5)(inputs))
    x = keras.layers.Dense(64, activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(28, name="logits")(x))
    settings = {"loss": "bce", "learning_rate": 0.01, "epochs": 25, "monitor": "val_loss"}
    history = loop.fit(model, train, val, tmp_path, class_weights=np.ones(28), settings=settings)
    last = history.iloc[-1]
    assert last["train_macro_f1"] > 0.95 and last["val_macro_f1"] < 0.5
    loss, f1, _ = learning.curves({"by heart": history}).axes
    training, validation = (line.get_ydata() for line in f1.lines)
    assert training[-1] > 0.95 and validation[-1] < 0.5
    assert loss.lines[0].get_ydata()[-1] < loss.lines[1].get_ydata()[-1]


@pytest.mark.parametrize("changed", [{"mix": "mixup"}, {"sampling": np.full(48, 1 / 48)}])
def test_mixed_or_resampled_images_have_no_streamed_f1(tmp_path, changed):
    plain, val = train_tiny.tiny_parts()
    train = batches.ImageBatches(plain.images, plain.labels, plain.rows, 16, shuffle=True, **changed)
    settings = train_tiny.SETTINGS | {"epochs": 1}
    history = loop.fit(train_tiny.tiny_model(), train, val, tmp_path, class_weights=np.ones(28), settings=settings)
    assert "train_macro_f1" not in history and "loss" in history
    assert learning.curves({"mixed": history}).axes[1].lines[0].get_label() == "validation"


def test_a_clean_evaluation_ignores_augmentation_and_order(tmp_path):
    train, _ = train_tiny.tiny_parts()  # shuffled and augmented
    plain = batches.ImageBatches(train.images, train.labels, train.rows[::-1], 16)
    model, loss = train_tiny.tiny_model(), losses.make_loss("bce", np.ones(28))
    found, expected = loop.evaluate(model, train, loss), loop.evaluate(model, plain, loss)
    assert found == pytest.approx(expected, rel=1e-5)
