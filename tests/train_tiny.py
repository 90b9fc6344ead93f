"""A whole tiny training run as a script, so that a test can kill it: python train_tiny.py FOLDER [KILL_EPOCH]."""

import os
import signal
import sys

import keras
import numpy as np

from hpa_lib.training import batches, device, loop

SETTINGS = {"seed": 3, "epochs": 5, "loss": "bce", "learning_rate": 0.01}


def tiny_model():
    inputs = keras.Input((16, 16, 4), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.3)(x)
    return keras.Model(inputs, keras.layers.Dense(28, name="logits", dtype="float32")(x))


def tiny_parts(workers=2):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (72, 16, 16, 4), np.uint8)
    labels = (rng.random((72, 28)) < 0.2).astype(np.uint8)
    stream = {"shuffle": True, "augmentation": "study", "seed": 3, "workers": workers}
    train = batches.ImageBatches(images, labels, np.arange(48), 16, **stream)
    return train, batches.ImageBatches(images, labels, np.arange(48, 72), 16)


class KillIn(keras.callbacks.Callback):
    """SIGKILL in the middle of an epoch, with no chance to clean up."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.state_epoch() == self.epoch and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch + 1

    def state_epoch(self):
        return self.now


def run(folder, kill_epoch=0, start_over=False, workers=2, **changed):
    """History and final model of a run; with ``kill_epoch`` the process dies in that epoch."""
    device.setup(os.environ.get("PRECISION", "float32"), seed=3)
    train, val = tiny_parts(workers)
    model = tiny_model()
    if kill_epoch:
        original = model.fit
        model.fit = lambda *args, callbacks, **rest: original(*args, callbacks=[*callbacks, KillIn(kill_epoch)], **rest)
    recipe = {"class_weights": np.linspace(1, 3, 28), "settings": SETTINGS | changed, "start_over": start_over}
    return loop.fit(model, train, val, folder, **recipe), model


if __name__ == "__main__":
    kill_epoch = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    _, final = run(sys.argv[1], kill_epoch, ema=float(os.environ.get("EMA", 0)))
    np.savez(os.path.join(sys.argv[1], "final.npz"), *final.get_weights())
