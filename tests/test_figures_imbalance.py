"""The pictures of the imbalance show the numbers that they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hpa_lib import eda, splits
from hpa_lib.figures import imbalance

pytestmark = pytest.mark.usefixtures("strict_figures")


@pytest.fixture
def labels():
    labels = (np.random.default_rng(0).random((900, 28)) < np.geomspace(0.4, 0.002, 28)).astype(np.uint8)
    labels[0] = 1
    labels[labels.sum(axis=1) == 0, 0] = 1
    return labels


def texts(fig):
    return " ".join(text.get_text() for text in fig.findobj(plt.Text))


def draw(fig):
    """Lay the figure out as saving does, so that layout warnings come out."""
    fig.canvas.draw()
    return fig


def test_label_counts_are_sorted_with_the_ratio_below(labels):
    counts = labels.sum(axis=0)
    fig = draw(imbalance.label_counts(counts, len(labels)))
    widths = [bar.get_width() for bar in fig.axes[0].patches]
    assert widths == sorted(counts.tolist())
    assert fig.axes[0].get_xscale() == "log"
    assert f"{counts.max() / counts.min():,.0f} times the images of the rarest" in texts(fig)
    assert "synthetic" not in texts(fig)
    assert "synthetic data" in texts(imbalance.label_counts(counts, len(labels), synthetic=True))


def test_label_counts_of_an_absent_class_draw():
    draw(imbalance.label_counts(np.array([5] + [0] * 27), 5))


def test_cardinality_has_a_bar_for_each_number_of_labels(labels):
    fig = draw(imbalance.cardinality(labels))
    assert len(fig.axes[0].patches) == 29
    assert f"{labels.sum(axis=1).mean():.2f} labels an image" in texts(fig)


def test_cooccurrence_shows_counts_and_lift(labels):
    counts, lift = eda.cooccurrence(labels)
    fig = draw(imbalance.cooccurrence(counts, lift))
    left, right = (ax.images[0].get_array() for ax in fig.axes[:2])
    assert left[0, 1] == pytest.approx(np.log10(counts[0, 1]))
    assert right[0, 1] == pytest.approx(np.log2(lift[0, 1]))
    assert np.ma.getmaskarray(left).diagonal().all()


def test_cooccurrence_of_single_labels_draws():
    draw(imbalance.cooccurrence(*eda.cooccurrence(np.eye(28, dtype=np.uint8))))


def test_label_sets_run_up_to_all_images(labels):
    sets = eda.set_table(labels)
    fig = draw(imbalance.label_sets(sets["images"].to_numpy(), sets["classes"].str[:40]))
    assert fig.axes[1].lines[0].get_ydata()[-1] == pytest.approx(100)
    assert f"of {len(sets):,} label sets" in texts(fig)


def test_split_balance_draws_our_folds_over_the_random_ones(labels):
    folds = splits.make_folds(labels, np.arange(len(labels)), 5, 0)
    ours = eda.emptiest_fold(labels, folds, 5)
    random = np.stack(
        [eda.emptiest_fold(labels, splits.make_random_folds(np.arange(900), 5, seed), 5) for seed in range(10)]
    )
    counts = labels.sum(axis=0)
    fig = draw(imbalance.split_balance(counts, 5, ours, random))
    order = np.argsort(counts, kind="stable")
    points = next(line for line in fig.axes[0].lines if line.get_label() == "stratified split")
    np.testing.assert_allclose(points.get_ydata(), (ours * 5 / counts * 100)[order])
    assert "10 random splits" in texts(fig)


def test_batch_effect_shows_each_score():
    fig = draw(imbalance.batch_effect([8, 32], [0.28, 0.56], 1000))
    assert "0.28" in texts(fig) and "0.56" in texts(fig)


def test_sampling_noise_has_a_box_a_sample_size(labels):
    f1 = {size: eda.simulate_f1(labels.mean(axis=0), size, 0.7, 0.7, draws=50) for size in (100, 900)}
    fig = draw(imbalance.sampling_noise(f1, labels.sum(axis=0), 0.7))
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == ["100", "900"]
