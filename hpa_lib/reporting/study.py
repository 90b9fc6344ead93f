"""The study's numbers and claims beside those of a run set. The numbers are data: ``study.json``, with their source.

Which of our runs represents a network of the study: one that starts as the study's did (ImageNet or scratch), else
any; among these one without class weights, else the first by name, with recipe ``best`` last; with all its seeds. No
score takes part in that choice.

The tables of ``classifier_table`` to ``ensemble_table`` have the columns network, measure, the study's number, ours
(both headed by the data they were measured on), low and high (our 95 % interval) and runs. They take ``study`` from
``load``, ``judged`` from ``tables.load_judged``, and the ``draws`` and ``seed`` of the bootstrap.
"""

import json
import numbers
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import store
from hpa_lib.decisions import bootstrap, metrics, submission, thresholds
from hpa_lib.reporting import tables

FILE = Path(__file__).with_name("study.json")
CNN = "densenet"  # the study's network that starts from scratch; the others are pretrained
MACRO_F1 = bootstrap.STATISTICS["macro_f1"]
PARTS = ("training", "validation", "hold-out", "test", "by parameter")


def load(path: str | Path = FILE) -> dict:
    """The study's numbers, claims and notes, as ``study.json`` holds them.

    Args:
        path: of a file with the same entries.

    Raises:
        ValueError: the file cannot be read, or lacks an entry.
    """
    try:
        given, wanted = (json.loads(Path(file).read_text(encoding="utf-8")) for file in (path, FILE))
        given_entries, wanted_entries = (pd.json_normalize(values).iloc[0] for values in (given, wanted))
    except (OSError, ValueError, NotImplementedError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as the study's numbers: {error}") from None
    for name, value in wanted_entries.items():
        kind = str if isinstance(value, str) else numbers.Real
        if not isinstance(given_entries.get(name), kind):
            raise ValueError(f"{path} lacks the {'text' if kind is str else 'number'} {name}: copy it from {FILE}")
    return given


def headings(study: dict, out: Path) -> tuple[str, str]:
    """The columns of the study's numbers and of ours, each with the data that they were measured on."""
    is_synthetic = store.load_json(out, "data/dataset.json")["synthetic"]
    return f"study ({study['data']})", f"this run set ({'synthetic data' if is_synthetic else study['data']})"


def classifier_table(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Each network's F1 and loss on the training and validation part at plain .5, and ours on the hold-out.

    What the study calls "test" is its validation part. A score that our run does not have is NaN.
    """
    part, records, rows = tables.judged_part(out), tables.record_table(out, judged), []
    for network, theirs in study["classifiers"].items():
        runs = find_runs(study, records, network)
        for measure, study_name, our_name in (
            ("train F1", "train_f1", "train_macro_f1"),
            ("train loss", "train_loss", "train_loss"),
            ("validation F1", "test_f1", "val_macro_f1"),
            ("validation loss", "test_loss", "val_loss"),
        ):
            our_score = {"gain": runs[our_name].mean(), "runs": ", ".join(runs["run"])}
            rows.append(_row(theirs["name"], measure, theirs[study_name], our_score))
        if part[0] == "holdout" and len(runs):
            scores = [_score(judged[run], judged[run]["half"], MACRO_F1, draws, seed) for run in runs["run"]]
            rows.append(_row(theirs["name"], "hold-out F1", np.nan, _over_seeds(scores, runs["run"])))
    return _table(study, out, rows)


def weights_table(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """F1 at plain .5 without and with class weights, on the training and validation part, and the gain.

    Ours are of runs that differ in their class weights alone (``tables.find_twins``), means over their seeds. The
    study's gain is on its validation part, ours on the judged part.
    """
    records, rows, judged_on = tables.record_table(out, judged), [], tables.judged_part(out)[1]
    for network, theirs in study["class_weights"].items():
        name, twins = study["classifiers"][network]["name"], _find_twins(records, network)
        for part, study_part, score in (("train", "train", "train_macro_f1"), ("validation", "test", "val_macro_f1")):
            for which, when in (("without", "before"), ("with", "after")):
                our_score = {"gain": twins[f"{score}_{when}"].mean(), "runs": ", ".join(twins[f"run_{when}"])}
                rows.append(_row(name, f"{part} F1 {which}", theirs[f"{study_part}_{which}"], our_score))
        gain = _gain(judged, twins, draws, seed)
        rows.append(_row(name, f"gain, {judged_on} F1", theirs["test_with"] - theirs["test_without"], gain))
    return _table(study, out, rows)


def thresholds_table(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The study's public scores at .5 and with thresholds, and our F1 on the judged part, the mean of all networks.

    Our thresholds are those that notebook 05 recommends. The interval of the gain contains images and runs.
    """
    gain = _threshold_gain(study, out, judged, draws, seed)
    measures = ("F1 at .5", "F1 with thresholds", "gain")
    return _table(study, out, _before_and_after("mean of the networks", measures, study["thresholds"], gain))


def ensemble_table(study: dict, out: Path) -> pd.DataFrame:
    """The study's public scores without and with its union, and our best single model and union of two (notebook 06)."""
    measures = ("F1 of the best single", "F1 of the union of two", "gain")
    return _table(study, out, _before_and_after("ensemble", measures, study["ensemble"], _union_gain(out)))


def rare_shares(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The share of the ten rarest classes among all labels of the judged images, at plain .5.

    Columns: network, true (share of the true labels), without, with (of the labels that are predicted without and with
    class weights), gain with its 95 % interval (low, high), runs. No twins: no rows.
    """
    records, rarest, rows = tables.record_table(out, judged), tables.rarest_classes(out), []
    for network in study["class_weights"]:
        if shares := _rare_gain(judged, _find_twins(records, network), rarest, draws, seed):
            true = rare_share(next(iter(judged.values()))["labels"].sum(axis=0, dtype=int), rarest)
            rows.append({"network": study["classifiers"][network]["name"], "true": true} | shares)
    columns = ["network", "true", "before", "after", "gain", "low", "high", "runs"]
    return pd.DataFrame(rows, columns=columns).rename(columns={"before": "without", "after": "with"})


def rare_share(counts: np.ndarray, rarest: np.ndarray) -> np.ndarray:
    """The share of the classes ``rarest`` among all labels, (...) in 0..1, from counts (..., 28); 0 without labels."""
    return counts[..., rarest].sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1)


def claims(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The study's claims, one per row: claim, what the study saw, what this run set shows, verdict.

    The verdict follows from the 95 % interval alone: "agrees", "disagrees", "cannot tell" (it contains 0) or "not
    tested" (the set lacks the runs that the claim needs). A network overfits badly when training F1 minus validation
    F1 is above the middle between the study's CNN and its less overfitted pretrained network, hardly when below.
    """
    records, options = tables.record_table(out, judged), (draws, seed)
    networks = {network: find_runs(study, records, network, True) for network in study["classifiers"]}
    found = {"thresholds": _threshold_gain(study, out, judged, *options), "ensemble": _union_gain(out)}
    for network, runs in networks.items():
        found[f"overfit_{network}"] = _overfitting(study, out, runs, *options)
        pairs = tables.pair_runs(
            _ordered(records, CNN, "from scratch"), _ordered(records, network, "ImageNet"), ["lines"]
        )
        found[f"pretrained_{network}"] = _gain(judged, _first(pairs), *options)
    for network in study["class_weights"]:
        twins = _find_twins(records, network)
        found[f"weights_{network}"] = _gain(judged, twins, *options)
        found[f"rare_{network}"] = _rare_gain(judged, twins, tables.rarest_classes(out), *options)
    pairs = tables.pair_runs(_ordered(records, "resnet18"), _ordered(records, "inception_v2"), ["lines", "start"])
    found["inception_v2"] = _gain(judged, _first(pairs), *options)
    rows = []
    for name, words in study["claims"].items():
        saw = words["saw"].format_map(study)
        rows.append((words["claim"], saw, *_judge(found[name], words["needs"], hardly=name == f"overfit_{CNN}")))
    return pd.DataFrame(rows, columns=["claim", *headings(study, out), "verdict"])


def choices(out: Path) -> pd.DataFrame:
    """How many choices each part of the data took part in, counted in what is stored; the last row is their sum.

    Columns: choice, training, validation, hold-out, test, and by parameter (a person decided, and may have looked at
    anything). Fitted weights are choices of the training part.
    """
    tuning, decision = store.load_decision(out, "thresholds"), store.load_decision(out, "ensemble")
    results = [store.load_json(out, f"runs/{run}/result.json") for run in tuning["thresholds"]]
    members, scores = list(decision["members"]), decision["cross_fitted"]
    best = sorted(members, key=scores.get, reverse=True)[:2]
    rows = [
        ("weights of each run", "training", len(results)),
        ("epoch kept", "validation", sum(result["best_epoch"] > 0 for result in results)),
        ("strength of a baseline", "validation", sum("value" in result for result in results)),
        ("28 thresholds of each run", "validation", len(tuning["thresholds"])),
        ("way to choose thresholds", _part_of(tuning["chosen_by"]), 1),
        (
            "weights of averages",
            "validation",
            len(members) > 1 and sum(name in decision for name in ("weights", "stacker")),
        ),
        ("pair of the union", "validation" if decision["pair"] == best else "by parameter", len(members) > 1),
        ("ensemble", _part_of(decision["chosen_by"]), 1),
    ]
    table = pd.DataFrame({"choice": [row[0] for row in rows]})
    for part in PARTS:
        table[part] = [int(number) if made_on == part else 0 for _, made_on, number in rows]
    table.loc[len(table)] = ["all", *table[list(PARTS)].sum()]
    return table


def public_private(study: dict, out: Path) -> tuple[pd.DataFrame, str]:
    """The scores of the submissions on the public and the private part of the test images, and what their gap means.

    Returns:
        A table with the columns submission, measured on, then those of ``submission.score_table``; its first row is
        the study's final public score. And a sentence. Where the truth of the test images is not known, that row alone.
    """
    theirs, ours = headings(study, out)
    first = pd.DataFrame(
        {"submission": ["the study's last"], "measured on": [theirs], "public": study["final"]["public"]}
    )
    stored = store.load_decision(out, "ensemble").get("test_scores", {})
    if not all("public" in scores for scores in stored.values()) or not stored:
        return first, "The truth of the test images is not known here, so there is no private score."
    table = submission.score_table(stored).assign(**{"measured on": ours})
    gap = (table["public"] - table["private"]).abs().max()
    sentence = (
        f"The public and the private score of a submission differ by up to {gap:.3f} here, although nothing was chosen "
        "on either part and each label was spread evenly over both: the F1 of a rare class depends on a few images, and "
        f"macro F1 counts it like any other. The study's {study['final']['public']:.5f} is a public score, so it "
        "contains this luck, and whatever was chosen by looking at it."
    )
    return pd.concat([first, table], ignore_index=True), sentence


def find_runs(study: dict, records: pd.DataFrame, network: str, same_start: bool = False) -> pd.DataFrame:
    """The runs, one for each seed, that represent a network of the study (rule above); no rows where there is none.

    Args:
        study: from ``load``.
        records: from ``tables.record_table``.
        network: a key of ``study["classifiers"]``.
        same_start: only those that start as the study's network did.
    """
    start = "from scratch" if network == CNN else "ImageNet"
    runs = _ordered(records, network, start)
    runs = runs if len(runs) or same_start else _ordered(records, network)
    return runs[runs["settings"].isin(runs["settings"][:1])].sort_values("seed")


def _ordered(records: pd.DataFrame, network: str, start: str = "") -> pd.DataFrame:
    """The runs of a network, the plainest first: recipe ``best`` last, then without class weights first, then by name."""
    runs = records[(records["model"] == network) & (records["start"].isin([start]) | (start == ""))]
    is_best, is_weighted = runs["recipe"].str.startswith("best"), runs["class_weights"] != "none"
    return runs.assign(is_best=is_best, is_weighted=is_weighted).sort_values(["is_best", "is_weighted", "run"])


def _find_twins(records: pd.DataFrame, network: str) -> pd.DataFrame:
    return _first(tables.find_twins(_ordered(records, network)))


def _first(pairs: pd.DataFrame) -> pd.DataFrame:
    """Of pairs of several settings those of the first, by seed."""
    same = [pairs[name].isin(pairs[name][:1]) for name in ("settings_before", "settings_after")]
    return pairs[same[0] & same[1]].sort_values("seed")


def _score(arrays: dict, preds: np.ndarray, statistic: Callable, draws: int, seed: int) -> tuple[float, np.ndarray]:
    """A statistic of the counts (true positives, false positives, false negatives): exact, and resampled (draws,)."""
    counts = metrics.confusion_counts(arrays["labels"], preds)
    return statistic(*counts), statistic(*bootstrap.resample(arrays["labels"], preds, arrays["groups"], draws, seed))


def _over_seeds(scores: Sequence[tuple[float, np.ndarray]], runs: Sequence[str]) -> dict:
    """The mean over the runs as ``gain``, with its interval and their names; no runs: nothing."""
    if not len(scores):
        return {}
    mean = bootstrap.over_seeds(*(np.array(column) for column in zip(*scores, strict=True)))
    return {"gain": mean["estimate"], "low": mean["low"], "high": mean["high"], "runs": ", ".join(runs)}


def _gain(judged: dict, pairs: pd.DataFrame, draws: int, seed: int) -> dict:
    """What the second runs of ``pairs`` gain, with their names; no pairs: nothing."""
    if not len(pairs):
        return {}
    return tables.gain_of_pairs(judged, pairs, draws, seed) | {"runs": _name_pairs(pairs)}


def _name_pairs(pairs: pd.DataFrame) -> str:
    return f"{', '.join(pairs['run_after'])} against {', '.join(pairs['run_before'])}"


def _threshold_gain(study: dict, out: Path, judged: dict, draws: int, seed: int) -> dict:
    records = tables.record_table(out, judged)
    runs = records["run"][records["model"].isin(list(study["classifiers"]))].tolist()
    arrays = [judged[run] for run in runs]
    return tables.gain(arrays, arrays, ("half", "tuned"), draws, seed) | {"runs": ", ".join(runs)} if runs else {}


def _union_gain(out: Path) -> dict:
    """What notebook 06 stored of its union of two; nothing where it had one member only."""
    decision = store.load_decision(out, "ensemble")
    if len(decision["members"]) < 2:
        return {}
    row = store.load_table(out, "tables/ensemble.csv").set_index("name").loc["union of two"]
    gain = {"gain": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}
    names = f"{' with '.join(decision['pair'])}, against {row['best_single']}"
    return {"before": row["macro_f1"] - row["gain"], "after": row["macro_f1"], "runs": names} | gain


def _rare_gain(judged: dict, twins: pd.DataFrame, rarest: np.ndarray, draws: int, seed: int) -> dict:
    """How much larger the share of the classes ``rarest`` among the predicted labels is with class weights."""

    def share(hits, false_alarms, _):
        return rare_share(hits + false_alarms, rarest)

    shares = {}
    for when in ("before", "after"):
        arrays = [judged[run] for run in twins[f"run_{when}"]]
        shares[when] = [_score(values, values["half"], share, draws, seed) for values in arrays]
    pairs = zip(shares["before"], shares["after"], strict=True)
    gains = [(after[0] - before[0], after[1] - before[1]) for before, after in pairs]
    means = {when: float(np.mean([value for value, _ in scores])) for when, scores in shares.items() if scores}
    return means | _over_seeds(gains, [_name_pairs(twins)])


def _overfitting(study: dict, out: Path, runs: pd.DataFrame, draws: int, seed: int) -> dict:
    """Training F1 minus validation F1, and the limit; nothing where no training F1 is stored."""
    runs, gaps = runs[runs["train_macro_f1"].notna()], []
    for record in runs.itertuples():
        labels, probs, groups = store.load_scored(out, record.run, "val")
        arrays = {"labels": labels, "groups": groups}
        _, resampled = _score(arrays, thresholds.apply(probs, 0.5), MACRO_F1, draws, seed)
        gaps.append((record.train_macro_f1 - record.val_macro_f1, record.train_macro_f1 - resampled))
    theirs = {name: score["train_f1"] - score["test_f1"] for name, score in study["classifiers"].items()}
    limit = (theirs.pop(CNN) + min(theirs.values())) / 2
    means = {"before": runs["val_macro_f1"].mean(), "after": runs["train_macro_f1"].mean(), "limit": limit}
    return means | _over_seeds(gaps, runs["run"]) if gaps else {}


def _judge(found: dict, needs: str, hardly: bool) -> tuple[str, str]:
    """What this run set shows and the verdict; ``hardly``: the claim is that the gain is below the limit."""
    if not found:
        return f"not in this run set: {needs}", "not tested"
    limit = found.get("limit", 0.0)
    shown = "{before:.3f} -> {after:.3f}, {gain:+.3f} [{low:+.3f}, {high:+.3f}]".format(**found)
    shown += f", limit {limit:+.3f}" * ("limit" in found) + f" ({found['runs']})"
    above, below = found["low"] > limit, found["high"] < limit
    agrees, disagrees = (below, above) if hardly else (above, below)
    return shown, "agrees" if agrees else "disagrees" if disagrees else "cannot tell"


def _part_of(chosen_by: str) -> str:
    """The part of the data that a stored ``chosen_by`` names."""
    return next((part for part in PARTS if part in chosen_by), "by parameter")


def _before_and_after(network: str, measures: Sequence[str], theirs: dict, found: dict) -> list[tuple]:
    without, with_it = theirs["public_without"], theirs["public_with"]
    scores = [{"gain": found.get(when, np.nan), "runs": found.get("runs", "")} for when in ("before", "after")]
    values = zip(measures, (without, with_it, with_it - without), (*scores, found), strict=True)
    return [_row(network, measure, value, score) for measure, value, score in values]


def _row(network: str, measure: str, theirs: float, found: dict) -> tuple:
    return (
        network,
        measure,
        theirs,
        *(found.get(name, np.nan) for name in ("gain", "low", "high")),
        found.get("runs", ""),
    )


def _table(study: dict, out: Path, rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["network", "measure", *headings(study, out), "low", "high", "runs"])
