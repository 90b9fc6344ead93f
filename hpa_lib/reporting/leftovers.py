"""What a run set can do without: unused caches, unpacked archives, checkpoints of finished runs, half-written files.

Never listed are probabilities, networks, tables and figures, and whatever a link leads to.
"""

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Set
from pathlib import Path

from hpa_lib import store
from hpa_lib.data import archives, cache

MARKS = ("data/dataset.json", "data/split.csv", "notebooks/*.json", "runs/*/result.json")  # a run set has one of them
CACHED = re.compile(r"(features_)?(train|test)_(\d+)(\.npz)?")  # in cache/; what is shared has longer names
STALE = 600  # seconds: what is half written and of this age has lost its writer


def find(out: Path) -> list[tuple[int, Path, str]]:
    """All that can be deleted of a run set, the largest first: bytes, path, and why, with what that costs later.

    Raises:
        ValueError: ``out`` is no run set, or one of its records is damaged.
    """
    if not any(any(out.glob(mark)) for mark in MARKS):
        raise ValueError(f"{out} is no run set: name a folder in which notebook 00 or `hpa run` has written")
    reasons = dict([*_find_caches(out), *_find_unpacked(out), *_find_checkpoints(out)])
    reasons |= _find_half_written(out, reasons.keys())
    paths = [path for path in reasons if path.parent.resolve().is_relative_to(out.resolve()) and not path.is_symlink()]
    return sorted(((_measure(path), path, reasons[path]) for path in paths), reverse=True)


def remove(path: Path) -> None:
    """Delete a file or folder. A folder is renamed first: half deleted, it must not be taken for a whole one."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    hidden = path.with_name(f".{uuid.uuid4().hex[:8]}.part.{path.name}")  # found again, should this be stopped
    os.replace(path, hidden)
    shutil.rmtree(hidden)


def _find_caches(out: Path) -> Iterator[tuple[Path, str]]:
    """Caches and features of a size that neither notebook 00 nor any run used last, and caches of older images."""
    if not (out / "data" / "dataset.json").exists() or not (out / "data" / "split.csv").exists():
        return
    records = [*out.glob("runs/*/result.json"), *out.glob("runs/*/checkpoints/state.json")]
    records = [store.load_json(path.parent, path.name) for path in records]
    used = {record.get("image_size", record.get("settings", {}).get("image_size")) for record in records}
    used.add(store.load_json(out, "data/dataset.json").get("image_size"))
    split_ids = set(store.load_split(out)[0])
    for path in out.glob("cache/*"):
        name = CACHED.fullmatch(path.name)
        if name and int(name[3]) not in used:
            again = "notebook 01b measures them again" if name[1] else "notebook 00 builds it again (MORE_SIZES)"
            yield path, f"no run uses {name[3]} px; {again}"
        elif name and name[2] == "train" and not name[1]:
            with contextlib.suppress(OSError, ValueError):  # ``cache.load`` says what to do with it
                if not split_ids <= set(cache.load(path)[0]):
                    yield path, "lacks images of data/split.csv; notebook 00 builds it anew in any case"


def _find_unpacked(out: Path) -> Iterator[tuple[Path, str]]:
    folder = out / "cache" / "unpacked"
    if folder.exists() and (out / "data" / "dataset.json").exists():
        data = store.load_json(out, "data/dataset.json").get("path")
        if data and archives.find_archives(Path(data)):
            yield folder, f"{data} is still packed; notebooks 00 and 06 unpack it again"


def _find_checkpoints(out: Path) -> Iterator[tuple[Path, str]]:
    """The weights beside ``model.keras``, where that holds the best ones of the training that they are left of."""
    for path in out.glob("runs/*/result.json"):
        folder, result = path.parent, store.load_json(path.parent, "result.json")
        if not all((folder / name).exists() for name in ("model.keras", "checkpoints/state.json")):
            continue
        state = store.load_json(folder, "checkpoints/state.json")
        scores = {row["epoch"]: row["val_macro_ap"] for row in state["history"]}
        if state["finished"] and scores.get(result["best_epoch"]) == result["val_macro_ap"]:  # else of a newer training
            for weights in [*folder.glob("checkpoints/*.weights.h5"), *folder.glob("head/checkpoints/*.weights.h5")]:
                yield weights, "the run is finished; run again, it is found and loads model.keras"


def _find_half_written(out: Path, known: Set[Path]) -> dict[Path, str]:
    """What killed writers and builders left behind, outside the folders that are known already."""
    found = {}
    for folder, folders, files in os.walk(out):
        for path in [Path(folder) / name for name in [*folders, *files]]:
            is_build = path.name.startswith(".") and path.name.endswith(".partial")
            if is_build or re.match(r"\.[0-9a-f]{8}\.part\.", path.name):
                again = "notebook 00 begins it anew in place of going on" if is_build else "nothing needs it"
                if path not in known and time.time() - path.lstat().st_mtime > STALE:
                    found[path] = f"was stopped half-way; {again}"
        folders[:] = [name for name in folders if Path(folder) / name not in known | found.keys()]
    return found


def _measure(path: Path) -> int:
    """The bytes of a file or of all files in a folder; links count as links."""
    files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    return sum(file.lstat().st_size for file in files or [path])
