"""The exercises, which are stored with their solutions: a copy without them for students, and a solved copy.

The marks in the cells are nbgrader's, so that nbgrader can take ``exercises/`` as it is. Making the copies needs no
more than the marks, and nbgrader would bring a database and a second notebook server, so it is no requirement here.
"""

import operator
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat

from hpa_lib import paths, store

SOURCE = paths.PROJECT / "exercises"
KINDS = ("student", "solved")
REGION = re.compile(r"^([ \t]*)### BEGIN (SOLUTION|HIDDEN TESTS)\n.*?^[ \t]*### END \2$\n?", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^[ \t]*### (BEGIN|END) (SOLUTION|HIDDEN TESTS)$\n?", re.MULTILINE)
PLACE = {  # what a student's copy has in place of a solution, by the type of the cell
    "code": ("# your code here", 'raise NotImplementedError("not done yet: put your code in place of this line")'),
    "markdown": ("*Write your answer here.*",),
}


def write_copies(out: Path, replace: bool = False) -> list[Path]:
    """Write ``out/student/`` and ``out/solved/``, one notebook each per exercise, and give back their paths.

    Args:
        out: any folder; it is made when it is missing.
        replace: write over copies that differ from what would be written, such as a student's work.

    Raises:
        ValueError: such a copy is there, and ``replace`` is False (then nothing is written), or an exercise has a mark
            without its partner.
    """
    sources = sorted(SOURCE.glob("*.ipynb"))
    copies = {Path(out) / kind / path.name: make_copy(path, kind).encode() for kind in KINDS for path in sources}
    changed = [path for path, content in copies.items() if path.exists() and path.read_bytes() != content]
    if changed and not replace:
        others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise ValueError(f"{changed[0]}{others} was changed: name another folder, or write over it with --replace")
    for path, content in copies.items():
        store.write_atomic(path, operator.methodcaller("write_bytes", content))
    return list(copies)


def make_copy(path: Path, kind: str) -> str:
    """The text of the ``student`` or the ``solved`` copy of one exercise; cell ids and metadata stay as they are."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if MARK.search(REGION.sub("", cell.source)):
            raise ValueError(f"{path}, cell {cell.id}: a BEGIN or END mark has no partner: add it")
        place = PLACE.get(cell.cell_type, ())
        text = MARK.sub("", cell.source) if kind == "solved" else _clear(cell.source, place)
        cell.source = text.removesuffix("\n")
    return nbformat.writes(notebook) + "\n"


def _clear(source: str, place: Sequence[str]) -> str:
    """``source`` with ``place``, indented as the mark was, where a solution was; hidden tests leave nothing."""

    def fill(region: re.Match) -> str:
        return "".join(f"{region[1]}{line}\n" for line in place) if region[2] == "SOLUTION" else ""

    return REGION.sub(fill, source)
