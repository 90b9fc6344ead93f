"""Pictures of training: class weights, learning curves, and what a run gives class by class."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hpa_lib import atlas
from hpa_lib.figures import style


def class_weights(counts: np.ndarray, weights: np.ndarray, synthetic: bool = False) -> Figure:
    """Images of each class in the training part (bars, log axis) and its weight in the loss (dots).

    Args:
        counts: int (28,).
        weights: float (28,), from ``imbalance.class_weights``.
    """
    order = np.argsort(counts)[::-1]
    fig, ax = style.new_figure(10, 4.8)
    ax.bar(range(len(order)), counts[order], color=style.COLORS["sky"])
    ax.set_yscale("log")
    ax.set_ylim(0.5, None)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set_ylabel("training images", color=style.COLORS["blue"])
    ax.set_xticks(range(len(order)), [atlas.LABELS[label] for label in order], rotation=60, ha="right", fontsize=8)
    right = ax.twinx()
    right.spines["right"].set_visible(True)
    right.plot(range(len(order)), weights[order], "o", color=style.COLORS["vermilion"])
    right.set_ylim(0, max(1.2, 1.08 * weights.max()))
    right.set_ylabel("class weight", color=style.COLORS["vermilion"])
    return style.caption(fig, "Bars: images of each class. Dots: what the class weighs in the loss.", synthetic)


def curves(histories: Mapping[str, pd.DataFrame], synthetic: bool = False) -> Figure:
    """Learning curves of one run or several: loss, validation macro AP and macro F1 at .5 over the epochs.

    Args:
        histories: run name -> what ``loop.fit`` returns.
    """
    fig, axes = style.new_figure(11 if len(histories) == 1 else 13, 3.4, ncols=3)
    panels = (
        ("loss", "loss, training" if len(histories) > 1 else "loss: training and, dashed, validation"),
        ("val_macro_ap", "validation macro AP"),
        ("val_macro_f1", "validation macro F1 at .5, empty rows filled"),
    )
    for ax, (column, title) in zip(axes, panels, strict=True):
        for look, (run, history) in zip(style.marks(len(histories)), histories.items(), strict=True):
            ax.plot(history["epoch"], history[column], markersize=4, label=run, **look)
            if column == "loss" and len(histories) == 1:
                ax.plot(history["epoch"], history["val_loss"], "s--", markersize=3, color=style.COLORS["orange"])
                ax.annotate(
                    "validation", (history["epoch"].iloc[-1], history["val_loss"].iloc[-1]), ha="right", va="bottom"
                )
        ax.set(title=title, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if column != "loss":
            ax.set_ylim(0, None)
    text = "Each point is one evaluation of the whole validation part."
    if len(histories) > 1:
        axes[0].set(yscale="log", title="training loss (log axis)")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
        text += " Losses of different kinds cannot be compared."
    return style.caption(fig, text, synthetic)


def f1_by_class(f1: Mapping[str, np.ndarray], counts: np.ndarray, judged_on: str, synthetic: bool = False) -> Figure:
    """F1 of every class, one mark per run, classes from the most common to the rarest.

    Args:
        f1: run name -> float (28,).
        counts: int (28,), images of each class in all folds (training and validation); they give the order.
        judged_on: what the F1 was measured on, such as ``"hold-out"``.
    """
    order = np.argsort(counts)[::-1]
    names = [f"{atlas.LABELS[label]} ({counts[label]})" for label in order]
    fig, ax = style.new_figure(8, 7)
    places = np.arange(len(order))
    for look, (run, values) in zip(style.marks(len(f1)), f1.items(), strict=True):
        ax.plot(values[order], places, label=run, alpha=0.85, **look | {"linestyle": ""})
    ax.hlines(places, 0, 1, color="#EEEEEE", zorder=0)
    ax.set_yticks(places, names, fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel=f"F1 on the {judged_on}", xlim=(0, 1.02), ylabel="class (training and validation images)")
    fig.legend(loc="outside upper left", ncols=2, fontsize=8)
    return style.caption(
        fig, "Rare classes (below) are where runs differ, and where each mark rests on few images.", synthetic
    )


def rare_positives(table: pd.DataFrame, judged_on: str, synthetic: bool = False) -> Figure:
    """How often each of the rarest classes is predicted, one bar per run, beside how often it is really there.

    Args:
        table: one row per class: ``class``, ``true`` and one column per run.
        judged_on: what was predicted, such as ``"hold-out"``.
    """
    runs = [column for column in table.columns if column != "class"]
    fig, ax = style.new_figure(12, 4)
    width = 0.8 / len(runs)
    colors = [style.COLORS["grey"], *style.cycle(len(runs) - 1)]
    for number, (run, color) in enumerate(zip(runs, colors, strict=True)):
        hatch = "////" if number > len(style.CYCLE) else ""  # the palette has begun again
        places = np.arange(len(table)) + number * width
        ax.bar(places, table[run], width, color=color, label=run, hatch=hatch, edgecolor="white")
    ax.set_xticks(np.arange(len(table)) + 0.4 - width / 2, table["class"], rotation=30, ha="right", fontsize=8)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_ylabel(f"images of the {judged_on}")
    fig.legend(loc="outside right center", fontsize=8)
    return style.caption(
        fig, "Grey: images that carry the label. Colours: images for which a run predicts it at .5.", synthetic
    )
