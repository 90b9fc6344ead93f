"""The pictures of decisions show the numbers that they are given, without warnings, for one run and for many."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hpa_lib import atlas
from hpa_lib.decisions import calibration, metrics, thresholds
from hpa_lib.figures import decisions

GRID = calibration.sigmoid(np.linspace(-7, 7, 50))


pytestmark = pytest.mark.usefixtures("strict_figures")


def texts(fig):
    """All that is written on a figure, laid out as saving does."""
    fig.canvas.draw()
    return " ".join(text.get_text() for text in fig.findobj(plt.Text))


def score_table(runs, names):
    generator = np.random.default_rng(0)
    rows = [{"run": run, "name": name, "macro_f1": score} for run in runs for name in names for score in [0.4]]
    table = pd.DataFrame(rows)
    table["macro_f1"] += generator.normal(0, 0.05, len(table))
    table = table.assign(low=table["macro_f1"] - 0.05, high=table["macro_f1"] + 0.05)
    table = table.assign(tuned_on=table["macro_f1"] + 0.1, cross_fitted=table["macro_f1"] + 0.01)
    table = table.assign(gain=table["macro_f1"] - 0.4, gain_low=table["low"] - 0.4, gain_high=table["high"] - 0.4)
    return table.assign(kind=["single"] * (len(table) - 1) + ["label sets"])


@pytest.mark.parametrize("classes", [[0], [0, 5, 27, 3], list(range(6))])
def test_f1_curves_show_the_curves_and_the_marks(classes):
    generator = np.random.default_rng(0)
    labels = (generator.random((60, 28)) < 0.3).astype(np.uint8)
    probs = generator.random((60, 28))
    curve = thresholds.f1_curve(labels, probs, GRID)
    marks = {"exact": thresholds.tune(labels, probs), "edge": np.full(28, 2.0)}
    fig = decisions.f1_curves(GRID, {"validation": curve}, marks, labels.sum(axis=0), classes, synthetic=True)
    written = texts(fig)
    assert "synthetic data" in written and f"{atlas.LABELS[classes[-1]]} ({labels[:, classes[-1]].sum()}" in written
    ax = fig.axes[len(classes) - 1]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), curve[:, classes[-1]])
    assert ax.lines[1].get_xdata()[0] == pytest.approx(marks["exact"][classes[-1]])
    assert sum(panel.get_visible() for panel in fig.axes) == len(classes)


@pytest.mark.parametrize("positives", [np.array([3]), np.full(28, 4), np.geomspace(1, 300, 84).astype(int)])
def test_optimism_shows_every_class(positives):
    gaps = np.linspace(0.5, 0, len(positives))
    fig = decisions.tuning_optimism(positives, {"exact": gaps, "steady": gaps / 2})
    assert "exact" in texts(fig)
    shown = fig.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(shown, np.column_stack([positives, gaps]))
    line = fig.axes[0].lines[1].get_ydata()
    assert gaps.min() <= line.min() and line.max() <= gaps.max()


@pytest.mark.parametrize("num_runs", [1, 2, 5])
def test_candidates_are_drawn_for_every_run(num_runs):
    runs = [f"run-{number}" for number in range(num_runs)]
    table = score_table(runs, list(thresholds.CANDIDATES))
    fig = decisions.candidate_scores(table, "hold-out")
    written = texts(fig)
    assert all(name in written for name in [*runs, *thresholds.CANDIDATES])
    of_run = table[table["run"] == runs[0]]
    shown = fig.axes[0].collections[1].get_offsets()[::-1]
    np.testing.assert_allclose(shown[:, 0], of_run["macro_f1"])


def test_reliability_has_a_line_per_run():
    generator = np.random.default_rng(0)
    probs = generator.random((400, 28))
    tables = {f"run-{n}": calibration.reliability(generator.random((400, 28)) < probs, probs) for n in range(9)}
    fig = decisions.reliability(tables)
    assert "run-8" in texts(fig) and len(fig.axes[0].lines) == 10


def test_ensembles_are_compared_with_the_best_single_model():
    table = score_table(["all"], ["a", "b", "union"])
    fig = decisions.ensemble_scores(table, "a", "hold-out", synthetic=True)
    assert "gain over a" in texts(fig)
    np.testing.assert_allclose(fig.axes[0].collections[1].get_offsets()[::-1, 0], table["macro_f1"])
    np.testing.assert_allclose(fig.axes[1].collections[1].get_offsets()[::-1, 0], table["gain"])
    assert [tick.get_text() for tick in fig.axes[0].get_yticklabels()] == ["union", "b", "a"]


@pytest.mark.parametrize("with_probs", [True, False])
def test_class_scores_are_sorted_by_positives(with_probs):
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 28)) < np.linspace(0.5, 0.01, 28)).astype(np.uint8)
    probs = np.clip(labels * 0.4 + generator.random(labels.shape) * 0.6, 0, 1)
    preds = thresholds.apply(probs, 0.5)
    table = metrics.class_table(labels, preds, probs if with_probs else None)
    table = table.assign(f1_low=table["f1"] - 0.1, f1_high=table["f1"] + 0.1)
    fig = decisions.class_scores(table, "hold-out")
    assert f"Nucleoplasm  {labels[:, 0].sum()}" in texts(fig)
    shown = fig.axes[0].collections[1].get_offsets()
    np.testing.assert_allclose(shown[:, 0], table.sort_values("positives", kind="stable")["f1"])
    assert len(fig.axes[0].collections) == 2 + with_probs


def test_contributions_may_be_empty():
    columns = ["member", "without", "adds", "low", "high", "ensemble"]
    table = pd.DataFrame([["a", 0.4, 0.02, -0.01, 0.05, "mean"], ["b", 0.4, 0.01, 0, 0.02, "mean"]], columns=columns)
    assert "mean" in texts(decisions.contributions(table))
    assert "nothing to leave out" in texts(decisions.contributions(table.iloc[:0]))
