"""The leaderboard of a course: every submission checked, scored on the same images, and the teams put into bands.

The truth's images are parted once into a public and a private part, as ``submission.score`` does. A band holds all that
cannot be told apart from its best, by the 95 % interval of ``bootstrap.paired``, and whoever scored between them. All
submissions share the resamples, and of each only its score in every resample is kept, not its label sets.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpa_lib import atlas, store
from hpa_lib.data import parallel, splits
from hpa_lib.decisions import bootstrap, metrics, submission, thresholds

STUDY = "densenet"  # the study's CNN
NO_TEAMS = ("thumbs.db", "desktop.ini")  # what Windows leaves in folders
COLUMNS = ["rank", "band", "team", "kind", "macro_f1", "low", "high", "public_macro_f1", "public_rank", "notes"]


class Part(NamedTuple):
    """The images of the public or the private part, and what all submissions share on them."""

    rows: np.ndarray  # bool (N,)
    labels: np.ndarray  # uint8 (n, 28)
    times: np.ndarray  # float32 (draws, n), how often an image is in a resample
    positives: np.ndarray  # float32 (draws, 28)


def find_files(folder: Path) -> dict[str, Path]:
    """Team -> its submission: every file of ``folder``, and of every folder in it the only file.

    A team is called as its file (without .csv and .zip) or folder is. A folder that holds no file, or several, is
    listed itself, so that it is seen that its team is missing.

    Raises:
        ValueError: ``folder`` is no folder, or empty.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give the one that holds the submissions, one file or folder per team")
    entries = [path for path in sorted(folder.iterdir()) if _is_handed_in(path)]
    if not entries:
        raise ValueError(f"{folder} is empty: it should hold the submissions, one file or folder per team")
    short = [re.sub(r"(\.csv)?(\.zip)?$", "", path.name, flags=re.IGNORECASE) for path in entries]
    names = [name if short.count(name) == 1 else path.name for name, path in zip(short, entries, strict=True)]
    names = ["".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name) for name in names]
    inside = [_list_files(path) for path in entries]
    return {
        name: files[0] if len(files) == 1 else path for name, path, files in zip(names, entries, inside, strict=True)
    }


def _list_files(folder: Path) -> list[Path]:
    """The files in a folder that somebody handed in; none where it is a file, or cannot be read."""
    try:
        return [path for path in folder.iterdir() if path.is_file() and _is_handed_in(path)]
    except OSError:
        return []


def _is_handed_in(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.lower() not in NO_TEAMS


def number_teams(key: Path, teams: list[str]) -> dict[str, str]:
    """Team -> ``team 07``: drawn by chance and kept for later calls in the file ``key``, for its owner alone."""
    numbers = store.load_json(key.parent, key.name) if key.exists() else {}
    new = [team for team in teams if team not in numbers]
    free = np.random.default_rng().permutation(len(new)) + len(numbers) + 1
    numbers |= dict(zip(new, free.tolist(), strict=True))

    def write(path: Path) -> None:
        path.touch(0o600)  # before there is anything to read in it
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")

    store.write_atomic(key, write)
    return {team: f"team {numbers[team]:02d}" for team in teams}


def load_baselines(out: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """The baselines of a run set: the study's CNN at .5 (simple), and with the thresholds that notebook 05 chose.

    The best classical run, by macro F1 of its thresholds on validation, is the second strong one where there is any.

    Args:
        out: the run set; of several runs of that network, the one of the study's recipe is taken.
        ids: str (N,), the images of the truth.

    Returns:
        Name, which begins with "simple: " or "strong: ", -> label sets uint8 (N, 28).

    Raises:
        MissingInput: notebook 05 has not run, or on other runs.
        ValueError: there is no such run, or it predicted other images.
    """
    results = {run: store.load_json(out, f"runs/{run}/result.json") for run in store.list_runs(out)}
    found = [run for run, result in results.items() if result["model"] == STUDY]
    if not found:
        raise ValueError(f"{out} has no run of the study's CNN ({STUDY}): train it with notebook 02")
    run = next((run for run in found if results[run].get("recipe") == "study"), found[0])
    store.need(out, "decisions/thresholds.json")
    preds = {
        "simple: the study's CNN at .5": _predict_test(out, run, ids, 0.5),
        "strong: the study's CNN, tuned thresholds": _predict_test(out, run, ids),
    }
    classical = {name: _tuned_f1(out, name) for name in results if name.startswith("classical-")}
    if classical:
        best = max(classical, key=classical.get)
        preds[f"strong: {best}, tuned thresholds"] = _predict_test(out, best, ids)
    return preds


def _predict_test(out: Path, run: str, ids: np.ndarray, limit: float | None = None) -> np.ndarray:
    """A run's label sets of ``ids``, by its tuned thresholds or ``limit``; empty rows are filled with both or none."""
    run_ids, probs = store.load_probs(out, run, "test")
    rows = store.find_rows(run_ids, ids, f"images of the truth were not predicted by {run}", "give its own run set")
    tuned, fill_empty = thresholds.load(out, run)
    return thresholds.apply(probs[rows], tuned if limit is None else limit, fill_empty)


def _tuned_f1(out: Path, run: str) -> float:
    """A run's macro F1 on validation with the thresholds that were tuned there."""
    labels, probs, _ = store.load_scored(out, run, "val")
    return metrics.macro_f1(labels, thresholds.apply(probs, *thresholds.load(out, run)))


def make(
    files: Mapping[str, Path],
    truth_path: Path,
    public: float = 0.3,
    final: bool = False,
    baselines: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The board, best first, the submissions that could not be scored, and how good a score can be.

    Args:
        files: team -> submission, from ``find_files``.
        truth_path: ``Id,Target`` of the test images.
        public: share of the images in the public part.
        final: rank by the private part and show both; else the private part is not even scored.
        baselines: a run set for ``load_baselines``; None: only the commonest label set for all images.
        draws, seed: of the resamples; ``seed`` also of the parts.

    Returns:
        The board with ``COLUMNS`` (the public ones only with ``final``; ``rank`` for teams only, and equal scores share
        it; ``band`` 1 is the best), a table ``team``, ``reason``, and a sentence for each part in which
        classes have no image, since their F1 is 0.

    Raises:
        ValueError: the truth cannot be read, or ``public`` is no share. A submission raises nothing.
    """
    ids, labels = submission.read(truth_path, "Target")
    commonest = atlas.parse_target(submission.commonest_set(labels))
    entered = {f"simple: label set '{atlas.format_target(commonest)}' for all": np.tile(commonest, (len(ids), 1))}
    entered |= load_baselines(baselines, ids) if baselines else {}
    is_public = splits.make_holdout(labels, np.arange(len(labels)), public, seed)
    parts = [make_part(labels, rows, draws, seed) for rows in ([~is_public, is_public] if final else [is_public])]
    rows, resampled, refused, seen = [], [], [], {}
    entrants = [*entered.items(), *files.items()]
    for name, source in parallel.bar(entrants, desc="submissions", unit="file", delay=2):
        is_team = isinstance(source, Path)
        preds, findings, notes = _inspect(source, ids) if is_team else (source, [], [])
        if findings:
            refused.append((name, "; ".join(findings)))
            continue
        twin = seen.setdefault(hashlib.sha256(preds.tobytes()).digest(), name)
        notes += [f"the same label sets as {twin}"] if twin != name else []
        scores, draws_of_part = zip(*(score(part, preds) for part in parts), strict=True)
        rows.append((name, "team" if is_team else name.partition(":")[0], *scores, "; ".join(notes)))
        resampled.append(draws_of_part[0])
    columns = ["team", "kind", *["macro_f1", "public_macro_f1"][: len(parts)], "notes"]
    board = _rank(pd.DataFrame(rows, columns=columns), np.stack(resampled))
    limits = [_limit(part.labels, name) for part, name in zip(parts[::-1], ("public", "private"), strict=False)]
    return board, pd.DataFrame(sorted(refused), columns=["team", "reason"]), list(filter(None, limits))


def _limit(labels: np.ndarray, part: str) -> str:
    """The best macro F1 that ``labels`` (N, 28) of a part allow, in a sentence; nothing where it is 1."""
    present = int(labels.any(axis=0).sum())
    missing = atlas.NUM_LABELS - present
    have = "1 class has" if missing == 1 else f"{missing} of {atlas.NUM_LABELS} classes have"
    reached = f"{present / atlas.NUM_LABELS:.2f}".lstrip("0")
    return f"{have} no image in the {part} part: at most {reached} can be reached on it" if missing else ""


def _inspect(path: Path, ids: np.ndarray) -> tuple[np.ndarray, list[str], list[str]]:
    """``submission.inspect`` for the board: no sentence names the file, which tells whose it is."""
    if path.is_dir():
        return (
            np.empty(0),
            [f"a folder with {len(_list_files(path))} files in it: it must hold one, the submission"],
            [],
        )
    preds, *sentences = submission.inspect(path, ids, "the truth")
    return preds, *([text.replace(str(path), "the file") for text in part] for part in sentences)


def make_part(labels: np.ndarray, rows: np.ndarray, draws: int, seed: int) -> Part:
    """A part with its resamples: ``rows`` bool (N,) of ``labels`` (N, 28)."""
    labels = labels[rows]
    times = np.concatenate([block.astype(np.float32) for block in bootstrap.draw_times(len(labels), draws, seed)])
    return Part(rows, labels, times, times @ labels.astype(np.float32))


def score(part: Part, preds: np.ndarray) -> tuple[float, np.ndarray]:
    """Macro F1 of ``preds`` uint8 (N, 28) on the part, and in each of its resamples, float (draws,)."""
    preds = preds[part.rows]
    # counts are exact in float32, below 2^24
    hits, predicted = (part.times @ array.astype(np.float32) for array in (part.labels & preds, preds))
    resampled = metrics.f1_of_counts(hits, predicted - hits, part.positives - hits).mean(axis=1)
    return metrics.macro_f1(part.labels, preds), resampled


def _rank(board: pd.DataFrame, resampled: np.ndarray) -> pd.DataFrame:
    """The board with intervals, ranks and bands, best first."""
    scores = board["macro_f1"].to_numpy()
    board["low"], board["high"] = np.clip(bootstrap.bounds(resampled.T, scores), 0, 1)
    board["band"] = find_bands(scores, resampled)
    for rank, column in (("rank", "macro_f1"), ("public_rank", "public_macro_f1")):
        if column in board:
            team_scores = board[column].where(board["kind"] == "team")
            board[rank] = team_scores.rank(method="min", ascending=False).astype("Int64")
    columns = [name for name in COLUMNS if name in board]
    return board.sort_values(["macro_f1", "team"], ascending=[False, True], ignore_index=True)[columns]


def find_bands(scores: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """The band of each submission, int (S,), 1 for the best.

    A band begins with the best that is left and ends with the last that the paired interval cannot tell from it.

    Args:
        scores: float (S,).
        resampled: float (S, draws), each one's score in the same resamples.
    """
    left, bands = np.argsort(-scores, kind="stable"), np.zeros(len(scores), int)
    while len(left):
        gains = resampled[left[0]] - resampled[left]  # (S left, draws)
        low, _ = bootstrap.bounds(gains.T, scores[left[0]] - scores[left])
        size = np.flatnonzero(low <= 0)[-1] + 1
        bands[left[:size]] = bands.max() + 1
        left = left[size:]
    return bands
