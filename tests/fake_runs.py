"""A plausible ``OUT`` folder without any training: correlated runs on severely imbalanced labels.

Each label set is drawn from prevalences that fall from 40 % to 0.3 %. A run's logits are truth times the class's
separability, plus a part of noise that all runs share (hard images are hard for all) and a part of its own, plus a
shift per class that stands for class weights and poor calibration.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import atlas, store
from hpa_lib.data import kaggle
from hpa_lib.decisions import thresholds

RUNS = {"densenet-rgby-none": 0.9, "inception_v2-rgby-log": 1.2, "resnet18-rgby-none": 1.5}  # name -> sharpness
RECIPE = {"loss": "bce", "augment": "study", "mix": "none", "sampling": 0.0, "epochs": 3, "learning_rate": 0.001}
NUM_LABELS = atlas.NUM_LABELS
TEST = -2  # the fold number of test images, here only


def draw_labels(generator: np.random.Generator, num_images: int) -> np.ndarray:
    prevalence = np.geomspace(0.4, 0.003, NUM_LABELS)[generator.permutation(NUM_LABELS)]
    labels = (generator.random((num_images, NUM_LABELS)) < prevalence).astype(np.uint8)
    empty = np.flatnonzero(~labels.any(axis=1))
    labels[empty, prevalence.argmax()] = 1
    return labels


def draw_probs(generator: np.random.Generator, labels: np.ndarray, sharpness: float, shared: np.ndarray) -> np.ndarray:
    single = generator.normal(size=labels.shape)
    rate = labels.mean(axis=0).clip(1e-3)
    center = np.log(rate / (1 - rate)) + generator.normal(0, 0.7, NUM_LABELS)
    logits = center + sharpness * (2.0 * labels + 0.8 * shared + 0.8 * single)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def write_out(
    out: Path, data: Path, runs: Mapping[str, float] = RUNS, num_images: int = 1500, holdout: float = 0.2, seed: int = 0
) -> None:
    """Write split, runs and a Kaggle-layout data folder's small files as the earlier notebooks would.

    A run named ``...-fold1`` validates on fold 1, any other on fold 0; there are two folds.
    """
    generator = np.random.default_rng(seed)
    labels = draw_labels(generator, num_images)
    folds = generator.choice([0, 1, -1, TEST], num_images, p=[0.4, 0.4 - holdout, holdout, 0.2])
    ids = np.array([f"{number:08x}-fake" for number in range(num_images)])
    groups = np.arange(num_images) // 2  # near-duplicates come in pairs
    known, test = folds != TEST, folds == TEST
    store.save_split(out, ids[known], labels[known], groups[known], folds[known])
    _write_data(data, ids[test], labels[test])
    description = {"path": str(data), "synthetic": True, "test_images": int(test.sum())}
    store.save_json(out, "data/dataset.json", description | {"data_hash": kaggle.fingerprint(data)})
    shared = generator.normal(size=labels.shape)
    for run, sharpness in runs.items():
        probs = draw_probs(generator, labels, sharpness, shared)
        fold = int(run.endswith("-fold1"))
        for part, rows in (("val", folds == fold), ("holdout", folds == -1), ("test", test)):
            store.save_probs(out, run, part, ids[rows], probs[rows])
        model, channels, class_weights = run.split("-")[:3]
        result = {"run": run, "model": model, "channels": channels, "class_weights": class_weights}
        result |= {"fold": fold, "seed": 0, "synthetic": True, "split": store.split_digest(out)}
        store.save_json(out, f"runs/{run}/result.json", result)


def _write_data(data: Path, ids: np.ndarray, labels: np.ndarray) -> None:
    (data / "truth").mkdir(parents=True, exist_ok=True)
    targets = [atlas.format_target(row) for row in labels]
    pd.DataFrame({"Id": ids, "Predicted": "0"}).to_csv(data / "sample_submission.csv", index=False)
    pd.DataFrame({"Id": ids, "Target": targets}).to_csv(data / "truth" / "test_truth.csv", index=False)


def complete(out: Path) -> None:
    """Give the fake runs the settings and decisions that notebooks 02 to 06 would have stored; made-up scores."""
    runs, tuned = store.list_runs(out), {}
    for run in runs:
        result = store.load_json(out, f"runs/{run}/result.json")
        record = {"weights": "from scratch", "best_epoch": 2.0, "seconds": 60, "images_per_second": 50.0, "tta": 1}
        record["settings"] = RECIPE | {"model": result["model"]}
        store.save_json(out, f"runs/{run}/result.json", result | record)
        ids, probs = store.load_probs(out, run, "val")
        tuned[run] = {"global": thresholds.tune(store.load_truth(out, ids)[0], probs, "global")}
    decision = {"chosen_by": "parameter", "recommended": "global", "method": "global", "options": {}, "folds": 4}
    decision |= {"seed": 0, "fill_empty": True, "thresholds": tuned, "runs": store.digest_runs(out, list(tuned))}
    store.save_json(out, "decisions/thresholds.json", decision)
    scores = {"union of two": 0.31, "mean": 0.42, **dict.fromkeys(runs, 0.3)}
    ensemble = {"members": {run: [run] for run in runs}, "pair": runs[:2], "chosen": "mean", "macro_f1": scores}
    ensemble |= {"runs": decision["runs"], "dropped": [], "fallback": "0", "chosen_by": "parameter", "fill_empty": True}
    store.save_json(out, "decisions/ensemble.json", ensemble | {"cross_fitted": scores})
