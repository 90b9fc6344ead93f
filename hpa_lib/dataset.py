"""Read and check a folder in Kaggle's layout: two tables, and four PNGs for each Id.

::

    train.csv               Id,Target       "16 0" = the classes seen in that field
    sample_submission.csv   Id,Predicted    the order that a submission must keep
    train/<Id>_red.png ...  one 8-bit grey file for each channel; test/ likewise
    groups.csv              Id,group        optional: images that must not be parted by a split

``check`` gathers all that is wrong in one table; ``select`` stops at it or leaves the bad images out.
"""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from hpa_lib import labels as label_names
from hpa_lib import png, tables

TABLES = {"train": ("train.csv", "Target"), "test": ("sample_submission.csv", "Predicted")}
GROUPS = "groups.csv"
BLOCK = 1024  # images handed to the threads at a time, so that memory does not grow with their number
GOOD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # no blank, no "/", no leading dot: safe as a file name
FINDINGS = ["file", "problem", "remedy", "severity", "part", "drop_id"]


# --- the tables -------------------------------------------------------------------------------------------------


def read_labels(path: str | Path, on_bad: str = "strict") -> tuple[np.ndarray, np.ndarray]:
    """The Ids and the label sets of ``train.csv``, in the file's order.

    A byte-order mark, CRLF line ends, blank lines and further columns do no harm and are passed over.

    Args:
        path: the CSV file, with the columns ``Id`` and ``Target``.
        on_bad: ``"strict"`` stops at the first bad row; ``"drop"`` leaves bad rows out.

    Returns:
        ids str (N,), labels uint8 (N, 28).

    Raises:
        ValueError: the file, the line, what is wrong and what to do, in one sentence.
    """
    rows, findings = _scan(Path(path), "train", Path(path).name)
    _stop_at_first(Path(path), findings, on_bad)
    labels = [label_names.parse_target(row.text) for row in rows]
    return _id_array(rows), np.array(labels, np.uint8).reshape(-1, label_names.NUM_LABELS)


def read_sample_submission(path: str | Path, on_bad: str = "strict") -> np.ndarray:
    """The test Ids str (M,) of ``sample_submission.csv`` in the file's order, which the scorer goes by.

    Args and Raises: as ``read_labels``; the column ``Predicted`` must be there, its texts are not looked at.
    """
    rows, findings = _scan(Path(path), "test", Path(path).name)
    _stop_at_first(Path(path), findings, on_bad)
    return _id_array(rows)


def read_groups(path: str | Path, ids: Iterable[str]) -> np.ndarray:
    """The group of each Id, str (N,), from a table with the columns ``Id`` and ``group``.

    Raises:
        ValueError: an Id has no group, or two.
    """
    rows, _ = tables.read_rows(Path(path), "group")
    group_of = {}
    for row in rows:
        if group_of.setdefault(row.id, row.text) != row.text:
            raise ValueError(f"{path} line {row.line}: Id {row.id!r} is in two groups: keep one of its rows")
    missing = [one for one in ids if one not in group_of]
    if missing:
        raise ValueError(f"{path}: {len(missing)} Ids have no group, first {missing[0]!r}: add them or delete the file")
    return np.array([group_of[one] for one in ids], str)


def _id_array(rows: list[tables.Row]) -> np.ndarray:
    return np.array([row.id for row in rows], str)


def _stop_at_first(path: Path, findings: list[dict], on_bad: str) -> None:
    if on_bad not in ("strict", "drop"):
        raise ValueError(f"on_bad {on_bad!r}: use 'strict' or 'drop'")
    errors = [finding for finding in findings if finding["severity"] == "error"]
    if errors and on_bad == "strict":
        first = errors[0]
        place = f"{path.parent / first['file']}"
        raise ValueError(f"{place}: {first['problem']}: {first['remedy']}")


def _scan(path: Path, part: str, name: str) -> tuple[list[tables.Row], list[dict]]:
    """The good rows of a table and the findings about it; of equal repeated rows the first is good."""
    rows, traits = tables.read_rows(path, TABLES[part][1])
    findings = _trait_findings(name, part, traits)
    rows_of = defaultdict(list)
    for row in rows:
        rows_of[row.id].append(row)
    good = []
    for row in rows:
        problem = _row_problem(row, rows_of[row.id], part)
        if problem:
            findings.append(_finding(f"{name} line {row.line}", *problem, part=part))
        else:
            good.append(row)
    return good, findings


def _row_problem(row: tables.Row, same_id: list[tables.Row], part: str) -> tuple[str, str] | None:
    """Problem and remedy of one row, or None."""
    if not GOOD_ID.fullmatch(row.id):
        return f"Id {row.id[:100]!r} is malformed", "use letters, digits, '-', '_' and '.' only, as in a file name"
    if part == "train":
        if not row.text.strip():
            return f"Id {row.id} has an empty Target", "write its class numbers, or take the row out"
        try:
            label_names.parse_target(row.text)
        except ValueError as error:
            return tuple(str(error).rsplit(": ", 1))
        if len({frozenset(one.text.split()) for one in same_id}) > 1:
            lines = ", ".join(str(one.line) for one in same_id)
            return f"Id {row.id} has different Targets on lines {lines}", "find out which is true and keep that one"
    if row is not same_id[0]:
        return f"Id {row.id} stands on line {same_id[0].line} already", "keep one of the rows"
    return None


def _trait_findings(name: str, part: str, traits: tables.Traits) -> list[dict]:
    findings = []
    for line, found, wanted in traits.ragged:
        problem = f"has {found} cells where the header has {wanted}"
        findings.append(_finding(f"{name} line {line}", problem, "quote a cell that holds a comma", part=part))
    notes = {
        "begins with a byte-order mark": traits.bom,
        "has CRLF line ends": traits.crlf,
        f"has further columns {traits.extra}": traits.extra,
    }
    for problem, present in notes.items():
        if present:
            findings.append(_finding(name, problem, "nothing to do: passed over", "note", part))
    return findings


def _finding(file: str, problem: str, remedy: str, severity: str = "error", part: str = "", drop_id: str = "") -> dict:
    return dict(zip(FINDINGS, (file, problem, remedy, severity, part, drop_id), strict=True))


# --- the check --------------------------------------------------------------------------------------------------


def check(folder: str | Path, workers: int | None = None, progress: bool = True) -> pd.DataFrame:
    """All that is wrong with a data folder, one row a finding; an empty table where all is well.

    Every PNG is read whole and its checksums compared; only unusual ones (not 8-bit grey, or so small that they may be
    blank) are decoded. 31,072 images of four 125 kB files take about a minute from a fast disk.

    Args:
        folder: a data folder in Kaggle's layout.
        workers: threads; the machine's processors when None.
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
    return pd.DataFrame(findings, columns=FINDINGS, dtype=str)


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
    ids, labels = read_labels(Path(folder) / "train.csv", on_bad)
    test_table = Path(folder) / "sample_submission.csv"
    test_ids = read_sample_submission(test_table, on_bad) if test_table.exists() else np.array([], str)
    dropped = dropped_ids(findings, on_bad)
    keep = ~np.isin(ids, dropped["train"])
    if not keep.any():
        raise ValueError(f"{folder}: none of its {len(ids)} labelled images can be used: see the table of findings")
    return ids[keep], labels[keep], test_ids[~np.isin(test_ids, dropped["test"])]


def dropped_ids(findings: pd.DataFrame, on_bad: str) -> dict[str, list[str]]:
    """The Ids of each part whose images ``select`` leaves out, sorted: ``{"train": [...], "test": [...]}``."""
    errors = findings[(findings["severity"] == "error") & (findings["drop_id"] != "") & (on_bad == "drop")]
    return {part: sorted(set(errors.loc[errors["part"] == part, "drop_id"])) for part in TABLES}


def channel_paths(folder: str | Path, part: str, image_id: str) -> list[Path]:
    """The four files of one image, in the order red, green, blue, yellow."""
    return [Path(folder) / part / f"{image_id}_{channel}.png" for channel in label_names.CHANNELS]


def read_channel(path: str | Path) -> np.ndarray:
    """The pixels of one channel file, uint8 (height, width).

    Raises:
        ValueError: the file is missing, damaged, or not one channel; the sentence names it.
    """
    try:
        return png.decode(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): run `hpa check` on the data folder") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}: download it again, or go on without it with ON_BAD = 'drop'") from None


def fingerprint(folder: str | Path) -> str:
    """Sixteen hex digits that change with the tables' content or any image's name or length (not with its date)."""
    digest = hashlib.sha256()
    for name in ("train.csv", "sample_submission.csv", GROUPS):
        path = Path(folder) / name
        digest.update(path.read_bytes() if path.exists() else b"absent")
    for part in TABLES:
        for name, size in sorted(_list_files(Path(folder) / part).items()):
            digest.update(f"{part}/{name} {size}\n".encode())
    return digest.hexdigest()[:16]


def _list_files(folder: Path) -> dict[str, int]:
    """Name -> bytes of every visible file in a folder, which need not exist."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if not entry.name.startswith(".")}


def _check_tables(folder: Path) -> tuple[list[dict], dict[str, list[str]]]:
    """Findings about the two tables, and the Ids of the good rows of each part."""
    findings, ids_of = [], {"train": [], "test": []}
    if folder.is_file():
        return [
            _finding(folder.name, "is no folder", "unzip it (notebook 00 does) and check the folder", "stop")
        ], ids_of
    for part, (name, _) in TABLES.items():
        if part == "test" and not (folder / name).exists():
            findings.append(_finding(name, "is not there", "training works; no submission can be made", "note", part))
            continue
        try:
            rows, table_findings = _scan(folder / name, part, name)
        except ValueError as error:
            problem, remedy = str(error).removeprefix(str(folder / name)).strip(" :").rsplit(": ", 1)
            findings.append(_finding(name, problem, remedy, "stop", part))
            continue
        findings += table_findings
        ids_of[part] = [row.id for row in rows]
    both = set(ids_of["train"]) & set(ids_of["test"])
    for one in sorted(both):
        remedy = "a test image must not be trained on: take its row out of train.csv"
        findings.append(
            _finding("train.csv", f"Id {one} is in sample_submission.csv too", remedy, drop_id=one, part="train")
        )
    if ids_of["test"] != sorted(ids_of["test"]):
        remedy = "nothing to do: submission.csv keeps this order, which the scorer goes by"
        findings.append(_finding("sample_submission.csv", "is not sorted by Id", remedy, "note", "test"))
    return findings, ids_of


def _check_part(folder: Path, part: str, ids: list[str], workers: int | None, progress: bool) -> list[dict]:
    """Findings about the files of one part."""
    files = _list_files(folder / part)
    if not any(name.endswith(".png") for name in files):
        remedy = "unpack the archive there, or work on the label table alone (notebook 01)"
        return [_finding(f"{part}/", "holds no PNG", remedy, "stop" if part == "train" else "note", part)]
    findings, sizes = [], {}
    bar = tqdm(total=len(ids), desc=f"check {part}", mininterval=2, disable=not progress)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool, bar:
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
    missing = [path.name for path in channel_paths("", part, image_id) if path.name not in files]
    if missing:
        remedy = "download the data again, or go on without this image"
        problem = f"{', '.join(missing)} missing" if len(missing) < 4 else "none of the four channel files is there"
        findings.append(_finding(f"{part}/{image_id}_*.png", problem, remedy, "error", part, image_id))
    for path in channel_paths(folder, part, image_id):
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
            findings.append(_finding(f"{part}/{path.name}", problem, remedy, severity, part, image_id))
    if len(sizes) > 1 or any(width != height for width, height in sizes):
        shapes = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
        problem = f"not one square size in its four channels ({shapes} pixels)"
        remedy = "export the four channels alike"
        findings.append(_finding(f"{part}/{image_id}_*.png", problem, remedy, "error", part, image_id))
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
            findings.append(_finding(f"{part}/{one}_*.png", problem, remedy, "note", part))
    return findings


def _stray_findings(part: str, ids: list[str], files: dict) -> list[dict]:
    wanted = {path.name for one in ids for path in channel_paths("", part, one)}
    stray = sorted(set(files) - wanted)
    if not stray:
        return []
    problem = f"{len(stray)} files belong to no good row of {TABLES[part][0]}, first {stray[0]}"
    return [_finding(f"{part}/", problem, "nothing to do: left alone", "note", part)]
