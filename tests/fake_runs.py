"""A plausible ``OUT`` folder without any training: correlated runs on severely imbalanced labels.

Each label set is drawn from prevalences that fall from 40 % to 0.3 %. A run's logits are truth times the class's
separability, plus a part of noise that all runs share (hard images are hard for all) and a part of its own, plus a
shift per class that stands for class weights and poor calibration.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import labels as label_names
from hpa_lib import store

RUNS = {"densenet-rgby-none": 0.9, "inception_v2-rgby-log": 1.2, "resnet18-rgby-none": 1.5}  # name -> sharpness
NUM_LABELS = label_names.NUM_LABELS


def draw_labels(generator: np.random.Generator, num_images: int) -> np.ndarray:
    prevalence = np.geomspace(0.4, 0.003, NUM_LABELS)[generator.permutation(NUM_LABELS)]
    labels = (generator.random((num_images, NUM_LABELS)) < prevalence).astype(np.uint8)
    empty = np.flatnonzero(~labels.any(axis=1))
    labels[empty, prevalence.argmax()] = 1
    return labels


def draw_probs(generator: np.random.Generator, labels: np.ndarray, sharpness: float, shared: np.ndarray) -> np.ndarray:
    own = generator.normal(size=labels.shape)
    rate = labels.mean(axis=0).clip(1e-3)
    center = np.log(rate / (1 - rate)) + generator.normal(0, 0.7, NUM_LABELS)
    logits = center + sharpness * (2.0 * labels + 0.8 * shared + 0.8 * own)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def write_out(out: Path, data: Path, runs: dict = RUNS, num_images: int = 1500, seed: int = 0) -> None:
    """Write split, runs and a Kaggle-layout data folder's small files as the earlier notebooks would."""
    generator = np.random.default_rng(seed)
    labels = draw_labels(generator, num_images)
    part = generator.choice(["train", "val", "holdout", "test"], num_images, p=[0.2, 0.4, 0.2, 0.2])
    ids = np.array([f"{number:08x}-fake-{name}" for number, name in enumerate(part)])
    folds = np.select([part == "val", part == "holdout"], [0, -1], 1)
    known = part != "test"
    groups = np.arange(num_images) // 2  # near-duplicates come in pairs
    store.save_split(out, ids[known], labels[known], groups[known], folds[known])
    store.save_json(
        out, "data/dataset.json", {"path": str(data), "synthetic": True, "test_images": int((part == "test").sum())}
    )
    shared = generator.normal(size=labels.shape)
    for run, sharpness in runs.items():
        probs = draw_probs(generator, labels, sharpness, shared)
        for name in store.PARTS:
            store.save_probs(out, run, name, ids[part == name], probs[part == name])
        store.save_json(out, f"runs/{run}/result.json", _result(run))
    _write_data(data, ids[part == "test"], labels[part == "test"])


def _result(run: str) -> dict:
    model, channels, class_weights = run.split("-")[:3]
    result = {"model": model, "channels": channels, "class_weights": class_weights, "loss": "bce"}
    return {"run": run, **result, "fold": 0, "seed": 0, "synthetic": True}


def _write_data(data: Path, ids: np.ndarray, labels: np.ndarray) -> None:
    (data / "truth").mkdir(parents=True, exist_ok=True)
    targets = [label_names.format_target(row) for row in labels]
    pd.DataFrame({"Id": ids, "Predicted": "0"}).to_csv(data / "sample_submission.csv", index=False)
    pd.DataFrame({"Id": ids, "Target": targets}).to_csv(data / "truth" / "test_truth.csv", index=False)
    (data / "synthetic.json").write_text(json.dumps({"profile": "fake"}), encoding="utf-8")
