"""What `hpa run` takes beside plain papermill, and how it grows with the number of notebooks.

    python bench/runner.py [--times 3]

The same small notebook, which imports what the kit's notebooks import, is run in turn by plain papermill and by the
strict runner, each in this process. The goal is at most 1 s over plain papermill per notebook.
"""

import contextlib
import functools
import json
import logging
import sys
import tempfile
from pathlib import Path

import papermill
import speed

from hpa_lib.running import plan, runner

SOURCES = (
    'OUT: str = ""  # the run set',
    "import numpy as np\nimport pandas as pd\nfrom hpa_lib import store",
    "print(np.arange(3))",
)


def write_notebook(path: Path) -> Path:
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "source": source, "outputs": []}
        for number, source in enumerate(SOURCES)
    ]
    for cell in cells:
        cell["execution_count"] = None
    cells[0]["metadata"]["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def run_plainly(notebook: Path, out: Path) -> None:
    papermill.execute_notebook(str(notebook), str(out / "plain.ipynb"), {"OUT": str(out)}, progress_bar=False)


def run_strictly(notebook: Path, out: Path, steps: int = 1, resume: bool = False) -> None:
    wanted = [plan.Step(f"strict{number}", notebook, {"OUT": str(out)}) for number in range(steps)]
    records = runner.run_plan(wanted, out, runner.Options(resume=resume))
    assert records[-1]["status"] == "done", records[-1]["error"]


def measure(options) -> list[dict]:
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        notebook, out = write_notebook(Path(folder) / "0_small.ipynb"), Path(folder)
        ways = {
            "plain": functools.partial(run_plainly, notebook, out),
            "strict": functools.partial(run_strictly, notebook, out),
            "resume": functools.partial(run_strictly, notebook, out, resume=True),
        }
        medians = speed.take_turns(ways, options.times)
        seconds = {factor: speed.clock(run_strictly, notebook, out, factor) for factor in (4, 16)}
    peer, goal = "plain papermill", f"<= {1 + 1 / medians['plain']:.2f}"
    return [
        speed.compare("hpa run, one notebook", medians["strict"], medians["plain"], "s", peer, goal),
        speed.compare("hpa run --resume, up to date", medians["resume"], medians["plain"], "s", peer),
        *speed.growth("hpa run", {1: medians["strict"]} | seconds, "one notebook"),
    ]


if __name__ == "__main__":
    speed.main(speed.make_parser(__doc__, times=3), measure)
