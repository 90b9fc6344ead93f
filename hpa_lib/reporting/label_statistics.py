"""The numbers of the exploratory analysis: what the imbalance is, and what it does to splits and scores."""

import numpy as np
import pandas as pd
from scipy import stats

from hpa_lib import atlas
from hpa_lib.decisions import metrics


def count_table(labels: np.ndarray) -> pd.DataFrame:
    """One row per class, commonest first: ``label``, ``class``, ``images``, ``share`` of all, ``ratio``, ``alone``.

    ``ratio``: the commonest class's images per image of this one; ``alone``: images that carry no other label.
    """
    counts = labels.sum(axis=0, dtype=int)
    table = pd.DataFrame({"label": np.arange(len(counts)), "class": atlas.LABELS, "images": counts})
    table["share"] = counts / max(len(labels), 1)
    table["ratio"] = metrics.divide(counts.max(), counts)
    table["alone"] = labels[labels.sum(axis=1) == 1].sum(axis=0, dtype=int)
    return table.sort_values("images", ascending=False, ignore_index=True)


def set_table(labels: np.ndarray) -> pd.DataFrame:
    """One row per label set, commonest first: ``Target`` as Kaggle writes it, ``classes`` in words, ``images``."""
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    table = pd.DataFrame({"Target": [atlas.format_target(row) for row in sets]})
    table["classes"] = [" + ".join(atlas.LABELS[label] for label in np.flatnonzero(row)) for row in sets]
    table["images"] = counts
    return table.sort_values(["images", "Target"], ascending=[False, True], ignore_index=True)


def cooccurrence(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often two classes meet in an image, and how much more often than by chance.

    Returns:
        counts int (28, 28), the diagonal being the class counts; lift float (28, 28): the share of images with both,
        divided by the product of their shares. 1 is chance, 0 never though chance would; NaN where the classes never
        meet and chance would not bring them together in one image either: too few to tell.
    """
    labels = labels.astype(np.float64)
    counts = labels.T @ labels
    expected = np.outer(counts.diagonal(), counts.diagonal()) / max(len(labels), 1)
    known = (counts > 0) | (expected >= 1)
    lift = np.divide(counts, expected, out=np.full(counts.shape, np.nan), where=known)
    return counts.astype(int), lift


def pair_table(labels: np.ndarray, min_expected: float = 1.0) -> pd.DataFrame:
    """One row per pair of classes, highest lift first: ``first``, ``second``, ``images``, ``expected``, ``lift``.

    Pairs that chance alone would bring together in fewer than ``min_expected`` images are left out: noise.
    """
    counts, lift = cooccurrence(labels)
    rows, columns = np.triu_indices(len(counts), 1)
    names = np.array(atlas.LABELS)
    images = counts[rows, columns]
    expected = counts.diagonal()[rows] * counts.diagonal()[columns] / max(len(labels), 1)
    table = pd.DataFrame({"first": names[rows], "second": names[columns], "images": images, "expected": expected})
    table["lift"] = lift[rows, columns]
    return table[expected >= min_expected].sort_values("lift", ascending=False, ignore_index=True)


def emptiest_fold(labels: np.ndarray, folds: np.ndarray, num_folds: int) -> np.ndarray:
    """The images of each class in the fold that has fewest of it, int (28,); rows with fold -1 do not count."""
    member = folds == np.arange(num_folds)[:, None]  # (K, N)
    return (member.astype(np.float32) @ labels.astype(np.float32)).min(axis=0).astype(int)


def baselines(labels: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """What needs no model: one row per rule, with ``macro_f1``, ``macro_f1_present``, ``micro_f1``, ``sample_f1``.

    ``seed`` is of the rule that tosses a coin for each class, weighted by the class's share.
    """
    counts = labels.sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    coins = np.random.default_rng(seed).random(labels.shape) < counts / len(labels)
    common = np.isin(np.arange(len(counts)), order[:3])
    rules = {
        "nothing": np.zeros(len(counts), bool),
        f"always {atlas.LABELS[0]}": np.arange(len(counts)) == 0,
        "always the three commonest": common,
        "everything": np.ones(len(counts), bool),
        "a coin for each class, by its share": coins,
    }
    preds = {name: np.broadcast_to(rule, labels.shape).astype(np.uint8) for name, rule in rules.items()}
    return pd.DataFrame([{"predict": name, **metrics.summarize(labels, pred)} for name, pred in preds.items()])


def batch_macro_f1(labels: np.ndarray, preds: np.ndarray, batch_size: int, seed: int = 0) -> float:
    """The mean of the macro F1 of shuffled batches: what a training log shows when the metric is averaged so.

    A class that is absent from a batch scores 0 there, so that even perfect predictions stay far below 1.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return float(np.mean([metrics.macro_f1(labels[rows], preds[rows]) for rows in batches]))


def simulate_f1(
    shares: np.ndarray, num_images: int, recall: float, precision: float, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """The F1 of one unchanging model on many samples of one size: float (draws, 28).

    Each class appears by its share, is found with ``recall``, and false alarms come as often as ``precision`` says in
    the long run; what varies is chance alone.

    Args:
        shares: float (28,), the share of images with each class.
        num_images: images per sample, of which there are ``draws``.
        recall, precision: in 0..1, the same for all classes.
    """
    random = np.random.default_rng(seed)
    positives = random.binomial(num_images, shares, (draws, len(shares)))
    hits = random.binomial(positives, recall)
    alarm_rate = np.clip(shares * recall * (1 - precision) / precision / (1 - np.minimum(shares, 0.999)), 0, 1)
    alarms = random.binomial(num_images - positives, alarm_rate)
    return metrics.f1_of_counts(hits, alarms, positives - hits)


def shift_table(means: dict[str, np.ndarray]) -> pd.DataFrame:
    """How the brightness of two parts differs: one row per channel, the medians and the Kolmogorov-Smirnov distance.

    Args:
        means: two entries, part name -> float (N, 4), the mean brightness of each image and channel.

    Returns:
        ``channel``, ``median <part>`` twice, and ``distance``: the largest gap between the two cumulative shares of
        images, 0 for equal distributions and 1 for separate ones.
    """
    (first, first_means), (second, other) = means.items()
    rows = []
    for index, channel in enumerate(atlas.CHANNELS):
        left, right = first_means[:, index], other[:, index]
        medians = {f"median {first}": np.median(left), f"median {second}": np.median(right)}
        distance = stats.ks_2samp(left, right, method="asymp").statistic  # the method only concerns its p-value
        rows.append({"channel": channel, **medians, "distance": distance})
    return pd.DataFrame(rows)


def example_rows(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """For each class the row of an image that shows it with as few other labels as possible, int (28,); -1 for none."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order].sum(axis=1), kind="stable")]
    found = labels[order].astype(bool)
    return np.where(found.any(axis=0), order[found.argmax(axis=0)], -1)
