"""Writes a data set in Kaggle's layout: resumable, atomic, the same bytes with any number of processes.

What the folder holds::

    train.csv, sample_submission.csv       as Kaggle writes them, sorted by Id
    train/<Id>_<color>.png, test/...       8-bit grey
    groups.csv                             Id, group: which images show the same protein (train and test)
    truth/test_truth.csv                   Id, Target of the test part, for scoring at home
    synthetic.json, README.md              the data set's card

A secret set, for a course, has neither ``truth/`` nor anything that gives it away: no seed, no test image in
groups.csv, no counts of the test part. All of that is in a folder of its own (``secrecy``).
"""

import contextlib
import csv
import io
import json
import os
import time
import uuid
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from hpa_lib import atlas, store
from hpa_lib.data import disk, parallel
from hpa_synth import cards, data_sets, rendering, sampling, secrecy
from hpa_synth.data_sets import DataSet

NAMESPACE = uuid.UUID("8d1f3c52-6b0e-5a64-9c0d-2f4b1e7a9d31")
PNG_SETTINGS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
BYTES_PER_PIXEL, BYTES_PER_FILE = 0.44, 2048  # measured at 64 to 512 px; a file ends somewhere in a block of 4 KiB
CHUNK = 8  # images handed to a process at once
OPEN, PRIVATE = 0o666, 0o600  # modes of files, less what the system's umask takes; for the owner alone
STALE = 10  # seconds: a half file of this age has lost its writer


class Job(NamedTuple):
    """One image to draw."""

    part: str
    id: str
    index: int
    protein: int
    labels: tuple[int, ...]
    dark: bool


def write_dataset(
    out: str | Path,
    profile: str = "quick",
    images: int | None = None,
    size: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    population_shift: bool = False,
    imbalance: float | None = None,
    truth: str | Path | None = None,
) -> Path:
    """A folder of synthetic images in Kaggle's layout; a second call continues where a killed one stopped.

    Args:
        out: the folder; new, empty, or begun by the same settings.
        profile: ``"smoke"``, ``"quick"``, ``"course"`` or ``"kaggle"``.
        images: training images instead of the profile's; the test part keeps its share.
        size: px instead of the profile's; the scale follows (see ``data_sets.find_profile``).
        seed: of everything random.
        workers: processes; by default one per core. 1 draws in this process.
        progress: show a progress bar.
        population_shift: give the test part the real, larger share (.51 instead of .22) of the darker population.
        imbalance: training images of the commonest class for each one of the rarest, 1 to 10,000, as near as whole
            groups allow; the test part is balanced, and the same for all of them. None: natural counts with a floor.
        truth: another folder, which keeps the test part's truth and the seeds, drawn by chance: the set is secret. With
            the same ``truth`` a killed call goes on, and the set can be drawn again. None: nothing is secret.

    Returns:
        ``out`` as a path.

    Raises:
        ValueError: a setting is out of range, or ``out`` or ``truth`` holds other files or a set with other settings.
        OSError: the disk is too small; the sentence says how much is needed.
    """
    out = Path(out).expanduser()
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed}: choose a whole number from 0 to 2^63 - 1")
    if truth is not None and seed:
        raise ValueError(f"seed {seed} with a secret truth: leave it out, since a secret set draws its seeds by chance")
    if workers is not None and workers < 1:
        raise ValueError(f"workers {workers}: choose 1 or more")
    if imbalance is not None and not 1 <= imbalance <= 10_000:
        raise ValueError(f"imbalance {imbalance}: choose 1 (all classes alike) to 10000 : 1")
    settings = data_sets.find_profile(profile, images, size, population_shift)
    card, secret_card = cards.describe(profile, settings, seed, imbalance), None
    seeds = dict.fromkeys(atlas.IMAGE_FOLDERS, seed)
    if truth is not None:
        truth = Path(truth).expanduser()
        seeds = secrecy.find(out, truth, card)
        card, secret_card = secrecy.add(card, seeds["set"]), secrecy.add(card, seeds)
    _claim(out, card, truth, secret_card)
    id_key = seeds.get("ids", "")
    jobs = {part: make_jobs(settings, seeds[part], part, imbalance, id_key) for part in atlas.IMAGE_FOLDERS}
    _draw_all(out, [job for part in atlas.IMAGE_FOLDERS for job in jobs[part]], settings, seeds, workers, progress)
    _write_tables(out, jobs, truth)
    _write_cards(out, jobs, card, truth, secret_card)
    return out


def is_synthetic(table: str | Path) -> bool:
    """Whether the generator wrote a label table: its card is beside it or, for ``truth/``, in the folder above."""
    return any((folder / cards.CARD).exists() for folder in list(Path(table).expanduser().resolve().parents)[:2])


def read_scale(data: Path) -> dict[str, float]:
    """``size`` (pixels) and ``um_per_px`` with which a set was drawn; empty where the generator did not draw it."""
    try:
        settings = cards.read_settings(data / cards.CARD)
    except (OSError, ValueError):
        return {}
    return {name: settings[name] for name in ("size", "um_per_px")}


def check_version(data: Path) -> None:
    """Refuse a set that another version of the generator drew: its images and labels are not those of today's.

    Raises:
        ValueError: the folder's card names another version than ``data_sets.VERSION``.
    """
    try:
        version = cards.read_settings(data / cards.CARD).get("version")
    except (OSError, ValueError):  # no card that can be read: not a set of the generator's
        return
    if version != data_sets.VERSION:
        raise ValueError(
            f"{data} was drawn by version {version} of the generator, and this is version {data_sets.VERSION}: delete "
            "the folder and draw it anew (notebook 00 or `hpa synth`), or use another one"
        )


def make_jobs(settings: DataSet, seed: int, part: str, imbalance: float | None = None, id_key: str = "") -> list[Job]:
    """The images of one part, in drawing order; training and test proteins are different ones.

    The Ids are made from the settings and the seed, those of a secret set from ``id_key`` (a UUID).
    """
    if imbalance is not None and part == "test":
        imbalance = 1
    number = atlas.IMAGE_FOLDERS.index(part)
    rng = np.random.default_rng([seed, number, settings.images])
    images = (settings.images, settings.test_images)[number]
    floor = data_sets.possible_floor(settings.floor * images / settings.images, images)
    plan = sampling.make_plan(rng, images, floor, (settings.dark_train, settings.dark_test)[number], imbalance)
    key = f"{data_sets.VERSION}/{json.dumps(settings)}/{seed}/{part}"
    key += f"/{imbalance:g}" if imbalance is not None else ""
    namespace, key = (uuid.UUID(id_key), part) if id_key else (NAMESPACE, key)
    return [
        Job(
            part=part,
            id=str(uuid.uuid5(namespace, f"{key}/{index}")),
            index=2 * index + number,
            protein=2 * int(plan.groups[index]) + number,
            labels=tuple(np.flatnonzero(plan.labels[index]).tolist()),
            dark=bool(plan.dark[index]),
        )
        for index in range(images)
    ]


def _claim(out: Path, card: dict, truth: Path | None, secret_card: dict | None) -> None:
    """Make ``out`` ours, or make sure that it already is: it holds the card of these very settings.

    Raises:
        ValueError: it is not.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give a new folder")
    path = out / cards.CARD
    if path.exists():
        found = cards.read_settings(path)
        if found != card["settings"]:
            differing = sorted(key for key in card["settings"] if found.get(key) != card["settings"][key])
            raise ValueError(
                f"{out} holds a synthetic set with other settings ({', '.join(differing)}): give another folder, "
                "or delete this one"
            )
        return
    foreign = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith(".")) if out.exists() else []
    if foreign:
        raise ValueError(f"{out} is not empty (it holds {foreign[0]}): give a new folder")
    for part in atlas.IMAGE_FOLDERS:
        (out / part).mkdir(parents=True, exist_ok=True)
    if truth is not None:  # first: without its seeds, what is in ``out`` could not be continued
        truth.mkdir(mode=0o700, parents=True, exist_ok=True)
        _save_card(truth, secret_card | {"complete": False}, PRIVATE)
    _save_card(out, card | {"complete": False})


def _draw_all(out, jobs, settings, seeds, workers, progress) -> None:
    """Draw every image of which a file is missing, with a progress bar over all of them."""
    _remove_half_files(out)
    present = {f"{part}/{name}" for part in atlas.IMAGE_FOLDERS for name in os.listdir(out / part)}
    missing = [
        job for job in jobs if any(f"{job.part}/{job.id}_{color}.png" not in present for color in atlas.CHANNELS)
    ]
    wanted = len(missing) * len(atlas.CHANNELS) * round(BYTES_PER_PIXEL * settings.size**2 + BYTES_PER_FILE)
    if missing:
        disk.need_space(out, wanted, f"{len(missing)} images of {settings.size} px to draw", tell=progress)
    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
    workers = min(workers or parallel.count_cores(), max(1, len(missing) // CHUNK))
    task = partial(_draw_chunk, out, settings.size, settings.um_per_px, seeds)
    with (
        parallel.bar(total=len(jobs), initial=len(jobs) - len(missing), unit="image", show=progress) as bar,
        contextlib.closing(parallel.run(task, chunks, workers)) as run,
    ):
        for drawn in run:
            bar.update(drawn)


def _remove_half_files(out: Path) -> None:
    """Remove what killed writers left behind; a writer still at work (another process) keeps its file."""
    for half in [*out.glob(".*.part.*"), *out.glob("*/.*.part.*")]:
        if time.time() - half.stat().st_mtime > STALE:
            half.unlink(missing_ok=True)


def _draw_chunk(out: Path, size: int, um_per_px: float, seeds: dict[str, int], jobs: list[Job]) -> int:
    """Draw and write several images; how many they were."""
    for job in jobs:
        _draw_one(out, size, um_per_px, seeds[job.part], job)
    return len(jobs)


def _draw_one(out: Path, size: int, um_per_px: float, seed: int, job: Job) -> None:
    """Draw one image and write its four files.

    Raises:
        ValueError: a label's structure is not in the frame, so the label would be a lie.
    """
    drawing = rendering.draw(seed, job.index, job.labels, size, um_per_px, protein=job.protein, dark=job.dark)
    if len(drawing.visible) != len(job.labels):
        lost = atlas.LABELS[min(set(job.labels) - set(drawing.visible))]
        raise ValueError(f"{lost} is not visible in image {job.id} of {size} px: choose a larger size")
    for channel, color in enumerate(atlas.CHANNELS):
        encoded = cv2.imencode(".png", np.ascontiguousarray(drawing.image[..., channel]), PNG_SETTINGS)[1]
        _write(out / job.part / f"{job.id}_{color}.png", encoded.tobytes())


def _write_tables(out: Path, jobs: dict[str, list[Job]], truth: Path | None) -> None:
    """The four tables, each sorted by Id, which is as good as random; train.csv last: with it the set is complete."""
    train, test = (sorted(jobs[part], key=lambda job: job.id) for part in atlas.IMAGE_FOLDERS)
    grouped = train if truth else sorted(train + test, key=lambda job: job.id)
    names = {protein: number for number, protein in enumerate(sorted({job.protein for job in grouped}))}
    _write_table(out / "groups.csv", ["Id", "group"], [[job.id, names[job.protein]] for job in grouped])
    target = [[job.id, atlas.format_target(_row(job))] for job in test]
    mode = PRIVATE if truth else OPEN
    _write_table((truth or out / "truth") / secrecy.TRUTH, ["Id", "Target"], target, mode)
    _write_table(out / "sample_submission.csv", ["Id", "Predicted"], [[job.id, "0"] for job in test])
    target = [[job.id, atlas.format_target(_row(job))] for job in train]
    _write_table(out / "train.csv", ["Id", "Target"], target)


def _write_cards(
    out: Path, jobs: dict[str, list[Job]], card: dict, truth: Path | None, secret_card: dict | None
) -> None:
    """The finished card, for programs and for people; of a secret set one with the test part in it for ``truth``."""
    counts = {part: np.sum([_row(job) for job in jobs[part]], axis=0).tolist() for part in jobs}
    if truth:
        _save_card(truth, secret_card | {"complete": True, "label_counts": counts}, PRIVATE)
        del counts["test"]
    _write(out / "README.md", cards.readme(card, counts).encode())
    _save_card(out, card | {"complete": True, "label_counts": counts})
    if truth:
        secrecy.level_dates(out)


def _row(job: Job) -> np.ndarray:
    """The job's labels as a multi-hot row, int (28,)."""
    row = np.zeros(atlas.NUM_LABELS, int)
    row[list(job.labels)] = 1
    return row


def _write_table(path: Path, header: list[str], rows: list[list], mode: int = OPEN) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _write(path, text.getvalue().encode(), mode)


def _save_card(folder: Path, card: dict, mode: int = OPEN) -> None:
    _write(folder / cards.CARD, (json.dumps(card, indent=2) + "\n").encode(), mode)


def _write(path: Path, content: bytes, mode: int = OPEN) -> None:
    def write(temporary: Path) -> None:
        temporary.touch(mode)  # before there is anything to read in it
        temporary.write_bytes(content)

    store.write_atomic(path, write)
