"""One channel file: is the PNG whole, and what are its pixels as 8-bit grey?

Kaggle's files are 8-bit grey. Others' exports are often 16-bit or RGB; those are converted where nothing is lost or
guessed, and refused with a sentence where something would be.
"""

import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np
from kornia_rs import io as kornia_io

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_SIDE = 16384  # pixels; larger headers are damage or an attack on memory
MIN_16_BIT_PEAK = 4096  # of 65535; below this the file holds 8- or 12-bit numbers in 16-bit boxes
HEADER_BYTES = 33  # the signature and the header chunk
FORMATS = {b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP", b"BM": "BMP"}
KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


class OtherForm(ValueError):
    """The file is whole but not one channel as grey PNG: it must be exported anew, not downloaded again."""


class Header(NamedTuple):
    """What a PNG says of itself: sides in pixels, bits per sample, and the colour kind (a value of ``KINDS``)."""

    width: int
    height: int
    bits: int
    kind: str


def read_header(data: bytes) -> Header:
    """The header of a whole, undamaged PNG.

    Every chunk's checksum is compared, so a cut or altered file is found without inflating a pixel (about 0.05 ms for
    a 125 kB file).

    Raises:
        ValueError: the bytes are not a whole PNG; the sentence says what is wrong, without the file's name.
    """
    header, position, kind = peek_header(data), len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 8 + length
        if len(data) < end + 4:
            raise ValueError(f"is cut off after {len(data)} bytes")
        if zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"is damaged (wrong checksum in chunk {kind.decode('latin-1')!r} at byte {position})")
        position = end + 4
    return header


def peek_header(data: bytes) -> Header:
    """The header of a PNG from its first ``HEADER_BYTES`` bytes, and nothing about the rest of the file.

    Raises:
        ValueError: as ``read_header``.
    """
    if not data:
        raise ValueError("is empty (0 bytes)")
    for magic, name in FORMATS.items():
        if data.startswith(magic):
            raise OtherForm(f"is a {name} file, not a PNG")
    if not data.startswith(SIGNATURE):
        raise ValueError(f"is not a PNG (it begins with {data[:8]!r})")
    if len(data) < HEADER_BYTES:
        raise ValueError(f"is cut off after {len(data)} bytes")
    length, chunk, width, height, bits, color = struct.unpack(">I4sIIBB", data[8:26])
    if chunk != b"IHDR" or length != 13:
        raise ValueError("is damaged (it does not begin with a header chunk)")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"claims {width} x {height} pixels (1 to {MAX_SIDE} a side are read)")
    if color not in KINDS:
        raise ValueError(f"is damaged (colour type {color} does not exist)")
    return Header(width, height, bits, KINDS[color])


def is_plain(header: Header) -> bool:
    """True for Kaggle's own form, 8-bit grey; all else goes through a conversion."""
    return header.bits == 8 and header.kind == "grey"


def decode(data: bytes, header: Header | None = None) -> np.ndarray:
    """The pixels of a channel file as uint8 (height, width).

    16-bit values are scaled by 255 / 65535. A colour image passes when each of its planes is empty or equal to one
    and the same picture (grey saved as RGB, or one stain painted in its colour); an alpha plane must be opaque.

    Args:
        header: what ``read_header`` gave for the bytes, where it was called before.

    Raises:
        ValueError: the file is damaged; the sentence does not hold the file's name.
        OtherForm: a conversion would guess.
    """
    pixels = _inflate(data, header or read_header(data))
    if pixels is None:
        raise ValueError("cannot be decoded although its checksums are right: its writer was broken")
    if pixels.ndim == 3:
        pixels = single_plane(pixels)  # (H, W, 3 or 4) -> (H, W)
    return _to_8_bit(pixels) if pixels.dtype == np.uint16 else pixels


def _inflate(data: bytes, header: Header) -> np.ndarray | None:
    """The pixels as they are stored; None when the compressed part makes no sense.

    Of grey files the chunks' checksums count, which ``read_header`` compared; the stream's own sum is passed over.
    """
    if not is_plain(header):
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    try:  # half of OpenCV's time, but under Python's lock: use processes, not threads
        return kornia_io.decode_image_png_u8(data, (header.height, header.width), "mono")[..., 0]
    except Exception:  # the library has no finer class for a broken stream
        return None


def single_plane(pixels: np.ndarray) -> np.ndarray:
    """The one plane (H, W) of a colour image (H, W, 3 or 4) of one stain; raises as ``decode``."""
    if pixels.shape[2] == 4 and pixels[..., 3].min() < np.iinfo(pixels.dtype).max:
        raise OtherForm("has transparent pixels, which have no meaning here")
    plane = pixels[..., :3].max(axis=2)
    for color in range(3):
        if pixels[..., color].any() and not np.array_equal(pixels[..., color], plane):
            raise OtherForm("is a colour image whose planes hold different pictures, not one channel")
    return plane


def _to_8_bit(pixels: np.ndarray) -> np.ndarray:
    peak = int(pixels.max())
    if 0 < peak < MIN_16_BIT_PEAK:
        raise OtherForm(f"is 16-bit but its brightest pixel is {peak} of 65535: 8- or 12-bit numbers in 16-bit boxes")
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
