"""The cache holds what a plain decode of the files gives, and survives kills, changes and small disks."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from hpa_lib.data import cache, kaggle


def plain_decode(data, part, ids, size):
    """The reference: OpenCV's reader, one file after the other, in the order R, G, B, Y."""
    images = []
    for image_id in ids:
        channels = [cv2.imread(str(data / part / f"{image_id}_{c}.png"), 0) for c in ("red", "green", "blue", "yellow")]
        images.append(np.stack([cv2.resize(c, (size, size), interpolation=cv2.INTER_AREA) for c in channels], -1))
    return np.stack(images)


def build(data, tmp_path, size=32, **options):
    ids, _ = kaggle.read_labels(data / "train.csv")
    return ids, cache.build(data, ids, "train", size, tmp_path / "cache", progress=False, **options)


@pytest.mark.parametrize("size", [32, 16, 20])
def test_cache_equals_a_plain_decode(tiny_dataset, tmp_path, size):
    data = tiny_dataset()
    ids, path = build(data, tmp_path, size)
    cached_ids, images = cache.load(path)
    assert path.name == f"train_{size}"
    assert isinstance(images, np.memmap)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(cached_ids, ids)
    np.testing.assert_array_equal(images, plain_decode(data, "train", ids, size))


def test_area_averaging_is_the_mean_of_the_pixels_below(tmp_path, tiny_dataset):
    data = tiny_dataset(images=1)
    ids, path = build(data, tmp_path, 16)
    green = cv2.imread(str(data / "train" / f"{ids[0]}_green.png"), 0).reshape(16, 2, 16, 2).mean(axis=(1, 3))
    assert np.abs(cache.load(path)[1][0, :, :, 1] - green).max() <= 0.5


def test_blocks_of_any_length_give_the_same_array(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset(images=7)
    ids, path = build(data, tmp_path)
    whole = np.array(cache.load(path)[1])
    monkeypatch.setattr(cache, "BLOCK_BYTES", 3 * 32 * 32 * 4)
    again = cache.build(data, ids, "train", 32, tmp_path / "other", progress=False)
    np.testing.assert_array_equal(cache.load(again)[1], whole)


def test_several_processes_give_the_same_array(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset(images=9)
    ids, path = build(data, tmp_path)
    monkeypatch.setattr(cache, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(cache, "CHUNK_BYTES", 2 * 32 * 32 * 4)
    monkeypatch.setattr(cache, "read_image", lambda *_: pytest.fail("decoded in this process"))
    again = cache.build(data, ids, "train", 32, tmp_path / "other", workers=2, progress=False)
    np.testing.assert_array_equal(cache.load(again)[1], cache.load(path)[1])


def test_a_bad_file_is_named_by_another_process_too(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset(images=9)
    monkeypatch.setattr(cache, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(cache, "CHUNK_BYTES", 2 * 32 * 32 * 4)
    file = data / "train" / "train-0003_green.png"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"train-0003_green\.png: is cut off after 300 bytes"):
        build(data, tmp_path, workers=2)
    assert not (tmp_path / "cache" / "train_32").exists()


def test_a_finished_cache_is_used_as_it_is(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset()
    _, path = build(data, tmp_path)
    monkeypatch.setattr(cache, "read_image", lambda *_: pytest.fail("decoded again"))
    assert build(data, tmp_path)[1] == path


def test_a_changed_source_is_decoded_again(tiny_dataset, tmp_path):
    data = tiny_dataset()
    ids, path = build(data, tmp_path)
    cv2.imwrite(str(data / "train" / f"{ids[2]}_blue.png"), np.full((32, 32), 77, np.uint8))
    build(data, tmp_path)
    assert (cache.load(path)[1][2, :, :, 2] == 77).all()


def test_a_source_of_equal_length_and_another_date_is_decoded_again(tiny_dataset, tmp_path):
    data = tiny_dataset()
    file = data / "train" / "train-0002_blue.png"
    cv2.imwrite(str(file), np.pad(np.full((16, 16), 70, np.uint8), 8))
    ids, path = build(data, tmp_path)
    length = file.stat().st_size
    cv2.imwrite(str(file), np.pad(np.full((16, 16), 71, np.uint8), 8))
    assert file.stat().st_size == length
    os.utime(file, (10**9, 10**9))
    build(data, tmp_path)
    assert cache.load(path)[1][2, :, :, 2].max() == 71
    cv2.imwrite(str(file), np.random.default_rng(9).integers(0, 256, (32, 32), np.uint8))
    assert file.stat().st_size != length
    os.utime(file, (10**9, 10**9))  # a copy that keeps dates: another length, the same date
    build(data, tmp_path)
    assert cache.load(path)[1][2, :, :, 2].max() > 71


def test_a_channel_that_the_data_lacks_is_zeros_until_it_is_there(tiny_dataset, tmp_path):
    data = tiny_dataset()
    away = tmp_path / "away"
    away.mkdir()
    for file in data.glob("*/*_yellow.png"):
        file.rename(away / file.name)
    ids, path = build(data, tmp_path, absent=["yellow"])
    assert (cache.load(path)[1][..., 3] == 0).all()
    assert json.loads((path / "manifest.json").read_text())["channels_missing"] == ["yellow"]
    with pytest.raises(ValueError, match=r"train-0000_yellow\.png cannot be read"):
        build(data, tmp_path)
    for file in away.glob("train*"):
        file.rename(data / "train" / file.name)
    build(data, tmp_path)
    np.testing.assert_array_equal(cache.load(path)[1], plain_decode(data, "train", ids, 32))


def test_other_ids_make_another_cache(tiny_dataset, tmp_path):
    data = tiny_dataset()
    ids, path = build(data, tmp_path)
    cache.build(data, ids[::-1], "train", 32, tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(cache.load(path)[0], ids[::-1])
    np.testing.assert_array_equal(cache.load(path)[1], plain_decode(data, "train", ids[::-1], 32))


@pytest.mark.parametrize("workers, images, pause", [(1, 40, 0.05), (2, 600, 0)])
def test_kill_9_in_the_middle_then_the_next_run_finishes(tiny_dataset, tmp_path, workers, images, pause):
    data = tiny_dataset(images=images)
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom hpa_lib.data import cache, kaggle\n"
        "cache.BLOCK_BYTES = 4 * 32 * 32 * 4\ncache.WORTH_A_PROCESS = 1\nread = cache.read_image\n"
        f"cache.read_image = lambda *a: (time.sleep({pause}), read(*a))[1]\n"
        "ids, _ = kaggle.read_labels(Path(sys.argv[1]) / 'train.csv')\n"
        "cache.build(sys.argv[1], ids, 'train', 32, sys.argv[2], workers=int(sys.argv[3]), progress=False)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(data), str(tmp_path / "cache"), str(workers)])
    mark = tmp_path / "cache" / ".train_32.partial" / "done"
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text() not in ("", "0")):
        assert process.poll() is None, "the build ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = int(mark.read_text())
    assert 0 < done < images
    assert not (tmp_path / "cache" / "train_32").exists()
    with pytest.raises(FileNotFoundError, match="00_data"):
        cache.load(tmp_path / "cache" / "train_32")

    decoded, read = [], cache.read_image
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "read_image", lambda *given: (decoded.append(given[2]), read(*given))[1])
        ids, path = build(data, tmp_path)
    assert len(decoded) == images - done, "the killed run's work was not kept"
    np.testing.assert_array_equal(cache.load(path)[1], plain_decode(data, "train", ids, 32))
    assert {entry.name for entry in (tmp_path / "cache").iterdir()} == {"train_32", ".train_32.lock"}


def test_a_kill_just_before_the_end_is_mended(tiny_dataset, tmp_path, monkeypatch):
    """Everything is decoded but the finished cache is not in place yet."""
    data = tiny_dataset()
    monkeypatch.setattr(cache.os, "replace", stop_at_folder)
    with pytest.raises(KeyboardInterrupt):
        build(data, tmp_path)
    monkeypatch.undo()
    ids, path = build(data, tmp_path)
    np.testing.assert_array_equal(cache.load(path)[1], plain_decode(data, "train", ids, 32))
    assert sorted(entry.name for entry in path.iterdir()) == ["images.npy", "manifest.json"]


def stop_at_folder(source, target, replace=os.replace):
    if source.is_dir():
        raise KeyboardInterrupt
    replace(source, target)


def test_a_source_changed_between_kill_and_next_run_is_decoded_again(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset(images=6)
    monkeypatch.setattr(cache, "BLOCK_BYTES", 2 * 32 * 32 * 4)
    read = cache.read_image

    def stop_at_fifth(data, part, image_id, size, absent):
        if image_id.endswith("4"):
            raise KeyboardInterrupt
        return read(data, part, image_id, size, absent)

    monkeypatch.setattr(cache, "read_image", stop_at_fifth)
    with pytest.raises(KeyboardInterrupt):
        build(data, tmp_path)
    monkeypatch.setattr(cache, "read_image", read)
    ids = kaggle.read_labels(data / "train.csv")[0]
    cv2.imwrite(str(data / "train" / f"{ids[0]}_red.png"), np.full((32, 32), 9, np.uint8))
    _, path = build(data, tmp_path)
    np.testing.assert_array_equal(cache.load(path)[1], plain_decode(data, "train", ids, 32))


def test_too_small_a_disk_is_refused_with_the_need(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset()
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(
        OSError, match=r"6 images of a cache train_32 need 24\.6 kB.*free: make room, choose another folder"
    ):
        build(data, tmp_path)
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [".train_32.lock"]


def test_bad_input_names_the_file_and_leaves_no_cache(tiny_dataset, tmp_path):
    data = tiny_dataset()
    file = data / "train" / "train-0003_green.png"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"train-0003_green\.png: is cut off after 300 bytes"):
        build(data, tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match=r"train-0003_green\.png cannot be read"):
        build(data, tmp_path)
    assert not (tmp_path / "cache" / "train_32").exists()


def test_larger_than_the_source_is_refused(tiny_dataset, tmp_path):
    with pytest.raises(ValueError, match=r"32 x 32 pixels, less than the size 64: use IMAGE_SIZE = 32"):
        build(tiny_dataset(), tmp_path, 64)


def test_channels_of_two_sizes_are_refused(tiny_dataset, tmp_path):
    data = tiny_dataset()
    cv2.imwrite(str(data / "train" / "train-0000_blue.png"), np.zeros((16, 16), np.uint8))
    with pytest.raises(ValueError, match="not one square"):
        build(data, tmp_path)


def test_no_ids_and_no_size_are_refused(tiny_dataset, tmp_path):
    data = tiny_dataset()
    with pytest.raises(ValueError, match="no Ids"):
        cache.build(data, [], "train", 32, tmp_path)
    with pytest.raises(ValueError, match="size 0"):
        cache.build(data, ["a"], "train", 0, tmp_path)


def test_a_damaged_cache_is_told_not_trusted(tiny_dataset, tmp_path):
    _, path = build(tiny_dataset(), tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"ids": manifest["ids"][:-1]}))
    with pytest.raises(ValueError, match="manifest says"):
        cache.load(path)
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "images.npy").write_bytes((path / "images.npy").read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read"):
        cache.load(path)


def test_builders_of_one_cache_wait_for_each_other_and_decode_once(tiny_dataset, tmp_path, monkeypatch):
    """Four at once, as two notebooks by hand beside a batch would be: one decodes, the others use what it made."""
    data, decoded = tiny_dataset(images=12), []
    whole = cache.read_image
    monkeypatch.setattr(cache, "read_image", lambda *request: decoded.append(request) or whole(*request))
    ids = [f"train-{number:04d}" for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        builds = [
            pool.submit(cache.build, data, ids, "train", 16, tmp_path / "cache", workers=1, progress=False)
            for _ in range(4)
        ]
        folders = {build.result() for build in builds}
    assert folders == {tmp_path / "cache" / "train_16"} and len(decoded) == 12
    assert cache.load(tmp_path / "cache" / "train_16")[0].tolist() == ids


def test_progress_is_marked_on_a_handle_that_may_write(tiny_dataset, tmp_path, monkeypatch):
    """Windows refuses to flush a file that was opened to be read."""
    fcntl = pytest.importorskip("fcntl")
    modes = []
    monkeypatch.setattr("os.fsync", lambda handle: modes.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE))
    cache.build(tiny_dataset(), ["train-0000"], "train", 16, tmp_path / "cache", workers=1, progress=False)
    assert modes == [os.O_RDWR]


@pytest.mark.parametrize("text", ["64 96", "64,96", " 64, 96 ,", "96 64 96 128"])
def test_sizes_are_separated_by_blanks_or_commas(text):
    sizes = cache.list_sizes(128, text)
    assert sizes[0] == 128 and sorted(sizes) == [64, 96, 128]
    assert cache.list_sizes(128, "") == [128]


@pytest.mark.parametrize("text", ["all", "64 x", "0", "-64", "64.0", "64x64"])
def test_sizes_that_are_no_numbers_of_pixels_are_refused(text):
    with pytest.raises(ValueError, match=f"MORE_SIZES '{text}': write sides in pixels, such as '256 512'"):
        cache.list_sizes(128, text)


def test_caches_of_another_size_go_when_their_images_have_changed(tiny_dataset, tmp_path, capsys):
    """Notebook 00 run again for one size must not leave the old pixels of another to the training notebooks."""
    data = tiny_dataset("data", images=4)
    ids = [f"train-{number:04d}" for number in range(4)]
    for size in (16, 32):
        cache.build(data, ids, "train", size, tmp_path / "cache", progress=False)
    cache.remove_stale(data, ids, "train", tmp_path / "cache")
    assert len(cache.load(tmp_path / "cache" / "train_16")[0]) == 4  # nothing has changed: kept
    capsys.readouterr()
    cache.build(data, ids[:3], "train", 32, tmp_path / "cache", progress=False)
    cache.remove_stale(data, ids[:3], "train", tmp_path / "cache")
    assert len(cache.load(tmp_path / "cache" / "train_32")[0]) == 3
    with pytest.raises(FileNotFoundError, match="train_16 holds no finished cache: run 00_data.ipynb"):
        cache.load(tmp_path / "cache" / "train_16")
    assert capsys.readouterr().out.startswith(f"removed {tmp_path}/cache/train_16: its images have changed")


def test_rows_are_found_by_id_and_an_unknown_id_is_named():
    cache_ids = np.array(["b", "a", "c"])
    assert cache.find_rows(cache_ids, np.array(["a", "c"])).tolist() == [1, 2]
    with pytest.raises(ValueError, match="1 ids of data/split.csv are not in the cache, first 'x': run 00_data.ipynb"):
        cache.find_rows(cache_ids, np.array(["a", "x"]))
