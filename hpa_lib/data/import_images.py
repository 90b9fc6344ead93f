"""A folder of a researcher's own images -> Kaggle's layout, which all else reads.

What cannot be read for certain is a row of ``import_findings.csv``, and its image is left out. 16-bit values become
8-bit ones by a range that is stated for the whole data set, never by each image's darkest and brightest pixel: how
bright the protein is tells labels apart, and an empty channel would become a bright picture of its noise.
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from hpa_lib import atlas, locks, store
from hpa_lib.data import csv_rows, image_files, kaggle, layout, parallel
from hpa_lib.data.kaggle import Finding

RECORD, FINDINGS = "import.json", "import_findings.csv"
FULL = (0, 65535)  # 16-bit values
SHARES = (0.001, 0.999)  # scale "data": of all pixels of a channel, those below become 0, those above 255
TWELVE_BITS = 4095
CHUNK, WORTH_A_PROCESS = 16, 100  # images: given to a process at once; fewer are done before another has started


class Job(NamedTuple):
    """One image: its part (``train`` or ``test``) and its file for each channel."""

    part: str
    id: str
    files: dict[str, Path]
    is_colour: bool  # one and the same colour file for all channels


class Result(NamedTuple):
    """What an import came to."""

    train: int  # images with labels
    test: int  # images without
    written: int  # of both, in this call
    findings: pd.DataFrame  # columns file, problem, remedy
    notes: list[str]


def import_folder(
    source: Path,
    out: Path,
    pattern: str = layout.PATTERN,
    channels: str = "",
    scale: str = "full",
    crop: bool = False,
    labels: Path | None = None,
    label_column: str = "Location",
    group_column: str = "",
    strict: bool = False,
    progress: bool = True,
) -> Result:
    """Write a folder of images as ``out`` in Kaggle's layout: those with labels as training part, the others as test.

    A second call writes only what is missing and what changed in ``source`` (files with another date).

    Args:
        source: the folder of PNG, TIFF or JPEG files.
        out: a new folder, or one that was imported with the same settings.
        pattern: of the file names, with ``{id}``, ``{channel}`` and ``*`` for anything; with ``/`` also of folders.
            Without ``{channel}`` each file is a colour image: red, green, blue, no yellow.
        channels: what the files call them, such as ``"red=w1,green=w2,blue=w3"``; by default by their colours.
        scale: how 16-bit values become 8-bit ones: ``"full"`` (65535 becomes 255), ``"data"`` (a range per channel,
            by percentiles over all images) or ``"LOW:HIGH"`` in grey values; several separated by commas are for red,
            green, blue, yellow. 8-bit files stay as they are.
        crop: keep the middle square of images that are not square, in place of refusing them.
        labels: a table with the columns ``Id`` and ``label_column``, as ``atlas.parse_locations`` reads it; an image
            without a row, or with a blank cell, has no labels.
        group_column: the column of the table that becomes ``groups.csv``.
        strict: with any finding, write no table but that of the findings.

    Raises:
        ValueError: nothing can be imported, or ``out`` is no place for it.
    """
    source, out = Path(source), Path(out)
    _check_place(source, out)
    images, findings, notes = layout.find_images(source, pattern, layout.read_channel_names(channels))
    known = images.keys() | {finding.drop_id for finding in findings}  # an incomplete image has its finding already
    targets, groups, found = read_label_table(labels, label_column, group_column, known) if labels else ({}, {}, [])
    jobs = [
        Job("train" if image_id in targets else "test", image_id, files, "{channel}" not in pattern)
        for image_id, files in images.items()
        if targets.get(image_id) != ""  # its row cannot be used
    ]
    ranges = _find_ranges(scale, jobs, progress)
    lacking = sorted({channel for job in jobs for channel in job.files} - ranges.keys())
    if lacking:
        raise ValueError(
            f"scale {scale!r} has no range for {lacking[0]}: give each channel one; data is for 16-bit files"
        )
    stated = ",".join(f"{low}:{high}" for low, high in ranges.values())
    settings = {"source": str(source.resolve()), "pattern": pattern, "channels": channels, "crop": crop}
    _claim(out, settings | {"scale": stated})
    with locks.lock(out / ".import.lock", f"the folder {out}"):
        for half in out.glob("*/.*.part.*"):  # of a killed import
            half.unlink()
        changed = [job for job in jobs if not _is_current(out, job)]
        task = functools.partial(_convert_chunk, source, out, crop, ranges)
        results = list(_go_through(task, changed, "import", progress))
        findings += found + [finding for chunk, _ in results for finding in chunk]
        table = pd.DataFrame(list(dict.fromkeys(findings)), columns=Finding._fields)[["file", "problem", "remedy"]]
        store.save_table(out, FINDINGS, table)
        bad = {finding.drop_id for finding in findings}
        good = [] if strict and findings else [job for job in jobs if job.id not in bad]
        parts = _write_tables(out, good, targets, groups)
    peak = max((brightest for _, brightest in results), default=0)
    if scale == "data":
        notes.append(f"for images that come later: --scale {stated}")
    if scale == "full" and 0 < peak <= TWELVE_BITS:
        notes.append(
            f"ALL IS DARK: the brightest 16-bit value is {peak}; import into a new folder with --scale 0:{TWELVE_BITS}"
        )
    written = sum(job.id not in bad for job in changed)
    return Result(parts["train"], parts["test"], written, table, notes)


def _check_place(source: Path, out: Path) -> None:
    """Refuse, with a ValueError, an ``out`` that must not be written to."""
    here, there = source.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ValueError(f"{out} and {source} are one folder, or one is inside the other: write to another place")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give a new folder")
    names = sorted(entry.name for entry in out.iterdir() if entry.name[0] != ".") if out.exists() else []
    if names and RECORD not in names:
        raise ValueError(f"{out} is not empty (it holds {names[0]}): give a new folder")


def _claim(out: Path, settings: dict) -> None:
    """Make ``out`` the folder of an import with these settings; a ValueError where it has others."""
    known = store.load_json(out, RECORD) if (out / RECORD).exists() else settings
    other = [f"{name} {known.get(name)!r}" for name, value in settings.items() if known.get(name) != value]
    if other:
        raise ValueError(f"{out} was imported with {', '.join(other)}: import with that, or into a new folder")
    store.save_json(out, RECORD, settings)


def read_label_table(
    path: Path, column: str, group_column: str, ids: Iterable[str]
) -> tuple[dict, dict, list[Finding]]:
    """Id -> Target of each labelled image (``""`` where its row cannot be used), Id -> group, and findings.

    Raises:
        ValueError: the file is not there, or no table with these columns.
    """
    path = Path(path)
    if not csv_rows.is_there(path):
        raise ValueError(f"{path} is not there: name the table of the labels")
    try:
        rows, traits = csv_rows.read_rows(path, column)
    except ValueError as error:
        remedy = "name the column of the labels with --label-column"
        is_other = f"no column {column!r}" in str(error)
        raise ValueError(str(error).replace(f"it must be Id,{column}", remedy) if is_other else error) from None
    problem = "has more or fewer cells than the header"
    findings = [Finding(f"{path.name} line {line}", problem, "quote a cell with commas") for line, *_ in traits.ragged]
    targets = {}
    for line, image_id, text in rows:
        problem, target = None, ""
        try:
            target = atlas.format_target(atlas.parse_locations(text))
        except ValueError as error:
            problem = str(error).rsplit(": ", 1)
        if image_id not in ids:
            problem = "no image has this Id", "correct the Id or the pattern, or take the row out"
        elif targets.get(image_id, target) != target:
            problem = "an earlier row of this Id has other labels", "find out which is true and keep that one"
        if problem:
            findings.append(Finding(f"{path.name} line {line} (Id {image_id!r})", *problem))
        if problem or target:
            targets[image_id] = "" if problem else target
    groups = csv_rows.read_rows(path, group_column)[0] if group_column else []
    return targets, {image_id: text.strip() for _, image_id, text in groups}, findings


def _find_ranges(scale: str, jobs: list[Job], progress: bool) -> dict[str, tuple[int, int]]:
    """Channel -> the 16-bit values that become 0 and 255."""
    if scale == "data":
        return _measure_ranges(jobs, progress)
    found = [re.fullmatch(r"(\d{1,5}):(\d{1,5})", part) for part in scale.replace(" ", "").split(",")]
    ranges = [FULL] if scale == "full" else [(int(part[1]), int(part[2])) for part in found if part]
    if (
        len(ranges) < len(found)
        or len(found) not in (1, 3, 4)
        or not all(low < high <= FULL[1] for low, high in ranges)
    ):
        raise ValueError(
            f"scale {scale!r}: use full, data, or LOW:HIGH in grey values to 65535, for all channels or each"
        )
    return dict(zip(atlas.CHANNELS, ranges * (4 if len(ranges) == 1 else 1), strict=False))


def _measure_ranges(jobs: list[Job], progress: bool) -> dict[str, tuple[int, int]]:
    """The ranges of the scale "data", from the exact counts of all 16-bit values of each channel."""
    counts, ranges = np.zeros((len(atlas.CHANNELS), 65536), int), {}
    for chunk_counts in _go_through(_count_chunk, jobs, "measure", progress):
        counts += chunk_counts
    for channel, count in zip(atlas.CHANNELS, counts, strict=True):
        if count.any():
            low, high = np.searchsorted(np.cumsum(count) / count.sum(), SHARES)
            ranges[channel] = (int(low), max(int(high), int(low) + 1))
    return ranges


def _count_chunk(jobs: list[Job]) -> np.ndarray:
    """How often each 16-bit value occurs in each channel, int (4, 65536); bad files are found at their conversion."""
    counts = np.zeros((len(atlas.CHANNELS), 65536), int)
    for job in jobs:
        for channel, path in job.files.items():
            with contextlib.suppress(OSError, ValueError):
                pixels = image_files.read_foreign(path, channel if job.is_colour else "")
                if pixels.dtype == np.uint16:
                    counts[atlas.CHANNELS.index(channel)] += np.bincount(pixels.ravel(), minlength=65536)
    return counts


def _go_through(task: Callable, jobs: list[Job], title: str, progress: bool) -> Iterator:
    """``task``'s results for chunks of the jobs, in order, with a bar."""
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    workers = min(parallel.count_cores(), 1 + len(jobs) // WORTH_A_PROCESS)
    bar = parallel.bar(total=len(jobs), desc=title, unit="image", show=progress)
    with contextlib.closing(parallel.run(task, chunks, workers)) as results, bar:
        for chunk, result in zip(chunks, results, strict=True):
            bar.update(len(chunk))
            yield result


def _target(out: Path, part: str, image_id: str, channel: str) -> Path:
    return kaggle.channel_paths(out, part, image_id)[atlas.CHANNELS.index(channel)]


def _is_current(out: Path, job: Job) -> bool:
    """True when each channel is there and has its source's date, which ``_write`` gave it (compared in ms)."""
    with contextlib.suppress(FileNotFoundError):
        pairs = [(path.stat(), _target(out, job.part, job.id, channel).stat()) for channel, path in job.files.items()]
        return all(source.st_mtime_ns // 10**6 == target.st_mtime_ns // 10**6 for source, target in pairs)
    return False


def _convert_chunk(source: Path, out: Path, crop: bool, ranges: dict, jobs: list[Job]) -> tuple[list[Finding], int]:
    """Findings about some images, and their brightest 16-bit value; images without findings are written."""
    found, peak = [], 0
    for job in jobs:
        planes, findings = {}, []
        for channel, path in job.files.items():
            name = path.relative_to(source).as_posix()
            try:
                plane = image_files.read_foreign(path, channel if job.is_colour else "")
                peak = max(peak, int(plane.max()) if plane.dtype == np.uint16 else 0)
                planes[channel] = _scale(plane, ranges[channel])
            except (OSError, ValueError) as error:
                text = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
                problem, _, remedy = text.partition(": ")
                findings.append(Finding(name, problem, remedy or "copy or export it again", drop_id=job.id))
        if not findings and (problem := _explain_shapes(planes, crop)):
            findings.append(Finding(name, *problem, drop_id=job.id))
        for part in atlas.IMAGE_FOLDERS if findings else set(atlas.IMAGE_FOLDERS) - {job.part}:
            for path in kaggle.channel_paths(out, part, job.id):  # written when it was good, or in the other part
                path.unlink(missing_ok=True)
        if not findings:
            _write(out, job, planes)
        found += findings
    return found, peak


def _scale(plane: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    """A plane as uint8; ``limits``: the 16-bit values that become 0 and 255."""
    if plane.dtype == np.uint8:
        if limits != FULL:
            raise ValueError("has 8 bits, and the scale is in 16-bit values: export all files alike")
        return plane
    low, high = limits
    return np.rint(np.clip((np.arange(65536) - low) / (high - low), 0, 1) * 255).astype(np.uint8)[plane]


def _explain_shapes(planes: dict[str, np.ndarray], crop: bool) -> tuple[str, str] | None:
    shapes = {plane.shape for plane in planes.values()}
    sides = " and ".join(f"{width} x {height}" for height, width in sorted(shapes))
    if len(shapes) > 1:
        return f"the channels of this image have {sides} pixels", "export them alike"
    if not crop and any(height != width for height, width in shapes):
        return f"is not square ({sides} pixels)", "use --crop to keep the middle square, or crop it yourself"
    return None


def _write(out: Path, job: Job, planes: dict[str, np.ndarray]) -> None:
    """Write the channels of an image, cut to the middle square, each with the date of its source."""
    for channel, plane in planes.items():
        side, dates = min(plane.shape), job.files[channel].stat()
        top, left = (plane.shape[0] - side) // 2, (plane.shape[1] - side) // 2
        data = cv2.imencode(".png", np.ascontiguousarray(plane[top : top + side, left : left + side]))[1].tobytes()

        def write(path, data=data, dates=dates):
            path.write_bytes(data)
            os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))

        store.write_atomic(_target(out, job.part, job.id, channel), write)


def _write_tables(out: Path, jobs: list[Job], targets: dict, groups: dict) -> dict[str, int]:
    """Write Kaggle's tables, sorted by Id, and say how many rows they have; a table without rows is not there."""
    ids = {part: sorted(job.id for job in jobs if job.part == part) for part in atlas.IMAGE_FOLDERS}
    both = sorted(ids["train"] + ids["test"]) if groups else []
    columns = {
        kaggle.GROUPS: {"Id": both, "group": [groups.get(image_id, "") for image_id in both]},
        "sample_submission.csv": {"Id": ids["test"], "Predicted": "0"},
        "train.csv": {"Id": ids["train"], "Target": [targets[image_id] for image_id in ids["train"]]},
    }
    for name, table in columns.items():
        (out / name).unlink(missing_ok=True)
        if table["Id"]:
            store.save_table(out, name, pd.DataFrame(table))
    return {part: len(part_ids) for part, part_ids in ids.items()}
