"""Kaggle's zip archives, unpacked safely: no file outside the target, no bomb, nothing half done, nothing stale.

Accepted: the whole download (``human-protein-atlas-image-classification.zip``), a folder that holds it, and a folder
that holds ``train.zip`` and ``test.zip`` beside the tables, as older downloads do. Images are unpacked once, into a
folder named by what the archives say they hold; tables beside the archives are copied at every call.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from hpa_lib import atlas, locks, store
from hpa_lib.data import csv_rows, disk, parallel

MAX_BYTES = 200 * 2**30  # unpacked; the competition's PNGs are 14 GB
MAX_RATIO = 200  # unpacked / packed bytes of one file; real PNGs have about 1
SMALL = 2**20  # bytes below which the ratio says nothing (blank images, tables)
INNER = tuple(f"{part}.zip" for part in atlas.IMAGE_FOLDERS)
TABLES = ("train.csv", "sample_submission.csv", "groups.csv", "synthetic.json")
WHOLE = ".whole"  # the mark of a folder in which everything is unpacked
PACKED = ".packed"  # the tables as they are in the archives; those beside the archives win


def unpack_data(data: str | Path, target: str | Path, progress: bool = True, clean: bool = True) -> Path:
    """The folder to read: ``data`` itself when it is unpacked already, else one in ``target`` with what it holds.

    Changed archives are unpacked into a new folder, and the older one is removed when the new one is whole; a killed
    call goes on where it stopped. Tables beside the archives win over those in them, and are copied at every call.

    Args:
        data: a folder in Kaggle's layout, one with the archives, or the downloaded zip.
        target: the folder of the unpacked folders; made when needed, and nothing else may be in it.
        progress: say what will be unpacked, and show a bar.
        clean: remove what earlier archives have left in ``target``.

    Raises:
        ValueError: an archive is damaged, reaches outside its target, or unpacks to an absurd size.
        OSError: the disk is too small; the sentence says how much is needed.
    """
    data, target = Path(data).expanduser(), Path(target)
    members = {archive: list_members(archive, part) for archive, part in find_archives(data).items()}
    if not members:
        return data
    folder = target / _stamp(members)
    with locks.lock(target.with_name(f".{target.name}.lock"), f"the folder of unpacked archives {target}", wait=True):
        if not (folder / WHOLE).exists():
            _unpack(members, folder, progress)
            inner = {folder / f"{part}.zip": part for part in atlas.IMAGE_FOLDERS if (folder / f"{part}.zip").exists()}
            _unpack({archive: list_members(archive, part) for archive, part in inner.items()}, folder, progress)
            for archive in inner:
                archive.unlink()
            (folder / WHOLE).touch()
        for older in set(target.iterdir()) - {folder} if clean else ():  # also what a killed call has left
            shutil.rmtree(older) if older.is_dir() else older.unlink()
        _take_loose(data, folder)
    return folder


def list_members(archive: Path, part: str = "") -> dict[str, zipfile.ZipInfo]:
    """The images, tables and inner archives of a zip: where each belongs (``train/<Id>_red.png``) -> its entry.

    Folders that wrap ``train`` and ``test`` are taken off. Everything is looked at before the first byte is written.
    ``part`` is what all its images belong to; ``""``: what the folders in it say.

    Raises: as ``unpack_data``.
    """
    members = {}
    with _open(archive) as opened:
        for info in opened.infolist():
            _check_member(archive, info)
            name = _place(archive, PurePosixPath(info.filename.replace("\\", "/")), part) if not info.is_dir() else ""
            if name and members.setdefault(name, info) is not info:
                first = members[name].filename
                raise ValueError(f"{archive} holds {first!r} and {info.filename!r}: unpack it and keep one of them")
    if not members:
        raise ValueError(f"{archive} holds no PNG in {part or 'train or test'}: name the competition's download")
    return members


def find_archives(data: Path) -> dict[Path, str]:
    """The archives to unpack of a data folder or zip, and the part that each holds (``""``: all of them)."""
    if data.is_file():
        return {data: ""}
    packed = {data / f"{part}.zip": part for part in atlas.IMAGE_FOLDERS if not any((data / part).glob("*.png"))}
    found = {path: part for path, part in packed.items() if path.is_file()}
    if found or any((data / part).is_dir() for part in atlas.IMAGE_FOLDERS):
        return found
    whole = [path for path in data.glob("*.zip") if not path.name.endswith(".csv.zip")]
    return {whole[0]: ""} if len(whole) == 1 else {}


def _check_member(archive: Path, info: zipfile.ZipInfo) -> None:
    """Refuse the archive for a path that is not plain, a link, or a member that unpacks to an absurd size."""
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in info.filename or "\0" in info.orig_filename:
        raise ValueError(f"{archive} holds the path {info.filename!r}, outside its folder: do not use this archive")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ValueError(f"{archive} holds the link {info.filename!r}: do not use this archive")
    if info.file_size > max(SMALL, MAX_RATIO * info.compress_size):
        sizes = f"{info.compress_size} into {info.file_size} bytes"
        raise ValueError(f"{archive}: {info.filename!r} claims to unpack {sizes}: do not use this archive")


def _place(archive: Path, path: PurePosixPath, part: str) -> str:
    """Where a member belongs in Kaggle's layout; ``""`` for what is not wanted."""
    if any(name.startswith((".", "__MACOSX")) for name in path.parts):
        return ""
    if path.name.removesuffix(".zip") in TABLES:
        return f"{PACKED}/{path.name}"
    if path.name in INNER and not part:
        return path.name
    if path.suffix.lower() != ".png":
        return ""
    said = next((name for name in reversed(path.parts[:-1]) if name in atlas.IMAGE_FOLDERS), part)
    if part and said != part:
        raise ValueError(f"{archive} holds the folder {said!r}: name the archive {said}.zip")
    return f"{said}/{path.stem}.png" if said else ""


def _stamp(members: dict) -> str:
    """Sixteen hex digits that change with any name, size or checksum in the archives' directories."""
    lines = [f"{name} {info.file_size} {info.CRC}" for files in members.values() for name, info in files.items()]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _unpack(members: dict, folder: Path, progress: bool) -> None:
    """Write what is not in the folder yet, after a look at the free space."""

    def is_missing(name: str, info: zipfile.ZipInfo) -> bool:  # files are moved into place whole
        return not (folder / name).exists() or (folder / name).stat().st_size != info.file_size

    missing = {
        archive: {name: info for name, info in files.items() if is_missing(name, info)}
        for archive, files in members.items()
    }
    # What an inner archive holds takes about its own size once more.
    total = sum(info.file_size * (1 + (name in INNER)) for files in missing.values() for name, info in files.items())
    names = ", ".join(archive.name for archive in members)
    if total > MAX_BYTES:
        raise ValueError(
            f"{names} unpacks to {disk.show_bytes(total)}, more than {disk.show_bytes(MAX_BYTES)}: is it the right one?"
        )
    if total:
        disk.need_space(folder, total, f"the files in {names}", tell=progress)
    for archive, files in missing.items():
        bar = parallel.bar(files.items(), desc=archive.name, unit="file", show=progress)
        with _open(archive) as opened:
            for name, info in bar:
                store.write_atomic(folder / name, functools.partial(_copy, opened, info))


def _copy(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    with opened.open(info) as source, open(path, "wb") as file:  # the zip module stops at the size that is claimed
        shutil.copyfileobj(source, file)
    os.utime(path, (info.CRC >> 1, info.CRC >> 1))  # the same file has the same date wherever it is unpacked: see cache


def _take_loose(data: Path, folder: Path) -> None:
    """Copy the tables, those beside the archives before those in them, and link a part that is unpacked already."""
    for table in TABLES:
        found = [csv_rows.find(place / table) for place in (data, folder / PACKED)]
        chosen = next((path for path in found if path.is_file()), None)
        for name in {table, f"{table}.zip"} - {chosen and chosen.name}:
            (folder / name).unlink(missing_ok=True)
        if chosen:
            store.write_atomic(folder / chosen.name, functools.partial(shutil.copyfile, chosen))
    for part in atlas.IMAGE_FOLDERS:
        if (folder / part).is_symlink():
            (folder / part).unlink()
        if not (folder / part).exists() and (data / part).is_dir():
            (folder / part).symlink_to(data / part, target_is_directory=True)


@contextlib.contextmanager
def _open(archive: Path):
    """A zip archive; what goes wrong with it, here or while it is read, is told in one sentence."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except NotImplementedError as error:
        raise ValueError(f"{archive} cannot be unpacked here ({error}): unpack it with `unzip` or 7-Zip") from None
    except RuntimeError as error:
        raise ValueError(f"{archive} cannot be unpacked ({error}): unpack it with its password") from None
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        remedy = "download it again"
        with open(archive, "rb") as file:
            if file.read(2) != b"PK":
                remedy = "it is no zip archive; name the data folder, and unpack other archives with their own program"
        raise ValueError(f"{archive} cannot be unpacked ({error}): {remedy}") from None
