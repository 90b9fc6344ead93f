"""Minutes and peak memory of each notebook at several numbers of images, from the records of finished run sets.

    hpa synth data/scale-full --profile kaggle --size 128
    hpa synth data/scale-16th --profile kaggle --size 128 --images 1942
    STEPS=00,01,03_resnet18_study,05,06,07
    hpa run --profile kaggle --only $STEPS --data data/scale-16th --out outputs/scale-16th -p IMAGE_SIZE 128 -p EPOCHS 1
    hpa run --profile kaggle --only $STEPS --data data/scale-full --out outputs/scale-full -p IMAGE_SIZE 128 -p EPOCHS 1
    python bench/scale.py outputs/scale-16th outputs/scale-full

Prints, for each step, minutes and the peak memory of its kernel and the processes below it, first run set first, and
how much of the memory grew. Stored as ``outputs/reference/scale.csv``.
"""

import argparse
from pathlib import Path

import pandas as pd

from hpa_lib import store


def read_steps(out: Path) -> pd.DataFrame:
    """One row per step that was run: step, images (with those of the test part), minutes, MB."""
    description = store.load_json(out, "data/dataset.json")
    images = len(store.load_split(out)[0]) + description["test_images"]
    records = [store.load_json(out, f"notebooks/{path.name}") for path in sorted((out / "notebooks").glob("*.json"))]
    rows = [
        (record["step"], images, record["seconds"] / 60, record["peak_memory_mb"])
        for record in sorted(records, key=lambda record: record["started"])
        if record["status"] == "done"
    ]
    return pd.DataFrame(rows, columns=["step", "images", "minutes", "MB"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outs", type=Path, nargs="+", help="run sets of the same steps, the smallest first")
    options = parser.parse_args()
    table = pd.concat([read_steps(out) for out in options.outs], ignore_index=True).round(2)
    store.save_table(store.REFERENCE, "scale.csv", table)
    wide = table.pivot_table(index="step", columns="images", values=["minutes", "MB"], sort=False)
    wide["more MB", ""] = wide["MB"].iloc[:, -1] - wide["MB"].iloc[:, 0]
    print(wide.round(2).to_string())


if __name__ == "__main__":
    main()
