"""What a run set has stored, gathered into tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, store
from hpa_lib.data import splits
from hpa_lib.decisions import bootstrap, ensemble, metrics, thresholds

COMPARED = (  # what two networks must share to be compared; batch size and learning rate go with the network
    *("image_size", "class_weights", "epochs", "channels", "loss", "prior_bias", "augment", "mix", "sampling"),
    *("ema", "patience", "fold", "tta"),
)
SCORES = ("train_macro_f1", "train_loss", "val_macro_f1", "val_loss")
SIDES = ("_before", "_after")  # of the columns of a pair of runs


def judged_part(out: Path) -> tuple[str, str]:
    """The part that scores are given on and its name: the hold-out, or validation where there is none."""
    _, _, _, folds = store.load_split(out)
    return ("holdout", "hold-out") if (folds == -1).any() else ("val", "validation")


def load_judged(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Labels, probabilities and label sets of every run that notebook 05 took, on the judged part.

    All label sets follow the one rule for empty rows that notebook 05 stored (see ``thresholds``); those named
    ``..._unfilled`` leave empty rows empty, to show what the rule does. Without a hold-out the tuned ones are
    cross-fitted, since nothing may be scored on the images it was tuned on.

    Returns:
        run -> ``labels`` uint8 (N, 28), ``groups`` (N,), ``probs`` float32 (N, 28), and the label sets uint8 (N, 28)
        ``half`` and ``half_unfilled`` at plain .5, ``tuned`` and ``tuned_unfilled`` with the recommended thresholds.

    Raises:
        MissingInput: notebook 05 has not run on the present runs.
    """
    part, _ = judged_part(out)
    decision = store.load_decision(out, "thresholds")
    judged = {}
    for run in sorted(decision["thresholds"]):
        labels, probs, groups = store.load_scored(out, run, part)
        arrays = {"labels": labels, "groups": groups, "probs": probs, "half_unfilled": thresholds.apply(probs, 0.5)}
        if part == "val":
            folds = splits.make_folds(labels, groups, decision["folds"], decision["seed"])
            method, options = thresholds.find_candidate(decision["recommended"])
            tuned = thresholds.cross_fit(labels, probs, folds, method, **options)
        else:
            tuned = thresholds.apply(probs, np.array(decision["thresholds"][run][decision["recommended"]]))
        arrays["tuned_unfilled"] = tuned
        for name in ("half", "tuned"):
            unfilled = arrays[f"{name}_unfilled"]
            arrays[name] = thresholds.fill_empty_rows(unfilled, probs) if decision["fill_empty"] else unfilled
        judged[run] = arrays
    return judged


def notices(out: Path) -> list[str]:
    """What a reader of the scores must know: how choices were made, runs left out, test images left out."""
    decision, tuning = store.load_decision(out, "ensemble"), store.load_decision(out, "thresholds")
    rule = "get their most probable class" if tuning["fill_empty"] else "stay empty"
    sentences = [
        f"Thresholds: {tuning['recommended']} (chosen by {tuning['chosen_by']}). Images that no class reaches {rule}. "
        f"The union is of {' and '.join(decision['pair'])}. "
        f"The row 'chosen' is {decision['chosen']} (chosen by {decision['chosen_by']})."
    ]
    stale = store.stale_runs(out)
    unseen = [run for run in store.list_runs(out) if run not in tuning["thresholds"]]
    if stale:
        sentences.append(f"Left out, since they were trained on another split: {', '.join(stale)}.")
    if unseen:
        sentences.append(
            f"Left out, since notebook 05 did not take them (its RUNS, or it ran before): {', '.join(unseen)}."
        )
    if decision["dropped"]:
        sentences.append(
            f"{len(decision['dropped'])} test images could not be read; the submission gives them the commonest label "
            f"set, '{decision['fallback']}'."
        )
    if not store.load_json(out, "data/dataset.json")["test_images"]:
        sentences.append("There are no test images, so there is no submission.")
    return sentences


def run_table(out: Path, judged: dict) -> pd.DataFrame:
    """Every finished run with its settings, its cost and its scores on the judged part, one row per run.

    Columns: run, model, channels, class weights, start, best epoch, minutes, images/s, macro AP, F1 at .5, the same
    with empty rows left empty (unfilled), F1 tuned.
    """
    rows = []
    for run, arrays in judged.items():
        result = store.load_json(out, f"runs/{run}/result.json")
        rows.append(
            {
                "run": run,
                "model": result["model"],
                "channels": result["channels"],
                "class weights": result["class_weights"],
                "start": result["weights"],
                "best epoch": int(result["best_epoch"]),
                "minutes": result["seconds"] / 60,
                "images/s": result["images_per_second"],
                "macro AP": metrics.average_precision(arrays["labels"], arrays["probs"]).mean(),
                "F1 at .5, unfilled": metrics.macro_f1(arrays["labels"], arrays["half_unfilled"]),
                "F1 at .5": metrics.macro_f1(arrays["labels"], arrays["half"]),
                "F1 tuned": metrics.macro_f1(arrays["labels"], arrays["tuned"]),
            }
        )
    return pd.DataFrame(rows)


def load_histories(out: Path, runs: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Run -> ``history.csv`` of those trained in epochs: a baseline and a table of probabilities have no curve."""
    stored = [run for run in runs if (store.run_folder(out, run) / "history.csv").exists()]
    histories = {run: store.load_table(out, f"runs/{run}/history.csv") for run in stored}
    return {run: history for run, history in histories.items() if history["epoch"].max() > 0}


def record_table(out: Path, judged: dict) -> pd.DataFrame:
    """What is stored of each judged run, of several with the same settings the last by name.

    The order is that in which a run is taken for a comparison, never by score: pretrained ones first, those of a recipe
    ``best`` last, those without class weights first, then by name.

    Columns: run, model, recipe, class_weights, seed, start, train_macro_f1, train_loss, val_macro_f1 and val_loss (NaN
    where ``result.json`` lacks it), judged_macro_f1 (at .5), and three texts that find equal runs: settings (without
    the seed), but_weights (without class weights and seed) and lines (those in ``COMPARED``).
    """
    rows = []
    for run, arrays in judged.items():
        result = store.load_json(out, f"runs/{run}/result.json")
        row = {name: result[name] for name in ("model", "class_weights", "seed")}
        row |= {"run": run, "recipe": result.get("recipe", ""), "start": result["weights"]}
        row |= {name: result.get(name, np.nan) for name in SCORES}
        row["judged_macro_f1"] = metrics.macro_f1(arrays["labels"], arrays["half"])
        settings = result["settings"] | {"tta": result["tta"], "class_weights": row["class_weights"], "seed": 0}
        row |= {"settings": str(sorted(settings.items())), "lines": str([settings.get(name) for name in COMPARED])}
        row["but_weights"] = str(sorted((settings | {"class_weights": ""}).items()))
        is_kits = row["recipe"].startswith(("best", "long"))  # also "best without TTA"
        row["order"] = (row["start"] != "ImageNet", is_kits, row["class_weights"] != "none")
        rows.append(row)
    records = pd.DataFrame(rows).drop_duplicates(["settings", "seed"], keep="last")
    return records.sort_values(["order", "run"], ignore_index=True)


def find_twins(records: pd.DataFrame) -> pd.DataFrame:
    """Pairs of runs without and with class weights and otherwise equal: columns of ``record_table`` with ``SIDES``."""
    is_plain = records["class_weights"] == "none"
    return records[is_plain].merge(records[~is_plain], on=["but_weights", "seed"], suffixes=SIDES)


def weights_table(out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Runs with class weights against their twins without: same settings otherwise, at plain .5. No twins: no rows.

    Columns: model, class weights, seeds (how many), without, with (means over the seeds), gain with its 95 % interval
    (low, high; images and, from two seeds on, seeds), each seed's gain, and the gain where empty rows stay empty.
    """
    rows = []
    for _, pairs in find_twins(record_table(out, judged)).groupby("settings_after", sort=False):
        first = pairs.iloc[0]
        row = {"model": first["model_after"], "class weights": first["class_weights_after"], "seeds": len(pairs)}
        rows.append(row | gain_of_pairs(judged, pairs, draws, seed))
    return pd.DataFrame(rows).rename(columns={"before": "without", "after": "with"})


def gain_of_pairs(judged: dict, pairs: pd.DataFrame, draws: int, seed: int) -> dict:
    """``gain`` of the runs ``run_after`` over ``run_before``, at plain .5."""
    before, after = ([judged[run] for run in pairs[f"run{side}"]] for side in SIDES)
    return gain(before, after, ("half", "half"), draws, seed)


def thresholds_table(judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Each run at plain .5 and with its tuned thresholds, one row per run, so every seed is shown.

    Columns: run, at .5, tuned, gain with its paired 95 % interval (low, high), and the same gain where empty rows stay
    empty (unfilled).
    """
    rows = []
    for run, arrays in judged.items():
        rows.append({"run": run} | gain([arrays], [arrays], ("half", "tuned"), draws, seed))
    return pd.DataFrame(rows).drop(columns="each seed").rename(columns={"before": "at .5", "after": "tuned"})


def gain(before: Sequence[dict], after: Sequence[dict], names: tuple[str, str], draws: int, seed: int) -> dict:
    """What the label sets ``names[1]`` of ``after`` gain over ``names[0]`` of ``before``, as means over the seeds.

    Args:
        before, after: entries of ``load_judged``, one for each seed, in the same order and on the same images.
        names: keys of their label sets, such as ``("half", "tuned")``.

    Returns:
        ``before`` and ``after`` (macro F1), ``gain`` with its interval ``low``, ``high`` (``bootstrap.over_seeds``),
        ``each seed`` (their gains as a text) and ``gain, unfilled``.
    """
    values, resampled = [], []
    for base, arrays in zip(before, after, strict=True):
        options = {"groups": arrays["groups"], "draws": draws, "seed": seed}
        gains, value = bootstrap.resample_gains(arrays["labels"], arrays[names[1]], base[names[0]], **options)
        values.append(value)
        resampled.append(gains)
    mean = bootstrap.over_seeds(np.array(values), np.array(resampled))
    row = {"before": _mean_f1(before, names[0]), "after": _mean_f1(after, names[1]), "gain": mean["estimate"]}
    row |= {"low": mean["low"], "high": mean["high"], "each seed": " ".join(f"{value:+.3f}" for value in values)}
    unfilled = _mean_f1(after, f"{names[1]}_unfilled") - _mean_f1(before, f"{names[0]}_unfilled")
    return row | {"gain, unfilled": unfilled}


def _mean_f1(judged: Sequence[dict], name: str) -> float:
    return float(np.mean([metrics.macro_f1(arrays["labels"], arrays[name]) for arrays in judged]))


def summary_table(out: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The study in one small table: each run, then the ensembles, at plain .5 and with thresholds.

    Columns: model, at .5, with thresholds. The union is of the pair that notebook 06 united; the last row is the
    ensemble that notebook 06 chose, which ``submission.csv`` holds where there are test images.
    """
    decision = store.load_decision(out, "ensemble")
    part, fill = judged_part(out)[0], decision["fill_empty"]
    members = {}
    for name, member_runs in decision["members"].items():
        members[name] = ensemble.join_folds([store.load_probs(out, run, part) for run in member_runs])
    ids, probs = ensemble.align(members)
    labels, _ = store.load_truth(out, ids)
    union = ensemble.union([thresholds.apply(probs[name], 0.5, fill) for name in decision["pair"]])
    mean = thresholds.apply(ensemble.mean(list(probs.values())), 0.5, fill)
    tuned, chosen = decision["macro_f1"], decision["chosen"]
    rows = [
        *runs[["run", "F1 at .5", "F1 tuned"]].itertuples(index=False, name=None),
        ("ensemble: union of two", metrics.macro_f1(labels, union), tuned["union of two"]),
        ("ensemble: mean", metrics.macro_f1(labels, mean), tuned["mean"]),
        (f"chosen: {chosen}", np.nan, tuned[chosen]),
    ]
    return pd.DataFrame(rows, columns=["model", "at .5", "with thresholds"])


def rarest_classes(out: Path, number: int = 10) -> np.ndarray:
    """The class numbers of the rarest classes outside the hold-out, int (number,), the rarest first."""
    _, labels, _, folds = store.load_split(out)
    return np.argsort(labels[folds >= 0].sum(axis=0, dtype=int), kind="stable")[:number]


def rare_table(out: Path, judged: dict, number: int = 10) -> pd.DataFrame:
    """How often the rarest classes are predicted at plain .5: class, true (images that have it), one column per run."""
    rarest = rarest_classes(out, number)
    table = pd.DataFrame({"class": [atlas.LABELS[label] for label in rarest]})
    for run, arrays in judged.items():
        table["true"] = arrays["labels"][:, rarest].sum(axis=0, dtype=int)
        table[run] = arrays["half"][:, rarest].sum(axis=0, dtype=int)
    return table
