"""One folder of caches that many run sets use, and the look at the disk before all of them are built."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from hpa_lib import store
from hpa_lib.classical import features
from hpa_lib.data import archives, cache, disk

IDS = [f"train-{number:04d}" for number in range(6)]
BUILD = """
import sys, time
from hpa_lib.data import cache
read, decoded = cache.read_image, []
cache.read_image = lambda *given: (time.sleep(0.05), decoded.append(given), read(*given))[2]
ids = [f"train-{number:04d}" for number in range(20)]
print("ready", flush=True)
sys.stdin.readline()
cache.build(sys.argv[1], ids, "train", 32, sys.argv[2], workers=1, progress=False)
print(len(decoded), flush=True)
"""


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The shared folder, still empty."""
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv("HPA_CACHE", str(folder))
    return folder


@pytest.fixture
def make_read_only():
    """A function that makes a folder read-only, also for root: it is mounted over itself."""
    mounted = []

    def mount(folder):
        commands = (["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder])
        for number, command in enumerate(commands):
            if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
                pytest.skip("needs the right to mount a folder read-only")
            mounted.extend([folder] * (number == 0))

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)  # a mapped image may still be open


def build(data, out, size=32, ids=IDS):
    return cache.build(data, ids, "train", size, out / "cache", workers=1, progress=False)


def count_decoded(monkeypatch):
    decoded, read = [], cache.read_image
    monkeypatch.setattr(cache, "read_image", lambda *given: (decoded.append(given[2]), read(*given))[1])
    return decoded


def test_two_processes_build_into_an_empty_folder_at_once_and_one_decodes(tiny_dataset, tmp_path, shared):
    data = tiny_dataset(images=20)
    outs = [tmp_path / name / "cache" for name in "ab"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", BUILD, data, out], **pipes) for out in outs]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=60)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0] == "20\n" and "waiting until it has ended\n0\n" in said[1]
    (folder,) = shared.glob("train_32-????????????")
    ids, images = cache.load(folder)
    for out in outs:
        assert sorted(entry.name for entry in (out / "train_32").iterdir()) == ["manifest.json"]
        np.testing.assert_array_equal(cache.load(out / "train_32")[0], ids)
        np.testing.assert_array_equal(cache.load(out / "train_32")[1], images)


def test_other_ids_and_other_files_are_other_caches(tiny_dataset, tmp_path, shared, monkeypatch):
    data = tiny_dataset()
    build(data, tmp_path / "a")
    build(data, tmp_path / "b", ids=IDS[:3])
    copy = shutil.copytree(data, tmp_path / "copy")  # keeps the dates: the same
    decoded = count_decoded(monkeypatch)
    build(copy, tmp_path / "c")
    assert decoded == [] and len(list(shared.glob("train_32-*"))) == 2
    os.utime(copy / "train" / "train-0002_blue.png", (10**9, 10**9))
    build(copy, tmp_path / "c")
    assert len(decoded) == 6 and len(list(shared.glob("train_32-*"))) == 3


def test_a_read_only_folder_is_read_and_what_it_lacks_is_built_in_the_run_set(
    tiny_dataset, tmp_path, shared, make_read_only, monkeypatch, capsys
):
    data = tiny_dataset()
    build(data, tmp_path / "teacher")
    make_read_only(shared)
    decoded = count_decoded(monkeypatch)
    path = build(data, tmp_path / "student")
    assert decoded == [] and cache.locate(path).parent == shared
    assert cache.load(path)[1].shape == (6, 32, 32, 4)
    assert features.load(tmp_path / "student", "train", 32, 1)[1].shape == (6, 59)
    assert (tmp_path / "student" / "cache" / "features_train_32.npz").exists()
    capsys.readouterr()
    path = build(data, tmp_path / "student", 16)
    (said,) = capsys.readouterr().out.splitlines()
    assert said.endswith(f"is not there and cannot be written: this cache is built in {tmp_path}/student/cache")
    assert len(decoded) == 6 and cache.locate(path) == path
    cache.build_all(data, {"train": np.array(IDS)}, [32, 16, 8], tmp_path / "student" / "cache", workers=1)
    assert f"{tmp_path}/student/cache has" in capsys.readouterr().out


def test_features_are_measured_once_for_all_run_sets(tiny_dataset, tmp_path, shared, monkeypatch):
    data = tiny_dataset()
    for name in "ab":
        build(data, tmp_path / name)
    ids, values = features.load(tmp_path / "a", "train", 32, 1)
    monkeypatch.setattr(features, "measure", lambda *_: pytest.fail("measured again"))
    again_ids, again = features.load(tmp_path / "b", "train", 32, 1)
    assert (again == values).all() and (again_ids == ids).all()
    assert len(list(shared.glob("features_train_32-*.npz"))) == 1


def test_a_shared_cache_that_is_gone_is_told_and_built_again(tiny_dataset, tmp_path, shared):
    data = tiny_dataset()
    path = build(data, tmp_path / "a")
    folder = cache.locate(path)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=f"names the shared cache {folder}, which is not there: run 00_data"):
        cache.load(path)
    build(data, tmp_path / "a")
    assert cache.load(path)[1].shape == (6, 32, 32, 4)


def test_a_cache_of_the_run_set_is_replaced_only_when_it_is_stale(tiny_dataset, tmp_path, shared, monkeypatch):
    data = tiny_dataset()
    monkeypatch.delenv("HPA_CACHE")
    path = build(data, tmp_path / "a")
    monkeypatch.setenv("HPA_CACHE", str(shared))
    build(data, tmp_path / "a")
    assert cache.locate(path) == path
    os.utime(data / "train" / "train-0002_blue.png", (10**9, 10**9))
    build(data, tmp_path / "a")
    assert [entry.name for entry in path.iterdir()] == ["manifest.json"] and cache.locate(path).parent == shared


def test_nothing_shared_is_removed(tiny_dataset, tmp_path, monkeypatch):
    """Also where a run set's own folder of caches is the shared one."""
    data = tiny_dataset()
    out = tmp_path / "a"
    (out / "cache").mkdir(parents=True)
    monkeypatch.setenv("HPA_CACHE", str(out / "cache"))
    build(data, out)
    build(data, tmp_path / "b", ids=IDS[:3])
    os.utime(data / "train" / "train-0002_blue.png", (10**9, 10**9))
    for folder in (out, tmp_path / "b"):
        cache.remove_stale(data, IDS, "train", folder / "cache")
        assert not (folder / "cache" / "train_32").exists()
    assert len(list(out.glob("cache/train_32-*/images.npy"))) == 2


def test_a_folder_that_is_not_there_is_refused(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("HPA_CACHE", str(tmp_path / "typo"))
    with pytest.raises(ValueError, match="HPA_CACHE names .*typo, which is no folder: make it, or unset HPA_CACHE"):
        build(tiny_dataset(), tmp_path / "a")


def test_a_full_shared_disk_is_told(tiny_dataset, tmp_path, shared, monkeypatch):
    monkeypatch.setattr(disk, "SPARE", 10**18)
    with pytest.raises(OSError, match=f"6 images of a cache train_32 need .*, but {shared} has .* free"):
        build(tiny_dataset(), tmp_path / "a")


def test_all_caches_are_told_once_and_asked_of_the_disk_before_the_first_image(
    tiny_dataset, tmp_path, monkeypatch, capsys
):
    data, part_ids = tiny_dataset(), {"train": np.array(IDS), "test": np.array(["test-0000", "test-0001"])}
    decoded = count_decoded(monkeypatch)
    build(data, tmp_path, 8)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": disk.SPARE + 41_471})())
        with pytest.raises(OSError, match=r"the caches of 32, 16, 8 px need 41\.5 kB and"):
            cache.build_all(data, part_ids, [32, 16, 8], tmp_path / "cache", workers=1, progress=False)
    assert len(decoded) == 6
    capsys.readouterr()
    for said in (1, 0):  # 8 x (32^2 + 16^2) x 4 bytes, and the test images of 8 px; the second time nothing is needed
        cache.build_all(data, part_ids, [32, 16, 8], tmp_path / "cache", workers=1, progress=False)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == said and all("the caches of 32, 16, 8 px need 41.5 kB; " in line for line in lines)
    build(data, tmp_path, 4)
    cache.build_all(data, {"train": np.array(IDS[:4])}, [32], tmp_path / "cache", workers=1, progress=False)
    assert not (tmp_path / "cache" / "train_4").exists()  # of images of before


def test_what_a_killed_build_has_done_is_not_asked_for_again(tiny_dataset, tmp_path, monkeypatch, capsys):
    data, read = tiny_dataset(), cache.read_image
    monkeypatch.setattr(cache, "BLOCK_BYTES", 2 * 32 * 32 * 4)

    def stop_at_fifth(*given):
        if given[2].endswith("4"):
            raise KeyboardInterrupt
        return read(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache, "read_image", stop_at_fifth)
        build(data, tmp_path)
    cache.build_all(data, {"train": np.array(IDS)}, [32], tmp_path / "cache", workers=1, progress=False)
    assert "the caches of 32 px need 8.2 kB; " in capsys.readouterr().out  # two of six images


def test_images_of_an_archive_have_the_same_dates_wherever_they_are_unpacked(tiny_dataset, tmp_path, shared):
    data = tiny_dataset()
    for part in ("train", "test"):
        shutil.make_archive(str(tmp_path / "packed" / part), "zip", data / part)
    shutil.copyfile(data / "train.csv", tmp_path / "packed" / "train.csv")
    for name in "ab":
        unpacked = archives.unpack_data(tmp_path / "packed", tmp_path / name / "unpacked", progress=False)
        build(unpacked, tmp_path / name)
    assert len(list(shared.glob("train_32-*"))) == 1
    first = store.load_json(tmp_path / "a" / "cache", "train_32/manifest.json")
    file = data / "train" / "train-0002_blue.png"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")  # another content of the same length, at the same time
    stamp = (data / "train" / "train-0001_blue.png").stat()
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    shutil.make_archive(str(tmp_path / "packed" / "train"), "zip", data / "train")
    unpacked = archives.unpack_data(tmp_path / "packed", tmp_path / "a" / "unpacked", progress=False)
    with pytest.raises(ValueError, match=r"train-0002_blue\.png"):  # decoded again, and found to be damaged
        build(unpacked, tmp_path / "a")
    assert store.load_json(tmp_path / "a" / "cache", "train_32/manifest.json") == first
