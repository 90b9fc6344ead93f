"""Make ``outputs/reference`` from a finished demo: the small run set that comes with the project.

    make demo && python bench/reference.py outputs/demo

It gets the split, and of each run the record, the history and the probabilities of validation and hold-out: what
notebooks 05, 06 and 07 need on a machine that never trained. There are no images, no networks and no test part in it.
Beside them are the tables and pictures that README shows.
"""

import argparse
import json
import shutil
from pathlib import Path

from hpa_lib import store

TABLES = ("ensemble", "summary", "thresholds", "localisation")
FIGURES = ("ensemble_scores", "threshold_candidates", "report_f1_by_class", "explore_localisation")
OF_A_RUN = ("result.json", "history.csv", "probs_val.npz", "probs_holdout.npz")


def copy_run_set(out: Path, target: Path) -> list[str]:
    """Copy what ``target`` is to hold; the names of the runs."""
    for old in (target / "runs", target / "data"):
        shutil.rmtree(old, ignore_errors=True)
    runs = store.list_runs(out)
    for run in runs:
        for name in OF_A_RUN:
            if (out / "runs" / run / name).exists():  # a table of probabilities has no history
                place = target / "runs" / run / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(out / "runs" / run / name, place)
    (target / "data").mkdir()
    shutil.copyfile(out / "data" / "split.csv", target / "data" / "split.csv")
    description = json.loads((out / "data" / "dataset.json").read_text(encoding="utf-8"))
    store.save_json(target, "data/dataset.json", description | {"path": "data/synthetic-quick", "test_images": 0})
    for old in [*target.glob("report_*.csv"), *target.glob("study_*.csv")]:
        old.unlink()
    reported = [path for start in ("report", "study") for path in sorted(out.glob(f"tables/{start}_*.csv"))]
    for path in [out / "tables" / f"{name}.csv" for name in TABLES] + reported:
        shutil.copyfile(path, target / path.name)
    for name in FIGURES:
        shutil.copyfile(out / "figures" / f"{name}.png", target / f"{name}.png")
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a finished demo")
    parser.add_argument("--target", type=Path, default=store.REFERENCE)
    options = parser.parse_args()
    runs = copy_run_set(options.out, options.target)
    size = sum(path.stat().st_size for path in options.target.rglob("*") if path.is_file())
    print(f"{options.target}: {', '.join(runs)}; {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
