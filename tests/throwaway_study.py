"""Throw-away notebooks 00 to 08 and a grid file for them: the parameters and results of the real ones, in no time."""

import nbformat
import yaml
from throwaway import write_notebook

from hpa_lib import paths

START = """\
import json, os, time
from pathlib import Path

def write(name, text):
    path = Path(OUT) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

"""
DATASET = {"data_hash": "0", "test_images": 0, "synthetic": True}
TRAINING = """\
name = "-".join([NETWORK, CHANNELS, RECIPE, *[f"fold{FOLD}"][: FOLD > 0]])
with open(Path(OUT) / "started.txt", "a") as started:
    print(name, file=started)
time.sleep(float(os.environ.get("SECONDS_PER_RUN", "0")))
write(f"runs/{name}/result.json", json.dumps({"run": name, "epochs": EPOCHS, "learning_rate": LEARNING_RATE}))"""
READ_RUNS = "results = [(Path(OUT) / f'runs/{run}/result.json').read_text() for run in RUNS.split(',')]\n"
CODE = {  # number -> what the throw-away notebook does
    "00": "write('data/split.csv', f'Id,Target,group,fold,{NUM_FOLDS}')\n"
    f"write('data/dataset.json', json.dumps({DATASET!r} | {{'path': DATA}}))",
    "01": "write('tables/eda_baselines.csv', 'name')",
    "02": TRAINING.replace("NETWORK", "'densenet'"),
    "03": TRAINING,
    "05": READ_RUNS + "write('decisions/thresholds.json', json.dumps(results))",
    "06": READ_RUNS + "write('decisions/ensemble.json', json.dumps(results))\nwrite('tables/ensemble_classes.csv', '')",
    "08": "write('tables/explore_mistakes.csv', '')",
    "07": "write('report.html', Path(OUT, 'decisions/ensemble.json').read_text())\n"
    "write('tables/summary.csv', 'model,score')",
}
GRID = {"networks": ["densenet", "resnet18"], "recipes": ["study"], "folds": [0, 1], "epochs": 3, "explore": False}


def write_study(folder, **changes):
    """The notebooks in ``folder/notebooks``; the path of a grid file for them, of ``GRID`` with ``changes``."""
    for number, code in CODE.items():
        (real,) = (paths.PROJECT / "notebooks").glob(f"{number}_*.ipynb")
        cells = nbformat.read(real, as_version=4).cells
        (parameters,) = (cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
        write_notebook(folder / "notebooks" / real.name, START + code, parameters=parameters)
    return write_grid(folder, **changes)


def write_grid(folder, **changes):
    """The path of a grid file of ``GRID`` with ``changes``."""
    values = GRID | {"data": str(folder / "synthetic-smoke"), "out": "out"} | changes
    (folder / "grid.yml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return folder / "grid.yml"
