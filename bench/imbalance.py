"""What imbalance does to the rare classes, and what helps: the same data drawn at four ratios.

    python bench/imbalance.py outputs/imbalance            # draws, measures, trains, plots; a second call only plots

``hpa synth --imbalance`` keeps the number of training images and draws one balanced test part for all ratios, so only
the counts of the training classes differ. Logistic regression on measured features (``hpa_lib/classical``) is trained
four ways: plain; with balanced class weights; with images of rare classes repeated (``imbalance.sampling_weights``);
plain with thresholds tuned on out-of-fold probabilities of the training images. All but the last decide at .5, and an
image that no class reaches gets its most probable class. F1 is judged on the balanced test part. Writes
``imbalance.csv`` and ``imbalance.png`` into the folder.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import hpa_synth
from hpa_lib import store
from hpa_lib.classical import features, models
from hpa_lib.data import cache, kaggle, splits
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.figures import classical
from hpa_lib.training import imbalance

RARE = 10  # classes, by their real counts
FIT = {"model": "logistic", "value": 1}
FOLDS = 5


def load_set(out: Path, ratio: float, images: int, size: int, seed: int) -> dict[str, models.Part]:
    """Draw and measure one data set, or read what an earlier call left; its training and test part."""
    folder = out / f"ratio-{ratio:g}-seed{seed}"
    data = hpa_synth.write_dataset(folder / "data", "quick", images, size, seed, imbalance=ratio)
    groups = pd.read_csv(data / "groups.csv", dtype={"Id": str}).set_index("Id")["group"]
    parts = {}
    for part, table in (("train", data / "train.csv"), ("test", data / "truth" / "test_truth.csv")):
        ids, labels = kaggle.read_labels(table)
        cache.build(data, ids, part, size, folder / "cache")
        _, values = features.load(folder, part, size)
        parts[part] = models.Part(ids, values, labels, groups[ids].to_numpy())
    return parts


def predict_all(train: models.Part, values: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Label sets uint8 (N, 28) of the test images, one for each way of training and deciding."""
    rare_first = imbalance.sampling_weights(train.labels, power=1.0)
    random = np.random.default_rng(seed)
    repeated = random.choice(len(train.ids), len(train.ids), p=rare_first / rare_first.sum())
    plain = models.predict(models.fit(train.values, train.labels, **FIT), values)
    balanced = models.fit(train.values, train.labels, class_weights="balanced", **FIT)
    resampled = models.fit(train.values[repeated], train.labels[repeated], **FIT)
    probs = {"nothing": plain, "class weights": models.predict(balanced, values)}
    probs["resampling"] = models.predict(resampled, values)
    preds = {method: thresholds.apply(found, 0.5, thresholds.FILL_EMPTY) for method, found in probs.items()}
    folds = splits.make_folds(train.labels, train.groups, FOLDS, seed)
    tuned = thresholds.tune(train.labels, models.predict_out_of_fold(train, folds, **FIT), "bagged")
    groups_of = [len(np.unique(train.groups[target == 1])) for target in train.labels.T]
    tuned[np.array(groups_of) < 2] = 0.5  # from one group nothing can be predicted out of fold
    return preds | {"tuned thresholds": thresholds.apply(plain, tuned, thresholds.FILL_EMPTY)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ratios", type=float, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--images", type=int, default=1500, help="training images of each set")
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--seeds", type=int, default=2, help="data sets per ratio")
    options = parser.parse_args()
    sets, counts = hpa_synth.sampling.read_label_sets()
    rarest, start, rows = np.argsort(counts @ sets)[:RARE], time.monotonic(), []
    for seed in range(options.seeds):
        for ratio in options.ratios:
            parts = load_set(options.out, ratio, options.images, options.size, seed)
            found, test = parts["train"].labels.sum(axis=0, dtype=int), parts["test"]
            for method, preds in predict_all(parts["train"], test.values, seed).items():
                f1 = metrics.f1_per_class(test.labels, preds)
                row = {"ratio": ratio, "seed": seed, "drawn": found.max() / found.min(), "method": method}
                rare = {"rare_images": found[rarest].mean(), "rare_named": preds[:, rarest].sum()}
                rows.append(row | rare | {"rare_f1": f1[rarest].mean(), "macro_f1": f1.mean()})
    table = pd.DataFrame(rows)
    store.save_table(options.out, "imbalance.csv", table)
    fig = classical.imbalance(table, RARE, synthetic=True)
    store.write_atomic(options.out / "imbalance.png", lambda path: fig.savefig(path, dpi=150, bbox_inches="tight"))
    print(table.groupby(["ratio", "method"], sort=False).mean().round(3).drop(columns="seed").to_string())
    print(f"{(time.monotonic() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
