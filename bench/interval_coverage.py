"""How often a 95 % interval holds the truth, with classes as rare as the atlas's.

    python bench/interval_coverage.py [--repeats 300]

Draws hold-outs from a population whose macro F1 is known, and counts how many intervals hold it: the plain percentile
interval, and the one of ``bootstrap.interval``, which is moved by the bias of the resamples. A small hold-out misses
rare classes altogether, so its score itself is low; ``same size`` asks for the mean score of hold-outs of that size.
"""

import argparse

import numpy as np

from hpa_lib.decisions import bootstrap, metrics

NUM_LABELS = 28


def draw_holdout(generator, size, prevalence, recall, false_rate):
    """Labels and predictions of one hold-out."""
    labels = generator.random((size, NUM_LABELS)) < prevalence
    preds = generator.random(labels.shape) < np.where(labels, recall, false_rate)
    return labels.astype(np.uint8), preds.astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    prevalence = np.geomspace(0.4, 0.003, NUM_LABELS)
    recall, false_rate = generator.uniform(0.2, 0.8, NUM_LABELS), prevalence * generator.uniform(0.2, 0.8, NUM_LABELS)
    predicted = prevalence * recall + (1 - prevalence) * false_rate
    truth = (2 * prevalence * recall / (prevalence + predicted)).mean()
    print(f"{'images':>8}{'interval':>14}{'holds truth':>14}{'same size':>12}{'width':>9}")
    for size in (300, 600, 1200, 2400):
        holdouts = [draw_holdout(generator, size, prevalence, recall, false_rate) for _ in range(options.repeats)]
        scores = np.array([metrics.macro_f1(*holdout) for holdout in holdouts])
        ours = [bootstrap.interval(*holdout, draws=400) for holdout in holdouts]
        centred = np.array([(result["low"], result["high"]) for result in ours])
        counts = [bootstrap.resample(*holdout, draws=400) for holdout in holdouts]
        resampled = [metrics.f1_of_counts(*count).mean(axis=1) for count in counts]
        plain = np.quantile(resampled, [0.025, 0.975], axis=1).T
        for name, bounds in (("percentile", plain), ("moved", centred)):
            low, high = bounds.T
            held, same = ((low <= goal) & (goal <= high) for goal in (truth, scores.mean()))
            print(f"{size:8}{name:>14}{held.mean():14.2f}{same.mean():12.2f}{(high - low).mean():9.3f}")


if __name__ == "__main__":
    main()
