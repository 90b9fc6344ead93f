"""What a result was made with, and what it took: versions of packages, the code's git commit, memory."""

import contextlib
import datetime
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = (  # those that a result depends on
    "hpa-kit keras tensorflow jax numpy pandas scipy scikit-learn imgaug opencv-python-headless papermill ipykernel"
)
GIT_SECONDS = 30  # a repository on a slow network drive must not hold up a run


def now() -> str:
    """The time in UTC, such as ``2026-11-26T14:10:22+00:00``."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """The versions of Python and of the installed ``PACKAGES``, and the code's ``commit`` (or ``"unknown"``)."""
    found = {}
    for package in PACKAGES.split():
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return {"python": platform.python_version(), **found, "commit": commit() or "unknown"}


def commit() -> str | None:
    """The code's git commit, with ``+changes`` where tracked files differ from it; None where git does not tell."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run([*command, "--dirty=+changes"], capture_output=True, text=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def peak_memory_mb() -> int | None:
    """The largest resident memory of this process so far, in MB (main memory, not the GPU's); None on Windows."""
    try:
        import resource  # Unix only
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB on Linux
    return largest // (2**20 if sys.platform == "darwin" else 2**10)


def peak_memory_mb_of(process: int) -> int | None:
    """The same of another process, by its number (Linux's VmHWM); None on other systems and when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), None)
