"""What `hpa run` costs over plain papermill, per notebook: python bench/runner.py [--times 5]

The same small notebook, which imports what the kit's notebooks import, is run in turn by plain papermill and by the
strict runner, each in this process; the difference of the medians is the overhead. Goal: 1 s.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

import papermill

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


def run_strictly(notebook: Path, out: Path, resume: bool = False) -> None:
    records = runner.run_plan([plan.Step("strict", notebook, {"OUT": str(out)})], out, runner.Options(resume=resume))
    assert records[-1]["status"] == "done", records[-1]["error"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    logging.getLogger("papermill").setLevel(logging.ERROR)
    ways = {
        "plain papermill": run_plainly,
        "hpa run": run_strictly,
        "hpa run --resume, up to date": lambda notebook, out: run_strictly(notebook, out, resume=True),
    }
    seconds = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        notebook = write_notebook(Path(folder) / "0_small.ipynb")
        for _ in range(times):
            for name, way in ways.items():
                start = time.perf_counter()
                way(notebook, Path(folder))
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"| way | median s of {times} | over plain papermill |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.2f} | {median - medians['plain papermill']:+.2f} s |")


if __name__ == "__main__":
    main()
