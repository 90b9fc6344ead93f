import platform
import subprocess
import sys

import pytest

from hpa_lib import locks, paths

HOLD = """
import sys, time
from pathlib import Path
from hpa_lib import locks
with locks.lock(Path(sys.argv[1]), "a", wait=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process of its own that holds the lock; ended at the end of the test."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / ".a.lock"], stdout=subprocess.PIPE, text=True, cwd=paths.PROJECT
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def test_a_held_lock_refuses_a_second_one_and_names_its_holder(tmp_path, holder):
    with pytest.raises(locks.Locked) as refusal, locks.lock(tmp_path / ".a.lock", "a of out"):
        pass
    sentence = str(refusal.value)
    assert sentence.startswith(f"a of out is in use by process {holder.pid} on {platform.node()} since 20")
    assert (
        sentence.endswith("wait until it has ended, or stop it (in JupyterLab: restart its kernel)")
        and "\n" not in sentence
    )


def test_a_lock_of_a_killed_process_holds_nobody_up(tmp_path, holder):
    holder.kill()
    holder.wait()
    with locks.lock(tmp_path / ".a.lock", "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".a.lock"]  # nobody is named who holds nothing


def test_a_waiting_process_takes_the_lock_when_the_first_lets_it_go(tmp_path, holder):
    second = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / ".a.lock", "wait"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert second.stdout.readline().startswith(f"a is in use by process {holder.pid}")
        holder.kill()
        assert second.stdout.readline() == "held\n"
    finally:
        second.kill()
        second.communicate()


def test_a_lock_is_let_go_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), locks.lock(tmp_path / "new" / ".lock", "it"):
            raise ValueError("inside")


HOLD_STEP = """
import sys, time
from hpa_lib import locks
with locks.step(sys.argv[1], sys.argv[2], *sys.argv[3:]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def working(tmp_path):
    """A factory: a process that works on a step of the run set; ended at the end of the test."""
    children = []

    def start(*step):
        command = [sys.executable, "-c", HOLD_STEP, tmp_path / "out", *step]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=paths.PROJECT))
        assert children[-1].stdout.readline() == "held\n"

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("first", "second", "is_free"),
    [
        (("05_threshold_tuning",), ("05_threshold_tuning",), False),
        (("05_threshold_tuning",), ("06_ensemble",), True),
        (("03_train_resnet18", "a"), ("03_train_resnet18", "b"), True),
        (("03_train_resnet18", "a"), ("", "a"), False),  # a script trains it
        (("00_data",), ("05_threshold_tuning",), False),
        (("00_data",), ("03_train_resnet18", "a"), False),
        (("03_train_resnet18", "a"), ("00_data",), False),
        (("05_threshold_tuning",), ("00_data",), False),
    ],
)
def test_steps_of_one_run_set_work_side_by_side_and_00_alone(tmp_path, working, first, second, is_free):
    working(*first)
    if is_free:
        with locks.step(tmp_path / "out", *second):
            return
    with pytest.raises(locks.Locked, match="is in use by process") as refusal, locks.step(tmp_path / "out", *second):
        pass
    name = first[-1] if second[-1] not in first else second[-1]
    assert name in str(refusal.value) and "\n" not in str(refusal.value)
    with locks.step(tmp_path / "other", *second):  # another run set has nothing to do with it
        pass


def test_a_refused_step_holds_nothing(tmp_path, working):
    working("00_data")
    for _ in range(2):
        with pytest.raises(locks.Locked, match="00_data"), locks.step(tmp_path / "out", "05_threshold_tuning"):
            pass
    locks.refuse_held([locks.path_of(tmp_path / "out", "05_threshold_tuning")])


def test_a_notebook_by_hand_is_refused_where_another_runs_it_and_holds_it_until_it_lets_go(tmp_path, working):
    out = tmp_path / "out"
    assert locks.claim(out, "05_threshold_tuning") == out
    assert locks.claim(out, "05_threshold_tuning") == out  # its set-up cell, run again
    other = [sys.executable, "-c", HOLD_STEP, str(out), "05_threshold_tuning"]
    done = subprocess.run(other, capture_output=True, text=True, cwd=paths.PROJECT)
    assert done.returncode and "05_threshold_tuning of" in done.stderr
    locks.release()
    working("05_threshold_tuning")
    with pytest.raises(locks.Locked):
        locks.claim(out, "05_threshold_tuning")
    locks.release()


def test_a_kernel_of_hpa_run_takes_no_lock_that_it_is_held_under(tmp_path, working, monkeypatch):
    working("05_threshold_tuning")
    monkeypatch.setenv(locks.HELD, str(locks.path_of(tmp_path / "out", "05_threshold_tuning")))
    assert locks.claim(tmp_path / "out", "05_threshold_tuning")
    locks.release()
