"""Several models, one answer: label sets united, probabilities averaged, and what each member adds.

Label sets (uint8) are combined with ``union``, ``intersection`` and ``vote``: submission files are enough.
Probabilities are combined with ``mean``, ``geometric_mean``, ``rank_mean`` and ``weighted``. Rows must be the same
images in the same order: ``align`` sees to that.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hpa_lib import metrics

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1 before a logarithm


def align(members: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All members' rows in the order of the first one.

    Args:
        members: name -> ids str (N,) and array (N, 28) (probabilities or label sets).

    Returns:
        ids str (N,) and name -> array (N, 28).

    Raises:
        ValueError: an Id stands twice in a member, or a member has other ids than the first; the sentence names both.
    """
    if not members:
        raise ValueError("an ensemble without members: name at least one run")
    first, (ids, _) = next(iter(members.items()))
    aligned = {}
    for name, (own_ids, array) in members.items():
        row_of = {own_id: row for row, own_id in enumerate(own_ids)}
        if len(own_ids) != len(array) or len(row_of) != len(own_ids):
            raise ValueError(
                f"{name}: {len(own_ids)} ids, {len(row_of)} different, for {len(array)} rows: each Id needs one row"
            )
        _refuse_other_ids(first, ids, name, own_ids)
        aligned[name] = np.asarray(array)[[row_of[one] for one in ids]]
    return np.asarray(ids), aligned


def _refuse_other_ids(first: str, ids: np.ndarray, name: str, own_ids: np.ndarray) -> None:
    for missing, here, there in (
        (sorted(set(ids) - set(own_ids)), name, first),
        (sorted(set(own_ids) - set(ids)), first, name),
    ):
        if missing:
            raise ValueError(
                f"{here} lacks {len(missing)} ids that {there} has, first {missing[0]}: "
                "combine members predicted on the same images only"
            )


def union(preds_list: Sequence[np.ndarray]) -> np.ndarray:
    """Labels that at least one member predicts (the study's merge of two submissions): uint8 (N, 28)."""
    return vote(preds_list, 1)


def intersection(preds_list: Sequence[np.ndarray]) -> np.ndarray:
    """Labels that all members predict: uint8 (N, 28)."""
    return vote(preds_list, len(preds_list))


def vote(preds_list: Sequence[np.ndarray], at_least: int) -> np.ndarray:
    """Labels that ``at_least`` members predict: uint8 (N, 28).

    Args:
        preds_list: one or more 0/1 (N, 28).
        at_least: 1 (union) to the number of members (intersection).
    """
    if not 1 <= at_least <= len(preds_list):
        raise ValueError(f"at_least {at_least} of {len(preds_list)} members: give a number from 1 to that")
    stacked = _stack([metrics.check_binary(preds, "preds") for preds in preds_list])
    return (stacked.sum(axis=0) >= at_least).astype(np.uint8)


def mean(probs_list: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the members' probabilities: float32 (N, 28)."""
    return weighted(probs_list, np.ones(len(probs_list)))


def geometric_mean(probs_list: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the members' logits, as a probability: float32 (N, 28). One sure "no" weighs more here."""
    logits = logit(_stack_probs(probs_list)).mean(axis=0)
    return sigmoid(logits).astype(np.float32)


def rank_mean(probs_list: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over members of each image's rank within its class, in 0..1: float32 (N, 28).

    For members whose probabilities are on different scales. Ranks depend on the other images of the part, so the
    thresholds of one part fit another only where the classes are equally common in both. Ties share their mean rank.
    """
    ranks = [pd.DataFrame(probs).rank(axis=0).to_numpy() for probs in _stack_probs(probs_list)]
    return ((np.mean(ranks, axis=0) - 0.5) / len(ranks[0])).astype(np.float32)


def weighted(probs_list: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The weighted mean of the members' probabilities: float32 (N, 28).

    Args:
        probs_list: one or more (N, 28) in 0..1.
        weights: (M,), not negative, not all 0; only their ratios matter.
    """
    weights = np.asarray(weights, float)
    if weights.shape != (len(probs_list),) or not (weights >= 0).all() or not weights.sum() > 0:
        raise ValueError(
            f"weights {weights.tolist()} for {len(probs_list)} members: give each one, 0 or more, not all 0"
        )
    return np.tensordot(weights / weights.sum(), _stack_probs(probs_list), axes=1).astype(np.float32)


def logit(probs: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of probabilities, kept finite."""
    clipped = np.clip(np.asarray(probs, np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(clipped / (1 - clipped))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)), safe for large numbers."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits)))


def _stack_probs(probs_list: Sequence[np.ndarray]) -> np.ndarray:
    return _stack([metrics.check_probs(probs) for probs in probs_list])


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    if not len(arrays):
        raise ValueError("an ensemble without members: name at least one run")
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ValueError(f"members have shapes {sorted(shapes)}: bring them to the same images with ensemble.align")
    return np.stack(arrays)  # (M, N, 28)
