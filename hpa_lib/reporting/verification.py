"""Which number of a run set does not follow from what is stored: notebooks 05 to 07 are run again on a copy of it.

Taken as given are the split and its labels, the probabilities, and what only the training knew: the history of each
run, ``train_*`` in ``result.json``. Figures are not compared, nor what notebooks 00, 01, 01b and 08 make of images.
"""

import csv
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hpa_lib import store
from hpa_lib.data import csv_rows, kaggle
from hpa_lib.decisions import metrics, thresholds

GIVEN = ("data/*", "runs/*/result.json", "runs/*/history.csv", "runs/*/probs_*.npz", "figures/*.png")
MADE = {  # notebook -> what it makes, as far as it is compared
    "05": ("decisions/thresholds.json", "tables/thresholds.csv", "tables/calibration.csv"),
    "06": ("decisions/ensemble.json", "tables/ensemble*.csv", "submission*.csv", "runs/*/submission.csv"),
    "07": (
        *("tables/report_*.csv", "tables/study_*.csv", "tables/summary.csv", "figures/report_*.csv"),
        *("report/tables/*", "report/report.md", "report.html"),
    ),
}
REPORTED = ("tables/localisation.csv", "runs/*/result.json", "runs/*/history.csv")  # given, and shown in the report
DIGEST = "thresholds_digest"  # of bytes; the thresholds themselves are compared
NUMBER = re.compile(r"-?\d+\.\d+(e[+-]\d+)?|-?\d+e-\d+")
VARYING = re.compile(r'base64,[^"]*|this page by [^.]*')  # in the page: pictures, and the commit of the code
CLOSE = {"rel_tol": 1e-4, "abs_tol": 1e-6}  # other processors add in another order
PREDICTED_TWICE = 0.002  # what a score may differ by between two predictions of one network


class Mismatch(NamedTuple):
    """A stored value that does not follow; ``stored`` or ``recomputed`` is None where there is no such value."""

    file: str
    row: str
    column: str
    stored: object
    recomputed: object


def find_parameters(out: Path) -> dict[str, dict]:
    """Notebook number -> the parameters that made what is stored, by its decisions; 07 where there is a report.

    Raises:
        MissingInput: notebook 05 or 06 has not run.
        ValueError: a decision lacks an entry.
    """
    tuned, united = store.load_json(out, "decisions/thresholds.json"), store.load_json(out, "decisions/ensemble.json")
    try:
        parameters = {number: _shared(decision) for number, decision in (("05", tuned), ("06", united))}
        parameters["05"] |= {"FOLDS": tuned["folds"], "FILL_EMPTY": tuned["fill_empty"]}
        parameters["05"]["CANDIDATE"] = tuned["recommended"] if tuned["chosen_by"] == "parameter" else ""
        parameters["06"]["FOLDS"] = united.get("folds", tuned["folds"])  # older files have no folds, no named_pair
        parameters["06"]["CANDIDATE"] = united["candidate"] if united["candidate"] != tuned["recommended"] else ""
        parameters["06"]["ENSEMBLE"] = united["chosen"] if united["chosen_by"] == "parameter" else ""
        pair = ",".join(united["pair"] if len(united["pair"]) == 2 else [])
        parameters["06"]["PAIR"] = united.get("named_pair", pair)
    except KeyError as error:
        raise ValueError(f"decisions/ of {out} has no entry {error}: run notebooks 05 and 06 again") from None
    if (out / "report" / "manifest.json").exists():
        manifest = store.load_json(out, "report/manifest.json")
        parameters["07"] = {"BOOTSTRAP": manifest.get("draws", 1000), "SEED": manifest.get("seed", 0)}
    return parameters


def _shared(decision: dict) -> dict:
    return {"RUNS": ",".join(decision["runs"]), "BOOTSTRAP": decision["bootstrap"], "SEED": decision["seed"]}


def copy_given(out: Path, copy: Path, data: Path | None = None) -> list[str]:
    """Copy what the notebooks read; sentences about what cannot be verified.

    Args:
        out: the run set; nothing in it is changed.
        copy: an empty folder.
        data: where ``sample_submission.csv`` and the truth are; by default where notebook 00 read them.
    """
    for pattern in (*GIVEN, "tables/localisation.csv"):
        for path in out.glob(pattern):
            _copy(path, copy / path.relative_to(out))
    description, notes = store.load_json(out, "data/dataset.json"), []
    if not description["test_images"]:
        return notes
    source, target = data or Path(description["path"]), copy / "given"
    sample, truth = csv_rows.find(source / "sample_submission.csv"), source / "truth" / "test_truth.csv"
    if not sample.is_file():
        notes.append(f"the Ids of submission.csv and their order: there is no {sample}")
        sample = store.need(out, "submission.csv")
    _copy(sample, target / "sample_submission.csv")
    if "test_scores" in store.load_json(out, "decisions/ensemble.json"):
        if truth.is_file():
            _copy(truth, target / "truth" / "test_truth.csv")
        else:
            notes.append(f"scores of test images: there is no {truth}")
    described = description | {"path": str(target), "data_hash": kaggle.fingerprint(target)}
    store.save_json(copy, "data/dataset.json", described)
    return notes


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def keep_test_scores(out: Path, copy: Path) -> None:
    """Give the copy the stored test scores where notebook 06 could not make them: the report shows them."""
    stored, made = (store.load_json(folder, "decisions/ensemble.json") for folder in (out, copy))
    if "test_scores" in stored and "test_scores" not in made:
        store.save_json(copy, "decisions/ensemble.json", made | {"test_scores": stored["test_scores"]})


def check_records(out: Path) -> list[Mismatch]:
    """Scores and times in each ``result.json`` that are not those of its history or its probabilities."""
    found = []
    for run in store.list_runs(out):
        record, name = store.load_json(out, f"runs/{run}/result.json"), f"runs/{run}/result.json"
        if "val_macro_ap" not in record:  # a table of probabilities that was added
            continue
        history = store.load_table(out, f"runs/{run}/history.csv")
        best = history.loc[history["val_macro_ap"].idxmax()]
        follows = {"best_epoch": best["epoch"], "seconds": history["seconds"].sum()}
        follows |= {score: best[score] for score in ("val_loss", "val_macro_ap", "val_macro_f1")}
        labels, probs, _ = store.load_scored(out, run, "val")
        preds = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY)
        scores = {"val_macro_ap": metrics.average_precision(labels, probs).mean()}
        scores["val_macro_f1"] = metrics.macro_f1(labels, preds)
        for key, value in follows.items():
            if not math.isclose(record[key], value, **CLOSE):
                found.append(Mismatch(name, "", key, record[key], float(value)))
            elif key in scores and record["tta"] == 1 and abs(value - scores[key]) > PREDICTED_TWICE:
                found.append(Mismatch(name, "", f"{key} (of probs_val.npz)", record[key], float(scores[key])))
    return found


def compare(out: Path, copy: Path, numbers: Iterable[str]) -> tuple[list[Mismatch], int, int]:
    """What differs between the stored and the recomputed files of some notebooks, and how many values and files."""
    patterns, found, num_values = [pattern for number in numbers for pattern in MADE[number]], [], 0
    files = [path.relative_to(root) for root in (out, copy) for pattern in patterns for path in root.glob(pattern)]
    names = list(dict.fromkeys(file.as_posix() for file in files))
    for name in names:
        stored, made = _read_values(out / name), _read_values(copy / name)
        for row, column in stored if name.endswith(".json") else stored | made:  # newer versions add entries
            pair = stored.get((row, column)), made.get((row, column))
            if not _is_same(*pair):
                found.append(Mismatch(name, row, column, *pair))
        num_values += len(made)
    return found, num_values, len(names)


def find_newer(out: Path, found: Iterable[Mismatch]) -> str:
    """The input of the report that was made after it, where only files of the report differ; else ``""``."""
    page, files = out / "report.html", {Path(mismatch.file) for mismatch in found}
    if not page.is_file() or not all(any(map(file.match, MADE["07"])) for file in files):
        return ""
    inputs = [path for pattern in REPORTED for path in out.glob(pattern)]
    newer = [path for path in inputs if path.stat().st_mtime_ns > page.stat().st_mtime_ns]
    return newer[0].relative_to(out).as_posix() if newer else ""


def _is_same(stored, made) -> bool:
    if stored == made:
        return True
    if isinstance(stored, str) and isinstance(made, str) and NUMBER.fullmatch(stored) and NUMBER.fullmatch(made):
        stored, made = float(stored), float(made)
    if not (isinstance(stored, float) and isinstance(made, float)):
        return False
    return math.isclose(stored, made, **CLOSE) or (math.isnan(stored) and math.isnan(made))


def _read_values(path: Path) -> dict[tuple[str, str], object]:
    """Row and column -> value; of JSON only the column counts, of a text only the line."""
    if not path.is_file():
        return {("", ""): None}
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".json":
        values = [(name, value) for name, value in _flatten(json.loads(text), "") if name != DIGEST]
        values.sort(key=lambda entry: not entry[0].startswith("runs."))  # first what probabilities it was made of
        return {("", name): value for name, value in values}
    lines = VARYING.sub("", text).splitlines()
    if path.suffix != ".csv":
        return {(f"line {number}", ""): line for number, line in enumerate(lines, 1)}
    header, *rows = csv.reader(lines)
    cells = [(number, row) for number, row in enumerate(rows, 2)]
    return {(f"line {number}", name): cell for number, row in cells for name, cell in zip(header, row, strict=False)}


def _flatten(value, name: str) -> Iterator[tuple[str, object]]:
    """Each number and text in nested dictionaries and lists, with its place such as ``thresholds.resnet18.exact.3``."""
    if not isinstance(value, dict | list):
        yield name, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _flatten(inner, f"{name}.{key}" if name else str(key))
