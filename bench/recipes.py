"""Does the kit's recipe beat the study's at equal epochs? One network, several seeds, scored on the hold-out.

    python bench/recipes.py OUT --epochs 10 --seeds 3          # OUT: a run set in which notebook 00 has run
    hpa run --only 05,06,07 --out OUT --data DATA              # thresholds, ensembles and report of these runs

The recipes are those of ``hpa_lib/training/recipes.py``: ``study``, ``class_weights`` (the same with square-root class
weights), ``best``, and ablations such as "best without SAMPLING". Runs are stored as
``OUT/runs/<model>-<recipe>-seed<n>``, with what notebooks 05 to 07 read: a second call goes on where the first one was
stopped. Prints one row per recipe: means over the seeds of macro F1 at .5 (empty rows filled for all,
``thresholds.FILL_EMPTY``; and unfilled), of how often the ten rarest classes are predicted (and how often rightly) and
of macro AP, and the gains in macro F1 and AP over ``study``, with intervals that contain images and seeds, and each
seed's gain. Stored as ``OUT/tables/recipes.csv``.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import models, store
from hpa_lib.decisions import bootstrap, metrics, thresholds
from hpa_lib.training import device, runs

F1_DRAWS, AP_DRAWS = 1000, 200
RECIPES = ("study", "class_weights", "best")


def score(out: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Scores of one recipe's runs on the hold-out, one entry per seed; ``..._draws`` (S, draws) in resamples."""
    _, all_labels, _, folds = store.load_split(out)
    rarest = np.argsort(all_labels[folds >= 0].sum(axis=0, dtype=int), kind="stable")[:10]
    rows = []
    for run in names:
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
    parser.add_argument("--recipes", nargs="+", default=RECIPES, help="study must be among them")
    parser.add_argument("--size", type=int, default=128, help="pixels, a cached size")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=0, help="images; 0: by network and device, as in the notebooks")
    parser.add_argument("--lr", type=float, default=0.0, help="0: by network, as in the notebooks")
    parser.add_argument("--precision", default="float32", choices=device.PRECISIONS)
    options = parser.parse_args()
    if "study" not in options.recipes or options.seeds < 1:
        parser.error("study must be among the recipes, and there must be a seed")
    lines = {"image_size": options.size, "epochs": options.epochs, "batch_size": options.batch}
    lines |= {"learning_rate": options.lr, "precision": options.precision, "weights": "scratch"}
    scored = {name: [] for name in options.recipes}
    try:
        if not (store.load_split(options.out)[3] < 0).any():
            raise ValueError(f"{options.out} has no hold-out to score on: run 00_data.ipynb with HOLDOUT above 0")
        for seed in range(options.seeds):  # a stopped call leaves whole seeds
            for name in options.recipes:
                run = f"{options.model}-{name.replace(' ', '-')}-seed{seed}"
                runs.train(options.model, options.out, name, run=run, seed=seed, **lines)
                scored[name].append(run)
    except (ValueError, OSError) as error:
        parser.error(f"{error}; for other settings give another OUT")
    scored = {name: score(options.out, names) for name, names in scored.items()}
    table = pd.DataFrame([{"recipe": name} | compare(scores, scored["study"]) for name, scores in scored.items()])
    store.save_table(options.out, "tables/recipes.csv", table)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
