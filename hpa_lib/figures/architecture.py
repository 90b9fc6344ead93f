"""Drawings of a network that a student can read: its blocks from image to answer, and the inside of one block."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from hpa_lib.figures import style

KIND_COLORS = {
    "input": style.COLORS["grey"],
    "convolution": style.COLORS["sky"],
    "pooling": style.COLORS["yellow"],
    "parallel": style.COLORS["orange"],
    "residual": style.COLORS["green"],
    "dense": style.COLORS["purple"],
    "head": style.COLORS["vermilion"],
}
KIND_TEXTS = {
    "input": "image, channels, normalised",
    "convolution": "convolutions in a row",
    "pooling": "pooling",
    "parallel": "parallel branches, concatenated",
    "residual": "convolutions plus a shortcut",
    "dense": "each layer sees all before it",
    "head": "head: features to 28 logits",
}
MEETINGS = {"residual": "add", "parallel": "concatenate", "dense": "concatenate"}


def draw_blocks(rows: list[dict], title: str = "", caption: str = "") -> Figure:
    """A network from top to bottom: one bar per block, as wide as its map, beside its parameters and its arithmetic.

    Args:
        rows: ``models.summary.block_rows(model)``.
        title: such as ``"ResNet18"``.
        caption: what to see, in a sentence or two.

    Returns:
        A figure with one line per block.
    """
    height = 1.7 + 0.36 * len(rows)
    fig, axes = style.new_figure(12, height, ncols=3, sharey=True, width_ratios=(6, 1.5, 1.5))
    _draw_maps(axes[0], rows)
    _draw_shares(axes[1], [row["parameters"] / 1e6 for row in rows], rows, "parameters (millions)")
    _draw_shares(axes[2], [row["flops"] / 1e9 for row in rows], rows, "work (GFLOP per image)")
    axes[0].set_title(title, loc="left")
    used = [kind for kind in KIND_COLORS if any(row["kind"] == kind for row in rows)]
    handles = [Patch(color=KIND_COLORS[kind], label=KIND_TEXTS[kind]) for kind in used]
    fig.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    return style.caption(fig, caption)


def _draw_maps(ax, rows: list[dict]) -> None:
    """Bars centred like a funnel: the side of the map, on a root scale; beside them what is in the block."""
    largest = max(row["shape"][0] for row in rows if len(row["shape"]) == 3)
    for line, row in enumerate(rows):
        side = row["shape"][0] if len(row["shape"]) == 3 else 1
        width = np.sqrt(side / largest)
        ax.barh(line, width, left=(1 - width) / 2, height=0.72, color=KIND_COLORS[row["kind"]])
        ax.text(1.06, line, " x ".join(map(str, row["shape"])), ha="left", va="center", fontsize=8.5)
        ax.text(1.5, line, row["layers"], ha="left", va="center", fontsize=8.5)
    for x, text in ((1.06, "output"), (1.5, "made of")):
        ax.text(x, -0.9, text, ha="left", va="center", fontsize=8.5, color="#444444")
    ax.set_yticks(range(len(rows)), [row["name"] for row in rows])
    ax.set_ylim(len(rows) - 0.4, -1.3)
    ax.set_xlim(-0.02, 2.8)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _draw_shares(ax, values: list[float], rows: list[dict], label: str) -> None:
    ax.barh(range(len(rows)), values, height=0.72, color=[KIND_COLORS[row["kind"]] for row in rows])
    ax.set_xlabel(label)
    ax.tick_params(axis="y", length=0)
    total = sum(values)
    ax.text(0.98, 0.99, f"total {total:.3g}", transform=ax.transAxes, ha="right", va="top", fontsize=9)


def draw_branches(branches: list[list[str]], kind: str, title: str = "", caption: str = "") -> Figure:
    """The inside of one block: the branches side by side, data flowing down, meeting at the end.

    Args:
        branches: ``models.summary.branches(model, block)``; an empty branch is drawn as a line.
        kind: the block's kind: ``"residual"`` (the branches are added), ``"parallel"`` or ``"dense"`` (concatenated).
        title, caption: words around it.

    Raises:
        ValueError: a kind whose branches do not meet.
    """
    if kind not in MEETINGS:
        raise ValueError(f"kind {kind!r}: branches meet in one of {', '.join(MEETINGS)}")
    depth = max(len(branch) for branch in branches)
    fig, ax = style.new_figure(1.2 + 2.1 * len(branches), 1.9 + 0.75 * depth)
    middle, top, bottom = (len(branches) - 1) / 2, -1.0, float(depth)
    for column, branch in enumerate(branches):
        steps = [(middle, top), (column, -0.45)]
        first = (depth - len(branch)) / 2  # short branches are centred
        steps += [(column, first + line) for line in range(len(branch))]
        steps += [(column, bottom - 0.55), (middle, bottom)]
        ax.plot(*zip(*steps, strict=True), color=style.COLORS["grey"], linewidth=1.4, zorder=1)
        for line, text in enumerate(branch):
            color = style.COLORS["yellow" if "pool" in text else "sky"]
            _draw_box(ax, column, first + line, text, color)
        if not branch:
            ax.text(column + 0.04, depth / 2 - 0.5, "as it is", fontsize=9, color="#444444", ha="left", va="center")
    _draw_box(ax, middle, top, "input of the block", "#D0D0D0")
    _draw_box(ax, middle, bottom, MEETINGS[kind], KIND_COLORS[kind])
    ax.set(xlim=(-0.6, len(branches) - 0.4), ylim=(bottom + 0.45, top - 0.45))
    ax.set_title(title, loc="left")
    ax.set_axis_off()
    return style.caption(fig, caption)


def _draw_box(ax, x: float, y: float, text: str, color: str) -> None:
    box = FancyBboxPatch((x - 0.4, y - 0.26), 0.8, 0.52, boxstyle="round,pad=0,rounding_size=0.08", zorder=2)
    box.set(facecolor=color, edgecolor="white", alpha=1.0)
    ax.add_patch(box)
    ax.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3)
