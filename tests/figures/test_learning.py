import numpy as np
import pandas as pd
import pytest

from hpa_lib.figures import learning, style

COUNTS = np.geomspace(1300, 24, 28).astype(int)
HISTORY = pd.DataFrame({
    "epoch": [1, 2, 3], "loss": [0.5, 0.3, 0.2], "val_loss": [0.5, 0.35, 0.3],
    "val_macro_ap": [0.1, 0.2, 0.3], "val_macro_f1": [0.0, 0.1, 0.2],
})  # fmt: skip


pytestmark = pytest.mark.usefixtures("strict_figures")


def test_weights_stand_over_the_counts_of_their_class():
    weights = np.linspace(1, 7, 28)
    fig = learning.class_weights(COUNTS[::-1], weights, synthetic=True)
    bars, dots = fig.axes
    assert [bar.get_height() for bar in bars.patches] == COUNTS.tolist()
    assert dots.lines[0].get_ydata().tolist() == weights[::-1].tolist()
    assert bars.get_xticklabels()[0].get_text() == "Rods & rings"
    assert fig.get_suptitle() == "synthetic data"


def test_one_run_shows_its_validation_loss_and_several_a_legend():
    alone = learning.curves({"a": HISTORY})
    assert len(alone.axes[0].lines) == 2 and alone.legends == []
    both = learning.curves({"a": HISTORY, "b": HISTORY})
    assert [text.get_text() for text in both.legends[0].get_texts()] == ["a", "b"]
    assert both.axes[1].lines[0].get_ydata().tolist() == HISTORY["val_macro_ap"].tolist()


def test_classes_go_from_common_to_rare():
    fig = learning.f1_by_class({"a": np.linspace(1, 0, 28)}, COUNTS, "validation")
    assert fig.axes[0].get_xlabel() == "F1 on the validation"
    assert fig.axes[0].get_yticklabels()[0].get_text() == "Nucleoplasm (1300)"
    assert fig.axes[0].lines[0].get_xdata()[0] == 1


def test_rare_bars_are_truth_then_runs():
    table = pd.DataFrame({"class": ["Lysosomes", "Rods & rings"], "true": [9, 8], "a": [3, 0]})
    fig = learning.rare_positives(table, "validation")
    assert fig.axes[0].get_ylabel() == "images of the validation"
    heights = [[bar.get_height() for bar in group] for group in fig.axes[0].containers]
    assert heights == [[9, 8], [3, 0]]


def test_no_two_runs_look_alike():
    looks = [tuple(look.values()) for look in style.marks(25)]
    assert len(set(looks)) == 25
