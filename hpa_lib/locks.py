"""Who may write: locks that the operating system ends with their process, however that ends.

A *step* is one notebook of one run set or, of the training notebooks, one run. Whoever works on a step holds its lock:
``hpa run`` for the notebook that it runs, a notebook that is run by hand (``claim``), ``hpa report``, ``hpa add-run``
and ``training.runs.fit``. Different steps of one run set work side by side; notebook 00, which makes the split that all
others read, works alone.
"""

import contextlib
import datetime
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock

from hpa_lib import store

DATA = "00_data"  # the notebook whose split all others read
HELD = "HPA_HELD"  # environment variable: the lock that hpa run holds for the notebook in this process
PATIENCE = 1  # seconds: another process that only looks whether a lock is held is soon gone
_claimed = contextlib.ExitStack()  # the step of the notebook in this process


class Locked(ValueError):
    """Another process holds the lock; the sentence says which one and since when."""


@contextlib.contextmanager
def lock(path: Path, what: str, wait: bool = False) -> Iterator[None]:
    """Keep all other processes out of a ``with`` block that takes the same lock.

    The file stays; a JSON file beside it says who holds the lock (on Windows a locked file itself cannot be read).

    Args:
        path: the lock's file, made when it is missing.
        what: what is kept for one process, as the subject of a sentence, such as ``"the cache out/cache/train_128"``.
        wait: print who holds the lock and wait for it, in place of refusing.

    Raises:
        Locked: another process holds it, and ``wait`` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held, holder = filelock.FileLock(path), path.with_name(f"{path.name}.json")
    try:
        held.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        sentence = f"{what} is in use by {_read_holder(holder)}"
        if not wait:
            remedy = "wait until it has ended, or stop it (in JupyterLab: restart its kernel)"
            raise Locked(f"{sentence}: {remedy}") from None
        print(f"{sentence}: waiting until it has ended", flush=True)
        held.acquire()
    except NotImplementedError:  # some network drives have no locks
        print(f"{path.parent} has no locks: start nothing twice there", flush=True)
    try:
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        store.save_json(path.parent, holder.name, {"process": os.getpid(), "host": platform.node(), "since": since})
        yield
    finally:
        holder.unlink(missing_ok=True)
        held.release()


def _read_holder(path: Path) -> str:
    try:
        return "process {process} on {host} since {since}".format(**store.load_json(path.parent, path.name))
    except (OSError, ValueError, KeyError):  # the lock was taken a moment ago
        return "another process"


def path_of(out: Path, notebook: str, run: str = "") -> Path:
    """The lock of a step: of a training ``run`` where there is one, else of the ``notebook`` (its name, no suffix)."""
    return Path(out) / ("runs" if run else "notebooks") / f".{run or notebook}.lock"


@contextlib.contextmanager
def step(out: Path, notebook: str, run: str = "") -> Iterator[None]:
    """Hold a step; nothing is locked where ``hpa run`` holds it for this process already.

    Raises:
        Locked: another process works on the same step, or on the data (notebook 00) that it reads; or this is notebook
            00, and another process works on any step of the run set.
    """
    path = path_of(out, notebook, run)
    if os.environ.get(HELD) == str(path):
        yield
        return
    with lock(path, f"run {run} of {out}" if run else f"{notebook} of {out}"):
        others = list_locks(out) if notebook == DATA else [path_of(out, DATA)]
        refuse_held(other for other in others if other != path)
        yield


def workflow(out: Path) -> contextlib.AbstractContextManager:
    """Hold a run set against a second workflow on it, and against what must not fall between two jobs of one."""
    return lock(Path(out) / ".grid.lock", f"the workflow of {out}")


def list_locks(out: Path) -> list[Path]:
    """The locks of all steps that a run set has seen, held or not."""
    return [*Path(out).glob("notebooks/.*.lock"), *Path(out).glob("runs/.*.lock")]


def refuse_held(paths: Iterable[Path]) -> None:
    """Raise ``Locked`` for the first of these locks that another process holds."""
    for path in filter(Path.exists, paths):
        probe = filelock.FileLock(path)
        try:
            probe.acquire(blocking=False)
        except filelock.Timeout:
            name, holder = path.stem.lstrip("."), _read_holder(path.with_name(f"{path.name}.json"))
            raise Locked(
                f"{name} of {path.parents[1]} is in use by {holder}, and this cannot work beside it: wait until it has "
                "ended, or stop it"
            ) from None
        probe.release()


def claim(out: Path, notebook: str) -> Path:
    """Hold a step for the notebook in this process until ``release``, another ``claim``, or the end of its kernel.

    Returns:
        ``out``.

    Raises:
        Locked: as ``step``.
    """
    _claimed.close()
    _claimed.enter_context(step(out, notebook))
    return out


def release() -> None:
    """Let others work on the step that this process has claimed."""
    _claimed.close()
