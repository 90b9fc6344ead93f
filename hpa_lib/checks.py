"""Everything that is wrong with a data folder in one table, and what can be used of the folder all the same."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from hpa_lib import dataset, png, processes

BLOCK = 1024  # images handed to the threads at a time, so that memory does not grow with their number


def check(folder: str | Path, workers: int | None = None, progress: bool = True) -> pd.DataFrame:
    """All that is wrong with a data folder, one row a finding; an empty table where all is well.

    Every PNG is read whole and its checksums compared; only unusual ones (not 8-bit grey, or so small that they may be
    blank) are decoded. 31,072 images of four 125 kB files take about a minute from a fast disk.

    Args:
        folder: a data folder in Kaggle's layout.
        workers: threads; by default one a core.
        progress: show a bar.

    Returns:
        Text columns ``file``, ``problem``, ``remedy``; ``severity``: ``stop`` (nothing can be done with the folder),
        ``error`` (that row or image cannot be used) or ``note`` (used all the same, in the way the remedy says);
        ``part``: ``train`` or ``test``; ``drop_id``: the Id that ``select(..., "drop")`` leaves out for it.
    """
    folder = Path(folder)
    findings, ids_of = _check_tables(folder)
    for part, ids in ids_of.items():
        if ids:
            findings += _check_part(folder, part, ids, workers, progress)
    return pd.DataFrame(findings, columns=dataset.FINDINGS, dtype=str)


def select(folder: str | Path, findings: pd.DataFrame, on_bad: str = "strict") -> tuple:
    """What can be used of a checked folder.

    Args:
        folder: the folder that ``check`` looked at.
        findings: its table.
        on_bad: ``"strict"`` stops at any error; ``"drop"`` leaves out the rows and images with errors.

    Returns:
        ids str (N,), labels uint8 (N, 28), test_ids str (M,) (empty without a sample_submission.csv).

    Raises:
        ValueError: there are errors and ``on_bad`` is strict, or nothing usable is left.
    """
    bad = findings[findings["severity"].isin(["stop"] if on_bad == "drop" else ["stop", "error"])]
    if len(bad):
        file, problem, remedy = bad.iloc[0][["file", "problem", "remedy"]]
        rest = f" ({len(bad) - 1} more findings: see `hpa check`; ON_BAD = 'drop' goes on without the bad ones)"
        raise ValueError(f"{Path(folder) / file}: {problem}: {remedy}{rest if len(bad) > 1 else ''}")
    ids, labels = dataset.read_labels(Path(folder) / "train.csv", on_bad)
    test_table = Path(folder) / "sample_submission.csv"
    test_ids = dataset.read_sample_submission(test_table, on_bad) if test_table.exists() else np.array([], str)
    dropped = dropped_ids(findings, on_bad)
    keep = ~np.isin(ids, dropped["train"])
    if not keep.any():
        raise ValueError(f"{folder}: none of its {len(ids)} labelled images can be used: see the table of findings")
    return ids[keep], labels[keep], test_ids[~np.isin(test_ids, dropped["test"])]


def dropped_ids(findings: pd.DataFrame, on_bad: str) -> dict[str, list[str]]:
    """The Ids of each part whose images ``select`` leaves out, sorted: ``{"train": [...], "test": [...]}``."""
    errors = findings[(findings["severity"] == "error") & (findings["drop_id"] != "") & (on_bad == "drop")]
    return {part: sorted(set(errors.loc[errors["part"] == part, "drop_id"])) for part in dataset.TABLES}


def _check_tables(folder: Path) -> tuple[list[dict], dict[str, list[str]]]:
    """Findings about the two tables, and the Ids of the good rows of each part."""
    findings, ids_of = [], {"train": [], "test": []}
    if folder.is_file():
        return [
            dataset.make_finding(
                folder.name, "is no folder", "unzip it (notebook 00 does) and check the folder", "stop"
            )
        ], ids_of
    for part, (name, _) in dataset.TABLES.items():
        if part == "test" and not (folder / name).exists():
            findings.append(
                dataset.make_finding(name, "is not there", "training works; no submission can be made", "note", part)
            )
            continue
        try:
            rows, table_findings = dataset.scan(folder / name, part, name)
        except ValueError as error:
            problem, remedy = str(error).removeprefix(str(folder / name)).strip(" :").rsplit(": ", 1)
            findings.append(dataset.make_finding(name, problem, remedy, "stop", part))
            continue
        findings += table_findings
        ids_of[part] = [row.id for row in rows]
    both = set(ids_of["train"]) & set(ids_of["test"])
    for one in sorted(both):
        remedy = "a test image must not be trained on: take its row out of train.csv"
        findings.append(
            dataset.make_finding(
                "train.csv", f"Id {one} is in sample_submission.csv too", remedy, drop_id=one, part="train"
            )
        )
    if ids_of["test"] != sorted(ids_of["test"]):
        remedy = "nothing to do: submission.csv keeps this order, which the scorer goes by"
        findings.append(dataset.make_finding("sample_submission.csv", "is not sorted by Id", remedy, "note", "test"))
    return findings, ids_of


def _check_part(folder: Path, part: str, ids: list[str], workers: int | None, progress: bool) -> list[dict]:
    """Findings about the files of one part."""
    files = dataset.list_files(folder / part)
    if not any(name.endswith(".png") for name in files):
        remedy = "unpack the archive there, or work on the label table alone (notebook 01)"
        return [dataset.make_finding(f"{part}/", "holds no PNG", remedy, "stop" if part == "train" else "note", part)]
    findings, sizes = [], {}
    bar = tqdm(total=len(ids), desc=f"check {part}", mininterval=2, disable=not progress)
    with ThreadPoolExecutor(workers or processes.count_cores()) as pool, bar:
        for start in range(0, len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            for one, (image_findings, size) in zip(
                block, pool.map(lambda one: _check_image(folder, part, one, files), block), strict=True
            ):
                findings += image_findings
                sizes[one] = size
            bar.update(len(block))
    return findings + _size_findings(part, sizes) + _stray_findings(part, ids, files)


def _check_image(folder: Path, part: str, image_id: str, files: dict) -> tuple[list[dict], tuple[int, int] | None]:
    """Findings about one image's four files, and their size when they agree on it."""
    findings, sizes, contents = [], set(), {}
    missing = [path.name for path in dataset.channel_paths("", part, image_id) if path.name not in files]
    if missing:
        remedy = "download the data again, or go on without this image"
        problem = f"{', '.join(missing)} missing" if len(missing) < 4 else "none of the four channel files is there"
        findings.append(dataset.make_finding(f"{part}/{image_id}_*.png", problem, remedy, "error", part, image_id))
    for path in dataset.channel_paths(folder, part, image_id):
        if path.name in missing:
            continue
        try:
            data = path.read_bytes()
            header, problem, severity = _check_file(data, path.name.endswith("green.png"))
            sizes.add((header.width, header.height))
            if not problem and contents.setdefault(data, path.name) != path.name:
                problem, severity = f"is the same file as {contents[data]}", "error"
        except (OSError, ValueError) as error:
            problem, severity = str(error), "error"
        if problem:
            remedy = "download it again, or go on without this image" if severity == "error" else "nothing to do: kept"
            findings.append(dataset.make_finding(f"{part}/{path.name}", problem, remedy, severity, part, image_id))
    if len(sizes) > 1 or any(width != height for width, height in sizes):
        shapes = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
        problem = f"not one square size in its four channels ({shapes} pixels)"
        remedy = "export the four channels alike"
        findings.append(dataset.make_finding(f"{part}/{image_id}_*.png", problem, remedy, "error", part, image_id))
    return findings, sizes.pop() if len(sizes) == 1 else None


def _check_file(data: bytes, is_green: bool) -> tuple[png.Header, str, str]:
    """A channel file's header, problem (``""`` for none) and severity; raises ValueError for an unusable file."""
    header = png.read_header(data)
    plain = png.is_plain(header)
    if plain and len(data) > 200 + header.width * header.height / 64:  # a blank field is smaller than that
        return header, "", ""
    pixels = png.decode(data)
    if pixels.min() == pixels.max():
        return header, f"is blank (all pixels {pixels.flat[0]})", "error" if is_green else "note"
    return header, "" if plain else f"is {header.bits}-bit {header.kind}, converted to 8-bit grey", "note"


def _size_findings(part: str, sizes: dict) -> list[dict]:
    counts = Counter(size for size in sizes.values() if size)
    usual = max(counts, key=counts.get, default=None)
    remedy = "nothing to do: resized like the others, but a pixel is another length in the cell"
    findings = []
    for one, size in sizes.items():
        if size and size != usual and size[0] == size[1]:
            problem = f"{size[0]} x {size[1]} pixels, most are {usual[0]} x {usual[1]}"
            findings.append(dataset.make_finding(f"{part}/{one}_*.png", problem, remedy, "note", part))
    return findings


def _stray_findings(part: str, ids: list[str], files: dict) -> list[dict]:
    wanted = {path.name for one in ids for path in dataset.channel_paths("", part, one)}
    stray = sorted(set(files) - wanted)
    if not stray:
        return []
    problem = f"{len(stray)} files belong to no good row of {dataset.TABLES[part][0]}, first {stray[0]}"
    return [dataset.make_finding(f"{part}/", problem, "nothing to do: left alone", "note", part)]
