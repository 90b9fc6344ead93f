"""The rows of a CSV table with their line numbers, or one sentence about why it cannot be read.

Tables that only give Ids and a second column are read as spreadsheets and other tools save them. A submission is read
strictly: it must have Kaggle's own form. Both may begin with a byte-order mark, as Excel writes it, and be the one CSV
file in a zip archive, which Kaggle takes too.
"""

import csv
import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
ZIP_MAGIC = b"PK\x03\x04"
MAX_UNZIPPED = 200 * 2**20  # bytes of a table in a zip archive; Kaggle's have 1.4 MB


class Row(NamedTuple):
    """One data row: the line it ends on, its Id, and the text of its second column."""

    line: int
    id: str
    text: str


class Traits(NamedTuple):
    """What is unusual about a table: marks that do no harm, and lines with too few or too many cells."""

    notes: list[str]  # such as "has CRLF line ends"
    ragged: list[tuple[int, int, int]]  # line, cells found, cells wanted


def find(path: Path) -> Path:
    """``path``, or the zip archive beside it that Kaggle offers in its place (``train.csv.zip``)."""
    zipped = path.with_name(f"{path.name}.zip")
    return zipped if zipped.is_file() and not path.exists() else path


def is_there(path: Path) -> bool:
    """Is there such a table, its zip archive, or a link that should lead to it?"""
    return os.path.lexists(find(path))


def read_rows(path: Path, second: str, strict: bool = False) -> tuple[list[Row], Traits]:
    """The rows of a table with the columns ``Id`` and ``second``, their content unchecked, and the table's traits.

    Columns may be in any order and be spelled in any case, between commas, semicolons or tabs; the table may be a zip
    archive of one CSV file. Blank lines are skipped; ragged lines are in the traits, not in the rows. ``strict``: the
    first line is exactly ``Id,<second>``, and blank lines before the end are ragged.

    Raises:
        ValueError: the file cannot be read as such a table.
    """
    stored = _read_bytes(path)
    data = _unzip(path, stored) if stored.startswith(ZIP_MAGIC) else stored
    text = _decode(path, data).rstrip("\r\n")
    if not text.strip():
        raise ValueError(f"{path} is empty: its first line must be Id,{second}")
    first_line = text.partition("\n")[0].rstrip("\r")
    plain, wanted = first_line.replace('"', ""), f"Id,{second}"
    if strict and plain != wanted:
        for separator, name in SEPARATORS.items():
            if plain == wanted.replace(",", separator):
                raise ValueError(f"{path} is separated by {name}: use commas")
        raise ValueError(f"{path} starts with {first_line[:80]!r}: its first line must be {wanted}")
    separator, header = _find_header(path, text, second)
    folded = [name.casefold() for name in header]
    columns = [folded.index(name.casefold()) for name in ("Id", second)]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, ragged = [], []
    try:
        next(reader)
        for cells in reader:
            if not strict and not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                ragged.append((reader.line_num, len(cells), len(header)))
                continue
            rows.append(Row(reader.line_num, *(cells[column] for column in columns)))
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: {error}: look for a stray quotation mark") from None
    extra = [name for column, name in enumerate(header) if column not in columns]
    notes = {
        "is a zip archive, read as the table in it": data is not stored,
        "begins with a byte-order mark": data.startswith(b"\xef\xbb\xbf"),
        "has CRLF line ends": b"\r" in data,
        f"has {SEPARATORS[separator]} between its cells": separator != ",",
        f"has the header {', '.join(header)}": [header[column] for column in columns] != ["Id", second],
        f"has further columns: {', '.join(extra)}": extra,
    }
    return rows, Traits([note for note, present in notes.items() if present], ragged)


def _read_bytes(path: Path) -> bytes:
    place = find(path)
    try:
        return place.read_bytes()
    except OSError as error:
        if place.is_symlink() and not place.exists():
            raise ValueError(f"{path} is a link whose target is missing: fetch the file that it names") from None
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ValueError(f"{path} {reason}: point DATA at the folder that holds {path.name}") from None


def _unzip(path: Path, data: bytes) -> bytes:
    """The one CSV file in a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            inside = [info for info in opened.infolist() if info.filename.lower().endswith(".csv")]
            inside = [info for info in inside if not info.filename.startswith("__MACOSX")]
            if len(inside) == 1 and inside[0].file_size <= MAX_UNZIPPED:
                return opened.read(inside[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a zip archive that cannot be unpacked ({error}): unpack it yourself") from None
    raise ValueError(f"{path} is a zip archive or a spreadsheet without one CSV file in it: save the table as CSV")


def _decode(path: Path, data: bytes) -> str:
    if b"\0" in data:
        raise ValueError(f"{path} holds NUL bytes, so it is no UTF-8 text: save it as CSV in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text at byte {error.start}: save it as CSV in UTF-8") from None


def _find_header(path: Path, text: str, second: str) -> tuple[str, list[str]]:
    """The separator that parts the two columns, and the names of all columns."""
    most = [0, 0]  # how often each of the two columns was found
    for separator in SEPARATORS:
        try:
            first = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        except csv.Error as error:
            raise ValueError(f"{path} line 1: {error}: look for a stray quotation mark") from None
        header = [name.strip() for name in first]
        folded = [name.casefold() for name in header]
        counts = [folded.count(name.casefold()) for name in ("Id", second)]
        if counts == [1, 1]:
            return separator, header
        most = list(map(max, most, counts))
    name, count = (second, most[1]) if most[0] == 1 else ("Id", most[0])
    found = "twice" if count > 1 else "no"
    line = text.splitlines()[0][:80]
    raise ValueError(f"{path} has {found} column {name!r} in its first line {line!r}: it must be Id,{second}")
