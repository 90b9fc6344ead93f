"""Jobs in other processes: every result, in order, and nothing left behind."""

import functools
import operator
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from hpa_lib.data import parallel

double = functools.partial(operator.mul, 2)


def kill_own_process(job):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    assert list(parallel.run(double, range(50), workers)) == [2 * job for job in range(50)]
    assert list(parallel.run(double, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_ends_the_run_with_its_own_error(workers):
    with pytest.raises(ZeroDivisionError):
        list(parallel.run(functools.partial(operator.floordiv, 6), [3, 2, 0, 1], workers))


def test_jobs_are_taken_only_a_little_ahead():
    taken = []
    results = parallel.run(double, (taken.append(job) or job for job in range(1000)), 2)
    next(results)
    assert len(taken) <= 2 * parallel.AHEAD + 1
    results.close()


def test_a_killed_worker_is_told_in_a_sentence():
    with pytest.raises(ChildProcessError, match="a process was killed or could not start: use fewer workers"):
        list(parallel.run(kill_own_process, range(4), 2))


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="lists processes with pgrep")
def test_no_process_outlives_a_killed_parent(tmp_path):
    program = (
        "import time\nfrom hpa_lib.data import parallel\n"
        "if __name__ == '__main__':\n    list(parallel.run(time.sleep, [60] * 4, 2))\n"
    )
    (tmp_path / "program.py").write_text(program)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "program.py"], start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60

    def members():
        listed = subprocess.run(["pgrep", "-g", str(parent.pid), "-f", "spawn_main"], capture_output=True, text=True)
        return listed.stdout.split()

    while len(members()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)  # the workers have begun to watch their parent
    parent.kill()
    parent.wait()
    while members():
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.1)


def test_a_bar_is_quiet_where_it_was_asked_to_be(capsys, monkeypatch):
    assert list(parallel.bar("abc", desc="shown")) == list("abc") and "shown" in capsys.readouterr().err
    assert list(parallel.bar("abc", show=False)) == list("abc") and not capsys.readouterr().err
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as `hpa run` sets it for its notebooks
    assert list(parallel.bar("abc", desc="hidden")) == list("abc") and not capsys.readouterr().err
