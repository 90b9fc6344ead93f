"""Tiny notebooks for the runner's tests."""

import json
from pathlib import Path

import nbformat

PARAMETERS = """\
DATA: str = ""  # data folder
OUT: str = ""  # output folder
EPOCHS: int = 3  # passes over the data
LEARNING_RATE: float = 1e-3  # step size
AUGMENT: bool = True  # augment
CLASS_WEIGHTS: str = "none"  # scheme
RUN: str = ""  # name
SMALL = True  # no annotation
"""


def write_notebook(path: Path, *sources: str, parameters: str | None = PARAMETERS) -> Path:
    """A notebook with a parameters cell (unless None) and one code cell, ``cell-<number>``, for each source."""
    cells = [nbformat.v4.new_markdown_cell("# Title", id="title")]
    if parameters is not None:
        cells.append(nbformat.v4.new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}))
    cells += [nbformat.v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def load_records(out: Path) -> list[dict]:
    """The records of all steps of a run set."""
    return [json.loads(path.read_text()) for path in sorted(out.glob("notebooks/*.json"))]
