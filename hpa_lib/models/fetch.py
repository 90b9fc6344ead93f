"""Downloads of weight files: whole and checked, or not at all."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hpa_lib import store

TIMEOUT = 30  # seconds without an answer


def from_address(address: str, target: Path, checksum: str = "") -> Path:
    """Download ``address`` to ``target``; a broken or wrong download leaves no file.

    Args:
        address: an https, http or file address.
        target: where the file goes; its folder is made.
        checksum: ``"sha256:..."`` or ``"md5:..."`` when one is known, else ``""``.

    Raises:
        ConnectionError: the address cannot be reached or the download broke off.
        ValueError: the checksum does not fit.
    """

    def write(path: Path) -> None:
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT) as response, path.open("wb") as file:
                shutil.copyfileobj(response, file)
                expected = int(response.headers.get("Content-Length") or path.stat().st_size)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise ConnectionError(f"{address} cannot be downloaded ({error}): fetch it by hand to {target}") from error
        if path.stat().st_size != expected:
            raise ConnectionError(f"{address} broke off after {path.stat().st_size} of {expected} bytes: try again")

    return _place(target, write, checksum)


def from_hub(repository: str, file_name: str, target: Path) -> Path:
    """Download one file of a Hugging Face repository to ``target``, held against the hub's own SHA-256.

    Raises:
        ConnectionError: the hub cannot be reached.
        ValueError: the checksum does not fit.
    """
    import huggingface_hub  # slow to import, and needed only here

    try:
        address = huggingface_hub.hf_hub_url(repository, file_name)
        checksum = huggingface_hub.get_hf_file_metadata(address, timeout=TIMEOUT).etag or ""
        cached = huggingface_hub.hf_hub_download(repository, file_name)
    except Exception as error:  # the hub's client raises its own, requests' and httpx' errors
        raise ConnectionError(f"{repository} cannot be fetched from the hub ({error}): copy it to {target}") from error
    known = f"sha256:{checksum}" if len(checksum) == 64 else ""  # large files carry their SHA-256 as the etag
    return _place(target, lambda path: shutil.copyfile(cached, path), known)


def check(path: Path, checksum: str) -> None:
    """Nothing, or a ValueError when the file's checksum (``"sha256:..."`` or ``"md5:..."``) is another."""
    algorithm, _, expected = checksum.partition(":")
    with Path(path).open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise ValueError(f"{path} has {algorithm} {found}, not {expected}: delete it and fetch it again")


def _place(target: Path, write: Callable[[Path], object], checksum: str) -> Path:
    def write_checked(path: Path) -> None:
        write(path)
        if checksum:
            check(path, checksum)

    return store.write_atomic(target, write_checked)
