"""What a leaderboard takes, and how often its bands put a better team below a worse one.

    python bench/leaderboard.py [--submissions 200] [--images 11702] [--boards 200] [--test-images 400 840 3500]

First, time and peak memory of ``hpa leaderboard --final`` on submissions of Kaggle's size. Then boards of twenty teams,
on images drawn from a population on which each team's true macro F1 is known: of all pairs in which a team is truly
better by .03 to .04, and of all in which it is by .03 or more, the share in which the better team's band is the lower;
the same for the plain ranking, in which each team has a place of its own. ``--out`` also stores these shares, as
``leaderboard.csv``.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from hpa_lib import provenance, store
from hpa_lib.decisions import leaderboard, metrics, submission

NUM_LABELS, TEAMS, POPULATION, BOARDS_EACH, DRAWS = 28, 20, 60_000, 20, 500
MARGIN, NEAR = 0.03, 0.04
WAYS = ("bands", "plain ranking")


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
    """How often the bands are wrong, and the plain ranking.

    Returns:
        Float (2, 4), a row for the bands and one for the ranking: the share of pairs ``MARGIN`` to ``NEAR`` apart, of
        all pairs from ``MARGIN`` on, and of boards with any of these; the mean number of bands.
    """
    generator, wrong = np.random.default_rng(seed), []
    for board in range(boards):
        if board % BOARDS_EACH == 0:
            labels, preds = draw_population(generator, POPULATION, TEAMS)
            true = np.array([metrics.macro_f1(labels, team) for team in preds])
            lead = true[:, None] - true
        rows = np.isin(np.arange(POPULATION), generator.choice(POPULATION, images, replace=False))
        part = leaderboard.make_part(labels, rows, DRAWS, seed=board)
        scores, resampled = map(np.array, zip(*(leaderboard.score(part, team) for team in preds), strict=True))
        pairs = (lead >= MARGIN) & (lead < NEAR), lead >= MARGIN
        found = []
        for places in (leaderboard.find_bands(scores, resampled), (-scores).argsort().argsort() + 1):
            is_below = places[:, None] > places
            found.append([*(is_below[pair].mean() for pair in pairs), is_below[pairs[1]].any(), places.max()])
        wrong.append(found)
    return np.mean(wrong, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--images", type=int, default=11_702)
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--test-images", type=int, nargs="+", default=[400, 840, 3500])
    parser.add_argument("--out", type=Path, help="a folder for leaderboard.csv")
    options = parser.parse_args()
    print(f"{'submissions':>12}{'images':>8}{'seconds':>9}{'peak MB':>9}")
    for submissions in (options.submissions // 10, options.submissions):
        with tempfile.TemporaryDirectory() as folder:
            seconds, peak = measure(Path(folder), submissions, options.images)
        print(f"{submissions:12}{options.images:8}{seconds:9.1f}{peak:9}", flush=True)
    rows = []
    for images in options.test_images:
        for way, (near, more, boards, places) in zip(WAYS, simulate(options.boards, images), strict=True):
            row = {"images": images, "way": way, "places": places, "wrong, .03 to .04 apart": near}
            rows.append(row | {"wrong, .03 and more": more, "boards with any": boards})
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    if options.out:
        store.save_table(options.out, "leaderboard.csv", table)


if __name__ == "__main__":
    main()
