"""``hpa predict``: a finished run on new images without labels."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpa_lib import atlas, store
from hpa_lib.data import image_files, kaggle
from hpa_lib.decisions import thresholds
from hpa_lib.figures import micrographs
from hpa_lib.reporting import predictions

NAMED = 10  # images that were left out get a line each; findings.csv has all


def predict(options: argparse.Namespace) -> int:
    """Store probabilities, label sets and, with ``--page``, a page; 1 where an image was left out."""
    run_set, folder, out = store.find_run_set(options.run_set), options.images.resolve(), options.out
    ids, absent = image_files.list_ids(folder), kaggle.list_absent_channels(folder.parent, [folder.name])
    store.choose_runs(run_set, options.run)
    _check_channels(run_set, options.run, absent, folder)
    others = sorted(kaggle.list_files(out).keys() - set(predictions.FILES))
    if others:
        raise ValueError(f"{out} holds other files than hpa predict writes, such as {others[0]}: name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    from hpa_lib.training import device, predict, runs  # Keras takes seconds

    device.setup()
    stored = runs.load(run_set, options.run)
    used, all_probs, findings, thumbnails = [], [np.empty((0, atlas.NUM_LABELS), np.float32)], [], {}
    for names, images, probs, found in predict.predict_folder(stored.model, folder, ids, stored.turns, absent):
        used += names
        all_probs.append(probs)
        findings += found
        room = predictions.MOST - len(thumbnails) if options.page else 0
        shown = zip(names[:room], images[:room], strict=True)
        thumbnails |= {name: micrographs.make_thumbnail(image) for name, image in shown}
    probs = np.concatenate(all_probs)
    preds = thresholds.apply(probs, stored.thresholds, stored.fill_empty)
    stamps = [f"{len(used):,} of {len(ids):,} images of {folder}.", *_describe(run_set, options.run, stored)]
    predictions.write_tables(out, used, probs, preds, findings)
    if options.page:
        title = f"{options.run} on {folder.name}"
        predictions.write_page(out / "page.html", title, stamps, thumbnails, probs, preds, stored.thresholds)
    print(*stamps, f"stored: {out}", sep="\n")
    return _print_left_out(folder, [finding for finding in findings if finding.severity == "error"])


def _check_channels(run_set: Path, run: str, absent: Sequence[str], folder: Path) -> None:
    """Refuse a run that reads a channel which the images lack."""
    records = {name: store.load_json(run_set, f"runs/{name}/result.json") for name in store.list_runs(run_set)}
    if not absent or records[run]["channels"] == "rgb":
        return
    others = [name for name in records if records[name]["channels"] == "rgb" and records[name].get("parameters")]
    remedy = f"use {' or '.join(others)}" if others else "train a run with CHANNELS = 'rgb', which does without"
    raise ValueError(f"run '{run}' reads {absent[0]}, and {folder} has no such files: {remedy}")


def _describe(run_set: Path, run: str, stored) -> list[str]:
    """What a reader of the predictions must know."""
    record, limits = store.load_json(run_set, f"runs/{run}/result.json"), stored.thresholds
    tuned = f"its class's threshold ({limits.min():.2f} to {limits.max():.2f}, of notebook 05)"
    turns = f", mean of {stored.turns} turns" if stored.turns > 1 else ""
    filled = "; an image that reaches none gets its most probable label" if stored.fill_empty else ""
    synthetic = ["Trained on SYNTHETIC images: on real cells its labels mean nothing."] if record["synthetic"] else []
    return [
        f"Run {run} of {run_set} (commit {record.get('versions', {}).get('commit', 'unknown')}).",
        *synthetic,
        f"Images at {stored.image_size} x {stored.image_size} pixels, {stored.channels}{turns}.",
        f"A label counts from {'.5' if (limits == 0.5).all() else tuned} on{filled}.",
    ]


def _print_left_out(folder: Path, errors: Sequence[kaggle.Finding]) -> int:
    for finding in errors[:NAMED]:
        print(f"left out: {kaggle.make_sentence(folder.parent, finding)}")
    if len(errors) > NAMED:
        print(f"and {len(errors) - NAMED:,} more findings of this kind: see findings.csv")
    return 1 if errors else 0
