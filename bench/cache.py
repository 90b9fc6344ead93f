"""Decoding once: how fast the cache is built, and how much faster an epoch is read from it.

    python bench/cache.py [--images 400] [--size 256] [--workers 2]

Draws 512-px PNGs with the statistics of real ones in a temporary folder (``--data`` uses a real folder instead), and
prints a small table of ratios. Each figure is the best of three runs, taken in turns.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hpa_lib import cache, dataset


def draw_pngs(folder, num_images, side=512):
    """Write noisy, half-empty fields, filtered and packed like real ones (about 100 kB a channel); their Ids."""
    random = np.random.default_rng(0)
    packing = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS]
    (folder / "train").mkdir(parents=True)
    ids = [f"image-{index:06d}" for index in range(num_images)]
    for image_id in ids:
        for path in dataset.channel_paths(folder, "train", image_id):
            cells = cv2.GaussianBlur(random.normal(size=(side, side)).astype(np.float32), (0, 0), 12)
            grain = cv2.GaussianBlur(random.normal(size=(side, side)).astype(np.float32), (0, 0), 0.7)
            pixels = np.where(cells > 0, 900 * cells + 16 * grain, 0)
            cv2.imwrite(str(path), np.clip(pixels, 0, 255).astype(np.uint8), packing)
    return ids


def pillow_loop(folder, ids, size):
    """The plain way: open, resize and stack, one image after the other."""
    images = []
    for image_id in ids:
        paths = dataset.channel_paths(folder, "train", image_id)
        images.append(np.stack([np.asarray(Image.open(path).resize((size, size))) for path in paths], axis=-1))
    return images


def read_epoch(path, batch_size=64):
    """Copy every cached image once, in shuffled batches as training does."""
    _, images = cache.load(path)
    order = np.random.default_rng(0).permutation(len(images))
    for start in range(0, len(order), batch_size):
        np.ascontiguousarray(images[order[start : start + batch_size]])


def seconds(action, *arguments):
    """How long one call takes."""
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def peak_memory(num_images):
    """The peak resident memory, MB, of a fresh process that caches ``num_images`` small images."""
    program = Path(__file__).resolve()
    run = subprocess.run(
        [sys.executable, program, "--memory-of", str(num_images)], capture_output=True, text=True, check=True
    )
    return float(run.stdout.split()[-1])


def cache_links(num_images):
    """Cache many images, all links to one file of 64 px, and print this process's peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (source,) = draw_pngs(folder, 1, side=64)
        files = dataset.channel_paths(folder, "train", source)
        ids = [f"link-{index:06d}" for index in range(num_images)]
        for image_id in ids:
            for file, link in zip(files, dataset.channel_paths(folder, "train", image_id), strict=True):
                link.hardlink_to(file)
        cache.build(folder, ids, "train", 64, folder / "cache", 2, progress=False)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, help="a folder in Kaggle's layout; its first images are used")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        cache_links(options.memory_of)
        return
    with tempfile.TemporaryDirectory() as target:
        data = options.data or Path(target)
        ids = (
            dataset.read_labels(data / "train.csv")[0][: options.images]
            if options.data
            else draw_pngs(data, options.images)
        )
        times = {"pillow": [], "cache": [], "epoch": []}
        for _ in range(3):
            times["pillow"].append(seconds(pillow_loop, data, ids, options.size))
            path = Path(tempfile.mkdtemp(dir=target)) / f"train_{options.size}"
            building = (data, ids, "train", options.size, path.parent, options.workers, False)
            times["cache"].append(seconds(cache.build, *building))
            times["epoch"].append(seconds(read_epoch, path))
        best = {name: len(ids) / min(values) for name, values in times.items()}
    small, large = peak_memory(2000), peak_memory(20000)
    print(f"{len(ids)} images of four PNGs, cached at {options.size} px, {options.workers} threads")
    rows = [
        ("plain Pillow loop", f"{best['pillow']:.0f} images/s", ""),
        ("building the cache", f"{best['cache']:.0f} images/s", f"{best['cache'] / best['pillow']:.1f} x the loop"),
        ("an epoch from it", f"{best['epoch']:.0f} images/s", f"{best['epoch'] / best['cache']:.0f} x decoding again"),
        ("peak memory, 2,000 images", f"{small:.0f} MB", ""),
        ("peak memory, 20,000 images", f"{large:.0f} MB", f"{large / small:.2f} x"),
    ]
    for name, value, ratio in rows:
        print(f"{name:28}{value:>18}   {ratio}")


if __name__ == "__main__":
    main()
