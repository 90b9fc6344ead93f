"""A grid of throw-away notebooks under Snakemake, with real processes."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from throwaway import load_records
from throwaway_study import write_grid, write_study

from hpa_lib import locks, paths

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="Snakemake is not installed: make grid"),
]
ALL = {"data": 1, "eda": 1, "train_densenet": 2, "train_resnet18": 2, "thresholds": 1, "ensemble": 1, "report": 1}
AFTER_TRAINING = {"thresholds": 1, "ensemble": 1, "report": 1}


def start(grid, *arguments, **environment):
    """``hpa grid`` in a process of its own, whose process group is its own too."""
    command = [sys.executable, "-m", "hpa_lib", "grid", grid, "--notebooks", grid.parent / "notebooks", "--jobs", "16"]
    places = {"PYTHONPATH": str(paths.PROJECT), "CUDA_VISIBLE_DEVICES": ""}
    printed = grid.parent / f"printed-{len(list(grid.parent.glob('printed-*')))}.txt"
    with printed.open("w") as stream:
        pipes = {"stdout": stream, "stderr": subprocess.STDOUT, "start_new_session": True}
        process = subprocess.Popen([*command, *arguments], env=os.environ | places | environment, **pipes)
    process.printed = printed
    return process


def finish(process):
    """Exit code, jobs by rule as Snakemake's table counts them, and all that was printed."""
    process.wait(timeout=500)
    text = process.printed.read_text()
    table = dict(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE))
    jobs = {rule: int(count) for rule, count in table.items() if rule not in ("all", "total")}
    return process.returncode, jobs, text


def edit(notebook, old, new):
    """Change the source of the notebook's last cell."""
    content = nbformat.read(notebook, as_version=4)
    assert old in content.cells[-1].source
    content.cells[-1].source = content.cells[-1].source.replace(old, new)
    nbformat.write(content, notebook)


def processes_of(*words):
    """The ids of all processes whose command line holds all of these words, such as the test's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_text(errors="replace")
            if all(str(word) in line for word in words) and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def wait_until(condition, seconds=60):
    """Wait for a condition; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
    return value


def started_runs(out):
    """How often each run's notebook has been started."""
    path = out / "started.txt"
    return Counter(path.read_text().split()) if path.exists() else Counter()


@pytest.fixture
def out(tmp_path):
    """The run set; what a failed test has left running is killed."""
    yield tmp_path / "out"
    for process in processes_of(tmp_path):
        os.kill(process, signal.SIGKILL)


def test_only_what_a_change_concerns_runs_again(tmp_path, out):
    grid, notebooks = write_study(tmp_path), tmp_path / "notebooks"
    code, jobs, text = finish(start(grid))
    assert (code, jobs) == (0, ALL), text
    assert "4 runs, 9 notebooks" in text
    assert (out / "notebooks" / "02_densenet-rgby-study-fold1.ipynb").exists() and (out / "report.html").exists()
    code, jobs, text = finish(start(grid))
    assert (code, jobs) == (0, {}) and "Nothing to be done" in text
    edit(
        notebooks / "03_train_resnet18.ipynb", "time.sleep(", "time.sleep(  # a while\n"
    )  # how it looks, not what it does
    assert finish(start(grid, "--dry-run"))[1] == {}
    write_grid(tmp_path, networks={"densenet": None, "resnet18": {"LEARNING_RATE": 0.5}})
    code, jobs, text = finish(start(grid))
    assert (code, jobs) == (0, {"train_resnet18": 2} | AFTER_TRAINING), text
    assert (out / "report.html").read_text().count("0.5") == 2
    assert started_runs(out) == {
        "densenet-rgby-study": 1,
        "densenet-rgby-study-fold1": 1,
        "resnet18-rgby-study": 2,
        "resnet18-rgby-study-fold1": 2,
    }
    edit(notebooks / "05_threshold_tuning.ipynb", "json.dumps(results)", "json.dumps(results[::-1])")
    assert finish(start(grid, "--dry-run"))[1] == AFTER_TRAINING
    write_grid(tmp_path, networks={"densenet": None, "resnet18": {"LEARNING_RATE": 0.5}}, folds=[0, 1, 2])
    assert finish(start(grid, "--dry-run"))[1] == {"train_densenet": 1, "train_resnet18": 1} | AFTER_TRAINING


def test_a_run_that_fails_stops_what_follows_it_and_nothing_else(tmp_path, out):
    grid = write_study(tmp_path)
    edit(
        tmp_path / "notebooks" / "03_train_resnet18.ipynb",
        "time.sleep(",
        "assert FOLD or Path(OUT, 'ready').exists(), 'not ready'\ntime.sleep(",
    )
    code, jobs, text = finish(start(grid))
    assert code == 1 and jobs == ALL
    assert text.splitlines()[-1].startswith(
        "hpa: 1 of 9 steps were stopped, first 03_resnet18-rgby-study (failed): AssertionError: not ready"
    )
    done = {record["step"] for record in load_records(out) if record["status"] == "done"}
    assert done == {
        "00_data",
        "01_eda",
        "02_densenet-rgby-study",
        "02_densenet-rgby-study-fold1",
        "03_resnet18-rgby-study-fold1",
    }
    (out / "ready").touch()
    code, jobs, text = finish(start(grid))
    assert code == 0 and jobs == {"train_resnet18": 1} | AFTER_TRAINING, text


def test_each_network_of_a_notebook_has_a_rule_of_its_own(tmp_path):
    grid = write_study(tmp_path, networks=["resnet18", "densenet121"], folds=[0])
    code, jobs, text = finish(start(grid, "--dry-run"))
    training = {rule: count for rule, count in jobs.items() if rule.startswith("train")}
    assert (code, training) == (0, {"train_resnet18": 1, "train_densenet121": 1}), text


@pytest.mark.parametrize("victim", ["Snakefile", "hpa_lib\0grid"])
def test_a_killed_workflow_leaves_no_process_and_the_next_start_goes_on(tmp_path, out, victim):
    """SIGKILL of Snakemake, or of what started it, while one run is under way and another one is done."""
    grid = write_study(tmp_path, folds=[0])
    edit(tmp_path / "notebooks" / "03_train_resnet18.ipynb", 'os.environ.get("SECONDS_PER_RUN", "0")', "0")
    process = start(grid, SECONDS_PER_RUN="300")
    wait_until(lambda: process.printed.read_text().count("Finished jobid") == 3 and len(started_runs(out)) == 2, 120)
    (killed,) = processes_of(tmp_path, victim)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not processes_of(tmp_path), 30)
    code, _, text = finish(process)
    assert code == -signal.SIGKILL or text.splitlines()[-1].startswith("hpa: Snakemake was ended by SIGKILL: the same")
    code, jobs, text = finish(start(grid))
    assert (code, jobs) == (0, {"train_densenet": 1} | AFTER_TRAINING), text
    assert started_runs(out) == {"densenet-rgby-study": 2, "resnet18-rgby-study": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_running_notebooks_tidily(tmp_path, out, number):
    process = start(write_study(tmp_path, networks=["densenet"]), SECONDS_PER_RUN="300")
    wait_until(lambda: len(started_runs(out)) == 2, 120)
    if number == signal.SIGINT:
        code, _, text = finish(start(tmp_path / "grid.yml"))
        assert code == 2 and f"the workflow of {out} is in use by process {process.pid}" in text
    process.send_signal(number)
    process.send_signal(number)  # a second one changes nothing
    code, _, text = finish(process)
    assert code == 130 and text.splitlines()[-1] == "hpa: interrupted", text
    assert processes_of(tmp_path) == []
    stopped = [record for record in load_records(out) if record["run"]]
    assert [record["status"] for record in stopped] == ["interrupted", "interrupted"]
    assert nbformat.read(out / "notebooks" / f"{stopped[0]['step']}.ipynb", as_version=4).cells[-1].outputs


def test_a_job_whose_kernel_was_killed_is_tried_again_with_more_memory(tmp_path, out):
    grid = write_study(tmp_path, networks=["densenet"], folds=[0])
    once = (
        "if not Path(OUT, 'ready').exists():\n    Path(OUT, 'ready').touch()\n    os.kill(os.getpid(), 9)\ntime.sleep("
    )
    edit(tmp_path / "notebooks" / "02_train_densenet.ipynb", "time.sleep(", once)
    code, _, text = finish(start(grid))
    assert code == 0 and text.count("[1/1] 02_densenet-rgby-study killed") == 1, text


def test_a_wrong_grid_file_starts_nothing(tmp_path):
    grid = write_study(tmp_path, folds=[9])
    code, _, text = finish(start(grid))
    assert code == 2 and len(text.splitlines()) == 1 and "folds: 9" in text and not (tmp_path / "out").exists()


def test_what_hpa_run_made_otherwise_since_runs_again(tmp_path, out):
    """Snakemake knows only what it ran itself; the steps' own records know the rest."""
    folder = tmp_path / "a folder #2"  # YAML would take what follows for a comment
    grid = write_study(folder)
    command = [sys.executable, "-m", "hpa_lib", "run", "--profile", grid, "--notebooks", folder / "notebooks"]
    subprocess.run(command, check=True, cwd=paths.PROJECT, capture_output=True)
    code, jobs, text = finish(start(grid, "--dry-run"))
    assert (code, jobs) == (0, {}), text
    write_grid(folder, epochs=5)
    code, jobs, text = finish(start(grid))
    assert (code, jobs) == (0, {"train_densenet": 2, "train_resnet18": 2} | AFTER_TRAINING), text
    assert all(record["parameters"]["EPOCHS"] == 5 for record in load_records(folder / "out") if record["run"])
    one = ["--only", "02_densenet-rgby-study", "-p", "LEARNING_RATE", "0.5", "-p", "RUN", "densenet-rgby-study"]
    subprocess.run([*command, *one], check=True, cwd=paths.PROJECT, capture_output=True)
    assert finish(start(grid, "--dry-run"))[1] == {"train_densenet": 1} | AFTER_TRAINING


def test_a_grid_started_in_the_background_of_a_script_ends_at_once(tmp_path, out):
    """There Ctrl-C is ignored, and all that is started below would ignore it too."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start(write_study(tmp_path), SECONDS_PER_RUN="1000")
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: started_runs(out), 120)
    process.terminate()
    process.wait(timeout=60)
    assert process.returncode == 130
    assert wait_until(lambda: not processes_of(out))


def test_a_step_in_use_is_told_before_anything_is_touched(tmp_path, out):
    grid = write_study(tmp_path)
    assert finish(start(grid))[0] == 0
    write_grid(tmp_path, num_folds=5)
    with locks.step(out, "05_threshold_tuning"):
        code, _, text = finish(start(grid))
    assert code == 2 and text.splitlines()[-1].startswith(f"hpa: 05_threshold_tuning of {out} is in use by process")
    assert (out / "data" / "split.csv").exists()
