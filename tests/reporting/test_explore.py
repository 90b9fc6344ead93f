"""One run, image by image: every view follows from labels, probabilities and thresholds."""

import fake_runs
import numpy as np
import pytest

from hpa_lib import atlas, store
from hpa_lib.data import cache
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.reporting import explore, tables

RUN = "resnet18-rgby-none"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explore")
    fake_runs.write_out(folder / "out", folder / "data", num_images=500)
    fake_runs.complete(folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def found(out):
    return explore.load(out, RUN)


def test_without_images_embeddings_and_network_all_else_is_there(out, found):
    assert found.images is None and found.embeddings is None and not explore.can_explain(found)
    assert "no cached images, no embeddings, no network" in explore.describe(found)
    assert "thresholds: those of notebook 05" in explore.describe(found)
    assert "thresholds: .5 for all" in explore.describe(found._replace(thresholds=np.full(28, 0.5)))
    assert set(found.parts) == {"val", "holdout"} and explore.judged_part(found) == "holdout"
    tuned = store.load_decision(out, "thresholds")["thresholds"][RUN]["global"]
    assert found.thresholds.tolist() == tuned and found.fill_empty
    labels, probs, _ = store.load_scored(out, RUN, "holdout")
    inside = found.parts == "holdout"
    assert (found.labels[inside] == labels).all() and (found.probs[inside] == probs).all()


def test_the_best_run_on_validation_is_taken(out):
    assert explore.load(out).run == RUN, "the sharpest of the fake runs"


def test_without_a_holdout_validation_is_judged(tmp_path):
    fake_runs.write_out(tmp_path / "out", tmp_path / "data", num_images=200, holdout=0)
    found = explore.load(tmp_path / "out", RUN)
    assert explore.judged_part(found) == "val" and set(found.parts) == {"val"}
    assert (found.thresholds == 0.5).all(), "notebook 05 has not run"


@pytest.mark.parametrize("label", [explore.ANY, 3])
def test_selections_are_what_their_names_say(out, found, label):
    preds = explore.predict(found)
    wanted = {"missed": (1, 0), "false": (0, 1), "right": (1, 1)}
    for error, (truth, predicted) in wanted.items():
        hits = (found.labels == truth) & (preds == predicted)
        hits = hits.any(axis=1) if label == explore.ANY else hits[:, label]
        expected = np.flatnonzero(hits & (found.parts == "holdout"))
        assert explore.select(found, "holdout", label, error).tolist() == expected.tolist()
    rare = explore.select(found, "val", error="rare")
    assert found.labels[rare][:, tables.rarest_classes(out)].any(axis=1).all() and (found.parts[rare] == "val").all()
    with pytest.raises(ValueError, match="kind of error 'mised': use one of all, missed"):
        explore.select(found, "val", error="mised")


def test_a_label_set_is_taken_exactly(found):
    target = atlas.format_target(found.labels[found.parts == "val"][0])
    rows = explore.select(found, "val", label_set=target)
    assert len(rows) and {atlas.format_target(row) for row in found.labels[rows]} == {target}


def test_the_surest_mistakes_come_first(found):
    table = explore.worst(found, "holdout", number=10**6)
    preds = explore.predict(found)
    assert len(table) == (preds != found.labels)[found.parts == "holdout"].sum()
    assert table["sure"].is_monotonic_decreasing
    missed = table[table["error"] == "missed"]
    assert (found.labels[missed["row"], missed["class"]] == 1).all()
    assert (missed["probability"] < missed["threshold"]).all() and (missed["sure"] > 0).all()
    assert set(explore.worst(found, "val", label=5)["class"]) == {5}


def test_curve_and_score_are_those_of_metrics(found):
    """Also for the classes that the moved threshold leaves alone: an emptied image gets its most probable class."""
    curve, inside = explore.curve(found, "holdout", 2, points=11), found.parts == "holdout"
    for threshold in (0.0, 0.3, 1.0):
        changed = found.thresholds.copy()
        changed[2] = threshold
        preds = thresholds.apply(found.probs[inside], changed, fill_empty=True)
        row = curve[np.isclose(curve["threshold"], threshold)].iloc[0]
        expected = metrics.class_table(found.labels[inside], preds).loc[2]
        for name in ("precision", "recall", "f1"):
            assert row[name] == pytest.approx(expected[name])
        assert row["macro_f1"] == pytest.approx(metrics.macro_f1(found.labels[inside], preds))
    moved = explore.with_threshold(found, 2, 0.3)
    assert explore.score(moved, "holdout", 2)["f1"] == pytest.approx(curve["f1"][3])
    assert found.thresholds[2] != 0.3, "the run itself stays as it is"


def test_confusion_counts_images_with_both_mistakes(found):
    counts, preds, inside = explore.confusion(found, "val"), explore.predict(found), found.parts == "val"
    missed, false = (found.labels > preds)[inside], (preds > found.labels)[inside]
    assert counts[4, 0] == (missed[:, 4] & false[:, 0]).sum()
    assert counts.sum() == (missed.sum(axis=1) * false.sum(axis=1)).sum() and not counts.diagonal().any()


def test_names_say_what_is_right_missed_and_false(found):
    labels, probs = np.zeros((1, 28), np.uint8), np.zeros((1, 28), np.float32)
    labels[0, [0, 1]], probs[0, [0, 2]] = 1, 0.9
    small = found._replace(labels=labels, probs=probs, thresholds=np.full(28, 0.5))
    assert explore.name_errors(small, 0) == "Nucleoplasm; missed: Nuclear membrane; false: Nucleoli"


def test_neighbours_are_the_nearest_directions():
    points = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    points[7] = 2 * points[3]
    rows, distances = explore.neighbours(points, 3, k=4)
    assert rows[0] == 7 and distances[0] == pytest.approx(0, abs=1e-3) and 3 not in rows and len(rows) == 4
    assert (np.diff(distances) >= 0).all()
    assert len(explore.neighbours(points[:3], 0, k=7)[0]) == 2


def test_maps_of_embeddings():
    points = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float16)
    points[:10] += 20
    for method in ("pca", "tsne"):
        flat = explore.embedding_map(points, method)
        assert flat.shape == (30, 2) and np.isfinite(flat).all()
    assert np.array_equal(explore.embedding_map(points), explore.embedding_map(points))
    with pytest.raises(ValueError, match="method 'umap': use pca or tsne"):
        explore.embedding_map(points, "umap")


def add_images(out, data, tiny_dataset):
    """Cached images and embeddings for the fake run, in another order than its probabilities."""
    ids = store.load_split(out)[0][::-1]
    folder = tiny_dataset(images=1, test_images=0, size=16)
    for channel in atlas.CHANNELS:
        source = folder / "train" / f"train-0000_{channel}.png"
        for image_id in ids:
            (folder / "train" / f"{image_id}_{channel}.png").write_bytes(source.read_bytes())
    cache.build(folder, ids, "train", 16, out / "cache", workers=1, progress=False)
    for part in ("val", "holdout"):
        ids, probs = store.load_probs(out, RUN, part)
        embeddings = {"ids": ids, "embeddings": probs[:, :5].astype(np.float16)}
        store.save_arrays(out, f"runs/{RUN}/embeddings_{part}.npz", embeddings)


def test_images_and_embeddings_belong_to_their_ids(tmp_path, tiny_dataset):
    out = tmp_path / "out"
    fake_runs.write_out(out, tmp_path / "fake", num_images=40)
    add_images(out, tmp_path, tiny_dataset)
    found = explore.load(out, RUN)
    cache_ids, images = cache.load(out / "cache" / "train_16")
    assert (cache_ids[found.cache_rows] == found.ids).all()
    assert np.array_equal(explore.images_of(found, [2]), images[found.cache_rows[[2]]])
    assert np.allclose(found.embeddings, found.probs[:, :5], atol=1e-3)
    ids, probs = store.load_probs(out, RUN, "val")
    store.save_probs(out, RUN, "val", ids[::-1], probs[::-1])
    assert explore.load(out, RUN).embeddings is None, "left by an earlier run of this name"


def test_the_scale_follows_from_how_the_images_were_drawn(found):
    assert explore.um_per_px(found) == 0, "no images"
    cached = found._replace(images=np.zeros((1, 64, 64, 4), np.uint8), drawn={"size": 128, "um_per_px": 0.64})
    assert explore.um_per_px(cached) == pytest.approx(1.28)
    assert explore.um_per_px(cached._replace(drawn={})) == 0, "real data"
