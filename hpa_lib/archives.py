"""Kaggle's zip archives, unpacked safely: no file outside the target, no bomb, nothing half done.

Accepted: the whole download (``human-protein-atlas-image-classification.zip``), and a folder that holds ``train.zip``
and ``test.zip`` beside the two tables, as older downloads do.
"""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

MAX_BYTES = 200 * 2**30  # unpacked; the competition's PNGs are 14 GB
MAX_RATIO = 200  # unpacked / packed bytes of one file; real PNGs have about 1
SMALL = 2**20  # bytes below which the ratio says nothing (blank images, tables)
SUFFIXES = (".png", ".csv", ".json", ".zip")
PARTS = ("train", "test")


def unpack_data(data: str | Path, target: str | Path, progress: bool = True) -> Path:
    """The folder to read: ``data`` itself when it is unpacked already, else ``target`` with its archives unpacked.

    Args:
        data: a folder in Kaggle's layout, one with ``train.zip`` / ``test.zip``, or the downloaded zip.
        target: where to unpack; made when needed. An unpacked ``target`` of the same archives is used again.
        progress: show a bar.

    Raises:
        ValueError: an archive is damaged, reaches outside its target, or unpacks to an absurd size.
        OSError: the disk is too small; the sentence says how much is needed.
    """
    data, target = Path(data), Path(target)
    jobs = _jobs(data)
    if not jobs:
        return data
    stamp = " ".join(f"{archive.name}:{archive.stat().st_size}:{archive.stat().st_mtime_ns}" for archive, _ in jobs)
    mark = target / ".unpacked"
    if mark.exists() and mark.read_text(encoding="utf-8") == stamp:
        return target
    for archive, folder in jobs:
        unpack(archive, target / folder, progress=progress)
    for part in PARTS:  # archives inside the archive
        inner = target / f"{part}.zip"
        if inner.exists():
            unpack(inner, target / part, progress=progress)
            inner.unlink()
    if data.is_dir():
        _complete(data, target)
    mark.write_text(stamp, encoding="utf-8")
    return target


def _complete(data: Path, target: Path) -> None:
    """Put what is not in an archive, tables and a part that is unpacked already, beside the unpacked parts."""
    for table in data.glob("*.csv"):
        shutil.copyfile(table, target / table.name)
    for part in PARTS:
        if (data / part).is_dir() and not (target / part).exists():
            (target / part).symlink_to(data / part, target_is_directory=True)


def unpack(archive: str | Path, target: str | Path, max_bytes: int = MAX_BYTES, progress: bool = True) -> int:
    """Unpack the images and tables of one zip into ``target``; how many files that were.

    One folder that wraps everything (``train/`` in ``train.zip``) is taken off. Everything is looked at before the
    first byte is written; files that lie there in full length are not written again, so a killed run can go on.

    Raises: as ``unpack_data``.
    """
    archive, target = Path(archive), Path(target)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _safe_members(archive, opened, target.name)
            total = _check_size(archive, target, members, max_bytes)
            bar = tqdm(
                total=total,
                desc=f"unpack {archive.name}",
                unit="B",
                unit_scale=True,
                mininterval=2,
                disable=not progress,
            )
            with bar:
                for info, name in members:
                    _write_member(opened, info, target / name)
                    bar.update(info.file_size)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error}): download it again") from None
    return len(members)


def _jobs(data: Path) -> list[tuple[Path, str]]:
    """Archives to unpack and the folder each goes to, relative to the target."""
    if data.is_file():
        return [(data, "")]
    return [
        (data / f"{part}.zip", part)
        for part in PARTS
        if (data / f"{part}.zip").is_file() and not (data / part).is_dir()
    ]


def _safe_members(archive: Path, opened: zipfile.ZipFile, wrapper: str) -> list[tuple[zipfile.ZipInfo, str]]:
    """The files to unpack and the relative path of each; refuses the archive for any path that is not plain."""
    members = []
    for info in opened.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in info.filename or "\0" in info.orig_filename:
            raise ValueError(f"{archive} holds the path {info.filename!r}, outside its folder: do not use this archive")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"{archive} holds the link {info.filename!r}: do not use this archive")
        hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
        if not info.is_dir() and not hidden and name.suffix.lower() in SUFFIXES:
            members.append((info, name))
    tops = {name.parts[0] if len(name.parts) > 1 else "" for _, name in members}
    wrapped = len(tops) == 1 and not tops & {"", *PARTS} - {wrapper}
    return [(info, str(PurePosixPath(*name.parts[1:]) if wrapped else name)) for info, name in members]


def _check_size(archive: Path, target: Path, members: list, max_bytes: int) -> int:
    """The bytes that the members unpack to; refuses bombs and too small a disk."""
    for info, _ in members:
        if info.file_size > max(SMALL, MAX_RATIO * info.compress_size):
            sizes = f"{info.compress_size} into {info.file_size} bytes"
            raise ValueError(f"{archive}: {info.filename!r} claims to unpack {sizes}: do not use this archive")
    total = sum(info.file_size for info, _ in members)
    if total > max_bytes:
        raise ValueError(
            f"{archive} unpacks to {total / 1e9:.1f} GB, more than {max_bytes / 1e9:.1f}: is it the right one?"
        )
    existing = next(folder for folder in (target, *target.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if total > free:
        raise OSError(f"{archive} needs {total / 1e9:.1f} GB but {existing} has {free / 1e9:.1f} GB free: make room")
    return total


def _write_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Write one member beside its place and move it there; the zip module stops at the size the archive claims."""
    if path.exists() and path.stat().st_size == info.file_size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with opened.open(info) as source, open(temporary, "wb") as copy:
        shutil.copyfileobj(source, copy)
    os.replace(temporary, path)
