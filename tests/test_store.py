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
    with pytest.raises(ValueError, match="first 'x'"):
        store.load_truth(tmp_path, ["a", "x"])


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
