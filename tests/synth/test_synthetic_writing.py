"""The data set on disk: Kaggle's layout, atomic, resumable, the same bytes whoever draws it."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest

import hpa_synth
from hpa_lib import atlas
from hpa_lib.data import disk
from hpa_synth import rendering, writing

SMALL = {"profile": "smoke", "images": 40, "progress": False}
NUM_FILES = (40 + 9) * 4 + 6  # images of 40 + 9 fields, four tables, two cards
COMMAND = [sys.executable, "-m", "hpa_synth"]


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def digest(folder):
    files = sorted(path for path in folder.rglob("[!.]*") if path.is_file())
    content = [path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"".join(content)).hexdigest()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return hpa_synth.write_dataset(tmp_path_factory.mktemp("data") / "small", workers=1, **SMALL)


def test_layout_is_kaggles(small):
    train, test = read_table(small / "train.csv"), read_table(small / "sample_submission.csv")
    assert train[0] == ["Id", "Target"]
    assert test[0] == ["Id", "Predicted"]
    assert (len(train) - 1, len(test) - 1) == (40, 9)
    for part, table in (("train", train), ("test", test)):
        names = {f"{row[0]}_{color}.png" for row in table[1:] for color in atlas.CHANNELS}
        assert {path.name for path in (small / part).iterdir()} == names
    assert [row[0] for row in train[1:]] == sorted(row[0] for row in train[1:])
    assert all(uuid.UUID(row[0]).version == 5 for row in train[1:] + test[1:])
    assert sum(path.is_file() for path in small.rglob("*")) == NUM_FILES


def test_targets_are_label_sets_and_the_truth_lies_apart(small):
    truth = read_table(small / "truth" / "test_truth.csv")
    assert truth[0] == ["Id", "Target"]
    assert [row[0] for row in truth] == [row[0] for row in read_table(small / "sample_submission.csv")]
    for row in truth[1:] + read_table(small / "train.csv")[1:]:
        assert atlas.parse_target(row[1]).sum() >= 1


def test_groups_cover_every_image(small):
    groups = dict(read_table(small / "groups.csv")[1:])
    train, test = ([row[0] for row in read_table(small / f"{name}.csv")[1:]] for name in ("train", "sample_submission"))
    assert groups.keys() == {*train, *test}
    assert not {groups[image_id] for image_id in train} & {groups[image_id] for image_id in test}
    targets = dict(read_table(small / "train.csv")[1:])
    for group in {groups[image_id] for image_id in train}:
        assert len({targets[image_id] for image_id in train if groups[image_id] == group}) == 1


def test_files_are_the_rendered_channels(small):
    settings = json.loads((small / "synthetic.json").read_text())["settings"]
    profile = hpa_synth.DATA_SETS["smoke"]._replace(images=40, test_images=9, floor=0)
    job = writing.make_jobs(profile, 0, "train")[3]
    drawing = rendering.draw(
        0, job.index, job.labels, settings["size"], settings["um_per_px"], protein=job.protein, dark=job.dark
    )
    for channel, color in enumerate(atlas.CHANNELS):
        stored = cv2.imread(str(small / "train" / f"{job.id}_{color}.png"), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint8
        assert np.array_equal(stored, drawing.image[..., channel])


def test_the_card_says_what_it_is(small):
    card = json.loads((small / "synthetic.json").read_text())
    assert card["synthetic"] is True
    assert card["complete"] is True
    assert card["settings"]["version"] == hpa_synth.VERSION
    assert card["settings"]["seed"] == 0
    assert card["settings"]["profile"] == "smoke"
    rows = [atlas.parse_target(row[1]) for row in read_table(small / "train.csv")[1:]]
    assert card["label_counts"]["train"] == np.sum(rows, axis=0).tolist()
    readme = (small / "README.md").read_text()
    assert "SYNTHETIC" in readme
    assert f"| 0 | Nucleoplasm | {card['label_counts']['train'][0]} |" in readme


def test_number_of_processes_does_not_matter(small, tmp_path):
    assert digest(hpa_synth.write_dataset(tmp_path / "pool", workers=2, **SMALL)) == digest(small)


def test_a_second_call_mends_what_is_missing_and_touches_nothing_else(small, tmp_path):
    out = hpa_synth.write_dataset(tmp_path / "data", workers=1, **SMALL)
    lost = sorted((out / "train").iterdir())[5]
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in (out / "train").iterdir() if path.name[:36] != lost.name[:36]}
    (out / "train.csv").unlink()
    hpa_synth.write_dataset(out, workers=1, **SMALL)
    assert digest(out) == digest(small)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


@pytest.mark.parametrize("after", [30, 300])
def test_a_killed_run_goes_on_to_the_same_bytes(after, tmp_path):
    """Killed with SIGKILL after some files: no half PNG, no train.csv, no process left; a second call finishes."""
    out = tmp_path / "data"
    command = [*COMMAND, out, "--profile", "smoke", "--images", "120"]
    child = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.png"))) < after and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    while alive_in_session(child.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive_in_session(child.pid)
    drawn = [path for path in out.rglob("*.png") if not path.name.startswith(".")]
    assert after <= len(drawn) < (120 + 26) * 4
    assert not (out / "train.csv").exists()
    assert not json.loads((out / "synthetic.json").read_text())["complete"]
    assert all(cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (64, 64) for path in drawn)
    for folder in (out, tmp_path / "whole"):
        hpa_synth.write_dataset(folder, "smoke", images=120, workers=1, progress=False)
    assert digest(out) == digest(tmp_path / "whole")


def alive_in_session(session):
    """How many processes of the session are left, zombies aside: the workers of a killed parent count."""
    listing = subprocess.run(["ps", "-eo", "sid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return sum(int(sid) == session and not state.startswith("Z") for sid, state in rows)


def test_no_reader_ever_sees_half_a_file(tmp_path, monkeypatch):
    """A disk that fills up in the middle of a write leaves neither the file nor a leftover."""
    whole_write = Path.write_bytes

    def half_write(path, content):
        whole_write(path, content[: len(content) // 2])
        raise OSError("no space left on device")

    hpa_synth.write_dataset(tmp_path / "data", workers=1, **SMALL)
    before = digest(tmp_path / "data")
    lost = sorted((tmp_path / "data" / "train").iterdir())[:4]
    for path in lost:
        path.unlink()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(Path, "write_bytes", half_write)
        hpa_synth.write_dataset(tmp_path / "data", workers=1, **SMALL)
    assert not any(path.exists() for path in lost)
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]
    hpa_synth.write_dataset(tmp_path / "data", workers=1, **SMALL)
    assert digest(tmp_path / "data") == before


def test_half_files_of_a_killed_run_are_removed(small):
    old, fresh = small / "train" / ".1.part.a_red.png", small / "train" / ".2.part.b_red.png"
    old.write_bytes(b"half")
    os.utime(old, (0, 0))
    fresh.write_bytes(b"another process is writing this")
    hpa_synth.write_dataset(small, workers=1, **SMALL)
    assert not old.exists()
    assert fresh.exists()
    fresh.unlink()


def test_other_settings_are_refused(small):
    before = digest(small)
    with pytest.raises(ValueError, match="other settings.*seed"):
        hpa_synth.write_dataset(small, seed=1, **SMALL)
    with pytest.raises(ValueError, match="other settings.*images"):
        hpa_synth.write_dataset(small, **SMALL | {"images": 41})
    assert digest(small) == before


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"not empty.*thesis\.txt"):
        hpa_synth.write_dataset(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="is a file"):
        hpa_synth.write_dataset(tmp_path / "thesis.txt", **SMALL)


@pytest.mark.parametrize("content", ["{}", "not json", '{"settings": 3}', "[]"])
def test_a_foreign_card_is_refused(tmp_path, content):
    (tmp_path / "synthetic.json").write_text(content)
    with pytest.raises(ValueError, match="not the card"):
        hpa_synth.write_dataset(tmp_path, **SMALL)


@pytest.mark.parametrize(
    "wrong, told",
    [({"profile": "big"}, "big"), ({"seed": -1}, "-1"), ({"workers": 0}, "workers 0"), ({"size": 20}, "size 20")]
    + [({"imbalance": 0.5}, "imbalance 0.5"), ({"imbalance": float("nan")}, "imbalance nan")],
)
def test_wrong_arguments_are_told(tmp_path, wrong, told):
    with pytest.raises(ValueError, match=told):
        hpa_synth.write_dataset(tmp_path / "data", **SMALL | wrong)
    assert not (tmp_path / "data").exists()


def test_the_command_draws_what_its_arguments_say(small, tmp_path):
    command = [*COMMAND, tmp_path / "data", "--profile", "smoke", "--images", "40", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told, last = done.stdout.splitlines()
    assert "49 images of 64 px to draw need 754.6 kB; " in told and last == f"data {tmp_path / 'data'}"
    assert digest(tmp_path / "data") == digest(small)


def test_a_wrong_argument_of_the_command_is_one_sentence(tmp_path):
    done = subprocess.run([*COMMAND, tmp_path / "data", "--size", "3"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "data").exists()
    assert done.stderr.startswith("hpa_synth: size 3 px: ") and len(done.stderr.splitlines()) == 1


def test_a_set_with_another_imbalance_is_another_set(tmp_path):
    data = hpa_synth.write_dataset(tmp_path / "data", workers=1, imbalance=10, **SMALL)
    assert json.loads((data / "synthetic.json").read_text())["settings"]["imbalance"] == 10
    assert "10 times as often as the rarest" in (data / "README.md").read_text()
    with pytest.raises(ValueError, match="other settings .imbalance."):
        hpa_synth.write_dataset(data, workers=1, imbalance=100, **SMALL)


def test_a_label_that_cannot_be_seen_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "is_visible", lambda canvas, label, um_per_px: label != 0)
    with pytest.raises(ValueError, match="Nucleoplasm is not visible"):
        hpa_synth.write_dataset(tmp_path / "data", workers=1, **SMALL)
    assert not (tmp_path / "data" / "train.csv").exists()


def test_a_set_of_another_generator_version_is_refused(small, tmp_path):
    hpa_synth.check_version(small)
    hpa_synth.check_version(tmp_path)  # no set of the generator's
    card = json.loads((small / "synthetic.json").read_text())
    for version, told in (("1.1", "version 1.1"), (None, "version None")):
        card["settings"]["version"] = version
        (tmp_path / "synthetic.json").write_text(json.dumps(card))
        with pytest.raises(ValueError, match=rf"{tmp_path} was drawn by {told} of .* is version .*: delete the folder"):
            hpa_synth.check_version(tmp_path)


def test_a_table_beside_or_below_a_card_is_synthetic(small, tmp_path, monkeypatch):
    for table in (small / "train.csv", small / "truth" / "test_truth.csv", str(small / "train.csv")):
        assert hpa_synth.is_synthetic(table)
    (tmp_path / "train.csv").touch()
    assert not hpa_synth.is_synthetic(tmp_path / "train.csv")
    monkeypatch.chdir(small)
    assert hpa_synth.is_synthetic("train.csv") and hpa_synth.is_synthetic("truth/test_truth.csv")


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_space_that_is_told_is_what_the_images_take(tmp_path, monkeypatch, size):
    wanted = []
    monkeypatch.setattr(disk, "need_space", lambda folder, number, *_, **__: wanted.append(number))
    folder = hpa_synth.write_dataset(tmp_path / "data", "smoke", images=28, size=size, workers=1, progress=False)
    lengths = [path.stat().st_size for path in folder.glob("*/*.png")]
    blocks = sum(-(-length // 4096) * 4096 for length in lengths)  # as most file systems store them
    assert 0.85 * blocks < wanted[0] < 1.15 * blocks
    hpa_synth.write_dataset(folder, "smoke", images=28, size=size, workers=1, progress=False)
    assert len(wanted) == 1  # nothing is left to draw


def test_too_small_a_disk_is_refused_before_the_first_image(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**28})())
    with pytest.raises(OSError, match=r"34 images of 64 px to draw need .* has 268\.4 MB free: make room"):
        hpa_synth.write_dataset(tmp_path / "data", "smoke", images=28, workers=1, progress=False)
    assert not list(tmp_path.glob("data/*/*.png"))
