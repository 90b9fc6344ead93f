"""Read a folder in Kaggle's layout: two tables, and four PNGs for each Id.

::

    train.csv               Id,Target       "16 0" = the classes seen in that field
    sample_submission.csv   Id,Predicted    the order that a submission must keep
    train/<Id>_red.png ...  one 8-bit grey file for each channel; test/ likewise
    groups.csv              Id,group        optional: images that must not be parted by a split

The readers stop at the first bad row; ``checks`` gathers all that is wrong with a folder in one table.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hpa_lib import labels as label_names
from hpa_lib import png, tables

TABLES = {"train": ("train.csv", "Target"), "test": ("sample_submission.csv", "Predicted")}
GROUPS = "groups.csv"
GOOD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # no blank, no "/", no leading dot: safe as a file name
FINDINGS = ["file", "problem", "remedy", "severity", "part", "drop_id"]


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
    rows, findings = scan(Path(path), "train", Path(path).name)
    _stop_at_first(Path(path), findings, on_bad)
    labels = [label_names.parse_target(row.text) for row in rows]
    return _id_array(rows), np.array(labels, np.uint8).reshape(-1, label_names.NUM_LABELS)


def read_sample_submission(path: str | Path, on_bad: str = "strict") -> np.ndarray:
    """The test Ids str (M,) of ``sample_submission.csv`` in the file's order, which the scorer goes by.

    Args and Raises: as ``read_labels``; the column ``Predicted`` must be there, its texts are not looked at.
    """
    rows, findings = scan(Path(path), "test", Path(path).name)
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


def scan(path: Path, part: str, name: str) -> tuple[list[tables.Row], list[dict]]:
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
            findings.append(make_finding(f"{name} line {row.line}", *problem, part=part))
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
        findings.append(make_finding(f"{name} line {line}", problem, "quote a cell that holds a comma", part=part))
    notes = {
        "begins with a byte-order mark": traits.bom,
        "has CRLF line ends": traits.crlf,
        f"has further columns {traits.extra}": traits.extra,
    }
    for problem, present in notes.items():
        if present:
            findings.append(make_finding(name, problem, "nothing to do: passed over", "note", part))
    return findings


def make_finding(
    file: str, problem: str, remedy: str, severity: str = "error", part: str = "", drop_id: str = ""
) -> dict:
    """One row of the table of findings; ``checks.check`` says what its columns mean."""
    return dict(zip(FINDINGS, (file, problem, remedy, severity, part, drop_id), strict=True))


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
        for name, size in sorted(list_files(Path(folder) / part).items()):
            digest.update(f"{part}/{name} {size}\n".encode())
    return digest.hexdigest()[:16]


def list_files(folder: Path) -> dict[str, int]:
    """Name -> bytes of every visible file in a folder, which need not exist."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if not entry.name.startswith(".")}
