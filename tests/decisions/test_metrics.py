"""Metrics equal scikit-learn's, on random and on degenerate inputs."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from hpa_lib.decisions import metrics

NUM_LABELS = 28


def draw_case(seed: int, num_images: int, prevalence: float, decimals: int):
    """Labels, predictions and probabilities with empty and full columns and ties."""
    generator = np.random.default_rng(seed)
    rates = generator.choice([0, prevalence, 1], NUM_LABELS, p=[0.15, 0.7, 0.15])
    labels = (generator.random((num_images, NUM_LABELS)) < rates).astype(np.uint8)
    preds = (generator.random(labels.shape) < generator.choice([0, prevalence, 1], NUM_LABELS)).astype(np.uint8)
    probs = np.round(generator.random(labels.shape), decimals).astype(np.float32)
    return labels, preds, probs


cases = st.builds(draw_case, st.integers(0, 10**6), st.integers(1, 60), st.floats(0, 1), st.integers(0, 6))


def reference_f1(labels, preds, average):
    return reference.f1_score(labels, preds, average=average, zero_division=0)


@settings(deadline=None)
@given(cases)
def test_f1_means_equal_scikit_learn(case):
    labels, preds, _ = case
    np.testing.assert_allclose(metrics.f1_per_class(labels, preds), reference_f1(labels, preds, None))
    assert metrics.macro_f1(labels, preds) == pytest.approx(reference_f1(labels, preds, "macro"))
    assert metrics.micro_f1(labels, preds) == pytest.approx(reference_f1(labels, preds, "micro"))
    assert metrics.sample_f1(labels, preds) == pytest.approx(reference_f1(labels, preds, "samples"))


@settings(deadline=None)
@given(cases)
def test_precision_and_recall_equal_scikit_learn(case):
    labels, preds, _ = case
    table = metrics.class_table(labels, preds)
    for column, theirs in (("precision", reference.precision_score), ("recall", reference.recall_score)):
        np.testing.assert_allclose(table[column], theirs(labels, preds, average=None, zero_division=0))


@settings(deadline=None, max_examples=50)
@given(cases)
def test_average_precision_equals_scikit_learn_with_ties(case):
    labels, _, probs = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's about classes without positives
        expected = [reference.average_precision_score(labels[:, j], probs[:, j]) for j in range(NUM_LABELS)]
    np.testing.assert_allclose(metrics.average_precision(labels, probs), expected, atol=1e-12)


def test_macro_f1_counts_absent_classes_and_the_present_variant_does_not():
    labels = np.zeros((4, NUM_LABELS), np.uint8)
    labels[:, :7] = 1
    assert metrics.macro_f1(labels, labels) == pytest.approx(7 / 28)
    assert metrics.macro_f1_present(labels, labels) == 1
    assert metrics.macro_f1_present(np.zeros_like(labels), labels) == 0
    labels[1:, :7] = 0  # present means in one image, not in all
    assert metrics.macro_f1_present(labels, labels) == 1


def test_summary_and_class_table_agree_with_the_functions():
    labels, preds, probs = draw_case(3, 40, 0.3, 3)
    table = metrics.class_table(labels, preds, probs)
    assert list(table.columns) == [
        "label", "name", "positives", "predicted", "precision", "recall", "f1", "average_precision"
    ]  # fmt: skip
    assert len(table) == NUM_LABELS
    assert table["f1"].mean() == pytest.approx(metrics.macro_f1(labels, preds))
    assert table["positives"].sum() == labels.sum()
    assert metrics.summarize(labels, preds)["sample_f1"] == metrics.sample_f1(labels, preds)
    assert "average_precision" not in metrics.class_table(labels, preds)


def test_labels_of_any_number_type_are_read_alike():
    labels, preds, _ = draw_case(5, 30, 0.4, 3)
    expected = metrics.macro_f1(labels, preds)
    for kind in (bool, int, np.float32):
        assert metrics.macro_f1(labels.astype(kind), preds.astype(kind)) == expected


@pytest.mark.parametrize(
    ("labels", "preds", "words"),
    [
        (np.zeros((3, 28)), np.full((3, 28), 0.5), "preds hold 0.5"),
        (np.full((3, 28), 2), np.zeros((3, 28)), "labels hold 2"),
        (np.zeros((3, 28)), np.full((3, 28), np.nan), "preds hold nan"),
        (np.zeros((3, 28)), np.zeros((2, 28)), r"\(3, 28\) but preds \(2, 28\)"),
        (np.zeros(28), np.zeros(28), "one row per image"),
    ],
)
def test_wrong_arrays_are_refused_with_the_value(labels, preds, words):
    with pytest.raises(ValueError, match=words):
        metrics.macro_f1(labels, preds)


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "NaN, first at row 1, class 4"), (1.5, "to 1.5"), (-3.0, "apply the sigmoid")]
)
def test_probabilities_that_are_none_are_refused(value, words):
    probs = np.full((3, 28), 0.5)
    probs[1, 4] = value
    with pytest.raises(ValueError, match=words):
        metrics.average_precision(np.zeros((3, 28)), probs)


def test_images_are_ranked_by_hand_and_a_tie_is_cut_behind_its_last():
    probs = np.array([[0.2], [0.9], [0.2], [0.7]])
    ranked, hits, last = metrics.rank(np.array([[1], [1], [0], [0]]), probs)
    assert ranked.tolist() == [[0.9, 0.7, 0.2, 0.2]] and hits[0, [0, 1, 3]].tolist() == [1, 1, 2]
    assert last.tolist() == [[True, True, False, True]]


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 28\) but probs \(3, 27\)"):
        metrics.average_precision(np.zeros((3, 28)), np.zeros((3, 27)))
    with pytest.raises(ValueError, match=r"probs have shape \(28,\): give one row per image"):
        metrics.check_probs(np.zeros(28))


@pytest.mark.parametrize(("kind", "kept"), [("float32", "float32"), ("float64", "float64"), ("float16", "float64")])
def test_probabilities_stay_as_they_are_or_become_double(kind, kept):
    assert metrics.check_probs(np.zeros((3, 28), kind)).dtype == kept


def test_ranking_nothing_is_refused():
    with pytest.raises(ValueError, match="no images"):
        metrics.average_precision(np.zeros((0, 28)), np.zeros((0, 28)))
