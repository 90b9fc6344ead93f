"""What a run set has stored, gathered into tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, store
from hpa_lib.data import splits
from hpa_lib.decisions import answers, bootstrap, ensemble, metrics, thresholds

COMPARED = (  # what two networks must share to be compared; batch size and learning rate go with the network
    *("image_size", "class_weights", "epochs", "channels", "loss", "prior_bias", "augment", "mix", "sampling"),
    *("ema", "patience", "fold", "tta"),
)
STORED = ("seed", "fold", "epochs", "parameters", "train_macro_f1", "train_loss", "val_macro_f1", "val_loss")
SIDES = ("_before", "_after")  # of the columns of a pair of runs


def judged_part(out: Path) -> tuple[str, str]:
    """The part that scores are given on and its name: the hold-out, or validation where there is none."""
    _, _, _, folds = store.load_split(out)
    return ("holdout", "hold-out") if (folds == -1).any() else ("val", "validation")


def load_judged(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Labels, probabilities and label sets of every run that notebook 05 took, on the judged part.

    All label sets follow the one rule for empty rows that notebook 05 stored (see ``thresholds``); those named
    ``..._unfilled`` leave them empty. Without a hold-out the tuned ones are cross-fitted, since nothing may be scored
    on the images it was tuned on.

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
            folds = splits.make_cross_folds(labels, groups, decision["folds"], decision["seed"])
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
    """What a reader of the scores must know: how choices were made, which runs and test images were left out."""
    decision, tuning = store.load_decision(out, "ensemble"), store.load_decision(out, "thresholds")
    rule = "get their most probable class" if tuning["fill_empty"] else "stay empty"
    sentences = [
        f"Thresholds: {tuning['recommended']} (chosen by {tuning['chosen_by']}). Images that no class reaches {rule}. "
        f"Notebook 06 united {' and '.join(decision['pair'])}. "
        f"The row 'chosen' is {decision['chosen']} (chosen by {decision['chosen_by']})."
    ]
    unseen = [run for run in store.list_runs(out) if run not in tuning["thresholds"]]
    reasons = {"they were trained on another split": store.stale_runs(out)}
    reasons["notebook 05 did not take them (its RUNS, or it ran before)"] = unseen
    sentences += [f"Left out, since {reason}: {', '.join(runs)}." for reason, runs in reasons.items() if runs]
    if decision["dropped"]:
        sentences.append(
            f"{len(decision['dropped'])} test images could not be read; the submission gives them the commonest label "
            f"set, '{decision['fallback']}'."
        )
    if not store.load_json(out, "data/dataset.json")["test_images"]:
        sentences.append("There are no test images in this run set, so there is no submission.")
    return sentences


def load_histories(out: Path, runs: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Run -> ``history.csv`` of those trained in epochs: a baseline and a table of probabilities have no curve."""
    stored = [run for run in runs if (store.run_folder(out, run) / "history.csv").exists()]
    histories = {run: store.load_table(out, f"runs/{run}/history.csv") for run in stored}
    return {run: history for run, history in histories.items() if history["epoch"].max() > 0}


def record_table(results: dict, judged: dict) -> pd.DataFrame:
    """Every judged run with its settings, its cost and its scores on the judged part, one row per run.

    Args:
        results: run -> its ``result.json``.
        judged: from ``load_judged``.

    Returns:
        Columns: run, model, class weights, start, recipe, ``STORED`` (NaN where ``result.json`` lacks it), best epoch,
        minutes, images/s; judged: macro AP, F1 at .5, the same with empty rows left empty (unfilled), F1 tuned; and
        three texts that find equal runs: settings (without the seed), but_weights (without class weights and seed) and
        lines (those in ``COMPARED``).
    """
    rows = []
    for run, arrays in judged.items():
        result, labels = results[run], arrays["labels"]
        row = {"run": run, "model": result["model"], "class weights": result["class_weights"]}
        row |= {"start": result["weights"], "recipe": result.get("recipe", "")}
        row |= {name: result.get(name, np.nan) for name in STORED}
        row |= {"best epoch": result["best_epoch"], "minutes": result["seconds"] / 60}
        row |= {"images/s": result["images_per_second"]}
        row["macro AP"] = metrics.average_precision(labels, arrays["probs"]).mean()
        for column, name in (("F1 at .5, unfilled", "half_unfilled"), ("F1 at .5", "half"), ("F1 tuned", "tuned")):
            row[column] = metrics.macro_f1(labels, arrays[name])
        settings = result["settings"] | {"tta": result["tta"], "class_weights": result["class_weights"], "seed": 0}
        row |= {"settings": str(sorted(settings.items())), "lines": str([settings.get(name) for name in COMPARED])}
        row["but_weights"] = str(sorted((settings | {"class_weights": ""}).items()))
        rows.append(row)
    return pd.DataFrame(rows)


def order_runs(records: pd.DataFrame) -> pd.DataFrame:
    """The runs in the order in which they are taken for a comparison; of those with equal settings and seed the last.

    Never by score: pretrained ones first, recipes ``best`` last, those without class weights first, then by name.
    """
    is_kits = records["recipe"].str.startswith(("best", "long"))  # also "best without TTA"
    order = zip(records["start"] != "ImageNet", is_kits, records["class weights"] != "none", strict=True)
    records = records.assign(order=list(order)).drop_duplicates(["settings", "seed"], keep="last")
    return records.sort_values(["order", "run"], ignore_index=True)


def find_runs(records: pd.DataFrame, network: str) -> pd.DataFrame:
    """The runs, one for each seed, that represent a network: those with the first settings; no rows without any."""
    runs = records.query("model == @network")
    return runs[runs["settings"].isin(runs["settings"][:1])]


def find_twins(records: pd.DataFrame) -> pd.DataFrame:
    """Pairs of runs without and with class weights and otherwise equal: columns of ``record_table`` with ``SIDES``."""
    is_plain = records["class weights"] == "none"
    return records[is_plain].merge(records[~is_plain], on=["but_weights", "seed"], suffixes=SIDES)


def weights_table(records: pd.DataFrame, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Runs with class weights against their twins without: same settings otherwise, at plain .5. No twins: no rows.

    Columns: model, class weights, seeds (how many), then those of ``gain`` (before and after: without, with).
    """
    rows = []
    for _, pairs in find_twins(order_runs(records)).groupby("settings_after", sort=False):
        first, runs = pairs.iloc[0], [pairs[f"run{side}"] for side in SIDES]
        row = {"model": first["model_after"], "class weights": first["class weights_after"], "seeds": len(pairs)}
        rows.append(row | gain(judged, *runs, ("half", "half"), draws, seed))
    return pd.DataFrame(rows).rename(columns={"before": "without", "after": "with"})


def thresholds_table(judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Each run at plain .5 and with its tuned thresholds: run, then the columns of ``gain`` (before: at .5; tuned)."""
    rows = [{"run": run} | gain(judged, [run], [run], ("half", "tuned"), draws, seed) for run in judged]
    return pd.DataFrame(rows).drop(columns="each seed").rename(columns={"before": "at .5", "after": "tuned"})


def gain(
    judged: dict, before: Sequence[str], after: Sequence[str], names: tuple[str, str], draws: int, seed: int
) -> dict:
    """What the label sets ``names[1]`` of the runs ``after`` gain over ``names[0]`` of ``before``.

    Args:
        judged: from ``load_judged``.
        before, after: runs, one for each seed, in the same order and judged on the same images.
        names: of their label sets, such as ``("half", "tuned")``.
        draws, seed: of the bootstrap.

    Returns:
        The entries of ``mean_gain``, ``each seed`` (their gains as a text), and the gain where empty rows stay empty
        (``gain, unfilled``).
    """
    resampled = []
    for base, run in zip(before, after, strict=True):
        options = {"groups": judged[run]["groups"], "draws": draws, "seed": seed}
        labels, preds, base_preds = judged[run]["labels"], judged[run][names[1]], judged[base][names[0]]
        resampled.append(bootstrap.resample_gains(labels, preds, base_preds, **options)[0])
    old, new = _score(judged, before, names[0]), _score(judged, after, names[1])
    row = mean_gain(old, new, np.array(resampled))
    row["each seed"] = " ".join(f"{value:+.3f}" for value in new - old)
    unfilled = _score(judged, after, f"{names[1]}_unfilled") - _score(judged, before, f"{names[0]}_unfilled")
    return row | {"gain, unfilled": unfilled.mean()}


def mean_gain(before: np.ndarray, after: np.ndarray, resampled: np.ndarray) -> dict:
    """Means over the seeds: ``before``, ``after``, and ``gain`` with its 95 % interval ``low``, ``high``.

    Args: before, after float (S,), one score for each seed; resampled float (S, draws), the gains in each resample.
    """
    mean = bootstrap.over_seeds(after - before, resampled)
    row = {"before": before.mean(), "after": after.mean(), "gain": mean["estimate"]}
    return row | {"low": mean["low"], "high": mean["high"]}


def _score(judged: dict, runs: Sequence[str], name: str) -> np.ndarray:
    return np.array([metrics.macro_f1(judged[run]["labels"], judged[run][name]) for run in runs])


def summary_table(out: Path, records: pd.DataFrame) -> pd.DataFrame:
    """The study in one small table: model (each run, then the ensembles), at .5, with thresholds.

    The union is of the pair that notebook 06 united; the last row is the ensemble that it chose for ``submission.csv``.
    """
    decision = store.load_decision(out, "ensemble")
    part, fill = judged_part(out)[0], decision["fill_empty"]
    ids, probs = answers.load_members(out, decision["members"], has_test=False)
    labels, _ = store.load_truth(out, ids[part])
    union = ensemble.union([thresholds.apply(probs[part][name], 0.5, fill) for name in decision["pair"]])
    mean = thresholds.apply(ensemble.mean(list(probs[part].values())), 0.5, fill)
    tuned, chosen = decision["macro_f1"], decision["chosen"]
    rows = [
        *records[["run", "F1 at .5", "F1 tuned"]].itertuples(index=False, name=None),
        ("ensemble: union of two", metrics.macro_f1(labels, union), tuned["union of two"]),
        ("ensemble: mean", metrics.macro_f1(labels, mean), tuned["mean"]),
        (f"chosen: {chosen}", np.nan, tuned[chosen]),
    ]
    return pd.DataFrame(rows, columns=["model", "at .5", "with thresholds"])


def rarest_classes(out: Path, number: int = 10) -> np.ndarray:
    """The class numbers of the rarest classes outside the hold-out, int (number,), the rarest first."""
    _, labels, _, folds = store.load_split(out)
    return np.argsort(labels[folds >= 0].sum(axis=0, dtype=int), kind="stable")[:number]


def rare_table(judged: dict, rarest: np.ndarray) -> pd.DataFrame:
    """How often rare classes are predicted at plain .5: class, true (images that have it), one column per run."""
    table = pd.DataFrame({"class": [atlas.LABELS[label] for label in rarest]})
    for run, arrays in judged.items():
        table["true"] = arrays["labels"][:, rarest].sum(axis=0, dtype=int)
        table[run] = arrays["half"][:, rarest].sum(axis=0, dtype=int)
    return table
