"""What a leaderboard takes, and how often its bands put a better team below a worse one.

    python bench/leaderboard.py [--submissions 200] [--images 11702] [--boards 200] [--test-images 400 840 3500]

First, time and peak memory of ``hpa leaderboard --final`` on submissions of Kaggle's size. Then boards of twenty teams,
on images drawn from a population on which each team's true macro F1 is known: of all pairs in which a team is truly
better by .03 to .04, and of all in which it is by .03 or more, the share in which the better team's band is the lower.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from hpa_lib import provenance, store
from hpa_lib.decisions import leaderboard, metrics, submission

NUM_LABELS, TEAMS, POPULATION, BOARDS_EACH, DRAWS = 28, 20, 60_000, 20, 500
MARGIN, NEAR = 0.03, 0.04


def draw_population(generator, size, teams):
    """Labels as rare as the atlas's, uint8 (N, 28), and the teams' predictions, uint8 (teams, N, 28).

    Hard images are hard for all: the teams share half of the noise.
    """
    prevalence = np.geomspace(0.4, 0.003, NUM_LABELS)
    labels = (generator.random((size, NUM_LABELS)) < prevalence).astype(np.uint8)
    shared = generator.normal(size=labels.shape).astype(np.float32)
    preds = np.empty((teams, *labels.shape), np.uint8)
    for team, sharpness in enumerate(generator.uniform(0.9, 2.2, teams)):
        noise = generator.normal(size=labels.shape).astype(np.float32)
        center = np.log(prevalence / (1 - prevalence)) + generator.normal(0, 0.7, NUM_LABELS)
        preds[team] = center + sharpness * (2 * labels + 0.8 * shared + 0.8 * noise) > np.log(0.35 / 0.65)
    return labels, preds


def measure(folder, submissions, images):
    """Seconds and peak memory in MB of a final board."""
    labels, preds = draw_population(np.random.default_rng(0), images, 10)
    ids = np.array([f"{number:08x}" for number in range(images)])
    truth = submission.make_table(ids, labels, ids).rename(columns={"Predicted": "Target"})
    store.save_table(folder, "truth.csv", truth)
    for number in range(submissions):
        rolled = np.roll(preds[number % 10], number // 10, axis=0)  # no two alike
        store.save_table(folder / "teams", f"{number:03d}.csv", submission.make_table(ids, rolled, ids))
    start = time.perf_counter()
    leaderboard.make(leaderboard.find_files(folder / "teams"), folder / "truth.csv", final=True)
    return time.perf_counter() - start, provenance.peak_memory_mb()


def simulate(boards, images, seed=1):
    """How often the bands are wrong.

    Returns:
        The share of pairs ``MARGIN`` to ``NEAR`` apart, of all pairs from ``MARGIN`` on, and of boards with any of
        these; the mean number of bands.
    """
    generator, wrong = np.random.default_rng(seed), []
    for board in range(boards):
        if board % BOARDS_EACH == 0:
            labels, preds = draw_population(generator, POPULATION, TEAMS)
            true = np.array([metrics.macro_f1(labels, team) for team in preds])
            lead = true[:, None] - true
        rows = np.isin(np.arange(POPULATION), generator.choice(POPULATION, images, replace=False))
        part = leaderboard.make_part(labels, rows, DRAWS, seed=board)
        scores, resampled = zip(*(leaderboard.score(part, team) for team in preds), strict=True)
        bands = leaderboard.find_bands(np.array(scores), np.stack(resampled))
        is_below = bands[:, None] > bands
        pairs = (lead >= MARGIN) & (lead < NEAR), lead >= MARGIN
        wrong.append([*(is_below[pair].mean() for pair in pairs), is_below[pairs[1]].any(), bands.max()])
    return np.mean(wrong, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--images", type=int, default=11_702)
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--test-images", type=int, nargs="+", default=[400, 840, 3500])
    options = parser.parse_args()
    print(f"{'submissions':>12}{'images':>8}{'seconds':>9}{'peak MB':>9}")
    for submissions in (options.submissions // 10, options.submissions):
        with tempfile.TemporaryDirectory() as folder:
            seconds, peak = measure(Path(folder), submissions, options.images)
        print(f"{submissions:12}{options.images:8}{seconds:9.1f}{peak:9}", flush=True)
    print(f"\n{'images':>8}{'bands':>7}{'wrong, .03 apart':>18}{'wrong, .03 and more':>21}{'boards with any':>17}")
    for images in options.test_images:
        near, more, boards, bands = simulate(options.boards, images)
        print(f"{images:8}{bands:7.1f}{near:18.3f}{more:21.3f}{boards:17.3f}", flush=True)


if __name__ == "__main__":
    main()
