"""Folds and the hold-out: grouped, multi-label-stratified, seeded.

Iterative stratification after Sechidis, Tsoumakas & Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD
2011: the rarest label is assigned first, each time to the fold that still wants most of it. Here whole groups are
assigned.
"""

import numpy as np
import pandas as pd

from hpa_lib import atlas


def make_folds(labels: np.ndarray, groups: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """The fold of each image, int (N,) in 0..num_folds-1; a group is never split and each label is spread evenly.

    Args:
        labels: uint8 (N, 28).
        groups: (N,), any values; equal ones stay together.
        num_folds: 2 or more.
        seed: the same seed gives the same folds.

    Raises:
        ValueError: fewer groups than folds, or arrays of different lengths.
    """
    if num_folds < 2:
        raise ValueError(f"num_folds {num_folds}: use 2 or more")
    return _assign(labels, groups, np.full(num_folds, 1 / num_folds), seed)


def make_holdout(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which images to hold out, bool (N,): about ``fraction`` of each label, whole groups. Args: as ``make_folds``."""
    if not 0 < fraction < 1:
        raise ValueError(f"fraction {fraction}: use a number between 0 and 1, such as 0.2")
    return _assign(labels, groups, np.array([1 - fraction, fraction]), seed) == 1


def make_split(labels: np.ndarray, groups: np.ndarray, num_folds: int, holdout: float, seed: int) -> np.ndarray:
    """Folds of all that is not held out, int (N,): -1 for the hold-out, else 0..num_folds-1.

    Args: as ``make_folds`` and ``make_holdout``; ``holdout`` 0 holds nothing out.
    Raises: as they do, and ValueError where a fold has a single group: what is tuned on it could be tested nowhere.
    """
    folds = np.full(len(labels), -1)
    held = make_holdout(labels, groups, holdout, seed) if holdout else np.zeros(len(labels), bool)
    folds[~held] = make_folds(labels[~held], np.asarray(groups)[~held], num_folds, seed)
    for fold in range(num_folds):
        if len(np.unique(np.asarray(groups)[folds == fold])) < 2:
            raise ValueError(f"fold {fold} of {num_folds} has a single group of images: use fewer folds or more groups")
    return folds


def make_cross_folds(labels: np.ndarray, groups: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Folds for cross-fitting, as of ``make_folds``: at most ``num_folds``, fewer where there are fewer groups."""
    return make_folds(labels, groups, min(num_folds, len(np.unique(groups))), seed)


def make_random_folds(groups: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Folds after a plain shuffle of the groups, int (N,), blind to the labels. For comparison only."""
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % num_folds)[group_of]


def count_by_fold(labels: np.ndarray, folds: np.ndarray) -> pd.DataFrame:
    """How many images of each class each fold has: one row per class, columns ``class``, ``all``, then the folds.

    The hold-out's column is ``holdout``, the others ``fold 0``, ``fold 1``, ...
    """
    table = {"class": atlas.LABELS, "all": labels.sum(axis=0, dtype=int)}
    for fold in np.unique(folds):
        name = "holdout" if fold == -1 else f"fold {fold}"
        table[name] = labels[folds == fold].sum(axis=0, dtype=int)
    return pd.DataFrame(table)


def _assign(labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """The part, int (N,), that each image is assigned to; part k gets about ``shares[k]`` of every label."""
    if len(labels) != len(groups):
        raise ValueError(f"{len(labels)} rows of labels but {len(groups)} groups: give each image its group")
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)  # (N,) -> 0..G-1
    num_groups = int(group_of.max(initial=-1)) + 1
    if num_groups < len(shares):
        raise ValueError(f"{num_groups} groups cannot fill {len(shares)} folds: use fewer folds")
    counts = np.zeros((num_groups, labels.shape[1]), int)  # images of each label in each group
    np.add.at(counts, group_of, labels)
    sizes = np.bincount(group_of)
    return _assign_groups(counts, sizes, shares, np.random.default_rng(seed))[group_of]


def _assign_groups(counts: np.ndarray, sizes: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The part of each group, int (G,), from its label counts (G, L) and its size (G,)."""
    images_wanted = shares[:, None] * counts.sum(axis=0)  # (K, L): images of each label that each part still lacks
    places_left = shares * sizes.sum()  # (K,): images that each part still lacks
    parts = np.full(len(counts), -1)
    shuffled = rng.permutation(len(counts))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]  # large groups first, while they still fit
    unassigned = counts.sum(axis=0)
    while unassigned.any():
        label = np.argmin(np.where(unassigned > 0, unassigned, np.iinfo(int).max))  # the rarest label that is left
        for group in order[(parts[order] < 0) & (counts[order, label] > 0)]:
            parts[group] = part = _most_wanting(images_wanted[:, label], places_left, rng)
            images_wanted[part] -= counts[group]
            places_left[part] -= sizes[group]
            unassigned -= counts[group]
    for group in order[parts[order] < 0]:  # images without any label
        parts[group] = part = _most_wanting(places_left, places_left, rng)
        places_left[part] -= sizes[group]
    return parts


def _most_wanting(images_wanted: np.ndarray, places_left: np.ndarray, rng: np.random.Generator) -> int:
    """The part that wants most images; among equals the one with most places left, then any."""
    best = np.flatnonzero(images_wanted >= images_wanted.max() - 1e-9)
    if len(best) > 1:
        best = best[places_left[best] >= places_left[best].max() - 1e-9]
    return int(best[0]) if len(best) == 1 else int(rng.choice(best))
