"""How sure a score is: bootstrap intervals over images (or groups of images), alone and paired.

The bootstrap resamples images with replacement and scores each resample (Efron & Tibshirani, 1993). Since F1 needs
three counts only, a resample is one row of a matrix product and 1,000 of them take about a second.

A resample misses about a third of the images, and with them whole rare classes, which then score 0: macro F1 comes out
too low in resamples. The percentile interval is therefore moved by the difference between the estimate and the mean
of the resamples. ``bench/interval_coverage.py`` measures how often such an interval holds the truth: with classes as
rare as the atlas's a 95 % interval does so in 94 % of hold-outs of 2,400 images, in 80 % of 600 (percentiles: 64 %).

Shapes as in ``metrics``. All functions share these options: ``groups`` (N,), images of one group are drawn together
(None draws single images); ``draws``, how many resamples; ``seed``, the same one gives the same resamples, which is
what makes ``paired`` paired.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from hpa_lib.data import parallel
from hpa_lib.decisions import metrics

LEVEL = 0.95  # the share of resamples inside every interval
BLOCK = 100  # resamples drawn at once: bounds the memory at BLOCK x groups numbers


def _macro_f1(*counts):
    return metrics.f1_of_counts(*counts).mean(axis=-1)


def _micro_f1(*counts):
    return metrics.f1_of_counts(*(count.sum(axis=-1) for count in counts))


STATISTICS = {"macro_f1": _macro_f1, "micro_f1": _micro_f1, "f1_per_class": metrics.f1_of_counts}


def interval(
    labels: np.ndarray,
    preds: np.ndarray,
    statistic: str = "macro_f1",
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict:
    """A score with its 95 % bootstrap interval (percentiles, moved by the bias of the resamples, kept in 0..1).

    It says how far the score would move with other images of the same kind, for these predictions as they are; that
    the model or the thresholds could have come out otherwise is not in it.

    Args:
        statistic: ``"macro_f1"``, ``"micro_f1"`` or ``"f1_per_class"`` (then all numbers are arrays (28,)).

    Returns:
        ``estimate``, ``low``, ``high``, ``draws``.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic {statistic!r}: use one of {', '.join(STATISTICS)}")
    function = STATISTICS[statistic]
    estimate = function(*metrics.confusion_counts(labels, preds))
    low, high = np.clip(bounds(function(*resample(labels, preds, groups, draws, seed)), estimate), 0, 1)
    return {"estimate": estimate[()], "low": low[()], "high": high[()], "draws": draws}


def paired(
    labels: np.ndarray,
    preds: np.ndarray,
    baseline: np.ndarray,
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict:
    """How much higher the macro F1 of ``preds`` is than that of ``baseline`` on the same images, with a 95 % interval.

    Both are scored on the same resamples, so what makes an image hard for both cancels. An interval that holds 0 says
    that this many images cannot tell the two apart.

    Returns:
        ``difference`` (positive: ``preds`` are better), ``low``, ``high``, ``share_better`` (the share of resamples in
        which ``preds`` win, moved as the interval is; ties count half), ``draws``.
    """
    gains, difference = resample_gains(labels, preds, baseline, groups, draws, seed)
    low, high = bounds(gains, difference).tolist()
    tied, moved = gains == 0, _move(gains, difference)  # a tie is one however far the others are moved
    share_better = ((moved > 0) & ~tied).mean() + 0.5 * tied.mean()
    return {"difference": difference, "low": low, "high": high, "share_better": float(share_better), "draws": draws}


def resample_gains(
    labels: np.ndarray,
    preds: np.ndarray,
    baseline: np.ndarray,
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, float]:
    """The macro F1 that ``preds`` gain over ``baseline`` in each resample, (draws,), and on the images themselves."""
    after, before = (_macro_f1(*resample(labels, side, groups, draws, seed)) for side in (preds, baseline))
    return after - before, metrics.macro_f1(labels, preds) - metrics.macro_f1(labels, baseline)


def over_seeds(values: np.ndarray, resampled: np.ndarray) -> dict:
    """The mean of several trainings' scores (or gains) with a 95 % interval for other images *and* other seeds.

    Two independent sources of error, added in quadrature on each side: the images (the bootstrap of the mean) and the
    seeds (Student's t of the mean of S values). With a single seed the second is not known, and the interval is that
    of the images alone. ``tests/decisions/test_bootstrap.py`` measures how often it holds the truth.

    Args:
        values: float (S,), one score for each seed, all on the same images.
        resampled: float (S, draws), each seed's score in the same resamples.

    Returns:
        ``estimate``, ``low``, ``high``, ``sd`` (of the seeds; NaN for one seed), ``seeds``.
    """
    values, resampled = np.asarray(values, float), np.asarray(resampled, float)
    if values.ndim != 1 or resampled.shape[:1] != values.shape:
        raise ValueError(f"values of shape {values.shape}, resampled {resampled.shape}: give one row for each seed")
    estimate, seeds = values.mean(), len(values)
    below, above = np.abs(bounds(resampled.mean(axis=0), estimate) - estimate)
    sd = values.std(ddof=1) if seeds > 1 else np.nan
    reach = stats.t.ppf(0.975, seeds - 1) * sd / np.sqrt(seeds) if seeds > 1 else 0.0
    low, high = estimate - np.hypot(below, reach), estimate + np.hypot(above, reach)
    return {"estimate": float(estimate), "low": float(low), "high": float(high), "sd": float(sd), "seeds": seeds}


def compare(
    labels: np.ndarray,
    preds: Mapping[str, np.ndarray],
    baseline: str,
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Several predictions of the same images, each with its interval and against one of them.

    Args:
        preds: name -> 0/1 (N, 28).
        baseline: the name that the others are held against.

    Returns:
        One row per name: ``name``, ``macro_f1``, ``low``, ``high``, ``gain`` over the baseline, ``gain_low``,
        ``gain_high``, ``share_better`` (all intervals 95 %).
    """
    if baseline not in preds:
        raise ValueError(f"baseline {baseline!r}: use one of {', '.join(preds)}")
    options = {"groups": groups, "draws": draws, "seed": seed}
    rows = []
    for name, run_preds in preds.items():
        score = interval(labels, run_preds, **options)
        row = {"name": name, "macro_f1": score["estimate"], "low": score["low"], "high": score["high"]}
        gain = paired(labels, run_preds, preds[baseline], **options)
        row |= {"gain": gain["difference"], "gain_low": gain["low"], "gain_high": gain["high"]}
        rows.append(row | {"share_better": gain["share_better"]})
    return pd.DataFrame(rows)


def win_shares(
    labels: np.ndarray,
    preds: Mapping[str, np.ndarray],
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """How often each of several predictions has the highest macro F1 in a resample: how firm a choice among them is.

    A winner with a share near 1 would win on other images too; shares of .3, .25, .2 mean that the choice is luck.
    Equal winners share the resample, so the shares add up to 1.
    """
    resampled = [_macro_f1(*resample(labels, run_preds, groups, draws, seed)) for run_preds in preds.values()]
    estimates = [metrics.macro_f1(labels, run_preds) for run_preds in preds.values()]
    scores = np.stack(resampled)  # (M, draws)
    moved = _move(scores.T, np.array(estimates)).T
    wins = scores == np.take_along_axis(scores, moved.argmax(axis=0)[None], axis=0)  # equal ones share the resample
    return dict(zip(preds, (wins / wins.sum(axis=0)).mean(axis=1).tolist(), strict=True))


def resample(
    labels: np.ndarray, preds: np.ndarray, groups: np.ndarray | None = None, draws: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and false negatives of each class in each resample, float (draws, 28) each."""
    labels, preds = metrics.check_pair(labels, preds)
    if not len(labels) or draws < 1:
        raise ValueError(f"{len(labels)} images and {draws} draws: a bootstrap needs at least one of each")
    totals = np.hstack([labels & preds, preds & ~labels, labels & ~preds]).astype(np.float64)  # (N, 84)
    if groups is not None:
        if len(groups) != len(totals):
            raise ValueError(f"{len(groups)} groups for {len(totals)} images: give each image its group")
        totals = pd.DataFrame(totals).groupby(np.asarray(groups), dropna=False).sum().to_numpy()  # (G, 84)
    blocks = [times @ totals for times in draw_times(len(totals), draws, seed)]
    return tuple(np.split(np.concatenate(blocks), 3, axis=1))


def draw_times(size: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of ``size`` groups is in each resample, in blocks of at most ``BLOCK`` draws, float (draws, size).

    The same ``size`` and ``seed`` give the same resamples.
    """
    generator = np.random.default_rng(seed)
    for start in parallel.bar(range(0, draws, BLOCK), desc="bootstrap", unit="block", delay=2, leave=False):
        block = min(BLOCK, draws - start)
        drawn = generator.integers(size, size=(block, size)) + size * np.arange(block)[:, None]
        yield np.bincount(drawn.ravel(), minlength=block * size).reshape(block, size).astype(np.float64)


def bounds(values: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Low and high end (2, ...) of the middle 95 % of resampled ``values`` (draws, ...), moved to ``estimate``."""
    return np.quantile(_move(values, estimate), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)


def _move(values: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Resampled ``values`` (draws, ...) without their bias: their mean is then the estimate."""
    return values + (estimate - values.mean(axis=0))
