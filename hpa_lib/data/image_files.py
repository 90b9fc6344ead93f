"""The files of one image: whether they can be used, what is wrong with them, and their pixels.

``inspect_image`` reads Kaggle's four PNGs, ``read_foreign`` a PNG, TIFF or JPEG of others for ``import_images``.
"""

import io
import logging
import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile

from hpa_lib import atlas
from hpa_lib.data import kaggle, layout, png
from hpa_lib.data.kaggle import Finding

NAME = re.compile(rf"(.+)_({'|'.join(atlas.CHANNELS)})\.png")
REMEDIES = {
    "missing": "add the missing files or go on without this image; 'rgb' needs the files of red, green and blue, "
    "'rgby' and 'rgb_merge' those of yellow too",
    "link": "fetch the file it names (`git annex get`, `dvc pull`, `datalad get`), or go on without this image",
    "damaged": "copy, download or export it again, or go on without this image",
    "form": "export each channel as its own 8-bit grey PNG, or go on without this image",
    "shape": "export the four channels alike, or go on without this image",
    "kept": "nothing to do: kept",
}


class Image(NamedTuple):
    """One image as ``inspect_image`` found it."""

    channels: list[np.ndarray]  # uint8 (H, W) in the order R, G, B, Y; [] when only headers were read
    shape: tuple[int, int] | None  # width and height in pixels, where the four files agree
    findings: list[Finding]


def inspect_image(
    folder: str | Path, part: str, image_id: str, size: int = 0, absent: Iterable[str] = (), quick: bool = False
) -> Image:
    """One image and all that is wrong with it. This alone decides whether an image can be used.

    Args:
        folder: a data folder in Kaggle's layout.
        part: ``"train"`` or ``"test"``.
        size: pixels per side that the image must have at least; 0 takes any.
        absent: channels that the data set lacks (``kaggle.list_absent_channels``): zeros, and no finding.
        quick: read headers only: nothing about damage further down, and no pixels.
    """
    opened, findings, missing = {}, [], []
    for color, path in zip(atlas.CHANNELS, kaggle.channel_paths(folder, part, image_id), strict=True):
        if color in absent:
            continue
        if not os.path.lexists(path):
            missing.append(color)
            continue
        problem, remedy, severity, opened[color] = _open_channel(path, color == "green", quick)
        if problem:
            findings.append(Finding(f"{part}/{path.name}", problem, REMEDIES[remedy], severity, part, image_id))
    good = {color: channel for color, channel in opened.items() if channel}
    problem, remedy = _compare_channels(good, missing, size)
    if problem:
        findings.append(Finding(f"{part}/{image_id}_*.png", problem, remedy, "error", part, image_id))
    shapes = {channel.shape for channel in good.values()}
    shape = shapes.pop() if len(shapes) == 1 else None
    if quick or not shape or len(good) < len(atlas.CHANNELS) - len(list(absent)):
        return Image([], shape, findings)
    blank = np.zeros(shape[::-1], np.uint8)
    channels = [opened[color].pixels if color in opened else blank for color in atlas.CHANNELS]
    return Image(channels, shape, findings)


def list_ids(folder: Path) -> list[str]:
    """The Ids of all images with a channel file ``<Id>_<colour>.png`` in a folder, sorted.

    Raises:
        ValueError: there is no such file; the sentence says what is there in its place.
    """
    ids = _match_ids(folder)
    if not ids:
        inside = [folder / part for part in ("test", "train") if _match_ids(folder / part)]
        usual = ("", f"name {inside[0]}, which does" if inside else "name the folder that holds them")
        found, remedy = layout.explain_part(folder.parent, folder.name) or usual
        problem = "holds no images of the form <Id>_red.png, <Id>_green.png, <Id>_blue.png, <Id>_yellow.png"
        raise ValueError(f"{folder} {problem}{', but ' + found if found else ''}: {remedy}")
    return sorted(ids)


def _match_ids(folder: Path) -> set[str]:
    return {match[1] for match in map(NAME.fullmatch, kaggle.list_files(folder)) if match}


def read_images(
    folder: Path, part: str, size: int, absent: Iterable[str], ids: Iterable[str]
) -> tuple[list[str], np.ndarray, list[Finding]]:
    """Those of ``ids`` that can be used, their images uint8 (B, size, size, 4), and what was found about all of them.

    Args: as ``inspect_image``; ``ids`` is last, so that the others can be bound.
    """
    usable, images, findings = [], [], []
    for image_id in ids:
        channels, _, found = inspect_image(folder, part, image_id, size, absent)
        findings += found
        if all(finding.severity != "error" for finding in found):
            usable.append(image_id)
            images.append(reduce(channels, size))
    return usable, np.array(images, np.uint8).reshape(-1, size, size, 4), findings


def reduce(channels: list[np.ndarray], size: int) -> np.ndarray:
    """Four square channels, uint8 (H, H), as one image uint8 (size, size, 4), reduced by area averaging."""
    merged = cv2.merge(channels)
    return merged if len(merged) == size else cv2.resize(merged, (size, size), interpolation=cv2.INTER_AREA)


class _Channel(NamedTuple):
    data: bytes
    shape: tuple[int, int]  # width, height
    pixels: np.ndarray | None  # None when only the header was read


def _open_channel(path: Path, is_green: bool, quick: bool) -> tuple[str, str, str, _Channel | None]:
    """Problem (``""`` for none), key of its remedy, severity, and the file where it can be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(png.HEADER_BYTES if quick else -1)
        header = png.peek_header(data) if quick else png.read_header(data)
        pixels = None if quick else png.decode(data, header)
    except FileNotFoundError:
        return "is a link whose target is missing", "link", "error", None
    except OSError as error:
        return f"cannot be read ({error.strerror})", "damaged", "error", None
    except ValueError as error:
        return str(error), "form" if isinstance(error, png.OtherForm) else "damaged", "error", None
    channel = _Channel(data, (header.width, header.height), pixels)
    if pixels is not None and pixels.min() == pixels.max():
        remedy, severity = ("damaged", "error") if is_green else ("kept", "note")
        return f"is blank (all pixels {pixels.flat[0]})", remedy, severity, channel
    if not png.is_plain(header):
        return f"is {header.bits}-bit {header.kind}, converted to 8-bit grey", "kept", "note", channel
    return "", "", "", channel


def _compare_channels(good: dict[str, _Channel], missing: list[str], size: int) -> tuple[str, str]:
    """Problem (``""`` for none) and remedy of the files of one image taken together."""
    if len(missing) == len(atlas.CHANNELS):
        return "none of the four channel files is there", REMEDIES["missing"]
    if missing:
        return f"{', '.join(missing)} missing", REMEDIES["missing"]
    shapes = sorted({channel.shape for channel in good.values()})
    if len(shapes) > 1 or any(width != height for width, height in shapes):
        sides = ", ".join(f"{width} x {height}" for width, height in shapes)
        return f"not one square size in its four channels ({sides} pixels)", REMEDIES["shape"]
    if shapes and shapes[0][0] < size:
        side = shapes[0][0]
        remedy = f"use IMAGE_SIZE = {side} (to predict: a run of that size), or go on without it"
        return f"{side} x {side} pixels, less than the size {size}", remedy
    first = {}
    for color, channel in good.items():
        if channel.pixels is not None and channel.pixels.min() < channel.pixels.max():
            twin = first.setdefault(channel.data, color)
            if twin != color:
                return f"{color} is the same file as {twin}", REMEDIES["damaged"]
    return "", ""


def read_foreign(path: Path, color: str = "") -> np.ndarray:
    """The pixels of one channel file, uint8 or uint16 (H, W); with ``color``, that plane of a colour file.

    Raises:
        ValueError: problem and mostly, after a colon, remedy, without the file's name. Nothing is guessed.
    """
    data = path.read_bytes()
    is_jpeg = data.startswith(b"\xff\xd8\xff")
    if data.startswith((b"II", b"MM")):
        _check_tiff(data)
    elif not is_jpeg:
        if data and not data.startswith(png.SIGNATURE):
            raise ValueError("is no PNG, TIFF or JPEG: export it again as one of them")
        png.read_header(data)
    elif _count_jpeg_planes(data) == 4:
        raise ValueError("is a CMYK file, made for print: save it as grey or RGB")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is in the finding
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    cv2.utils.logging.setLogLevel(level)
    if pixels is None:
        raise ValueError("is damaged and cannot be decoded")
    if color and pixels.ndim == 2:
        raise ValueError("is a grey image, and the pattern is for colour files: give a pattern with {channel}")
    if color:
        return pixels[..., ("blue", "green", "red").index(color)]  # OpenCV's order
    if pixels.ndim == 3:
        return _painted_plane(pixels) if is_jpeg else png.single_plane(pixels)
    return pixels


def _check_tiff(data: bytes) -> None:
    """Refuse what OpenCV reads wrongly without a word: further pages and planes, planes stored apart, inverted grey."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            pages, page = len(tiff.pages), tiff.pages.first
    except (tifffile.TiffFileError, IndexError, struct.error) as error:
        raise ValueError(f"is damaged ({str(error).replace(':', ',')})") from None
    planes, kind, number = page.samplesperpixel, page.photometric, page.dtype
    if pages > 1:
        raise ValueError(f"holds {pages} pages (a stack, or all channels): save each channel as a file of its own")
    if number not in (np.uint8, np.uint16) or page.bitspersample % 8:
        raise ValueError(f"holds numbers of the kind {number}: save it with 8 or 16 bits, without a sign")
    grey, colour = planes == 1 and kind in (1, 3), planes in (3, 4) and kind == 2  # 3: a palette
    if not (grey or colour) or page.planarconfig != 1:
        raise ValueError(
            f"is neither plain grey nor plain RGB ({planes} planes of {kind.name}): save it as one of them"
        )


def _count_jpeg_planes(data: bytes) -> int:
    """Planes in the frame header: the first segment from C0 to CF but C4, C8 and CC (ITU T.81, table B.1)."""
    position = 2
    while position + 9 < len(data):
        if 0xC0 <= data[position + 1] <= 0xCF and data[position + 1] not in (0xC4, 0xC8, 0xCC):
            return data[position + 9]
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0


def _painted_plane(pixels: np.ndarray) -> np.ndarray:
    """The brightest plane of a stain saved as a colour JPEG: the others must be nearly empty, or nearly like it."""
    brightest = pixels.max(axis=2)
    limit = 0.1 * brightest.mean()  # JPEG's noise is below
    for plane in np.moveaxis(pixels.astype(np.float32), 2, 0):
        if plane.mean() > limit and (brightest - plane).mean() > limit:
            raise ValueError("is a colour image whose planes hold different pictures: give a pattern without {channel}")
    return brightest
