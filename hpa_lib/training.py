"""``fit(...)`` -> history: optimiser, schedule, evaluation after each epoch, best weights, and resuming."""

import contextlib
import math
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from hpa_lib import checkpoints, losses, metrics, predict, store, thresholds

MONITORS = ("val_macro_ap", "val_loss")  # threshold-free: checkpoints picked by F1 at .5 did badly in the competition


def fit(
    model: keras.Model,
    train,
    val,
    folder: Path,
    *,
    loss: str,
    class_weights: np.ndarray,
    settings: dict,
    epochs: int,
    lr: float,
    weight_decay: float = 1e-4,
    warmup_epochs: float = 1.0,
    clip_norm: float = 1.0,
    ema: float = 0.0,
    monitor: str = "val_macro_ap",
    patience: int = 0,
    jit_compile: bool = False,
    tensorboard: bool = False,
    start_over: bool = False,
) -> pd.DataFrame:
    """Train ``model`` and leave the weights of its best epoch in it.

    After every epoch the whole validation part is predicted once; the state is then stored, so that a run killed at
    any moment goes on from its last finished epoch when started again with the same ``settings``. A finished run is
    not trained again: its best weights are loaded. Class weights go into the loss; Keras's own ``class_weight`` is
    not offered, since with multi-hot labels it silently weighs each image by its first positive label.

    Args:
        model: uint8 (B, S, S, 4) in, logits (B, 28) out; compiled here.
        train: ``batches.ImageBatches``, shuffled and augmented.
        val: ``batches.ImageBatches``, in order.
        folder: where ``history.csv`` and ``checkpoints/`` go.
        loss: a name for ``losses.make_loss``.
        class_weights: float (28,).
        settings: everything that must be equal for a resume; stored with the state. Its ``SEED`` drives dropout.
        epochs: passes over ``train``.
        lr: peak learning rate of AdamW, reached after ``warmup_epochs``, then down a cosine to zero.
        weight_decay: of AdamW; biases and normalisation are left out.
        warmup_epochs: length of the linear warm-up, in epochs.
        clip_norm: largest norm of the whole gradient; 0 does not clip.
        ema: decay of the moving average of the weights that is evaluated and kept, such as .99; 0 is off.
        monitor: what makes an epoch the best, one of ``MONITORS``.
        patience: stop after this many epochs without a better one; 0 never stops early.
        jit_compile: compile the step with XLA (worth it on GPUs; slower for convolutions on CPUs).
        tensorboard: also write TensorBoard logs to ``folder/tensorboard``.
        start_over: forget a stored state instead of resuming or refusing.

    Returns:
        One row an epoch: epoch, loss, val_loss, val_macro_ap, val_macro_f1 (at .5), lr, seconds, images_per_second.

    Raises:
        ValueError: other ``settings`` than those of the stored state, an unknown monitor, or a loss that became NaN.
    """
    if monitor not in MONITORS:
        raise ValueError(f"monitor {monitor!r}: use one of {', '.join(MONITORS)}")
    folder, settings = Path(folder), checkpoints.same_as_stored(settings)
    state = None if start_over else checkpoints.load_state(folder, settings)
    state = state or checkpoints.new_state(settings)
    loss_function = losses.make_loss(loss, class_weights)
    optimizer = _optimizer(lr, epochs, len(train), weight_decay, warmup_epochs, clip_norm, ema)
    model.compile(optimizer=optimizer, loss=loss_function, jit_compile=jit_compile)
    if state["epoch"] and not state["finished"]:
        optimizer.build(model.trainable_variables)
        model.load_weights(checkpoints.weights_path(folder, "state", state["epoch"]))
        print(f"resuming after epoch {state['epoch']} of {epochs}", flush=True)
    if not state["finished"]:
        train.start_epoch(state["epoch"])
        callbacks = [keras.callbacks.TerminateOnNaN()]
        if tensorboard:
            callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
        callbacks.append(EpochEnd(train, val, folder, state, loss_function, epochs, monitor, patience))
        model.fit(train, epochs=epochs, initial_epoch=state["epoch"], callbacks=callbacks, verbose=0)
        checkpoints.save_state(folder, state | {"finished": True})
    else:
        print(f"already trained: epoch {state['best_epoch']} of {state['epoch']} was the best", flush=True)
    model.load_weights(checkpoints.weights_path(folder, "best", state["best_epoch"]))
    return pd.DataFrame(state["history"])


def _optimizer(lr, epochs, steps, weight_decay, warmup_epochs, clip_norm, ema):
    warmup_steps = min(round(warmup_epochs * steps), epochs * steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=lr / 25 if warmup_steps else lr,
        decay_steps=epochs * steps - warmup_steps,
        warmup_target=lr if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    average = {"use_ema": True, "ema_momentum": ema} if ema else {}
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=weight_decay, global_clipnorm=clip_norm or None, **average
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


class EpochEnd(keras.callbacks.Callback):
    """After each epoch: evaluate on the whole validation part, print one line, store the state and the best weights.

    A class because Keras calls its callbacks by name. What changes is ``state``, the run's record (see ``fit``).
    """

    def __init__(self, train, val, folder, state, loss_function, epochs, monitor, patience):
        super().__init__()
        self.train, self.val, self.folder, self.state = train, val, folder, state
        self.loss_function, self.epochs, self.monitor, self.patience = loss_function, epochs, monitor, patience

    def on_epoch_begin(self, epoch, logs=None):
        """Make dropout a function of (seed, epoch), so that a resumed run draws what an unbroken one draws."""
        seed = int(self.state["settings"].get("SEED", 0))
        for number, layer in enumerate(_all_layers(self.model)):
            if hasattr(layer, "seed_generator"):
                layer.seed_generator.state.assign(np.array([seed, epoch * 10_000 + number], np.uint32))
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Evaluate, store, report; or stop on a loss that is no number, before anything is overwritten."""
        seconds = time.perf_counter() - self.started
        loss = float((logs or {}).get("loss", math.nan))
        if not math.isfinite(loss):
            raise ValueError(
                f"the training loss became {loss} in epoch {epoch + 1}: lower LEARNING_RATE or use PRECISION float32; "
                f"the state after epoch {self.state['epoch']} is kept in {self.folder}"
            )
        store.write_atomic(checkpoints.weights_path(self.folder, "state", epoch + 1), self.model.save_weights)
        with averaged_weights(self.model):
            row = {"epoch": epoch + 1, "loss": loss, **evaluate(self.model, self.val, self.loss_function)}
            self._keep_best(row)
        row["lr"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(seconds, 2)
        row["images_per_second"] = round(len(self.train) * self.train.batch_size / seconds, 1)
        self.state["epoch"] = row["epoch"]
        self.state["history"].append(row)
        checkpoints.save_state(self.folder, self.state)
        print(_line(row, self.epochs, self.state["best_epoch"]), flush=True)
        if self.patience and row["epoch"] - self.state["best_epoch"] >= self.patience:
            print(f"stopped: no better {self.monitor} for {self.patience} epochs", flush=True)
            self.model.stop_training = True

    def _keep_best(self, row):
        sign = -1 if self.monitor == "val_loss" else 1
        if self.state["best"] is None or sign * row[self.monitor] > sign * self.state["best"]:
            self.state |= {"best": row[self.monitor], "best_epoch": row["epoch"]}
            store.write_atomic(checkpoints.weights_path(self.folder, "best", row["epoch"]), self.model.save_weights)


def evaluate(model: keras.Model, val, loss_function) -> dict:
    """Loss, macro AP and macro F1 at .5, each computed once over the whole of ``val`` (never a mean over batches)."""
    logits = predict.predict_logits(model, val.images, val.rows)
    labels, probs = val.labels[val.rows], predict.sigmoid(logits)
    preds = thresholds.apply(probs, np.full(labels.shape[1], 0.5))
    return {
        "val_loss": float(np.mean(keras.ops.convert_to_numpy(loss_function(labels, logits)))),
        "val_macro_ap": float(np.mean(metrics.average_precision(labels, probs))),
        "val_macro_f1": metrics.macro_f1(labels, preds),
    }


@contextlib.contextmanager
def averaged_weights(model: keras.Model):
    """Within it ``model`` holds the moving average of its weights, if its optimiser keeps one; after it, its own."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # float16 wraps it to scale the loss
    if not optimizer.use_ema:
        yield
        return
    own = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)


def _all_layers(model):
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)


def _line(row, epochs, best_epoch):
    mark = "  best so far" if best_epoch == row["epoch"] else ""
    return (
        f"epoch {row['epoch']:3d}/{epochs}  loss {row['loss']:.4f}  val loss {row['val_loss']:.4f}  "
        f"macro AP {row['val_macro_ap']:.3f}  macro F1 at .5 {row['val_macro_f1']:.3f}  "
        f"{row['images_per_second']:.0f} images/s{mark}"
    )
