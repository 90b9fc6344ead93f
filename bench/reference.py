"""Make ``outputs/reference`` from a finished demo: the small run set that comes with the project.

    make demo && python bench/reference.py outputs/demo
    python bench/reference.py outputs/course --only-results --target outputs/reference/course    # below 3 MB

It gets the split, and of each run the record, the history and the probabilities of validation and hold-out: what
notebooks 05, 06 and 07 need on a machine that never trained. There are no images, no networks and no test part in it.
Beside them are the tables and pictures that README shows. With ``--only-results`` there are no probabilities, but the
report page, its pictures as WebP, figures of 256 colours, and ``steps.csv``: the peak memory of each notebook.
"""

import argparse
import base64
import io
import json
import re
import shutil
from pathlib import Path

import scale
from PIL import Image

from hpa_lib import store

TABLES = ("ensemble", "summary", "thresholds", "localisation")
FIGURES = ("ensemble_scores", "threshold_candidates", "report_f1_by_class", "explore_localisation")
MORE_FIGURES = ("report_curves", "report_rare_classes")
RECORDS = ("result.json", "history.csv")
PROBABILITIES = ("probs_val.npz", "probs_holdout.npz")


def copy_runs(out: Path, target: Path, names: tuple[str, ...]) -> list[str]:
    """Copy the files ``names`` of each run, in place of those that are there; the names of the runs."""
    shutil.rmtree(target / "runs", ignore_errors=True)
    runs = store.list_runs(out)
    for run in runs:
        for name in names:
            if (out / "runs" / run / name).exists():  # a table of probabilities has no history
                place = target / "runs" / run / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(out / "runs" / run / name, place)
    return runs


def copy_data(out: Path, target: Path):
    """Copy the split, and what is known of the data, without its test part."""
    shutil.rmtree(target / "data", ignore_errors=True)
    (target / "data").mkdir()
    shutil.copyfile(out / "data" / "split.csv", target / "data" / "split.csv")
    description = json.loads((out / "data" / "dataset.json").read_text(encoding="utf-8"))
    store.save_json(target, "data/dataset.json", description | {"path": "data/synthetic-quick", "test_images": 0})


def copy_tables(out: Path, target: Path, figures: tuple[str, ...]):
    """Copy the tables and the pictures, in place of the tables that are there."""
    for old in [*target.glob("report_*.csv"), *target.glob("study_*.csv")]:
        old.unlink()
    reported = [path for start in ("report", "study") for path in sorted(out.glob(f"tables/{start}_*.csv"))]
    for path in [out / "tables" / f"{name}.csv" for name in TABLES] + reported:
        shutil.copyfile(path, target / path.name)
    for name in figures:
        shutil.copyfile(out / "figures" / f"{name}.png", target / f"{name}.png")


def shrink_page(page: str) -> str:
    """The report page with its pictures as WebP, a small part of the size."""

    def shrink(found: re.Match) -> str:
        image, stream = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB"), io.BytesIO()
        image.thumbnail((1200, 1200))
        image.save(stream, "WEBP", quality=60, method=6)
        return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"

    return re.sub(r"data:image/png;base64,([A-Za-z0-9+/=]+)", shrink, page)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a finished demo")
    parser.add_argument("--target", type=Path, default=store.REFERENCE)
    parser.add_argument("--only-results", action="store_true", help="no probabilities, but the report page")
    options = parser.parse_args()
    out, target = options.out, options.target
    target.mkdir(parents=True, exist_ok=True)
    if options.only_results:
        runs = copy_runs(out, target, RECORDS)
        copy_tables(out, target, FIGURES + MORE_FIGURES)
        for name in FIGURES + MORE_FIGURES:
            picture = Image.open(target / f"{name}.png").convert("RGB").quantize(256)
            picture.save(target / f"{name}.png", optimize=True)
        (target / "report.html").write_text(shrink_page((out / "report.html").read_text(encoding="utf-8")), "utf-8")
        store.save_table(target, "steps.csv", scale.read_steps(out)[["step", "images", "MB"]])
    else:
        runs = copy_runs(out, target, RECORDS + PROBABILITIES)
        copy_data(out, target)
        copy_tables(out, target, FIGURES)
    size = sum(path.stat().st_size for path in options.target.rglob("*") if path.is_file())
    print(f"{options.target}: {', '.join(runs)}; {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
