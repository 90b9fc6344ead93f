"""What a result was made with: versions of packages and the git commit of the code."""

import contextlib
import subprocess
from importlib import metadata
from pathlib import Path

GIT_SECONDS = 30  # a repository on a slow network drive must not hold up a run


def version(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def commit() -> str | None:
    """The code's git commit, with ``+changes`` where tracked files differ from it; None where git does not tell."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run([*command, "--dirty=+changes"], capture_output=True, text=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
