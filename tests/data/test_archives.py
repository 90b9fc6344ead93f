"""Archives are unpacked whole or not at all, and never outside their target."""

import os
import shutil
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from hpa_lib.data import archives, checks, kaggle


def zip_folder(folder, archive, prefix=""):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                opened.write(path, prefix + str(path.relative_to(folder)))
    return archive


def check_same(data, unpacked):
    assert kaggle.fingerprint(unpacked) == kaggle.fingerprint(data)
    assert checks.check(unpacked, progress=False).empty


@pytest.mark.parametrize("prefix", ["", "human-protein-atlas/"])
def test_the_whole_download_is_unpacked(tiny_dataset, tmp_path, prefix):
    data = tiny_dataset()
    archive = zip_folder(data, tmp_path / "all.zip", prefix)
    check_same(data, archives.unpack_data(archive, tmp_path / "unpacked", progress=False))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_folder_with_an_archive_a_part_is_unpacked(tiny_dataset, tmp_path, wrapped):
    data, packed = tiny_dataset(), tmp_path / "packed"
    packed.mkdir()
    for part in ("train", "test"):
        zip_folder(data / part, packed / f"{part}.zip", f"{part}/" if wrapped else "")
    for table in data.glob("*.csv"):
        (packed / table.name).write_bytes(table.read_bytes())
    check_same(data, archives.unpack_data(packed, tmp_path / "unpacked", progress=False))


def test_archives_in_the_archive_are_unpacked(tiny_dataset, tmp_path):
    data, packed = tiny_dataset(), tmp_path / "packed"
    packed.mkdir()
    for part in ("train", "test"):
        zip_folder(data / part, packed / f"{part}.zip")
    for table in data.glob("*.csv"):
        (packed / table.name).write_bytes(table.read_bytes())
    archive = zip_folder(packed, tmp_path / "all.zip")
    unpacked = archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    check_same(data, unpacked)
    assert not list(unpacked.glob("*.zip"))


def test_a_part_that_is_unpacked_already_is_used(tiny_dataset, tmp_path):
    data, packed = tiny_dataset(), tmp_path / "packed"
    packed.mkdir()
    (data / "train").rename(packed / "train")
    zip_folder(data / "test", packed / "test.zip")
    for table in data.glob("*.csv"):
        (packed / table.name).write_bytes(table.read_bytes())
    unpacked = archives.unpack_data(packed, tmp_path / "unpacked", progress=False)
    assert checks.check(unpacked, progress=False).empty


def test_an_unpacked_folder_is_used_as_it_is(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset()
    monkeypatch.setenv("HOME", str(data.parent))
    monkeypatch.setenv("USERPROFILE", str(data.parent))  # the same on Windows
    assert archives.unpack_data(f"~/{data.name}", tmp_path / "unpacked") == data
    assert archives.unpack_data(data, tmp_path / "unpacked") == data
    assert not (tmp_path / "unpacked").exists()


def test_a_second_run_unpacks_nothing_and_a_killed_one_goes_on(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset()
    archive = zip_folder(data, tmp_path / "all.zip")
    copy, copied = archives._copy, []

    def stop_at_tenth(opened, info, path):
        copied.append(path)
        if len(copied) == 10:
            raise KeyboardInterrupt
        copy(opened, info, path)

    monkeypatch.setattr(archives, "_copy", stop_at_tenth)
    with pytest.raises(KeyboardInterrupt):
        archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    monkeypatch.setattr(archives, "_copy", copy)
    first = next((tmp_path / "unpacked").rglob("*.png"))
    before = first.stat().st_mtime_ns
    check_same(data, archives.unpack_data(archive, tmp_path / "unpacked", progress=False))
    assert first.stat().st_mtime_ns == before
    monkeypatch.setattr(archives, "_unpack", lambda *_: pytest.fail("unpacked again"))
    archives.unpack_data(archive, tmp_path / "unpacked", progress=False)


# --- the second action: a changed archive, a corrected table ------------------------------------------------------


def pack(data, packed, tables=True):
    """``train.zip`` and ``test.zip`` of a folder, and its tables beside them."""
    packed.mkdir(exist_ok=True)
    for part in ("train", "test"):
        zip_folder(data / part, packed / f"{part}.zip")
    for table in (*data.glob("*.csv"), *data.glob("*.json")) if tables else ():
        (packed / table.name).write_bytes(table.read_bytes())
    return packed


def flip_label(data):
    """Another label of equal length: 16 becomes 17."""
    text = (data / "train.csv").read_text()
    assert ",0" in text
    (data / "train.csv").write_text(text.replace(",0", ",5", 1))


def test_a_changed_zip_of_equal_lengths_is_unpacked_anew_and_the_older_one_removed(tiny_dataset, tmp_path):
    data, archive = tiny_dataset(), tmp_path / "all.zip"
    date = (2020, 1, 1, 0, 0, 0)

    def write():
        with zipfile.ZipFile(archive, "w") as opened:
            for path in sorted(data.rglob("*.*")):
                opened.writestr(zipfile.ZipInfo(str(path.relative_to(data)), date), path.read_bytes())
        os.utime(archive, (10**9, 10**9))

    write()
    length = archive.stat().st_size
    first = archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    flip_label(data)
    image = next((data / "train").glob("*_red.png"))
    content = bytearray(image.read_bytes())
    content[-20] ^= 1
    image.write_bytes(content)
    write()
    assert archive.stat().st_size == length
    second = archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    assert (second / "train.csv").read_bytes() == (data / "train.csv").read_bytes()
    assert (second / "train" / image.name).read_bytes() == bytes(content)
    assert not first.exists() and list((tmp_path / "unpacked").iterdir()) == [second]


def test_the_older_folder_stays_until_the_new_one_is_whole(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset()
    archive = zip_folder(data, tmp_path / "all.zip")
    first = archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    flip_label(data)
    zip_folder(data, archive)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    assert checks.check(first, progress=False).empty
    second = archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    check_same(data, second)
    assert not first.exists()


def test_a_half_file_of_a_killed_run_is_written_again(tiny_dataset, tmp_path):
    data = tiny_dataset()
    archive = zip_folder(data, tmp_path / "all.zip")
    folder = archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    (folder / archives.WHOLE).unlink()
    half = next((folder / "train").glob("*_red.png"))
    half.write_bytes(half.read_bytes()[:100])
    check_same(data, archives.unpack_data(archive, tmp_path / "unpacked", progress=False))


def test_a_corrected_table_beside_the_archives_is_read(tiny_dataset, tmp_path):
    data = tiny_dataset()
    packed = pack(data, tmp_path / "packed")
    first = archives.unpack_data(packed, tmp_path / "unpacked", progress=False)
    flip_label(data)
    (packed / "train.csv").write_bytes((data / "train.csv").read_bytes())
    second = archives.unpack_data(packed, tmp_path / "unpacked", progress=False)
    assert first == second
    check_same(data, second)


def test_a_table_beside_the_archives_wins_over_the_one_in_them(tiny_dataset, tmp_path):
    data, packed = tiny_dataset(), tmp_path / "packed"
    packed.mkdir()
    zip_folder(data, packed / "human-protein-labels.zip")
    before = (data / "train.csv").read_bytes()
    flip_label(data)
    for name in ("train.csv", "train.csv.zip"):
        shutil.copyfile(data / "train.csv", packed / name)
        if name.endswith(".zip"):
            with zipfile.ZipFile(packed / name, "w") as opened:
                opened.write(data / "train.csv", "train.csv")
        folder = archives.unpack_data(packed, tmp_path / "unpacked", progress=False)
        labels = kaggle.read_labels(folder / "train.csv")[1]
        np.testing.assert_array_equal(labels, kaggle.read_labels(data / "train.csv")[1])
        (packed / name).unlink()
    folder = archives.unpack_data(packed, tmp_path / "unpacked", progress=False)
    assert (folder / "train.csv").read_bytes() == before


def test_nothing_of_an_earlier_download_stays(tiny_dataset, tmp_path):
    synthetic, real = tiny_dataset("synthetic", groups=True), tiny_dataset("real", images=4, seed=1)
    (synthetic / "synthetic.json").write_text("{}")
    packed = pack(synthetic, tmp_path / "packed")
    folder = archives.unpack_data(packed, tmp_path / "unpacked", progress=False)
    assert (folder / "synthetic.json").exists() and (folder / "groups.csv").exists()
    for name in ("synthetic.json", "groups.csv"):
        (packed / name).unlink()
    folder = archives.unpack_data(packed, tmp_path / "unpacked", progress=False)
    assert not (folder / "synthetic.json").exists() and not (folder / "groups.csv").exists()
    check_same(real, archives.unpack_data(pack(real, packed), tmp_path / "unpacked", progress=False))


def test_a_part_that_was_unpacked_elsewhere_follows_its_folder(tiny_dataset, tmp_path):
    """Two folders with the same test.zip and different train/ do not share a link."""
    folders = []
    for name, seed in (("one", 1), ("two", 2)):
        data = tiny_dataset(name, seed=seed)
        pack(data, data, tables=False)
        (data / "train.zip").unlink()
        shutil.rmtree(data / "test")
        if folders:
            shutil.copyfile(folders[0] / "test.zip", data / "test.zip")
        folders.append(data)
        unpacked = archives.unpack_data(data, tmp_path / "unpacked", progress=False)
        assert (unpacked / "train").resolve() == data / "train"
        assert (unpacked / "train.csv").read_bytes() == (data / "train.csv").read_bytes()


def test_the_disk_needed_is_said_before_the_start(tiny_dataset, tmp_path, capsys):
    packed = pack(tiny_dataset(), tmp_path / "packed")
    archives.unpack_data(packed, tmp_path / "unpacked")
    assert "the files in train.zip, test.zip need 40.5 kB; " in capsys.readouterr().out
    archives.unpack_data(packed, tmp_path / "unpacked")
    assert capsys.readouterr().out == ""


# --- archives as they come ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["a/b/c/", "train/", "human-protein-atlas/images/"])
def test_any_number_of_wrapping_folders_is_taken_off(tiny_dataset, tmp_path, prefix):
    data = tiny_dataset()
    archive = zip_folder(data, tmp_path / "all.zip", prefix)
    check_same(data, archives.unpack_data(archive, tmp_path / "unpacked", progress=False))


def test_a_folder_with_the_download_in_it_and_files_in_capitals_work(tiny_dataset, tmp_path):
    data, packed = tiny_dataset(), tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "all.zip", "w") as opened:
        for path in data.rglob("*.*"):
            opened.write(path, str(path.relative_to(data)).replace(".png", ".PNG"))
    check_same(data, archives.unpack_data(packed, tmp_path / "unpacked", progress=False))


def test_an_empty_part_folder_beside_its_archive_is_no_unpacked_part(tiny_dataset, tmp_path):
    data = tiny_dataset()
    packed = pack(data, tmp_path / "packed")
    (packed / "train").mkdir()
    check_same(data, archives.unpack_data(packed, tmp_path / "unpacked", progress=False))


@pytest.mark.parametrize(
    "name, members, sentence",
    [
        ("all.zip", ["a/train/x_red.png", "b/train/x_red.png"], "holds 'a/train/x_red.png' and 'b/train/x_red.png'"),
        ("all.zip", ["train/x_red.jpg"], "holds no PNG in train or test"),
        ("all.zip", [], "holds no PNG in train or test"),
        ("train.zip", ["test/x_red.png"], "holds the folder 'test': name the archive test.zip"),
    ],
)
def test_an_archive_that_cannot_be_understood_is_refused(tmp_path, name, members, sentence):
    with zipfile.ZipFile(tmp_path / name, "w") as opened:
        for member in members:
            opened.writestr(member, b"x")
    with pytest.raises(ValueError, match=sentence):
        archives.unpack_data(tmp_path, tmp_path / "unpacked", progress=False)
    assert not (tmp_path / "unpacked").exists()


def test_what_a_new_download_cannot_help_is_not_told_so(tiny_dataset, tmp_path):
    archive = zip_folder(tiny_dataset(), tmp_path / "all.zip")
    content = bytearray(archive.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[8:10] = content[start + 10 : start + 12] = (9).to_bytes(2, "little")  # Deflate64
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"method is not supported.: unpack it with `unzip` or 7-Zip"):
        archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    content[6] = content[start + 8] = 1  # encrypted
    content[8:10] = content[start + 10 : start + 12] = (8).to_bytes(2, "little")
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="password required.*: unpack it with its password"):
        archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    shutil.make_archive(str(tmp_path / "train"), "gztar", tmp_path, "all.zip")
    with pytest.raises(
        ValueError,
        match=r"train.tar.gz .*: it is no zip archive; name the data folder, and unpack",
    ):
        archives.unpack_data(tmp_path / "train.tar.gz", tmp_path / "unpacked", progress=False)


# --- safety -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../evil.png", "train/../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\evil.png"]
)
def test_paths_that_reach_outside_are_refused_before_anything_is_written(tmp_path, name):
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("train/good.png", b"x")
        opened.writestr(name, b"x")
    with pytest.raises(ValueError, match=r"bad\.zip holds the path .* outside its folder: do not use this archive"):
        archives.unpack_data(archive, tmp_path / "target", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_links_are_refused(tmp_path):
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        link = zipfile.ZipInfo("train/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="holds the link 'train/link.png'"):
        archives.unpack_data(archive, tmp_path / "target", progress=False)


def test_bombs_are_refused(tmp_path, monkeypatch):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("train/a.png", bytes(5_000_000))
    with pytest.raises(ValueError, match="claims to unpack .* into 5000000 bytes: do not use this archive"):
        archives.unpack_data(archive, tmp_path / "target", progress=False)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("train/a.png", bytes(3000))
    monkeypatch.setattr(archives, "MAX_BYTES", 2000)
    with pytest.raises(ValueError, match=r"unpacks to 3\.0 kB, more than 2\.0 kB"):
        archives.unpack_data(archive, tmp_path / "target", progress=False)


def test_too_small_a_disk_is_told(tmp_path, monkeypatch):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("train/a.png", bytes(3000))
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="need 3.0 kB .* has 1.0 kB free: make room"):
        archives.unpack_data(archive, tmp_path / "target", progress=False)


def spoil_the_end(content):
    return content[:-30]


def spoil_the_middle(content):
    return content[:60] + b"\xff" * 40 + content[100:]


@pytest.mark.parametrize("spoil", [spoil_the_end, spoil_the_middle, lambda _: b"PK\x03\x04"])
def test_a_damaged_archive_is_told(tiny_dataset, tmp_path, spoil):
    archive = zip_folder(tiny_dataset(images=1, test_images=0), tmp_path / "all.zip")
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(ValueError, match=r"all\.zip cannot be unpacked \(.*\): download it again"):
        archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    assert not [*tmp_path.glob(f"unpacked/*/{archives.WHOLE}")]


def test_other_files_and_hidden_ones_are_left_in_the_archive(tmp_path):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("train/a.png", "train/run.sh", "__MACOSX/train/._a.png", "train/.hidden.png"):
            opened.writestr(name, b"x")
    folder = archives.unpack_data(archive, tmp_path / "target", progress=False)
    assert [str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.name != archives.WHOLE] == [
        "train/a.png"
    ]


def test_what_a_call_killed_before_the_clean_up_has_left_goes_at_the_next(tiny_dataset, tmp_path):
    archive = zip_folder(tiny_dataset(), tmp_path / "all.zip")
    folder = archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    (folder.parent / "older").mkdir()
    assert archives.unpack_data(archive, tmp_path / "unpacked", progress=False) == folder
    assert list(folder.parent.iterdir()) == [folder]


def test_a_table_put_beside_a_whole_zip_and_taken_away_again_unpacks_no_image(tiny_dataset, tmp_path):
    data, download = tiny_dataset(), tmp_path / "download"
    download.mkdir()
    zip_folder(data, download / "all.zip")
    first = archives.unpack_data(download, tmp_path / "unpacked", progress=False)
    original = (first / "train.csv").read_text()
    (download / "train.csv").write_text("Id,Target\ntrain-0001,27\n")
    assert archives.unpack_data(download, tmp_path / "unpacked", progress=False) == first
    assert (first / "train.csv").read_text() == "Id,Target\ntrain-0001,27\n"
    (download / "train.csv").unlink()
    assert archives.unpack_data(download, tmp_path / "unpacked", progress=False) == first
    assert (first / "train.csv").read_text() == original


def test_a_table_in_an_inner_archive_is_read(tiny_dataset, tmp_path):
    data, packed = tiny_dataset(), tmp_path / "packed"
    packed.mkdir()
    (data / "train" / "train.csv").write_bytes((data / "train.csv").read_bytes())
    for part in ("train", "test"):
        zip_folder(data / part, packed / f"{part}.zip")
    (packed / "sample_submission.csv").write_bytes((data / "sample_submission.csv").read_bytes())
    unpacked = archives.unpack_data(zip_folder(packed, tmp_path / "all.zip"), tmp_path / "unpacked", progress=False)
    assert (unpacked / "train.csv").read_bytes() == (data / "train.csv").read_bytes()


def test_looking_at_other_archives_leaves_what_another_run_reads(tiny_dataset, tmp_path):
    first = archives.unpack_data(zip_folder(tiny_dataset(), tmp_path / "a.zip"), tmp_path / "unpacked", progress=False)
    other = zip_folder(tiny_dataset("other", seed=1), tmp_path / "b.zip")
    second = archives.unpack_data(other, tmp_path / "unpacked", progress=False, clean=False)
    assert first.is_dir() and second.is_dir() and first != second


def test_two_processes_unpack_one_archive_one_after_the_other(tiny_dataset, tmp_path):
    data = tiny_dataset(images=40)
    archive = zip_folder(data, tmp_path / "all.zip")
    script = (
        f"from hpa_lib.data import archives; archives.unpack_data({str(archive)!r}, {str(tmp_path / 'out')!r}, False)"
    )
    both = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    check_same(data, archives.unpack_data(archive, tmp_path / "out", progress=False))
