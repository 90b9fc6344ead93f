"""The report of a run set, section by section in the study's outline; notebook 07 and ``hpa report`` make the same.

Every section is made from what ``load`` found. Its sentences are true for any results; what a number means is left to its table and its interval.
"""

import datetime
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, provenance, store
from hpa_lib.decisions import metrics
from hpa_lib.figures import learning
from hpa_lib.reporting import page, tables

TITLE = "Human Protein Atlas: 28 labels, severe imbalance"
SPLIT = ["data/split.csv", "data/dataset.json"]
DECISIONS = ["decisions/thresholds.json", "decisions/ensemble.json"]


def load(out: str | Path, bootstrap: int = 1000, seed: int = 0) -> dict:
    """What the sections are made from: the stored results of every run that notebook 05 took.

    Args:
        out: the run set.
        bootstrap: resamples for the intervals.
        seed: of the resamples.

    Raises:
        MissingInput: a notebook up to 06 has not run on the present runs; the sentence names it.
    """
    out = Path(out)
    judged = tables.load_judged(out)
    part, judged_on = tables.judged_part(out)
    found = {"out": out, "judged": judged, "part": part, "judged_on": judged_on, "draws": bootstrap, "seed": seed}
    found |= {"results": {run: store.load_json(out, f"runs/{run}/result.json") for run in judged}}
    found |= {"data": store.load_json(out, "data/dataset.json"), "ensemble": store.load_decision(out, "ensemble")}
    return found | {"synthetic": found["data"]["synthetic"], "runs": tables.runpage.Item(out, judged)}


def _of_runs(found: dict, *files: str) -> list[str]:
    """The files of these names of all runs, and the split that they were made with."""
    return SPLIT + [f"runs/{run}/{file}" for run in found["judged"] for file in ("result.json", *files)]


def _scored(found: dict) -> list[str]:
    return [*_of_runs(found, f"probs_{found['part']}.npz"), *DECISIONS]


def stamps(found: dict) -> list[str]:
    """What a reader must know before the first number: the data, how the runs began, the code, the date, the rules."""
    results = found["results"].values()
    starts = Counter(result["weights"] for result in results)
    commits = {result.get("versions", {}).get("commit", "unknown") for result in results}
    files = [store.need(found["out"], f"runs/{run}/result.json") for run in found["judged"]]
    newest = max(datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC) for file in files)
    synthetic = "SYNTHETIC DATA: no score on this page is a measurement of real cells."
    return [
        synthetic if found["synthetic"] else "Data: Kaggle's, real cells.",
        f"Start of the {len(results)} runs: {', '.join(f'{start} ({number})' for start, number in starts.items())}.",
        f"Code: runs trained by commit {', '.join(sorted(commits))}; page made by {provenance.commit() or 'unknown'}.",
        f"Newest run: {newest:%Y-%m-%d} (UTC).",
        f"Scores: macro F1 on the {found['judged_on']}, one rule for empty rows.",
        *tables.notices(found["out"]),
    ]


def data(found: dict) -> dict:
    """The parts of the data and what an image looks like."""
    _, labels, groups, folds = store.load_split(found["out"])
    rarest = int(labels.sum(axis=0).argmin())
    parts = {"hold-out" if fold == -1 else f"fold {fold}": folds == fold for fold in np.unique(folds)}
    rows = [
        {
            "part": part,
            "images": int(rows.sum()),
            "groups": len(np.unique(groups[rows])),
            "labels per image": labels[rows].sum(axis=1).mean(),
            f"images of {atlas.LABELS[rarest]}": int(labels[rows, rarest].sum()),
        }
        for part, rows in parts.items()
    ]
    text = (
        f"{len(labels):,} images with 28 labels, several per image, and {found['data']['test_images']:,} test images. "
        "A run is trained on all folds but one, which validates it; related images are in one group, and no group is "
        f"in two parts. {'The hold-out judges.' if found['part'] == 'holdout' else 'There is no hold-out: validation judges, cross-fitted.'}"
    )
    items = [
        page.Item("report_parts", "The parts of the data, and the rarest class in them.", SPLIT, pd.DataFrame(rows)),
        page.Item("eda_examples", "An image of each class with as few other labels as possible.", SPLIT),
    ]
    return page.Section("Data", text, items)


def preprocessing(found: dict) -> dict:
    """How images come into the networks."""
    keys = {"channels": "channels", "image_size": "pixels", "augment": "augmentation", "mix": "mixing"}
    rows = [
        {"run": run} | {name: result.get(key) for key, name in keys.items()} for run, result in found["results"].items()
    ]
    text = (
        "The study has two ways in: RGB, where half of yellow's signal goes to red and half to green (rgb_merge), and a "
        "network with four input channels (rgby). The augmentation called study makes exactly one of six changes: a "
        "rotation by 90, 180 or 270 degrees, a shear between -16 and 16 degrees, or a flip."
    )
    items = [
        page.Item("report_inputs", "What each run sees.", _of_runs(found), pd.DataFrame(rows)),
        page.Item("data_four_channels", "The four channels of an image, and their composite.", SPLIT),
    ]
    return page.Section("Preprocessing", text, items)


def models(found: dict) -> dict:
    """The networks, and what each run cost."""
    runs, results = found["runs"], found["results"]
    cost = runs[["run", "model", "start", "best epoch", "minutes", "images/s"]].copy()
    for key, place in (("parameters", 3), ("epochs", 4)):
        cost.insert(place, key, [results[run].get(key) for run in runs["run"]])
    drawn = runs.drop_duplicates("model")
    figures = [
        page.Item(f"architecture_{run}", f"The network {model}.", [f"runs/{run}/result.json"])
        for run, model in zip(drawn["run"], drawn["model"], strict=True)
        if "parameters" in results[run]
    ]
    text = (
        "Size and cost of every run. Models on measured features have no parameters to count here and are not trained "
        "in epochs."
    )
    items = [page.Item("report_models", "Every run: size, start and cost.", _of_runs(found), cost), *figures]
    return page.Section("Models", text, items)
