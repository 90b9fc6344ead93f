"""The table Kaggle wants: written in the sample's order, read strictly, checked, and scored where the truth is known.

A submission has the columns ``Id,Predicted``, one row per image, ``Predicted`` such as ``16 0``. Kaggle's scorer goes
by the order of the rows, not by Id: a submission in another order is scored without a word, as nonsense. So everything
here holds the order against ``sample_submission.csv``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, store
from hpa_lib.data import csv_rows, kaggle, splits
from hpa_lib.decisions import bootstrap, metrics

COLUMN = "Predicted"
PUBLIC = 0.29  # the share of the test images that Kaggle's public score of this competition was computed on


def make_table(
    ids: np.ndarray, preds: np.ndarray, sample_ids: np.ndarray, dropped: Sequence[str] = (), fallback: str = ""
) -> pd.DataFrame:
    """The submission, one row per image in the sample's order: columns ``Id`` and ``Predicted``.

    Args:
        ids: str (N,), the images of ``preds``, in any order.
        preds: 0/1 (N, 28).
        sample_ids: str (N,), the order Kaggle wants (``read_ids`` of its ``sample_submission.csv``).
        dropped: the ids of test images that cannot be used, from ``list_dropped``.
        fallback: the label set that they get, such as ``commonest_set``; Kaggle wants a row for every Id.

    Raises:
        ValueError: ids are repeated, missing (and not dropped) or unknown.
    """
    preds = metrics.check_binary(preds, "preds")
    if len(ids) != len(preds):
        raise ValueError(f"{len(ids)} ids for {len(preds)} rows of predictions: give each image one row")
    known = set(ids)
    texts = dict.fromkeys(dropped, fallback) | {
        image_id: atlas.format_target(row) for image_id, row in zip(ids, preds, strict=True)
    }
    given = [*ids, *(image_id for image_id in dropped if image_id not in known)]
    findings = _compare_ids(given, list(sample_ids), "the predictions", "the sample", ordered=False)
    if findings:
        raise ValueError(findings[0])
    return pd.DataFrame({"Id": sample_ids, COLUMN: [texts[image_id] for image_id in sample_ids]})


def write_all(out: Path, data: Path, ids: np.ndarray, files: Mapping[str, np.ndarray], fallback: str) -> list[str]:
    """Write several submissions of the same test images, in the sample's order, and return the ids that were dropped.

    Args:
        out: the folder of the run set.
        data: the data folder, as notebook 00 left it; it holds ``sample_submission.csv``.
        ids, fallback: as in ``make_table``.
        files: file name under ``out`` -> preds 0/1 (N, 28).

    Raises:
        ValueError: the data have changed since notebook 00, or the runs predicted other images.
    """
    description = store.load_json(out, "data/dataset.json")
    kaggle.check_unchanged(data, description)
    sample_ids = read_ids(data / "sample_submission.csv")
    dropped = list_dropped(ids, sample_ids, description["test_images"])
    for name, preds in files.items():
        store.save_table(out, name, make_table(ids, preds, sample_ids, dropped, fallback))
    return dropped


def list_dropped(ids: np.ndarray, sample_ids: np.ndarray, test_images: int) -> list[str]:
    """The ids of the sample that notebook 00 left out (``ON_BAD = "drop"``), in the sample's order.

    Args:
        ids: str (N,), the images that the runs predicted.
        sample_ids: str (M,), from ``read_ids``.
        test_images: how many images notebook 00 kept (``data/dataset.json``).

    Raises:
        ValueError: the runs predicted other images: they were trained before notebook 00 was run again.
    """
    other = np.setdiff1d(ids, sample_ids)
    found = f"{_count(other, 'test image')} that the sample lacks, first {other[0]}" if len(other) else ""
    if len(ids) != test_images:
        found = f"{len(ids)} test images, but notebook 00 found {test_images}"
    if found:
        raise ValueError(
            f"the runs predicted {found}: train them again with START_OVER, or run notebook 00 with the data that they "
            "were trained on"
        )
    return sample_ids[~np.isin(sample_ids, ids)].tolist()


def commonest_set(labels: np.ndarray) -> str:
    """The label set that most images have, as Kaggle writes it, such as ``"0"``; (N, 28) multi-hot in.

    Of several, the one whose labels are the more frequent ones.
    """
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    label_counts = sets @ labels.sum(axis=0) / sets.sum(axis=1).clip(1)
    return atlas.format_target(sets[np.lexsort((label_counts, counts))[-1]])


def read(path: Path, column: str = COLUMN) -> tuple[np.ndarray, np.ndarray]:
    """Ids str (N,) and label sets uint8 (N, 28) of a submission or, with ``column="Target"``, of a truth file.

    Raises:
        ValueError: the first thing wrong with the file: columns, doubled ids, labels outside 0..27 or repeated.
    """
    ids, preds, findings = _read_rows(Path(path), column)
    findings += _compare_ids(ids, ids, Path(path).name, "itself", ordered=False)
    if findings:
        raise ValueError(f"{path}: {findings[0]}")
    return np.array(ids, str), preds


def read_ids(path: Path) -> np.ndarray:
    """The ids of a ``sample_submission.csv``, str (N,), in its order; of equal Ids the first.

    The file only gives the Ids: it is read as ``csv_rows.read_rows`` reads, whatever program saved it.
    """
    rows, _ = csv_rows.read_rows(Path(path), COLUMN)
    return np.array(list(dict.fromkeys(row.id for row in rows if row.id)), str)


def check(submission_path: Path, sample_path: Path) -> list[str]:
    """Everything wrong with a submission, one sentence each; an empty list means that it is ready to be sent.

    Found are: a file that is not such a table, missing, unknown and doubled ids, rows out of the sample's order, labels
    that are not numbers in 0..27 or occur twice in a row, and images without any label.

    Raises:
        ValueError: the sample itself cannot be read.
    """
    _, findings, empty = inspect(submission_path, read_ids(sample_path))
    return findings + empty


def inspect(path: Path, wanted_ids: np.ndarray, wanted_name: str = "the sample") -> tuple[np.ndarray, list, list]:
    """The label sets of a submission with what is wrong, before it is known whether it can be scored.

    Returns:
        Label sets uint8 (N, 28), in the file's order; what keeps it from being scored, one sentence each; and a
        sentence about rows without any label, which can be scored.
    """
    try:
        ids, preds, findings = _read_rows(Path(path), COLUMN)
    except ValueError as error:
        return np.zeros((0, atlas.NUM_LABELS), np.uint8), [str(error)], []
    findings += _compare_ids(ids, list(wanted_ids), "the submission", wanted_name)
    empty = [image_id for image_id, row in zip(ids, preds, strict=True) if not row.any()]
    if empty:
        empty = [f"{_count(empty, 'row')} without any label, first {empty[0]}: every image of this data has one"]
    return preds, findings, empty


def score(submission_path: Path, truth_path: Path, draws: int = 1000, seed: int = 0, public: float = 0.0) -> dict:
    """What Kaggle would give: macro F1, here with its interval and its parts.

    Args:
        submission_path: ``Id,Predicted``.
        truth_path: ``Id,Target``, the same ids in the same order.
        draws, seed: of the bootstrap; ``seed`` also of the public part.
        public: share of the images in a public part, such as ``PUBLIC``; the others are the private part. Each label
            is spread evenly over both, and every submission is scored on the same two. 0: no parts.

    Returns:
        ``macro_f1``, ``low``, ``high``, ``macro_f1_present``, ``micro_f1``, ``sample_f1``, ``num_images``,
        ``num_empty``, ``f1_per_class`` (28 numbers) and ``absent`` (the class numbers without positives); with a public
        part also ``public`` and ``private``, each with the first seven.

    Raises:
        ValueError: a file cannot be read, or the rows are other images or in another order.
    """
    ids, preds = read(submission_path)
    truth_ids, labels = read(truth_path, column="Target")
    findings = _compare_ids(list(ids), list(truth_ids), "the submission", "the truth")
    if findings:
        raise ValueError(f"{submission_path}: {findings[0]}")
    scores = _summarize(labels, preds, draws, seed) | {
        "num_empty": int((~preds.any(axis=1)).sum()),
        "f1_per_class": metrics.f1_per_class(labels, preds).tolist(),
        "absent": np.flatnonzero(~labels.any(axis=0)).tolist(),
    }
    if public:
        is_public = splits.make_holdout(labels, np.arange(len(labels)), public, seed)
        for name, rows in (("public", is_public), ("private", ~is_public)):
            scores[name] = _summarize(labels[rows], preds[rows], draws, seed)
    return scores


def _summarize(labels: np.ndarray, preds: np.ndarray, draws: int, seed: int) -> dict:
    interval = bootstrap.interval(labels, preds, draws=draws, seed=seed)
    scores = {"low": interval["low"], "high": interval["high"], "num_images": len(labels)}
    return metrics.summarize(labels, preds) | scores


def score_table(scores: Mapping[str, dict]) -> pd.DataFrame:
    """What ``score`` gave of several submissions, one row each.

    Columns: submission, macro_f1, low, high, num_images, and the same of the two parts: ``public macro_f1``, ...
    """
    names = ("macro_f1", "low", "high", "num_images")
    columns = [part + name for part in ("", "public ", "private ") for name in names]
    table = pd.json_normalize(list(scores.values()), sep=" ").reindex(columns=columns)
    return table.assign(submission=list(scores))[["submission", *columns]]


def _read_rows(path: Path, column: str) -> tuple[list[str], np.ndarray, list[str]]:
    """Ids, multi-hot rows and findings (lines that are no Id and label set) of a two-column file.

    Raises:
        ValueError: it is not there, not text, or has other columns.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there: give the path of a CSV file with the columns Id,{column}")
    rows, traits = csv_rows.read_rows(path, column, strict=True)
    wrong = sorted([line for line, _, _ in traits.ragged] + [row.line for row in rows if not row.id.strip()])
    findings = [f"{_count(wrong, 'line')} not of the form Id,{column}, first line {wrong[0]}"] if wrong else []
    rows, errors = [row for row in rows if row.id.strip()], []
    preds = np.ones((len(rows), atlas.NUM_LABELS), np.uint8)  # what cannot be read is not empty
    for row, pred in zip(rows, preds, strict=True):
        try:
            pred[:] = atlas.parse_target(row.text)
        except ValueError as error:
            errors.append(f"{row.id}: {error}")
    if errors:
        findings.append(f"{_count(errors, 'row')} with labels that cannot be read, first {errors[0]}")
    return [row.id for row in rows], preds, findings


def _compare_ids(ids: list[str], wanted: list[str], name: str, wanted_name: str, ordered: bool = True) -> list[str]:
    """Sentences about doubled, missing, unknown and, when all of that is in order, misplaced ids."""
    found, expected = pd.Index(ids), pd.Index(wanted)
    problems = (
        (found[found.duplicated()], "repeated Id", f"in {name}"),
        (expected[~expected.isin(found)], "image", f"of {wanted_name} missing in {name}"),
        (found[~found.isin(expected)], "image", f"of {name} not in {wanted_name}"),
    )
    findings = [f"{_count(wrong, noun)} {where}, first {wrong[0]}" for wrong, noun, where in problems if len(wrong)]
    if ordered and not findings and ids != wanted:
        row = next(row for row, image_id in enumerate(wanted) if ids[row] != image_id)
        findings.append(
            f"the rows of {name} are in another order than {wanted_name}'s, first at row {row + 1} ({ids[row]} where "
            f"{wanted[row]} belongs): Kaggle compares row by row, so this would be scored as nonsense"
        )
    return findings


def _count(items, noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
