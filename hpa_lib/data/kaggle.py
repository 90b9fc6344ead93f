"""Read a folder in Kaggle's layout: two tables, and four PNGs for each Id.

::

    train.csv               Id,Target       "16 0" = the classes seen in that field
    sample_submission.csv   Id,Predicted    the order that a submission must keep
    train/<Id>_red.png ...  one 8-bit grey file for each channel; test/ likewise
    groups.csv              Id,group        optional: images that a split must keep together

The readers stop at the first bad row; ``checks`` gathers all that is wrong with a folder in one table.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpa_lib import atlas
from hpa_lib.data import csv_rows

TABLES = {"train": ("train.csv", "Target"), "test": ("sample_submission.csv", "Predicted")}
GROUPS = "groups.csv"
GOOD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # no blank, no "/", no leading dot: safe as a file name
NO_SUBMISSION = "training works; no submission can be made"
OPTIONAL = "yellow"  # the channel that a data set may lack altogether; CHANNELS = 'rgb' does without


class Finding(NamedTuple):
    """One row of the table of findings; ``checks.check`` says what its columns mean."""

    file: str
    problem: str
    remedy: str
    severity: str = "error"
    part: str = ""
    drop_id: str = ""


def read_labels(path: str | Path, on_bad: str = "strict") -> tuple[np.ndarray, np.ndarray]:
    """The Ids str (N,) and the label sets uint8 (N, 28) of ``train.csv``, in the file's order.

    What ``csv_rows.read_rows`` takes (a byte-order mark, semicolons, a header in lower case, ...) does no harm.

    Args:
        path: the CSV file, with the columns ``Id`` and ``Target``.
        on_bad: ``"strict"`` stops at the first bad row; ``"drop"`` leaves bad rows out.

    Raises:
        ValueError: the file, the line, what is wrong and what to do, in one sentence.
    """
    rows, findings = scan(Path(path), "train")
    _stop_at_first(Path(path).parent, findings, on_bad)
    labels = [atlas.parse_target(row.text) for row in rows]
    return np.array([row.id for row in rows], str), np.array(labels, np.uint8).reshape(-1, atlas.NUM_LABELS)


def read_sample_submission(path: str | Path, on_bad: str = "strict") -> np.ndarray:
    """The test Ids str (M,) of ``sample_submission.csv`` in the file's order, which the scorer goes by.

    Args and Raises: as ``read_labels``; the column ``Predicted`` must be there, its texts are not looked at.
    """
    rows, findings = scan(Path(path), "test")
    _stop_at_first(Path(path).parent, findings, on_bad)
    return np.array([row.id for row in rows], str)


def read_groups(path: str | Path, ids: Iterable[str]) -> np.ndarray:
    """The group of each Id as a number, int (N,), from a table with the columns ``Id`` and ``group``.

    An Id whose cell is blank gets a number for itself alone, and so does every Id where there is no such file.

    Raises:
        ValueError: an Id has no row, or two groups.
    """
    ids, path = list(ids), Path(path)
    if not csv_rows.is_there(path):
        return np.arange(len(ids))
    group_of, findings = scan_groups(path, ids)
    _stop_at_first(path.parent, [finding for finding in findings if finding.drop_id], "strict")
    texts = np.array([group_of[image_id] for image_id in ids], str)
    groups = np.unique(texts, return_inverse=True)[1]
    alone = texts == ""
    groups[alone] = len(ids) + np.arange(alone.sum())
    return groups


def scan_groups(path: Path, ids: list[str]) -> tuple[dict[str, str], list[Finding]]:
    """The text of the group of each Id that has just one (``""`` for a blank cell), and findings about the table.

    A ValueError where the file cannot be read as such a table.
    """
    rows, traits = csv_rows.read_rows(path, "group")
    findings = _trait_findings(path.name, "train", traits)
    texts = defaultdict(set)
    for row in rows:
        texts[row.id].add(row.text.strip())
    for image_id in ids:
        if len(texts[image_id]) != 1:
            problem, remedy = "is in two groups", "keep one of its rows"
            if not texts[image_id]:
                problem, remedy = "has no row", "add a row for the image, or delete the file"
            findings.append(Finding(f"{path.name} Id {image_id}", problem, remedy, part="train", drop_id=image_id))
    group_of = {image_id: next(iter(texts[image_id])) for image_id in ids if len(texts[image_id]) == 1}
    blank = [image_id for image_id, text in group_of.items() if not text]
    if blank:
        problem = f"the group is blank for {shorten(blank)}"
        remedy = "nothing to do: each of these images is a group of its own"
        findings.append(Finding(path.name, problem, remedy, "note", "train"))
    return group_of, findings


def scan(path: Path, part: str) -> tuple[list[csv_rows.Row], list[Finding]]:
    """The good rows of a table and the findings about it; of equal repeated rows the first is good."""
    rows, traits = csv_rows.read_rows(path, TABLES[part][1])
    findings = _trait_findings(path.name, part, traits)
    if not rows and not traits.ragged:
        problem = "holds no row under its header"
        if part == "train":
            raise ValueError(f"{path} {problem}: download it again")
        findings.append(Finding(path.name, problem, NO_SUBMISSION, "note", part))
    lines, targets = defaultdict(list), defaultdict(set)
    for row in rows:
        lines[row.id].append(row.line)
        targets[row.id].add(frozenset(row.text.split()) if part == "train" else "")
    good = []
    for row in rows:
        problem = _row_problem(row, part, lines[row.id], len(targets[row.id]) > 1)
        if problem:
            findings.append(Finding(f"{path.name} line {row.line} (Id {row.id[:100]!r})", *problem, part=part))
        else:
            good.append(row)
    return good, findings


def _row_problem(row: csv_rows.Row, part: str, lines: list[int], has_conflict: bool) -> tuple[str, str] | None:
    """Problem and remedy of one row, or None; ``lines``: all those with its Id."""
    if not GOOD_ID.fullmatch(row.id):
        return "the Id is malformed", "use letters, digits, '-', '_' and '.' only, as in a file name"
    if part == "train":
        if not row.text.strip():
            return "the Target is empty", "write its class numbers, or take the row out"
        try:
            atlas.parse_target(row.text)
        except ValueError as error:
            return tuple(str(error).rsplit(": ", 1))
        if has_conflict:
            problem = f"has different Targets on lines {shorten(lines)}"
            return problem, "find out which is true and keep that one"
    if row.line != lines[0]:
        return "repeats the Id of an earlier line", "keep one of the rows"
    return None


def _trait_findings(name: str, part: str, traits: csv_rows.Traits) -> list[Finding]:
    findings = []
    for line, found, wanted in traits.ragged:
        problem = f"has {found} cells where the header has {wanted}"
        findings.append(Finding(f"{name} line {line}", problem, "quote a cell that holds a comma", part=part))
    return findings + [Finding(name, note, "nothing to do: read all the same", "note", part) for note in traits.notes]


def _stop_at_first(folder: Path, findings: list[Finding], on_bad: str) -> None:
    if on_bad not in ("strict", "drop"):
        raise ValueError(f"on_bad {on_bad!r}: use 'strict' or 'drop'")
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors and on_bad == "strict":
        raise ValueError(make_sentence(folder, errors[0]))


def make_sentence(folder: str | Path, finding: Finding) -> str:
    """A finding as the sentence of an error."""
    return f"{folder}/{finding.file}: {finding.problem}: {finding.remedy}"


def shorten(items: list) -> str:
    """The first few of a list and how many follow: ``a, b, c and 5 more``."""
    rest = f" and {len(items) - 3:,} more" if len(items) > 3 else ""
    return ", ".join(map(str, items[:3])) + rest


def channel_paths(folder: str | Path, part: str, image_id: str) -> list[Path]:
    """The four files of one image, in the order red, green, blue, yellow."""
    return [Path(folder) / part / f"{image_id}_{channel}.png" for channel in atlas.CHANNELS]


def list_absent_channels(folder: str | Path, parts: Iterable[str] = tuple(TABLES)) -> list[str]:
    """The channels that a data set lacks altogether: ``["yellow"]`` where there are green files but no yellow one."""
    ends = {name.rpartition("_")[2] for part in parts for name in list_files(Path(folder) / part)}
    return [OPTIONAL] if "green.png" in ends and f"{OPTIONAL}.png" not in ends else []


def check_channels(description: dict, channels: str) -> None:
    """Refuse a channel mode (``"rgby"``, ...) that uses yellow where ``data/dataset.json`` says that there is none."""
    absent = description.get("channels_missing", [])
    if absent and channels != "rgb":
        raise ValueError(
            f"CHANNELS = {channels!r} uses {', '.join(absent)}, which this data lacks: set CHANNELS = 'rgb'"
        )


def check_unchanged(folder: str | Path, description: dict) -> None:
    """Refuse a data folder that is not as notebook 00 described it in ``data/dataset.json``.

    Raises:
        ValueError: it is not there, or its tables, or the names or lengths of its images, have changed.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"the data folder {folder} is not there: set DATA to where it is now")
    if fingerprint(folder) != description["data_hash"]:
        raise ValueError(f"the data in {folder} has changed since notebook 00 read it: run 00_data.ipynb again")


def fingerprint(folder: str | Path) -> str:
    """Sixteen hex digits that change with the tables' content or any image's name or length (not with its date)."""
    digest = hashlib.sha256()
    for name in ("train.csv", "sample_submission.csv", GROUPS):
        path = csv_rows.find(Path(folder) / name)
        digest.update(path.read_bytes() if path.is_file() else b"absent")
    for part in TABLES:
        for name, size in sorted(list_files(Path(folder) / part).items()):
            digest.update(f"{part}/{name} {size}\n".encode())
    return digest.hexdigest()[:16]


def list_files(folder: Path) -> dict[str, int]:
    """Name -> bytes of every visible file in a folder, which need not exist; -1 for a link that leads nowhere."""
    if not folder.is_dir():
        return {}
    sizes = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                sizes[entry.name] = entry.stat().st_size
            except OSError:
                sizes[entry.name] = -1
    return {name: size for name, size in sizes.items() if not name.startswith(".")}
