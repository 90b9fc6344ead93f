import json
import os
import shutil
from pathlib import Path

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import store

LABELS = np.eye(3, 28, dtype=np.uint8)
IDS = np.array(["a", "007", "c"])


def test_split_goes_out_and_comes_back(tmp_path):
    store.save_split(tmp_path, IDS, LABELS, np.array([0, 0, 1]), np.array([-1, -1, 2]))
    ids, labels, groups, folds = store.load_split(tmp_path)
    assert ids.tolist() == ["a", "007", "c"] and (labels == LABELS).all()
    assert groups.tolist() == [0, 0, 1] and folds.tolist() == [-1, -1, 2]
    labels, groups = store.load_truth(tmp_path, ["c", "a"])
    assert (labels == LABELS[[2, 0]]).all() and groups.tolist() == [1, 0]


def test_ids_that_look_like_missing_values_stay_texts(tmp_path):
    names = np.array(["NA", "null", "nan", "None"])
    labels = np.eye(4, 28, dtype=np.uint8)
    labels[3] = 0
    store.save_split(tmp_path, names, labels, np.arange(4), np.zeros(4, int))
    ids, again, _, _ = store.load_split(tmp_path)
    assert ids.tolist() == names.tolist() and (again == labels).all()


def test_probs_go_out_and_come_back(tmp_path):
    probs = np.random.default_rng(0).random((3, 28)).astype(np.float32)
    store.save_probs(tmp_path, "one", "val", IDS, probs)
    ids, again = store.load_probs(tmp_path, "one", "val")
    assert (ids == IDS).all() and (again == probs).all()


def test_embeddings_take_no_part_in_the_digest_of_a_run(tmp_path):
    store.save_split(tmp_path, IDS, np.eye(3, 28, dtype=np.uint8), np.arange(3), np.zeros(3, int))
    store.save_probs(tmp_path, "mine", "val", IDS, np.zeros((3, 28)))
    before = store.digest_runs(tmp_path, ["mine"])
    embeddings = np.ones((3, 5), np.float16)
    store.save_arrays(tmp_path, "runs/mine/embeddings_val.npz", {"ids": IDS, "embeddings": embeddings})
    ids, again = store.load_arrays(tmp_path, "runs/mine/embeddings_val.npz", ("ids", "embeddings"))
    assert (ids == IDS).all() and (again == embeddings).all() and again.dtype == np.float16
    assert store.digest_runs(tmp_path, ["mine"]) == before


def test_a_missing_input_names_its_notebook(tmp_path):
    with pytest.raises(store.MissingInput, match="run 00_data.ipynb with the same OUT first"):
        store.load_split(tmp_path)
    with pytest.raises(store.MissingInput, match="02_train_densenet"):
        store.list_runs(tmp_path)
    with pytest.raises(store.MissingInput, match="05_threshold_tuning"):
        store.load_json(tmp_path, "decisions/thresholds.json")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    store.save_json(tmp_path, "a.json", {"value": 1})

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.write_atomic(tmp_path / "a.json", fail)
    assert store.load_json(tmp_path, "a.json") == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_write_replaces_the_file_and_does_not_change_it(tmp_path):
    """Who has the old file open goes on reading the old text: a copy over it would show a mixture."""
    path = store.save_json(tmp_path, "a.json", {"value": 1})
    with open(path, encoding="utf-8") as reader:
        store.save_json(tmp_path, "a.json", {"value": 2})
        assert json.load(reader) == {"value": 1}
    assert store.load_json(tmp_path, "a.json") == {"value": 2}


def test_a_file_is_written_beside_its_place_and_with_its_suffix(tmp_path):
    """The move is one step only within a file system; and some writers choose the format by the suffix."""
    seen = []
    store.write_atomic(tmp_path / "new" / "a.npz", lambda path: seen.append(path) or path.write_bytes(b"1"))
    assert seen[0].parent == tmp_path / "new" and seen[0].suffix == ".npz" and seen[0].name.startswith(".")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "[1]", "null", "\xff"])
def test_a_damaged_json_file_is_named_with_the_remedy(tmp_path, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"dataset.json is damaged \(.*\): delete it and run 00_data.ipynb"):
        store.load_json(tmp_path, "data/dataset.json")


def test_json_takes_numpy_and_refuses_the_rest(tmp_path):
    store.save_json(tmp_path, "a.json", {"number": np.float32(0.5), "array": np.arange(2), "path": tmp_path})
    assert store.load_json(tmp_path, "a.json")["array"] == [0, 1]
    with pytest.raises(TypeError, match="cannot be stored as JSON"):
        store.save_json(tmp_path, "b.json", {"thing": object()})


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_run_names_stay_inside_their_folder(tmp_path, name):
    with pytest.raises(ValueError, match="run name"):
        store.run_folder(tmp_path, name)


def test_bad_parts_lengths_and_ids_are_refused(tmp_path):
    with pytest.raises(ValueError, match="part 'train': use one of"):
        store.save_probs(tmp_path, "one", "train", IDS, np.zeros((3, 28)))
    with pytest.raises(ValueError, match="3 ids but 2 rows"):
        store.save_probs(tmp_path, "one", "val", IDS, np.zeros((2, 28)))
    store.save_split(tmp_path, IDS, LABELS, IDS, np.zeros(3))
    for ids in (["a", "x"], np.array(["a", "x"])):
        with pytest.raises(ValueError, match="first 'x'"):
            store.load_truth(tmp_path, ids)
    for run, part in ((np.str_("../up"), "val"), ("one", np.str_("train"))):
        with pytest.raises(ValueError) as refusal:
            store.save_probs(tmp_path, run, part, IDS, np.zeros((3, 28)))
        assert "np.str_" not in str(refusal.value)


def test_run_names_tell_siblings_apart():
    assert store.run_name("resnet18", "rgby", "sqrt") == "resnet18-rgby-sqrt"
    assert store.run_name("densenet", "rgb", "1,2,3", fold=2, seed=1) == "densenet-rgb-handset-fold2-seed1"


def test_texts_of_a_table_stay_texts(tmp_path):
    store.save_table(tmp_path, "t.csv", pd.DataFrame({"Id": ["007"], "Target": ["16 0"]}))
    assert store.load_table(tmp_path, "t.csv").iloc[0].tolist() == ["007", "16 0"]


def test_the_digest_of_a_split_changes_with_it(tmp_path):
    digests = []
    for folds in ([0, 0, 1], [0, 0, 1], [0, 1, 1]):
        store.save_split(tmp_path, IDS, LABELS, IDS, np.array(folds))
        digests.append(store.split_digest(tmp_path))
    assert digests[0] == digests[1] != digests[2] and len(digests[0]) == 16


@pytest.fixture
def run_set(tmp_path):
    """Three finished runs of one split."""
    fake_runs.write_out(tmp_path / "out", tmp_path / "data", num_images=60)
    return tmp_path / "out"


def change_split(out):
    ids, labels, groups, folds = store.load_split(out)
    store.save_split(out, ids, labels, groups, np.where(folds == 0, 1, folds))


def test_runs_of_another_split_are_left_out_by_name_or_refused_when_named(run_set, capsys):
    assert store.choose_runs(run_set) == sorted(fake_runs.RUNS) == store.list_runs(run_set)
    result = store.load_json(run_set, "runs/resnet18-rgby-none/result.json")
    store.save_json(run_set, "runs/resnet18-rgby-none/result.json", result | {"split": "another"})
    assert store.stale_runs(run_set) == ["resnet18-rgby-none"]
    assert "resnet18-rgby-none" not in store.choose_runs(run_set)
    assert "trained on another split: resnet18-rgby-none" in capsys.readouterr().out
    with pytest.raises(ValueError, match="'resnet18-rgby-none' was trained on another split.*train it again"):
        store.choose_runs(run_set, "densenet-rgby-none, resnet18-rgby-none")
    with pytest.raises(ValueError, match="no finished run 'resnet' in .*: use one of densenet-rgby-none"):
        store.choose_runs(run_set, "resnet")
    assert store.choose_runs(run_set, " densenet-rgby-none ,densenet-rgby-none") == ["densenet-rgby-none"]
    capsys.readouterr()
    store.print_stale_runs(run_set)
    assert capsys.readouterr().out == "left out, since they were trained on another split: resnet18-rgby-none\n"
    change_split(run_set)
    with pytest.raises(store.MissingInput, match=r"all runs in .* were trained on another split.*START_OVER"):
        store.choose_runs(run_set)


def test_a_damaged_result_stops_only_a_choice_that_needs_it(run_set):
    (run_set / "runs" / "resnet18-rgby-none" / "result.json").write_text("{")
    assert store.choose_runs(run_set, "densenet-rgby-none") == ["densenet-rgby-none"]
    for names in ("", "resnet18-rgby-none"):
        with pytest.raises(ValueError, match=r"runs/resnet18-rgby-none/result.json is damaged"):
            store.choose_runs(run_set, names)


@pytest.mark.parametrize("change", ["split", "probs", "holdout", "gone", "old"])
def test_a_decision_made_of_other_runs_is_refused(run_set, change):
    decision = {"runs": store.digest_runs(run_set, list(fake_runs.RUNS)), "chosen": "mean"}
    store.save_json(run_set, "decisions/ensemble.json", decision)
    assert store.load_decision(run_set, "ensemble") == decision
    if change == "split":
        change_split(run_set)
    elif change in ("probs", "holdout"):
        part = {"probs": "val"}.get(change, change)
        ids, probs = store.load_probs(run_set, "resnet18-rgby-none", part)
        store.save_probs(run_set, "resnet18-rgby-none", part, ids, probs / 2)
    elif change == "gone":
        shutil.rmtree(run_set / "runs" / "resnet18-rgby-none")
    else:
        store.save_json(run_set, "decisions/ensemble.json", {"chosen": "mean"})
    with pytest.raises(store.MissingInput, match="made of other runs or of another split.*run 06_ensemble.ipynb again"):
        store.load_decision(run_set, "ensemble")


def test_an_ensemble_made_with_other_thresholds_is_refused(run_set):
    """The report would mix the rule of the new thresholds with scores of the old."""
    runs = store.digest_runs(run_set, list(fake_runs.RUNS))
    store.save_json(run_set, "decisions/thresholds.json", {"runs": runs, "fill_empty": True})
    thresholds_digest = store.digest(run_set, "decisions/thresholds.json")
    store.save_json(run_set, "decisions/ensemble.json", {"runs": runs, "thresholds_digest": thresholds_digest})
    assert store.load_decision(run_set, "ensemble")["thresholds_digest"] == thresholds_digest
    store.save_json(run_set, "decisions/thresholds.json", {"runs": runs, "fill_empty": False})
    with pytest.raises(store.MissingInput, match="notebook 05 chose other thresholds: run 06_ensemble.ipynb again"):
        store.load_decision(run_set, "ensemble")
    store.save_json(run_set, "decisions/ensemble.json", {"runs": runs})  # of an older version
    assert store.load_decision(run_set, "ensemble") == {"runs": runs}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'Id,Target\n"a,0\nb,1,2,3\n'])
def test_a_table_that_cannot_be_read_is_named_with_the_notebook_that_makes_it(tmp_path, content):
    """As an editor, a full disk or a half synchronised folder leaves it."""
    for name, maker in (("data/split.csv", "00_data.ipynb"), ("tables/ensemble.csv", "06_ensemble.ipynb")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} is damaged \(.+\): delete it and run {maker} with the same OUT"):
            store.load_table(tmp_path, name)


@pytest.mark.parametrize(
    "text",
    [
        "Id;Target;group;fold\na;0;0;1\n",
        "Id,fold\na,1\n",
        *(f"Id,Target,group,fold\na,0,0,{fold}\n" for fold in ("", ".5", "inf")),
        "Id,Target,group,fold\na,0,0,1\na,0,0,1\n",
        "Id,Target,group,fold\na,28,0,1\n",
    ],
)
def test_a_split_saved_by_a_spreadsheet_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "split.csv").write_text(text)
    with pytest.raises(ValueError, match=r"split.csv is damaged \(.+\): delete it and run 00_data.ipynb"):
        store.load_split(tmp_path)


@pytest.mark.parametrize("length", [0, 100, -30])
def test_half_written_probabilities_are_named_with_their_run(tmp_path, length):
    path = store.save_probs(tmp_path, "small", "val", np.array(["a"]), np.zeros((1, 28)))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"runs/small/probs_val.npz is damaged \(.+\): delete it and run 02_"):
        store.load_probs(tmp_path, "small", "val")


@pytest.mark.parametrize("run", ["a,b", "a:b", " a", "a b", "a/b", "..", "", "-a", "a" * 101])
def test_a_run_name_that_later_notebooks_or_systems_cannot_take_is_refused(tmp_path, run):
    """RUNS and PAIR are separated by commas, and Windows has no file with a colon."""
    with pytest.raises(ValueError, match=f"run name '{run}': use letters, digits"):
        store.run_folder(tmp_path, run)


@pytest.mark.parametrize("run", ["mean", "stacked", "intersection", "chosen", "true", "class", "mean-fold1"])
def test_a_run_named_as_an_ensemble_or_a_column_is_refused(tmp_path, run):
    """Notebook 06 keeps members and ensembles in one table, where the later one of a name would win."""
    with pytest.raises(ValueError, match=f"run name '{run}': notebooks 06 and 07 use this word"):
        store.run_folder(tmp_path, run)


PLAIN = ["densenet-rgby-none", "größe_2", "v1.5", "resnet18-rgby-sqrt-fold2-seed1", "means", "a" * 100]


@pytest.mark.parametrize("run", PLAIN)
def test_plain_run_names_are_taken(tmp_path, run):
    assert store.run_folder(tmp_path, run) == tmp_path / "runs" / run


def test_an_empty_out_takes_the_newest_finished_run_set_and_names_it(tmp_path, monkeypatch, capsys):
    outputs = tmp_path / "outputs"
    monkeypatch.setattr(store, "OUTPUTS", outputs)
    monkeypatch.setattr(store, "REFERENCE", outputs / "reference")
    monkeypatch.delenv("HPA_OUT", raising=False)
    with pytest.raises(store.MissingInput, match="no finished run in .*: run 00_data.ipynb and 02"):
        store.find_run_set()
    for age, name in enumerate(("demo", "course", "reference")):  # the reference is the newest: just checked out
        store.save_json(outputs / name, "runs/a/result.json", {})
        os.utime(outputs / name / "runs" / "a" / "result.json", (age, age))
    (outputs / "half" / "runs" / "b").mkdir(parents=True)
    assert store.find_run_set() == outputs / "course"
    assert "newest finished run set" in capsys.readouterr().out
    for name in ("demo", "course"):
        shutil.rmtree(outputs / name)
    assert store.find_run_set() == outputs / "reference"
    assert "come with the project" in capsys.readouterr().out
    assert store.find_run_set("elsewhere") == Path("elsewhere").resolve()
    monkeypatch.setenv("HPA_OUT", str(tmp_path / "mine"))
    assert store.find_run_set() == outputs / "reference"
    assert "mine, holds no finished run yet: taking the finished runs that" in capsys.readouterr().out
    store.save_json(tmp_path / "mine", "runs/a/result.json", {})
    assert store.find_run_set() == tmp_path / "mine"
    assert capsys.readouterr().out == ""
