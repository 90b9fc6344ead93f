"""docs/own_data.md, worked through as it is printed: its Python block, then each command of its sh blocks."""

import os
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest

from hpa_lib import __main__, paths, store

PAGE = (paths.PROJECT / "docs" / "own_data.md").read_text(encoding="utf-8")
(DRAWING,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


def execute(folder, *arguments):
    """Run this Python in a folder; what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HPA_")}
    environment = clean | {"PYTHONPATH": str(paths.PROJECT), "TQDM_DISABLE": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader has worked through the page up to ``hpa check``; and what was printed."""
    place = tmp_path_factory.mktemp("page")
    execute(place, "-c", DRAWING)
    return place, [execute(place, "-m", "hpa_lib", *command[1:]) for command in COMMANDS[:2]]


def test_the_example_is_imported_and_in_order(folder):
    place, (imported, checked) = folder
    assert [command[:2] for command in COMMANDS] == [["hpa", name] for name in ("import", "check", "run", "predict")]
    assert "80 images with labels, 10 without; 90 of them written now" in imported and "0 findings" in imported
    assert "0 findings" in checked
    assert len(pd.read_csv(place / "data" / "mine" / "groups.csv")["group"].dropna().unique()) == 40


def test_options_in_the_table_are_options():
    rows = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| `A01")]
    assert len(rows) == 4
    for row in rows:
        options = shlex.split(re.findall(r"`(.+?)`", row)[0])
        assert __main__.make_parser().parse_args(["import", "source", "out", *options]).command == "data.import_folder"


@pytest.mark.slow
def test_the_example_goes_through_the_notebooks(folder):
    place, _ = folder
    assert "report" in execute(place, "-m", "hpa_lib", *COMMANDS[2][1:])
    out = place / "outputs" / "mine"
    description = store.load_json(out, "data/dataset.json")
    assert (description["images"], description["test_images"], description["synthetic"]) == (80, 10, False)
    assert len(pd.read_csv(out / "submission.csv")) == 10 and (out / "report.html").stat().st_size > 0
    assert len(store.list_runs(out)) == 4
    execute(place, "-m", "hpa_lib", *COMMANDS[3][1:])
    predicted = pd.read_csv(place / "new_images" / "probs.csv").set_index("Id")
    ids, probs = store.load_probs(out, "resnet18-rgby-study", "test")
    assert abs(predicted.loc[ids].to_numpy() - probs).max() < 1e-5
    assert (place / "new_images" / "page.html").stat().st_size > 0
