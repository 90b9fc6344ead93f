"""What a run set shows of each of the study's claims, measured once, and the verdict that follows from it.

All take ``found`` of ``report.load``. The run that represents a network is the first of its ``networks``, with all its
seeds: no score takes part in that choice. A gain is a dictionary: ``before`` and ``after`` (macro F1, at .5 unless
said), ``gain`` with its 95 % interval ``low`` and ``high`` (images and seeds), ``runs`` (a text that names them).
"""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd

from hpa_lib import store
from hpa_lib.decisions import bootstrap, ensemble, metrics, thresholds
from hpa_lib.reporting import tables

CNN = "densenet"  # the study's network that starts from scratch; the others are pretrained
NOTHING = dict.fromkeys(["before", "after", "gain", "low", "high"], np.nan) | {"runs": ""}  # no such runs


def measure(found: dict) -> dict[str, dict]:
    """The gain behind each claim, by its name in ``study.json``, and of notebook 06's union as ``stored_union``."""
    networks = found["networks"]
    as_study = networks[networks["start"] == np.where(networks["model"] == CNN, "from scratch", "ImageNet")]
    gains = {"thresholds": _gain_of_thresholds(found), "ensemble": _gain_of_union(found)}
    gains["stored_union"] = _stored_gain_of_union(found)
    for network in found["study"]["classifiers"]:
        gains[f"overfit_{network}"] = _measure_overfitting(found, tables.find_runs(as_study, network))
        if network != CNN:
            gains[f"pretrained_{network}"] = _gain_of_pairs(found, _pair_networks(as_study, CNN, network, ["lines"]))
    for network in found["study"]["class_weights"]:
        twins = find_twins(found, network)
        gains[f"weights_{network}"] = _gain_of_pairs(found, twins)
        gains[f"rare_{network}"] = _gain_of_pairs(found, twins, functools.partial(rare_share, rarest=found["rarest"]))
    pairs = _pair_networks(networks, "resnet18", "inception_v2", ["lines", "start"])
    return gains | {"inception_v2": _gain_of_pairs(found, pairs)}


def judge_claims(found: dict) -> pd.DataFrame:
    """The study's claims, one per row: claim, what the study saw, what this run set shows, verdict.

    The verdict follows from the 95 % interval alone: "agrees", "disagrees", "cannot tell" (it contains 0) or "not
    tested" (the set lacks the runs that the claim needs). A network overfits badly where its training F1 minus its
    validation F1 is above the middle between the study's CNN and its less overfitted pretrained network, else hardly;
    with less than half of the study's training F1 it has not been trained far enough to tell.
    """
    study, rows = found["study"], []
    gaps = {network: theirs["train_f1"] - theirs["test_f1"] for network, theirs in study["classifiers"].items()}
    limit = (gaps.pop(CNN) + min(gaps.values())) / 2
    for name, words in study["claims"].items():
        about, _, network = name.partition("_")
        gain, compared_with = found["gains"][name], limit if about == "overfit" else 0.0
        shown, verdict = _judge(gain, words["needs"], compared_with, hardly=name == f"overfit_{CNN}")
        if about == "overfit" and gain["after"] < study["classifiers"][network]["train_f1"] / 2:
            shown, verdict = f"{shown}; trained too little to overfit", "not tested"
        rows.append((words["claim"], words["saw"].format_map(study), shown, verdict))
    return pd.DataFrame(rows, columns=["claim", *found["headings"], "verdict"])


def find_twins(found: dict, network: str) -> pd.DataFrame:
    """The runs of a network without and with class weights: a pair for each seed, of the first settings with pairs."""
    return _keep_first(tables.find_twins(found["networks"].query("model == @network")))


def find_united(found: dict) -> list[str]:
    """The two runs to unite as the study did, fewer where they are missing: of two networks, each with its best run.

    Best is the cross-fitted score on validation, by which notebook 06 ranks its members.
    """
    members, scores = found["ensemble"]["members"], found["ensemble"]["cross_fitted"]
    scores = {run: scores[member] for member, runs in members.items() for run in runs}
    runs = found["networks"].assign(score=found["networks"]["run"].map(scores)).dropna(subset="score")
    runs = runs.sort_values("score", ascending=False, kind="stable")
    if found["judged_on"] == "validation":  # another fold is validated on other images
        runs = runs[runs["fold"].isin(runs["fold"][:1])]
    return list(runs.drop_duplicates("model")["run"][:2])


def rare_share(hits: np.ndarray, false_alarms: np.ndarray, misses: np.ndarray, rarest: np.ndarray) -> np.ndarray:
    """The share of the classes ``rarest`` among all predicted labels, (...) in 0..1, from counts (..., 28)."""
    predicted = hits + false_alarms
    return predicted[..., rarest].sum(axis=-1) / np.maximum(predicted.sum(axis=-1), 1)


def _pair_networks(records: pd.DataFrame, before: str, after: str, same: list[str]) -> pd.DataFrame:
    """The runs of two networks that are equal in ``same`` and in the seed: the first settings with such pairs."""
    left, right = records.query("model == @before"), records.query("model == @after")
    return _keep_first(left.merge(right, on=[*same, "seed"], suffixes=tables.SIDES))


def _keep_first(pairs: pd.DataFrame) -> pd.DataFrame:
    settings = pairs["settings_before"] + pairs["settings_after"]
    return pairs[settings.isin(settings[:1])]


def _gain_of_pairs(found: dict, pairs: pd.DataFrame, statistic: Callable = bootstrap.STATISTICS["macro_f1"]) -> dict:
    """``statistic`` takes the true positives, false positives and false negatives at .5, each (..., 28)."""
    if pairs.empty:
        return NOTHING
    values, resampled = [], []
    for side in tables.SIDES:
        judged = [[found["judged"][run][name] for name in ("labels", "half", "groups")] for run in pairs[f"run{side}"]]
        values.append(np.array([statistic(*metrics.confusion_counts(*arrays[:2])) for arrays in judged]))
        resampled.append([statistic(*bootstrap.resample(*arrays, **found["options"])) for arrays in judged])
    names = f"{', '.join(pairs['run_after'])} against {', '.join(pairs['run_before'])}"
    return tables.mean_gain(*values, np.subtract(*resampled[::-1])) | {"runs": names}


def _gain_of_thresholds(found: dict) -> dict:
    """The mean over all runs of the study's networks, which count as a sample."""
    runs = list(found["networks"]["run"])
    if not runs:
        return NOTHING
    gain = tables.gain(found["judged"], runs, runs, ("half", "tuned"), **found["options"])
    return gain | {"runs": f"mean over all runs, n = {len(runs)}"}


def _gain_of_union(found: dict) -> dict:
    """What the union of two networks brings over the better of them, with tuned thresholds: a union for each seed."""
    pair = find_united(found)
    if len(pair) < 2:
        return NOTHING
    networks = found["networks"]
    sides = [networks[networks["settings"] == settings] for settings in networks.set_index("run").loc[pair, "settings"]]
    pairs = sides[0].merge(sides[1], on="seed", suffixes=tables.SIDES)
    better, other = ([*pairs[f"run{side}"]] or [run] for side, run in zip(tables.SIDES, pair, strict=True))
    judged, united = dict(found["judged"]), []
    for first, second in zip(better, other, strict=True):
        united.append(f"{first} with {second}")
        both = [judged[first], judged[second]]
        unions = {name: ensemble.union([run[name] for run in both]) for name in ("tuned", "tuned_unfilled")}
        judged[united[-1]] = judged[first] | unions
    gain = tables.gain(judged, better, united, ("tuned", "tuned"), **found["options"])
    return gain | {"runs": f"{', '.join(united)} against {', '.join(better)}"}


def _stored_gain_of_union(found: dict) -> dict:
    """What notebook 06 stored of its union, which is of two runs of any kind."""
    decision, row = found["ensemble"], found["ensemble_scores"].set_index("name").loc["union of two"]
    if len(decision["members"]) == 1:
        return NOTHING
    gain = {"before": row["macro_f1"] - row["gain"], "after": row["macro_f1"], "gain": row["gain"]}
    gain |= {"low": row["gain_low"], "high": row["gain_high"]}
    return gain | {"runs": f"{' with '.join(decision['pair'])} against {row['best_single']}"}


def _measure_overfitting(found: dict, runs: pd.DataFrame) -> dict:
    """Training F1 (after) minus validation F1 (before), of the runs whose training F1 is stored."""
    runs, resampled = runs[runs["train_macro_f1"].notna()], []
    if runs.empty:
        return NOTHING
    train, val = (runs[f"{part}_macro_f1"].to_numpy(float) for part in ("train", "val"))
    for run in runs["run"]:
        labels, probs, groups = store.load_scored(found["out"], run, "val")
        preds = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY)
        counts = bootstrap.resample(labels, preds, groups, **found["options"])
        resampled.append(bootstrap.STATISTICS["macro_f1"](*counts))
    return tables.mean_gain(val, train, train[:, None] - np.array(resampled)) | {"runs": ", ".join(runs["run"])}


def _judge(gain: dict, needs: str, limit: float, hardly: bool) -> tuple[str, str]:
    """What this run set shows, and the verdict; ``hardly``: the claim is that the gain is below the limit."""
    if np.isnan(gain["gain"]):
        return f"not in this run set: {needs}", "not tested"
    shown = "{before:.3f} -> {after:.3f}, {gain:+.3f} [{low:+.3f}, {high:+.3f}], {runs}".format(**gain)
    above, below = gain["low"] > limit, gain["high"] < limit
    verdict = "cannot tell" if not (above or below) else "agrees" if above != hardly else "disagrees"
    return shown + (f"; limit {limit:+.3f}" if limit else ""), verdict
