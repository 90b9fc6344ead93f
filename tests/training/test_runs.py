"""One run from its parameters to what is stored, the same in a script and in the notebooks."""

import re
import shutil

import cv2
import nbformat
import numpy as np
import pytest

from hpa_lib import __main__, atlas, models, paths, provenance, store
from hpa_lib.data import cache, kaggle, splits
from hpa_lib.decisions import calibration, thresholds
from hpa_lib.training import predict, recipes, runs

SMALL = {"image_size": 64, "epochs": 1, "batch_size": 16, "precision": "float32"}


@pytest.fixture
def run_set(tiny_dataset, tmp_path):
    """What notebook 00 leaves of 84 random images: split, cache and description."""
    data, out = tiny_dataset(images=84, test_images=5, size=64), tmp_path / "out"
    ids, labels = kaggle.read_labels(data / "train.csv")
    folds = splits.make_folds(labels, np.arange(84), 3, 0)
    store.save_split(out, ids, labels, np.arange(84), np.where(folds == 2, -1, folds))
    for part, part_ids in (("train", ids), ("test", [f"test-{number:04d}" for number in range(5)])):
        cache.build(data, part_ids, part, 64, out / "cache", workers=1)
    description = {"path": str(data), "synthetic": True, "test_images": 5, "data_hash": kaggle.fingerprint(data)}
    store.save_json(out, "data/dataset.json", description)
    return out


def test_a_script_trains_in_one_call_and_finds_the_run_again(run_set, capsys, monkeypatch):
    result = runs.train("densenet", out=run_set, recipe="best", tta=2, seed=1, **SMALL)
    assert (result["run"], result["recipe"], result["tta"]) == ("densenet-rgby-best-seed1", "best", 2)
    assert (result["loss"], result["sampling"], result["synthetic"]) == ("bce+soft_f1", 0.5, True)
    assert store.list_runs(run_set) == [result["run"]]
    ids, probs = store.load_probs(run_set, result["run"], "test")
    assert ids[0] == "test-0000" and probs.shape == (5, 28)
    _, _, _, folds = store.load_split(run_set)
    assert len(store.load_probs(run_set, result["run"], "val")[0]) == (folds == 0).sum()
    for part in ("val", "holdout"):  # a run of older versions has none, and does not count as changed
        (run_set / "runs" / result["run"] / f"embeddings_{part}.npz").unlink()
    capsys.readouterr()
    again = runs.train("densenet", out=run_set, recipe="best", tta=2, seed=1, **SMALL)
    assert "epoch" not in capsys.readouterr().out and again["seconds"] == result["seconds"]
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "another machine's"})
    lines = recipes.complete("best", SMALL | {"out": str(run_set), "tta": 2, "seed": 1, "concatenate": True})
    run = runs.prepare("densenet", lines)
    fold = runs.load_fold(run)
    model, origin = runs.build(run, fold)
    assert runs.save(run, fold, model, origin, None)["versions"]["python"] != "another machine's"
    with pytest.raises(ValueError, match=r"other settings \(loss 'bce\+soft_f1' -> 'bce'\)"):
        runs.train("densenet", out=run_set, recipe="best", tta=2, seed=1, loss="bce", **SMALL)


def test_a_stored_run_is_loaded_with_its_thresholds(run_set):
    runs.train("densenet", out=run_set, run="mine", **SMALL)
    stored = runs.load(run_set, "mine")
    assert (stored.channels, stored.image_size) == ("rgby", 64) and (stored.thresholds == 0.5).all()
    fold = runs.load_fold(runs.prepare("densenet", recipes.complete("own", SMALL | {"out": str(run_set)})))
    ids, probs = store.load_probs(run_set, "mine", "val")
    np.testing.assert_allclose(predict.predict_probs(stored.model, fold.images, fold.rows["val"]), probs, atol=1e-5)
    dense = stored.model.get_layer("logits")
    embedding_ids, embeddings = store.load_arrays(run_set, "runs/mine/embeddings_val.npz", ("ids", "embeddings"))
    again = embeddings @ dense.kernel.numpy() + dense.bias.numpy()
    assert embeddings.dtype == np.float16 and (embedding_ids == ids).all()
    np.testing.assert_allclose(calibration.sigmoid(again), probs, atol=2e-3)
    tuned = {"mine": {"exact": np.linspace(0.1, 0.9, 28)}}
    decision = {"recommended": "exact", "thresholds": tuned, "runs": store.digest_runs(run_set, ["mine"])}
    store.save_json(run_set, "decisions/thresholds.json", decision)
    np.testing.assert_allclose(runs.load(run_set, "mine").thresholds, tuned["mine"]["exact"])
    with pytest.raises(ValueError, match="no finished run 'yours' in .*: use one of mine"):
        runs.load(run_set, "yours")
    shutil.copytree(run_set / "runs" / "mine", run_set / "runs" / "other")
    (run_set / "runs" / "mine" / "model.keras").unlink()
    with pytest.raises(ValueError, match="has no network, and only networks predict new images: use other$"):
        runs.load(run_set, "mine")
    (run_set / "runs" / "other" / "model.keras").unlink()
    with pytest.raises(ValueError, match="has no network, .*: train one with"):
        runs.load(run_set, "mine")


def test_new_images_get_the_runs_own_numbers(run_set, tmp_path, capsys):
    """The test images from their files give what was stored of them; a bad one is left out and named."""
    runs.train("densenet", out=run_set, run="mine", tta=2, **SMALL)
    limits = np.linspace(0.3, 0.7, 28)
    decision = {"recommended": "exact", "thresholds": {"mine": {"exact": limits}}, "fill_empty": True}
    store.save_json(run_set, "decisions/thresholds.json", decision | {"runs": store.digest_runs(run_set, ["mine"])})
    images, to = tmp_path / "data" / "test", tmp_path / "predicted"
    command = ["predict", "mine", str(images), str(to), "--from", str(run_set)]
    assert __main__.main([*command, "--page"]) == 0
    ids, probs = store.load_probs(run_set, "mine", "test")
    table, sets = (store.load_table(to, name) for name in ("probs.csv", "labels.csv"))
    assert list(table) == ["Id", *atlas.LABELS] and table["Id"].tolist() == ids.tolist()
    np.testing.assert_allclose(table.iloc[:, 1:], probs, atol=1e-5)
    preds = thresholds.apply(probs, limits, fill_empty=True)
    assert sets["Predicted"].tolist() == [atlas.format_target(row) for row in preds]
    assert sets["names"][0].split("; ")[0] == atlas.LABELS[np.flatnonzero(preds[0])[0]]
    page = (to / "page.html").read_text(encoding="utf-8")
    assert page.count("<img") == 5 and "mean of 2 turns" in page and "SYNTHETIC" in page
    assert not len(store.load_table(to, "findings.csv"))
    (images / "test-0001_blue.png").write_bytes(b"no image")
    for number, channel in enumerate(atlas.CHANNELS):
        cv2.imwrite(str(images / f"small_{channel}.png"), np.eye(16, dtype=np.uint8) + number)
    capsys.readouterr()
    assert __main__.main(command) == 1
    told = capsys.readouterr().out
    assert f"left out: {images}/test-0001_blue.png: " in told and "small_*.png: 16 x 16 pixels, less than" in told
    assert "download it again" not in told and "download the data" not in told
    np.testing.assert_allclose(store.load_table(to, "probs.csv").iloc[:, 1:], np.delete(probs, 1, 0), atol=1e-5)
    assert set(store.load_table(to, "findings.csv")["Id"]) == {"test-0001", "small"}
    assert not (to / "page.html").exists()  # that of the earlier call would show other images


def test_what_cannot_be_predicted_is_refused_before_the_network_is_loaded(run_set, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs, "load", None)
    images, split = tmp_path / "data" / "test", store.split_digest(run_set)
    for name, record in (("four", {"channels": "rgby"}), ("three", {"channels": "rgb", "parameters": 1})):
        store.save_json(run_set, f"runs/{name}/result.json", record | {"split": split})

    def refused(run, folder, to, *words):
        assert __main__.main(["predict", run, str(folder), str(to), "--from", str(run_set)]) == 2
        told = capsys.readouterr().err
        assert all(word in told for word in words) and told.count("\n") == 1, told

    refused("five", images, tmp_path / "new", "no finished run 'five'", "four, three")
    refused("four", images, run_set, "holds other files", "cache")
    refused("four", tmp_path / "data", tmp_path / "new", "holds no images of the form <Id>_red.png")
    for path in images.glob("*_yellow.png"):
        path.unlink()
    refused("four", images, tmp_path / "new", "run 'four' reads yellow", "use three")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("network", "given", "told"),
    [
        ("densnet", {}, "network 'densnet': use one of densenet"),
        ("densenet", {"epoch": 3}, "no parameter epoch: did you mean epochs"),
        ("densenet", {"shortcut": False}, "no parameter shortcut"),
        ("densenet121", {"shortcut": True}, "no parameter shortcut"),
        ("resnet18", {"recipe": "bets"}, "did you mean best"),
        ("resnet18", {"run": "a,b"}, "run name 'a,b'"),
        ("resnet18", {"augment": "report"}, "AUGMENT 'report' is called 'study' now"),
        ("resnet18", {"fold": 5}, "FOLD 5: the split of .* has the folds 0, 1"),
    ],
)
def test_bad_requests_are_told_before_anything_is_trained(run_set, network, given, told):
    with pytest.raises(ValueError, match=told):
        runs.train(network, out=run_set, **SMALL, **given)
    assert not list(run_set.glob("runs/*/checkpoints"))


@pytest.mark.parametrize("fold", [0, 1])
def test_no_image_is_in_two_parts_of_a_fold(run_set, fold):
    lines = recipes.complete("own", SMALL | {"out": str(run_set), "fold": fold, "concatenate": True})
    parts = runs.load_fold(runs.prepare("densenet", lines))
    ids, labels, _, folds = store.load_split(run_set)
    for part, wanted in (("train", 1 - fold), ("val", fold), ("holdout", -1)):
        assert sorted(parts.ids[parts.rows[part]]) == sorted(ids[folds == wanted]), part
    np.testing.assert_array_equal(parts.labels[store.find_rows(parts.ids, ids, "", "")], labels)


def test_the_last_bias_starts_at_the_frequencies_only_where_asked(run_set):
    for prior_bias in (True, False):
        lines = recipes.complete("own", SMALL | {"out": str(run_set), "prior_bias": prior_bias, "concatenate": True})
        run = runs.prepare("densenet", lines)
        bias = runs.build(run, runs.load_fold(run))[0].get_layer("logits").bias.numpy()
        assert bias.any() == prior_bias


@pytest.mark.parametrize("network", models.BLOCK_LINES)
def test_a_line_takes_the_block_away(network):
    ((line, default),) = models.BLOCK_LINES[network].items()
    whole, plain = (models.MODELS[network](64, width=0.25, **{line: value}) for value in (default, not default))
    kinds = [type(layer).__name__ for layer in plain.layers]
    assert "Add" not in kinds and "Concatenate" not in kinds
    assert [layer.name for layer in whole.layers if layer.name.startswith("head")] == [
        layer.name for layer in plain.layers if layer.name.startswith("head")
    ]
    assert whole.get_layer("logits").input.shape == plain.get_layer("logits").input.shape


def run_cells(number, chosen=("parameters", "setup", "load-data", "build-model", "fit"), added="", **values):
    """The training notebook in this process up to its fit: the wiring itself, without a kernel or a figure."""
    (path,) = (paths.PROJECT / "notebooks").glob(f"{number}_*.ipynb")
    cells = {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}
    lines = "".join(f"\n{name.upper()} = {value!r}" for name, value in values.items())
    names = {}
    for name in chosen:
        exec(cells[name] + (f"\n{added}{lines}" if name == "parameters" else ""), names)
    return names


def test_a_parameter_added_to_a_notebook_is_compared_by_itself(run_set, capsys):
    values = SMALL | {"out": str(run_set), "run": "mine"}
    run_cells("02", **values)
    capsys.readouterr()
    run_cells("02", **values)
    assert "already trained" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"\(label_smoothing not named -> 0.1\)"):
        run_cells("02", added="LABEL_SMOOTHING: float = 0.1", **values)
    with pytest.raises(ValueError, match=r"\(sampling 0.0 -> 0.5\)"):
        run_cells("02", **values, sampling=0.5)
    run_cells("02", **values, workers=3, tta=4, jit="off")  # these shape no weights
    assert "already trained" in capsys.readouterr().out


def test_a_run_is_found_again_when_its_checkpoints_have_been_cleaned_away(run_set, capsys):
    values = SMALL | {"out": str(run_set), "run": "mine", "head_epochs": 1}
    result = runs.train("densenet", **values)
    stored = store.load_probs(run_set, "mine", "val")[1]
    assert __main__.main(["clean", str(run_set), "--yes"]) == 0
    assert capsys.readouterr().out.count(".weights.h5: the run is finished") == 2
    assert not list(run_set.glob("runs/mine/**/*.weights.h5"))
    assert runs.train("densenet", **values)["finished"] == result["finished"]
    names = run_cells("02", **values)
    said = capsys.readouterr().out
    assert said.count("already trained") == 1 and "macro AP" not in said  # the line of an epoch
    rows = names["fold"].rows["val"]
    np.testing.assert_allclose(predict.predict_probs(names["model"], names["fold"].images, rows), stored, atol=1e-5)
    again = runs.save(names["run"], names["fold"], names["model"], names["origin"], names["history"])
    assert again["finished"] == result["finished"]
    assert runs.train("densenet", **values, tta=2)["tta"] == 2  # predicted anew, not trained
    assert "macro AP" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"other settings \(sampling 0.0 -> 0.5\)"):
        runs.train("densenet", **values, sampling=0.5)
    (run_set / "runs" / "mine" / "model.keras").unlink()
    with pytest.raises(ValueError, match="model.keras is not there: set START_OVER to True"):
        runs.train("densenet", **values)


@pytest.mark.parametrize("network", recipes.CHOICES["network"])
def test_notebook_03_and_a_script_have_the_same_settings_for_either_network(run_set, network):
    """So that a run that the other one has finished is found; those of ResNet18 are as they were without a choice."""
    values, scratch = SMALL | {"out": str(run_set)}, {"weights": "from scratch", "file": ""}
    run = run_cells("03", ["parameters", "setup"], network=network, **values)["run"]
    script = runs.prepare(network, recipes.complete("own", models.BLOCK_LINES.get(network, {}) | values))
    assert (run.network, run.name) == (script.network, script.name) == (network, f"{network}-rgby-sqrt")
    assert runs.settings(run, scratch) == runs.settings(script, scratch)
    assert "network" not in runs.settings(run, scratch)
    assert runs.settings(run, scratch).get("shortcut") == (True if network == "resnet18" else None)


def test_notebook_and_script_train_the_very_same_network(run_set):
    model = run_cells("02", out=str(run_set), run="notebook", **SMALL)["model"]
    runs.train("densenet", out=run_set, run="script", **SMALL)
    stored = store.run_folder(run_set, "script") / "model.keras"
    script = models.MODELS["densenet"](64)
    script.load_weights(stored)
    assert all((ours == theirs).all() for ours, theirs in zip(model.get_weights(), script.get_weights(), strict=True))


@pytest.mark.slow
def test_readmes_training_example_runs_as_printed(run_set, monkeypatch):
    """With a small size and one epoch in place of the demo's; the run set is the one of this test."""
    (code,) = re.findall(r"```python\n([^`]*runs\.train\([^`]*)```", (paths.PROJECT / "README.md").read_text("utf-8"))
    real, results = runs.train, []
    small = SMALL | {"out": run_set}
    monkeypatch.setattr(runs, "train", lambda network, **given: results.append(real(network, **(given | small))))
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert [result["run"] for result in results] == ["resnet18-rgby-best-seed1"]


def test_another_backend_or_weight_file_is_another_run(run_set, tmp_path):
    lines = recipes.complete("own", SMALL | {"out": str(run_set), "concatenate": True})
    run = runs.prepare("densenet", lines)
    scratch = {"weights": "from scratch", "file": ""}
    on_jax = run._replace(hardware=run.hardware | {"backend": "jax"})
    assert runs.settings(run, scratch) != runs.settings(on_jax, scratch)
    (tmp_path / "a.ckpt").write_bytes(b"one")
    first = runs.settings(run, {"weights": "own file", "file": str(tmp_path / "a.ckpt")})
    (tmp_path / "a.ckpt").write_bytes(b"two")
    assert first != runs.settings(run, {"weights": "own file", "file": str(tmp_path / "a.ckpt")})
