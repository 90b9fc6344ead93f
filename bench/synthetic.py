"""What drawing costs: milliseconds per field on one core, linear time, flat memory.

Run ``python bench/synthetic.py`` on a quiet machine; the goals are 60 ms at 512 px and 16 ms at 128 px.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

import hpa_synth
from hpa_synth import sampling

SCALES = ((128, 0.64, 16.0), (256, 0.40, None), (512, 0.32, 60.0))  # px, um per px, goal in ms
FIELDS = 60


def natural_label_sets(count):
    return [np.flatnonzero(row) for row in sampling.make_plan(np.random.default_rng(5), count, 0, 0.22).labels]


def milliseconds_a_field(size, um_per_px, label_sets):
    """Process time of drawing and of encoding the four PNGs, each per field."""
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
    return np.array(drawing), np.array(encoding)


def one_class_each(size, um_per_px):
    """Process time of each class alone, ms (28,): which pattern is slow to draw."""
    times = []
    for label in range(28):
        start = time.process_time()
        for index in range(8):
            hpa_synth.render(2, index, [label], size, um_per_px)
        times.append((time.process_time() - start) * 125)
    return np.array(times)


def write_in_child(images):
    """Seconds and peak megabytes of writing a smoke set with ``images`` training images in one process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "write", os.path.join(folder, "data"), str(images)]
        seconds, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(megabytes)


def write(out, images):
    start = time.process_time()
    hpa_synth.write_dataset(out, "smoke", images=images, workers=1, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.process_time() - start, peak)


def main():
    cv2.setNumThreads(1)
    label_sets = natural_label_sets(FIELDS)
    print(f"{'size':>5} {'um/px':>6} {'draw ms':>8} {'p95':>6} {'4 PNG':>6} {'goal':>6} {'share of goal':>14}")
    for size, um_per_px, goal in SCALES:
        drawing, encoding = milliseconds_a_field(size, um_per_px, label_sets)
        share = f"{drawing.mean() / goal:14.2f}" if goal else f"{'-':>14}"
        print(
            f"{size:5d} {um_per_px:6.2f} {drawing.mean():8.1f} {np.percentile(drawing, 95):6.1f} "
            f"{encoding.mean():6.1f} {goal or '-':>6} {share}"
        )
    times = one_class_each(128, 0.64)
    slowest = np.argsort(-times)[:3]
    print("slowest classes alone at 128 px:", ", ".join(f"{label}: {times[label]:.1f} ms" for label in slowest))
    print(f"\n{'images':>7} {'s':>6} {'ms/image':>9} {'peak MB':>8}")
    for images in (200, 400, 800):
        seconds, megabytes = write_in_child(images)
        print(f"{images:7d} {seconds:6.1f} {1e3 * seconds / (images * 1.214):9.2f} {megabytes:8.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], int(sys.argv[3]))
    else:
        main()
