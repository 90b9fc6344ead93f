"""What every member and every ensemble answers on each split part: from probabilities to label sets, for notebook 06.

Answers of one part are a dictionary from name to array (N, 28), the members first. Several parts are a dictionary from
part to that: ``val`` first, then ``holdout`` and ``test``.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import store
from hpa_lib.decisions import ensemble, metrics, thresholds

FITTED = {  # averages with parameters: name -> what fits them, what applies them
    "weighted mean": (ensemble.hill_climb, ensemble.weighted),
    "stacked": (ensemble.fit_stacker, ensemble.stack),
}


def load_members(out: Path, members: Mapping[str, Sequence[str]], has_test: bool) -> tuple[dict, dict]:
    """The stored probabilities of each member's runs, joined and in one order.

    Returns:
        part -> ids str (N,), and part -> member -> probs float32 (N, 28).
    """
    ids, probs = {}, {}
    for part in store.SCORED_PARTS if has_test else store.SCORED_PARTS[:2]:
        joined = {}
        for member, runs in members.items():
            joined[member] = ensemble.join_folds([store.load_probs(out, run, part) for run in runs])
        ids[part], probs[part] = ensemble.align(joined)
    return ids, probs


def fit(labels: np.ndarray, probs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of each average in ``FITTED``, from labels and member -> probs of the validation images."""
    return {name: fit_average(labels, list(probs.values())) for name, (fit_average, _) in FITTED.items()}


def fit_out_of_fold(labels: np.ndarray, probs: Mapping[str, np.ndarray], folds: np.ndarray) -> dict[str, np.ndarray]:
    """The averages in ``FITTED`` on the images they are fitted on, each fold as the others fit it."""
    probs_list = list(probs.values())
    return {name: ensemble.out_of_fold(labels, probs_list, folds, *pair) for name, pair in FITTED.items()}


def average(probs: Mapping[str, np.ndarray], fitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The members' probabilities of one part, followed by those of the five averages; ``fitted`` is from ``fit``."""
    probs_list = list(probs.values())
    averages = {"mean": ensemble.mean(probs_list), "geometric mean": ensemble.geometric_mean(probs_list)}
    averages["rank mean"] = ensemble.rank_mean(probs_list)
    averages |= {name: combine(probs_list, fitted[name]) for name, (_, combine) in FITTED.items()}
    return {**probs, **averages}


def decide(
    labels: np.ndarray,
    probs: Mapping[str, Mapping[str, np.ndarray]],
    unseen: Mapping[str, np.ndarray],
    folds: np.ndarray,
    candidate: str,
    fill_empty: bool,
    is_folded: bool,
) -> tuple[dict, dict]:
    """Thresholds and label sets of every part: tuned on validation, cross-fitted there, applied elsewhere.

    Args:
        labels: 0/1 (N, 28), of the validation images.
        probs: part -> name -> probabilities, ``val`` among the parts.
        unseen: name -> validation probabilities to cross-fit, in which nothing was fitted to the image itself.
        folds, fill_empty: as in ``thresholds.cross_fit``.
        candidate: the name of one of ``thresholds.CANDIDATES``.
        is_folded: a member is made of fold runs, whose mean it is outside validation: ``carry_over`` is needed.

    Returns:
        part -> name -> thresholds float (28,), and part -> name -> label sets uint8.
    """
    method, options = thresholds.find_candidate(candidate)
    tuned, preds = {"val": {}}, {"val": {}}
    for name, val_probs in probs["val"].items():
        tuned["val"][name] = thresholds.tune(labels, val_probs, method, **options)
    for name, val_probs in unseen.items():
        preds["val"][name] = thresholds.cross_fit(labels, val_probs, folds, method, fill_empty, **options)
    for part in [part for part in probs if part != "val"]:
        tuned[part], preds[part] = dict(tuned["val"]), {}
        for name, part_probs in probs[part].items():
            if is_folded and method != "flat":
                tuned[part][name] = carry_over(tuned["val"][name], probs["val"][name], part_probs)
            preds[part][name] = thresholds.apply(part_probs, tuned[part][name], fill_empty)
    return tuned, preds


def carry_over(tuned: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Thresholds that predict each class as often among ``target`` (M, 28) as ``tuned`` does among ``source`` (N, 28).

    For a member made of K fold runs: its thresholds are tuned on the probabilities of single models (each image is
    predicted by the one run that was not trained on it), but decide means of K models, which are less extreme. A
    simulation in tests/decisions/test_thresholds.py holds it against thresholds used as they are and tuned on means.
    """
    if not len(target):
        return tuned
    return thresholds.match_proportions(target, thresholds.apply(source, tuned).mean(axis=0))


def rank_members(labels: np.ndarray, preds: Mapping[str, np.ndarray], members: Sequence[str]) -> list[str]:
    """The members by the macro F1 of their label sets, the best first."""
    return sorted(members, key=lambda member: metrics.macro_f1(labels, preds[member]), reverse=True)


def choose_pair(names: str, ranked: Sequence[str]) -> list[str]:
    """The two members that ``PAIR`` names, separated by a comma, or the first two of ``ranked``."""
    pair = [name.strip() for name in names.split(",") if name.strip()] or list(ranked[:2])
    if len(set(pair)) != len(pair) or len(pair) != min(2, len(ranked)) or set(pair) - set(ranked):
        raise ValueError(f"PAIR {names!r}: name two different ones of {', '.join(ranked)}, separated by a comma")
    return pair


def combine_labels(
    preds: Mapping[str, np.ndarray], members: Sequence[str], pair: Sequence[str], probs: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Unions, intersection and majority vote of the members' label sets on one part.

    Args:
        pair: the members of the ``union of two``.
        probs: (N, 28) in 0..1: images that the intersection or the majority leaves empty get their most probable class
            of these; None: they stay empty.
    """
    singles = [preds[member] for member in members]
    unions = {"union of two": ensemble.union([preds[member] for member in pair])}
    unions["union of all"] = ensemble.union(singles)
    stricter = {"intersection": ensemble.intersection(singles)}
    stricter["majority vote"] = ensemble.vote(singles, len(singles) // 2 + 1)
    if probs is not None:
        stricter = {name: thresholds.fill_empty_rows(combined, probs) for name, combined in stricter.items()}
    return unions | stricter


def leave_one_out(
    answers: Mapping[str, np.ndarray], members: Sequence[str], combine: Callable
) -> dict[str, np.ndarray]:
    """Member -> what ``combine`` makes of the answers of all others; empty where there is only one member."""
    left_out = members if len(members) > 1 else ()
    return {member: combine([answers[other] for other in members if other != member]) for member in left_out}


def describe_gain(row: pd.Series, baseline: str) -> str:
    """A row of ``bootstrap.compare`` as a sentence: the gain over ``baseline``, its interval, and what that says."""
    clear = "clearly better" if row["gain_low"] > 0 else "clearly worse" if row["gain_high"] < 0 else "not told apart"
    return f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}] against {baseline}: {clear}"
