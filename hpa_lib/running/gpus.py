"""The GPUs of one machine, handed out one per training run, and the threads of a run without one."""

import contextlib
import getpass
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

SECONDS = 2  # between two looks for a free GPU


def list_gpus() -> list[str]:
    """The names of the GPUs that this process may use: those in ``CUDA_VISIBLE_DEVICES``, else all of NVIDIA's here."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


@contextlib.contextmanager
def claimed() -> Iterator[dict[str, str]]:
    """Hold one GPU of this machine, waiting for it where all are in use; the environment variable that names it.

    The operating system holds the lock and ends it with its process. Nothing is held or named without a GPU, and under
    SLURM, which hands GPUs out itself: each of its jobs may call its own the first.
    """
    names = [] if os.environ.get("SLURM_JOB_ID") else list_gpus()
    folder = Path(tempfile.gettempdir()) / f"hpa-gpus-{getpass.getuser()}"
    held = {name: filelock.FileLock(folder / f"{name}.lock") for name in names}
    if not names:
        yield {}
        return
    folder.mkdir(exist_ok=True)
    name = _wait_for_one(held)
    try:
        yield {"CUDA_VISIBLE_DEVICES": name}
    finally:
        held[name].release()


def _wait_for_one(held: dict[str, filelock.FileLock]) -> str:
    is_told = False
    while True:
        for name, lock in held.items():
            with contextlib.suppress(filelock.Timeout):
                lock.acquire(blocking=False)
                return name
        if not is_told:
            print(f"all {len(held)} GPUs are in use: waiting for one", flush=True)
            is_told = True
        time.sleep(SECONDS)


def thread_limits(threads: int) -> dict[str, str]:
    """The environment variables that keep a kernel to so many threads; 0 for no limit."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys(names, str(threads)) if threads else {}
