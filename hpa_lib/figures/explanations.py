"""Pictures of explanations: heat maps over their images, and how much of them is on the true structure."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hpa_lib.figures import micrographs, style

LOOKS = {  # verdict -> the network's mark and its interval, told apart without colour too
    "on the structure": {"color": style.COLORS["blue"], "marker": "o"},
    "not told from a random network": {"color": style.COLORS["orange"], "marker": "^"},
    "not told from chance": {"color": style.COLORS["vermilion"], "marker": "x"},
}


def heat_maps(
    images: np.ndarray, maps: np.ndarray, masks: np.ndarray | None, titles: Sequence[str], synthetic: bool = False
) -> Figure:
    """Each image (left) and its map over the green stain (right), with the outline of the true structure.

    Args:
        images: uint8 (N, S, S, 4).
        maps: float (N, S, S), from ``training.explain``; each is brightened to its own maximum.
        masks: bool (N, S, S), or None where the structure is not known.
        titles: one per image.
    """
    columns = min(len(images), 2)
    rows = -(-len(images) // columns)
    width = style.DOUBLE if columns == 2 else style.SINGLE
    fig, grid = style.new_figure(width, 0.7 + 2 * rows, nrows=rows, ncols=2 * columns, squeeze=False)
    for ax in grid.flat:
        ax.axis("off")
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        left, right = grid.flat[2 * number : 2 * number + 2]
        left.imshow(micrographs.to_rgb(image))
        left.set_title(textwrap.fill(title, 28), fontsize=8)
        right.imshow(overlay(image, maps[number]))
        right.set_title("" if maps[number].any() else "nothing speaks for it", fontsize=8)
        if masks is not None:
            right.contour(masks[number], [0.5], colors=style.COLORS["sky"], linewidths=0.7)
    text = "Left: all stains. Right: the protein; from yellow to red: what speaks for the label."
    return style.caption(fig, text + ("" if masks is None else " Blue: the true structure."), synthetic)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture (S, S, 3) in 0..1: the protein in grey, and from yellow to red where the heat map (S, S) is high."""
    grey = micrographs.to_rgb(image[..., [1]], np.ones((1, 3)))
    share = heat / max(float(heat.max()), 1e-12)
    color = np.stack([np.ones_like(share), 1 - share, np.zeros_like(share)], axis=-1)
    return grey + 0.6 * share[..., None] * (color - grey)


def localisation(table: pd.DataFrame, synthetic: bool = False) -> Figure:
    """How much of each class's maps is on its structure, beside chance and a random network; one panel per method.

    Args:
        table: from ``explain.localise``.
    """
    methods, classes = table["method"].unique(), table["name"].unique()
    size = (style.SINGLE if len(methods) == 1 else style.DOUBLE, 2 + 0.17 * len(classes))
    fig, axes = style.new_figure(*size, ncols=len(methods), sharey=True, squeeze=False)
    lowest = 0.4 * table["chance"].min()
    shown = table.assign(**{name: table[name].clip(lowest) for name in ("mass", "mass_low", "random")})
    for ax, method in zip(axes[0], methods, strict=True):
        rows = shown[shown["method"] == method]
        ax.plot(rows["chance"], rows["name"], "|", color="black", markersize=8, label="chance (share of the area)")
        ax.plot(rows["random"], rows["name"], "D", color=style.COLORS["grey"], markersize=3, label="random weights")
        for verdict, look in LOOKS.items():
            chosen = rows[rows["verdict"] == verdict]
            ax.hlines(chosen["name"], chosen["mass_low"], chosen["mass_high"], look["color"], linewidth=1)
            ax.plot(chosen["mass"], chosen["name"], linestyle="", markersize=4.5, label=f"network: {verdict}", **look)
        ax.set_title(method, fontsize=9)
        ax.set(xscale="log", xlim=(lowest, 1.5), ylim=(len(classes) - 0.4, -0.6), yticks=range(len(classes)))
        ax.tick_params(labelsize=7.5)
        ax.grid(axis="y", linewidth=0.5)
    axes[0, len(methods) // 2].set_xlabel("share on the structure (log)", fontsize=8)
    fig.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper left", fontsize=7.5, ncols=min(len(methods), 2)
    )
    least = table["images"].min()
    text = f"Lines: 95 % intervals (Student's), {least} or more fields per class. The marks: by paired differences."
    return style.caption(fig, text, synthetic)
