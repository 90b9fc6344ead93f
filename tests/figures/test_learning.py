import numpy as np
import pandas as pd
import pytest
import seaborn as sns

from hpa_lib.figures import learning, style

COUNTS = np.geomspace(1300, 24, 28).astype(int)
HISTORY = pd.DataFrame({
    "epoch": [1, 2, 3], "loss": [0.5, 0.3, 0.2], "val_loss": [0.5, 0.35, 0.3],
    "val_macro_ap": [0.1, 0.2, 0.3], "val_macro_f1": [0.0, 0.1, 0.2], "train_macro_f1": [0.1, 0.3, 0.6],
})  # fmt: skip


pytestmark = pytest.mark.usefixtures("strict_figures")


def test_weights_are_beside_the_counts_of_their_class():
    weights = np.linspace(1, 7, 28)
    fig = learning.class_weights(COUNTS[::-1], weights, synthetic=True)
    bars, dots = fig.axes
    assert [bar.get_width() for bar in bars.patches] == COUNTS.tolist()
    assert dots.lines[0].get_xdata().tolist() == weights[::-1].tolist()
    assert bars.get_yticklabels()[0].get_text() == "Rods & rings"
    assert fig.get_suptitle() == "synthetic data"


def test_each_run_has_a_row_with_training_beside_validation_on_whole_epochs():
    older = HISTORY.drop(columns="train_macro_f1")
    fig = learning.curves({"a": HISTORY, "b": older}, synthetic=True)
    loss, f1, precision, _, older_f1, _ = fig.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [
        HISTORY["loss"].tolist(),
        HISTORY["val_loss"].tolist(),
    ]
    assert [line.get_label() for line in f1.lines] == ["training", "validation"]
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["loss", "macro F1 at .5", "macro AP", "", "", ""]
    assert precision.lines[0].get_ydata().tolist() == HISTORY["val_macro_ap"].tolist()
    assert [line.get_label() for line in older_f1.lines] == ["validation"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["training", "validation"]
    assert all(tick == round(tick) for tick in loss.get_xticks())
    assert f1.get_ylim() == older_f1.get_ylim()


def test_classes_go_from_common_to_rare():
    fig = learning.f1_by_class({"a": np.linspace(1, 0, 28)}, COUNTS, "validation")
    assert fig.axes[0].get_xlabel() == "F1 on the validation"
    assert fig.axes[0].get_yticklabels()[0].get_text() == "Nucleoplasm (1,300)"
    assert fig.axes[0].lines[0].get_xdata()[0] == 1


def test_rare_classes_have_the_truth_on_top_and_a_labelled_colour_bar():
    table = pd.DataFrame({"class": ["Lysosomes", "Rods & rings"], "true": [9, 8], "a": [3, 0]})
    fig = learning.rare_positives(table, "validation")
    fig.canvas.draw()
    ax, bar = fig.axes
    assert bar.get_ylabel() == "images of the validation"
    assert ax.collections[0].get_array().tolist() == [[9, 8], [3, 0]]
    assert [text.get_text() for text in ax.texts] == ["9", "8", "3", "0"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["true", "a"]
    assert all(tick == round(tick) for tick in bar.get_yticks())


def test_every_figure_fits_two_columns_of_print_and_long_names_their_row():
    name = "densenet121-rgby-class_weights-seed1"
    table = pd.DataFrame({"class": list("abcdefghij"), "true": range(10), name: range(10)})
    curves = learning.curves({name: HISTORY, f"{name}1": HISTORY})
    figures = [curves, learning.class_weights(COUNTS, np.ones(28)), learning.rare_positives(table, "hold-out")]
    figures.append(learning.f1_by_class({name: np.ones(28)}, COUNTS, "hold-out"))
    assert [fig.get_figwidth() for fig in figures] == [style.DOUBLE] * 4
    curves.canvas.draw()
    upper, lower = (curves.axes[row].yaxis.label.get_window_extent() for row in (0, 3))
    assert upper.height < 1.1 * curves.axes[0].get_window_extent().height and upper.y0 > lower.y1


def test_the_theme_has_the_palette_of_the_project():
    style.new_figure()
    assert [color.upper() for color in sns.color_palette().as_hex()] == style.CYCLE
    assert set(style.CYCLE) <= set(style.COLORS.values())


def test_panels_of_a_short_last_row_have_ticks_and_a_label_below_each_column():
    fig, axes = style.new_panels(5, 3, 2, columns=3, xlabel="F1", sharex=True)
    fig.canvas.draw()
    assert [ax.get_visible() for ax in fig.axes] == [True] * 5 + [False]
    assert [ax.get_xlabel() for ax in axes] == ["", "", "F1", "F1", "F1"]
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in axes] == [False, False, True, True, True]


def test_no_two_runs_look_alike():
    looks = [tuple(look.values()) for look in style.marks(25)]
    assert len(set(looks)) == 25


def test_a_set_without_any_network_says_so():
    (caption,) = [text.get_text() for text in learning.curves({}).texts]
    assert caption == "No run of this set was trained in epochs."
