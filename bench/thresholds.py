"""Exact thresholds against the study's loop, the bootstrap against a plain loop, and how both grow.

    python bench/thresholds.py [--images 31072] [--loop-classes 4]

The study's loop tries 100 thresholds per class with scikit-learn's ``f1_score``; it is timed on ``--loop-classes``
classes, evenly spread from common to rare, and scaled to 28. The plain bootstrap scores each resample of the images
with ``f1_score``; it is timed on a few resamples and scaled to 1,000.
"""

import functools
import time

import numpy as np
import speed
from sklearn.metrics import f1_score

from hpa_lib.decisions import bootstrap, metrics, thresholds

NUM_LABELS, POINTS = 28, 100
DRAWS, LOOP_DRAWS, TEST_IMAGES = 1000, 10, 11_702


def draw_case(num_images, seed=0):
    """Labels from 41 % to .04 % prevalence and probabilities that separate them partly."""
    generator = np.random.default_rng(seed)
    prevalence = np.geomspace(0.41, 0.0004, NUM_LABELS)
    labels = (generator.random((num_images, NUM_LABELS)) < prevalence).astype(np.uint8)
    logits = np.log(prevalence / (1 - prevalence)) + generator.normal(size=labels.shape) + 2.5 * labels
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


def loop(labels, probs):
    """The study's search, class by class: its best F1 over 100 thresholds."""
    return [
        max(f1_score(truth, column >= step / POINTS, zero_division=0) for step in range(POINTS))
        for truth, column in zip(labels.T, probs.T, strict=True)
    ]


def bootstrap_plainly(labels, preds):
    """Macro F1 of a few resamples, one after the other."""
    generator = np.random.default_rng(0)
    for _ in range(LOOP_DRAWS):
        rows = generator.integers(len(labels), size=len(labels))
        f1_score(labels[rows], preds[rows], average="macro", zero_division=0)


def measure(options):
    labels, probs = draw_case(options.images)
    classes = np.linspace(0, NUM_LABELS - 1, options.loop_classes).astype(int)
    some = labels[:, classes], probs[:, classes]
    exact = metrics.f1_per_class(labels, thresholds.apply(probs, thresholds.tune(labels, probs)))[classes]
    assert (exact >= np.array(loop(*some)) - 1e-12).all(), "the loop found a better threshold than the exact search"
    looped = speed.clock(loop, *some) * NUM_LABELS / len(classes)
    peer = f"f1_score at {POINTS} thresholds"
    rows = []
    for method in ("exact", "grid"):
        seconds = speed.take_turns({method: functools.partial(thresholds.tune, labels, probs, method)}, 3)[method]
        what = f"thresholds {method}, {options.images:,} images"
        rows.append(speed.compare(what, 1 / seconds, 1 / looped, "per second", peer, ">= 1"))
    test = labels[:TEST_IMAGES], thresholds.apply(probs[:TEST_IMAGES], 0.5)
    ours = speed.clock(lambda: bootstrap.interval(*test, draws=DRAWS)) / DRAWS
    plain = speed.clock(bootstrap_plainly, *test) / LOOP_DRAWS
    what, peer = f"bootstrap, {len(test[0]):,} images", "f1_score of each resample"
    rows.append(speed.compare(what, 1 / ours, 1 / plain, "resamples/s", peer, ">= 1"))
    return rows + measure_growth(options.images // 16)


def measure_growth(images):
    """The rows of 4 x and 16 x as many images, in seconds of all cores: the shortest of five."""
    tuning, resampling = {}, {}
    for factor in (1, 4, 16):
        labels, probs = draw_case(images * factor)
        preds = thresholds.apply(probs, 0.5)
        resample = functools.partial(bootstrap.interval, labels, preds, draws=100)
        tune = functools.partial(thresholds.tune, labels, probs)
        for seconds, action in ((tuning, tune), (resampling, resample)):
            seconds[factor] = min(speed.clock(action, clock=time.process_time) for _ in range(5))
    work = f"{images:,} images"
    return speed.growth("thresholds exact", tuning, work) + speed.growth("bootstrap, 100 resamples", resampling, work)


if __name__ == "__main__":
    speed.main(speed.make_parser(__doc__, images=31_072, loop_classes=4), measure)
