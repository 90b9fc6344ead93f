"""Pictures of decisions: F1 along the threshold, the optimism of tuning, calibration, ensembles.

``judged_on`` says what the scores were measured on, such as ``"hold-out"``.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hpa_lib import atlas
from hpa_lib.figures import style

LOGIT_TICKS = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99]
MARKS = [("blue", "-"), ("vermilion", "--"), ("purple", ":")]  # a colour and a line for each set of thresholds


def f1_curves(
    grid: np.ndarray,
    curves: Mapping[str, np.ndarray],
    marks: Mapping[str, np.ndarray],
    positives: np.ndarray,
    classes: Sequence[int],
    synthetic: bool = False,
) -> Figure:
    """F1 against the threshold, one panel per class, with the thresholds that were chosen.

    Args:
        grid: float (G,), thresholds in 0..1.
        curves: name -> F1 float (G, 28): validation first (grey), then what judges it (green).
        marks: name -> thresholds float (28,), up to three, drawn as vertical lines.
        positives: int (28,), in validation.
        classes: the class numbers to draw.
    """
    fig, axes = style.new_panels(len(classes), 3.7, 2.6, 3, "threshold (logit scale)", sharex=True)
    for ax, label in zip(axes, classes, strict=True):
        for (name, curve), color in zip(curves.items(), ("grey", "green"), strict=False):
            ax.plot(grid, curve[:, label], color=style.COLORS[color], label=f"F1, {name}")
        for (name, chosen), (color, line) in zip(marks.items(), MARKS, strict=False):
            ax.axvline(np.clip(chosen[label], *grid[[0, -1]]), color=style.COLORS[color], linestyle=line, label=name)
        ax.set(title=f"{atlas.LABELS[label]} ({positives[label]} in validation)", xscale="logit", ylim=(0, 1))
        ax.set_xticks(LOGIT_TICKS, [f"{tick:g}" for tick in LOGIT_TICKS])
        ax.minorticks_off()
    fig.supylabel("F1", fontsize=10)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=5)
    text = "Vertical lines: thresholds, by the way they were chosen. The curves of rare classes are steps: few images."
    return style.caption(fig, text, synthetic)


def tuning_optimism(positives: np.ndarray, optimism: Mapping[str, np.ndarray], synthetic: bool = False) -> Figure:
    """How much too high the F1 on the images tuned on is, class by class, against the positives there.

    Args:
        positives: int (P,), positives in validation, of the classes of one run or of several.
        optimism: name of a way to choose -> float (P,), F1 on the images tuned on minus cross-fitted F1.
    """
    fig, ax = style.new_figure(8, 4)
    ax.axhline(0, color=style.COLORS["grey"], linewidth=1)
    edges = np.unique(np.quantile(positives, [0.2, 0.4, 0.6, 0.8]))
    fifths = np.searchsorted(edges, positives, side="right")
    for (name, gaps), color, marker in zip(optimism.items(), ("blue", "vermilion"), "os", strict=False):
        look = {"color": style.COLORS[color], "marker": marker}
        ax.scatter(positives, gaps, s=22, alpha=0.45, linewidths=0, **look)
        means = pd.DataFrame({"positives": positives, "gap": gaps}).groupby(fifths).mean()
        ax.plot(means["positives"], means["gap"], label=f"{name}: mean of a fifth of the classes", **look)
    ax.set(xscale="log", xlabel="positives in validation (log scale)", ylabel="F1 tuned on − F1 cross-fitted")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.legend()
    text = "Above 0: the F1 on the images tuned on is too high. Each point is a class of a run."
    return style.caption(fig, text, synthetic)


def candidate_scores(table: pd.DataFrame, judged_on: str, synthetic: bool = False) -> Figure:
    """Macro F1 of every way to choose thresholds: seen while tuning, cross-fitted, and judged with its interval.

    Args:
        table: columns ``run``, ``name``, ``tuned_on``, ``cross_fitted``, ``macro_f1``, ``low``, ``high``.
    """
    runs = list(dict.fromkeys(table["run"]))
    width, height = max(4, 7.5 / len(runs)), 0.9 + 0.25 * table["name"].nunique()
    fig, axes = style.new_panels(len(runs), width, height, 3, "macro F1", sharex=True, sharey=True)
    for ax, run in zip(axes, runs, strict=True):
        of_run = table[table["run"] == run].iloc[::-1].reset_index(drop=True)  # the first row ends on top
        _draw_scores(ax, of_run, ["macro_f1", "low", "high"], label=f"{judged_on}, 95 % interval")
        crossed = {"marker": "D", "s": 24, "color": style.COLORS["orange"], "label": "cross-fitted"}
        ax.scatter(of_run["cross_fitted"], of_run.index, **crossed)
        tuned = {"facecolors": "none", "edgecolors": style.COLORS["black"], "label": "on the images tuned on"}
        ax.scatter(of_run["tuned_on"], of_run.index, s=30, **tuned)
        ax.set_title(run)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    text = "A circle far to the right of its dot: the F1 on the images tuned on is much too high."
    return style.caption(fig, text, synthetic)


def reliability(tables: Mapping[str, pd.DataFrame], synthetic: bool = False) -> Figure:
    """How often labels came true against how probable the model said they were; run -> ``calibration.reliability``."""
    fig, ax = style.new_figure(style.DOUBLE, 5)
    ax.plot([0, 1], [0, 1], color=style.COLORS["grey"], linewidth=1, linestyle="--", label="calibrated")
    for look, (run, table) in zip(style.marks(len(tables)), tables.items(), strict=True):
        ax.plot(table["mean_prob"], table["positive_share"], markersize=5, label=run, **look)
    ax.set(xlabel="mean predicted probability of a bin", ylabel="share of labels that are true", aspect="equal")
    ax.legend()
    text = "All classes pooled, 15 bins. Below the dashed line: more sure than right."
    return style.caption(fig, text, synthetic)


def ensemble_scores(table: pd.DataFrame, baseline: str, judged_on: str, synthetic: bool = False) -> Figure:
    """Singles and ensembles: macro F1 with intervals (left), and the gain over the best single model (right).

    Args:
        table: columns ``name``, ``kind``, ``macro_f1``, ``low``, ``high``, ``gain``, ``gain_low``, ``gain_high``.
        baseline: the name of the best single model.
    """
    rows = table.iloc[::-1].reset_index(drop=True)
    fig, (left, right) = style.new_figure(style.DOUBLE, 1.6 + 0.25 * len(rows), ncols=2, sharey=True)
    colors = rows["kind"].map({"single": style.COLORS["grey"]}).fillna(style.COLORS["blue"])
    _draw_scores(left, rows, ["macro_f1", "low", "high"], colors)
    left.set_xlabel(f"macro F1 on the {judged_on},\n95 % interval")
    right.axvline(0, color=style.COLORS["vermilion"], linewidth=1, linestyle="--")
    _draw_scores(right, rows, ["gain", "gain_low", "gain_high"], colors)
    right.set_xlabel(f"gain over {baseline},\npaired 95 % interval")
    text = "Grey: single models; blue: ensembles. An interval that crosses the dashed line cannot tell the two apart."
    return style.caption(fig, text, synthetic)


def class_scores(table: pd.DataFrame, judged_on: str, synthetic: bool = False) -> Figure:
    """The F1 of every class with its interval, commonest class on top, and its average precision where it is known.

    Args:
        table: columns ``name``, ``positives``, ``f1``, ``f1_low``, ``f1_high``, and perhaps ``average_precision``.
    """
    rows = table.sort_values("positives", kind="stable", ignore_index=True)
    rows["name"] = [f"{name}  {count:,}" for name, count in zip(rows["name"], rows["positives"], strict=True)]
    fig, ax = style.new_figure(8, 7.2)
    _draw_scores(ax, rows, ["f1", "f1_low", "f1_high"], label="F1, 95 % interval")
    if "average_precision" in rows:
        ax.scatter(rows["average_precision"], rows.index, marker="D", s=22, color=style.COLORS["orange"], label="AP")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(rows) - 0.4))
    ax.set_xlabel(f"F1 and average precision (AP) on the {judged_on}")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    text = "Beside the names: positives. AP needs no threshold: far right of the dot, a better one may help."
    return style.caption(fig, text, synthetic)


def contributions(table: pd.DataFrame, synthetic: bool = False) -> Figure:
    """What each member adds to an ensemble, with its paired interval; ``table`` is from ``ensemble.contributions``."""
    members = list(dict.fromkeys(table["member"]))
    fig, ax = style.new_figure(8, 1.4 + 0.5 * len(members))
    ax.axvline(0, color=style.COLORS["grey"], linewidth=1)
    for number, (name, rows) in enumerate(table.groupby("ensemble", sort=False)):
        places = rows["member"].map(members.index) + 0.22 * (number - (table["ensemble"].nunique() - 1) / 2)
        reach = np.abs(rows[["low", "high"]].to_numpy().T - rows["adds"].to_numpy())
        ax.errorbar(rows["adds"], places, xerr=reach, fmt="os^D"[number % 4], capsize=3, label=name)
    ax.set_yticks(range(len(members)), members)
    ax.set(ylim=(max(len(members), 1) - 0.5, -0.5))
    ax.set_xlabel("macro F1 of the whole ensemble − without this member (95 % interval)")
    if members:
        fig.legend(loc="outside upper left", ncols=4)
    else:
        ax.set_xticks([])
        ax.text(0.5, 0.5, "one member: there is nothing to leave out", transform=ax.transAxes, ha="center")
    return style.caption(fig, "Right of 0: the ensemble is better for having this member.", synthetic)


def _draw_scores(ax, table: pd.DataFrame, columns: Sequence[str], colors=None, label: str = "") -> None:
    """Dots with their intervals, one row of ``table`` per line, from below; ``columns``: score, low, high."""
    score, low, high = (table[column] for column in columns)
    colors = [style.COLORS["blue"]] * len(table) if colors is None else list(colors)
    ax.hlines(table.index, low, high, colors=colors, linewidth=2, alpha=0.5)
    ax.scatter(score, table.index, color=colors, s=30, zorder=3, label=label)
    ax.set_yticks(table.index, table["name"])
    ax.grid(axis="x", linewidth=0.5)
