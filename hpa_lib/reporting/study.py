"""The study's numbers beside those of a run set. The numbers are data: ``study.json``, with their source.

All tables take ``found`` of ``report.load``. Their columns: network, measure, the study's number and ours (both headed
by the data they were measured on), runs (whose number ours is), and of a gain its 95 % interval low and high.
"""

import json
import numbers
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib.decisions import submission
from hpa_lib.reporting import tables, verdicts

FILE = Path(__file__).with_name("study.json")
MEASURES = {  # row -> entry of study.json, column of tables.record_table
    "train F1": ("train_f1", "train_macro_f1"),
    "train loss": ("train_loss", "train_loss"),
    "validation F1": ("test_f1", "val_macro_f1"),
    "validation loss": ("test_loss", "val_loss"),
    "F1 on the {}": ("", "F1 at .5"),
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


def classifier_table(found: dict) -> pd.DataFrame:
    """Each network's F1 and loss on the training and the validation part (the study's "test"), and ours judged."""
    rows = []
    for network, theirs in found["study"]["classifiers"].items():
        runs = tables.find_runs(found["networks"], network)
        for measure, (entry, column) in MEASURES.items():
            scores = theirs.get(entry, np.nan), runs[column].mean()
            rows.append((theirs["name"], measure.format(found["judged_on"]), *scores, ", ".join(runs["run"])))
    return _make_table(found, rows).drop(columns=["low", "high"])  # one run, no gain


def weights_table(found: dict) -> pd.DataFrame:
    """F1 of twins without and with class weights, and the gain: the study's on validation, ours on the judged part."""
    rows = []
    for network, theirs in found["study"]["class_weights"].items():
        name, gain = found["study"]["classifiers"][network]["name"], found["gains"][f"weights_{network}"]
        twins = verdicts.find_twins(found, network)
        for measure, (entry, column) in WEIGHTS_MEASURES.items():
            rows.append((name, measure, theirs[entry], twins[column].mean(), gain["runs"]))
        rows.append(_make_gain_row(name, theirs["test_with"] - theirs["test_without"], gain))
    return _make_table(found, rows)


def public_table(found: dict, entry: str, gains: dict[str, str]) -> pd.DataFrame:
    """The study's public scores without and with what it tried, and the F1 of ours on the judged part.

    Args:
        found: of ``report.load``.
        entry: of the study's two scores, ``"thresholds"`` or ``"ensemble"``.
        gains: name in the table -> name of our gain; a gain of the same runs as one before is left out.
    """
    (without, with_it), rows = (found["study"][entry][f"public_{name}"] for name in ("without", "with")), []
    for name, gain in ((name, found["gains"][key]) for name, key in gains.items()):
        rows.append((name, "F1 without", without, gain["before"], gain["runs"]))
        rows.append((name, "F1 with", with_it, gain["after"], gain["runs"]))
        rows.append(_make_gain_row(name, with_it - without, gain))
        without = with_it = np.nan  # the study has one
    return _make_table(found, rows).drop_duplicates(["measure", "runs"])


def rare_shares(found: dict) -> pd.DataFrame:
    """The share of the ten rarest classes among all labels of the judged images; NaN for a network without twins.

    Columns: network, true (of the true labels), without, with (of those predicted without and with class weights),
    gain with its 95 % interval (low, high), runs.
    """
    rows = []
    for network in found["study"]["class_weights"]:
        row = {"network": found["study"]["classifiers"][network]["name"], "true": np.nan}
        for run in verdicts.find_twins(found, network)["run_before"][:1]:
            labels = found["judged"][run]["labels"]
            row["true"] = labels[:, found["rarest"]].sum() / labels.sum()
        rows.append(row | found["gains"][f"rare_{network}"])
    return pd.DataFrame(rows).rename(columns={"before": "without", "after": "with"})


def count_choices(found: dict) -> pd.DataFrame:
    """How many choices each part of the data took part in, counted in what is stored; the last row is their sum.

    Columns: choice, training, validation, hold-out, test, and by parameter (a person decided).
    """
    tuning, decision, results = found["tuning"], found["ensemble"], found["results"].values()
    best = sorted(decision["members"], key=decision["cross_fitted"].get, reverse=True)[:2]
    several = len(best) > 1
    rows = [
        ("weights of each run", "training", len(results)),
        ("epoch of each network", "validation", sum(result["best_epoch"] > 0 for result in results)),
        ("strength of each baseline", "validation", sum("value" in result for result in results)),
        ("28 thresholds of each run", "validation", len(results)),
        ("way to choose thresholds", _find_part(tuning["chosen_by"]), 1),
        ("weights of averages", "validation", sum(name in decision for name in ("weights", "stacker")) * several),
        ("pair of the union", "validation" if decision["pair"] == best else "by parameter", 1 * several),
        ("two networks to unite", "validation", 1 * (len(verdicts.find_united(found)) == 2)),
        ("ensemble", _find_part(decision["chosen_by"]), 1),
    ]
    table = pd.DataFrame({"choice": [choice for choice, _, _ in rows]})
    table = table.assign(**{part: [number * (chosen_on == part) for _, chosen_on, number in rows] for part in PARTS})
    table.loc[len(table)] = ["all", *table[list(PARTS)].sum()]
    return table


def public_private(found: dict) -> tuple[pd.DataFrame, str]:
    """The submissions' scores on the public and the private part of the test images, and a sentence on their gap.

    Columns: those of ``submission.score_table`` but the numbers of images. The first row is the study's final public
    score; it is the only one where the truth of the test images is not known.
    """
    public, stored = found["study"]["final"]["public"], found["ensemble"].get("test_scores")
    table = pd.DataFrame({"submission": [f"final, {found['headings'][0]}"], "public macro_f1": [public]})
    if stored:
        scores = submission.score_table(stored)
        scores = scores.loc[:, ~scores.columns.str.contains("num_images")]  # to fit on paper
        table = pd.concat([table, scores], ignore_index=True)[scores.columns]
    sentence = f"The study's {public} is a public score: it is of a part of the test images."
    if not stored or table["private macro_f1"].isna().all():
        return table, f"{sentence} There is no private score, since the truth of the test images is not known here."
    gap = (table["public macro_f1"] - table["private macro_f1"]).abs().max()
    return table, f"{sentence} {found['study']['notes']['gap'].format(gap=gap)}"


def _find_part(chosen_by: str) -> str:
    return next((part for part in PARTS if part in chosen_by), "by parameter")


def _make_gain_row(network: str, theirs: float, gain: dict) -> tuple:
    return network, "gain", theirs, *(gain[name] for name in ("gain", "runs", "low", "high"))


def _make_table(found: dict, rows: list[tuple]) -> pd.DataFrame:
    rows = [(*row, np.nan, np.nan)[:7] for row in rows]  # only a gain has an interval
    return pd.DataFrame(rows, columns=["network", "measure", *found["headings"], "runs", "low", "high"])
