"""How good predictions are: F1, precision, recall and average precision per class, and their means.

Always computed once over a whole split, never averaged over batches (the macro F1 of a perfect model averaged over
batches of 32 is about .56, since a rare class is absent from most of them). All numbers equal scikit-learn's with
``zero_division=0``: a class that is neither present nor predicted counts as 0 in the headline macro F1.

Here and in all of ``decisions``: ``labels`` (the truth) and ``preds`` are 0/1 (N, 28), ``probs`` (N, 28) in 0..1.
"""

import numpy as np
import pandas as pd

from hpa_lib import atlas


def macro_f1(labels: np.ndarray, preds: np.ndarray) -> float:
    """The study's headline score: the unweighted mean of the F1 of all 28 classes.

    A class with 11 images weighs as much as one with 12,885. A class without positives scores 0, whatever is
    predicted, so a small split has a ceiling below 1; ``macro_f1_present`` leaves such classes out.
    """
    return float(f1_per_class(labels, preds).mean())


def macro_f1_present(labels: np.ndarray, preds: np.ndarray) -> float:
    """The mean F1 over the classes that have at least one positive in ``labels`` (0 when none has)."""
    present = check_binary(labels, "labels").any(axis=0)
    return float(f1_per_class(labels, preds)[present].mean()) if present.any() else 0.0


def micro_f1(labels: np.ndarray, preds: np.ndarray) -> float:
    """The F1 of all N x 28 decisions pooled: common classes dominate it."""
    return float(f1_of_counts(*(count.sum() for count in confusion_counts(labels, preds))))


def sample_f1(labels: np.ndarray, preds: np.ndarray) -> float:
    """The mean over images of the F1 of each image's label set (0 for an image with neither labels nor predictions)."""
    labels, preds = check_pair(labels, preds)
    return float(f1_per_class(labels.T, preds.T).mean())


def f1_per_class(labels: np.ndarray, preds: np.ndarray) -> np.ndarray:
    """The F1 of each class, float (28,): 2 TP / (2 TP + FP + FN), 0 where that is 0 / 0."""
    return f1_of_counts(*confusion_counts(labels, preds))


def average_precision(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """The area under each class's precision-recall steps, float (28,): how well a class is ranked, without thresholds.

    0 for a class without positives.
    """
    _, hits, last = rank(labels, probs)
    num_images = hits.shape[1]
    precision = hits / np.arange(1, num_images + 1)
    position = np.where(last, np.arange(num_images), num_images - 1)
    end_of_tie = np.minimum.accumulate(position[:, ::-1], axis=1)[:, ::-1]  # a tie is scored as one step
    gained = np.diff(hits, axis=1, prepend=0)
    return divide((gained * np.take_along_axis(precision, end_of_tie, axis=1)).sum(axis=1), hits[:, -1])


def rank(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each class's images ranked by probability: all that thresholds and average precision need, from one sort.

    Returns:
        ``ranked`` (28, N): the probabilities of each class, descending; ``hits`` int (28, N): how many positives are
        among the first k + 1; ``last`` bool (28, N): k is the last of its tie, so that a threshold can cut behind it.
    """
    labels, probs = check_binary(labels, "labels"), check_probs(probs)
    check_same_shape(labels, probs, "probs")
    if not len(labels):
        raise ValueError("there are no images to rank: give at least one row of labels and probs")
    order = np.argsort(-probs.T, axis=1)  # (28, N)
    ranked = np.take_along_axis(probs.T, order, axis=1)
    hits = np.cumsum(np.take_along_axis(labels.T, order, axis=1), axis=1, dtype=np.int64)
    last = np.ones(ranked.shape, bool)
    last[:, :-1] = ranked[:, :-1] > ranked[:, 1:]
    return ranked, hits, last


def confusion_counts(labels: np.ndarray, preds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and false negatives of each class, int (28,) each."""
    labels, preds = check_pair(labels, preds)
    true_positives = (labels & preds).sum(axis=0, dtype=np.int64)
    false_positives = preds.sum(axis=0, dtype=np.int64) - true_positives
    false_negatives = labels.sum(axis=0, dtype=np.int64) - true_positives
    return true_positives, false_positives, false_negatives


def f1_of_counts(true_positives, false_positives, false_negatives) -> np.ndarray:
    """F1 from counts of any shape: 2 TP / (2 TP + FP + FN), 0 where that is 0 / 0."""
    return divide(2 * true_positives, 2 * true_positives + false_positives + false_negatives)


def divide(numerator, denominator) -> np.ndarray:
    """``numerator / denominator`` as float64, 0 where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator != 0)


def summarize(labels: np.ndarray, preds: np.ndarray) -> dict[str, float]:
    """The four means in one dictionary: ``macro_f1``, ``macro_f1_present``, ``micro_f1`` and ``sample_f1``."""
    means = (macro_f1, macro_f1_present, micro_f1, sample_f1)
    return {mean.__name__: mean(labels, preds) for mean in means}


def class_table(labels: np.ndarray, preds: np.ndarray, probs: np.ndarray | None = None) -> pd.DataFrame:
    """One row per class: ``label``, ``name``, ``positives``, ``predicted``, ``precision``, ``recall``, ``f1``.

    With ``probs`` a column ``average_precision`` follows. A precision or recall of 0 / 0 is 0.
    """
    true_positives, false_positives, false_negatives = confusion_counts(labels, preds)
    table = pd.DataFrame({"label": np.arange(atlas.NUM_LABELS), "name": atlas.LABELS})
    table["positives"] = true_positives + false_negatives
    table["predicted"] = true_positives + false_positives
    table["precision"] = divide(true_positives, table["predicted"])
    table["recall"] = divide(true_positives, table["positives"])
    table["f1"] = f1_of_counts(true_positives, false_positives, false_negatives)
    return table if probs is None else table.assign(average_precision=average_precision(labels, probs))


def check_pair(labels: np.ndarray, preds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays as uint8 (N, 28), refused when they are not 0/1 or differ in shape."""
    labels, preds = check_binary(labels, "labels"), check_binary(preds, "preds")
    check_same_shape(labels, preds, "preds")
    return labels, preds


def check_same_shape(labels: np.ndarray, other: np.ndarray, name: str) -> None:
    """Refuse arrays of different shapes."""
    if labels.shape != other.shape:
        raise ValueError(f"labels have shape {labels.shape} but {name} {other.shape}: give the same images and classes")


def check_binary(array: np.ndarray, name: str) -> np.ndarray:
    """``array`` as uint8 (N, 28), refused when it is not two-dimensional or holds something other than 0 and 1."""
    array = np.asarray(array)
    if array.ndim != 2:
        raise ValueError(f"{name} have shape {array.shape}: give one row per image and one column per class")
    wrong = array[(array != 0) & (array != 1)]
    if wrong.size:
        raise ValueError(f"{name} hold {wrong[0]}: only 0 and 1 are allowed (turn probabilities with thresholds.apply)")
    return array.astype(np.uint8)


def check_probs(probs: np.ndarray) -> np.ndarray:
    """``probs`` as a float array (N, 28), refused when it is not two-dimensional or holds NaN or other than 0..1."""
    probs = np.asarray(probs)
    if probs.ndim != 2:
        raise ValueError(f"probs have shape {probs.shape}: give one row per image and one column per class")
    if np.isnan(probs).any():
        row, column = np.argwhere(np.isnan(probs))[0]
        raise ValueError(f"probs hold NaN, first at row {row}, class {column}: the training diverged or a file broke")
    if probs.size and (probs.min() < 0 or probs.max() > 1):
        raise ValueError(f"probs reach from {probs.min():.4g} to {probs.max():.4g}: apply the sigmoid to logits first")
    return probs if probs.dtype in (np.float32, np.float64) else probs.astype(np.float64)
