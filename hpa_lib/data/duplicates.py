"""Near-duplicate images: perceptual hashes, the pairs within a distance, and the groups that they form.

The same field exported twice, or a train field that comes back in test, must not sit on both sides of a split. The hash
is the DCT hash (pHash, Zauner 2010): the signs of a channel's coarsest cosine waves, blind to size, brightness and
noise.
"""

from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd
import scipy.sparse
import scipy.sparse.csgraph

THUMB = 32  # pixels: side of the picture that is hashed
WAVES = 8  # cosine waves per side: WAVES * WAVES bits per channel
BLOCK = 1024  # images hashed or compared at a time
MAX_DISTANCE = 12  # bits of 256; unrelated fields differ in about 128


def hash_images(images: np.ndarray) -> np.ndarray:
    """The perceptual hash of each image: bool (N, 256), 64 bits per channel.

    Args:
        images: uint8 (N, S, S, 4), an array or the mapped cache; read in blocks.
    """
    waves = _cosines()
    hashes = np.empty((len(images), 4 * WAVES * WAVES), bool)
    for start in range(0, len(images), BLOCK):
        block = np.stack([_thumb(image) for image in images[start : start + BLOCK]])  # (B, 32, 32, 4)
        strengths = np.einsum("uh,bhwc,vw->bcuv", waves, block, waves, optimize=True)  # (B, 4, 8, 8)
        strengths = strengths.reshape(len(block), 4, -1)
        middle = np.median(strengths[..., 1:], axis=-1, keepdims=True)  # without the mean brightness
        hashes[start : start + len(block)] = (strengths > middle).reshape(len(block), -1)
    return hashes


def find_pairs(
    hashes: np.ndarray, others: np.ndarray | None = None, max_distance: int = MAX_DISTANCE
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of near-duplicates, and how many bits they differ in.

    Every pair is compared, by matrix products of signs, block by block: 31,072 images take some seconds and, beside
    their hashes, no more memory than 1,024 of them.

    Args:
        hashes: bool (N, B).
        others: bool (M, B) to compare with; None compares ``hashes`` with itself, each pair once.
        max_distance: bits that may differ.

    Returns:
        pairs int (P, 2), rows of ``hashes`` and of ``others``; distances int (P,).
    """
    if max_distance < 0:
        raise ValueError(f"max_distance {max_distance}: use 0 (equal hashes) or more")
    right = hashes if others is None else others
    pairs, distances = [np.empty((0, 2), int)], [np.empty(0, int)]
    for start in range(0, len(hashes), BLOCK):
        first = start if others is None else 0  # a pair's partner is further down
        for other in range(first, len(right), BLOCK):
            distance = _count_differing(hashes[start : start + BLOCK], right[other : other + BLOCK])
            if others is None and other == start:
                distance[np.tri(*distance.shape, dtype=bool)] = np.inf  # each pair once, none with itself
            rows, columns = np.nonzero(distance <= max_distance)
            pairs.append(np.stack([rows + start, columns + other], axis=1))
            distances.append(distance[rows, columns].astype(int))
    return np.concatenate(pairs), np.concatenate(distances)


def twin_table(ids: np.ndarray, other_ids: np.ndarray, pairs: np.ndarray, distances: np.ndarray) -> pd.DataFrame:
    """Pairs between the training and the test part as a table: ``train_id``, ``test_id``, ``distance`` in bits."""
    columns = {"train_id": ids[pairs[:, 0]], "test_id": other_ids[pairs[:, 1]], "distance": distances}
    return pd.DataFrame(columns).sort_values(["distance", "test_id", "train_id"], ignore_index=True)


def merge_groups(groups: Iterable, pairs: np.ndarray) -> np.ndarray:
    """Groups in which both given groups and near-duplicate pairs stay together: int (N,), numbered by first image.

    Args:
        groups: (N,), any values; equal ones stay together. ``range(N)`` when every image stands alone.
        pairs: int (P, 2) from ``find_pairs``.
    """
    group_of = pd.factorize(np.asarray(groups))[0]
    number = len(group_of)
    edges = np.concatenate([pairs, np.stack([np.arange(number), number + group_of], axis=1)])  # nodes: images, groups
    graph = scipy.sparse.coo_array((np.ones(len(edges), bool), edges.T), shape=(2 * number, 2 * number))
    parts = scipy.sparse.csgraph.connected_components(graph, directed=False)[1][:number]
    return pd.factorize(parts)[0]


def _count_differing(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """In how many bits each pair of hashes differs: float32 (N, M)."""
    left, right = (np.where(bits, np.float32(1), np.float32(-1)) for bits in (hashes, others))
    return (hashes.shape[1] - left @ right.T) / 2


def _thumb(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (THUMB, THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)


def _cosines() -> np.ndarray:
    """The first cosine waves over a thumb: float32 (8, 32)."""
    positions = (np.arange(THUMB) + 0.5) * np.pi / THUMB
    return np.cos(np.arange(WAVES)[:, None] * positions).astype(np.float32)
