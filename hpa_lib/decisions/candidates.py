"""The ways to choose thresholds (``thresholds.CANDIDATES``) tried side by side on one run, as notebook 05 does."""

import numpy as np
import pandas as pd

from hpa_lib.decisions import metrics, thresholds


def evaluate(
    labels: np.ndarray,
    probs: np.ndarray,
    folds: np.ndarray,
    judged_probs: np.ndarray | None = None,
    fill_empty: bool = thresholds.FILL_EMPTY,
) -> pd.DataFrame:
    """Every candidate on one run: tuned on validation, cross-fitted there, and its label sets of the judging images.

    Args:
        labels, probs: of the validation images.
        folds: int (N,), for cross-fitting, as in ``thresholds.cross_fit``.
        judged_probs: (M, 28) in 0..1, of the hold-out; None: the cross-fitted label sets of validation are judged.
        fill_empty: as in ``thresholds.apply``, for every score and label set but ``unfilled``.

    Returns:
        One row per candidate: ``name``, ``method``, ``thresholds`` float (28,), the macro F1 ``tuned_on`` (the images
        tuned on) and ``cross_fitted``, ``optimism`` and ``class_optimism`` (28,) (the first minus the second), and the
        label sets to judge, ``preds`` and ``unfilled`` uint8 (M, 28).
    """
    rows = []
    for name, (method, options) in thresholds.CANDIDATES.items():
        tuned = thresholds.tune(labels, probs, method, **options)
        unfilled = thresholds.cross_fit(labels, probs, folds, method, **options)
        preds = thresholds.fill_empty_rows(unfilled, probs) if fill_empty else unfilled
        tuned_f1 = metrics.f1_per_class(labels, thresholds.apply(probs, tuned, fill_empty))
        crossed_f1 = metrics.f1_per_class(labels, preds)
        row = {"name": name, "method": method, "thresholds": tuned}
        row |= {"tuned_on": tuned_f1.mean(), "cross_fitted": crossed_f1.mean()}
        row |= {"optimism": tuned_f1.mean() - crossed_f1.mean(), "class_optimism": tuned_f1 - crossed_f1}
        if judged_probs is not None:
            unfilled = thresholds.apply(judged_probs, tuned)
            preds = thresholds.apply(judged_probs, tuned, fill_empty)
        rows.append(row | {"preds": preds, "unfilled": unfilled})
    return pd.DataFrame(rows)
