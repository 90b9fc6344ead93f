"""Scikit-learn models on measured features: chosen by cross-validation, stored as runs like any network's.

One model per class answers yes or no. A class that no training image has gets probability 0, its share in training.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from hpa_lib import provenance, store
from hpa_lib.classical import features
from hpa_lib.data import cache, parallel, splits
from hpa_lib.decisions import metrics, thresholds

FOLDS = 3  # of the cross-validation that chooses a value
CLASS_WEIGHTS = {"none": None, "balanced": "balanced"}  # balanced: positives and negatives of a class weigh the same


class Part(NamedTuple):
    """The measured images of one split part; the test part has no labels and groups."""

    ids: np.ndarray  # str (N,)
    values: np.ndarray  # float32 (N, F), see features.FEATURES
    labels: np.ndarray | None = None  # uint8 (N, 28)
    groups: np.ndarray | None = None  # (N,)


def make_logistic(value: float, class_weight: str | None, seed: int) -> Pipeline:
    """Standardised features, then logistic regression; ``value`` is C: the larger, the freer are the coefficients."""
    classifier = LogisticRegression(C=value, class_weight=class_weight, solver="newton-cholesky")
    return make_pipeline(StandardScaler(), classifier)


def make_trees(value: float, class_weight: str | None, seed: int) -> ExtraTreesClassifier:
    """100 extremely randomised trees (Geurts et al. 2006); ``value`` is the least number of images in a leaf."""
    options = {"min_samples_leaf": int(value), "class_weight": class_weight, "random_state": seed, "n_jobs": -1}
    return ExtraTreesClassifier(100, max_features=0.3, **options)


MODELS = {"logistic": (make_logistic, (0.1, 1, 10)), "trees": (make_trees, (1, 3))}  # and the values to choose from


def load_parts(out: Path, size: int, fold: int, workers: int | None = None) -> dict[str, Part]:
    """Train, val, holdout and, where there are test images, test; measured where that has not been done before.

    Args:
        out: the run set, in which notebook 00 has run.
        size: side of the cached images in px.
        fold: the fold that validates; a ValueError where the split has no such fold.
        workers: processes that measure; by default one per core.
    """
    ids, labels, groups, folds = store.load_split(out)
    if fold not in folds[folds >= 0]:
        raise ValueError(f"FOLD {fold}: use 0 to {folds.max()}")
    cache_ids, values = features.load(out, "train", size, workers)
    values = values[cache.find_rows(cache_ids, ids)]
    chosen = {"train": (folds >= 0) & (folds != fold), "val": folds == fold, "holdout": folds == -1}
    parts = {part: Part(ids[rows], values[rows], labels[rows], groups[rows]) for part, rows in chosen.items()}
    if store.load_json(out, "data/dataset.json")["test_images"]:
        parts["test"] = Part(*features.load(out, "test", size, workers))
    return parts


def fit(
    values: np.ndarray, labels: np.ndarray, model: str, value: float, class_weights: str = "none", seed: int = 0
) -> list[BaseEstimator]:
    """One fitted scikit-learn model per class.

    Args:
        values: float32 (N, F).
        labels: uint8 (N, 28).
        model: a key of ``MODELS``.
        value: its one setting, see ``make_logistic`` and ``make_trees``.
        class_weights: a key of ``CLASS_WEIGHTS``.
        seed: of the trees.
    """
    make, weight = MODELS[model][0], CLASS_WEIGHTS[class_weights]
    fitted = [make(value, weight, seed) if len(np.unique(target)) == 2 else DummyClassifier() for target in labels.T]
    with threadpool_limits(1, "blas"):  # on matrices as small as these, several threads mostly wait for each other
        return [classifier.fit(values, target) for classifier, target in zip(fitted, labels.T, strict=True)]


def predict(fitted: Sequence[BaseEstimator], values: np.ndarray) -> np.ndarray:
    """Probabilities, float32 (N, 28), from what ``fit`` gave."""
    probs = np.zeros((len(values), len(fitted)), np.float32)
    for column, classifier in enumerate(fitted if len(values) else []):
        is_learnt = len(classifier.classes_) == 2
        probs[:, column] = classifier.predict_proba(values)[:, 1] if is_learnt else classifier.classes_[0]
    return probs


def cross_validate(train: Part, runs: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Macro average precision of each kind of model and value, on training images that it was not fitted on.

    Args:
        train: the training part; a group is never parted.
        runs: model and class weights, such as ``["logistic-none", "trees-none"]``; others are a ValueError.
        seed: of the folds and the trees.

    Returns:
        One row per run and value: ``run``, ``model``, ``class_weights``, ``value``, ``macro_ap``, ``seconds``.
    """
    known = [f"{model}-{class_weights}" for model in MODELS for class_weights in CLASS_WEIGHTS]
    if set(runs) - set(known) or not runs:
        raise ValueError(f"MODELS {', '.join(runs)!r}: use some of {', '.join(known)}")
    folds, rows = splits.make_cross_folds(train.labels, train.groups, FOLDS, seed), []
    for model, class_weights in (run.split("-") for run in runs):
        for value in MODELS[model][1]:
            start, options = time.monotonic(), {"model": model, "class_weights": class_weights, "value": value}
            probs = predict_out_of_fold(train, folds, seed=seed, **options)
            score = metrics.average_precision(train.labels, probs).mean()
            row = {"run": f"{model}-{class_weights}", **options, "macro_ap": score}
            rows.append(row | {"seconds": time.monotonic() - start})
    return pd.DataFrame(rows)


def predict_out_of_fold(train: Part, folds: np.ndarray, **fit_options) -> np.ndarray:
    """Probabilities, float32 (N, 28), of training images from models fitted on the other ``folds`` int (N,)."""
    probs = np.zeros(train.labels.shape, np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        fitted = fit(train.values[~inside], train.labels[~inside], **fit_options)
        probs[inside] = predict(fitted, train.values[inside])
    return probs


def learning_curve(train: Part, judge: Part, numbers: Sequence[int], seed: int = 0, **fit_options) -> pd.DataFrame:
    """What more training images bring: one row per number with ``images``, ``macro_ap``, ``macro_f1`` (at .5).

    Args:
        train: the training part; whole groups are taken at random, those of a smaller number among those of a larger.
        judge: the part that is scored.
        numbers: training images; more than there are means all.
        seed: of the choice.
        **fit_options: of ``fit``.
    """
    rows = []
    for number in sorted({min(number, len(train.ids)) for number in numbers}):
        chosen = choose_images(train.groups, number, seed)
        fitted = fit(train.values[chosen], train.labels[chosen], **fit_options)
        rows.append({"images": chosen.sum()} | _score(judge.labels, predict(fitted, judge.values)))
    return pd.DataFrame(rows)


def choose_images(groups: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Bool (N,): whole groups in a random order until ``number`` images are reached; a smaller choice is part of it."""
    names, group_of = np.unique(groups, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(names))[group_of]  # of each image's group
    return place <= np.sort(place)[min(number, len(place)) - 1]


def coefficients(fitted: Sequence[BaseEstimator]) -> pd.DataFrame:
    """A logistic model's coefficients: what one standard deviation of a feature adds to a class's logit.

    Rows are the features, columns the class numbers; classes that could not be learnt are left out.
    """
    learnt = {label: model[-1].coef_[0] for label, model in enumerate(fitted) if isinstance(model, Pipeline)}
    return pd.DataFrame(learnt, index=list(features.FEATURES))


def train_run(
    out: Path, parts: dict[str, Part], image_size: int, fold: int, value: float, **fit_options
) -> tuple[str, list[BaseEstimator]]:
    """Fit a model and store it as a run: probabilities, a history of one row, ``result.json``; its name and ``fit``'s.

    ``value`` was found by cross-validation and is no setting, so that runs with and without class weights are twins
    also where their values differ.

    Args:
        out, image_size, fold: as for ``load_parts``, which gave ``parts``.
        value, **fit_options: ``model``, ``class_weights`` and ``seed`` of ``fit``.
    """
    start, train = time.monotonic(), parts["train"]
    fitted = fit(train.values, train.labels, value=value, **fit_options)
    seconds = time.monotonic() - start
    run = store.run_name("classical", fit_options["model"], fit_options["class_weights"], fold, fit_options["seed"])
    probs = {part: predict(fitted, measured.values) for part, measured in parts.items()}
    for part in probs.keys() - {"train"}:
        store.save_probs(out, run, part, parts[part].ids, probs[part])
    score = {"seconds": seconds, "images_per_second": len(train.ids) / seconds}
    for part in ("train", "val"):  # named as networks have them
        labels, found = parts[part].labels, probs[part]
        score[f"{part}_loss"] = log_loss(labels.ravel(), found.ravel().astype(float))
        score |= {f"{part}_{name}": value for name, value in _score(labels, found).items()}
    store.save_table(store.run_folder(out, run), "history.csv", pd.DataFrame([{"epoch": 0} | score]))
    settings = {"image_size": image_size, "fold": fold, "channels": "rgby"} | fit_options
    _save_record(out, run, settings, score | {"value": value})
    return run, fitted


def _score(labels: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    preds = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY)
    return {"macro_ap": metrics.average_precision(labels, probs).mean(), "macro_f1": metrics.macro_f1(labels, preds)}


def _save_record(out: Path, run: str, settings: dict, found: dict) -> None:
    """``result.json`` with what notebooks 05 to 07 read of any run, and what it was made with."""
    description = store.load_json(out, "data/dataset.json")
    settings |= {"weights": "measured features", "features": features.VERSION}
    settings |= {"data_hash": description["data_hash"], "split": store.split_digest(out)}
    record = {"run": run, "recipe": "own", **settings, "settings": settings, "tta": 1, "best_epoch": 0} | found
    record |= {"synthetic": description["synthetic"], "hardware": {"device": f"CPU, {parallel.count_cores()} cores"}}
    record |= {"versions": provenance.versions(), "peak_memory_mb": provenance.peak_memory_mb()}
    record |= {"finished": provenance.now()}
    store.save_json(out, f"runs/{run}/result.json", record)
