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
from hpa_lib.reporting import page, study, tables

TITLE = "Human Protein Atlas: 28 labels, severe imbalance"
SPLIT = ["data/split.csv", "data/dataset.json"]
# settings of a run
INPUTS = ["channels", "image_size", "augment", "mix", "sampling", "loss", "class_weights", "prior_bias", "ema"]


def load(out: str | Path, bootstrap: int = 1000, seed: int = 0, study_file: Path = study.FILE) -> dict:
    """What the sections are made from: the stored results of every run that notebook 05 took.

    Args:
        out: the run set.
        bootstrap: resamples for the intervals.
        seed: of the resamples.
        study_file: the study's numbers.

    Raises:
        MissingInput: a notebook up to 06 has not run on the present runs; the sentence names it.
    """
    out, judged = Path(out), tables.load_judged(out)
    part, judged_on = tables.judged_part(out)
    found = {"out": out, "judged": judged, "judged_on": judged_on, "runs": tables.run_table(out, judged)}
    found |= {"study": study.load(study_file), "options": {"draws": bootstrap, "seed": seed}}
    found |= {"results": {run: store.load_json(out, f"runs/{run}/result.json") for run in judged}}
    found["data"] = store.load_json(out, "data/dataset.json")
    found["ensemble"] = store.load_table(out, "tables/ensemble.csv")
    records = SPLIT + [f"runs/{run}/result.json" for run in judged]  # the files that a table was made from
    scores = [*records, "decisions/thresholds.json", *(f"runs/{run}/probs_{part}.npz" for run in judged)]
    decisions = [*scores, "decisions/ensemble.json", "tables/ensemble.csv"]
    return found | {"records": records, "scores": scores, "decisions": decisions}


def stamps(found: dict) -> list[str]:
    """What a reader must know before the first number: the data, how the runs began, the code, the date, the rules."""
    out, runs = found["out"], found["runs"]
    starts = ", ".join(f"{start} ({number})" for start, number in Counter(runs["start"]).items())
    versions = [result.get("versions", {}) for result in found["results"].values()]
    commits = ", ".join(sorted({version.get("commit", "unknown") for version in versions}))
    dates = sorted(result["finished"][:10] for result in found["results"].values() if "finished" in result)
    synthetic = "SYNTHETIC DATA: no score on this page is a measurement of real cells."
    return [
        synthetic if found["data"]["synthetic"] else "Kaggle's data: images of real cells.",
        f"Weights that the {len(runs)} runs started from: {starts}.",
        f"Code: the runs by commit {commits}, this page by {provenance.commit() or 'unknown'}.",
        f"Newest run: {dates[-1] + ' (UTC)' if dates else 'its date is not stored'}.",
        f"Scores: macro F1 on the {found['judged_on']}, with one rule for empty rows.",
        *tables.notices(out),
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
    text = (
        "The study had two ways in: RGB with half of yellow's signal given to red and half to green (rgb_merge), or a "
        "network whose input has four channels (rgby). Its augmentation (study) changes an image in one of six ways: "
        "rotation by 90, 180 or 270 degrees, shear between -16 and 16 degrees, horizontal or vertical flip."
    )
    items = [
        page.Item("report_inputs", "What each run was trained on.", found["records"], inputs),
        page.Item("data_four_channels", "The four channels of an image, and their composite.", SPLIT),
    ]
    return page.Section("Preprocessing", text, items)


def models(found: dict) -> page.Section:
    """The networks, and what each run cost."""
    results, runs = found["results"], found["runs"]
    cost = runs[["run", "start", "best epoch", "minutes", "images/s"]].copy()
    for name in ("epochs", "parameters"):
        cost.insert(2, name, [results[run].get(name) for run in cost["run"]])
    cost["best epoch"] = cost["best epoch"].where(cost["epochs"].notna())  # a baseline has none
    cost = cost.convert_dtypes()  # whole numbers stay whole where one is missing
    items = [page.Item("report_models", "Start, size and cost of every run.", found["records"], cost)]
    for run, name in runs.drop_duplicates("model")[["run", "model"]].itertuples(index=False):
        if "parameters" in results[run]:  # a network
            items.append(page.Item(f"architecture_{run}", f"{name}, block by block.", [f"runs/{run}/result.json"]))
    text = "Only networks have parameters to count and are trained in epochs; the best epoch is chosen on validation."
    return page.Section("Models", text, items)


def classifiers(found: dict) -> page.Section:
    """Experiment A: the study's three networks beside ours, all runs, and their curves."""
    out, scores = found["out"], found["scores"]
    runs = found["runs"].drop(columns=["channels", "start", "best epoch", "minutes", "images/s"])
    histories = tables.load_histories(out, runs["run"])
    store.save_figure(out, "report_curves", learning.curves(histories, found["data"]["synthetic"]))
    beside = study.classifier_table(found["study"], out, found["judged"])
    items = [
        page.Item("study_classifiers", "The study's three classifiers beside ours.", scores, beside),
        page.Item("report_classifiers", f"Scores of every run on the {found['judged_on']}.", scores, runs),
        page.Item("report_curves", "Learning curves.", [f"runs/{run}/history.csv" for run in histories]),
    ]
    return page.Section("Experiment A: three classifiers", found["study"]["notes"]["classifiers"], items)


def class_weights(found: dict) -> page.Section:
    """Experiment B, first part: with and without class weights, and how often rare classes are predicted."""
    out, judged, scores, options = (found[name] for name in ("out", "judged", "scores", "options"))
    rare = tables.rare_table(out, judged)
    fig = learning.rare_positives(rare, found["judged_on"], found["data"]["synthetic"])
    store.save_figure(out, "report_rare_classes", fig, rare)
    beside = study.weights_table(found["study"], out, judged, **options)
    shares = study.rare_shares(found["study"], out, judged, **options)
    gains = tables.weights_table(out, judged, **options)
    items = [
        page.Item("study_class_weights", "Class weights in the study and here.", scores, beside),
        page.Item("report_class_weights", "Pairs of runs that differ in their class weights alone.", scores, gains),
        page.Item("report_rare_shares", "Share of the ten rarest classes among all labels.", scores, shares),
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
    beside = study.thresholds_table(found["study"], out, judged, **found["options"])
    gains = tables.thresholds_table(judged, **found["options"])
    items = [
        page.Item("study_thresholds", "Thresholds in the study and here.", scores, beside),
        page.Item("report_thresholds", "Every run at .5 and with its tuned thresholds.", scores, gains),
        page.Item("threshold_candidates", "All ways to choose thresholds.", ["tables/thresholds.csv"]),
        page.Item("report_f1_by_class", "F1 of every class with tuned thresholds.", scores),
    ]
    text = f"{found['study']['notes']['thresholds']} Ours are tuned on validation and judged on other images."
    return page.Section("Experiment B2: thresholds", text, items)


def ensembles(found: dict) -> page.Section:
    """Experiment C: ensembles against the best single model, and the public and the private score."""
    columns = ["name", "kind", "macro_f1", "low", "high", "gain", "gain_low", "gain_high"]
    ranked = found["ensemble"][columns].sort_values("macro_f1", ascending=False)
    beside = study.ensemble_table(found["study"], found["out"])
    submissions, gap = study.public_private(found["study"], found["out"])
    submissions = submissions.loc[:, ~submissions.columns.str.contains("num_images")]  # to fit on paper
    caption, decisions = (
        f"On the {found['judged_on']}; gains over the single model that is best on validation.",
        found["decisions"],
    )
    items = [
        page.Item("study_ensemble", "The union in the study and here.", decisions, beside),
        page.Item("report_ensembles", caption, decisions, ranked),
        page.Item("ensemble_scores", "Scores and gains with 95 % intervals.", ["tables/ensemble.csv"]),
        page.Item("report_public_private", "Public and private scores.", ["decisions/ensemble.json"], submissions),
    ]
    pair = store.load_decision(found["out"], "ensemble")["pair"]
    models_of_pair = {found["results"].get(run, {}).get("model") for run in pair}
    without = "" if models_of_pair & found["study"]["classifiers"].keys() else "; none of them is one of its networks"
    text = f"{found['study']['notes']['ensemble']} Ours is of {' and '.join(pair)}{without}. {gap}"
    return page.Section("Experiment C: ensembles", text, items)


def conclusion(found: dict) -> page.Section:
    """The study's claims with our verdicts, the small table, and how often each part of the data was chosen on."""
    out, decisions = found["out"], found["decisions"]
    claims = study.claims(found["study"], out, found["judged"], **found["options"])
    verdicts = ", ".join(f"{number} '{verdict}'" for verdict, number in claims["verdict"].value_counts().items())
    summary = tables.summary_table(out, found["runs"])
    items = [
        page.Item("study_claims", "The study's claims, and what this run set shows.", decisions, claims),
        page.Item("summary", "Every run, then ensembles.", decisions, summary),
        page.Item("report_choices", "Choices that each part of the data took part in.", decisions, study.choices(out)),
    ]
    text = f"Of the study's {len(claims)} claims: {verdicts}. {found['study']['notes']['claims']}"
    return page.Section("Conclusion", text, items)


SECTIONS = (data, preprocessing, models, classifiers, class_weights, thresholds, ensembles, conclusion)


def write(out: str | Path, bootstrap: int = 1000, seed: int = 0, study_file: Path = study.FILE) -> Path:
    """Make the whole report from what is stored; the page's path (see ``page.write``). Arguments as in ``load``."""
    found = load(out, bootstrap, seed, study_file)
    return write_sections(found, [make(found) for make in SECTIONS])


def write_sections(found: dict, sections: list[page.Section]) -> Path:
    """The page of these sections, which were made from ``found``."""
    record = {
        "command": "hpa report OUT, or notebook 07",
        "study": found["study"]["source"],
        "commit": provenance.commit(),
    }
    return page.write(found["out"], TITLE, stamps(found), sections, record | found["options"])
