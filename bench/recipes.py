"""Does the kit's recipe beat the study's at equal epochs? One network, several seeds, scored on the hold-out.

    python bench/recipes.py OUT --epochs 10 --seeds 3          # OUT: a run set in which notebook 00 has run
    hpa run --only 05,06,07 --out OUT --data DATA              # thresholds, ensembles and report of these runs

Three recipes for the study's CNN: ``study`` (cross-entropy, no class weights, logits that start at zero, the study's
augmentation), ``weights`` (the same with square-root class weights) and ``best`` (``profiles.BEST``, and logits that
start at the classes' frequencies). Runs are stored as ``OUT/runs/<model>-<recipe>-seed<n>``, with what notebooks 05
to 07 read: a second call goes on where the first one was stopped. Prints one row per recipe: means over the seeds of
macro F1 at .5 (empty rows filled for all, ``thresholds.FILL_EMPTY``; and unfilled), of how often the ten rarest classes
are predicted (and how often rightly) and of macro AP, and the gains in macro F1 and AP over ``study``, with intervals
that contain images and seeds, and each seed's gain. Stored as ``OUT/tables/recipes.csv``.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import models, store
from hpa_lib.data import cache
from hpa_lib.decisions import bootstrap, metrics, thresholds
from hpa_lib.running import profiles
from hpa_lib.training import batches, device, imbalance, loop, predict

F1_DRAWS, AP_DRAWS = 1000, 200
STUDY = {
    "class_weights": "none",
    "loss": "bce",
    "prior": False,
    "sampling": 0.0,
    "augment": "study",
    "ema": 0.0,
    "tta": 1,
}
RECIPES = {
    "study": STUDY,
    "weights": STUDY | {"class_weights": "sqrt"},
    "best": STUDY | {"prior": True} | {name.lower(): value for name, value in profiles.BEST.items()},
}


def train_one(out: Path, name: str, seed: int, options) -> str:
    """Train and predict under one recipe and seed, unless that is done already; the run's name."""
    recipe, run = RECIPES[name], f"{options.model}-{name}-seed{seed}"
    ids, labels, _, folds = store.load_split(out)
    description = store.load_json(out, "data/dataset.json")
    rows = {"train": np.flatnonzero(folds > 0), "val": np.flatnonzero(folds == 0), "holdout": np.flatnonzero(folds < 0)}
    hardware = device.setup(options.precision, seed, options.model)
    settings = recipe | {"seed": seed, "model": options.model, "image_size": options.size, "epochs": options.epochs}
    chosen = device.resolve(options.model, "from scratch", hardware, learning_rate=options.lr, batch_size=options.batch)
    settings |= {name: chosen[name] for name in ("learning_rate", "batch_size")} | {"precision": hardware["precision"]}
    settings |= {
        "data_hash": description["data_hash"],
        "split": store.split_digest(out),
        "channels": "rgby",
        "weights": "scratch",
    }
    folder = store.run_folder(out, run)
    if (folder / "result.json").exists() and store.load_json(folder, "result.json")["settings"] == settings:
        return run
    cache_ids, images = cache.load(out / "cache" / f"train_{options.size}")
    if not np.array_equal(ids, cache_ids):
        raise ValueError("the cache and data/split.csv list other images: run 00_data.ipynb again")
    weights = imbalance.class_weights(labels[rows["train"]].sum(axis=0), recipe["class_weights"])
    sampling = imbalance.sampling_weights(labels[rows["train"]], recipe["sampling"]) if recipe["sampling"] else None
    stream = {"shuffle": True, "augmentation": recipe["augment"], "sampling": sampling, "seed": seed}
    train = batches.ImageBatches(images, labels, rows["train"], chosen["batch_size"], **stream)
    val = batches.ImageBatches(images, labels, rows["val"], chosen["batch_size"])
    model = models.MODELS[options.model](image_size=options.size)
    if recipe["prior"]:
        model.get_layer("logits").bias.assign(imbalance.prior_logits(labels[rows["train"]], weights))
    history = loop.fit(model, train, val, folder, class_weights=weights, settings=settings)
    for part in ("val", "holdout"):
        probs = predict.predict_probs(model, images, rows[part], turns=recipe["tta"])
        store.save_probs(out, run, part, ids[rows[part]], probs)
    if description["test_images"]:
        test_ids, test_images = cache.load(out / "cache" / f"test_{options.size}")
        probs = predict.predict_probs(model, test_images, np.arange(len(test_ids)), turns=recipe["tta"])
        store.save_probs(out, run, "test", test_ids, probs)
    result = {"run": run, "recipe": name, **settings, "settings": settings, "hardware": hardware}
    result |= {"best_epoch": int(history["val_macro_ap"].idxmax()) + 1, "seconds": history["seconds"].sum()}
    result |= {"images_per_second": history["images_per_second"].median(), "versions": device.versions()}
    result |= {"synthetic": description["synthetic"]}
    store.save_json(out, f"runs/{run}/result.json", result)
    return run


def score(out: Path, runs: list[str]) -> dict[str, np.ndarray]:
    """Scores of one recipe's runs on the hold-out, one entry per seed; ``..._draws`` (S, draws) in resamples."""
    _, all_labels, _, folds = store.load_split(out)
    rarest = np.argsort(all_labels[folds >= 0].sum(axis=0, dtype=int), kind="stable")[:10]
    rows = []
    for run in runs:
        ids, probs = store.load_probs(out, run, "holdout")
        labels, groups = store.load_truth(out, ids)
        half, unfilled = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY), thresholds.apply(probs, 0.5)
        counts = bootstrap.resample(labels, half, groups, F1_DRAWS, 0)
        row = {"F1 at .5": metrics.macro_f1(labels, half), "unfilled": metrics.macro_f1(labels, unfilled)}
        row |= {"rare predicted": half[:, rarest].sum(), "rare right": (half & labels)[:, rarest].sum()}
        row |= {"AP": metrics.average_precision(labels, probs).mean(), "AP_draws": resample_ap(labels, probs, groups)}
        rows.append(row | {"F1_draws": metrics.f1_of_counts(*counts).mean(axis=1)})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def compare(scores: dict[str, np.ndarray], baseline: dict[str, np.ndarray]) -> dict:
    """One row of the table: means over the seeds, and the gains over ``baseline`` in macro F1 and macro AP."""
    row = {name: scores[name].mean() for name in ("F1 at .5", "unfilled", "rare predicted", "rare right", "AP")}
    gain = bootstrap.over_seeds(scores["F1 at .5"] - baseline["F1 at .5"], scores["F1_draws"] - baseline["F1_draws"])
    ap_gain = bootstrap.over_seeds(scores["AP"] - baseline["AP"], scores["AP_draws"] - baseline["AP_draws"])
    row |= {"gain": gain["estimate"], "low": gain["low"], "high": gain["high"]}
    row["each seed"] = " ".join(f"{value:+.3f}" for value in scores["F1 at .5"] - baseline["F1 at .5"])
    row["gain unfilled"] = (scores["unfilled"] - baseline["unfilled"]).mean()
    return row | {"AP gain": ap_gain["estimate"], "AP low": ap_gain["low"], "AP high": ap_gain["high"]}


def resample_ap(labels: np.ndarray, probs: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Macro AP (AP_DRAWS,) in resamples of the groups."""
    random = np.random.default_rng(0)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    draws = []
    for _ in range(AP_DRAWS):
        rows = np.concatenate([members[number] for number in random.integers(len(members), size=len(members))])
        draws.append(metrics.average_precision(labels[rows], probs[rows]).mean())
    return np.array(draws)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="densenet", choices=models.MODELS)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES, help="study must be among them")
    parser.add_argument("--size", type=int, default=128, help="pixels, a cached size")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=0, help="images; 0: by network and device, as in the notebooks")
    parser.add_argument("--lr", type=float, default=0.0, help="0: by network, as in the notebooks")
    parser.add_argument("--precision", default="float32", choices=device.PRECISIONS)
    options = parser.parse_args()
    if "study" not in options.recipes or options.seeds < 1:
        parser.error("study must be among the recipes, and there must be a seed")
    scored = {}
    try:
        if not (store.load_split(options.out)[3] < 0).any():
            raise ValueError(f"{options.out} has no hold-out to score on: run 00_data.ipynb with HOLDOUT above 0")
        for seed in range(options.seeds):  # a stopped call leaves whole seeds
            for name in options.recipes:
                scored.setdefault(name, []).append(train_one(options.out, name, seed, options))
    except (ValueError, OSError) as error:
        parser.error(f"{error}; for other settings give another OUT")
    scored = {name: score(options.out, runs) for name, runs in scored.items()}
    table = pd.DataFrame([{"recipe": name} | compare(scores, scored["study"]) for name, scores in scored.items()])
    store.save_table(options.out, "tables/recipes.csv", table)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
