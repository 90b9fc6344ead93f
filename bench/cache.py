"""Decoding once: how fast the cache is built, how much faster an epoch is read from it, and how both grow.

    python bench/cache.py [--images 300] [--size 256] [--workers 2]

Draws 512-px PNGs with the statistics of real ones in a temporary folder and links to them under many names.
"""

import argparse
import resource
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import speed
from PIL import Image

from hpa_lib.data import cache, kaggle, png

DRAWN = 60  # images
FILTERS = {0: 0.11, 1: 0.37, 2: 0.26, 4: 0.26}  # share of rows with no filter, Sub, Up, Paeth in 40 of Kaggle's files


def pack_png(pixels, random):
    """A grey PNG as bytes, packed like Kaggle's: their mix of row filters (OpenCV writes others), zlib's level 6."""
    height, width = pixels.shape
    padded = np.pad(pixels, ((1, 0), (1, 0))).astype(np.int16)
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    guesses = np.stack([left, up, corner])
    paeth = np.take_along_axis(guesses, np.abs(left + up - corner - guesses).argmin(axis=0)[None], axis=0)[0]
    predicted = {0: np.zeros_like(left), 1: left, 2: up, 4: paeth}
    kinds = random.choice(list(FILTERS), height, p=list(FILTERS.values()))
    rows = [bytes([kind]) + (pixels[y] - predicted[kind][y]).astype(np.uint8).tobytes() for y, kind in enumerate(kinds)]
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT": zlib.compress(b"".join(rows), 6)}
    packed = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (chunks | {b"IEND": b""}).items()
    )
    return png.SIGNATURE + packed


def draw_pngs(folder, num_images, side=512):
    """Write noisy, half-empty fields, packed like real ones (about 100 kB per channel); their Ids."""
    random = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    ids = [f"image-{index:06d}" for index in range(num_images)]
    for image_id in ids:
        for path in kaggle.channel_paths(folder, "train", image_id):
            cells = cv2.GaussianBlur(random.normal(size=(side, side)).astype(np.float32), (0, 0), 12)
            grain = cv2.GaussianBlur(random.normal(size=(side, side)).astype(np.float32), (0, 0), 0.7)
            pixels = np.where(cells > 0, 900 * cells + 16 * grain, 0)
            path.write_bytes(pack_png(np.clip(pixels, 0, 255).astype(np.uint8), random))
    return ids


def pillow_loop(folder, ids, size):
    """The plain way: open, resize and stack, one image after the other."""
    images = []
    for image_id in ids:
        paths = kaggle.channel_paths(folder, "train", image_id)
        images.append(np.stack([np.asarray(Image.open(path).resize((size, size))) for path in paths], axis=-1))
    return images


def read_epoch(path, batch_size=64):
    """Copy every cached image once, in shuffled batches as training does."""
    _, images = cache.load(path)
    order = np.random.default_rng(0).permutation(len(images))
    for start in range(0, len(order), batch_size):
        np.ascontiguousarray(images[order[start : start + batch_size]])


def peak_memory(num_images):
    """The peak resident memory, MB, of a fresh process that caches ``num_images`` small images."""
    command = [sys.executable, __file__, "--json", "--memory-of", str(num_images)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def link_pngs(folder, sources, num_images):
    """As many images as wanted, all links to the files of ``sources`` by turns; their Ids."""
    ids = [f"link-{index:06d}" for index in range(num_images)]
    for index, image_id in enumerate(ids):
        files = kaggle.channel_paths(folder, "train", sources[index % len(sources)])
        for file, link in zip(files, kaggle.channel_paths(folder, "train", image_id), strict=True):
            link.hardlink_to(file)
    return ids


def cache_links(num_images):
    """Cache many images of 64 px: the peak memory in MB of this process and its two workers."""
    cache.WORTH_A_PROCESS = 1  # work in processes whatever the number
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        ids = link_pngs(folder, draw_pngs(folder, 1, side=64), num_images)
        cache.build(folder, ids, "train", 64, folder / "cache", 2, progress=False)
        parent, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return (parent + 2 * child) / 1024


def measure(options):
    if options.memory_of:
        return cache_links(options.memory_of)
    with tempfile.TemporaryDirectory() as target:
        data, most = Path(target), 16 * options.images
        ids = link_pngs(data, draw_pngs(data, DRAWN), most)
        built = {}
        for factor in (1, 4, 16):
            path = data / f"of-{factor}" / f"train_{options.size}"
            building = data, ids[: factor * options.images], "train", options.size, path.parent, options.workers, False
            built[factor] = speed.clock(cache.build, *building)
        plain = options.images / speed.clock(pillow_loop, data, ids[: options.images], options.size)
        epoch = min(speed.clock(read_epoch, path) for _ in range(3))
    decoded, what = most / built[16], f"images of four PNGs, cached at {options.size} px"
    small, large = peak_memory(500), peak_memory(8000)
    return [
        speed.compare(what, decoded, plain, "images/s", "plain Pillow loop", f">= {options.workers}"),
        speed.compare("an epoch from the cache", most / epoch, decoded, "images/s", "decoding again", ">= 10"),
        *speed.growth("cache", built, f"{options.images} images"),
        speed.compare("cache, 16 x, peak memory", large, small, "MB", "500 images of 64 px", "<= 1.25"),
    ]


if __name__ == "__main__":
    parser = speed.make_parser(__doc__, images=300, size=256, workers=2)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    speed.main(parser, measure)
