"""Models on measured features: absent classes, determinism, the choice inside the training part, and stored runs."""

import numpy as np
import pytest

from hpa_lib import store
from hpa_lib.classical import features, models
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.reporting import tables

NUMBER = len(features.FEATURES)


def make_part(seed, images=240):
    """Features of which number k says something about class k; class 27 has no image, class 26 few."""
    random = np.random.default_rng(seed)
    labels = (random.random((images, 28)) < np.linspace(0.4, 0.05, 28)).astype(np.uint8)
    labels[:, 27] = 0
    values = random.normal(size=(images, NUMBER)).astype(np.float32)
    values[:, :28] += 2 * labels
    ids = np.array([f"{seed}-{number:04d}" for number in range(images)])
    return models.Part(ids, values, labels, np.arange(images) // 2 + 1000 * seed)


@pytest.fixture(scope="module")
def parts():
    return {"train": make_part(0), "val": make_part(1, 120), "holdout": make_part(2, 120), "test": make_part(3, 40)}


@pytest.fixture
def out(tmp_path, parts):
    """A run set with split and description, as notebook 00 leaves them."""
    known = [parts[part] for part in ("train", "val", "holdout")]
    folds = np.concatenate([np.full(len(part.ids), fold) for part, fold in zip(known, (1, 0, -1), strict=True)])
    ids, labels, groups = (
        np.concatenate([getattr(part, name) for part in known]) for name in ("ids", "labels", "groups")
    )
    store.save_split(tmp_path, ids, labels, groups, folds)
    store.save_json(tmp_path, "data/dataset.json", {"synthetic": True, "data_hash": "0", "test_images": 40})
    return tmp_path


OPTIONS = {"model": "logistic", "class_weights": "none", "seed": 0}


@pytest.mark.parametrize("model, value", [("logistic", 1), ("trees", 3)])
def test_models_learn_and_a_class_without_images_gets_its_prior(parts, model, value):
    train, val, some = parts["train"], parts["val"], [0, 5, 10, 15, 27]
    probs = models.predict(models.fit(train.values, train.labels[:, some], model, value), val.values)
    assert probs.shape == (120, 5) and probs.dtype == np.float32
    assert (probs[:, 4] == 0).all() and np.isfinite(probs).all()
    assert metrics.average_precision(val.labels[:, some], probs)[:4].mean() > 0.5  # by chance .3
    everywhere = models.fit(train.values, np.ones_like(train.labels), model, value)
    assert (models.predict(everywhere, val.values) == 1).all()


def test_balanced_weights_raise_the_rare_classes(parts):
    train, val = parts["train"], parts["val"]
    plain, balanced = (
        models.predict(models.fit(train.values, train.labels, "logistic", 0.1, weights), val.values)
        for weights in ("none", "balanced")
    )
    assert (balanced[:, 20:27].mean(axis=0) > 1.5 * plain[:, 20:27].mean(axis=0)).all()


@pytest.mark.parametrize("model, value", [("logistic", 1), ("trees", 3)])
def test_the_same_seed_gives_the_same_numbers(parts, model, value):
    train = parts["train"]
    first, again, other = (
        models.predict(models.fit(train.values, train.labels[:, :3], model, value, seed=seed), parts["val"].values)
        for seed in (4, 4, 5)
    )
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (model == "logistic")


def test_the_choice_is_made_on_images_that_took_no_part(parts, monkeypatch):
    seen = []
    monkeypatch.setattr(models, "fit", lambda values, *_, **__: seen.append(values) or values)
    monkeypatch.setattr(
        models, "predict", lambda fitted, values: np.zeros((len(values), 28)) + _overlap(fitted, values)
    )
    table = models.cross_validate(parts["train"], ["logistic-balanced", "trees-none"], seed=1)
    assert table["run"].tolist() == ["logistic-balanced"] * 3 + ["trees-none"] * 2
    assert {len(values) + 80 for values in seen} <= set(range(230, 251)), "a third of the images is left out"


def _overlap(fitted, values):
    both = {row.tobytes() for row in fitted} & {row.tobytes() for row in values}
    assert not both
    return 0


def test_groups_are_not_parted_by_the_choice(parts, monkeypatch):
    folds = []
    make_folds = models.splits.make_cross_folds
    monkeypatch.setattr(
        models.splits, "make_cross_folds", lambda *options: folds.append(make_folds(*options)) or folds[-1]
    )
    models.cross_validate(parts["train"], ["logistic-none"])
    groups = parts["train"].groups
    assert all(len(set(folds[0][groups == group])) == 1 for group in np.unique(groups))


@pytest.mark.parametrize("runs", [["forest-none"], ["logistic-sqrt"], ["logistic"], []])
def test_unknown_models_are_told(parts, runs):
    with pytest.raises(ValueError, match="use some of logistic-none, logistic-balanced, trees-none"):
        models.cross_validate(parts["train"], runs)


def test_a_stored_run_is_read_like_any_other(out, parts):
    run, fitted = models.train_run(out, parts, 128, 0, 1, **OPTIONS)
    assert run == "classical-logistic-none" and store.list_runs(out) == [run]
    ids, probs = store.load_probs(out, run, "val")
    assert ids.tolist() == parts["val"].ids.tolist()
    assert np.array_equal(probs, models.predict(fitted, parts["val"].values))
    tuned = thresholds.tune(store.load_truth(out, ids)[0], probs, "bagged")
    labels = parts["holdout"].labels
    f1 = metrics.macro_f1(labels, thresholds.apply(store.load_probs(out, run, "holdout")[1], tuned))
    assert f1 > 0.3
    assert len(store.load_probs(out, run, "test")[0]) == 40
    assert store.load_table(out, f"runs/{run}/history.csv")["epoch"].tolist() == [0]


def test_runs_with_and_without_weights_are_twins_in_the_report(out, parts):
    """Also where another value was chosen for each; the settings must not hold what was found."""
    runs = [
        models.train_run(out, parts, 128, 0, value, **OPTIONS | {"class_weights": weights})[0]
        for weights, value in (("none", 1), ("balanced", 10))
    ]
    tuned = {run: {"half": np.full(28, 0.5)} for run in runs}
    decision = {"thresholds": tuned, "recommended": "half", "fill_empty": True}
    store.save_json(out, "decisions/thresholds.json", decision | {"runs": store.digest_runs(out, runs)})
    judged = tables.load_judged(out)
    runs = tables.record_table({run: store.load_json(out, f"runs/{run}/result.json") for run in judged}, judged)
    assert runs["class weights"].tolist() == ["balanced", "none"]
    assert tables.weights_table(runs, judged, draws=20)["model"].tolist() == ["logistic"]


def test_learning_curve_takes_whole_groups(parts, monkeypatch):
    groups, fit = [], models.fit
    train = parts["train"]
    where = {row.tobytes(): group for row, group in zip(train.values, train.groups, strict=True)}

    def spy(values, *rest, **options):
        groups.append([where[row.tobytes()] for row in values])
        return fit(values, *rest, **options)

    monkeypatch.setattr(models, "fit", spy)
    curve = models.learning_curve(train, parts["val"], [60, 31, 9999], model="logistic", value=1)
    assert curve["images"].tolist() == [32, 60, 240]
    assert set(groups[0]) < set(groups[1]) < set(groups[2])
    assert sorted(groups[0]) == sorted([*set(groups[0])] * 2), "a group is taken whole"
    assert curve["macro_ap"].is_monotonic_increasing


def test_coefficients_name_the_feature_that_speaks(parts):
    train = parts["train"]
    table = models.coefficients(models.fit(train.values, train.labels, "logistic", 1))
    assert table.shape == (NUMBER, 27), "class 27 cannot be learnt"
    assert table.index[table[3].argmax()] == list(features.FEATURES)[3]


def test_a_fold_that_the_split_lacks_is_told(out):
    with pytest.raises(ValueError, match="FOLD 4: use 0 to 1"):
        models.load_parts(out, 128, fold=4)
