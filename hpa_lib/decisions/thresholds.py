"""From probabilities to label sets: the only file that compares probabilities with thresholds.

Positive is ``probs >= threshold``, written once, in ``apply``. ``tune`` finds 28 thresholds in one of several ways
(``METHODS``); ``cross_fit`` applies them to images they were not tuned on, so that the optimism of tuning is a number.

All label sets that are compared must treat an image that no class reaches in the same way: at plain .5 a careful model
leaves most images empty, so filling only one side changes the result. ``FILL_EMPTY`` is the rule; notebook 05 stores
that of a run set, and 06 and 07 read it there. Shapes as in ``metrics``.
"""

from pathlib import Path

import numpy as np

from hpa_lib import atlas, store
from hpa_lib.decisions import calibration, metrics

NO_POSITIVES = 0.5  # used where the labels hold no positive at all
FILL_EMPTY = True  # an image that no class reaches gets its most probable class: every image of this data has a label


def apply(probs: np.ndarray, thresholds: np.ndarray | float, fill_empty: bool = False) -> np.ndarray:
    """The predicted label sets, uint8 (N, 28): 1 where the probability reaches the threshold.

    Args:
        thresholds: float (28,), or one number for all classes.
        fill_empty: as ``fill_empty_rows``.
    """
    probs = metrics.check_probs(probs)
    thresholds = np.asarray(thresholds, np.float64)
    if thresholds.shape not in ((), probs.shape[1:]) or np.isnan(thresholds).any():
        raise ValueError(
            f"thresholds of shape {thresholds.shape} for probs of shape {probs.shape}: give one per class, not NaN"
        )
    preds = (probs >= thresholds).astype(np.uint8)
    return fill_empty_rows(preds, probs) if fill_empty else preds


def load(out: Path, run: str) -> tuple[np.ndarray, bool]:
    """The thresholds of a run, float (28,), and whether empty rows are filled, as notebook 05 recommends.

    Where notebook 05 has not taken this run, all thresholds are .5.

    Raises:
        MissingInput: notebook 05 has run, but on other runs than those that are there now.
    """
    half = np.full(atlas.NUM_LABELS, 0.5)
    if not (Path(out) / "decisions" / "thresholds.json").exists():
        return half, FILL_EMPTY
    decision = store.load_decision(out, "thresholds")
    tuned = decision["thresholds"].get(run, {}).get(decision["recommended"], half)
    return np.array(tuned, float), decision.get("fill_empty", FILL_EMPTY)


def fill_empty_rows(preds: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """A copy of ``preds`` in which every empty row holds its most probable class (the lowest number in a tie)."""
    preds, probs = metrics.check_binary(preds, "preds").copy(), metrics.check_probs(probs)
    metrics.check_same_shape(preds, probs, "probs")
    empty = np.flatnonzero(~preds.any(axis=1))
    preds[empty, probs[empty].argmax(axis=1)] = 1
    return preds


def tune(labels: np.ndarray, probs: np.ndarray, method: str = "exact", **options) -> np.ndarray:
    """28 thresholds, tuned for macro F1 on the given images.

    Since every class enters macro F1 by itself, each threshold can be tuned alone. A class without positives cannot
    be tuned: every method but ``flat`` gives it the best global threshold (its F1 is 0 here whatever it predicts, so a
    guess can only help on other images); where no class has positives, that is .5. ``method`` is one of ``METHODS``,
    and ``options`` are those of ``tune_<method>``.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r}: use one of {', '.join(METHODS)}")
    labels, probs = metrics.check_binary(labels, "labels"), metrics.check_probs(probs)
    metrics.check_same_shape(labels, probs, "probs")
    return METHODS[method](labels, probs, **options)


def tune_exact(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Each class's best threshold, exactly, float (28,): no other threshold scores a higher F1 on these images.

    Sorted once, the F1 of all N cuts follows from cumulative counts: O(N log N), no grid. The threshold lies midway
    between the two probabilities it separates; of several best cuts the one with the fewest positives wins.
    """
    return _fill_untunable(_best_cuts(labels, probs), labels, probs)


def tune_grid(labels: np.ndarray, probs: np.ndarray, points: int = 100) -> np.ndarray:
    """Each class's best threshold on an even grid 0, 1/points, ..., float (28,), as the study's loop finds it."""
    grid = np.arange(points) / points
    best = f1_curve(labels, probs, grid).argmax(axis=0)
    return _fill_untunable(grid[best], labels, probs)


def tune_global(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """The one threshold, 28 times, that gives the highest macro F1 when all classes share it, exactly.

    Lowering it passes all N x 28 probabilities once; each passing changes the F1 of one class only.
    """
    if not labels.any():
        return np.full(labels.shape[1], NO_POSITIVES)
    ranked, f1, last = _f1_of_cuts(labels, probs)
    steps = np.zeros(f1.shape)
    for column, cuts in enumerate(last):
        steps[column, cuts] = np.diff(f1[column, cuts], prepend=0)  # a tie enters as one step
    order = np.argsort(-ranked, axis=None)
    passed = ranked.ravel()[order]
    total = np.cumsum(steps.ravel()[order])  # 28 x macro F1 after each passing
    total[:-1][passed[:-1] == passed[1:]] = -np.inf
    best = np.argmax(total >= total.max() - 1e-9)  # sums of floats: equal scores may differ in the last digit
    return np.full(labels.shape[1], _cut_behind(passed[None], np.array([best]))[0])


def tune_bagged(labels: np.ndarray, probs: np.ndarray, draws: int = 40, seed: int = 0) -> np.ndarray:
    """Each class's exact threshold, averaged over bootstrap resamples of the images, float (28,).

    The best cut of a rare class hangs on two or three images; the mean over resamples hangs on it less. Averaged as
    logits, over the resamples in which the class has a positive.
    """
    generator = np.random.default_rng(seed)
    total, times = np.zeros(labels.shape[1]), np.zeros(labels.shape[1])
    for rows in generator.integers(len(labels), size=(draws, len(labels))):
        tunable = labels[rows].any(axis=0)
        total += np.where(tunable, calibration.logit(_best_cuts(labels[rows], probs[rows])), 0)
        times += tunable
    return _fill_untunable(calibration.sigmoid(metrics.divide(total, times)), labels, probs)


def tune_shrunken(
    labels: np.ndarray, probs: np.ndarray, strength: float = 10, towards: str = "proportion", per_class: str = "exact"
) -> np.ndarray:
    """Each class's own threshold, drawn towards a steadier one the fewer positives it has, float (28,).

    The weight of the class's own threshold is n / (n + strength), on the logit scale, where thresholds of .01 and .1
    are as far apart as .5 and .92. A common threshold suits no rare class, so ``proportion`` is the better place to be
    drawn to where classes differ much in how common they are.

    Args:
        strength: the number of positives at which a class is trusted by half; 0 gives its own thresholds.
        towards: the steadier method, ``"proportion"`` or ``"global"``.
        per_class: the class's own method, ``"exact"`` or ``"bagged"``.
    """
    if not strength >= 0:
        raise ValueError(f"strength {strength}: give a number of positives, 0 or more")
    positives = labels.sum(axis=0, dtype=float)
    trust = metrics.divide(positives, positives + strength)
    each, steady = (calibration.logit(tune(labels, probs, method)) for method in (per_class, towards))
    return _fill_untunable(calibration.sigmoid(trust * each + (1 - trust) * steady), labels, probs)


def tune_proportion(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Thresholds that predict each class as often as it occurs in ``labels``, float (28,)."""
    return _fill_untunable(match_proportions(probs, labels.mean(axis=0)), labels, probs)


def match_proportions(probs: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """Thresholds (28,) at which the share of positives of each class comes nearest to ``priors``; no labels needed.

    Args:
        probs: (N, 28) in 0..1, of any images, such as the test part's.
        priors: float (28,), the wanted share of each class, in 0..1. At least one image is predicted where it is > 0.
    """
    probs, priors = metrics.check_probs(probs), np.asarray(priors, float)
    if priors.shape != probs.shape[1:] or not ((priors >= 0) & (priors <= 1)).all():
        raise ValueError(f"priors of shape {priors.shape}: give one share in 0..1 for each of {probs.shape[1]} classes")
    ranked, _, last = metrics.rank(np.zeros(probs.shape, np.uint8), probs)
    missed = np.abs(np.arange(1, len(probs) + 1) - priors[:, None] * len(probs))  # (28, N), of at least one image
    best = np.where(last, missed, np.inf).argmin(axis=1)
    return np.where(priors > 0, _cut_behind(ranked, best), np.nextafter(1, 2))  # just above 1: never predicted


def tune_flat(labels: np.ndarray, probs: np.ndarray, value: float = 0.25) -> np.ndarray:
    """The same given threshold 28 times; nothing is tuned."""
    return np.full(probs.shape[1], float(value))


METHODS = {
    "exact": tune_exact,
    "grid": tune_grid,
    "global": tune_global,
    "bagged": tune_bagged,
    "shrunken": tune_shrunken,
    "proportion": tune_proportion,
    "flat": tune_flat,
}

CANDIDATES = {  # what the notebooks compare: name -> method and its options
    "half": ("flat", {"value": 0.5}),
    "flat": ("flat", {"value": 0.25}),
    "global": ("global", {}),
    "grid": ("grid", {}),
    "exact": ("exact", {}),
    "bagged": ("bagged", {}),
    "proportion": ("proportion", {}),
    "shrunken-global": ("shrunken", {"towards": "global"}),
    "shrunken": ("shrunken", {}),
    "bagged-shrunken": ("shrunken", {"per_class": "bagged"}),
}


def find_candidate(name: str) -> tuple[str, dict]:
    """The method and the options of one of ``CANDIDATES``."""
    if name not in CANDIDATES:
        raise ValueError(f"CANDIDATE {name!r}: use one of {', '.join(CANDIDATES)}")
    return CANDIDATES[name]


def cross_fit(
    labels: np.ndarray, probs: np.ndarray, folds: np.ndarray, method: str = "exact", fill_empty: bool = False, **options
) -> np.ndarray:
    """Label sets, uint8 (N, 28), from thresholds tuned on the other folds only.

    The score of these is what the thresholds are worth on new images; the score of thresholds on the images they were
    tuned on, minus this, is the optimism of tuning.

    Args:
        folds: int (N,), the fold of each image (``splits.make_folds`` keeps groups together); at least two different.
        method, **options: as in ``tune``.
    """
    folds = np.asarray(folds)
    numbers = np.unique(folds)
    if folds.shape != (len(probs),) or len(numbers) < 2:
        raise ValueError(
            f"{folds.size} fold numbers, {len(numbers)} different, for {len(probs)} images: give each one of 2 or more"
        )
    preds = np.zeros(np.shape(probs), np.uint8)
    for fold in numbers:
        inside = folds == fold
        tuned = tune(labels[~inside], probs[~inside], method, **options)
        preds[inside] = apply(probs[inside], tuned, fill_empty)
    return preds


def f1_curve(labels: np.ndarray, probs: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The F1 of every class at every threshold of ``grid`` (G,): float (G, 28), from one sort."""
    ranked, hits, _ = metrics.rank(labels, probs)
    limits = -np.asarray(grid, np.float64)
    predicted = np.array([np.searchsorted(-values, limits, side="right") for values in ranked])  # reach each threshold
    found = np.take_along_axis(np.pad(hits, ((0, 0), (1, 0))), predicted, axis=1)
    return metrics.divide(2 * found, predicted + hits[:, -1:]).T


def _f1_of_cuts(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranked probabilities, the F1 of cutting behind each (-1 inside a tie), and where ties end: (28, N) each."""
    ranked, hits, last = metrics.rank(labels, probs)
    predicted = np.arange(1, ranked.shape[1] + 1)
    f1 = 2 * hits / (predicted + hits[:, -1:])
    return ranked, np.where(last, f1, -1), last


def _cut_behind(ranked: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The threshold (C,) between each row's probability at ``index`` and the next one (0 behind the last)."""
    padded, rows = np.pad(ranked.astype(np.float64), ((0, 0), (0, 1))), np.arange(len(ranked))
    above, below = padded[rows, index], padded[rows, index + 1]
    middle = (above + below) / 2
    return np.where(middle > below, middle, above)  # neighbouring floats have no middle


def _best_cuts(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """The threshold (28,) of the best cut of each class; meaningless where a class has no positives."""
    ranked, f1, _ = _f1_of_cuts(labels, probs)
    return _cut_behind(ranked, f1.argmax(axis=1))  # the first of equals, so the highest threshold


def _fill_untunable(thresholds: np.ndarray, labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    tunable = labels.any(axis=0)
    return thresholds if tunable.all() else np.where(tunable, thresholds, tune_global(labels, probs))
