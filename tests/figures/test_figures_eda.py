"""The pictures of the imbalance show the numbers that they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hpa_lib.data import splits
from hpa_lib.figures import eda
from hpa_lib.reporting import label_statistics

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
    fig = draw(eda.label_counts(counts, len(labels)))
    widths = [bar.get_width() for bar in fig.axes[0].patches]
    assert widths == sorted(counts.tolist())
    assert fig.axes[0].get_xscale() == "log"
    assert f"{counts.max() / counts.min():,.0f} times the images of the rarest" in texts(fig)
    assert "synthetic" not in texts(fig)
    assert "synthetic data" in texts(eda.label_counts(counts, len(labels), synthetic=True))


def test_vermilion_is_explained_where_it_is_used():
    few = texts(eda.label_counts(np.array([5] + [4] * 27), 50))
    assert "Vermilion" not in few and "without an image" not in few
    fig = eda.label_counts(np.array([1000] + [9] + [10] * 26), 1000)
    assert "Vermilion: below 1 % of the commonest." in texts(fig)
    colors = {plt.matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in fig.axes[0].patches}
    assert colors == {eda.style.COLORS["vermilion"], eda.style.COLORS["blue"]}


def test_label_counts_of_absent_classes_compare_with_the_rarest_there_is():
    words = texts(draw(eda.label_counts(np.array([60, 5] + [0] * 26), 60)))
    assert "12 times the images of the rarest that has any; 26 have none." in words
    assert "1 times" in texts(draw(eda.label_counts(np.array([5] + [0] * 27), 5)))
    draw(eda.label_counts(np.zeros(28, int), 0))


def test_cardinality_has_a_bar_for_each_number_of_labels(labels):
    fig = draw(eda.cardinality(labels))
    assert [bar.get_height() for bar in fig.axes[0].patches] == np.bincount(labels.sum(axis=1))[1:].tolist()
    assert f"{labels.sum(axis=1).mean():.2f} labels per image" in texts(fig)


def test_cooccurrence_shows_counts_and_lift(labels):
    counts, lift = label_statistics.cooccurrence(labels)
    fig = draw(eda.cooccurrence(counts, lift))
    left, right = (ax.collections[0] for ax in fig.axes[:2])
    assert left.get_array()[0, 1] == counts[0, 1] and right.get_array()[0, 1] == pytest.approx(lift[0, 1])
    assert np.ma.getmaskarray(left.get_array()).diagonal().all()
    assert right.norm(1) == pytest.approx(0.5)  # chance is in the middle of the colours
    assert [bar.get_ylabel() for bar in fig.axes[2:]] == [
        "images with both classes",
        "lift: times as often as by chance",
    ]


def test_pairs_that_never_appear_together_have_a_colour_apart():
    lift = np.full((28, 28), 1 / 16)
    lift[0, 1], lift[0, 2] = 0, np.nan
    shown = draw(eda.cooccurrence(np.full((28, 28), 50), lift)).axes[1].collections[0]
    never, unknown, rarely = (shown.to_rgba(shown.get_array()[0, column]) for column in (1, 2, 3))
    assert never == plt.matplotlib.colors.to_rgba("#C8C8C8")
    assert unknown[:3] == pytest.approx((1, 1, 1), abs=0.01) and rarely != never


def test_cooccurrence_of_single_labels_draws():
    draw(eda.cooccurrence(*label_statistics.cooccurrence(np.eye(28, dtype=np.uint8))))


def test_label_sets_run_up_to_all_images(labels):
    sets = label_statistics.set_table(labels)
    fig = draw(eda.label_sets(sets["images"].to_numpy(), sets["classes"].str[:40]))
    assert fig.axes[1].lines[0].get_ydata()[-1] == pytest.approx(100)
    assert f"of {len(sets):,} label sets" in texts(fig)


@pytest.mark.parametrize(
    ("images", "numbers"),
    [
        ([9, 1], (1, 2, 10.0, 1)),
        ([5, 5], (0, 2, 0.0, 2)),
        ([4, 4, 1, 1], (2, 4, 20.0, 2)),
    ],
)
def test_caption_of_label_sets_states_numbers_and_no_conclusion(images, numbers):
    shown = texts(eda.label_sets(np.array(images), list("abcd")[: len(images)]))
    words = "{} of {} label sets appear in one image only, {} % of all images; the {} commonest cover 80 % of them."
    assert words.format(*numbers) in shown and "no model can" not in shown


def test_split_balance_draws_our_folds_over_the_random_ones(labels):
    folds = splits.make_folds(labels, np.arange(len(labels)), 5, 0)
    ours = label_statistics.emptiest_fold(labels, folds, 5)
    random = np.stack(
        [
            label_statistics.emptiest_fold(labels, splits.make_random_folds(np.arange(900), 5, seed), 5)
            for seed in range(10)
        ]
    )
    counts = labels.sum(axis=0)
    fig = draw(eda.split_balance(counts, 5, ours, random))
    order = np.argsort(counts, kind="stable")
    points = next(line for line in fig.axes[0].lines if line.get_label() == "stratified split")
    np.testing.assert_allclose(points.get_xdata(), (ours * 5 / counts * 100)[order])
    medians = next(line for line in fig.axes[0].lines if line.get_label() == "10 random splits")
    np.testing.assert_allclose(medians.get_xdata(), (np.median(random, axis=0) * 5 / counts * 100)[order])
    assert "10 random splits" in texts(fig)


def test_batch_effect_shows_each_score():
    fig = draw(eda.batch_effect([8, 32], [0.28, 0.56], 27 / 28, 1000))
    assert "0.28" in texts(fig) and "0.56" in texts(fig)
    assert fig.axes[0].lines[0].get_ydata()[0] == 27 / 28  # a class without any image scores 0 on the whole split too
    assert "computed once over the whole split: 0.96" in texts(fig)


def test_sampling_noise_has_an_interval_per_sample_size(labels):
    f1 = {size: label_statistics.simulate_f1(labels.mean(axis=0), size, 0.7, 0.7, draws=50) for size in (100, 900)}
    fig = draw(eda.sampling_noise(f1, labels.sum(axis=0), 0.7))
    left = fig.axes[0]
    assert [label.get_text() for label in left.get_xticklabels()] == ["100", "900"]
    assert left.lines[0].get_ydata() == pytest.approx([np.median(f1[size].mean(axis=1)) for size in (100, 900)])


@pytest.mark.parametrize(("share", "lacking"), [(1, "0.0"), (0.01, "10.2")])
def test_caption_of_the_noise_counts_the_classes_that_a_sample_lacks(share, lacking):
    counts = np.full(28, round(share * 1000))
    f1 = {size: np.zeros((5, 28)) for size in (100, 1000)}
    expected = f"A sample of 100 images lacks {lacking} of the 28 classes on average; an absent class counts 0."
    assert expected in texts(eda.sampling_noise(f1, counts, 0.7))
