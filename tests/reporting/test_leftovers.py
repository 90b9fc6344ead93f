"""What of a run set may be deleted, and that nothing else goes."""

import json
import os
import shutil
import time

import numpy as np
import pytest

from hpa_lib import __main__, locks, store
from hpa_lib.data import cache
from hpa_lib.reporting import leftovers

IDS = [f"train-{number:04d}" for number in range(6)]


def write(path, size=10, age=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age,) * 2)


def add_run(out, name, finished=True, **record):
    """A run as training leaves it; the bytes of its weights are made up."""
    folder, row = out / "runs" / name, {"epoch": 1, "val_macro_ap": 0.25}
    state = {"settings": {"image_size": 32}, "epoch": 1, "best_epoch": 1, "finished": finished, "history": [row]}
    store.save_json(folder, "checkpoints/state.json", state)
    write(folder / "checkpoints" / "best-0001.weights.h5", 3000)
    write(folder / "head" / "checkpoints" / "best-0001.weights.h5", 2000)
    if finished:
        store.save_json(folder, "result.json", {"image_size": 32, "best_epoch": 1, "val_macro_ap": 0.25} | record)
        for file in ("model.keras", "probs_val.npz"):
            write(folder / file)
    return folder


@pytest.fixture
def run_set(tiny_dataset, tmp_path):
    """Notebook 00 at 32 px, and caches of 16 and 8 px besides."""
    data, out = tiny_dataset(), tmp_path / "out"
    store.save_split(out, np.array(IDS), np.eye(6, 28, dtype=np.uint8), np.arange(6), np.zeros(6, int))
    store.save_json(out, "data/dataset.json", {"path": data, "image_size": 32})
    for size in (32, 16, 8):
        cache.build(data, IDS, "train", size, out / "cache", workers=1, progress=False)
    write(out / "cache" / "features_train_16.npz", 500)
    write(out / "cache" / "features_train_32.npz", 500)
    return out


def names(out):
    return [path.relative_to(out).as_posix() for _, path, _ in leftovers.find(out)]


def test_caches_of_sizes_that_no_run_uses_are_listed_the_largest_first(run_set):
    unused = ["cache/train_16", "cache/train_8", "cache/features_train_16.npz"]
    assert names(run_set) == unused
    sizes = [size for size, _, _ in leftovers.find(run_set)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 6 * 4 * 16 * 16
    add_run(run_set, "small", finished=False)
    state = store.load_json(run_set, "runs/small/checkpoints/state.json")
    store.save_json(run_set, "runs/small/checkpoints/state.json", state | {"settings": {"image_size": 16}})
    assert names(run_set) == ["cache/train_8"]  # a run that is not finished needs its cache too
    store.save_json(run_set, "runs/baseline/result.json", {"image_size": 8})
    assert names(run_set) == []


def test_a_cache_without_the_images_of_the_split_is_listed(run_set):
    ids = np.array([*IDS, "train-0006"])
    store.save_split(run_set, ids, np.eye(7, 28, dtype=np.uint8), np.arange(7), np.zeros(7, int))
    found = {path.name: why for _, path, why in leftovers.find(run_set)}
    assert found["train_32"] == "lacks images of data/split.csv; notebook 00 builds it anew in any case"


def test_only_checkpoints_of_this_very_finished_training_are_listed(run_set):
    for name in ("train_16", "train_8"):
        shutil.rmtree(run_set / "cache" / name)
    (run_set / "cache" / "features_train_16.npz").unlink()
    add_run(run_set, "half", finished=False)
    add_run(run_set, "begun-again", val_macro_ap=0.125)  # finished anew and killed before its result was stored
    assert names(run_set) == []
    folder = add_run(run_set, "done")
    assert names(run_set) == [f"runs/done/{part}checkpoints/best-0001.weights.h5" for part in ("", "head/")]
    (folder / "model.keras").unlink()
    assert names(run_set) == []


def test_unpacked_archives_are_listed_while_the_archives_are_there(run_set, tmp_path):
    write(run_set / "cache" / "unpacked" / "0123" / "train" / "a.png", 9000)
    assert "cache/unpacked" not in names(run_set)
    packed = tmp_path / "packed"
    write(packed / "train.zip")
    store.save_json(run_set, "data/dataset.json", {"path": packed, "image_size": 32})
    assert names(run_set)[0] == "cache/unpacked"


def test_what_was_written_by_half_is_listed_when_its_writer_is_gone(run_set):
    write(run_set / "tables" / ".4567abcd.part.x.csv")  # its writer may be at work
    build = run_set / "cache" / ".test_32.partial"
    write(build / "images.npy", 5000)
    assert [name for name in names(run_set) if "/." in name] == []
    write(build / ".0123abcd.part.done", age=7200)
    write(run_set / "tables" / ".0123abcd.part.x.csv", age=7200)
    os.utime(build, (0, 0))
    assert [name for name in names(run_set) if "/." in name] == [
        "cache/.test_32.partial",
        "tables/.0123abcd.part.x.csv",
    ]


def test_nothing_is_deleted_without_yes_and_no_result_with_it(run_set, capsys):
    add_run(run_set, "done")
    everything = {path: path.read_bytes() for path in run_set.rglob("*") if path.is_file()}
    assert __main__.main(["clean", str(run_set)]) == 0
    said = capsys.readouterr().out
    assert "    6.5 kB  cache/train_16: no run uses 16 px; notebook 00 builds it again (MORE_SIZES)\n" in said
    assert said.endswith("in all; nothing is deleted without --yes\n")
    assert {path: path.read_bytes() for path in run_set.rglob("*") if path.is_file()} == everything
    assert __main__.main(["clean", str(run_set), "--yes"]) == 0
    assert capsys.readouterr().out.endswith("kB  deleted\n")
    gone = {path.relative_to(run_set).as_posix() for path in everything if not path.exists()}
    assert gone == {
        *(f"cache/train_{size}/{file}" for size in (16, 8) for file in ("images.npy", "manifest.json")),
        "cache/features_train_16.npz",
        *(f"runs/done/{part}checkpoints/best-0001.weights.h5" for part in ("", "head/")),
    }
    assert __main__.main(["clean", str(run_set), "--yes"]) == 0
    assert capsys.readouterr().out == "   0 bytes  deleted\n"


def test_links_out_of_the_run_set_are_not_followed(run_set, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for path in ("cache/train_16", "cache/features_train_16.npz"):
        (run_set / path).unlink() if path.endswith("npz") else shutil.rmtree(run_set / path)
    write(elsewhere / "train_16" / "images.npy")
    (run_set / "cache" / "train_16").symlink_to(elsewhere / "train_16", target_is_directory=True)
    add_run(tmp_path / "other", "done")
    (run_set / "runs").symlink_to(tmp_path / "other" / "runs", target_is_directory=True)
    write(elsewhere / ".0123abcd.part.x", age=7200)
    (run_set / "tables").symlink_to(elsewhere, target_is_directory=True)
    (run_set / "cache" / "train_8" / "link").symlink_to(elsewhere, target_is_directory=True)
    assert names(run_set) == ["cache/train_8"]
    leftovers.remove(run_set / "cache" / "train_8")
    assert (elsewhere / "train_16" / "images.npy").exists() and not (run_set / "cache" / "train_8").exists()
    whole = shutil.move(run_set / "cache", elsewhere / "cache")
    write(elsewhere / "cache" / "train_8" / "images.npy")
    (run_set / "cache").symlink_to(whole, target_is_directory=True)
    assert names(run_set) == []


def test_a_run_set_that_is_named_by_a_link_is_cleaned(run_set, tmp_path):
    (tmp_path / "link").symlink_to(run_set, target_is_directory=True)
    assert names(tmp_path / "link") == names(run_set) != []


def test_a_shared_cache_stays_and_only_its_name_goes(run_set, tiny_dataset, tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("HPA_CACHE", str(tmp_path / "shared"))
    path = cache.build(tmp_path / "data", IDS, "train", 4, run_set / "cache", workers=1, progress=False)
    shared = cache.locate(path)
    assert "cache/train_4" in names(run_set)
    leftovers.remove(path)
    assert not path.exists() and len(cache.load(shared)[0]) == 6
    monkeypatch.setenv("HPA_CACHE", str(run_set / "cache"))  # the folder of this run set is the shared one
    shared = cache.locate(cache.build(tmp_path / "data", IDS, "train", 4, tmp_path / "b", 1, progress=False))
    assert shared.parent == run_set / "cache" and not [name for name in names(run_set) if "train_4" in name]


def test_a_clean_that_was_stopped_leaves_no_half_cache_that_looks_whole(run_set, monkeypatch):
    folder = run_set / "cache" / "train_16"

    def stop(path):
        (path / "images.npy").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(leftovers.shutil, "rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        leftovers.remove(folder)
    assert not folder.exists()
    monkeypatch.undo()
    (half,) = (run_set / "cache").glob(".*.part.train_16")
    os.utime(half, (0, 0))
    assert f"cache/{half.name}" in names(run_set)


def test_a_folder_that_is_no_run_set_is_refused(tmp_path, capsys):
    write(tmp_path / "cache" / "train_16" / "images.npy")
    for folder in (tmp_path, tmp_path / "missing"):
        assert __main__.main(["clean", str(folder), "--yes"]) == 2
        assert f"hpa: {folder} is no run set: name a folder in which" in capsys.readouterr().err
    assert (tmp_path / "cache" / "train_16" / "images.npy").exists()


def test_a_damaged_record_is_told_and_nothing_is_deleted(run_set, capsys):
    write(run_set / "runs" / "done" / "result.json")
    assert __main__.main(["clean", str(run_set), "--yes"]) == 2
    assert "result.json is damaged" in capsys.readouterr().err and (run_set / "cache" / "train_16").exists()
    assert json.loads((run_set / "data" / "dataset.json").read_text())["image_size"] == 32


def test_nothing_is_deleted_while_a_step_is_running(run_set, capsys):
    add_run(run_set, "done")
    with locks.lock(locks.path_of(run_set, "", "done"), "the run done"):
        assert __main__.main(["clean", str(run_set), "--yes"]) == 2
    assert "done of" in capsys.readouterr().err and (run_set / "cache" / "train_16").exists()
    assert __main__.main(["clean", str(run_set), "--yes"]) == 0
