"""``fit(...)`` -> history: optimiser, schedule, evaluation after each epoch, best weights, and resuming."""

import contextlib
import math
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from hpa_lib import store
from hpa_lib.decisions import calibration, metrics, thresholds
from hpa_lib.training import checkpoints, losses, predict, streamed

MONITORS = ("val_macro_ap", "val_loss")  # threshold-free: checkpoints picked by F1 at .5 did badly in the competition
REQUIRED = ("loss", "learning_rate", "epochs")
DEFAULTS = {  # of the settings that ``fit`` reads
    "seed": 0,
    "weight_decay": 1e-4,
    "warmup_epochs": 1.0,
    "clip_norm": 1.0,
    "ema": 0.0,
    "monitor": "val_macro_ap",
    "patience": 0,
}


def fit(
    model: keras.Model,
    train,
    val,
    folder: Path,
    *,
    class_weights: np.ndarray,
    settings: dict,
    jit_compile: bool = False,
    tensorboard: bool = False,
    start_over: bool = False,
) -> pd.DataFrame:
    """Train ``model`` and leave the weights of its best epoch in it.

    After every epoch the whole validation part is predicted once; the state is then stored, so that a run killed at
    any moment goes on from its last finished epoch when started again with the same ``settings``. A finished run is
    not trained again: its best weights are loaded. Class weights go into the loss; Keras's own ``class_weight`` is
    not offered, since with multi-hot labels it silently weighs each image by its first positive label.

    ``settings`` is the one source of what shapes the result. ``fit`` reads from it:

    - ``loss``: a name for ``losses.make_loss``;
    - ``epochs``: passes over ``train``;
    - ``learning_rate``: the peak of AdamW's, reached after ``warmup_epochs`` (1), then down a cosine to zero;
    - ``weight_decay`` (1e-4): of AdamW; biases and normalisation are left out;
    - ``clip_norm`` (1): largest norm of the whole gradient; 0 does not clip;
    - ``ema`` (0): decay of the moving average of the weights that is evaluated and kept, such as .99; 0 is off;
    - ``monitor`` (val_macro_ap): what makes an epoch the best, one of ``MONITORS``;
    - ``patience`` (0): stop after this many epochs without a better one; 0 never stops early;
    - ``seed`` (0): of dropout.

    Args:
        model: uint8 (B, S, S, 4) in, logits (B, 28) out; compiled here.
        train: ``batches.ImageBatches``, shuffled and augmented.
        val: ``batches.ImageBatches``, in order.
        folder: where ``history.csv`` and ``checkpoints/`` go.
        class_weights: float (28,), for ``losses.make_loss``.
        settings: what ``fit`` reads, and whatever else must be equal for a resume; stored with the state.
        jit_compile: compile the step with XLA, see ``device.resolve``.
        tensorboard: also write TensorBoard logs to ``folder/tensorboard``.
        start_over: forget a stored state instead of resuming or refusing.

    Returns:
        One row per epoch: epoch, loss, train_macro_f1 (``streamed.StreamedMacroF1``; left out where images are mixed
        or resampled, whose F1 means something else), val_loss, val_macro_ap, val_macro_f1 (at .5), lr, seconds,
        images_per_second.

    Raises:
        ValueError: other ``settings`` than those of the stored state, a missing one, an unknown monitor, no epoch, or
            a NaN loss.
    """
    folder, settings = Path(folder), check_settings(settings)
    if start_over:
        checkpoints.forget(folder)
    state = checkpoints.load_state(folder, settings)
    state = state or checkpoints.new_state(settings)
    loss_function = losses.make_loss(settings["loss"], class_weights)
    with _strategy_of(model):
        optimizer = make_optimizer(settings, len(train))
        counted = [streamed.StreamedMacroF1(model.output_shape[-1])] if train.shows_each_image_once() else []
        model.compile(optimizer=optimizer, loss=loss_function, metrics=counted, jit_compile=jit_compile)
        model.optimizer.build(model.trainable_variables)  # else TensorFlow traces the step twice: 10 s of Inception V2
    if state["finished"]:
        print(f"already trained: epoch {state['best_epoch']} of {state['epoch']} was the best", flush=True)
    elif state["epoch"]:
        model.load_weights(checkpoints.weights_path(folder, "state", state["epoch"]))
        print(f"resuming after epoch {state['epoch']} of {settings['epochs']}", flush=True)
    logs_to = [keras.callbacks.TensorBoard(folder / "tensorboard")] if tensorboard else []
    while not _is_over(state):
        row, raw_weights = _train_epoch(model, train, state, folder, logs_to)
        row |= {f"val_{name}": value for name, value in evaluate(model, val, loss_function).items()}
        _store_epoch(model, raw_weights, row, state, folder)
    checkpoints.save_state(folder, state | {"finished": True})
    best = checkpoints.weights_path(folder, "best", state["best_epoch"])
    best = best if best.exists() else folder / "model.keras"  # `hpa clean` has removed the checkpoint
    if not best.exists():
        raise ValueError(f"{best} is not there: set START_OVER to True to train this run again")
    without_optimizer(model).load_weights(best)
    return pd.DataFrame(state["history"])


def check_settings(settings: dict) -> dict:
    """``settings`` with the defaults of ``fit`` filled in, as JSON stores them.

    Raises:
        ValueError: a required one is missing, the monitor is unknown, or there is no epoch.
    """
    missing = [name for name in REQUIRED if name not in settings]
    if missing:
        raise ValueError(f"settings lack {missing[0]!r}: fit reads {', '.join(REQUIRED)} from them")
    settings = checkpoints.same_as_stored(DEFAULTS | settings)
    if settings["monitor"] not in MONITORS:
        raise ValueError(f"monitor {settings['monitor']!r}: use one of {', '.join(MONITORS)}")
    if settings["epochs"] < 1:
        raise ValueError(f"epochs {settings['epochs']}: at least one pass over the training images is needed")
    return settings


def _is_over(state) -> bool:
    """No epoch is left to train: the run is finished, all epochs are done, or the patience is used up."""
    settings, waited = state["settings"], state["epoch"] - state["best_epoch"]
    if state["finished"] or state["epoch"] >= settings["epochs"]:
        return True
    if 0 < settings["patience"] <= waited:
        print(f"stopped: no better {settings['monitor']} for {waited} epochs", flush=True)
        return True
    return False


def _store_epoch(model, raw_weights, row, state, folder):
    """Keep the weights that were judged if they are the best so far, and the raw ones for the next epoch."""
    epoch, monitor = row["epoch"], state["settings"]["monitor"]
    if _is_better(row[monitor], state["best"], monitor):
        state |= {"best": row[monitor], "best_epoch": epoch}
        store.write_atomic(checkpoints.weights_path(folder, "best", epoch), without_optimizer(model).save_weights)
    for variable, value in zip(model.trainable_variables, raw_weights, strict=True):
        variable.assign(value)
    store.write_atomic(checkpoints.weights_path(folder, "state", epoch), model.save_weights)
    state["epoch"] = epoch
    state["history"].append(row)
    checkpoints.save_state(folder, state)
    print(_line(row, state["settings"]["epochs"], state["best_epoch"]), flush=True)


def _train_epoch(model, train, state, folder, logs_to) -> tuple[dict, list[np.ndarray]]:
    """One pass over ``train``: its row of the history, and the trainable weights that the next pass goes on from.

    They differ from those the model holds when the optimiser keeps a moving average: Keras's ``fit`` leaves that in the
    model, which is what should be evaluated and kept, but not trained further.
    """
    epoch = state["epoch"]
    train.start_epoch(epoch)
    _seed_dropout(model, state["settings"]["seed"], epoch)
    raw_weights = []
    keep_raw = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: raw_weights.extend(map(keras.ops.convert_to_numpy, model.trainable_variables))
    )
    callbacks = [keras.callbacks.TerminateOnNaN(), keep_raw, *logs_to]
    started = time.perf_counter()
    fitted = model.fit(train, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, callbacks=callbacks, verbose=0)
    seconds, loss = time.perf_counter() - started, fitted.history["loss"][-1]
    streamed_f1 = {"train_macro_f1": fitted.history["macro_f1"][-1]} if "macro_f1" in fitted.history else {}
    if not math.isfinite(loss):
        raise ValueError(
            f"the training loss became {loss} in epoch {epoch + 1}: lower LEARNING_RATE or use PRECISION float32; "
            f"the state after epoch {epoch} is kept in {folder}"
        )
    return {
        "epoch": epoch + 1,
        "loss": loss,
        **streamed_f1,
        "lr": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
        "seconds": round(seconds, 2),
        "images_per_second": round(len(train) * train.batch_size / seconds, 1),
    }, raw_weights


def without_optimizer(model: keras.Model) -> keras.Model:
    """The same network and the same weights, not compiled: what to save for others to load."""
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _seed_dropout(model, seed, epoch):
    """Make dropout a function of (seed, epoch, layer, step), so that a resumed run draws what an unbroken one draws.

    Keras adds the step to the second number of a layer's seed. Both are drawn, so that no two layers or epochs meet the
    same pair some steps apart.
    """
    for number, layer in enumerate(_all_layers(model)):
        if hasattr(layer, "seed_generator"):
            pair = np.random.SeedSequence([seed, epoch, number]).generate_state(2)
            layer.seed_generator.state.assign(pair)


def _is_better(value, best, monitor):
    return best is None or (value < best if monitor == "val_loss" else value > best)


def _strategy_of(model):
    """The distribution strategy that the model was built under (TensorFlow), for what must live beside its weights."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy else contextlib.nullcontext()


def make_optimizer(settings: dict, steps: int) -> keras.optimizers.Optimizer:
    """AdamW with a linear warm-up and a cosine down to zero.

    Args:
        settings: what ``fit`` reads; ``learning_rate``, ``epochs``, ``weight_decay``, ``warmup_epochs``, ``clip_norm``
            and ``ema`` are used here, with the same defaults.
        steps: batches of one epoch.
    """
    settings = DEFAULTS | settings
    all_steps, lr = settings["epochs"] * steps, settings["learning_rate"]
    warmup_steps = min(round(settings["warmup_epochs"] * steps), all_steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=lr / 25 if warmup_steps else lr,
        decay_steps=all_steps - warmup_steps,
        warmup_target=lr if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    average = {"use_ema": True, "ema_momentum": settings["ema"]} if settings["ema"] else {}
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=settings["weight_decay"], global_clipnorm=settings["clip_norm"] or None, **average
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def evaluate(model: keras.Model, part, loss_function) -> dict:
    """``loss``, ``macro_ap`` and ``macro_f1`` at .5 (empty rows: ``thresholds.FILL_EMPTY``) over the whole of ``part``.

    Its images are taken in order and as stored, whatever augmentation and sampling ``part`` has.
    """
    logits = predict.predict_logits(model, part.images, part.rows)
    labels, probs = part.labels[part.rows], calibration.sigmoid(logits)
    preds = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY)
    return {
        "loss": float(np.mean(keras.ops.convert_to_numpy(loss_function(labels, logits)))),
        "macro_ap": float(np.mean(metrics.average_precision(labels, probs))),
        "macro_f1": metrics.macro_f1(labels, preds),
    }


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
