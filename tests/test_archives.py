"""Archives are unpacked whole or not at all, and never outside their target."""

import stat
import zipfile

import pytest

from hpa_lib import archives, checks, dataset


def zip_folder(folder, archive, prefix=""):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                opened.write(path, prefix + str(path.relative_to(folder)))
    return archive


def check_same(data, unpacked):
    assert dataset.fingerprint(unpacked) == dataset.fingerprint(data)
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


def test_an_unpacked_folder_is_used_as_it_is(tiny_dataset, tmp_path):
    data = tiny_dataset()
    assert archives.unpack_data(data, tmp_path / "unpacked") == data
    assert not (tmp_path / "unpacked").exists()


def test_a_second_run_unpacks_nothing_and_a_killed_one_goes_on(tiny_dataset, tmp_path, monkeypatch):
    data = tiny_dataset()
    archive = zip_folder(data, tmp_path / "all.zip")
    write, written = archives._write_member, []

    def stop_at_tenth(opened, info, path):
        written.append(path)
        if len(written) == 10:
            raise KeyboardInterrupt
        write(opened, info, path)

    monkeypatch.setattr(archives, "_write_member", stop_at_tenth)
    with pytest.raises(KeyboardInterrupt):
        archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    monkeypatch.setattr(archives, "_write_member", write)
    first = next((tmp_path / "unpacked").rglob("*.png"))
    before = first.stat().st_mtime_ns
    check_same(data, archives.unpack_data(archive, tmp_path / "unpacked", progress=False))
    assert first.stat().st_mtime_ns == before
    monkeypatch.setattr(archives, "unpack", lambda *_, **__: pytest.fail("unpacked again"))
    archives.unpack_data(archive, tmp_path / "unpacked", progress=False)


@pytest.mark.parametrize(
    "name", ["../evil.png", "train/../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\evil.png"]
)
def test_paths_that_reach_outside_are_refused_before_anything_is_written(tmp_path, name):
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("train/good.png", b"x")
        opened.writestr(name, b"x")
    with pytest.raises(ValueError, match=r"bad\.zip holds the path .* outside its folder: do not use this archive"):
        archives.unpack(archive, tmp_path / "target", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_links_are_refused(tmp_path):
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        link = zipfile.ZipInfo("train/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="holds the link 'train/link.png'"):
        archives.unpack(archive, tmp_path / "target", progress=False)


def test_bombs_are_refused(tmp_path):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("train/a.png", bytes(5_000_000))
    with pytest.raises(ValueError, match="claims to unpack .* into 5000000 bytes: do not use this archive"):
        archives.unpack(archive, tmp_path / "target", progress=False)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("train/a.png", bytes(3000))
    with pytest.raises(ValueError, match=r"unpacks to 0\.0 GB, more than 0\.0"):
        archives.unpack(archive, tmp_path / "target", max_bytes=2000, progress=False)


def test_too_small_a_disk_is_told(tmp_path, monkeypatch):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("train/a.png", bytes(3000))
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="has 0.0 GB free: make room"):
        archives.unpack(archive, tmp_path / "target", progress=False)


def spoil_the_end(content):
    return content[:-30]


def spoil_the_middle(content):
    return content[:60] + b"\xff" * 40 + content[100:]


@pytest.mark.parametrize("spoil", [spoil_the_end, spoil_the_middle, lambda _: b"not a zip"])
def test_a_damaged_archive_is_told(tiny_dataset, tmp_path, spoil):
    archive = zip_folder(tiny_dataset(images=1, test_images=0), tmp_path / "all.zip")
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(ValueError, match=r"all\.zip cannot be unpacked \(.*\): download it again"):
        archives.unpack_data(archive, tmp_path / "unpacked", progress=False)
    assert not (tmp_path / "unpacked" / ".unpacked").exists()


def test_other_files_and_hidden_ones_are_left_in_the_archive(tmp_path):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("train/a.png", "train/run.sh", "__MACOSX/train/._a.png", "train/.hidden.png"):
            opened.writestr(name, b"x")
    assert archives.unpack(archive, tmp_path / "target", progress=False) == 1
    assert [str(path.relative_to(tmp_path / "target")) for path in (tmp_path / "target").rglob("*.*")] == [
        "train/a.png"
    ]
