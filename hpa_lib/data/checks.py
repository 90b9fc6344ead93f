"""Everything that is wrong with a data folder in one table, and what can still be used of it."""

import contextlib
import functools
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib.data import csv_rows, image_files, kaggle, layout, parallel
from hpa_lib.data.kaggle import Finding

CHUNK = 64  # images that a process looks at, at once
WORTH_A_PROCESS = 500  # images; fewer are read before another process has started
MOST_ALIKE = 3  # findings that differ in their file only and still get a line each


def check(
    folder: str | Path, size: int = 0, quick: bool = False, workers: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """All that is wrong with a data folder, one row per finding; an empty table where all is well.

    Every PNG is decoded, by the function that the cache reads with, so what passes here can be cached. That takes about
    as long as building the cache. More than three findings of one kind are one row.

    Args:
        folder: a data folder in Kaggle's layout.
        size: pixels per side that every image must have at least, as for a cache of that size; 0 takes any.
        quick: read the headers of the PNGs only: damage further down and blank images are not found.
        workers: processes; by default one per core.
        progress: show a bar.

    Returns:
        Text columns ``file``, ``problem``, ``remedy``; ``severity``: ``stop`` (nothing can be done with the folder),
        ``error`` (that row or image cannot be used) or ``note`` (still used, in the way the remedy says);
        ``part``: ``train`` or ``test``; ``drop_id``: the Ids that ``select(..., "drop")`` leaves out for it, separated
        by blanks.
    """
    folder = Path(folder)
    findings, ids_of = _check_tables(folder)
    absent = kaggle.list_absent_channels(folder)
    if absent:
        remedy = "CHANNELS = 'rgb' works, 'rgby' and 'rgb_merge' need these files; the cache holds zeros in their place"
        findings.append(Finding("train/, test/", f"no {absent[0]} files", remedy, "note", "train"))
    look = functools.partial(_check_chunk, folder, size, absent, quick)
    for part, ids in ids_of.items():
        findings += _check_part(folder, part, ids, look, workers, progress) if ids else []
    return pd.DataFrame(_merge_alike(findings), columns=Finding._fields, dtype=str)


def select(folder: str | Path, findings: pd.DataFrame, on_bad: str = "strict") -> tuple:
    """What can be used of a checked folder.

    Args:
        folder, findings: what ``check`` looked at, and its table.
        on_bad: ``"strict"`` stops at any error; ``"drop"`` leaves out the rows and images with errors.

    Returns:
        ids str (N,), labels uint8 (N, 28), test_ids str (M,) (empty where there is no sample_submission.csv or no test
        image).

    Raises:
        ValueError: there are errors and ``on_bad`` is strict, or nothing usable is left.
    """
    folder = Path(folder)
    bad = findings[findings["severity"].isin(["stop"] if on_bad == "drop" else ["stop", "error"])]
    if len(bad):
        rest = f" ({len(bad) - 1} more findings: see `hpa check`; ON_BAD = 'drop' goes on without the bad ones)"
        raise ValueError(f"{kaggle.make_sentence(folder, bad.iloc[0])}{rest if len(bad) > 1 else ''}")
    ids, labels = kaggle.read_labels(folder / "train.csv", on_bad)
    test_table = folder / "sample_submission.csv"
    has_test = csv_rows.is_there(test_table) and _has_images(folder, "test")
    test_ids = kaggle.read_sample_submission(test_table, on_bad) if has_test else np.array([], str)
    dropped = dropped_ids(findings, on_bad)
    keep = ~np.isin(ids, dropped["train"])
    if not keep.any():
        raise ValueError(f"{folder}: none of its {len(ids)} labelled images can be used: see the table of findings")
    return ids[keep], labels[keep], test_ids[~np.isin(test_ids, dropped["test"])]


def dropped_ids(findings: pd.DataFrame, on_bad: str) -> dict[str, list[str]]:
    """The Ids of each part whose images ``select`` leaves out, sorted: ``{"train": [...], "test": [...]}``."""
    errors = findings[(findings["severity"] == "error") & (on_bad == "drop")]
    ids_of = errors.groupby("part")["drop_id"].agg(" ".join)
    return {part: sorted(set(ids_of.get(part, "").split())) for part in kaggle.TABLES}


def _merge_alike(findings: list[Finding]) -> list[Finding]:
    """One finding in place of many that differ only in their file and in numbers and quoted texts of their problem.

    It has the first problem, the first three files and how many there are.
    """
    alike, kinds = defaultdict(list), []
    for finding in findings:
        kind = finding._replace(file="", problem=re.sub(r"'[^']*'|\d+", "", finding.problem), drop_id="")
        alike[kind].append(finding)
        kinds.append(kind)
    merged = []
    for finding, kind in zip(findings, kinds, strict=True):
        group = alike[kind]
        if len(group) <= MOST_ALIKE:
            merged.append(finding)
        elif finding is group[0]:
            files = f"{', '.join(member.file for member in group[:MOST_ALIKE])} ({len(group):,} in all)"
            dropped = " ".join(dict.fromkeys(member.drop_id for member in group)).strip()
            others = " (the others likewise)" if len({member.problem for member in group}) > 1 else ""
            merged.append(finding._replace(file=files, problem=finding.problem + others, drop_id=dropped))
    return merged


def _check_tables(folder: Path) -> tuple[list[Finding], dict[str, list[str]]]:
    """Findings about the tables, and the Ids of the good rows of each part."""
    findings, ids_of = [], {"train": [], "test": []}
    for part, (name, _) in kaggle.TABLES.items():
        path = folder / name
        if csv_rows.is_there(path):
            ids_of[part] = [row.id for row in _scan(path, part, findings, kaggle.scan, part)]
            continue
        usual = f"point DATA at the folder that holds {name}" if part == "train" else kaggle.NO_SUBMISSION
        found, remedy = layout.find_elsewhere(folder, name) or ("", usual)
        problem = f"is not there, but {found}" if found else "is not there"
        findings.append(Finding(name, problem, remedy, "stop" if part == "train" else "note", part))
    if csv_rows.is_there(folder / kaggle.GROUPS):
        _scan(folder / kaggle.GROUPS, "train", findings, kaggle.scan_groups, ids_of["train"])
    for image_id in sorted(set(ids_of["train"]) & set(ids_of["test"])):
        problem = "is in sample_submission.csv too"
        remedy = "a test image must not be trained on: take its row out of train.csv"
        findings.append(Finding(f"train.csv Id {image_id}", problem, remedy, part="train", drop_id=image_id))
    if ids_of["test"] != sorted(ids_of["test"]):
        remedy = "nothing to do: submission.csv keeps this order, which the scorer goes by"
        findings.append(Finding("sample_submission.csv", "is not sorted by Id", remedy, "note", "test"))
    return findings, ids_of


def _scan(path: Path, part: str, findings: list[Finding], reader, *arguments):
    """What ``reader`` reads from a table; adds what it finds, and for an unreadable table the finding that stops."""
    try:
        content, found = reader(path, *arguments)
    except ValueError as error:
        problem, remedy = str(error).removeprefix(str(path)).strip(" :").rsplit(": ", 1)
        findings.append(Finding(path.name, problem, remedy, "stop", part))
        return []
    findings += found
    return content


def _has_images(folder: Path, part: str) -> bool:
    """Is there any channel file, or anything that takes the place of channel files?"""
    files = kaggle.list_files(folder / part)
    return any(name.endswith(".png") for name in files) or layout.explain_part(folder, part) is not None


def _check_part(folder: Path, part: str, ids: list[str], look, workers: int | None, progress: bool) -> list[Finding]:
    """Findings about the files of one part."""
    files = kaggle.list_files(folder / part)
    wanted = {path.name for image_id in ids for path in kaggle.channel_paths("", part, image_id)}
    if wanted.isdisjoint(files):
        return [_explain_nothing(folder, part, ids)]
    chunks = [(part, ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]
    workers = min(workers or parallel.count_cores(), 1 + len(ids) // WORTH_A_PROCESS)
    findings, shapes = [], {}
    bar = parallel.bar(total=len(ids), desc=f"check {part}", unit="image", show=progress)
    with contextlib.closing(parallel.run(look, chunks, workers)) as results, bar:
        for chunk_findings, chunk_shapes in results:
            findings += chunk_findings
            shapes |= chunk_shapes
            bar.update(len(chunk_shapes))
    return findings + _shape_findings(part, shapes) + _stray_findings(part, files, wanted)


def _check_chunk(folder: Path, size: int, absent: list[str], quick: bool, chunk: tuple) -> tuple[list[Finding], dict]:
    """Findings about some images, and the shape of each (None where its files do not agree)."""
    part, ids = chunk
    findings, shapes = [], {}
    for image_id in ids:
        _, shapes[image_id], found = image_files.inspect_image(folder, part, image_id, size, absent, quick)
        findings += found
    return findings, shapes


def _explain_nothing(folder: Path, part: str, ids: list[str]) -> Finding:
    """The finding about a part without any of the files that its table asks for."""
    problem = f"none of its {len(ids):,} images is there ({ids[0]}_green.png and so on)"
    remedy = "unpack the archive there, or work on the label table alone (notebook 01)"
    if part == "test" and not _has_images(folder, part):
        return Finding("test/", problem, kaggle.NO_SUBMISSION, "note", part)
    found = layout.explain_part(folder, part)
    if found:
        problem, remedy = f"{problem}, but {found[0]}", found[1]
    severity, dropped = ("stop", "") if part == "train" else ("error", " ".join(ids))
    return Finding(f"{part}/", problem, remedy, severity, part, dropped)


def _shape_findings(part: str, shapes: dict) -> list[Finding]:
    """One note about all square images of another size than most."""
    counts = Counter(shape for shape in shapes.values() if shape and shape[0] == shape[1])
    (usual, _), *others = counts.most_common() or [((0, 0), 0)]
    if not others:
        return []
    number = sum(count for _, count in others)
    sides = kaggle.shorten([f"{count:,} of {width} x {height}" for (width, height), count in others])
    first = kaggle.shorten([name for name, shape in shapes.items() if shape in dict(others)])
    problem = f"{number:,} images are not {usual[0]} x {usual[1]} pixels as most are, but {sides} ({first})"
    remedy = "resized like the others, but a pixel is another length in the cell: leave them out, or check the scale"
    return [Finding(f"{part}/", problem, remedy, "note", part)]


def _stray_findings(part: str, files: dict[str, int], wanted: set[str]) -> list[Finding]:
    stray = sorted(name for name, size in files.items() if size >= 0 and name not in wanted)
    if not stray:
        return []
    problem = f"{len(stray):,} files belong to no good row of {kaggle.TABLES[part][0]}: {kaggle.shorten(stray)}"
    return [Finding(f"{part}/", problem, "nothing to do: left alone", "note", part)]
