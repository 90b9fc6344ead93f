"""Decode once: all images of one part as a memory-mapped uint8 array (N, S, S, 4) with its manifest.

One cache is one folder, ``<cache_dir>/<part>_<size>``: ``images.npy`` and ``manifest.json`` (Ids, size, how it was
reduced, the stamp of its sources). It is built in a hidden folder beside it and moved into place whole, so a cache that
can be seen is complete; a build that was killed goes on where it stopped.

The environment variable ``HPA_CACHE`` names a folder of caches that many run sets share, which may be read-only. A
cache is then stored there as ``<part>_<size>-<12 hex digits>``, and the run set's own folder holds a manifest that
names it. Shared is what was made of the same files (name, length and date, in whatever folder) for the same Ids and
size: one data folder that all read, copies that keep the dates, or the same zip archives. A folder that each user draws
or copies anew does not share, nor does another choice of images (``MAX_IMAGES``, dropped ones).
"""

import collections
import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from hpa_lib import locks, store
from hpa_lib.data import disk, image_files, kaggle, parallel, png

VERSION = 1
BLOCK_BYTES = 2**24  # cached bytes between two marks of progress: what a kill can lose
CHUNK_BYTES = 2**22  # cached bytes that a process decodes and writes at once
WORTH_A_PROCESS = 2**26  # pixels of one channel; less is decoded before another process has started


def build(
    data: str | Path,
    ids: Iterable[str],
    part: str,
    size: int,
    cache_dir: str | Path,
    workers: int | None = None,
    progress: bool = True,
    absent: Iterable[str] = (),
) -> Path:
    """Make or complete the cache of one part; a finished one whose sources have not changed is used as it is.

    Args:
        data: a data folder in Kaggle's layout.
        ids: str (N,), the images in the order that the cache keeps.
        part: ``"train"`` or ``"test"``.
        size: side of the cached images in pixels, at most that of the sources.
        cache_dir: the folder that holds the caches.
        workers: processes that decode, fewer where there is little to do; by default one per core.
        absent: channels that the data set lacks (``kaggle.list_absent_channels``): the cache holds zeros for them.

    Returns:
        The cache's folder, for ``load``.

    Raises:
        ValueError: an image is unusable (``checks.check`` with this ``size`` finds it too), or there is none.
        OSError: the disk is too small; the sentence says how much is needed.
    """
    local = Path(cache_dir) / f"{part}_{size}"
    manifest = _describe(Path(data), list(map(str, ids)), part, size, list(absent))
    if _read_manifest(local) == manifest:
        return local
    make = functools.partial(_make, data=Path(data), manifest=manifest, workers=workers, progress=progress)
    with locks.lock(local.with_name(f".{local.name}.lock"), f"the cache {local}", wait=True):
        if _read_manifest(local) != manifest and not _share(local, manifest, make):
            make(local)
    return local


def build_all(data: Path, part_ids: dict[str, np.ndarray], sizes: list[int], cache_dir: Path, **options) -> None:
    """``build`` for all parts and sizes, when the disk has room for all of them; then ``remove_stale``.

    Args:
        data, cache_dir: as ``build``, and ``options`` too; it raises the same, before the first image is decoded.
        part_ids: ``"train"`` or ``"test"`` -> Ids, str (N,).
        sizes: sides in pixels, from ``list_sizes``.
    """
    absent, wanted = list(options.get("absent", ())), collections.Counter()
    for part, ids in part_ids.items():
        first = _describe(data, list(map(str, ids)), part, sizes[0], absent)
        for manifest in [first | {"size": size} for size in sizes]:
            local = Path(cache_dir) / f"{part}_{manifest['size']}"
            shared = _find_shared(manifest) or local
            if manifest not in (_read_manifest(local), _read_manifest(shared)):
                folder = shared if os.access(shared.parent, os.W_OK) else local
                wanted[folder.parent] += _count_bytes(folder, manifest)
    for folder, number in wanted.items():
        disk.need_space(folder, number, f"the caches of {', '.join(map(str, sizes))} px")
    for part, ids in part_ids.items():
        for size in sizes:
            build(data, ids, part, size, cache_dir, **options)
        remove_stale(data, ids, part, cache_dir, absent)


def _share(local: Path, manifest: dict, make: Callable[[Path], None]) -> bool:
    """Make ``local`` name the shared cache, which is built when it is missing; False where that cannot be."""
    shared = _find_shared(manifest)
    if shared is None:
        return False
    if _read_manifest(shared) != manifest:
        try:
            with locks.lock(shared.with_name(f".{shared.name}.lock"), f"the cache {shared}", wait=True):
                if _read_manifest(shared) != manifest:  # another process has made it meanwhile
                    make(shared)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            print(f"{shared} is not there and cannot be written: this cache is built in {local.parent}", flush=True)
            return False
    shutil.rmtree(local, ignore_errors=True)  # images of before
    store.save_json(local, "manifest.json", {"shared": shared})
    return True


def _find_shared(manifest: dict) -> Path | None:
    """The folder of this very cache in the one that HPA_CACHE names; None where that is not set."""
    if not os.environ.get("HPA_CACHE"):
        return None
    folder = Path(os.environ["HPA_CACHE"]).expanduser().resolve()
    if not folder.is_dir():
        raise ValueError(f"HPA_CACHE names {folder}, which is no folder: make it, or unset HPA_CACHE")
    digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return folder / f"{manifest['part']}_{manifest['size']}-{digest[:12]}"


def _make(final: Path, data: Path, manifest: dict, workers: int | None, progress: bool) -> None:
    """Decode into a hidden folder and move it into place; the caller holds the lock."""
    partial = final.with_name(f".{final.name}.partial")
    if _read_manifest(partial) != manifest:  # else a killed build goes on where it stopped
        shutil.rmtree(partial, ignore_errors=True)
        _start(partial, manifest)
    _fill(partial, data, manifest, workers or parallel.count_cores(), progress)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    (final / "done").unlink()


def remove_stale(data: str | Path, ids: Iterable[str], part: str, cache_dir: str | Path, absent: Iterable[str] = ()):
    """Remove the caches of a part, of any size, that hold other images than ``data`` has now; says which.

    A run that asks for such a size would learn from the pixels of before. Args: as ``build``.
    """
    ids, absent = list(map(str, ids)), list(absent)
    for folder in sorted(Path(cache_dir).glob(f"{part}_*")):
        manifest = _read_manifest(folder) or {"size": 1}
        is_shared = "-" in folder.name  # HPA_CACHE names this very folder: other run sets may use it
        if not is_shared and manifest != _describe(Path(data), ids, part, manifest["size"], absent):
            shutil.rmtree(folder)
            print(f"removed {folder}: its images have changed; run this notebook with that size if you need it")


def load(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A finished cache: ids str (N,) and images uint8 (N, S, S, 4), mapped from disk and not yet read.

    Raises:
        FileNotFoundError: there is no finished cache at ``path``.
        ValueError: its files do not belong together.
    """
    folder = locate(path)
    manifest = _read_manifest(folder)
    shape = (len(manifest["ids"]), manifest["size"], manifest["size"], 4)
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} cannot be read ({error}): delete it and run 00_data.ipynb") from None
    if images.shape != shape or images.dtype != np.uint8:
        raise ValueError(f"{folder} holds {images.shape} but its manifest says {shape}: delete it, run 00_data.ipynb")
    return np.array(manifest["ids"], str), images


def locate(path: str | Path) -> Path:
    """The folder with a finished cache's files: ``path`` or the shared one that it names; FileNotFoundError if none."""
    again = "run 00_data.ipynb with the same OUT and IMAGE_SIZE"
    try:
        manifest = json.loads((Path(path) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FileNotFoundError(f"{path} holds no finished cache: {again}") from None
    folder = Path(manifest.get("shared", path))
    if not (folder / "manifest.json").exists():
        raise FileNotFoundError(f"{path} names the shared cache {folder}, which is not there: {again}")
    return folder


def list_sizes(size: int, more: str = "") -> list[int]:
    """The sizes to cache: ``size`` and those in ``more`` (``MORE_SIZES``), separated by blanks or commas; each once."""
    sizes = more.replace(",", " ").split()
    if not all(text.isdecimal() and int(text) for text in sizes):
        raise ValueError(f"MORE_SIZES '{more}': write sides in pixels, such as '256 512'")
    return list(dict.fromkeys([size, *map(int, sizes)]))


def read_image(data: Path, part: str, image_id: str, size: int, absent: Iterable[str] = ()) -> np.ndarray:
    """One image from its four files, reduced by area averaging: uint8 (size, size, 4) in the order R, G, B, Y."""
    image = image_files.inspect_image(data, part, image_id, size, absent)
    for finding in image.findings:
        if finding.severity == "error":
            raise ValueError(kaggle.make_sentence(data, finding))
    merged = cv2.merge(image.channels)  # (H, W, 4)
    return merged if image.shape == (size, size) else cv2.resize(merged, (size, size), interpolation=cv2.INTER_AREA)


def _describe(data: Path, ids: list[str], part: str, size: int, absent: list[str]) -> dict:
    """The manifest of the cache to be: equal manifests mean equal caches."""
    if not ids:
        raise ValueError(f"no Ids to cache for part {part!r}: check the data folder {data}")
    if size < 1:
        raise ValueError(f"size {size}: use a side in pixels, such as 128")
    source = _stamp(data, ids, part, absent)
    how = {"version": VERSION, "part": part, "size": size, "resize": "area", "channels_missing": absent}
    return how | {"source": source, "ids": ids}


def _stamp(data: Path, ids: list[str], part: str, absent: list[str]) -> str:
    """A digest of the length and date of every source file: changes when one is replaced."""
    digest = hashlib.sha256()
    for image_id in ids:
        for path in kaggle.channel_paths(data, part, image_id):
            if path.stem.rpartition("_")[2] in absent:
                continue
            try:
                status = path.stat()
            except OSError as error:
                raise ValueError(f"{path} cannot be read ({error.strerror}): run `hpa check {data}`") from None
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read_manifest(folder: Path) -> dict | None:
    """What a cache holds, in its own folder or in the shared one that it names; None where there is none."""
    try:
        return json.loads((locate(folder) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _count_bytes(final: Path, manifest: dict) -> int:
    """The bytes that a cache still needs; a killed build has some of them."""
    partial = final.with_name(f".{final.name}.partial")
    done = int((partial / "done").read_text(encoding="utf-8") or 0) if _read_manifest(partial) == manifest else 0
    return (len(manifest["ids"]) - done) * 4 * manifest["size"] ** 2


def _start(partial: Path, manifest: dict) -> None:
    """Look at the free space, lay out the file, and write the manifest last, so that a half start is started again."""
    shape = (len(manifest["ids"]), manifest["size"], manifest["size"], 4)
    what = f"the {shape[0]} images of a cache {manifest['part']}_{manifest['size']}"
    disk.need_space(partial, int(np.prod(shape)), what, tell=False)
    partial.mkdir(parents=True)
    np.lib.format.open_memmap(partial / "images.npy", "w+", np.uint8, shape)  # the header, and the full length
    (partial / "done").write_text("0", encoding="utf-8")
    (partial / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _fill(partial: Path, data: Path, manifest: dict, workers: int, progress: bool) -> None:
    """Decode what is missing. Each process writes its own rows; here they are marked as done, in order."""
    ids, part, size = manifest["ids"], manifest["part"], manifest["size"]
    done = marked = int((partial / "done").read_text(encoding="utf-8") or 0)
    length = max(1, min(CHUNK_BYTES, BLOCK_BYTES) // (4 * size * size))  # images
    chunks = [(start, ids[start : start + length]) for start in range(done, len(ids), length)]
    workers = min(workers, 1 + _count_pixels(data, part, ids[done:]) // WORTH_A_PROCESS, max(1, len(chunks)))
    bar = parallel.bar(total=len(ids), initial=done, desc=f"cache {part}", unit="image", show=progress)
    source = (data, part, size, manifest["channels_missing"])
    task = functools.partial(_write_chunk, partial / "images.npy", len(ids), source)
    results = contextlib.closing(parallel.run(task, chunks, workers))
    with open(partial / "images.npy", "r+b") as file, bar, results as numbers:
        for number in numbers:
            done += number
            bar.update(number)
            if done == len(ids) or (done - marked) * 4 * size * size >= BLOCK_BYTES:
                os.fsync(file.fileno())  # what all processes wrote is on the disk before it is said to be
                store.write_atomic(partial / "done", functools.partial(Path.write_text, data=str(done)))
                marked = done


def _count_pixels(data: Path, part: str, ids: list[str]) -> int:
    """How many pixels per channel of all these images has, judged by the first one's; 0 where it cannot be read."""
    try:
        header = png.read_header(kaggle.channel_paths(data, part, ids[0])[0].read_bytes())
    except (IndexError, OSError, ValueError):
        return 0
    return len(ids) * header.width * header.height


def _write_chunk(file: Path, num_images: int, source: tuple, chunk: tuple[int, list[str]]) -> int:
    """Decode some images and write them to their rows of the file; how many they were.

    The file is written, not mapped: mapped pages would count as this process's memory and grow with N.
    """
    start, ids = chunk
    data, part, size, absent = source
    images = np.stack([read_image(data, part, image_id, size, absent) for image_id in ids])  # (B, S, S, 4)
    with open(file, "r+b") as stream:
        stream.seek((start - num_images) * images[0].nbytes, os.SEEK_END)  # the file has a header before the images
        stream.write(images.data)
    return len(ids)


def find_rows(cache_ids: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The row of each of ``ids`` str (N,), those of the split, in the cache (``cache_ids`` from ``load``), int (N,)."""
    return store.find_rows(cache_ids, ids, "ids of data/split.csv are not in the cache", "run 00_data.ipynb")
