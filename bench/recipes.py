"""Does the kit's recipe beat the report's at equal epochs? One network, several seeds, scored on the hold-out.

    python bench/recipes.py OUT --epochs 10 --seeds 3          # OUT: a run set in which notebook 00 has run

Three recipes for the study's CNN: ``report`` (cross-entropy, no class weights, logits that start at zero, the study's
augmentation), ``weights`` (the same with square-root class weights) and ``best`` (those weights, biases at the class
frequencies, images of rare labels drawn more often, exact turns, an average of the weights, eight turns at prediction).
Runs are stored under ``OUT/recipes`` and resumed: a second call goes on where the first one was stopped. Prints one
row a recipe: means over the seeds of macro F1 at .5 and macro AP, and the gain over ``report`` with its bootstrap
interval over groups of images; and stores it as ``OUT/tables/recipes.csv``.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import batches, cache, device, imbalance, intervals, metrics, models, predict, store, thresholds, training

RECIPES = {
    "report": {"class_weights": "none"},
    "weights": {"class_weights": "sqrt"},
    "best": {"class_weights": "sqrt", "prior": True, "sampling": 0.5, "augment": "turns", "ema": 0.98, "turns": 8},
}


def train_one(out: Path, name: str, seed: int, options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and groups of the hold-out under one recipe and seed."""
    recipe = {"prior": False, "sampling": 0.0, "augment": "report", "ema": 0.0, "turns": 1} | RECIPES[name]
    ids, labels, groups, folds = store.load_split(out)
    cache_ids, images = cache.load(out / "cache" / f"train_{options.size}")
    if not np.array_equal(ids, cache_ids):
        raise SystemExit("the cache and data/split.csv list other images: run 00_data.ipynb again")
    rows = {"train": np.flatnonzero(folds > 0), "val": np.flatnonzero(folds == 0), "holdout": np.flatnonzero(folds < 0)}
    weights = imbalance.class_weights(labels[rows["train"]].sum(axis=0), recipe["class_weights"])
    sampling = imbalance.sampling_weights(labels[rows["train"]], recipe["sampling"]) if recipe["sampling"] else None
    stream = {"shuffle": True, "augmentation": recipe["augment"], "sampling": sampling, "seed": seed}
    train = batches.ImageBatches(images, labels, rows["train"], options.batch, **stream)
    val = batches.ImageBatches(images, labels, rows["val"], options.batch)
    device.setup(options.precision, seed)
    model = models.MODELS[options.model](image_size=options.size)
    if recipe["prior"]:
        model.get_layer("logits").bias.assign(imbalance.prior_logits(labels[rows["train"]], weights))
    settings = {"seed": seed, "recipe": recipe, **{key: str(value) for key, value in vars(options).items()}}
    folder = out / "recipes" / f"{options.model}-{name}-{seed}"
    fitting = {"epochs": options.epochs, "lr": options.lr, "ema": recipe["ema"]}
    training.fit(model, train, val, folder, loss="bce", class_weights=weights, settings=settings, **fitting)
    probs = predict.predict_probs(model, images, rows["holdout"], turns=recipe["turns"])
    return labels[rows["holdout"]], probs, groups[rows["holdout"]]


def score(members: list[tuple]) -> tuple[dict, np.ndarray]:
    """Means over the seeds, and the seeds' mean macro F1 in every resample of the hold-out."""
    halves = [thresholds.apply(probs, np.full(probs.shape[1], 0.5)) for _, probs, _ in members]
    f1 = [metrics.macro_f1(labels, half) for (labels, _, _), half in zip(members, halves, strict=True)]
    ap = [metrics.average_precision(labels, probs).mean() for labels, probs, _ in members]
    draws = []
    for (labels, _, groups), half in zip(members, halves, strict=True):
        counts = intervals.resample(labels, half, groups, 1000, 0)
        draws.append(metrics.f1_of_counts(*counts).mean(axis=1))
    spread = np.std(f1, ddof=1) if len(f1) > 1 else np.nan
    return {"F1 at .5": np.mean(f1), "sd of seeds": spread, "macro AP": np.mean(ap)}, np.mean(draws, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="densenet", choices=models.MODELS)
    parser.add_argument("--size", type=int, default=128, help="pixels, a cached size")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--precision", default="float32", choices=device.PRECISIONS)
    options = parser.parse_args()
    rows, baseline = [], None
    for name in RECIPES:
        members = [train_one(options.out, name, seed, options) for seed in range(options.seeds)]
        row, draws = score(members)
        baseline = draws if baseline is None else baseline
        low, high = np.percentile(draws - baseline, [2.5, 97.5])
        rows.append({"recipe": name, **row, "gain": row["F1 at .5"] - (rows or [row])[0]["F1 at .5"]})
        rows[-1] |= {"gain low": low, "gain high": high}
    table = pd.DataFrame(rows)
    store.save_table(options.out, "tables/recipes.csv", table)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
