"""Views of one run: an image with its probabilities, a threshold's curve, confusions, embeddings.

Grids of small images are ``micrographs.contact_sheet``.
"""

import io
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from hpa_lib import atlas
from hpa_lib.figures import micrographs, style

LINES = {"precision": ("blue", ":"), "recall": ("orange", "--"), "f1": ("green", "-"), "macro_f1": ("black", "-.")}
NAMES = {"f1": "F1", "macro_f1": "macro F1 of all 28"}


def encode_png(fig: Figure, dpi: int = 80) -> bytes:
    """The figure as the bytes of a PNG file; it is closed, so no notebook cell draws it a second time."""
    stream = io.BytesIO()
    fig.savefig(stream, format="png", dpi=dpi)
    plt.close(fig)
    return stream.getvalue()


def answer(
    labels: np.ndarray,
    probs: np.ndarray,
    thresholds: np.ndarray,
    image: np.ndarray | None = None,
    title: str = "",
    synthetic: bool = False,
    um_per_px: float = 0,
) -> Figure:
    """One image: its channels, where there are images, and its 28 probabilities against the thresholds.

    Args:
        labels: 0/1 (28,), the truth.
        probs, thresholds: float (28,).
        image: uint8 (S, S, 4).
        title: such as its Id.
        um_per_px: micrometres per pixel, for a scale bar; 0 where they are not known.
    """
    fig, ax = style.new_figure(style.DOUBLE if image is not None else 4.6, 5)
    bars = ax
    if image is not None:
        ax.remove()
        places = [["red", "green", "bars"], ["blue", "yellow", "bars"], ["all four", "all four", "bars"]]
        axes = fig.subplot_mosaic(places, width_ratios=(1, 1, 2.2), height_ratios=(1, 1, 2))
        bars = axes.pop("bars")
        _draw_channels(axes, image, um_per_px)
    _draw_probabilities(bars, labels, probs, thresholds)
    return style.caption(fig, title, synthetic)


def _draw_channels(axes: Mapping[str, plt.Axes], image: np.ndarray, um_per_px: float) -> None:
    for channel, name in enumerate(atlas.CHANNELS):
        axes[name].imshow(micrographs.to_rgb(image[..., [channel]], micrographs.STAIN_COLORS[[channel]]))
    picture, length = micrographs.to_rgb(image), ""
    if um_per_px:
        picture, length = micrographs.add_scale_bar(picture, um_per_px)
    axes["all four"].imshow(picture)
    for name, ax in axes.items():
        ax.set_title(f"{name}, bar: {length}" if length and name == "all four" else name, fontsize=8)
        ax.axis("off")


def _draw_probabilities(ax: plt.Axes, labels: np.ndarray, probs: np.ndarray, thresholds: np.ndarray) -> None:
    """A bar per class, coloured where the label is true, and a tick at its threshold."""
    places = np.arange(atlas.NUM_LABELS)
    for is_true, color, name in ((0, "grey", "not a label"), (1, "green", "true label")):
        chosen = labels == is_true
        ax.barh(places[chosen], probs[chosen], color=style.COLORS[color], label=name)
    tick = {"marker": "|", "s": 60, "linewidths": 1.6, "color": style.COLORS["vermilion"], "zorder": 3}
    ax.scatter(thresholds, places, label="threshold", **tick)
    ax.set_yticks(places, atlas.LABELS, fontsize=7)
    for label in np.flatnonzero(labels):  # seen also where the bar is too short
        ax.get_yticklabels()[label].set(color=style.COLORS["green"], weight="bold")
    ax.set(xlim=(0, 1), ylim=(atlas.NUM_LABELS - 0.4, -0.6), xlabel="probability")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=7, handlelength=1, columnspacing=1)


def threshold_curve(
    table: pd.DataFrame, threshold: float, label: int, judged_on: str, synthetic: bool = False
) -> Figure:
    """Precision, recall and F1 of a class, and the macro F1, while this class's threshold changes alone.

    Args:
        table: columns ``threshold``, ``precision``, ``recall``, ``f1``, ``macro_f1``.
        threshold: the one in force, drawn as a vertical line.
        judged_on: the part that was scored, such as ``"validation"``.
    """
    fig, ax = style.new_figure(4.6, 3.4)
    for column, (color, line) in LINES.items():
        name = NAMES.get(column, column)
        ax.plot(table["threshold"], table[column], color=style.COLORS[color], linestyle=line, label=name)
    ax.axvline(threshold, color=style.COLORS["vermilion"], linewidth=1)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=f"threshold of {atlas.LABELS[label]}", ylabel=f"on the {judged_on}")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return style.caption(fig, "The vertical line is the threshold in force; all others stay.", synthetic)


def confusion(counts: np.ndarray, judged_on: str, synthetic: bool = False) -> Figure:
    """Which false labels come with which missed ones.

    Args:
        counts: int (28, 28), images in which the row's class was missed and the column's predicted falsely.
        judged_on: the part that was counted.
    """
    fig, ax = style.new_figure(style.DOUBLE, 7)
    colors = sns.color_palette(style.MAGNITUDES, as_cmap=True)
    texts = np.where(counts > 0, counts.astype(str), "")
    look = {"annot": texts, "fmt": "", "annot_kws": {"size": 6}, "mask": counts == 0, "linewidths": 0.3}
    names = {"xticklabels": atlas.LABELS, "yticklabels": atlas.LABELS}
    sns.heatmap(counts, cmap=colors, vmin=0, square=True, cbar=False, ax=ax, **look, **names)
    ax.tick_params(labelsize=7, length=0)
    ax.set(xlabel="predicted, though not true", ylabel="true, but missed")
    text = f"Images of the {judged_on} in which both happened. One image may count in several places."
    return style.caption(fig, text, synthetic)


def embedding_map(points: np.ndarray, groups: Sequence[str], title: str = "", synthetic: bool = False) -> Figure:
    """The images as points, where near ones look alike to the network, coloured by a group.

    Args:
        points: float (N, 2).
        groups: N names, such as classes or kinds of error; ``"other"`` is drawn grey and below the rest.
        title: which run, and how the map was made.
    """
    fig, ax = style.new_figure(4.8, 4.2)
    groups = np.asarray(groups)
    names = [name for name in dict.fromkeys(groups.tolist()) if name != "other"]
    looks = {"other": {"color": "#CCCCCC", "marker": "."}} | dict(zip(names, style.marks(len(names)), strict=True))
    for name, look in looks.items():
        rows = groups == name
        ax.scatter(*points[rows].T, s=10, linewidths=0, color=look["color"], marker=look["marker"], label=name)
    ax.set(xticks=[], yticks=[], xlabel="first axis of the map", ylabel="second axis")
    fig.legend(loc="outside upper left", ncols=3, fontsize=7, markerscale=1.6, handletextpad=0.2)
    return style.caption(fig, title, synthetic)
