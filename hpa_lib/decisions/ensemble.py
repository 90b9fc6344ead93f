"""Several models, one answer: label sets united, probabilities averaged, and what each member adds.

Label sets (uint8) are combined with ``union``, ``intersection`` and ``vote``: submission files are enough.
Probabilities are combined with ``mean``, ``geometric_mean``, ``rank_mean`` and ``weighted``. Rows must be the same
images in the same order: ``align`` sees to that. Shapes as in ``metrics``; ``probs_list`` has one array per member, and
what is fitted is fitted on validation images.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import optimize, stats

from hpa_lib import store
from hpa_lib.decisions import bootstrap, calibration, metrics


def align(members: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All members' rows in the order of the first one.

    Args:
        members: name -> ids str (N,) and array (N, 28) (probabilities or label sets).

    Raises:
        ValueError: an Id occurs twice in a member, or a member has other ids than the first; the sentence names both.
    """
    if not members:
        raise ValueError("an ensemble without members: name at least one run")
    first, (ids, _) = next(iter(members.items()))
    aligned = {}
    remedy = "combine members predicted on the same images only"
    for name, (member_ids, array) in members.items():
        different = len(set(member_ids))
        if not len(member_ids) == different == len(array):
            raise ValueError(
                f"{name}: {len(member_ids)} ids, {different} different, for {len(array)} rows: each Id needs one row"
            )
        rows = store.find_rows(member_ids, ids, f"ids of {first} are not in {name}", remedy)
        store.find_rows(ids, member_ids, f"ids of {name} are not in {first}", remedy)
        aligned[name] = np.asarray(array)[rows]
    return np.asarray(ids), aligned


def group_folds(runs: Sequence[str]) -> dict[str, list[str]]:
    """Member -> its runs: runs whose names differ only in ``-fold<number>`` are one member, named without it."""
    members: dict[str, list[str]] = {}
    for run in runs:
        members.setdefault(re.sub(r"-fold\d+", "", run), []).append(run)
    return members


def join_folds(runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """One member from runs that differ only in their fold: ids and probabilities, averaged where runs share an Id.

    The validation parts of different folds share no image, so they are put one after the other: out-of-fold
    probabilities of all training images. Hold-out and test are the same images for all, so they are averaged.

    Args:
        runs: of each run ids str (N,) and probs (N, 28).

    Returns:
        ids str (K,), in the order of first sight, and probs float32 (K, 28).
    """
    ids = np.concatenate([run_ids for run_ids, _ in runs])
    probs = np.concatenate([metrics.check_probs(run_probs) for _, run_probs in runs])
    means = pd.DataFrame(probs.astype(np.float64)).groupby(ids, sort=False).mean()
    return means.index.to_numpy(str), means.to_numpy(np.float32)


def union(preds_list: Sequence[np.ndarray]) -> np.ndarray:
    """Labels that at least one member predicts (the study's merge of two submissions): uint8 (N, 28)."""
    return vote(preds_list, 1)


def intersection(preds_list: Sequence[np.ndarray]) -> np.ndarray:
    """Labels that all members predict: uint8 (N, 28)."""
    return vote(preds_list, len(preds_list))


def vote(preds_list: Sequence[np.ndarray], at_least: int) -> np.ndarray:
    """Labels that ``at_least`` members predict: uint8 (N, 28).

    Args:
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
    logits = calibration.logit(_stack_probs(probs_list)).mean(axis=0)
    return calibration.sigmoid(logits).astype(np.float32)


def rank_mean(probs_list: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over members of each image's rank within its class, in 0..1: float32 (N, 28).

    For members whose probabilities are on different scales. Ranks depend on the other images of the part, so the
    thresholds of one part fit another only where the classes are equally common in both. Ties share their mean rank.
    """
    ranks = stats.rankdata(_stack_probs(probs_list), axis=1)  # (M, N, 28)
    return ((ranks.mean(axis=0) - 0.5) / max(ranks.shape[1], 1)).astype(np.float32)


def weighted(probs_list: Sequence[np.ndarray], member_weights: Sequence[float]) -> np.ndarray:
    """The weighted mean of the members' probabilities: float32 (N, 28).

    Args:
        member_weights: (M,), not negative, not all 0; only their ratios matter.
    """
    member_weights = np.asarray(member_weights, float)
    if member_weights.shape != (len(probs_list),) or not (member_weights >= 0).all() or not member_weights.sum() > 0:
        raise ValueError(
            f"weights {member_weights.tolist()} for {len(probs_list)} members: give each one, 0 or more, not all 0"
        )
    return np.tensordot(member_weights / member_weights.sum(), _stack_probs(probs_list), axes=1).astype(np.float32)


def out_of_fold(
    labels: np.ndarray, probs_list: Sequence[np.ndarray], folds: np.ndarray, fit: Callable, combine: Callable
) -> np.ndarray:
    """Combined probabilities of every image from a combination fitted on the other folds: float32 (N, 28).

    Args:
        fit: ``hill_climb`` or ``fit_stacker``: labels, probs_list -> parameters.
        combine: ``weighted`` or ``stack``: probs_list, parameters -> probs.
    """
    probs = np.zeros_like(probs_list[0], np.float32)
    for fold in np.unique(folds):
        inside = np.asarray(folds) == fold
        parameters = fit(labels[~inside], [member[~inside] for member in probs_list])
        probs[inside] = combine([member[inside] for member in probs_list], parameters)
    return probs


def hill_climb(labels: np.ndarray, probs_list: Sequence[np.ndarray], rounds: int = 20) -> np.ndarray:
    """Member weights that give the weighted mean the highest mean average precision: float (M,), 0 or more, sum 1.

    Greedy selection with replacement: each round adds the member that helps most, and the weights are how often each
    was taken; of the ``rounds`` the best one counts. Average precision needs no thresholds, so nothing else is tuned on
    the way; classes without positives are left out of it. Source: Caruana et al. (2004), "Ensemble selection from
    libraries of models".
    """
    stacked, present = _stack_probs(probs_list).astype(np.float64), np.asarray(labels).any(axis=0)
    if not present.any():
        return np.full(len(stacked), 1 / len(stacked))
    taken, total = np.zeros(len(stacked)), np.zeros(stacked.shape[1:])
    best_score, best_weights = -np.inf, taken
    for size in range(1, rounds + 1):
        scores = [metrics.average_precision(labels, (total + probs) / size)[present].mean() for probs in stacked]
        chosen = int(np.argmax(scores))
        taken[chosen] += 1
        total += stacked[chosen]
        if scores[chosen] > best_score:
            best_score, best_weights = scores[chosen], taken / size
    return best_weights


def fit_stacker(labels: np.ndarray, probs_list: Sequence[np.ndarray], strength: float = 5.0) -> np.ndarray:
    """A logistic regression per class on the members' logits: coefficients float (28, M + 1), the last the intercept.

    The penalty draws each class's coefficients towards the plain mean of the logits (1 / M each), so that a class with
    few positives stays with ``geometric_mean``; its ``strength`` is on the scale of a number of images.
    """
    features = _stacker_features(probs_list)  # (28, N, M + 1)
    targets = metrics.check_binary(labels, "labels").T.astype(float)  # (28, N)
    prior = np.append(np.full(len(probs_list), 1 / len(probs_list)), 0.0)
    penalty = np.append(np.full(len(probs_list), strength), 1e-2)

    def loss(coefficients, values, target):
        logits, away = values @ coefficients, coefficients - prior
        value = (np.logaddexp(0, logits) - target * logits).sum() + 0.5 * (penalty * away**2).sum()
        return value, values.T @ (calibration.sigmoid(logits) - target) + penalty * away

    def curvature(coefficients, values, target):
        fitted = calibration.sigmoid(values @ coefficients)
        return (values.T * (fitted * (1 - fitted))) @ values + np.diag(penalty)

    options = {"method": "trust-exact", "jac": True, "hess": curvature, "tol": 1e-6}
    pairs = zip(features, targets, strict=True)
    return np.array([optimize.minimize(loss, prior, args=pair, **options).x for pair in pairs])


def stack(probs_list: Sequence[np.ndarray], coefficients: np.ndarray) -> np.ndarray:
    """The probabilities of a stacker, float32 (N, 28), from ``fit_stacker``'s members and ``coefficients``."""
    logits = np.einsum("cnm,cm->nc", _stacker_features(probs_list), coefficients)
    return calibration.sigmoid(logits).astype(np.float32)


def contributions(
    labels: np.ndarray,
    preds: Mapping[str, np.ndarray],
    preds_without: Mapping[str, Mapping[str, np.ndarray]],
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """What each member adds: whole ensembles against the same ensembles without it, on the same images.

    Args:
        preds: ensemble -> 0/1 (N, 28), with all members.
        preds_without: ensemble -> member -> 0/1 (N, 28), with all others.
        groups, draws, seed: as in ``bootstrap.paired``.

    Returns:
        One row per ensemble and member, the most useful first: ``member``, ``without`` (macro F1), ``adds``, ``low``,
        ``high`` (95 %), ``ensemble``.
    """
    columns, rows = ["member", "without", "adds", "low", "high", "ensemble"], []
    for name, others_of in preds_without.items():
        found = []
        for member, others in others_of.items():
            gain = bootstrap.paired(labels, preds[name], others, groups, draws, seed)
            score = metrics.macro_f1(labels, others)
            found.append((member, score, gain["difference"], gain["low"], gain["high"], name))
        rows += sorted(found, key=lambda row: -row[2])
    return pd.DataFrame(rows, columns=columns)


def _stacker_features(probs_list: Sequence[np.ndarray]) -> np.ndarray:
    logits = calibration.logit(_stack_probs(probs_list)).transpose(2, 1, 0)  # (28, N, M)
    return np.concatenate([logits, np.ones((*logits.shape[:2], 1))], axis=2)


def _stack_probs(probs_list: Sequence[np.ndarray]) -> np.ndarray:
    return _stack([metrics.check_probs(probs) for probs in probs_list])


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    if not len(arrays):
        raise ValueError("an ensemble without members: name at least one run")
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ValueError(f"members have shapes {sorted(shapes)}: bring them to the same images with ensemble.align")
    return np.stack(arrays)  # (M, N, 28)
