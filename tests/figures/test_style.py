"""Figures for print: a PDF with its fonts, the same bytes for the same figure, texts that fit the width."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from hpa_lib import store
from hpa_lib.figures import decisions, eda, style

pytestmark = pytest.mark.usefixtures("strict_figures")
NAMES = ["densenet-rgby-none", "inception_v2-rgby-sqrt", "union of two"]
SCORES = pd.DataFrame({"name": NAMES, "kind": ["single", "single", "label sets"]})
SCORES[["macro_f1", "low", "high", "gain", "gain_low", "gain_high"]] = [0.3, 0.2, 0.4, 0.1, 0.0, 0.2]


def draw():
    fig, ax = style.new_figure(style.SINGLE, 2)
    ax.plot([1, 2, 3], label="macro F1")
    ax.legend()
    return style.caption(fig, "A line.")


def test_a_figure_is_stored_as_png_and_pdf_with_its_numbers(tmp_path):
    table = pd.DataFrame({"epoch": [1, 2], "F1": [0.125, 0.25]})
    store.save_figure(tmp_path, "line", draw(), table)
    pdf = (tmp_path / "figures/line.pdf").read_bytes()
    assert b"FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf
    assert (tmp_path / "figures/line.png").read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(store.load_table(tmp_path, "figures/line.csv"), table)
    store.save_figure(tmp_path, "other", draw())
    assert (tmp_path / "figures/other.pdf").read_bytes() == pdf
    assert not (tmp_path / "figures/other.csv").exists()


@pytest.mark.parametrize(
    "fig",
    [
        lambda: decisions.ensemble_scores(SCORES, "inception_v2-rgby-sqrt", "hold-out", True),
        lambda: eda.label_counts(np.geomspace(12885, 11, 28).astype(int), 31072, True),
    ],
    ids=["ensemble_scores", "label_counts"],
)
def test_figures_of_the_report_fit_two_columns_in_letters_of_7_points(fig):
    fig = fig()
    fig.canvas.draw()
    assert fig.get_figwidth() == style.DOUBLE
    assert fig.get_tightbbox().width < style.DOUBLE + 0.3
    texts = [text for text in fig.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 7
    labels = [ax.xaxis.label.get_window_extent() for ax in fig.axes]
    assert not any(left.overlaps(right) for left, right in zip(labels, labels[1:], strict=False))


def test_a_long_caption_is_broken_at_the_width_of_its_figure():
    fig = style.caption(style.new_figure(style.SINGLE, 2)[0], "Many words in one caption. " * 10)
    fig.canvas.draw()
    assert fig.get_supxlabel().count("\n") >= 3
    assert fig.get_tightbbox().width < style.SINGLE + 0.3
