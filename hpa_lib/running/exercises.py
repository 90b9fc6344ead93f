"""The exercises, which are stored with their solutions: a copy without them for students, a solved copy, and grading.

The marks in the cells are nbgrader's, so that nbgrader can take ``exercises/`` as it is. Making the copies needs no
more than the marks, and nbgrader would bring a database and a second notebook server, so it is no requirement here.
"""

import operator
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbclient
import nbformat

from hpa_lib import paths, store
from hpa_lib.running import runner

SOURCE = paths.PROJECT / "exercises"
KINDS = ("student", "solved")
MISSING = "not handed in"
CELL_SECONDS = 120  # that a cell of a handed-in exercise may take
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


def find_handed_in(folder: Path) -> dict[str, list[Path]]:
    """Student -> the notebooks in the folder of that name.

    Raises:
        ValueError: there is no notebook, or one that is in no student's folder.
    """
    files = [path for path in sorted(folder.rglob("*.ipynb")) if not _is_hidden(path.relative_to(folder))]
    if not files:
        raise ValueError(f"{folder} holds no notebook: name a folder with one folder per student")
    if loose := [path for path in files if path.parent == folder]:
        raise ValueError(f"{loose[0]} has no student: put each student's notebooks into a folder of the student's name")
    homes = [path for path in sorted(folder.iterdir()) if path.is_dir() and not _is_hidden(path.relative_to(folder))]
    return {home.name: [path for path in files if home in path.parents] for home in homes}


def _is_hidden(path: Path) -> bool:
    """Is it one of Jupyter's checkpoints, or what macOS adds to an archive (``__MACOSX``, ``._06_ensemble.ipynb``)?"""
    return any(part.startswith((".", "__")) for part in path.parts)


def grade(files: Sequence[Path], run_set: Path) -> Iterator[dict]:
    """The points of one student in all exercises: the answers are put into our copies, with the hidden tests, and run.

    A cell that fails costs its own points only. The code of a student runs here, with all rights of this process. Of
    several files of one exercise the one that has its very name counts, else the last by name.

    Args:
        files: notebooks whose names hold that of an exercise, such as ``06_ensemble (1).ipynb``.
        run_set: what the exercises read as ``HPA_OUT``.

    Yields:
        One row per cell with points: ``notebook``, ``cell``, ``points`` (None for an answer in words), ``of`` and
        ``note``: the sentence of a failed check, the error before it, or the answer in words. A row without a ``cell``
        is about a file that was not graded, or an exercise that is ``MISSING``.
    """
    left = set(files)
    for source in sorted(SOURCE.glob("*.ipynb")):
        found = sorted(path for path in left if source.stem in path.stem)
        found.sort(key=lambda path: path.stem == source.stem)
        left -= set(found)
        for path in found[:-1]:
            yield _note(source, f"{path} was left out: {found[-1]} is the same exercise")
        yield from _grade_file(found[-1], source, run_set) if found else [_note(source, MISSING, _count_points(source))]
    for path in sorted(left):
        yield _note(path, f"{path}: no exercise has this name; one is {SOURCE.name}/06_ensemble.ipynb")


def _note(path: Path, note: str, of: int = 0) -> dict:
    return {"notebook": path.stem, "cell": "", "points": 0, "of": of, "note": note}


def _count_points(source: Path) -> int:
    return sum(_nbgrader(cell).get("points", 0) for cell in nbformat.read(source, as_version=4).cells)


def _grade_file(path: Path, source: Path, run_set: Path) -> list[dict]:
    """The rows of one handed-in notebook."""
    try:
        notebook = fill_in(source, nbformat.read(path, as_version=4))
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        return [_note(source, f"{path} is no notebook: {str(error)[:80]}", _count_points(source))]
    ended = _run_all(notebook, run_set)
    rows, errors = [], {}  # of answers that failed: the place of their check in ``rows`` -> the first error
    for cell in notebook.cells:
        error = _error(cell)
        if "points" in _nbgrader(cell):
            earlier = next(iter(errors.values()), "") if error.startswith("NameError") else ""
            rows.append({"notebook": source.stem} | _mark(cell, ended, errors.get(len(rows), earlier)))
        elif error and _nbgrader(cell).get("solution"):
            errors.setdefault(len(rows), f"cell {cell.id}: {error}; then ")
    return rows


def fill_in(source: Path, handed_in: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The exercise with its hidden tests and a student's answers; code cells that the student added stay in place."""
    notebook = nbformat.read(source, as_version=4)
    answers, before, added = defaultdict(list), defaultdict(list), []
    for cell in handed_in.cells:
        name = _nbgrader(cell).get("grade_id", cell.get("id"))
        if any(name == ours.id for ours in notebook.cells):
            answers[name].append(cell.source)  # a cell that was split is there twice
            before[name] += added
            added = []
        elif cell.cell_type == "code":
            added.append(nbformat.v4.new_code_cell(cell.source))
    cells = []
    for cell in notebook.cells:
        if _nbgrader(cell).get("solution"):
            cell.source = "\n".join(answers[cell.id]) or _clear(cell.source, PLACE[cell.cell_type])
        cell.source = MARK.sub("", cell.source)
        cells += [*before[cell.id], cell]
    notebook.cells = cells
    return notebook


def _run_all(notebook: nbformat.NotebookNode, run_set: Path) -> str:
    """Run all cells, also after one that failed; what ended the kernel early, or an empty text."""
    with tempfile.TemporaryDirectory() as name:
        environment = {"HPA_OUT": str(run_set)}
        with runner.started_kernel(Path(name), Path(name) / "log", environment) as kernel:
            options = {"timeout": CELL_SECONDS, "interrupt_on_timeout": True, "allow_errors": True}
            try:
                nbclient.NotebookClient(notebook, km=kernel, **options).execute()
            except Exception as problem:  # nbclient and its parts raise many kinds for a kernel that has died
                return f"not run: {str(problem) or type(problem).__name__}"
    return "not run: the notebook ended before this cell"


def _mark(cell: nbformat.NotebookNode, ended: str, cause: str) -> dict:
    """Points and note of a cell that was run, or of an answer in words; ``cause`` begins the note of a failed check."""
    points = _nbgrader(cell)["points"]
    if cell.cell_type == "markdown":
        return {"cell": cell.id, "points": None, "of": points, "note": f"by hand: {cell.source}"}
    note = _error(cell) if cell.execution_count else ended
    return {"cell": cell.id, "points": 0 if note else points, "of": points, "note": note and cause + note}


def _error(cell: nbformat.NotebookNode) -> str:
    """The error of a cell that was run; of a failed check its sentence."""
    error = next((output for output in cell.get("outputs", []) if output.output_type == "error"), None)
    if error is None:
        return ""
    if error.ename == "AssertionError":
        return error.evalue or "a hidden test fails"
    return f"{error.ename}: {error.evalue}".removesuffix(": ")


def _nbgrader(cell: nbformat.NotebookNode) -> dict:
    return cell.metadata.get("nbgrader", {})
