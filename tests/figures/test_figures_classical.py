"""The pictures of the baseline show the numbers that they are given."""

import numpy as np
import pandas as pd

from hpa_lib.figures import classical


def test_coefficients_shows_the_strongest_features_first():
    table = pd.DataFrame(np.diag(np.arange(1.0, 6)), index=list("abcde"), columns=["A", "B", "C", "D", "E"])
    ax = classical.coefficients(table, most=3).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["e", "d", "c"]
    assert "The 3 of 5 features" in ax.figure.get_supxlabel()


def test_learning_curve_draws_both_scores():
    table = pd.DataFrame({"images": [100, 1000], "macro_ap": [0.2, 0.6], "macro_f1": [0.1, 0.5]})
    ax = classical.learning_curve(table, "hold-out", synthetic=True).axes[0]
    drawn = [line.get_ydata().tolist() for line in ax.lines if len(line.get_ydata())]
    assert drawn == [[0.2, 0.6], [0.1, 0.5]] and ax.get_xscale() == "log"
    assert ax.figure.get_suptitle() == "synthetic data"


def test_imbalance_draws_the_mean_of_the_data_sets():
    rows = [
        {"ratio": ratio, "seed": seed, "method": method, "rare_f1": 0.5 / ratio + 0.1 * seed, "macro_f1": 0.7}
        for ratio in (1, 10)
        for seed in (0, 1)
        for method in ("nothing", "class weights")
    ]
    left, right = classical.imbalance(pd.DataFrame(rows), 10).axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.55, 0.1])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.7, 0.7])
