"""Pictures of training: class weights, learning curves, and what a run gives class by class."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpa_lib import atlas
from hpa_lib.figures import style

TRAINING = {"color": style.COLORS["blue"], "marker": "o", "markersize": 3, "label": "training"}
VALIDATION = {
    "color": style.COLORS["vermilion"],
    "marker": "s",
    "markersize": 3,
    "linestyle": "--",
    "label": "validation",
}


def class_weights(counts: np.ndarray, weights: np.ndarray, synthetic: bool = False) -> Figure:
    """Images of each class in the training part (left, log axis) and its weight in the loss (right).

    Args:
        counts: int (28,).
        weights: float (28,), from ``imbalance.class_weights``.
    """
    order = np.argsort(counts)[::-1]
    names = [atlas.LABELS[label] for label in order]
    fig, (left, right) = style.new_figure(style.DOUBLE, 5.5, ncols=2, sharey=True)
    left.barh(names, counts[order])
    left.set(xscale="log", xlim=(0.5, None), ylim=(len(names) - 0.4, -0.6), xlabel="training images (log scale)")
    left.xaxis.set_major_formatter("{x:,.0f}")
    right.plot(weights[order], names, "o", color=style.COLORS["vermilion"])
    right.set(xlim=(0, max(1.2, 1.08 * weights.max())), xlabel="class weight")
    right.grid(True)
    return style.caption(fig, "Left: images of each class. Right: what the class weighs in the loss.", synthetic)


def curves(histories: Mapping[str, pd.DataFrame], synthetic: bool = False) -> Figure:
    """Learning curves, one row of panels per run: loss, macro F1 at .5 and macro AP, training beside validation.

    Args:
        histories: run name -> what ``loop.fit`` returns; runs of other kinds or older ones may lack training F1.
    """
    if not histories:
        fig, ax = style.new_figure(6, 1)
        ax.set_axis_off()
        return style.caption(fig, "No run of this set was trained in epochs.", synthetic)
    panels = {"loss": ("loss", "val_loss"), "macro F1 at .5": ("train_macro_f1", "val_macro_f1")}
    panels |= {"macro AP": ("val_macro_ap",)}
    fig, grid = style.new_figure(style.DOUBLE, 1.1 + 1.5 * len(histories), nrows=len(histories), ncols=3, squeeze=False)
    for axes, (run, history) in zip(grid, histories.items(), strict=True):
        for ax, (title, columns) in zip(axes, panels.items(), strict=True):
            for column in columns:
                if column in history:
                    ax.plot(history["epoch"], history[column], **(VALIDATION if "val" in column else TRAINING))
            ax.set(title=title if ax in grid[0] else "", xlim=(0.5, history["epoch"].max() + 0.5))
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes[0].set_ylabel(textwrap.fill(run, 20), fontsize=8)
    for column, most in ((1, "macro_f1"), (2, "macro_ap")):  # one scale for all runs; losses of two kinds have none
        values = [history.filter(like=most).to_numpy().max() for history in histories.values()]
        for ax in grid[:, column]:
            ax.set_ylim(0, 1.08 * max(*values, 0.1))
    for ax in grid[-1]:
        ax.set_xlabel("epoch")
    fig.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    text = (
        "Validation is judged as a whole after each epoch. Training is counted while the epoch runs: augmented "
        "images, dropout, changing weights; no F1 where images are mixed or resampled. Empty rows are filled in both."
    )
    return style.caption(fig, text, synthetic)


def f1_by_class(f1: Mapping[str, np.ndarray], counts: np.ndarray, judged_on: str, synthetic: bool = False) -> Figure:
    """F1 of every class, one mark per run, classes from the most common to the rarest.

    Args:
        f1: run name -> float (28,).
        counts: int (28,), images of each class in all folds (training and validation); they give the order.
        judged_on: what the F1 was measured on, such as ``"hold-out"``.
    """
    order = np.argsort(counts)[::-1]
    names = [f"{atlas.LABELS[label]} ({counts[label]:,})" for label in order]
    fig, ax = style.new_figure(style.DOUBLE, 7)
    for look, (run, values) in zip(style.marks(len(f1)), f1.items(), strict=True):
        ax.plot(values[order], names, label=run, alpha=0.85, **look | {"linestyle": ""})
    ax.grid(axis="y")
    ax.invert_yaxis()
    ax.set(xlabel=f"F1 on the {judged_on}", xlim=(-0.02, 1.02), ylabel="class (training and validation images)")
    fig.legend(loc="outside upper left", ncols=2)
    text = "Rare classes are below: each of their marks rests on few images."
    return style.caption(fig, text, synthetic)


def rare_positives(table: pd.DataFrame, judged_on: str, synthetic: bool = False) -> Figure:
    """How many images each run predicts to have each of the rarest classes, below how many really have it.

    Args:
        table: one row per class: ``class``, ``true`` and one column per run, all counts.
        judged_on: what was predicted, such as ``"hold-out"``.
    """
    counts = table.set_index("class").T
    fig, ax = style.new_figure(style.DOUBLE, max(3.6, 2.3 + 0.28 * len(counts)))
    colors = sns.color_palette(style.MAGNITUDES, as_cmap=True)
    bar = {"label": f"images of the {judged_on}", "ticks": MaxNLocator(5, integer=True)}
    sns.heatmap(counts, cmap=colors, vmin=0, annot=True, fmt="d", linewidths=1, cbar_kws=bar, ax=ax)
    ax.axhline(1, color="black", linewidth=1.5)
    ax.set_xticks(ax.get_xticks(), counts.columns, rotation=30, ha="right")
    ax.set_ylabel("run")
    ax.tick_params(axis="y", rotation=0)
    text = "First row: images that carry the label. Below: images for which a run predicts it at .5."
    return style.caption(fig, text, synthetic)
