"""What soft F1 should do with a class that is absent from the batch: three answers, and cross-entropy alone.

    python bench/losses.py [--seeds 5] [--out outputs/reference]

Trains a small network on drawn features of 28 classes (40 % down to .3 % of the images), batches of 16, with no class
weights and with square-root ones. *constant* is ``losses.soft_f1``: an absent class adds 1 and has no gradient. *left
out* takes the mean over the present classes only. *smoothed* is ``(2 TP + 1) / (total + 1)``, which pushes the
probabilities of absent classes down. All but the last row are added to ``bce``. Prints macro F1 at .5 (empty rows
filled), macro AP, and predicted / true positives of the ten rarest classes, means over the seeds, on fresh images;
with ``--out`` also stores them as ``losses.csv`` there.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import ops

from hpa_lib import store
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.training import device, imbalance, losses

SHARES = np.geomspace(0.4, 0.003, 28)


def left_out(labels, logits, weights):
    """Soft F1 over the classes that are present in the batch."""
    probs, present = ops.sigmoid(logits), ops.cast(ops.any(labels > 0, axis=0), "float32") * weights
    f1 = 2 * ops.sum(labels * probs, axis=0) / (ops.sum(labels, axis=0) + ops.sum(probs, axis=0) + 1e-7)
    return ops.broadcast_to(ops.sum(present * (1 - f1)) / ops.sum(present), ops.shape(logits)[:1])


def smoothed(labels, logits, weights):
    """Soft F1 with one more hit for every class."""
    probs = ops.sigmoid(logits)
    f1 = (2 * ops.sum(labels * probs, axis=0) + 1) / (ops.sum(labels, axis=0) + ops.sum(probs, axis=0) + 1)
    return ops.broadcast_to(ops.sum(weights * (1 - f1)) / ops.sum(weights), ops.shape(logits)[:1])


def draw(random, centers, size):
    """Features float32 (size, 64) in which each label leaves its mark, and labels uint8 (size, 28)."""
    labels = (random.random((size, 28)) < SHARES).astype(np.uint8)
    return (labels @ centers + random.normal(size=(size, 64))).astype(np.float32), labels


def score(loss, scheme, seed):
    """Macro F1, macro AP and the share predicted / true of the ten rarest classes after eight epochs."""
    random = np.random.default_rng(seed)
    device.setup("float32", seed)
    centers = random.normal(0, 0.5, (28, 64))
    (features, labels), (fresh, truth) = draw(random, centers, 3000), draw(random, centers, 6000)
    weights = imbalance.class_weights(labels.sum(axis=0), scheme)
    hidden = keras.layers.Dense(64, activation="relu")
    model = keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(28)])
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=losses.make_loss(loss, weights))
    model.fit(features, labels.astype(np.float32), batch_size=16, epochs=8, verbose=0)
    probs = 1 / (1 + np.exp(-ops.convert_to_numpy(model(fresh))))
    preds = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY)
    rare = preds[:, -10:].sum() / truth[:, -10:].sum()
    return metrics.macro_f1(truth, preds), metrics.average_precision(truth, probs).mean(), rare


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder for losses.csv")
    options = parser.parse_args()
    losses.LOSSES.update(left_out=left_out, smoothed=smoothed)
    kinds = {"constant": "bce+soft_f1", "left out": "bce+left_out", "smoothed": "bce+smoothed", "bce alone": "bce"}
    rows = []
    for name, loss in kinds.items():
        for scheme in ("none", "sqrt"):
            f1, ap, rare = np.array([score(loss, scheme, seed) for seed in range(options.seeds)]).T
            sd = f1.std(ddof=1) if len(f1) > 1 else np.nan
            row = {"absent class": name, "class weights": scheme, "macro F1": f1.mean(), "sd": sd}
            rows.append(row | {"macro AP": ap.mean(), "rare pred / true": rare.mean()})
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    if options.out:
        store.save_table(options.out, "losses.csv", table)


if __name__ == "__main__":
    main()
