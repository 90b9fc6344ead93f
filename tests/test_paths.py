"""The search for the data: argument, environment, Kaggle's folder, synthetic default, in that order."""

from pathlib import Path

import pytest

from hpa_lib import paths


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("HPA_DATA", raising=False)
    monkeypatch.delenv("HPA_OUT", raising=False)
    monkeypatch.setattr(paths, "KAGGLE_INPUT", tmp_path / "kaggle")


def test_the_first_that_is_set_wins(monkeypatch, tmp_path):
    assert paths.find_data() == (paths.DEFAULT_DATA, "synthetic default")
    for name in reversed(paths.KAGGLE_NAMES):  # the newer place is looked at first
        (tmp_path / "kaggle" / name).mkdir(parents=True)
        assert paths.find_data() == (tmp_path / "kaggle" / name, "Kaggle")
    monkeypatch.setenv("HPA_DATA", str(tmp_path / "environment"))
    assert paths.find_data() == (tmp_path / "environment", "HPA_DATA")
    assert paths.find_data(tmp_path / "argument") == (tmp_path / "argument", "argument")


def test_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.find_data("some/data")[0] == tmp_path / "some" / "data"
    assert paths.find_data("~/data")[0] == tmp_path / "data"
    assert paths.find_data(" ")[1] == "synthetic default"
    assert paths.find_out("out") == tmp_path / "out"


def test_out_follows_argument_environment_default(monkeypatch, tmp_path):
    assert paths.find_out() == paths.DEFAULT_OUT
    monkeypatch.setenv("HPA_OUT", str(tmp_path / "runs"))
    assert paths.find_out() == tmp_path / "runs"
    assert paths.find_out(tmp_path / "other") == tmp_path / "other"


def test_only_a_missing_folder_of_the_right_name_is_drawn(tmp_path):
    assert paths.synthetic_profile(tmp_path / "synthetic-smoke") == "smoke"
    (tmp_path / "synthetic-smoke").mkdir()
    assert paths.synthetic_profile(tmp_path / "synthetic-smoke") == "smoke"  # a half-drawn set has no train.csv yet
    (tmp_path / "synthetic-smoke" / "train.csv").touch()
    assert paths.synthetic_profile(tmp_path / "synthetic-smoke") == ""
    assert paths.synthetic_profile(tmp_path) == ""
    (tmp_path / "data.zip").touch()
    assert paths.synthetic_profile(tmp_path / "data.zip") == ""
    with pytest.raises(ValueError, match="is not there: set DATA or HPA_DATA to a folder with train.csv"):
        paths.synthetic_profile(Path(tmp_path / "nowhere"))
