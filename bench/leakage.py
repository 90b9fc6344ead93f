"""What a random split promises on data with copies, what a grouped one does, and what new proteins then give.

    OMP_NUM_THREADS=1 python bench/leakage.py      # writes leakage.csv and leakage.png

Each seed draws a training set and a fresh set of other proteins. Some images get 1 to 3 near-copies with other exposure
and new noise: of the same field, of a field shifted by some pixels, or of one turned by 90, 180 or 270 degrees as well.
Only the folds differ between the splits. Each fold's model predicts its validation images and as many fresh ones:
``optimism`` is validation minus fresh, with a 95 % interval over the seeds. ``parted``: share of the images that have a
copy in another fold; ``found_...``: share of the copies that notebook 00's near-duplicate finder groups. Macro F1 is at
.5 with empty rows filled. The models are notebook 01b's, and the labels of the nearest training image.
"""

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hpa_synth
from hpa_lib import atlas, store
from hpa_lib.classical import features, models
from hpa_lib.data import duplicates, parallel, splits
from hpa_lib.decisions import bootstrap, metrics, thresholds
from hpa_lib.figures import style
from hpa_synth import data_sets, writing

KINDS = ("original", "again", "shifted", "turned")
SHARE, SHIFT, EXPOSURE, FOLDS = 0.3, 6, 0.2, 3  # images with copies; px; log-normal spread of each channel
LABELS = np.arange(atlas.NUM_LABELS)
MODELS = {"logistic": "logistic regression", "trees": "trees", "nearest": "labels of the nearest image"}


def make_copy(image: np.ndarray, kind: str, random: np.random.Generator) -> np.ndarray:
    """The field recorded again; where it is shifted, its edge is mirrored."""
    move = np.eye(2, 3, dtype=np.float32)
    move[:, 2] = 0 if kind == "again" else random.integers(-SHIFT, SHIFT + 1, 2)
    moved = cv2.warpAffine(image, move, image.shape[:2], borderMode=cv2.BORDER_REFLECT)
    light = np.rot90(moved, random.integers(1, 4) if kind == "turned" else 0) * random.lognormal(0, EXPOSURE, 4)
    return np.clip(np.rint(random.normal(light, np.sqrt(light))), 0, 255).astype(np.uint8)


def draw_set(seed: int, images: int) -> dict[str, np.ndarray]:
    """A data set and its copies, measured: ``values``, ``hashes``, ``labels``, ``groups``, ``field``, ``kinds``."""
    settings, families = data_sets.find_profile("quick", images, None, False), []
    for job in writing.make_jobs(settings, seed, "train"):
        look, random = {"protein": job.protein, "dark": job.dark}, np.random.default_rng([seed, job.index])
        image = hpa_synth.render(seed, job.index, job.labels, settings.size, settings.um_per_px, **look)
        kinds = random.choice(KINDS[1:], random.integers(1, 4) if random.random() < SHARE else 0)
        drawn = np.stack([image, *(make_copy(image, kind, random) for kind in kinds)])
        family = {"values": features.measure(drawn, 1, False), "hashes": duplicates.hash_images(drawn)}
        same = {"labels": np.isin(LABELS, job.labels).astype(np.uint8), "groups": job.protein, "field": job.index}
        family |= {name: np.stack([value] * len(drawn)) for name, value in same.items()}
        families.append(family | {"kinds": np.append(KINDS[0], kinds)})
    return {name: np.concatenate([family[name] for family in families]) for name in families[0]}


def score(model: str, data: dict, folds: np.ndarray, fresh: dict, fresh_folds: np.ndarray) -> dict[str, float]:
    """Macro AP and macro F1 on validation and on fresh images, and their differences."""
    found, row = {"val": np.zeros(data["labels"].shape), "fresh": np.zeros(fresh["labels"].shape)}, {}
    for fold in range(FOLDS):
        values, labels = data["values"][folds != fold], data["labels"][folds != fold]
        nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(1))
        fitted = nearest.fit(values, labels) if model == "nearest" else models.fit(values, labels, model, 1)
        predict = fitted.predict if model == "nearest" else partial(models.predict, fitted)
        found["val"][folds == fold] = predict(data["values"][folds == fold])
        found["fresh"][fresh_folds == fold] = predict(fresh["values"][fresh_folds == fold])
    for part, judged in (("val", data), ("fresh", fresh)):
        preds = thresholds.apply(found[part], 0.5, thresholds.FILL_EMPTY)
        row[f"{part}_ap"] = metrics.average_precision(judged["labels"], found[part]).mean()
        row[f"{part}_f1"] = metrics.macro_f1(judged["labels"], preds)
    return row | {f"optimism_{name}": row[f"val_{name}"] - row[f"fresh_{name}"] for name in ("ap", "f1")}


def run_seed(images: int, seed: int) -> list[dict]:
    """All rows of one pair of data sets, without and with the copies."""
    whole, rows = [draw_set(number, images) for number in (seed, 1000 + seed)], []
    for copies in ("none", "some"):
        kept = [(part["kinds"] == KINDS[0]) | (copies == "some") for part in whole]
        data, fresh = ({name: part[name][keep] for name in part} for part, keep in zip(whole, kept, strict=True))
        alone, field = np.arange(len(data["field"])), data["field"]
        near = duplicates.merge_groups(alone, duplicates.find_pairs(data["hashes"])[0])
        found = near == near[np.searchsorted(field, field)]  # in one group with the original, the first of its field
        fresh_folds = splits.make_folds(fresh["labels"], fresh["groups"], FOLDS, seed)
        ways = {"images": alone, "near-duplicates": near, "groups.csv": data["groups"]}
        for split in ways if copies == "some" else ("images", "groups.csv"):
            folds = splits.make_folds(data["labels"], ways[split], FOLDS, seed)
            parted = (pd.Series(folds).groupby(field).transform("nunique") > 1).mean()
            about = {"copies": copies, "split": split, "images": len(alone), "parted": parted}
            if split == "near-duplicates":
                about |= {f"found_{kind}": found[data["kinds"] == kind].mean() for kind in KINDS[1:]}
            rows += [{**about, "model": model} | score(model, data, folds, fresh, fresh_folds) for model in MODELS]
    return rows


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds, and 95 % intervals of the optimism: each seed has images of its own, so theirs is in it."""
    grouped = rows.groupby(["copies", "split", "model"], sort=False)
    table = grouped.mean()
    table.insert(0, "seeds", grouped.size())
    for name in ("ap", "f1"):
        optimism = [values.to_numpy() for _, values in grouped[f"optimism_{name}"]]
        found = pd.DataFrame([bootstrap.over_seeds(values, values[:, None]) for values in optimism], table.index)
        place = table.columns.get_loc(f"optimism_{name}") + 1
        for side in ("high", "low"):  # beside their estimate
            table.insert(place, f"{side}_{name}", found[side])
    return table.reset_index()


def draw(table: pd.DataFrame):
    """The optimism of each split and model, for macro AP and macro F1."""
    fig, axes = style.new_figure(9, 4.2, ncols=2, sharey=True)
    ways = table.groupby(["copies", "split"], sort=False).ngroup()
    names = "copies: " + table["copies"] + "\nfolds by " + table["split"]
    for ax, column, title in zip(axes, ("ap", "f1"), ("Macro AP", "Macro F1 at .5"), strict=True):
        for number, (model, look) in enumerate(zip(MODELS, style.marks(len(MODELS)), strict=True)):
            rows, look = table[table["model"] == model], look | {"linestyle": "", "label": MODELS[model]}
            place, middle = ways[rows.index] + 0.2 * (number - 1), rows[f"optimism_{column}"]
            ends = [middle - rows[f"low_{column}"], rows[f"high_{column}"] - middle]
            ax.errorbar(middle, place, xerr=ends, capsize=2, **look)
        ax.axvline(0, color=style.COLORS["grey"], linewidth=1)
        ax.set(title=title, xlabel="validation minus fresh images")
    axes[0].set_yticks(range(ways.max() + 1), names.drop_duplicates())
    axes[0].invert_yaxis()
    axes[1].legend(loc="center right", bbox_to_anchor=(1, 0.72))
    text = f"What validation promises too much. Means and 95 % intervals of {table['seeds'].max()} pairs of data sets."
    return style.caption(fig, text, synthetic=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=store.REFERENCE / "leakage")
    parser.add_argument("--images", type=int, default=500, help="of each set, besides the copies")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = parallel.run(partial(run_seed, options.images), range(options.seeds), 2)
    table = summarize(pd.DataFrame([row for part in rows for row in part]))
    store.save_table(options.out, "leakage.csv", table)
    save = partial(draw(table).savefig, dpi=110, bbox_inches="tight")
    store.write_atomic(options.out / "leakage.png", save)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
