"""A secret set: nothing that is handed out gives the test part's labels away, and a killed call still goes on."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import hpa_synth.__main__
from hpa_lib import atlas
from hpa_synth import data_sets, secrecy, writing

SMALL = {"profile": "smoke", "images": 40, "workers": 1, "progress": False}
SEEDS_TRIED = range(300)


def draw(folder, **options):
    return hpa_synth.write_dataset(folder / "data", truth=folder / "teachers", **SMALL | options)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder with ``data`` (handed out) and ``teachers`` (kept)."""
    return draw(tmp_path_factory.mktemp("course")).parent


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def read_secret(course):
    return json.loads((course / "teachers" / "synthetic.json").read_text())["settings"]["secret"]


def win_back(data):
    """The test labels of a handed-out folder, found as a student could: by trying seeds until the Ids come out."""
    settings = data_sets.find_profile("smoke", 40, None, False)
    wanted = {row[0] for row in read_table(data / "sample_submission.csv")}
    for seed in SEEDS_TRIED:
        jobs = writing.make_jobs(settings, seed, "test")
        if {job.id for job in jobs} == wanted:
            return {job.id: " ".join(map(str, job.labels)) for job in jobs}
    return None


def test_the_search_wins_an_open_sets_labels_back(tmp_path):
    data = hpa_synth.write_dataset(tmp_path / "data", seed=SEEDS_TRIED[-1], **SMALL)
    assert win_back(data) == dict(read_table(data / "truth" / "test_truth.csv"))


def test_no_seed_that_can_be_tried_gives_the_ids_back(course):
    assert win_back(course / "data") is None
    seeds = [read_secret(course)[part] for part in atlas.IMAGE_FOLDERS]
    assert min(seeds) >= 2**90 and seeds[0] != seeds[1]  # below with a chance of 1 in 2^37
    jobs = writing.make_jobs(data_sets.find_profile("smoke", 40, None, False), seeds[1], "test")
    known = {row[0] for row in read_table(course / "data" / "sample_submission.csv")}
    assert not known & {job.id for job in jobs}, "the Ids are made from the seed"


def test_no_handed_out_file_names_the_seeds_the_key_or_the_truth(course):
    secret = read_secret(course)
    hidden = [
        str(secret["ids"]),
        *(text for part in atlas.IMAGE_FOLDERS for text in (f"{secret[part]}", f"{secret[part]:x}")),
    ]
    files = [path for path in (course / "data").rglob("*") if path.is_file()]
    assert len(files) == (40 + 9) * 4 + 5
    for path in files:
        content = path.read_bytes()
        assert not [text for text in hidden if text.encode() in content], path
        assert path.suffix != ".png" or not {b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"} & set(chunk_names(content)), (
            path
        )
    tables = {path.name: path.read_text() for path in files if path.suffix != ".png"}
    tables.pop("sample_submission.csv")
    for image_id, _ in read_table(course / "teachers" / "test_truth.csv"):
        assert not [name for name, text in tables.items() if image_id in text]
    assert all("seed" not in text.replace("secret seed", "") for text in tables.values())


def chunk_names(content):
    """The kinds of a PNG file's chunks."""
    position, names = 8, []
    while position < len(content):
        length = int.from_bytes(content[position : position + 4])
        names.append(content[position + 4 : position + 8])
        position += 12 + length
    return names


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_truth_is_its_owners_alone_also_in_a_folder_that_was_there(course, tmp_path):
    (tmp_path / "teachers").mkdir(mode=0o755)
    draw(tmp_path)
    modes = {folder: (folder / "teachers").stat().st_mode & 0o777 for folder in (course, tmp_path)}
    assert modes == {course: 0o700, tmp_path: 0o755}
    for folder in modes:
        kept = [*(folder / "teachers").iterdir()]
        assert {path.name: path.stat().st_mode & 0o777 for path in kept} == dict.fromkeys(
            ("synthetic.json", "test_truth.csv"), 0o600
        )
        assert (folder / "data" / "train.csv").stat().st_mode & 0o777 == 0o666 & ~read_umask()


def read_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_command_says_where_the_truth_is(tmp_path, capsys):
    truth = tmp_path / "teachers"
    sizes = ["--profile", "smoke", "--images", "40", "--workers", "1"]
    hpa_synth.__main__.draw([str(tmp_path / "data"), "--secret", "--truth", str(truth), *sizes])
    assert f"truth {truth / 'test_truth.csv'} (" in capsys.readouterr().out


def test_no_count_of_the_test_part_is_handed_out(course):
    card = json.loads((course / "data" / "synthetic.json").read_text())
    assert set(card["label_counts"]) == {"train"} and card["complete"]
    assert "| label | name | train |\n" in (course / "data" / "README.md").read_text()
    kept = json.loads((course / "teachers" / "synthetic.json").read_text())
    assert sum(kept["label_counts"]["test"]) >= 9 and kept["complete"]


def test_dates_say_nothing_about_how_long_a_field_took(course):
    assert len({path.stat().st_mtime_ns for path in (course / "data").rglob("*")}) == 1


def test_the_training_part_is_complete_and_its_groups_are_there(course):
    train, groups = (read_table(course / "data" / name) for name in ("train.csv", "groups.csv"))
    assert [row[0] for row in train] == [row[0] for row in groups] and len(train) == 40
    targets, truth = dict(train), read_table(course / "teachers" / "test_truth.csv")
    assert all(len({targets[image_id] for image_id, name in groups if name == group}) == 1 for _, group in groups)
    assert [row[0] for row in truth] == [row[0] for row in read_table(course / "data" / "sample_submission.csv")]
    assert all(atlas.parse_target(target).any() for _, target in truth)
    assert hpa_synth.is_synthetic(course / "teachers" / "test_truth.csv")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_sets_differ_and_the_kept_folder_draws_a_set_again(course, tmp_path):
    other = draw(tmp_path)
    assert (
        not {row[0] for row in read_table(other / "train.csv")} & dict(read_table(course / "data" / "train.csv")).keys()
    )
    again = hpa_synth.write_dataset(tmp_path / "again", truth=course / "teachers", **SMALL)
    assert contents(again) == contents(course / "data")


@pytest.mark.parametrize("after", [0, 60])
def test_a_killed_run_goes_on_to_the_set_that_it_began(after, tmp_path):
    arguments = [
        tmp_path / "data",
        "--truth",
        tmp_path / "teachers",
        "--secret",
        "--profile",
        "smoke",
        "--images",
        "120",
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "hpa_synth", *arguments, "--workers", "1"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if len(list(tmp_path.rglob("*.png"))) >= after and (tmp_path / "data" / "synthetic.json").exists():
            break
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "data" / "train.csv").exists()
    begun, secret = {path.name for path in tmp_path.glob("data/*/[!.]*.png")}, read_secret(tmp_path)
    draw(tmp_path, images=120)
    assert read_secret(tmp_path) == secret
    hpa_synth.write_dataset(tmp_path / "whole", truth=tmp_path / "teachers", **SMALL | {"images": 120})
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")
    assert begun <= {path.name for path in tmp_path.glob("whole/*/*.png")}


@pytest.mark.parametrize(
    ("options", "told"),
    [({"seed": 5}, "seed 5 with a secret truth"), ({"images": 41}, "holds the truth of a set with other settings")],
)
def test_what_would_not_be_the_same_set_is_refused(course, options, told):
    with pytest.raises(ValueError, match=told):
        draw(course, **options)


def test_a_truth_that_would_be_handed_out_or_lost_is_refused(course, tmp_path):
    before = contents(course)
    with pytest.raises(ValueError, match="is inside .*, which is handed out"):
        hpa_synth.write_dataset(tmp_path / "data", truth=tmp_path / "data" / "truth", **SMALL)
    with pytest.raises(ValueError, match="other settings .secret."):
        hpa_synth.write_dataset(course / "data", truth=tmp_path / "new", **SMALL)  # the seeds are in another folder
    with pytest.raises(ValueError, match="other settings .seed."):
        hpa_synth.write_dataset(course / "data", **SMALL)
    open_set = hpa_synth.write_dataset(tmp_path / "open", **SMALL)
    with pytest.raises(ValueError, match="truth of a set with other settings"):
        hpa_synth.write_dataset(tmp_path / "data", truth=open_set, **SMALL)
    with pytest.raises(ValueError, match="holds the truth of another set"):
        hpa_synth.write_dataset(tmp_path / "data", truth=open_set / "truth", **SMALL)
    assert contents(course) == before and not (tmp_path / "data").exists() and not (tmp_path / "new").exists()


def test_secret_and_truth_are_given_together(tmp_path, capsys):
    for arguments in (["--secret"], ["--truth", str(tmp_path / "teachers")]):
        with pytest.raises(ValueError, match="--secret and --truth DIR belong together"):
            hpa_synth.__main__.draw([str(tmp_path / "data"), *arguments])
    assert not list(tmp_path.iterdir())


def test_a_foreign_card_in_the_truth_folder_is_refused(tmp_path):
    (tmp_path / "synthetic.json").write_text("[]")
    with pytest.raises(ValueError, match="not the card"):
        secrecy.find(tmp_path / "data", tmp_path, {"settings": {}})
