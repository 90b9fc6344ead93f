"""Do probabilities mean what they say: reliability, calibration error, and one temperature to correct them.

Class weights in the loss push probabilities up on purpose, so a weighted model is expected to be over-confident: its
thresholds move, and averages with other members need care. A temperature keeps the order of the images in each class.
Shapes as in ``metrics``.
"""

import numpy as np
import pandas as pd
from scipy import optimize, special

from hpa_lib.decisions import metrics

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1 before a logarithm
COLDEST, HOTTEST = 0.01, 100.0


def logit(probs: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) as float64, kept finite."""
    return special.logit(np.clip(np.asarray(probs, np.float64), SMALLEST, 1 - SMALLEST))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)), without overflow and, far below 0, without rounding to 0."""
    return special.expit(logits)


def reliability(labels: np.ndarray, probs: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """How often the labels come true, by predicted probability (``bins`` of equal width), all classes pooled.

    Returns:
        One row per bin that holds something: ``low``, ``high``, ``count``, ``mean_prob``, ``positive_share``. The two
        last are equal in every row of a calibrated model.
    """
    labels, probs = metrics.check_binary(labels, "labels"), metrics.check_probs(probs)
    metrics.check_same_shape(labels, probs, "probs")
    bin_of = np.minimum((probs.ravel() * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    table = pd.DataFrame(
        {
            "low": np.arange(bins) / bins,
            "high": np.arange(1, bins + 1) / bins,
            "count": count,
            "mean_prob": metrics.divide(np.bincount(bin_of, probs.ravel(), bins), count),
            "positive_share": metrics.divide(np.bincount(bin_of, labels.ravel(), bins), count),
        }
    )
    return table[table["count"] > 0].reset_index(drop=True)


def expected_calibration_error(labels: np.ndarray, probs: np.ndarray, bins: int = 15) -> float:
    """The mean distance of predicted probability and observed share over the bins of ``reliability``, by their counts.

    Most of the N x 28 probabilities are sure negatives, so a pooled error is small by itself; see the one per class.
    Source: Guo et al. (2017), "On calibration of modern neural networks", equation 3.
    """
    table = reliability(labels, probs, bins)
    return float(np.average((table["mean_prob"] - table["positive_share"]).abs(), weights=table["count"]))


def calibration_error_per_class(labels: np.ndarray, probs: np.ndarray, bins: int = 15) -> np.ndarray:
    """The expected calibration error of each class by itself, float (28,)."""
    pairs = zip(np.transpose(labels), np.transpose(probs), strict=True)
    return np.array([expected_calibration_error(truth[:, None], column[:, None], bins) for truth, column in pairs])


def fit_temperature(labels: np.ndarray, probs: np.ndarray) -> float:
    """The temperature T at which ``sigmoid(logit(probs) / T)`` has the lowest cross-entropy on these validation images.

    Above 1 the model was too sure, below 1 not sure enough. The loss is convex in 1 / T, so it has one minimum; T
    stays within .01 to 100, also for perfectly separated labels.
    """
    labels, logits = metrics.check_binary(labels, "labels"), logit(metrics.check_probs(probs))
    metrics.check_same_shape(labels, logits, "probs")
    margins = np.where(labels, logits, -logits)  # positive where the more probable answer is the true one

    def cross_entropy(log_temperature: float) -> float:
        return np.logaddexp(0, -margins * np.exp(-log_temperature)).mean()

    ends = np.log([COLDEST, HOTTEST])
    return float(np.exp(optimize.minimize_scalar(cross_entropy, bounds=ends, options={"xatol": 1e-6}).x))


def scale(probs: np.ndarray, temperature: float) -> np.ndarray:
    """The same probabilities at another temperature: float32 (N, 28), in the same order within each class."""
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: give a number above 0, such as that of fit_temperature")
    return sigmoid(logit(metrics.check_probs(probs)) / temperature).astype(np.float32)


def scale_cross_fitted(labels: np.ndarray, probs: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """``scale`` with each fold's temperature fitted on the other ``folds`` (N,): fair to score on these images."""
    scaled = np.zeros(np.shape(probs), np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        scaled[inside] = scale(probs[inside], fit_temperature(labels[~inside], probs[~inside]))
    return scaled
