"""Pictures of explanations: heat maps over their images, and how much of them is on the true structure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hpa_lib.figures import micrographs, style

LOOKS = {  # verdict -> the network's mark and its interval, told apart without colour too
    "on the structure": {"color": style.COLORS["blue"], "marker": "o"},
    "no better than a random network": {"color": style.COLORS["orange"], "marker": "^"},
    "no better than chance": {"color": style.COLORS["vermilion"], "marker": "x"},
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
        left.set_title(title, fontsize=8)
        right.imshow(micrographs.to_rgb(image[..., [1]], np.ones((1, 3))))
        right.imshow(maps[number], cmap="inferno", alpha=0.6, vmin=0, vmax=max(maps[number].max(), 1e-12))
        right.set_title("" if maps[number].any() else "nothing speaks for it", fontsize=8)
        if masks is not None:
            right.contour(masks[number], [0.5], colors=style.COLORS["sky"], linewidths=0.7)
    text = (
        "Left: all stains. Right: the green stain below the map, which is bright where the image speaks for the label."
    )
    return style.caption(fig, text + ("" if masks is None else " Blue outline: the true structure."), synthetic)


def localisation(table: pd.DataFrame, synthetic: bool = False) -> Figure:
    """How much of each class's maps is on its structure, beside chance and a random network; one panel per method.

    Args:
        table: from ``explain.localise``.
    """
    methods, classes = table["method"].unique(), table["name"].unique()
    size = (style.SINGLE if len(methods) == 1 else style.DOUBLE, 2 + 0.17 * len(classes))
    fig, axes = style.new_figure(*size, ncols=len(methods), sharey=True, squeeze=False)
    lowest = 0.4 * table["chance"].min()
    for ax, method in zip(axes[0], methods, strict=True):
        rows = table[table["method"] == method]
        ax.plot(rows["chance"], rows["name"], "|", color="black", markersize=8, label="chance (share of the area)")
        ax.plot(rows["random"], rows["name"], "D", color=style.COLORS["grey"], markersize=3, label="random weights")
        for verdict, look in LOOKS.items():
            chosen = rows[rows["verdict"] == verdict]
            ax.hlines(chosen["name"], chosen["mass_low"].clip(lowest), chosen["mass_high"], look["color"], linewidth=1)
            ax.plot(chosen["mass"], chosen["name"], linestyle="", markersize=4.5, label=f"network: {verdict}", **look)
        ax.set_title(method, fontsize=9)
        ax.set(xscale="log", xlim=(lowest, 1.5), ylim=(len(classes) - 0.4, -0.6), yticks=range(len(classes)))
        ax.tick_params(labelsize=7.5)
        ax.grid(axis="y", linewidth=0.5)
    axes[0, len(methods) // 2].set_xlabel("share on the structure (log)", fontsize=8)
    fig.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper left", fontsize=7.5, ncols=min(len(methods), 2)
    )
    text = f"Lines: 95 % bootstrap intervals over {table['images'].min()} or more fields per class."
    return style.caption(fig, text, synthetic)
