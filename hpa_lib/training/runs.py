"""One training run from its parameters to what is stored of it: the wiring that notebooks and scripts share.

In a script::

    from hpa_lib.training import runs

    result = runs.train("resnet18", out="outputs/demo", recipe="best", epochs=3, seed=1)

The notebooks take the same steps one by one and show what each of them does: ``prepare``, ``load_fold``, ``build``,
``fit``, ``save``.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd

from hpa_lib import locks, models, paths, provenance, store
from hpa_lib.data import cache, kaggle
from hpa_lib.decisions import thresholds
from hpa_lib.models import summary, weights
from hpa_lib.training import batches, checkpoints, device, imbalance, loop, losses, predict, recipes


class Run(NamedTuple):
    """What a training run is, before anything is loaded."""

    network: str  # a key of models.MODELS
    name: str
    out: Path  # its run set
    lines: dict  # every parameter in force, lower-case names, see recipes.lines_in_force
    hardware: dict  # from device.setup
    description: dict  # data/dataset.json of the run set


class Fold(NamedTuple):
    """The cached images, and which of them train, validate and judge."""

    ids: np.ndarray  # str (N,)
    images: np.ndarray  # uint8 (N, S, S, 4), mapped from disk
    labels: np.ndarray  # uint8 (N, 28)
    rows: dict[str, np.ndarray]  # "train", "val", "holdout" -> int (M,)


def train(network: str, out: str | Path = "", recipe: str = "own", **lines) -> dict:
    """Train one network and store the run; the record that is stored as ``result.json``.

    A finished run with the same settings is not trained again: its record is returned. A stopped one goes on from its
    last finished epoch.

    Args:
        network: a key of ``models.MODELS``.
        out: the run set, in which notebook 00 has run; ``""`` as in ``paths.find_out``.
        recipe: a key of ``recipes.RECIPES``, or such as ``"best without SAMPLING"``.
        lines: parameters of the training notebooks in lower case, such as ``epochs=3``; they win over the recipe.

    Raises:
        ValueError: an unknown network, recipe or parameter, or a stored run of this name with other settings.
        store.MissingInput: notebook 00 has not run.
    """
    known = recipes.DEFAULTS.keys() | models.BLOCK_LINES.get(network, {}).keys()
    for name in lines.keys() - known:
        raise ValueError(f"no parameter {name}: {recipes.suggest(name, sorted(known))}")
    run = prepare(network, recipes.complete(recipe, models.BLOCK_LINES.get(network, {}) | lines | {"out": str(out)}))
    fold = load_fold(run)
    model, origin = build(run, fold)
    stored = _find_finished(run, origin)
    if stored:
        print(f"run {run.name} of {run.out} is finished already: its stored record is returned", flush=True)
        return stored
    print(f"run {run.name} | out: {run.out} | {recipes.describe(run.lines)}", flush=True)
    history = fit(run, fold, model, origin)
    return save(run, fold, model, origin, history)


def prepare(network: str, lines: dict) -> Run:
    """Seed everything, choose precision and name, and read what the run set says about its data.

    Args:
        network: a key of ``models.MODELS``.
        lines: all parameters in force, from ``recipes``.

    Raises:
        ValueError: an unknown network or precision, a bad run name, or channels that the data lacks.
        store.MissingInput: notebook 00 has not run.
    """
    if network not in models.MODELS:
        raise ValueError(f"network {network!r}: use one of {', '.join(models.MODELS)}")
    recipes.check(lines)
    others = {line for other in models.BLOCK_LINES.keys() - {network} for line in models.BLOCK_LINES[other]}
    lines = {name: value for name, value in lines.items() if name not in others}  # such as SHORTCUT of densenet121
    out = paths.find_out(lines["out"])
    description = store.load_json(out, "data/dataset.json")
    kaggle.check_channels(description, lines["channels"])
    hardware = device.setup(lines["precision"], lines["seed"], network)
    name = recipes.name_run(network, lines)
    store.run_folder(out, name)  # refuses a bad name before anything is loaded
    return Run(network, name, out, lines, hardware, description)


def load_fold(run: Run) -> Fold:
    """The cached images of the run set and their parts: one fold validates, fold -1 is the hold-out.

    Raises:
        ValueError: the split has no such fold.
        FileNotFoundError: notebook 00 has cached no images of this size.
    """
    ids, labels, _, folds = store.load_split(run.out)
    if run.lines["fold"] not in folds:
        known = ", ".join(map(str, sorted(set(folds.tolist()) - {-1})))
        raise ValueError(f"FOLD {run.lines['fold']}: the split of {run.out} has the folds {known}")
    cache_ids, images = cache.load(run.out / "cache" / f"train_{run.lines['image_size']}")
    rows, val = cache.find_rows(cache_ids, ids), folds == run.lines["fold"]
    cache_labels = np.zeros((len(cache_ids), labels.shape[1]), np.uint8)
    cache_labels[rows] = labels
    parts = {"train": rows[~val & (folds >= 0)], "val": rows[val], "holdout": rows[folds == -1]}
    return Fold(cache_ids, images, cache_labels, parts)


def class_weights(run: Run, fold: Fold) -> np.ndarray:
    """Float32 (28,): the class weights in force, from the counts of the training part."""
    return imbalance.class_weights(fold.labels[fold.rows["train"]].sum(axis=0), run.lines["class_weights"])


def sampling_weights(run: Run, fold: Fold) -> np.ndarray | None:
    """Float64 (M,): how often each training image is sampled, or None where each is seen once per epoch."""
    power = run.lines["sampling"]
    return imbalance.sampling_weights(fold.labels[fold.rows["train"]], power) if power else None


def build(run: Run, fold: Fold) -> tuple[keras.Model, dict]:
    """The network with its first weights, and the record of ``models.weights.start``.

    With ``prior_bias`` the last bias starts at the classes' frequencies, except where the weights are a file of the
    user's own.
    """
    lines = run.lines
    block_lines = {name: lines[name] for name in models.BLOCK_LINES.get(run.network, {})}
    with device.scope():
        model = models.MODELS[run.network](lines["image_size"], lines["channels"], **block_lines)
    from_file = lines["weights"] != "scratch"
    origin = weights.start(model, pretrained=from_file, path=lines["weights"] if from_file else "")
    if lines["prior_bias"] and origin["weights"] != "own file":
        prior = imbalance.prior_logits(fold.labels[fold.rows["train"]], class_weights(run, fold))
        model.get_layer("logits").bias.assign(prior)
    return model, origin


def resolve(run: Run, origin: dict) -> dict:
    """Learning rate, batch size, workers and XLA as they come into force, see ``device.resolve``."""
    given = {name: run.lines[name] for name in ("learning_rate", "batch_size", "workers", "jit")}
    return device.resolve(run.network, origin["weights"], run.hardware, **given)


def settings(run: Run, origin: dict) -> dict:
    """All that shapes the weights: the lines in force but ``recipes.NOT_SETTINGS``, the data, where the weights began.

    A line that is added to a parameters cell is in here by itself, so a resume cannot miss it.
    """
    resolved, backend = resolve(run, origin), run.hardware["backend"]
    lines = {name: value for name, value in run.lines.items() if name not in recipes.NOT_SETTINGS}
    lines |= {"model": run.network, "precision": run.hardware["precision"]}
    lines |= {name: resolved[name] for name in ("learning_rate", "batch_size")}
    lines |= {"weights": origin["weights"], "weights_file": _identify(origin["file"]), "backend": backend}
    return lines | {"data_hash": run.description["data_hash"], "split": store.split_digest(run.out)}


def make_batches(run: Run, fold: Fold, batch_size: int, workers: int) -> tuple[batches.ImageBatches, ...]:
    """The training part, shuffled and augmented, and the validation part in order."""
    seen = _augmentation(run)
    seen |= {"sampling": sampling_weights(run, fold), "workers": workers, "shuffle": True}
    train_part = batches.ImageBatches(fold.images, fold.labels, fold.rows["train"], batch_size, **seen)
    return train_part, batches.ImageBatches(fold.images, fold.labels, fold.rows["val"], batch_size)


def example_images(run: Run, fold: Fold, epochs: int) -> np.ndarray:
    """The first training image, as stored and as each of the first epochs shows it; uint8 (1 + epochs, S, S, 4)."""
    first = fold.rows["train"][:8]  # its neighbours are what it may be mixed with
    seen = _augmentation(run)
    examples = batches.ImageBatches(fold.images, fold.labels, first, **seen)
    return np.stack([fold.images[first[0]], *batches.first_images(examples, epochs)])


def fit(run: Run, fold: Fold, model: keras.Model, origin: dict) -> pd.DataFrame:
    """Train with ``loop.fit``, the head alone first where ``head_epochs`` asks for it; its history.

    The weights of the best epoch are left in ``model``. Two processes cannot train one run at a time.
    """
    resolved, folder, wanted = resolve(run, origin), store.run_folder(run.out, run.name), settings(run, origin)
    train_part, val_part = make_batches(run, fold, resolved["batch_size"], resolved["workers"])
    options = {"class_weights": class_weights(run, fold), "jit_compile": resolved["jit_compile"]}
    options["start_over"] = run.lines["start_over"]
    with locks.step(run.out, "", run.name):
        has_begun = not options["start_over"] and checkpoints.load_state(folder, loop.check_settings(wanted))
        if run.lines["head_epochs"] and not has_begun:  # else the head's weights would only be overwritten
            models.set_backbone_trainable(model, False)
            head = wanted | {"epochs": run.lines["head_epochs"], "ema": 0.0, "patience": 0}
            loop.fit(model, train_part, val_part, folder / "head", settings=head, **options)
            models.set_backbone_trainable(model, True)
        return loop.fit(model, train_part, val_part, folder, settings=wanted, **options)


def save(run: Run, fold: Fold, model: keras.Model, origin: dict, history: pd.DataFrame) -> dict:
    """Store probabilities of validation, hold-out and test, embeddings, the model and, last, ``result.json``.

    A run that is stored with the same settings stays as it is, with the record of the machine that trained it.

    Returns:
        The record.
    """
    stored, lines = _find_finished(run, origin), run.lines
    if stored:
        return stored
    for part, (ids, probs, embeddings) in _predict_parts(run, fold, model).items():
        store.save_probs(run.out, run.name, part, ids, probs)
        arrays = {"ids": ids, "embeddings": embeddings}
        store.save_arrays(run.out, f"runs/{run.name}/embeddings_{part}.npz", arrays)
    if run.description["test_images"]:
        test_ids, test_images = cache.load(run.out / "cache" / f"test_{lines['image_size']}")
        probs = predict.predict_probs(model, test_images, np.arange(len(test_ids)), turns=lines["tta"])
        store.save_probs(run.out, run.name, "test", test_ids, probs)
    folder = store.run_folder(run.out, run.name)
    store.write_atomic(folder / "model.keras", loop.without_optimizer(model).save)
    result = make_record(run, fold, model, origin, history)
    store.save_json(run.out, f"runs/{run.name}/result.json", result)
    return result


def _predict_parts(run: Run, fold: Fold, model: keras.Model) -> dict[str, list[np.ndarray]]:
    """Ids, probabilities and embeddings of validation and hold-out, predicted together: one more graph, not two."""
    rows = np.concatenate([fold.rows["val"], fold.rows["holdout"]])
    arrays = (fold.ids[rows], *predict.predict_embeddings(model, fold.images, rows, run.lines["tta"]))
    cut = len(fold.rows["val"])
    return {"val": [array[:cut] for array in arrays], "holdout": [array[cut:] for array in arrays]}


def make_record(run: Run, fold: Fold, model: keras.Model, origin: dict, history: pd.DataFrame) -> dict:
    """The record of a finished run: its settings, scores of its best epoch, cost, and what it was made with."""
    wanted, best = settings(run, origin), history.loc[history["val_macro_ap"].idxmax()]
    record = {"run": run.name, "recipe": run.lines["recipe"], **wanted, **resolve(run, origin), "settings": wanted}
    record |= {"tta": run.lines["tta"], "synthetic": run.description["synthetic"]}
    record |= {"class_weight_values": class_weights(run, fold), "best_epoch": best["epoch"]}
    record |= {name: best[name] for name in ("val_loss", "val_macro_ap", "val_macro_f1")}
    record |= {f"train_{name}": value for name, value in evaluate_training_part(run, fold, model).items()}
    record |= {"seconds": history["seconds"].sum(), "images_per_second": history["images_per_second"].median()}
    record |= {"parameters": model.count_params(), "flops": summary.count_flops(model), "weights_path": origin["file"]}
    record |= {"hardware": run.hardware, "peak_memory_mb": provenance.peak_memory_mb()}
    return record | {"versions": provenance.versions(), "finished": provenance.now()}


def evaluate_training_part(run: Run, fold: Fold, model: keras.Model) -> dict:
    """``loss``, ``macro_ap`` and ``macro_f1`` of the training images as stored: no augmentation, no dropout."""
    loss = losses.make_loss(run.lines["loss"], class_weights(run, fold))
    return loop.evaluate(model, batches.ImageBatches(fold.images, fold.labels, fold.rows["train"]), loss)


def _augmentation(run: Run) -> dict:
    """How ``batches.ImageBatches`` changes the images of this run."""
    return {"augmentation": run.lines["augment"], "mix": run.lines["mix"], "seed": run.lines["seed"]}


def _identify(file: str) -> str:
    """Name and digest of a weight file, ``""`` for none: another file of the same name is another start."""
    if not file:
        return ""
    with open(file, "rb") as stream:
        return f"{Path(file).name} {hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"


def _find_finished(run: Run, origin: dict) -> dict | None:
    """The stored record of this very run, with these settings and this many turns, or None."""
    folder = store.run_folder(run.out, run.name)
    files = ("result.json", "model.keras", "probs_val.npz", "probs_holdout.npz")
    if run.lines["start_over"] or not all((folder / name).exists() for name in files):
        return None
    stored = store.load_json(run.out, f"runs/{run.name}/result.json")
    wanted = checkpoints.same_as_stored(settings(run, origin))
    is_complete = "train_macro_f1" in stored  # records of older versions lack it
    return stored if is_complete and stored.get("settings") == wanted and stored["tta"] == run.lines["tta"] else None


class Loaded(NamedTuple):
    """A stored run, ready to predict."""

    model: keras.Model  # uint8 (N, S, S, 4) in, logits (N, 28) out
    thresholds: np.ndarray  # float (28,), as notebook 05 recommends; .5 where it has not taken this run
    fill_empty: bool  # whether an image that no class reaches gets its most probable one
    channels: str
    image_size: int
    turns: int  # of test-time augmentation, as its stored probabilities were made with


def load(out: str | Path, run: str) -> Loaded:
    """A finished run of a run set: its network, thresholds, channels and image size.

    ::

        from hpa_lib.decisions import thresholds
        from hpa_lib.training import predict, runs

        stored = runs.load("outputs/demo", "resnet18-rgby-study")
        probs = predict.predict_probs(stored.model, images, np.arange(len(images)), stored.turns)  # uint8 (N, S, S, 4)
        preds = thresholds.apply(probs, stored.thresholds, stored.fill_empty)

    Raises:
        ValueError: no such run, or one without a network, such as those of notebook 01b.
        store.MissingInput: the run set has no finished run.
    """
    out = paths.find_out(out)
    store.choose_runs(out, run)
    path, record = store.run_folder(out, run) / "model.keras", store.load_json(out, f"runs/{run}/result.json")
    if not path.exists():
        networks = [name for name in store.list_runs(out) if (store.run_folder(out, name) / "model.keras").exists()]
        remedy = f"use {' or '.join(networks)}" if networks else "train one with notebook 02, 03 or 04"
        raise ValueError(f"run '{run}' in {out} has no network, and only networks predict new images: {remedy}")
    how = (*thresholds.load(out, run), record["channels"], record["image_size"], record["tta"])
    return Loaded(keras.models.load_model(path), *how)
