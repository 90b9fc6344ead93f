"""The numbers of the EDA, against counts by hand and the known facts of the real table."""

import nbformat
import numpy as np
import pytest

from hpa_lib import paths, store
from hpa_lib.data import kaggle, splits
from hpa_lib.decisions import metrics
from hpa_lib.reporting import label_statistics


def make_labels(*sets):
    labels = np.zeros((len(sets), 28), np.uint8)
    for row, members in zip(labels, sets, strict=True):
        row[list(members)] = 1
    return labels


LABELS = make_labels([0], [0], [0, 25], [0, 25], [25], [27])


def test_class_table_is_sorted_and_counts():
    table = label_statistics.count_table(LABELS)
    assert table["images"].is_monotonic_decreasing
    assert table.iloc[0].to_dict() == {
        "label": 0, "class": "Nucleoplasm", "images": 4, "share": 4 / 6, "ratio": 1.0, "alone": 2,
    }  # fmt: skip
    rods = table[table["label"] == 27].iloc[0]
    assert (rods["ratio"], rods["alone"]) == (4, 1)
    assert table[table["images"] == 0]["ratio"].eq(0).all()


def test_set_table_counts_whole_sets():
    table = label_statistics.set_table(LABELS)
    assert table["Target"].tolist() == ["0", "0 25", "25", "27"]
    assert table["images"].tolist() == [2, 2, 1, 1]
    assert table["classes"][1] == "Nucleoplasm + Cytosol"


def test_cooccurrence_is_pairs_over_chance():
    counts, lift = label_statistics.cooccurrence(LABELS)
    assert (counts[0, 0], counts[0, 25], counts[25, 0], counts[0, 27]) == (4, 2, 2, 0)
    assert lift[0, 25] == pytest.approx((2 / 6) / (4 / 6 * 3 / 6))
    assert np.isnan(lift[0, 27])  # chance would bring them together in .67 images: too few to tell
    assert np.isnan(lift[1, 2])
    never = make_labels(*[[0]] * 4, *[[1]] * 4)
    assert label_statistics.cooccurrence(never)[1][0, 1] == 0


def test_pair_table_leaves_out_pairs_that_chance_decides():
    table = label_statistics.pair_table(LABELS, min_expected=1.5)
    assert table[["first", "second", "images", "expected"]].values.tolist() == [["Nucleoplasm", "Cytosol", 2, 2.0]]
    assert len(label_statistics.pair_table(LABELS, min_expected=0.1)) == 3


def test_emptiest_fold_by_hand():
    folds = np.array([0, 0, 1, 1, 1, -1])
    fewest = label_statistics.emptiest_fold(LABELS, folds, 2)
    assert (fewest[0], fewest[25], fewest[27]) == (2, 0, 0)
    table = splits.count_by_fold(LABELS, folds)[["fold 0", "fold 1"]]
    np.testing.assert_array_equal(fewest, table.min(axis=1))


def test_baselines_are_what_the_metrics_say():
    labels = (np.random.default_rng(0).random((400, 28)) < np.geomspace(0.4, 0.01, 28)).astype(np.uint8)
    table = label_statistics.baselines(labels).set_index("predict")
    assert table.loc["nothing", "macro_f1"] == 0
    assert table.loc["everything", "macro_f1"] == pytest.approx(metrics.macro_f1(labels, np.ones_like(labels)))
    first = np.zeros_like(labels)
    first[:, 0] = 1
    assert table.loc["always Nucleoplasm", "micro_f1"] == pytest.approx(metrics.micro_f1(labels, first))


def test_a_perfect_model_seems_poor_in_batches():
    labels = (np.random.default_rng(0).random((640, 28)) < 0.02).astype(np.uint8)
    scores = [label_statistics.batch_macro_f1(labels, labels, size) for size in (1, 32, 640)]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(labels.mean())  # in a batch of one, the share of classes that are there
    assert scores[-1] == metrics.macro_f1(labels, labels) == 1


def test_batch_macro_f1_of_the_real_table_at_32(real_samples):
    _, labels = kaggle.read_labels(real_samples / "train.csv")
    assert label_statistics.batch_macro_f1(labels, labels, 32) == pytest.approx(0.56, abs=0.01)


def test_simulated_f1_is_right_in_the_long_run_and_noisier_for_rare_classes():
    shares = np.geomspace(0.4, 0.001, 28)
    f1 = label_statistics.simulate_f1(shares, 200_000, recall=0.8, precision=0.6, draws=200)
    assert f1.shape == (200, 28)
    np.testing.assert_allclose(f1.mean(axis=0), 2 * 0.8 * 0.6 / 1.4, atol=0.01)
    small = label_statistics.simulate_f1(shares, 1000, 0.8, 0.6, draws=500)
    assert small.std(axis=0)[-1] > 5 * small.std(axis=0)[0]
    assert small.mean() < f1.mean()


def test_shift_table_is_the_kolmogorov_smirnov_distance():
    random = np.random.default_rng(0)
    means = {"train": random.gamma(2, 8, (300, 4)), "test": random.gamma(2, 6, (200, 4))}
    table = label_statistics.shift_table(means)
    left, right = means.values()
    points = np.concatenate([left, right])
    gaps = [(left <= point).mean(axis=0) - (right <= point).mean(axis=0) for point in points]
    np.testing.assert_allclose(table["distance"], np.abs(gaps).max(axis=0))
    assert list(table.columns) == ["channel", "median train", "median test", "distance"]
    assert label_statistics.shift_table({"a": means["train"], "b": means["train"]})["distance"].eq(0).all()
    assert label_statistics.shift_table({"a": left, "b": left + 1000})["distance"].eq(1).all()


def test_examples_carry_as_few_other_labels_as_possible():
    rows = label_statistics.example_rows(LABELS)
    assert rows[0] in (0, 1)
    assert rows[25] == 4
    assert rows[27] == 5
    assert rows[1] == -1
    assert label_statistics.example_rows(make_labels([0, 1]))[:2].tolist() == [0, 0]


def run_setup(tmp_path, table):
    """What notebook 01's set-up cell leaves for a label table alone."""
    cells = nbformat.read(paths.PROJECT / "notebooks" / "01_eda_label_imbalance.ipynb", as_version=4).cells
    source = {cell.id: cell.source for cell in cells}
    names = {}
    exec(source["parameters"], names)
    names |= {"OUT": str(tmp_path / "out"), "TABLE": str(table)}
    exec(source["setup"], names)
    return names


def test_figures_of_a_synthetic_table_alone_are_stamped(tmp_path, capsys):
    table = tmp_path / "data" / "train.csv"
    table.parent.mkdir()
    table.write_text("Id,Target\na,0\n")
    assert run_setup(tmp_path, table)["is_synthetic"] is False and "SYNTHETIC" not in capsys.readouterr().out
    (table.parent / "synthetic.json").write_text("{}")
    assert run_setup(tmp_path, table)["is_synthetic"] is True and "SYNTHETIC DATA" in capsys.readouterr().out


@pytest.mark.parametrize("synthetic", [True, False])
def test_figures_of_a_run_set_are_stamped_as_it_says(tmp_path, synthetic):
    store.save_json(tmp_path / "out", "data/dataset.json", {"synthetic": synthetic, "path": "x"})
    assert run_setup(tmp_path, "")["is_synthetic"] is synthetic


def test_each_baseline_predicts_what_its_name_says():
    shares = np.full(28, 0.05)
    shares[[4, 9, 20]] = 0.7, 0.5, 0.3  # the three commonest, none of them Nucleoplasm
    labels = (np.random.default_rng(1).random((500, 28)) < shares).astype(np.uint8)
    table = label_statistics.baselines(labels, seed=3).set_index("predict")
    rules = {"always Nucleoplasm": [0], "always the three commonest": [4, 9, 20], "everything": list(range(28))}
    for name, classes in rules.items():
        preds = np.isin(np.arange(28), classes) * np.ones_like(labels)
        assert table.loc[name].to_dict() == pytest.approx(metrics.summarize(labels, preds))
    coins = np.random.default_rng(3).random(labels.shape) < labels.mean(axis=0)
    assert table.loc["a coin for each class, by its share"].to_dict() == pytest.approx(metrics.summarize(labels, coins))


def test_batches_are_shuffled_by_the_seed():
    labels = np.repeat(np.eye(28, dtype=np.uint8), 32, axis=0)  # sorted: without a shuffle, a batch has one class
    score = label_statistics.batch_macro_f1(labels, labels, 32, seed=0)
    assert score == pytest.approx(1 - (27 / 28) ** 32, abs=0.03)
    assert (
        score
        == label_statistics.batch_macro_f1(labels, labels, 32, seed=0)
        != label_statistics.batch_macro_f1(labels, labels, 32, seed=1)
    )


def test_examples_are_chosen_by_the_seed():
    labels = np.repeat(np.eye(28, dtype=np.uint8), 5, axis=0)
    rows = [label_statistics.example_rows(labels, seed) for seed in (0, 0, 1)]
    assert (rows[0] == rows[1]).all() and (rows[0] != rows[2]).any()
    assert all((labels[chosen].argmax(axis=1) == np.arange(28)).all() for chosen in rows)
