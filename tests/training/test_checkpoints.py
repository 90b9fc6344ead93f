"""The state of a training run on disk: what is written, read back, refused and removed."""

import pytest

from hpa_lib import store
from hpa_lib.training import checkpoints

SETTINGS = {"image_size": 32, "recipe": "own"}


def write_weights(folder, *names):
    for name in names:
        path = folder / "checkpoints" / f"{name}.weights.h5"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights")


def list_weights(folder):
    return sorted(path.name.partition(".")[0] for path in (folder / "checkpoints").glob("*.h5"))


def save(folder, **changes):
    state = checkpoints.new_state(SETTINGS) | {"epoch": 3, "best_epoch": 2, "history": [{"epoch": 1, "loss": 0.5}]}
    write_weights(folder, "best-0001", "best-0002", "state-0002", "state-0003")
    checkpoints.save_state(folder, state | changes)
    return state | changes


def test_a_run_that_has_not_begun_has_no_epoch_and_no_state(tmp_path):
    assert checkpoints.load_state(tmp_path, SETTINGS) is None
    state = checkpoints.new_state(SETTINGS)
    assert (state["epoch"], state["best_epoch"], state["best"], state["history"]) == (0, 0, None, [])
    assert state["settings"] == SETTINGS and state["finished"] is False


def test_a_state_is_read_back_and_only_the_weights_that_it_names_are_kept(tmp_path):
    state = save(tmp_path)
    assert checkpoints.load_state(tmp_path, SETTINGS) == state
    assert list_weights(tmp_path) == ["best-0002", "state-0003"]
    assert store.load_table(tmp_path, "history.csv").to_dict("records") == state["history"]


def test_a_finished_run_keeps_its_best_weights_alone(tmp_path):
    save(tmp_path, finished=True)
    assert list_weights(tmp_path) == ["best-0002"]
    assert checkpoints.weights_path(tmp_path, "best", 2).is_file()


def test_other_settings_are_refused_and_named(tmp_path):
    save(tmp_path)
    with pytest.raises(ValueError) as error:
        checkpoints.load_state(tmp_path, {"image_size": 64, "recipe": "own", "seed": 1})
    assert "(image_size 32 -> 64, seed not named -> 1)" in str(error.value)


def test_a_forgotten_run_begins_anew_and_forgetting_twice_does_no_harm(tmp_path):
    save(tmp_path)
    checkpoints.forget(tmp_path)
    checkpoints.forget(tmp_path)
    assert checkpoints.load_state(tmp_path, SETTINGS) is None


def test_settings_compare_equal_to_what_was_stored(tmp_path):
    settings = checkpoints.same_as_stored({"channels": ("red", "green"), "data": tmp_path})
    assert settings == {"channels": ["red", "green"], "data": str(tmp_path)}
    checkpoints.save_state(tmp_path, checkpoints.new_state(settings))
    assert checkpoints.load_state(tmp_path, settings)["settings"] == settings
