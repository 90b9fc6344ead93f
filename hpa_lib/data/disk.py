"""Is there room on the disk for what is to be written? Told, and asked, before long work begins."""

import shutil
from pathlib import Path

SPARE = 2**28  # bytes that must stay free, for what else is written meanwhile


def need_space(folder: Path, wanted: int, what: str, tell: bool = True) -> None:
    """Print what is needed and what is free on a folder's disk; an OSError where it does not fit. Quotas are not seen.

    Args:
        folder: where it will be written; need not exist yet.
        wanted: bytes.
        what: the subject of both sentences, in the plural, such as ``"the files in all.zip"``.
        tell: print the sentence also where it fits.
    """
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if wanted + SPARE > free:
        raise OSError(
            f"{what} need {show_bytes(wanted)} and {show_bytes(SPARE)} to spare, but {existing} has "
            f"{show_bytes(free)} free: make room, choose another folder, or fewer or smaller images"
        )
    if tell:
        print(f"{what} need {show_bytes(wanted)}; {existing} has {show_bytes(free)} free", flush=True)


def show_bytes(number: int) -> str:
    """A number of bytes as text, such as ``81.1 MB`` (10^6 bytes)."""
    power = min((len(str(number)) - 1) // 3, 4)
    return f"{number / 1000**power:.1f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}" if power else f"{number} bytes"
