"""The report of a run set in the study's outline, section by section: notebook 07 and ``hpa report`` make the same.

Each section is made from what ``load`` found. Its sentences are true for any results; the numbers are in its tables.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, provenance, store
from hpa_lib.decisions import metrics
from hpa_lib.figures import learning
from hpa_lib.reporting import page, study, tables, verdicts

TITLE = "Human Protein Atlas: 28 labels, severe imbalance"
SPLIT = ["data/split.csv", "data/dataset.json"]
INPUTS = ["channels", "image_size", "augment", "mix", "sampling", "loss", "class_weights", "prior_bias", "ema"]
COSTS = ["run", "start", "parameters", "epochs", "best epoch", "minutes", "images/s"]
SCORES = ["run", "model", "class weights", "macro AP", "F1 at .5, unfilled", "F1 at .5", "F1 tuned"]
GAINS = ["name", "kind", "macro_f1", "low", "high", "gain", "gain_low", "gain_high"]
WAYS = {  # of thresholds.CANDIDATES
    "half": "Every class at .5; nothing is tuned.",
    "flat": "Every class at .25; nothing is tuned.",
    "global": "One threshold for all classes: the one with the highest macro F1.",
    "grid": "For each class the best of 0, .01, ..., .99, as in the study.",
    "exact": "For each class the best of all thresholds.",
    "bagged": "For each class the mean of the exact thresholds of 40 bootstrap resamples.",
    "proportion": "Each class is predicted as often as it occurs.",
    "shrunken-global": "Exact, moved towards global: the rarer a class, the further.",
    "shrunken": "Exact, moved towards proportion in the same way.",
    "bagged-shrunken": "Bagged, moved towards proportion in the same way.",
}


def load(out: str | Path, bootstrap: int = 1000, seed: int = 0, study_file: Path = study.FILE) -> dict:
    """What the sections are made from: the stored results of every run that notebook 05 took, read once.

    Args:
        out: the run set.
        bootstrap: resamples for the intervals.
        seed: of the resamples.
        study_file: the study's numbers.

    Returns:
        Among others ``judged`` (``tables.load_judged``), ``results`` (run -> ``result.json``), ``runs`` (their
        ``tables.record_table``), ``networks`` (of those the study's, by ``tables.order_runs``), ``gains``
        (``verdicts.measure``), and of which files a table is made: ``records``, ``scores`` or ``decisions``.

    Raises:
        MissingInput: a notebook up to 06 has not run on the present runs; the sentence names it.
    """
    out, judged, numbers = Path(out), tables.load_judged(out), study.load(study_file)
    part, judged_on = tables.judged_part(out)
    results = {run: store.load_json(out, f"runs/{run}/result.json") for run in judged}
    runs = tables.record_table(results, judged)
    compared = tables.order_runs(runs)
    found = {"out": out, "judged": judged, "judged_on": judged_on, "results": results, "runs": runs, "study": numbers}
    found["networks"] = compared[compared["model"].isin(list(numbers["classifiers"]))]
    found |= {"rarest": tables.rarest_classes(out), "options": {"draws": bootstrap, "seed": seed}}
    found |= {"tuning": store.load_decision(out, "thresholds"), "ensemble": store.load_decision(out, "ensemble")}
    found["ensemble_scores"] = store.load_table(out, "tables/ensemble.csv")
    found["data"] = store.load_json(out, "data/dataset.json")
    measured_on = "synthetic data" if found["data"]["synthetic"] else numbers["data"]
    found["headings"] = [f"study ({numbers['data']})", f"this run set ({measured_on})"]
    found["records"] = SPLIT + [f"runs/{run}/result.json" for run in judged]
    probs = [f"runs/{run}/probs_{part}.npz" for run in judged]
    found["scores"] = [*found["records"], "decisions/thresholds.json", *probs]
    found["decisions"] = [*found["scores"], "decisions/ensemble.json", "tables/ensemble.csv"]
    return found | {"gains": verdicts.measure(found)}


def stamps(found: dict) -> list[str]:
    """What a reader must know before the first number: the data, how the runs began, the code, the date, the rules."""
    runs, results = found["runs"], found["results"].values()
    starts = ", ".join(f"{start} ({number})" for start, number in Counter(runs["start"]).items())
    commits = ", ".join(sorted({result.get("versions", {}).get("commit", "unknown") for result in results}))
    newest = max((result["finished"][:10] + " (UTC)" for result in results if "finished" in result), default="")
    synthetic = "SYNTHETIC DATA: no score on this page is a measurement of real cells."
    return [
        synthetic if found["data"]["synthetic"] else "Kaggle's data: images of real cells.",
        f"Weights that the {len(runs)} runs started from: {starts}.",
        f"Code: the runs by commit {commits}, this page by {provenance.commit() or 'unknown'}.",
        f"Newest run: {newest or 'its date is not stored'}.",
        f"Scores: macro F1 on the {found['judged_on']}, with one rule for empty rows.",
        *tables.notices(found["out"]),
    ]


def data(found: dict) -> page.Section:
    """The parts of the data, its classes, and an image of each."""
    _, labels, groups, folds = store.load_split(found["out"])
    rarest, rows = int(labels.sum(axis=0).argmin()), []
    for fold in np.unique(folds):
        inside = folds == fold
        row = {"part": "hold-out" if fold == -1 else f"fold {fold}", "images": int(inside.sum())}
        row |= {"groups": len(np.unique(groups[inside])), "labels per image": labels[inside].sum(axis=1).mean()}
        rows.append(row | {f"images of {atlas.LABELS[rarest]}": int(labels[inside, rarest].sum())})
    text = (
        f"{len(labels):,} images with known labels, {found['data']['test_images']:,} test images, 28 classes, several "
        "per image. A run is validated on one fold and trained on the others. Related images are in one group, and no "
        "group is in two parts."
    )
    items = [
        page.Item("report_parts", "Parts of the data, with the rarest class of all.", SPLIT, pd.DataFrame(rows)),
        page.Item("eda_label_counts", "Images per class.", SPLIT),
        page.Item("eda_examples", "An image of each class, with as few other labels as possible.", SPLIT),
    ]
    return page.Section("Data", text, items)


def preprocessing(found: dict) -> page.Section:
    """How images come into the models."""
    settings = {run: result.get("settings", {}) for run, result in found["results"].items()}
    inputs = pd.DataFrame([{"run": run} | {name: settings[run].get(name) for name in INPUTS} for run in settings])
    items = [
        page.Item("report_inputs", "What each run was trained on.", found["records"], inputs),
        page.Item("data_four_channels", "The four channels of an image, and their composite.", SPLIT),
    ]
    return page.Section("Preprocessing", found["study"]["notes"]["preprocessing"], items)


def models(found: dict) -> page.Section:
    """The networks, and what each run cost."""
    costs = found["runs"][COSTS].copy()
    costs["best epoch"] = costs["best epoch"].where(costs["epochs"].notna())  # a baseline has none
    costs = costs.convert_dtypes()  # whole numbers stay whole where one is missing
    items = [page.Item("report_models", "Start, size and cost of every run.", found["records"], costs)]
    firsts = found["runs"].drop_duplicates("model")
    for run, name in firsts.loc[firsts["parameters"].notna(), ["run", "model"]].itertuples(index=False):
        items.append(page.Item(f"architecture_{run}", f"{name}, block by block.", [f"runs/{run}/result.json"]))
    text = "Only networks have parameters to count and are trained in epochs; the best epoch is chosen on validation."
    return page.Section("Models", text, items)


def classifiers(found: dict) -> page.Section:
    """Experiment A: the study's three networks beside ours, all runs, and their curves."""
    out, scores, runs = found["out"], found["scores"], found["runs"][SCORES]
    histories = tables.load_histories(out, runs["run"])
    store.save_figure(out, "report_curves", learning.curves(histories, found["data"]["synthetic"]))
    items = [
        _beside("study_classifiers", "The study's three classifiers.", scores, study.classifier_table(found)),
        page.Item("report_classifiers", f"Scores of every run on the {found['judged_on']}.", scores, runs),
        page.Item("report_curves", "Learning curves.", [f"runs/{run}/history.csv" for run in histories]),
    ]
    return page.Section("Experiment A: three classifiers", found["study"]["notes"]["classifiers"], items)


def class_weights(found: dict) -> page.Section:
    """Experiment B, first part: with and without class weights, and how often rare classes are predicted."""
    judged, scores = found["judged"], found["scores"]
    rare = tables.rare_table(judged, found["rarest"])
    fig = learning.rare_positives(rare, found["judged_on"], found["data"]["synthetic"])
    store.save_figure(found["out"], "report_rare_classes", fig, rare)
    gains = tables.weights_table(found["runs"], judged, **found["options"])
    items = [
        _beside("study_class_weights", "Class weights.", scores, study.weights_table(found)),
        page.Item("report_class_weights", "Pairs of runs that differ in their class weights alone.", scores, gains),
        _beside(
            "report_rare_shares", "Share of the ten rarest classes in all labels.", scores, study.rare_shares(found)
        ),
        page.Item("report_rare_classes", "How often the rarest classes are predicted at .5.", scores),
    ]
    text = f"{found['study']['notes']['class_weights']} All at plain .5, with paired 95 % intervals (low, high)."
    return page.Section("Experiment B1: class weights", text, items)


def thresholds(found: dict) -> page.Section:
    """Experiment B, second part: plain .5 against tuned thresholds."""
    out, judged, scores = found["out"], found["judged"], found["scores"]
    f1 = {run: metrics.f1_per_class(arrays["labels"], arrays["tuned"]) for run, arrays in judged.items()}
    _, labels, _, folds = store.load_split(out)
    counts = labels[folds >= 0].sum(axis=0, dtype=int)
    fig = learning.f1_by_class(f1, counts, found["judged_on"], found["data"]["synthetic"])
    store.save_figure(out, "report_f1_by_class", fig, pd.DataFrame({"class": atlas.LABELS, "images": counts} | f1))
    beside = study.public_table(found, "thresholds", {"the study's networks": "thresholds"})
    gains = tables.thresholds_table(judged, **found["options"])
    ways = pd.DataFrame(WAYS.items(), columns=["name", "thresholds"])
    items = [
        _beside("study_thresholds", "Thresholds.", scores, beside),
        page.Item("report_thresholds", "Every run at .5 and with its tuned thresholds.", scores, gains),
        page.Item("report_threshold_ways", "The ways to choose thresholds in the figure below.", [], ways),
        page.Item("threshold_candidates", "All ways to choose thresholds.", ["tables/thresholds.csv"]),
        page.Item("report_f1_by_class", "F1 of every class with tuned thresholds.", scores),
    ]
    text = f"{found['study']['notes']['thresholds']} Ours are tuned on validation and judged on other images."
    return page.Section("Experiment B2: thresholds", text, items)


def ensembles(found: dict) -> page.Section:
    """Experiment C: ensembles against the best single model, and the public and the private score."""
    decisions, beside = found["decisions"], {"two networks": "ensemble", "notebook 06's pair": "stored_union"}
    ranked = found["ensemble_scores"][GAINS].sort_values("macro_f1", ascending=False)
    submissions, gap = study.public_private(found)
    caption = f"On the {found['judged_on']}; gains over the single model that is best on validation."
    items = [
        _beside("study_ensemble", "The union.", decisions, study.public_table(found, "ensemble", beside)),
        page.Item("report_ensembles", caption, decisions, ranked),
        page.Item("ensemble_scores", "Scores and gains with 95 % intervals.", ["tables/ensemble.csv"]),
        page.Item("report_public_private", "Public and private scores.", ["decisions/ensemble.json"], submissions),
    ]
    return page.Section("Experiment C: ensembles", f"{found['study']['notes']['ensemble']} {gap}", items)


def explanations(found: dict) -> page.Section:
    """Whether a network looks at the structures, where notebook 08 has measured it."""
    title, out, name = "Where the network looks", found["out"], "tables/localisation.csv"
    if not (out / name).exists():
        return page.Section(title, "Not measured in this run set: notebook 08 does it on synthetic data.", [])
    table = store.load_table(out, name)
    run, digest = table.loc[0, ["run", "digest"]]
    if run not in found["results"] or store.digest_runs(out, [run])[run] != digest:
        return page.Section(title, f"Measured on another state of the run {run}: run notebook 08 again.", [])
    counts = pd.crosstab(table["method"], table["verdict"]).rename_axis(columns=None)
    counts.insert(0, "fields per class", table.groupby("method")["images"].min())
    text = (
        f"The table counts the classes for which more of the heat maps of {run} is on the true structure than chance "
        "and the same network with random weights put there, by 95 % intervals, on new synthetic fields."
    )
    made_from = [name, f"runs/{run}/result.json"]
    items = [
        page.Item("report_localisation", "Classes by method and verdict.", made_from, counts.reset_index()),
        page.Item("explore_localisation", "The share of the heat maps on each class's structure.", made_from),
    ]
    return page.Section(title, text, items)


def conclusion(found: dict) -> page.Section:
    """The study's claims with our verdicts, the small table, and how often each part of the data was chosen on."""
    decisions, claims = found["decisions"], verdicts.judge_claims(found)
    counts = ", ".join(f"{number} '{verdict}'" for verdict, number in claims["verdict"].value_counts().items())
    summary, choices = tables.summary_table(found["out"], found["runs"]), study.count_choices(found)
    items = [
        page.Item("study_claims", "The study's claims, and what this run set shows.", decisions, claims),
        page.Item("summary", "Every run, then ensembles.", decisions, summary),
        page.Item("report_choices", "Choices that each part of the data took part in.", decisions, choices),
    ]
    text = f"Of the study's {len(claims)} claims: {counts}. {found['study']['notes']['claims']}"
    return page.Section("Conclusion", text, items)


SECTIONS = (data, preprocessing, models, classifiers, class_weights, thresholds, ensembles, explanations, conclusion)


def write(out: str | Path, bootstrap: int = 1000, seed: int = 0, study_file: Path = study.FILE) -> Path:
    """Make the whole report from what is stored; the page's path (see ``page.write``). Arguments as in ``load``."""
    found = load(out, bootstrap, seed, study_file)
    return write_sections(found, [make(found) for make in SECTIONS])


def write_sections(found: dict, sections: list[page.Section]) -> Path:
    """The page of these sections, which were made from ``found``."""
    record = {"command": "hpa report OUT, or notebook 07", "study": found["study"]["source"]}
    record |= {"commit": provenance.commit()}
    return page.write(found["out"], TITLE, stamps(found), sections, record | found["options"])


def _beside(name: str, caption: str, made_from: list[str], table: pd.DataFrame) -> page.Item:
    """A table of the study's numbers beside ours, whose caption names our runs, once for each network."""
    runs = table[table["runs"] != ""].drop_duplicates("network")
    ours = "; ".join(f"{row.runs} ({row.network})" for row in runs.itertuples())
    return page.Item(name, f"{caption} Ours: {ours}." if ours else caption, made_from, table.drop(columns="runs"))
