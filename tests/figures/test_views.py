"""The views of one run: nothing hidden, nothing random, and no figure left open behind a widget."""

import hashlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hpa_lib import atlas, store
from hpa_lib.figures import explanations, micrographs, views

pytestmark = pytest.mark.usefixtures("strict_figures")


def texts(fig):
    return " ".join(text.get_text() for text in fig.findobj(plt.Text))


def draw_all():
    """Name -> each view of the same made-up numbers."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, 24, 24, 4), np.uint8)
    labels, probs = np.eye(28, dtype=np.uint8)[3], generator.random(28)
    grid = np.linspace(0, 1, 11)
    curve = pd.DataFrame({"threshold": grid, "precision": grid, "recall": 1 - grid, "f1": grid / 2, "macro_f1": 0.3})
    counts = generator.integers(0, 9, (28, 28))
    groups = np.array(["other", "right", "missed"])[generator.integers(0, 3, 40)]
    return {
        "answer": views.answer(labels, probs, np.full(28, 0.4), images[0], "some Id", True, 0.32),
        "curve": views.threshold_curve(curve, 0.3, 3, "hold-out", True),
        "confusion": views.confusion(counts, "hold-out", True),
        "map": views.embedding_map(generator.normal(size=(40, 2)), groups, "a run, pca", True),
        "heat": explanations.heat_maps(images, generator.random((4, 24, 24)), None, list("abcd"), True),
        "sheet": micrographs.contact_sheet(images, list("abcd"), 4, "some images", True),
    }


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    digests = []
    for time in ("first", "second"):
        for name, fig in draw_all().items():
            store.save_figure(tmp_path / time, name, fig)
        files = sorted((tmp_path / time / "figures").iterdir())
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
        plt.close("all")
    assert digests[0] == digests[1] and len(digests[0]) == 12


def test_each_view_is_stamped_and_says_what_it_shows():
    figures = draw_all()
    for name, words in {
        "answer": ["some Id", "all four, bar: 2 µm", "threshold", *atlas.LABELS],
        "curve": ["threshold of Nucleoli fibrillar center", "on the hold-out", "macro F1 of all 28"],
        "confusion": ["true, but missed", "predicted, though not true", *atlas.LABELS],
        "map": ["right", "missed", "a run, pca"],
        "heat": ["a", "d"],
    }.items():
        figures[name].canvas.draw()
        assert not [word for word in [*words, "synthetic data"] if word not in texts(figures[name])], name


def test_an_answer_without_an_image_has_its_bars():
    fig = views.answer(np.zeros(28, np.uint8), np.linspace(0, 1, 28), np.full(28, 0.5))
    (ax,) = fig.axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(np.linspace(0, 1, 28))


def test_a_figure_for_a_widget_is_closed_behind_it():
    png = views.encode_png(draw_all()["curve"])
    assert png.startswith(b"\x89PNG")
    plt.close("all")
    views.encode_png(views.answer(np.zeros(28), np.zeros(28), np.zeros(28)))
    assert not plt.get_fignums()
