"""What drawing costs: milliseconds per field on one core against the goals, and how a data set's time and memory grow.

python bench/synthetic.py [--images 50]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
import speed

import hpa_synth
from hpa_synth import sampling

SCALES = ((128, 0.64, 16.0), (512, 0.32, 60.0))  # px, um per px, goal in ms
FIELDS = 60


def natural_label_sets(count):
    return [np.flatnonzero(row) for row in sampling.make_plan(np.random.default_rng(5), count, 0, 0.22).labels]


def milliseconds_per_field(size, um_per_px, label_sets):
    """Mean process time of drawing and of encoding the four PNGs, each per field."""
    hpa_synth.render(1, 0, [0], size, um_per_px)
    drawing, encoding = [], []
    for index, labels in enumerate(label_sets):
        start = time.process_time()
        image = hpa_synth.render(1, index, labels, size, um_per_px)
        drawn = time.process_time()
        for channel in range(4):
            cv2.imencode(".png", np.ascontiguousarray(image[..., channel]), (cv2.IMWRITE_PNG_COMPRESSION, 1))
        drawing.append((drawn - start) * 1e3)
        encoding.append((time.process_time() - drawn) * 1e3)
    return np.mean(drawing), np.mean(encoding)


def write_in_child(images):
    """Seconds and peak megabytes of writing a smoke set with ``images`` training images in one process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--json", f"--write={folder}/data", f"--images={images}"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write(out, images):
    start = time.process_time()
    hpa_synth.write_dataset(out, "smoke", images=images, workers=1, progress=False)
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(options):
    if options.write:
        return write(options.write, options.images)
    cv2.setNumThreads(1)
    label_sets, rows = natural_label_sets(FIELDS), []
    for size, um_per_px, goal in SCALES:
        drawing, encoding = milliseconds_per_field(size, um_per_px, label_sets)
        rows.append(speed.compare(f"drawing a field of {size} px", drawing, goal, "ms", "the goal", "<= 1"))
        rows.append(speed.compare(f"four PNGs of {size} px", encoding, drawing, "ms", "drawing them"))
    written = {factor: write_in_child(factor * options.images) for factor in (1, 4, 16)}
    work, peaks = f"{options.images} training images", {factor: peak for factor, (_, peak) in written.items()}
    rows += speed.growth("generator", {factor: seconds for factor, (seconds, _) in written.items()}, work)
    return [*rows, speed.compare("generator, 16 x, peak memory", peaks[16], peaks[1], "MB", work, "<= 1.25")]


if __name__ == "__main__":
    parser = speed.make_parser(__doc__, images=50)
    parser.add_argument("--write", default="", help=argparse.SUPPRESS)
    speed.main(parser, measure)
