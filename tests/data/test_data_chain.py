"""The data notebooks as they are run: bad data stops them or is left out and recorded, good data runs twice alike."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import papermill
import pytest

from hpa_lib import atlas, store
from hpa_lib.data import cache, checks, kaggle, png

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
pytestmark = pytest.mark.filterwarnings("ignore")  # the notebook machinery's own, not ours


def run(name, folder, **parameters):
    """Execute a notebook headlessly; its printed output as one text."""
    executed = papermill.execute_notebook(
        str(NOTEBOOKS / name), str(folder / "executed.ipynb"), parameters, progress_bar=False, kernel_name="python3"
    )
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


@pytest.fixture
def bad_dataset(tiny_dataset):
    """24 images of which one is cut short, and a row with label 28."""
    data = tiny_dataset(images=24)
    file = data / "train" / "train-0005_red.png"
    file.write_bytes(file.read_bytes()[:400])
    with open(data / "train.csv", "a", encoding="utf-8") as table:
        table.write("train-9999,28\n")
    return data


SMALL = {"IMAGE_SIZE": 32, "NUM_FOLDS": 2, "HOLDOUT": 0.25}


def test_strict_stops_at_bad_data_and_keeps_the_findings(bad_dataset, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(papermill.PapermillExecutionError, match="label '28' in target '28'.*1 more finding"):
        run("00_data.ipynb", tmp_path, DATA=str(bad_dataset), OUT=str(out), **SMALL)
    findings = pd.read_csv(out / "tables" / "data_findings.csv")
    assert findings["severity"].tolist() == ["error", "error"]
    assert not (out / "data" / "split.csv").exists()


def test_drop_goes_on_without_the_bad_ones_and_records_them(bad_dataset, tmp_path):
    out = tmp_path / "out"
    run("00_data.ipynb", tmp_path, DATA=str(bad_dataset), OUT=str(out), ON_BAD="drop", **SMALL)
    ids, labels, groups, folds = store.load_split(out)
    assert len(ids) == 23 and "train-0005" not in ids
    assert set(folds) == {-1, 0, 1}
    description = json.loads((out / "data" / "dataset.json").read_text())
    assert description["dropped"] == {"train": ["train-0005"], "test": []}
    assert description["images"] == 23 and description["synthetic"] is False
    assert description["label_counts"] == labels.sum(axis=0).tolist()
    cached_ids, images = cache.load(out / "cache" / "train_32")
    np.testing.assert_array_equal(cached_ids, ids)
    assert images.shape == (23, 32, 32, 4)


def test_images_for_training_only_and_no_yellow_go_through(tiny_dataset, tmp_path):
    data, out = tiny_dataset(images=24), tmp_path / "out"
    for path in [*data.glob("test/*.png"), *data.glob("train/*_yellow.png")]:
        path.unlink()
    printed = run("00_data.ipynb", tmp_path, DATA=str(data), OUT=str(out), **SMALL)
    assert "24 labelled images, 0 test images" in printed and "no submission can be made" in printed
    description = store.load_json(out, "data/dataset.json")
    assert (description["test_images"], description["channels_missing"]) == (0, ["yellow"])
    assert not cache.load(out / "cache" / "train_32")[1][..., 3].any()
    with pytest.raises(ValueError, match="set CHANNELS = 'rgb'"):
        kaggle.check_channels(description, "rgby")


@pytest.mark.slow
def test_archives_and_a_table_corrected_between_two_runs(tiny_dataset, tmp_path):
    data, out = tiny_dataset(images=24), tmp_path / "out"
    for part in ("train", "test"):
        shutil.make_archive(str(data / part), "zip", data, part)
        shutil.rmtree(data / part)
    (data / "groups.csv").write_text("Id,group\n" + "".join(f"train-{number:04d},\n" for number in range(24)))
    run("00_data.ipynb", tmp_path, DATA=str(data), OUT=str(out), **SMALL)
    cached = (out / "cache" / "train_32" / "images.npy").stat().st_mtime_ns
    before = store.load_json(out, "data/dataset.json")
    assert (before["path"], before["groups"], before["channels_missing"]) == (str(data), 24, [])
    text = (data / "train.csv").read_text()
    (data / "train.csv").write_text(text.replace("train-0000,", "train-0000,27 ", 1))
    run("00_data.ipynb", tmp_path, DATA=str(data), OUT=str(out), **SMALL)
    after = store.load_json(out, "data/dataset.json")
    assert after["label_counts"][27] == before["label_counts"][27] + 1
    assert after["data_hash"] != before["data_hash"]
    assert (out / "cache" / "train_32" / "images.npy").stat().st_mtime_ns == cached


def test_an_image_smaller_than_the_size_stops_before_the_cache(tiny_dataset, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="less than the size 64: use IMAGE_SIZE = 32"):
        run("00_data.ipynb", tmp_path, DATA=str(tiny_dataset()), OUT=str(tmp_path / "out"), MORE_SIZES="64", **SMALL)


@pytest.mark.slow
def test_a_second_run_changes_nothing_and_the_eda_follows(tiny_dataset, tmp_path):
    data, out = tiny_dataset(images=60, groups=True), tmp_path / "out"
    for _ in range(2):
        run("00_data.ipynb", tmp_path, DATA=str(data), OUT=str(out), **SMALL)
        split = (out / "data" / "split.csv").read_bytes()
        cached = (out / "cache" / "train_32" / "images.npy").stat().st_mtime_ns
    run("00_data.ipynb", tmp_path, DATA=str(data), OUT=str(out), **SMALL)
    assert (out / "data" / "split.csv").read_bytes() == split
    assert (out / "cache" / "train_32" / "images.npy").stat().st_mtime_ns == cached
    _, _, groups, folds = store.load_split(out)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    run("01_eda_label_imbalance.ipynb", tmp_path, OUT=str(out), RANDOM_SPLITS=5)
    assert {path.stem for path in (out / "figures").glob("eda_*.png")} >= {
        "eda_label_counts",
        "eda_examples",
        "eda_intensities",
    }


@pytest.mark.slow
def test_max_images_keeps_rare_classes(tiny_dataset, tmp_path):
    out = tmp_path / "out"
    run("00_data.ipynb", tmp_path, DATA=str(tiny_dataset(images=84)), OUT=str(out), MAX_IMAGES=42, **SMALL)
    _, labels, _, _ = store.load_split(out)
    assert abs(len(labels) - 42) <= 4
    assert (labels.sum(axis=0) > 0).all()


@pytest.mark.slow
def test_the_eda_runs_on_the_real_label_table_alone(real_samples, tmp_path):
    printed = run(
        "01_eda_label_imbalance.ipynb", tmp_path, OUT=str(tmp_path / "out"), TABLE=str(real_samples / "train.csv")
    )
    assert "31,072 images" in printed and "imbalance ratio 1,171 : 1" in printed
    classes = pd.read_csv(tmp_path / "out" / "tables" / "eda_classes.csv")
    assert (classes["images"].iloc[0], classes["images"].iloc[-1]) == (12885, 11)


@pytest.fixture
def real_dataset(real_samples, tmp_path):
    """The real PNGs put together as a small folder: complete fields, and fields mixed of single channels."""
    data = tmp_path / "real"
    sources = sorted(real_samples.glob("kaggle_single_channel/*.png"))
    of_color = {color: [path for path in sources if path.stem.endswith(color)] for color in atlas.CHANNELS}
    rows = []
    for part in ("train", "test"):
        (data / part).mkdir(parents=True)
    for number in range(8):
        for color, path in zip(atlas.CHANNELS, kaggle.channel_paths(data, "train", f"mixed-{number}"), strict=True):
            shutil.copy(of_color[color][number % len(of_color[color])], path)
        rows.append(f"mixed-{number},{number} {number + 20}\n")
    test_ids = sorted({path.stem.rsplit("_", 1)[0] for path in real_samples.glob("complete_fields/*.png")})
    for path in real_samples.glob("complete_fields/*.png"):
        shutil.copy(path, data / "test" / path.name)
    (data / "train.csv").write_text("Id,Target\n" + "".join(rows))
    (data / "sample_submission.csv").write_text("Id,Predicted\n" + "".join(f"{image_id},0\n" for image_id in test_ids))
    return data


def test_real_pngs_go_through_check_cache_and_duplicates(real_dataset, tmp_path):
    findings = checks.check(real_dataset, progress=False)
    assert set(findings["severity"]) <= {"note"}
    ids, labels, test_ids = checks.select(real_dataset, findings)
    assert (len(ids), labels.sum(), len(test_ids)) == (8, 16, 2)
    _, images = cache.load(cache.build(real_dataset, ids, "train", 128, tmp_path / "cache", progress=False))
    _, test_images = cache.load(cache.build(real_dataset, test_ids, "test", 128, tmp_path / "cache", progress=False))
    assert images.shape == (8, 128, 128, 4) and test_images.shape == (2, 128, 128, 4)
    for row, image_id in enumerate(ids):  # area averaging keeps each channel's mean
        files = kaggle.channel_paths(real_dataset, "train", image_id)
        means = [png.decode(path.read_bytes()).mean() for path in files]
        np.testing.assert_allclose(images[row].mean(axis=(0, 1)), means, atol=0.5)


@pytest.mark.slow
def test_real_pngs_go_through_a_training_step_and_predict(real_dataset, tmp_path):
    keras = pytest.importorskip("keras")
    models = pytest.importorskip("hpa_lib.models")
    ids, labels, test_ids = checks.select(real_dataset, checks.check(real_dataset, progress=False))
    _, images = cache.load(cache.build(real_dataset, ids, "train", 64, tmp_path / "cache", progress=False))
    _, test_images = cache.load(cache.build(real_dataset, test_ids, "test", 64, tmp_path / "cache", progress=False))
    model = models.MODELS["densenet"](image_size=64, channels="rgby")
    model.compile(optimizer="adam", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    loss = model.train_on_batch(np.array(images), labels.astype(np.float32))
    logits = model.predict(np.array(test_images), verbose=0)
    assert np.isfinite(loss) and logits.shape == (2, 28) and np.isfinite(logits).all()
