"""Pictures of the class imbalance and of what it does to splits and scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from hpa_lib import atlas
from hpa_lib.figures import style


def label_counts(counts: np.ndarray, num_images: int, synthetic: bool = False) -> Figure:
    """The images of each class on a log axis, commonest first.

    Args:
        counts: int (28,).
        num_images: images in all, for the shares.
    """
    order = np.argsort(counts, kind="stable")  # the commonest ends on top
    fig, ax = style.new_figure(9, 7.2)
    rare = counts[order] < counts.max() / 100
    colors = np.where(rare, style.COLORS["vermilion"], style.COLORS["blue"])
    ax.barh(np.arange(len(order)), np.maximum(counts[order], 0.5), color=colors, height=0.75)
    for place, count in enumerate(counts[order]):
        share = count / max(num_images, 1)
        ax.text(max(count, 0.5) * 1.08, place, f"{count:,}  ({share:.2%})", va="center", fontsize=8)
    ax.set_yticks(np.arange(len(order)), [f"{atlas.LABELS[label]}  {label}" for label in order], fontsize=9)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlim(0.5, max(counts.max(), 1) * 6)
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.set_xlabel("images (log scale)")
    present = counts[counts > 0]
    ratio = present.max() / present.min() if len(present) else 0
    absent = f" that has any; {len(counts) - len(present)} have none" if len(present) < len(counts) else ""
    text = f"The commonest class has {ratio:,.0f} times the images of the rarest{absent}."
    return style.caption(fig, text + " Vermilion: below 1 % of the commonest." * bool(rare.any()), synthetic)


def cardinality(labels: np.ndarray, synthetic: bool = False) -> Figure:
    """How many images carry each number of labels.

    Args:
        labels: uint8 (N, 28).
    """
    images = np.bincount(labels.sum(axis=1, dtype=int))
    fig, ax = style.new_figure(7, 3.4)
    ax.bar(np.arange(len(images)), np.maximum(images, 0.5), color=style.COLORS["blue"], width=0.7)
    for number, count in enumerate(images):
        if count:
            ax.text(number, count * 1.15, f"{count:,}\n{count / len(labels):.1%}", ha="center", fontsize=8)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set_ylim(0.5, images.max() * 8)
    ax.set_xticks(np.arange(images.nonzero()[0].min(), len(images)))
    ax.set_xlabel("labels per image")
    ax.set_ylabel("images (log scale)")
    return style.caption(fig, f"{labels.sum(axis=1).mean():.2f} labels per image on average.", synthetic)


def cooccurrence(counts: np.ndarray, lift: np.ndarray, synthetic: bool = False) -> Figure:
    """Which classes meet: the counts of all pairs (log colours), and the lift over chance.

    Args:
        counts: int (28, 28).
        lift: float (28, 28), NaN where there are too few images to tell.
    """
    fig, (left, right) = style.new_figure(15, 5.7, ncols=2)
    off_diagonal = np.where(np.eye(len(counts), dtype=bool), np.nan, counts)
    with np.errstate(divide="ignore"):
        logs = np.log10(np.where(off_diagonal > 0, off_diagonal, np.nan))
    shown = left.imshow(logs, cmap="cividis")
    bar = fig.colorbar(shown, ax=left, shrink=0.7)
    ticks = np.arange(int(np.nanmax(logs, initial=1)) + 1)
    bar.set_ticks(ticks, labels=[f"{10**tick:,}" for tick in ticks])
    bar.set_label("images with both (log scale; white: none)")
    strength = np.log2(np.where(np.isfinite(off_diagonal), np.maximum(lift, 1e-9), np.nan))
    shown = right.imshow(strength, cmap="PuOr_r", norm=TwoSlopeNorm(0, -4, 4))
    bar = fig.colorbar(shown, ax=right, shrink=0.7, extend="both")
    bar.set_ticks([-4, -2, 0, 2, 4], labels=["1/16", "1/4", "chance", "x 4", "x 16"])
    bar.set_label("lift: times as often as by chance (white: too few to tell)")
    for ax, title in ((left, "Images with both classes"), (right, "Lift over chance")):
        ax.set_xticks(np.arange(len(counts)), np.arange(len(counts)), fontsize=7)
        ax.set_yticks(np.arange(len(counts)), [f"{name}  {i}" for i, name in enumerate(atlas.LABELS)], fontsize=7)
        ax.set_title(title)
    text = "Two common classes meet often by chance alone (left); the lift is the count divided by chance (right)."
    return style.caption(fig, text, synthetic)


def label_sets(images: np.ndarray, names: Sequence[str], synthetic: bool = False) -> Figure:
    """How many label sets make up most of the data: images of each set by rank, and the running share.

    Args:
        images: int (K,), images of each label set, descending.
        names: the sets in words.
    """
    fig, (left, right) = style.new_figure(12, 4, ncols=2, width_ratios=(1, 1.1))
    top = min(12, len(images))
    left.barh(np.arange(top)[::-1], images[:top], color=style.COLORS["blue"], height=0.75)
    left.set_yticks(np.arange(top)[::-1], names[:top], fontsize=8)
    left.set_xlabel("images")
    left.set_title(f"The {top} commonest of {len(images):,} label sets")
    right.plot(np.arange(1, len(images) + 1), np.cumsum(images) / images.sum() * 100, color=style.COLORS["blue"])
    right.set_xscale("log")
    right.xaxis.set_major_formatter("{x:,.0f}")
    right.set_ylim(0, 104)
    right.set_xlabel("label sets, commonest first (log scale)")
    right.set_ylabel("images covered (%)")
    right.set_title("Running share")
    right.grid(True)
    singles = (images == 1).sum()
    most = 1 + np.searchsorted(np.cumsum(images), 0.8 * images.sum())
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
        num_folds: folds.
        ours: int (28,), images in our emptiest fold.
        random: int (draws, 28), the same for random splits.
    """
    order = np.argsort(counts, kind="stable")
    fair = np.maximum(counts / num_folds, 1e-9)[order]
    low, middle, high = np.percentile(random, [5, 50, 95], axis=0)[:, order] / fair * 100
    fig, ax = style.new_figure(10, 5)
    places = np.arange(len(order))
    ax.vlines(
        places,
        low,
        high,
        color=style.COLORS["orange"],
        linewidth=5,
        alpha=0.6,
        label=f"{len(random)} random splits, 5th to 95th percentile",
    )
    ax.plot(places, middle, "_", color=style.COLORS["orange"], markersize=12, markeredgewidth=2, label="their median")
    ax.plot(places, ours[order] / fair * 100, "o", color=style.COLORS["blue"], markersize=6, label="stratified split")
    ax.axhline(100, color=style.COLORS["grey"], linewidth=1, linestyle="--", label="fair share")
    names = [f"{atlas.LABELS[label]} ({counts[label]:,})" for label in order]
    ax.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_ylim(-4, 112)
    ax.set_ylabel("images in the emptiest fold\n(% of the fair share)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8)
    text = f"{num_folds} folds. Classes with their number of images. At 0 % some fold has no image of the class."
    return style.caption(fig, text, synthetic)


def batch_effect(
    batch_sizes: Sequence[int], scores: Sequence[float], whole: float, num_images: int, synthetic: bool = False
) -> Figure:
    """The macro F1 that a perfect model seems to have when it is averaged over batches.

    Args:
        batch_sizes: images per batch, ascending.
        scores: the batch-averaged macro F1 for each.
        whole: the macro F1 over all images at once: 1, or less where a class has no image at all.
        num_images: images in all.
    """
    fig, ax = style.new_figure(7.5, 3.8)
    ax.axhline(whole, color=style.COLORS["grey"], linestyle="--", linewidth=1)
    text = f"computed once over the whole split: {whole:.2f}"
    ax.text(batch_sizes[0], whole + 0.015, text, fontsize=9, color="#444444")
    ax.plot(batch_sizes, scores, "o-", color=style.COLORS["vermilion"])
    for size, score in zip(batch_sizes, scores, strict=True):
        ax.annotate(f"{score:.2f}", (size, score), (0, -14), textcoords="offset points", ha="center", fontsize=8)
    ax.set_xscale("log", base=2)
    ax.set_xticks(batch_sizes, [f"{size:,}" for size in batch_sizes])
    ax.set_ylim(0, 1.12)
    ax.set_xlabel("images per batch")
    ax.set_ylabel("mean macro F1 of the batches")
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
    boxes = left.boxplot(
        [f1[size].mean(axis=1) for size in sizes], whis=(2.5, 97.5), showfliers=False, patch_artist=True
    )
    for box, median in zip(boxes["boxes"], boxes["medians"], strict=True):
        box.set(facecolor=style.COLORS["sky"], alpha=0.7)
        median.set(color=style.COLORS["black"])
    left.axhline(truth, color=style.COLORS["vermilion"], linestyle="--", linewidth=1, label="in the long run")
    left.set_xticks(np.arange(1, len(sizes) + 1), [f"{size:,}" for size in sizes])
    left.set_xlabel("images in the measured sample")
    left.set_ylabel("macro F1")
    left.legend(fontsize=8)
    left.set_title("Macro F1 (whiskers: 95 % of samples)")
    low, high = np.percentile(f1[sizes[-1]], [2.5, 97.5], axis=0)
    right.vlines(np.maximum(counts, 0.5), low, high, color=style.COLORS["blue"], linewidth=2)
    right.axhline(truth, color=style.COLORS["vermilion"], linestyle="--", linewidth=1)
    right.set_xscale("log")
    right.xaxis.set_major_formatter("{x:,.0f}")
    right.set_ylim(-0.03, 1.03)
    right.set_xlabel(f"images of the class among {sizes[-1]:,} (log scale)")
    right.set_ylabel("F1 of the class")
    right.set_title("F1 of each class (95 % of samples)")
    lacking = ((1 - counts / sizes[-1]) ** sizes[0]).sum()
    text = (
        f"The model never changes. A sample of {sizes[0]:,} images lacks {lacking:.1f} of the {len(counts)} classes on "
        "average; an absent class counts 0."
    )
    return style.caption(fig, text, synthetic)
