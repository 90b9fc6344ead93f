"""Pictures of the baseline without a network: coefficients, the learning curve, the imbalance experiment."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from hpa_lib.figures import style


def coefficients(table: pd.DataFrame, most: int = 24, synthetic: bool = False) -> Figure:
    """Which features speak for a class (vermilion) and which against it (blue).

    Args:
        table: one row per feature, one column per class, what a standard deviation of the feature adds to the logit.
        most: features that are drawn, those with the largest coefficients.
    """
    strongest = table.loc[table.abs().max(axis=1).nlargest(most).index]
    fig, ax = style.new_figure(2 + 0.9 * table.shape[1], 0.26 * len(strongest) + 2.2)
    top = strongest.abs().to_numpy().max()
    colors = {"cmap": sns.color_palette(style.DIVERGING, as_cmap=True), "vmin": -top, "vmax": top}
    numbers = {"annot": True, "fmt": ".1f", "annot_kws": {"size": 7}, "linewidths": 0.5}
    label = {"label": "change of the logit per standard deviation"}
    sns.heatmap(strongest, ax=ax, cbar_kws=label, **colors, **numbers)
    ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=40, ha="right")
    text = f"The {len(strongest)} of {len(table)} features with the largest coefficients in these classes."
    return style.caption(fig, text, synthetic)


def learning_curve(table: pd.DataFrame, judged_on: str, synthetic: bool = False) -> Figure:
    """Macro average precision and macro F1 against the number of training images (log axis).

    Args:
        table: columns ``images``, ``macro_ap``, ``macro_f1``.
        judged_on: the part that was scored, such as ``"hold-out"``.
    """
    fig, ax = style.new_figure(style.DOUBLE, 3.8)
    names = {"macro_ap": "macro average precision", "macro_f1": "macro F1 at .5"}
    long = table.rename(columns=names).melt("images", var_name="score", value_name="value")
    sns.lineplot(long, x="images", y="value", hue="score", style="score", markers=True, dashes=False, ax=ax)
    ax.set(xscale="log", xlabel="training images (log scale)", ylim=(0, None), ylabel=f"score on the {judged_on}")
    ax.set_xticks(table["images"], [f"{number:,}" for number in table["images"]])
    ax.minorticks_off()
    ax.legend(title="")
    return style.caption(fig, "Each number of images contains the smaller ones. One choice of images.", synthetic)


def imbalance(table: pd.DataFrame, rare: int, synthetic: bool = False) -> Figure:
    """F1 of the rare classes, and of all, against the ratio of the commonest to the rarest class.

    Args:
        table: columns ``ratio``, ``method``, ``seed``, ``rare_f1``, ``macro_f1``.
        rare: how many classes count as rare.
    """
    fig, axes = style.new_figure(11, 4, ncols=2, sharey=True)
    for ax, column, title in zip(axes, ("rare_f1", "macro_f1"), (f"the {rare} rarest classes", "all 28"), strict=True):
        lines = {"hue": "method", "style": "method", "markers": True, "dashes": False, "errorbar": ("pi", 100)}
        sns.lineplot(table, x="ratio", y=column, ax=ax, **lines)
        ax.set(xscale="log", xlabel="commonest : rarest class in training (log scale)", title=f"Mean F1 of {title}")
        ax.set(ylim=(0, None), ylabel="F1 on a balanced test part")
        ax.set_xticks(table["ratio"].unique(), [f"{ratio:g}" for ratio in table["ratio"].unique()])
        ax.minorticks_off()
    axes[1].get_legend().remove()
    axes[0].legend(title="")
    text = f"Same number of training images everywhere. Bands: {table['seed'].nunique()} data sets."
    return style.caption(fig, text, synthetic)
