"""How long a final leaderboard takes, beside reading and scoring the same files plainly, and how it grows.

    python bench/board.py [--submissions 12] [--images 11702]

The plain way reads each submission with pandas and scores it with scikit-learn: no checks, no intervals, no bands.
(How often the bands are right is measured by bench/leaderboard.py.)
"""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import speed
from leaderboard import draw_population
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from hpa_lib import provenance, store
from hpa_lib.decisions import leaderboard, submission


def write(folder, submissions, images):
    """``truth.csv`` and the submissions in ``folder/teams``, no two alike."""
    labels, preds = draw_population(np.random.default_rng(0), images, 10)
    ids = np.array([f"{number:08x}" for number in range(images)])
    truth = submission.make_table(ids, labels, ids).rename(columns={"Predicted": "Target"})
    store.save_table(folder, "truth.csv", truth)
    for number in range(submissions):
        rolled = np.roll(preds[number % 10], number // 10, axis=0)
        store.save_table(folder / "teams", f"{number:03d}.csv", submission.make_table(ids, rolled, ids))


def score_plainly(files, truth):
    read = MultiLabelBinarizer(classes=range(28))
    labels, *preds = (
        read.fit_transform([map(int, text.split()) for text in pd.read_csv(file, dtype=str).iloc[:, 1].fillna("")])
        for file in (truth, *files)
    )
    return [f1_score(labels, found, average="macro", zero_division=0) for found in preds]


def measure(options):
    seconds, peaks = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write(folder, 16 * options.submissions, options.images)
        files, truth = list(leaderboard.find_files(folder / "teams").items()), folder / "truth.csv"
        for factor in (1, 4, 16):
            teams = dict(files[: factor * options.submissions])
            seconds[factor] = speed.clock(functools.partial(leaderboard.make, teams, truth, final=True))
            peaks[factor] = provenance.peak_memory_mb()
        some = [file for _, file in files[: options.submissions]]
        plain = speed.clock(score_plainly, some, truth)
    rate, work = len(files) / seconds[16], f"{len(some)} submissions of {options.images:,} images"
    peer = "pandas and f1_score, no intervals"
    return [
        speed.compare("leaderboard with intervals", rate, len(some) / plain, "submissions/s", peer),
        *speed.growth("leaderboard", seconds, work),
        speed.compare("leaderboard, 16 x, peak memory", peaks[16], peaks[1], "MB", work, "<= 1.25"),
    ]


if __name__ == "__main__":
    speed.main(speed.make_parser(__doc__, submissions=12, images=11_702), measure)
