"""The scores that the benchmarks compare: macro AP, and macro F1 at .5 and with thresholds tuned on validation."""

import numpy as np

from hpa_lib.decisions import metrics, thresholds


def score(
    val_labels: np.ndarray, val_probs: np.ndarray, labels: np.ndarray, probs: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """``AP``, ``F1 at .5`` and ``F1 tuned`` (bagged) of judged images, and the label sets of the two; all rows filled.

    Args:
        val_labels, val_probs: 0/1 and in 0..1 (N, 28), of the validation images.
        labels, probs: the same (M, 28) of the judged images.
    """
    limits = {"F1 at .5": 0.5, "F1 tuned": thresholds.tune(val_labels, val_probs, "bagged")}
    preds = {name: thresholds.apply(probs, limit, thresholds.FILL_EMPTY) for name, limit in limits.items()}
    f1 = {name: metrics.macro_f1(labels, found) for name, found in preds.items()}
    return {"AP": metrics.average_precision(labels, probs).mean()} | f1, preds
