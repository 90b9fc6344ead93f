"""Exact thresholds against the study's loop, and how long a bootstrap takes.

    python bench/thresholds.py [--images 31072] [--loop-classes 4]

The loop tries 100 thresholds per class with scikit-learn's ``f1_score``, as the study did. It is timed on
``--loop-classes`` classes, evenly spread from common to rare, and scaled to 28 (``--loop-classes 28`` runs it in full).
"""

import argparse
import time

import numpy as np
from sklearn.metrics import f1_score

from hpa_lib.decisions import bootstrap, metrics, thresholds

NUM_LABELS = 28
POINTS = 100


def draw_case(num_images, seed=0):
    """Labels from 41 % to .04 % prevalence and probabilities that separate them partly."""
    generator = np.random.default_rng(seed)
    prevalence = np.geomspace(0.41, 0.0004, NUM_LABELS)
    labels = (generator.random((num_images, NUM_LABELS)) < prevalence).astype(np.uint8)
    logits = np.log(prevalence / (1 - prevalence)) + generator.normal(size=labels.shape) + 2.5 * labels
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


def loop(labels, probs):
    """The study's search for one class: its best F1 over 100 thresholds."""
    return max(f1_score(labels, probs >= step / POINTS, zero_division=0) for step in range(POINTS))


def best_of(action, repeats=3):
    """The result, and the shortest of a few times in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = action()
        times.append(time.perf_counter() - start)
    return result, min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=31072)
    parser.add_argument("--loop-classes", type=int, default=4)
    options = parser.parse_args()
    labels, probs = draw_case(options.images)
    tuned, exact_time = best_of(lambda: thresholds.tune(labels, probs))
    _, grid_time = best_of(lambda: thresholds.tune(labels, probs, "grid"))
    exact = metrics.f1_per_class(labels, thresholds.apply(probs, tuned))
    classes = np.linspace(0, NUM_LABELS - 1, options.loop_classes).astype(int)
    found, loop_time = best_of(lambda: [loop(labels[:, label], probs[:, label]) for label in classes], repeats=1)
    loop_time *= NUM_LABELS / len(classes)
    gains = exact[classes] - found
    test_labels, test_preds = labels[:11702], thresholds.apply(probs[:11702], tuned)
    interval, bootstrap_time = best_of(lambda: bootstrap.interval(test_labels, test_preds, draws=1000), repeats=1)
    print(f"{options.images:,} images x {NUM_LABELS} classes, {POINTS} points")
    print(f"{'loop over f1_score':32}{loop_time:9.2f} s   (from {len(classes)} of 28 classes)")
    print(f"{'method grid':32}{grid_time:9.3f} s   {loop_time / grid_time:7.0f} x the loop")
    print(f"{'method exact':32}{exact_time:9.3f} s   {loop_time / exact_time:7.0f} x the loop")
    print(f"{'F1 exact - F1 loop':32}{gains.min():+9.4f} at least, {gains.max():+.4f} at most")
    score = f"macro F1 {interval['estimate']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
    print(f"{'1,000 bootstraps of 11,702 x 28':32}{bootstrap_time:9.2f} s   {score}")


if __name__ == "__main__":
    main()
