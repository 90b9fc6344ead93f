"""Drawings of a network that a student can read: its blocks from image to answer, and the inside of one block."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from hpa_lib.figures import style

KINDS = {  # of a block: its colour, and its words in the legend
    "input": (style.COLORS["grey"], "image, channels, normalised"),
    "convolution": (style.COLORS["sky"], "convolutions in a row"),
    "pooling": (style.COLORS["yellow"], "pooling"),
    "parallel": (style.COLORS["orange"], "parallel branches, concatenated"),
    "residual": (style.COLORS["green"], "convolutions plus a shortcut"),
    "dense": (style.COLORS["purple"], "each layer sees all before it"),
    "head": (style.COLORS["vermilion"], "head: features to 28 logits"),
}
MEETINGS = {"residual": "add", "parallel": "concatenate", "dense": "concatenate"}


def draw_blocks(rows: list[dict], title: str = "", caption: str = "") -> Figure:
    """A network from top to bottom: one bar per block, as wide as its map, beside its parameters and its arithmetic.

    Args:
        rows: ``models.summary.block_rows(model)``.
        title, caption: words around it.
    """
    height = 1.7 + 0.36 * len(rows)
    fig, axes = style.new_figure(12, height, ncols=3, sharey=True, width_ratios=(6, 1.5, 1.5))
    _draw_maps(axes[0], rows)
    _draw_shares(axes[1], [row["parameters"] / 1e6 for row in rows], rows, "parameters (millions)")
    _draw_shares(axes[2], [row["flops"] / 1e9 for row in rows], rows, "work (GFLOP per image)")
    axes[0].set_title(title, loc="left")
    used = {row["kind"] for row in rows}
    handles = [Patch(color=color, label=text) for kind, (color, text) in KINDS.items() if kind in used]
    fig.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    return style.caption(fig, caption)


def _draw_maps(ax, rows: list[dict]) -> None:
    """Bars centred like a funnel: the side of the map, on a root scale; beside them what is in the block."""
    largest = max(row["shape"][0] for row in rows if len(row["shape"]) == 3)
    for line, row in enumerate(rows):
        side = row["shape"][0] if len(row["shape"]) == 3 else 1
        width = np.sqrt(side / largest)
        ax.barh(line, width, left=(1 - width) / 2, height=0.72, color=KINDS[row["kind"]][0])
        ax.text(1.06, line, " x ".join(map(str, row["shape"])), va="center", fontsize=8.5)
        ax.text(1.5, line, row["layers"], va="center", fontsize=8.5)
    for x, text in ((1.06, "output"), (1.5, "made of")):
        ax.text(x, -0.9, text, va="center", fontsize=8.5, color="#444444")
    ax.set_yticks(range(len(rows)), [row["name"] for row in rows])
    ax.set(xlim=(-0.02, 2.8), ylim=(len(rows) - 0.4, -1.3), xticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _draw_shares(ax, values: list[float], rows: list[dict], label: str) -> None:
    ax.barh(range(len(rows)), values, height=0.72, color=[KINDS[row["kind"]][0] for row in rows])
    ax.set_xlabel(label)
    ax.tick_params(axis="y", length=0)
    ax.text(0.98, 0.99, f"total {sum(values):.3g}", transform=ax.transAxes, ha="right", va="top", fontsize=9)


def draw_branches(branches: list[list[str]], kind: str, title: str = "", caption: str = "") -> Figure:
    """The inside of one block: the branches side by side, data flowing down, meeting at the end.

    Args:
        branches: ``models.summary.branches(model, block)``; an empty branch is drawn as a line.
        kind: of the block: ``"residual"`` (the branches are added), ``"parallel"`` or ``"dense"`` (concatenated);
            a ValueError for any other.
        title, caption: words around it.
    """
    if kind not in MEETINGS:
        raise ValueError(f"kind {kind!r}: branches meet in one of {', '.join(MEETINGS)}")
    depth = max(len(branch) for branch in branches)
    fig, ax = style.new_figure(1.2 + 2.1 * len(branches), 1.9 + 0.75 * depth)
    middle, top, bottom = (len(branches) - 1) / 2, -1.0, float(depth)
    for column, branch in enumerate(branches):
        line = ((middle, column, column, middle), (top, -0.45, bottom - 0.55, bottom))
        ax.plot(*line, color=style.COLORS["grey"], linewidth=1.4, zorder=1)
        first = (depth - len(branch)) / 2  # short branches are centred
        for row, text in enumerate(branch):
            _draw_box(ax, column, first + row, text, style.COLORS["yellow" if "pool" in text else "sky"])
        if not branch:
            ax.text(column + 0.04, depth / 2 - 0.5, "as it is", fontsize=9, color="#444444", va="center")
    _draw_box(ax, middle, top, "input of the block", "#D0D0D0")
    _draw_box(ax, middle, bottom, MEETINGS[kind], KINDS[kind][0])
    ax.set(xlim=(-0.6, len(branches) - 0.4), ylim=(bottom + 0.45, top - 0.45))
    ax.set_title(title, loc="left")
    ax.set_axis_off()
    return style.caption(fig, caption)


def _draw_box(ax, x: float, y: float, text: str, color: str) -> None:
    box = FancyBboxPatch((x - 0.4, y - 0.26), 0.8, 0.52, boxstyle="round,pad=0,rounding_size=0.08", zorder=2)
    box.set(facecolor=color, edgecolor="white", alpha=1.0)
    ax.add_patch(box)
    ax.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3)
