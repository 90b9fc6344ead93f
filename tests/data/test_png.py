"""A channel file's pixels are those that OpenCV reads, whichever decoder reads them."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from hpa_lib.data import png


def pack(header: tuple, rows: bytes = b"", stream: bytes = b"") -> bytes:
    """A PNG made by hand: its header's numbers and the filtered rows, or their compressed stream."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", stream or zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return png.SIGNATURE + b"".join(parts)


@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (64, 64), (37, 129)])
@pytest.mark.parametrize("row_filter", ["NONE", "SUB", "UP", "AVG", "PAETH"])
def test_grey_pixels_are_those_that_were_written(shape, row_filter):
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    settings = [cv2.IMWRITE_PNG_FILTER, getattr(cv2, f"IMWRITE_PNG_FILTER_{row_filter}")]
    decoded = png.decode(cv2.imencode(".png", pixels, settings)[1].tobytes())
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


def test_interlaced_grey_is_put_in_order():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])
    np.testing.assert_array_equal(png.decode(pack((8, 8, 8, 0, 0, 0, 1), rows)), pixels)


def test_chunk_checksums_count_the_streams_own_does_not():
    pixels = np.full((8, 8), 7, np.uint8)
    whole = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels)))
    whole[-1] ^= 1  # the last byte of the Adler-32 sum
    np.testing.assert_array_equal(png.decode(pack((8, 8, 8, 0, 0, 0, 0), stream=bytes(whole))), pixels)


@pytest.mark.parametrize("rows", [b"", b"\0" * 9 * 4, b"\7" + b"\0" * 9 * 8])
def test_a_file_with_right_checksums_and_no_picture_is_refused(rows):
    with pytest.raises(ValueError, match="cannot be decoded although its checksums are right"):
        png.decode(pack((8, 8, 8, 0, 0, 0, 0), rows))


def test_16_bit_is_scaled_and_rounded_not_cut():
    values = np.array([[0, 100, 129, 1000, 3000, 40000, 65407, 65535]], np.uint16)
    decoded = png.decode(cv2.imencode(".png", values)[1].tobytes())
    assert decoded.tolist() == [[0, 0, 1, 4, 12, 156, 255, 255]]  # round(v / 257); v >> 8 gives 3, 11, 156, 255
    np.testing.assert_array_equal(decoded, np.round(values / 257).astype(np.uint8))


@pytest.mark.parametrize("peak, is_read", [(4095, False), (4096, True)])
def test_numbers_of_12_bits_in_16_are_refused(peak, is_read):
    content = cv2.imencode(".png", np.array([[0, peak]], np.uint16))[1].tobytes()
    if is_read:
        assert png.decode(content).tolist() == [[0, 16]]
    else:
        with pytest.raises(png.OtherForm, match="brightest pixel is 4095 of 65535"):
            png.decode(content)


def test_a_peek_sees_what_a_whole_reading_sees():
    content = cv2.imencode(".png", np.zeros((3, 8), np.uint16))[1].tobytes()
    assert png.peek_header(content[: png.HEADER_BYTES]) == png.read_header(content) == (8, 3, 16, "grey")
    for damaged in (b"", content[:20], b"<html>", cv2.imencode(".jpg", np.zeros((8, 8)))[1].tobytes()):
        with pytest.raises(ValueError):
            png.peek_header(damaged[: png.HEADER_BYTES])
