"""Pictures of the class imbalance and of what it does to splits and scores."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hpa_lib import atlas
from hpa_lib.figures import style


def label_counts(counts: np.ndarray, num_images: int, synthetic: bool = False) -> Figure:
    """The images of each class, ``counts`` int (28,), on a log axis, commonest first."""
    order = np.argsort(counts, kind="stable")  # the commonest ends on top
    shown = counts[order]
    rare = shown < counts.max() / 100
    fig, ax = style.new_figure(style.DOUBLE, 7)
    names = [f"{atlas.LABELS[label]}  {label}" for label in order]
    colors = np.where(rare, style.COLORS["vermilion"], style.COLORS["blue"])
    bars = ax.barh(names, np.maximum(shown, 0.5), color=colors)
    ax.bar_label(bars, [f"{count:,}  ({count / max(num_images, 1):.2%})" for count in shown], padding=3, fontsize=8)
    ax.set(xscale="log", xlim=(0.5, max(counts.max(), 1) * 6), ylim=(-0.6, len(order) - 0.4))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlabel("images (log scale)")
    present = counts[counts > 0]
    ratio = present.max() / present.min() if len(present) else 0
    absent = f" that has any; {len(counts) - len(present)} have none" if len(present) < len(counts) else ""
    text = f"The commonest class has {ratio:,.0f} times the images of the rarest{absent}."
    return style.caption(fig, text + " Vermilion: below 1 % of the commonest." * bool(rare.any()), synthetic)


def cardinality(labels: np.ndarray, synthetic: bool = False) -> Figure:
    """How many images carry each number of labels, from ``labels`` uint8 (N, 28)."""
    numbers = labels.sum(axis=1, dtype=int)
    fig, ax = style.new_figure(style.SINGLE, 2.6)
    sns.histplot(numbers, discrete=True, shrink=0.7, alpha=1, ax=ax)
    ax.bar_label(ax.containers[0], fmt=lambda count: f"{count:,.0f}\n{count / len(labels):.1%}" if count else "")
    ax.set(yscale="log", ylim=(0.5, np.bincount(numbers).max() * 8), xticks=range(numbers.min(), numbers.max() + 1))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set(xlabel="labels per image", ylabel="images (log scale)")
    return style.caption(fig, f"{numbers.mean():.2f} labels per image on average.", synthetic)


def cooccurrence(counts: np.ndarray, lift: np.ndarray, synthetic: bool = False) -> Figure:
    """Which classes appear together: the images of all pairs, and the lift over chance, both on log scales.

    Args:
        counts: int (28, 28).
        lift: float (28, 28), NaN where there are too few images to tell.
    """
    fig, (left, right) = style.new_figure(15, 5.3, ncols=2)
    diagonal = np.eye(len(counts), dtype=bool)
    names = [f"{name}  {label}" for label, name in enumerate(atlas.LABELS)]
    grid = {"mask": diagonal, "square": True, "linewidths": 0.5, "linecolor": "#E8E8E8", "yticklabels": names}
    colors = sns.color_palette(style.MAGNITUDES, as_cmap=True)
    norm = LogNorm(1, max(counts[~diagonal].max(), 10))
    bar = {"shrink": 0.7, "format": "{x:,.0f}", "label": "images with both classes"}
    sns.heatmap(counts, cmap=colors, norm=norm, cbar_kws=bar, **grid, ax=left)
    colors = sns.color_palette(style.DIVERGING, as_cmap=True).with_extremes(under="#C8C8C8")
    bar = {"shrink": 0.7, "extend": "both", "label": "lift: times as often as by chance"}
    shown = np.maximum(np.nan_to_num(lift, nan=1), 1e-9)  # a log scale has no 0
    sns.heatmap(shown, cmap=colors, norm=LogNorm(1 / 16, 16), cbar_kws=bar, **grid, ax=right)
    ticks = {1 / 16: "1/16", 1 / 4: "1/4", 1: "chance", 4: "x 4", 16: "x 16"}
    right.collections[0].colorbar.set_ticks(list(ticks), labels=list(ticks.values()))
    right.collections[0].colorbar.minorticks_off()
    for ax, title in ((left, "Images with both classes"), (right, "Lift over chance")):
        ax.set(title=title, xlabel="class")
        ax.tick_params(labelsize=7.5, rotation=0)
    text = "Common classes appear together often by chance alone (left, white: never); the lift is the count divided "
    text += "by chance. Right, grey: below 1/16 or never; white: as by chance, or too few images to tell."
    return style.caption(fig, text, synthetic)


def label_sets(images: np.ndarray, names: Sequence[str], synthetic: bool = False) -> Figure:
    """How many label sets make up most of the data: images of each set by rank, and the running share.

    Args:
        images: int (K,), images of each label set, descending.
        names: the sets in words.
    """
    fig, (left, right) = style.new_figure(12, 4, ncols=2, width_ratios=(1, 1.1))
    top = min(12, len(images))
    left.barh(np.arange(top), images[:top], tick_label=names[:top])
    left.invert_yaxis()
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set(xlabel="images", title=f"The {top} commonest of {len(images):,} label sets")
    right.plot(np.arange(1, len(images) + 1), np.cumsum(images) / images.sum() * 100)
    right.set(xscale="log", xlabel="label sets, commonest first (log scale)")
    right.xaxis.set_major_formatter("{x:,.0f}")
    right.set(ylim=(0, 104), ylabel="images covered (%)", title="Running share")
    right.grid(True)
    singles, most = (images == 1).sum(), 1 + np.searchsorted(np.cumsum(images), 0.8 * images.sum())
    share = 100 * singles / images.sum()
    text = f"{singles:,} of {len(images):,} label sets appear in one image only, {share:.1f} % of all images; "
    text += f"the {most:,} commonest cover 80 % of them."
    return style.caption(fig, text, synthetic)


def split_balance(
    counts: np.ndarray, num_folds: int, ours: np.ndarray, random: np.ndarray, synthetic: bool = False
) -> Figure:
    """How many images of a class the emptiest fold has: our split against many random ones, rarest classes first.

    Args:
        counts: int (28,), images of each class in all folds.
        ours: int (28,), images in our emptiest fold.
        random: int (draws, 28), the same for random splits.
    """
    order = np.argsort(counts, kind="stable")
    fair = np.maximum(counts / num_folds, 1e-9)[order]
    names = [f"{atlas.LABELS[label]} ({counts[label]:,})" for label in order]
    shares = pd.DataFrame(random[:, order] / fair * 100, columns=names)
    fig, ax = style.new_figure(8, 7)
    shown = {"orient": "y", "estimator": "median", "errorbar": ("pi", 90), "label": f"{len(random)} random splits"}
    look = {"color": style.COLORS["orange"], "marker": "|", "markersize": 9, "linestyle": "none"}
    sns.pointplot(shares, **shown, **look, err_kws={"linewidth": 5, "alpha": 0.5}, ax=ax)
    ax.plot(ours[order] / fair * 100, names, "o", color=style.COLORS["blue"], label="stratified split")
    ax.axvline(100, color=style.COLORS["grey"], linewidth=1, linestyle="--", label="fair share")
    ax.set(xlim=(-2, 112), xlabel="images in the emptiest fold (% of the fair share)", ylabel="class (images)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    text = f"{num_folds} folds. Orange: the median and the middle 90 % of the random splits. "
    text += "At 0 % some fold has no image of the class."
    return style.caption(fig, text, synthetic)


def batch_effect(
    batch_sizes: Sequence[int], scores: Sequence[float], whole: float, num_images: int, synthetic: bool = False
) -> Figure:
    """The macro F1 that a perfect model seems to have when it is averaged over batches.

    Args:
        batch_sizes: images per batch, ascending.
        scores: the batch-averaged macro F1 for each.
        whole: the macro F1 over all images at once: 1, or less where a class has no image at all.
    """
    fig, ax = style.new_figure(7.5, 3.8)
    ax.axhline(whole, color=style.COLORS["grey"], linestyle="--", linewidth=1)
    text = f"computed once over the whole split: {whole:.2f}"
    ax.text(batch_sizes[0], whole + 0.015, text, color="#444444")
    ax.plot(batch_sizes, scores, "o-", color=style.COLORS["vermilion"])
    for size, score in zip(batch_sizes, scores, strict=True):
        ax.annotate(f"{score:.2f}", (size, score), (0, -14), textcoords="offset points", ha="center")
    ax.set_xscale("log", base=2)
    ax.set_xticks(batch_sizes, [f"{size:,}" for size in batch_sizes])
    ax.set(ylim=(0, 1.12), xlabel="images per batch (log scale)", ylabel="mean macro F1 of the batches")
    text = f"A perfect model on {num_images:,} images: classes that a batch does not hold score 0 in it."
    return style.caption(fig, text, synthetic)


def sampling_noise(f1: dict[int, np.ndarray], counts: np.ndarray, truth: float, synthetic: bool = False) -> Figure:
    """How far chance alone moves the scores of one unchanging model.

    Args:
        f1: images per sample -> F1 (draws, 28) of each drawn sample and class.
        counts: int (28,), images of each class in the largest sample.
        truth: the F1 that every class has in the long run.
    """
    fig, (left, right) = style.new_figure(12, 4.2, ncols=2)
    sizes = sorted(f1)
    scores = {f"{size:,}": f1[size].mean(axis=1) for size in sizes}
    sns.pointplot(scores, estimator="median", errorbar=("pi", 95), linestyle="none", capsize=0.1, ax=left)
    left.axhline(truth, color=style.COLORS["vermilion"], linestyle="--", linewidth=1, label="in the long run")
    left.set(xlabel="images in the measured sample", ylabel="macro F1", title="Macro F1 (median and 95 % of samples)")
    left.legend()
    low, high = np.percentile(f1[sizes[-1]], [2.5, 97.5], axis=0)
    right.vlines(np.maximum(counts, 0.5), low, high, color=style.COLORS["blue"], linewidth=2)
    right.axhline(truth, color=style.COLORS["vermilion"], linestyle="--", linewidth=1)
    right.set(xscale="log", xlabel=f"images of the class among {sizes[-1]:,} (log scale)")
    right.xaxis.set_major_formatter("{x:,.0f}")
    right.set(ylim=(-0.03, 1.03), ylabel="F1 of the class", title="F1 of each class (95 % of samples)")
    lacking = ((1 - counts / sizes[-1]) ** sizes[0]).sum()
    text = f"The model never changes. A sample of {sizes[0]:,} images lacks {lacking:.1f} of the {len(counts)} classes "
    text += "on average; an absent class counts 0."
    return style.caption(fig, text, synthetic)
