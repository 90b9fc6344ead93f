"""The rows of a CSV table with their line numbers, or one sentence about why it cannot be read."""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One data row: the line it ends on, its Id, and the text of its second column."""

    line: int
    id: str
    text: str


class Traits(NamedTuple):
    """What is unusual about a table: marks that do no harm, and lines with too few or too many cells."""

    bom: bool  # begins with a byte-order mark
    crlf: bool  # has CR or CRLF line ends
    extra: list[str]  # further columns
    ragged: list[tuple[int, int, int]]  # line, cells found, cells wanted


def read_rows(path: Path, second: str) -> tuple[list[Row], Traits]:
    """The rows of a table with the columns ``Id`` and ``second``, their content unchecked, and the table's traits.

    Columns may stand in any order. Blank lines are passed over; ragged lines are in the traits, not in the rows.

    Raises:
        ValueError: the file cannot be read as such a table.
    """
    data = _read_bytes(path)
    text = _decode(path, data)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        columns = _find_columns(path, header, second)
        extra = [name for name in header if name not in ("Id", second)]
        rows, ragged = [], []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                ragged.append((reader.line_num, len(cells), len(header)))
                continue
            rows.append(Row(reader.line_num, *(cells[column] for column in columns)))
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: {error}: look for a stray quotation mark") from None
    if not rows and not ragged:
        raise ValueError(f"{path} holds no row under its header: download it again")
    return rows, Traits(data.startswith(b"\xef\xbb\xbf"), b"\r" in data, extra, ragged)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ValueError(f"{path} {reason}: point DATA at the folder that holds {path.name}") from None


def _decode(path: Path, data: bytes) -> str:
    if b"\0" in data:
        raise ValueError(f"{path} holds NUL bytes, so it is no UTF-8 text: save it as CSV in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text at byte {error.start}: save it as CSV in UTF-8") from None


def _find_columns(path: Path, header: list[str], second: str) -> tuple[int, int]:
    if header == [] or header == [""]:
        raise ValueError(f"{path} is empty: its first line must be Id,{second}")
    for name in ("Id", second):
        if header.count(name) == 1:
            continue
        found = "twice" if name in header else "no"
        hint = " with commas between" if len(header) == 1 and re.search(r"[;\t|]", header[0]) else ""
        raise ValueError(f"{path} has {found} column {name!r} in {header}: the first line must be Id,{second}{hint}")
    return header.index("Id"), header.index(second)
