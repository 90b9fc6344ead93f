"""The study's numbers and claims beside those of a run set. The numbers are data: ``study.json``, with their source.

The run that represents a network is the first of ``tables.record_table``, with all its seeds: no score takes part in
that choice. The tables below have the columns network, measure, the study's number, ours (both headed by the data they
were measured on), of a gain its 95 % interval low and high (images and seeds), and runs. They take ``study`` from
``load``, ``judged`` from ``tables.load_judged``, and ``draws`` and ``seed`` of the bootstrap. F1 is macro F1, at .5
unless said.
"""

import json
import numbers
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import store
from hpa_lib.decisions import bootstrap, submission, thresholds
from hpa_lib.reporting import tables

FILE = Path(__file__).with_name("study.json")
CNN = "densenet"  # the study's network that starts from scratch; the others are pretrained
NOTHING = dict.fromkeys(["before", "after", "gain", "low", "high"], np.nan) | {"runs": ""}  # of runs that are not there
MEASURES = {  # row -> entry of study.json, column of tables.record_table
    "train F1": ("train_f1", "train_macro_f1"),
    "train loss": ("train_loss", "train_loss"),
    "validation F1": ("test_f1", "val_macro_f1"),
    "validation loss": ("test_loss", "val_loss"),
    "F1 on the {}": ("", "judged_macro_f1"),
}
WEIGHTS_MEASURES = {  # the same of tables.find_twins
    "train F1 without": ("train_without", "train_macro_f1_before"),
    "train F1 with": ("train_with", "train_macro_f1_after"),
    "validation F1 without": ("test_without", "val_macro_f1_before"),
    "validation F1 with": ("test_with", "val_macro_f1_after"),
}
PARTS = ("training", "validation", "hold-out", "test", "by parameter")


def load(path: str | Path = FILE) -> dict:
    """The study's numbers, claims and notes, as ``study.json`` holds them.

    Raises:
        ValueError: the file cannot be read, or lacks an entry.
    """
    try:
        given, wanted = (json.loads(Path(file).read_text(encoding="utf-8")) for file in (path, FILE))
        entries, wanted_entries = (pd.json_normalize(values).iloc[0] for values in (given, wanted))
    except (OSError, ValueError, NotImplementedError, IndexError) as error:
        raise ValueError(f"{path} cannot be read as the study's numbers: {error}") from None
    for name, value in wanted_entries.items():
        if not isinstance(entries.get(name), str if isinstance(value, str) else numbers.Real):
            raise ValueError(f"{path} lacks {name}: copy the entry from {FILE}")
    return given


def headings(study: dict, out: Path) -> tuple[str, str]:
    """The columns of the study's numbers and of ours, each with the data that they were measured on."""
    is_synthetic = store.load_json(out, "data/dataset.json")["synthetic"]
    return f"study ({study['data']})", f"this run set ({'synthetic data' if is_synthetic else study['data']})"


def classifier_table(study: dict, out: Path, judged: dict) -> pd.DataFrame:
    """Each network's F1 and loss on the training and the validation part (the study's "test"), and ours judged."""
    records, judged_on, rows = tables.record_table(out, judged), tables.judged_part(out)[1], []
    for network, theirs in study["classifiers"].items():
        runs = find_runs(records, network)
        names = ", ".join(runs["run"])
        for measure, (entry, column) in MEASURES.items():
            value, number = runs[column].mean(), theirs.get(entry, np.nan)
            rows.append((theirs["name"], measure.format(judged_on), number, value, np.nan, np.nan, names))
    return _table(study, out, rows).drop(columns=["low", "high"])  # one run, no gain


def weights_table(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """F1 of twins without and with class weights, and the gain: the study's on validation, ours on the judged part."""
    records, rows = tables.record_table(out, judged), []
    for network, theirs in study["class_weights"].items():
        name, twins = study["classifiers"][network]["name"], _find_twins(records, network)
        found = _gain(judged, twins, draws, seed)
        for measure, (entry, column) in WEIGHTS_MEASURES.items():
            rows.append((name, measure, theirs[entry], twins[column].mean(), np.nan, np.nan, found["runs"]))
        rows.append(_gain_row(name, theirs["test_with"] - theirs["test_without"], found))
    return _table(study, out, rows)


def thresholds_table(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The study's public scores at .5 and with thresholds, and the mean F1 of our networks on the judged part.

    Our thresholds are those that notebook 05 recommends. The interval contains images and runs.
    """
    found = _threshold_gain(study, out, judged, draws, seed)
    return _public_table(study, out, "mean of the networks", study["thresholds"], found)


def ensemble_table(study: dict, out: Path) -> pd.DataFrame:
    """The study's public scores without and with its union, and our best single model and union of notebook 06."""
    return _public_table(study, out, "union of two", study["ensemble"], _union_gain(out))


def rare_shares(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The share of the ten rarest classes among all labels of the judged images; NaN for a network without twins.

    Columns: network, true (of the true labels), without, with (of those predicted without and with class weights),
    gain with its 95 % interval (low, high), runs.
    """
    records, rarest, rows = tables.record_table(out, judged), tables.rarest_classes(out), []
    for network in study["class_weights"]:
        found = _rare_gain(judged, _find_twins(records, network), rarest, draws, seed)
        rows.append({"network": study["classifiers"][network]["name"], "true": np.nan} | found)
    columns = ["network", "true", "before", "after", "gain", "low", "high", "runs"]
    return pd.DataFrame(rows)[columns].rename(columns={"before": "without", "after": "with"})


def rare_share(counts: np.ndarray, rarest: np.ndarray) -> np.ndarray:
    """The share of the classes ``rarest`` among all labels, (...) in 0..1, from counts (..., 28); 0 without labels."""
    return counts[..., rarest].sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1)


def claims(study: dict, out: Path, judged: dict, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The study's claims, one per row: claim, what the study saw, what this run set shows, verdict.

    The verdict follows from the 95 % interval alone: "agrees", "disagrees", "cannot tell" (it contains 0) or "not
    tested" (the set lacks the runs that the claim needs). A network overfits badly where its training F1 minus its
    validation F1 is above the middle between the study's CNN and its less overfitted pretrained network, else hardly;
    with less than half of the study's training F1 it has not been trained far enough to tell.
    """
    records, rarest, options = tables.record_table(out, judged), tables.rarest_classes(out), (draws, seed)
    as_study = records[records["start"] == np.where(records["model"] == CNN, "from scratch", "ImageNet")]
    found = {"thresholds": _threshold_gain(study, out, judged, *options), "ensemble": _union_gain(out)}
    for network in study["classifiers"]:
        found[f"overfit_{network}"] = _overfitting(out, find_runs(as_study, network), *options)
        found[f"pretrained_{network}"] = _gain(judged, _pair(as_study, CNN, network, ["lines"]), *options)
    for network in study["class_weights"]:
        twins = _find_twins(records, network)
        found[f"weights_{network}"] = _gain(judged, twins, *options)
        found[f"rare_{network}"] = _rare_gain(judged, twins, rarest, *options)
    pairs = _pair(records, "resnet18", "inception_v2", ["lines", "start"])
    found["inception_v2"] = _gain(judged, pairs, *options)
    gaps = {network: theirs["train_f1"] - theirs["test_f1"] for network, theirs in study["classifiers"].items()}
    limit = (gaps.pop(CNN) + min(gaps.values())) / 2
    rows = []
    for name, words in study["claims"].items():
        about, _, network = name.partition("_")
        compared_with = limit if about == "overfit" else 0.0
        shown, verdict = _judge(found[name], words["needs"], compared_with, hardly=name == f"overfit_{CNN}")
        if about == "overfit" and found[name]["after"] < study["classifiers"][network]["train_f1"] / 2:
            shown, verdict = f"{shown}; trained too little to overfit", "not tested"
        rows.append((words["claim"], words["saw"].format_map(study), shown, verdict))
    return pd.DataFrame(rows, columns=["claim", *headings(study, out), "verdict"])


def choices(out: Path) -> pd.DataFrame:
    """How many choices each part of the data took part in, counted in what is stored; the last row is their sum.

    Columns: choice, training, validation, hold-out, test, and by parameter (a person decided).
    """
    tuning, decision = store.load_decision(out, "thresholds"), store.load_decision(out, "ensemble")
    results = [store.load_json(out, f"runs/{run}/result.json") for run in tuning["thresholds"]]
    best = sorted(decision["members"], key=decision["cross_fitted"].get, reverse=True)[:2]
    several = len(best) > 1
    rows = [
        ("weights of each run", "training", len(results)),
        ("epoch of each network", "validation", sum(result["best_epoch"] > 0 for result in results)),
        ("strength of each baseline", "validation", sum("value" in result for result in results)),
        ("28 thresholds of each run", "validation", len(results)),
        ("way to choose thresholds", _part_of(tuning["chosen_by"]), 1),
        ("weights of averages", "validation", sum(name in decision for name in ("weights", "stacker")) * several),
        ("pair of the union", "validation" if decision["pair"] == best else "by parameter", 1 * several),
        ("ensemble", _part_of(decision["chosen_by"]), 1),
    ]
    table = pd.DataFrame({"choice": [choice for choice, _, _ in rows]})
    table = table.assign(**{part: [number * (chosen_on == part) for _, chosen_on, number in rows] for part in PARTS})
    table.loc[len(table)] = ["all", *table[list(PARTS)].sum()]
    return table


def public_private(study: dict, out: Path) -> tuple[pd.DataFrame, str]:
    """The submissions' scores on the public and the private part of the test images, and a sentence on their gap.

    Columns: measured on, then those of ``submission.score_table``. The first row is the study's final public score; it
    is the only one, with three columns, where the truth of the test images is not known.
    """
    theirs, ours = headings(study, out)
    table = pd.DataFrame({"measured on": [theirs], "submission": "final", "public macro_f1": study["final"]["public"]})
    if stored := store.load_decision(out, "ensemble").get("test_scores"):
        scores = submission.score_table(stored).assign(**{"measured on": ours})
        table = pd.concat([table, scores], ignore_index=True)[["measured on", *scores.columns.drop("measured on")]]
    sentence = f"The study's {study['final']['public']} is a public score: it is of a part of the test images."
    if not stored or table["private macro_f1"].isna().all():
        return table, f"{sentence} There is no private score, since the truth of the test images is not known here."
    gap = (table["public macro_f1"] - table["private macro_f1"]).abs().max()
    return table, (
        f"{sentence} Here the public and the private score of a submission differ by up to {gap:.3f}, though the "
        "notebooks choose on neither part and each label is spread evenly over both: the F1 of a rare class depends on "
        "a few images, and macro F1 counts it like any other. Choosing by the public score means choosing by such luck."
    )


def find_runs(records: pd.DataFrame, network: str) -> pd.DataFrame:
    """The runs, one for each seed, that represent a network; no rows where there is none."""
    runs = records[records["model"] == network]
    return runs[runs["settings"].isin(runs["settings"][:1])]


def _find_twins(records: pd.DataFrame, network: str) -> pd.DataFrame:
    return _keep_first(tables.find_twins(records[records["model"] == network]))


def _pair(records: pd.DataFrame, before: str, after: str, same: list[str]) -> pd.DataFrame:
    """The runs of two networks that are equal in ``same`` and in the seed: the first settings with such a pair."""
    left, right = (records[records["model"] == network] for network in (before, after))
    return _keep_first(left.merge(right, on=[*same, "seed"], suffixes=tables.SIDES))


def _keep_first(pairs: pd.DataFrame) -> pd.DataFrame:
    settings = pairs["settings_before"] + pairs["settings_after"]
    return pairs[settings.isin(settings[:1])]


def _gain(judged: dict, pairs: pd.DataFrame, draws: int, seed: int) -> dict:
    return tables.gain_of_pairs(judged, pairs, draws, seed) | _names(pairs) if len(pairs) else NOTHING


def _names(pairs: pd.DataFrame) -> dict:
    return {"runs": f"{', '.join(pairs['run_after'])} against {', '.join(pairs['run_before'])}"}


def _threshold_gain(study: dict, out: Path, judged: dict, draws: int, seed: int) -> dict:
    records = tables.record_table(out, judged)
    runs = records["run"][records["model"].isin(list(study["classifiers"]))]
    arrays = [judged[run] for run in runs]
    found = tables.gain(arrays, arrays, ("half", "tuned"), draws, seed) if arrays else NOTHING
    return found | {"runs": ", ".join(runs)}


def _union_gain(out: Path) -> dict:
    """What notebook 06 stored of its union, unless that had a single member."""
    decision = store.load_decision(out, "ensemble")
    row = store.load_table(out, "tables/ensemble.csv").set_index("name").loc["union of two"]
    if len(decision["members"]) == 1:
        return NOTHING
    names = f"{' with '.join(decision['pair'])} against {row['best_single']}"
    found = {"before": row["macro_f1"] - row["gain"], "after": row["macro_f1"], "gain": row["gain"], "runs": names}
    return found | {"low": row["gain_low"], "high": row["gain_high"]}


def _rare_gain(judged: dict, twins: pd.DataFrame, rarest: np.ndarray, draws: int, seed: int) -> dict:
    """How much larger the share of the classes ``rarest`` among the predicted labels is with class weights."""
    if twins.empty:
        return NOTHING
    exact, resampled = {}, {}
    for side in tables.SIDES:
        arrays = [judged[run] for run in twins[f"run{side}"]]
        exact[side] = np.array([rare_share(values["half"].sum(axis=0, dtype=int), rarest) for values in arrays])
        shares = []
        for values in arrays:
            hits, false_alarms, _ = bootstrap.resample(values["labels"], values["half"], values["groups"], draws, seed)
            shares.append(rare_share(hits + false_alarms, rarest))
        resampled[side] = np.array(shares)
    before, after = tables.SIDES
    found = {"before": exact[before].mean(), "after": exact[after].mean()} | _names(twins)
    found["true"] = rare_share(arrays[0]["labels"].sum(axis=0, dtype=int), rarest)
    return found | _over_seeds(exact[after] - exact[before], resampled[after] - resampled[before])


def _overfitting(out: Path, runs: pd.DataFrame, draws: int, seed: int) -> dict:
    """Training F1 minus validation F1, of the runs whose training F1 is stored."""
    runs, resampled = runs[runs["train_macro_f1"].notna()], []
    if runs.empty:
        return NOTHING
    train, val = runs["train_macro_f1"].to_numpy(float), runs["val_macro_f1"].to_numpy(float)
    for run in runs["run"]:
        labels, probs, groups = store.load_scored(out, run, "val")
        counts = bootstrap.resample(labels, thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY), groups, draws, seed)
        resampled.append(bootstrap.STATISTICS["macro_f1"](*counts))
    means = {"before": val.mean(), "after": train.mean(), "runs": ", ".join(runs["run"])}
    return means | _over_seeds(train - val, train[:, None] - np.array(resampled))


def _over_seeds(values: np.ndarray, resampled: np.ndarray) -> dict:
    mean = bootstrap.over_seeds(values, resampled)
    return {"gain": mean["estimate"], "low": mean["low"], "high": mean["high"]}


def _judge(found: dict, needs: str, limit: float, hardly: bool) -> tuple[str, str]:
    """What this run set shows, and the verdict; ``hardly``: the claim is that the gain is below the limit."""
    if np.isnan(found["gain"]):
        return f"not in this run set: {needs}", "not tested"
    shown = "{before:.3f} -> {after:.3f}, {gain:+.3f} [{low:+.3f}, {high:+.3f}], {runs}".format(**found)
    above, below = found["low"] > limit, found["high"] < limit
    verdict = "cannot tell" if not (above or below) else "agrees" if above != hardly else "disagrees"
    return shown + (f"; limit {limit:+.3f}" if limit else ""), verdict


def _part_of(chosen_by: str) -> str:
    return next((part for part in PARTS if part in chosen_by), "by parameter")


def _public_table(study: dict, out: Path, network: str, theirs: dict, found: dict) -> pd.DataFrame:
    without, with_it = theirs["public_without"], theirs["public_with"]
    rows = [
        (network, "F1 without", without, found["before"], np.nan, np.nan, found["runs"]),
        (network, "F1 with", with_it, found["after"], np.nan, np.nan, found["runs"]),
        _gain_row(network, with_it - without, found),
    ]
    return _table(study, out, rows)


def _gain_row(network: str, theirs: float, found: dict) -> tuple:
    return network, "gain", theirs, *(found[name] for name in ("gain", "low", "high", "runs"))


def _table(study: dict, out: Path, rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["network", "measure", *headings(study, out), "low", "high", "runs"])
