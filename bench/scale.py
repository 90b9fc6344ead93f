"""Minutes and peak memory of each notebook at several numbers of images, from the records of finished run sets.

    hpa synth data/scale-full --profile kaggle --size 128
    hpa synth data/scale-16th --profile kaggle --size 128 --images 1942
    STEPS=00,01,03_resnet18_study,05,06,07
    hpa run --profile kaggle --only $STEPS --data data/scale-16th --out outputs/scale-16th -p IMAGE_SIZE 128 -p EPOCHS 1
    hpa run --profile kaggle --only $STEPS --data data/scale-full --out outputs/scale-full -p IMAGE_SIZE 128 -p EPOCHS 1
    python bench/scale.py outputs/scale-16th outputs/scale-full

Prints, for each step, minutes and its kernel's peak memory. Linux counts the mapped pages of the image cache in it,
which are on disk and given back at need; *own MB* is the rest, and *growth* what more images add to it. Stored as
``outputs/reference/scale.csv``.
"""

import argparse
from pathlib import Path

import pandas as pd

from hpa_lib import store

MAP_IMAGES = ("00", "01", "02", "03", "04", "08")  # numbers of the notebooks that map the image cache


def read_steps(out: Path) -> pd.DataFrame:
    """One row per step that was run: step, images (with those of the test part), minutes, MB, cache MB, own MB."""
    description = store.load_json(out, "data/dataset.json")
    images = len(store.load_split(out)[0]) + description["test_images"]
    cached = sum(path.stat().st_size for path in (out / "cache").glob("*/images.npy")) / 2**20
    records = [store.load_json(out, f"notebooks/{path.name}") for path in sorted((out / "notebooks").glob("*.json"))]
    rows = [
        {
            "step": record["step"],
            "images": images,
            "minutes": record["seconds"] / 60,
            "MB": record["peak_memory_mb"],
            "cache MB": cached if record["step"].startswith(MAP_IMAGES) else 0,
        }
        for record in sorted(records, key=lambda record: record["step"])
        if record["status"] == "done"
    ]
    table = pd.DataFrame(rows)
    return table.assign(**{"own MB": table["MB"] - table["cache MB"]})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outs", type=Path, nargs="+", help="run sets of the same steps, the smallest first")
    options = parser.parse_args()
    table = pd.concat([read_steps(out) for out in options.outs], ignore_index=True)
    table = table.pivot(index="step", columns="images")  # one row per step: each column for each number of images
    growth = table["own MB"].iloc[:, -1] - table["own MB"].iloc[:, 0]
    table.columns = [f"{column}, {images} images" for column, images in table.columns]
    table = table.assign(growth=growth).reset_index()
    table = table.round({name: 1 if name.startswith("minutes") else 0 for name in table.columns})
    store.save_table(store.REFERENCE, "scale.csv", table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
