"""Does the kit's recipe beat the study's at equal epochs, and which part of it? Several seeds, scored on the hold-out.

    python bench/recipes.py OUT --epochs 10 --seeds 3            # OUT: a run set in which notebook 00 has run
    python bench/recipes.py OUT --epochs 10 --seeds 3 --ablate   # also "best" with each of its lines left out once
    hpa run --only 05,06,07 --out OUT --data DATA                # thresholds, ensembles and report of these runs

The recipes are those of ``hpa_lib/training/recipes.py``: ``study``, ``class_weights`` (the same with square-root class
weights), ``best``, and ablations such as "best without SAMPLING", where the line is as the study had it. Runs are
stored as ``OUT/runs/<model>-<recipe>-seed<n>``, with what notebooks 05 to 07 read: a second call goes on where the
first one was stopped. The last row is the baseline of notebook 01b (logistic regression on measured features), which
has no seeds.

Prints two tables. The first has, for each recipe, means over the seeds of macro F1 at .5 and unfilled (else empty rows
are filled for all, ``thresholds.FILL_EMPTY``), of how often the ten rarest classes are predicted and how often rightly,
of macro F1 with bagged thresholds tuned on validation, and of macro AP. The second has the gains in the three scores,
with intervals that contain images and seeds: over ``study``; of an ablation, what leaving the line out costs ``best``.
Stored as ``OUT/tables/recipes.csv``.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import scores

from hpa_lib import models, store
from hpa_lib.classical import models as classical
from hpa_lib.decisions import bootstrap, metrics, thresholds
from hpa_lib.training import device, recipes, runs

F1_DRAWS, AP_DRAWS = 1000, 200
RECIPES = ("study", "class_weights", "best")
ABLATIONS = [
    f"best without {line.upper()}" for line, value in recipes.STUDY.items() if value != recipes.RECIPES["best"][line]
]
BASELINE = "measured features, logistic regression"
SCORES = ("F1 at .5", "F1 tuned", "AP")


def score(out: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Scores of one recipe's runs on the hold-out, one entry per seed; ``..._draws`` (S, draws) in resamples."""
    _, all_labels, _, folds = store.load_split(out)
    rarest = np.argsort(all_labels[folds >= 0].sum(axis=0, dtype=int), kind="stable")[:10]
    rows = []
    for run in names:
        labels, probs, groups = store.load_scored(out, run, "holdout")
        row, preds = scores.score(*store.load_scored(out, run, "val")[:2], labels, probs)
        half = preds["F1 at .5"]
        row |= {"unfilled": metrics.macro_f1(labels, thresholds.apply(probs, 0.5))}
        row |= {"rare predicted": half[:, rarest].sum(), "rare right": (half & labels)[:, rarest].sum()}
        row |= {"AP_draws": resample_ap(labels, probs, groups)}
        for name, found in preds.items():
            counts = bootstrap.resample(labels, found, groups, F1_DRAWS, 0)
            row[f"{name}_draws"] = bootstrap.STATISTICS["macro_f1"](*counts)
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def compare(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict:
    """Means over the seeds, and for each of ``SCORES`` the gain over ``reference`` with its interval."""
    row = {name: found[name].mean() for name in ("unfilled", "rare predicted", "rare right", *SCORES)}
    for name in SCORES:
        draws = f"{name}_draws"
        gain = bootstrap.over_seeds(found[name] - reference[name], found[draws] - reference[draws])
        row |= {f"gain in {name}": gain["estimate"], f"low {name}": gain["low"], f"high {name}": gain["high"]}
    row["each seed"] = " ".join(f"{value:+.3f}" for value in found["F1 at .5"] - reference["F1 at .5"])
    return row


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
    parser.add_argument("--ablate", action="store_true", help="also best with each of its lines left out once")
    parser.add_argument("--size", type=int, default=96, help="pixels, a cached size")
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
    names = [*options.recipes, *(ABLATIONS if options.ablate else [])]
    scored = {name: [] for name in names}
    try:
        if not (store.load_split(options.out)[3] < 0).any():
            raise ValueError(f"{options.out} has no hold-out to score on: run 00_data.ipynb with HOLDOUT above 0")
        parts, rule = classical.load_parts(options.out, options.size, 0), {"model": "logistic", "class_weights": "none"}
        baseline, _ = classical.train_run(options.out, parts, options.size, 0, 1, seed=0, **rule)
        scored[BASELINE] = [baseline] * options.seeds  # it has none
        for seed in range(options.seeds):  # a stopped call leaves whole seeds
            for name in names:
                run = f"{options.model}-{name.lower().replace(' ', '-')}-seed{seed}"
                runs.train(options.model, options.out, name, run=run, seed=seed, **lines)
                scored[name].append(run)
    except (ValueError, OSError) as error:
        parser.error(f"{error}; for other settings give another OUT")
    scored = {name: score(options.out, found) for name, found in scored.items()}
    rows = []
    for name, found in scored.items():
        against = "best" if name in ABLATIONS else "study"
        rows.append({"recipe": name, "against": against} | compare(found, scored[against]))
    table = pd.DataFrame(rows)
    store.save_table(options.out, "tables/recipes.csv", table)
    gains = [name for name in table if name.startswith(("gain", "low", "high"))]
    print(table.drop(columns=["against", "each seed", *gains]).round(3).to_string(index=False))
    print(table[["recipe", "against", *gains, "each seed"]].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
