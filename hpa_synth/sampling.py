"""Which labels which image shows: whole label sets with the real frequencies, in groups of images of one protein.

``label_sets.csv`` holds how often each of the 577 label sets occurs in the real training table (counts, no images).
Drawing whole sets keeps what belongs together: 1.63 labels per image, no Lysosomes without Endosomes.
"""

import csv
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpa_lib import atlas
from hpa_synth import data_sets

GROUP_SIZES = (2, 3, 4)  # images of one protein
LABEL_SETS_CSV = Path(__file__).with_name("label_sets.csv")


class Plan(NamedTuple):
    """What every image of one part will show, in drawing order; the order says nothing about the labels."""

    labels: np.ndarray  # uint8 (N, 28)
    groups: np.ndarray  # int (N,), 0-based number of the image's protein
    dark: np.ndarray  # bool (N,), exposed like the darker population


@lru_cache(maxsize=1)
def read_label_sets() -> tuple[np.ndarray, np.ndarray]:
    """The real label sets, uint8 (577, 28), and how many of the 31,072 real training images have each, int (577,)."""
    with LABEL_SETS_CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return (
        np.stack([atlas.parse_target(row["Target"]) for row in rows]),
        np.array([int(row["count"]) for row in rows]),
    )


def make_plan(
    rng: np.random.Generator, images: int, floor: int, dark_share: float, imbalance: float | None = None
) -> Plan:
    """A plan for ``images`` images.

    Args:
        rng: the sampling's random stream.
        images: how many.
        floor: every class gets at least this many images; 0 leaves the natural counts, and with as many images as the
            real training table has its very counts (11 Rods & rings). Chosen here where ``imbalance`` is given.
        dark_share: share of the proteins exposed like the darker population.
        imbalance: images of the commonest class for each one of the rarest; None keeps the natural counts.
    """
    sets, counts = read_label_sets()
    if imbalance is not None:
        counts = weigh_sets(imbalance)
        least = images * (counts @ sets).min() / counts.sum()  # images of the rarest class; whole groups can miss it
        floor = max(1, int(0.8 * least)) if images >= data_sets.FEWEST_FOR_FLOOR else 0
    if not floor and images == counts.sum():
        chosen, sizes = _real_groups(rng, counts)
    else:
        sizes = _group_sizes(rng, images)
        chosen = _systematic(rng, counts, len(sizes))
        if floor:
            chosen = _raise_to_floor(rng, chosen, sizes, sets, counts, floor)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    dark = _systematic(rng, np.array([1 - dark_share, dark_share]), len(sizes)).astype(bool)
    order = rng.permutation(images)
    number = rng.permutation(len(sizes))
    return Plan(sets[chosen[groups]][order], number[groups][order], dark[groups][order])


def weigh_sets(imbalance: float) -> np.ndarray:
    """Weights of the real label sets, float (577,), at which the commonest class is ``imbalance`` times the rarest.

    Each class is wanted ``count ** power`` times, so the order of the classes stays and power 0 makes them equal.
    The sets are raked to it (Deming & Stephan 1940): a set's weight is its real count times a factor for each of its
    classes, all of which are corrected until the classes are met as often as wanted.
    """
    sets, counts = read_label_sets()
    natural = counts @ sets
    wanted = natural ** (np.log(imbalance) / np.log(natural.max() / natural.min()))
    wanted *= natural.sum() / counts.sum() / wanted.sum()  # as shares of the images; the labels per image stay
    factors = np.ones(len(natural))
    for _ in range(500):
        weights = counts * np.exp(sets @ np.log(factors))
        found = weights @ sets / weights.sum()
        factors = np.maximum(factors * np.sqrt(wanted / found), 1e-6)  # one that never comes alone is not met exactly
    return weights


def _group_sizes(rng, images: int) -> np.ndarray:
    """Sizes 2 to 4 that add up to ``images``; the last group takes what is left and may be a single image."""
    sizes = rng.choice(GROUP_SIZES, images // min(GROUP_SIZES) + 1)
    ends = np.cumsum(sizes)
    sizes = sizes[: np.searchsorted(ends, images) + 1]
    sizes[-1] -= sizes.sum() - images
    return sizes


def _real_groups(rng, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups that give every set exactly its real count: which set and how many images, each (groups,)."""
    sizes = [_group_sizes(rng, int(count)) for count in counts]
    return np.repeat(np.arange(len(counts)), [len(part) for part in sizes]), np.concatenate(sizes)


def _systematic(rng, weights: np.ndarray, count: int) -> np.ndarray:
    """``count`` numbers of classes, as near to the weights' shares as whole numbers allow, in random order."""
    edges = np.cumsum(weights) / np.sum(weights)
    steps = (np.arange(count) + rng.random()) / count
    return rng.permutation(np.minimum(np.searchsorted(edges, steps, side="right"), len(weights) - 1))


def _raise_to_floor(rng, chosen, sizes, sets, counts, floor: int) -> np.ndarray:
    """Give groups other label sets until every class has ``floor`` images, the rarest class first.

    The new set is drawn from the real sets with that class, so its company stays natural. It replaces the set of a
    group with as many labels where there is one (cardinality stays), none of which falls below the floor.
    """
    chosen = chosen.copy()
    for label in np.argsort(counts @ sets):
        have = (sets[chosen] * sizes[:, None]).sum(0)
        weights = counts * sets[:, label]
        while have[label] < floor:
            new = rng.choice(len(sets), p=weights / weights.sum())
            group = _spare_group(rng, have, chosen, sizes, sets, floor, sets[new])
            if group is None:
                raise ValueError(f"floor {floor} with {sizes.sum()} images: draw more images or lower the floor")
            have = have + sizes[group] * (sets[new].astype(int) - sets[chosen[group]])
            chosen[group] = new
    return chosen


def _spare_group(rng, have, chosen, sizes, sets, floor, new_set) -> int | None:
    """A random group whose set can be given away, with as many labels as ``new_set`` if possible; None if none can."""
    group_sets = sets[chosen]
    left = have - sizes[:, None] * group_sets
    spare = ~((left < floor) & (group_sets > 0)).any(1)
    like = spare & (group_sets.sum(1) == new_set.sum())
    candidates = np.flatnonzero(like if like.any() else spare)
    return int(rng.choice(candidates)) if len(candidates) else None
