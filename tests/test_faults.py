"""What goes wrong under `hpa run`, with real processes: each fault ends non-zero, says what happened in one sentence,
keeps the evidence, leaves no process behind, and the next start finishes the work without redoing what was done."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from throwaway import write_notebook

from hpa_lib import paths

pytestmark = pytest.mark.slow

FIRST = """
from pathlib import Path
with open(Path(OUT, "count.txt"), "a") as file:
    file.write("00 ")
Path(OUT, "data").mkdir(exist_ok=True)
Path(OUT, "data", "split.csv").write_text("x" * 1000)
Path(OUT, "data", "dataset.json").write_text("{}")
"""
SECOND = """
import os, signal, time
from pathlib import Path
with open(Path(OUT, "count.txt"), "a") as file:
    file.write("05 ")
FLAG = Path({flag!r})
FLAG.with_name("pids").write_text(str(os.getpid()))
what = FLAG.read_text() if FLAG.exists() else ""
if what == "raise":
    raise RuntimeError("the cell raised")
if what == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "compute":
    sum(range(10**12))
if what == "wait":
    time.sleep(1000)
if what == "fill":
    Path(OUT, "decisions").mkdir(exist_ok=True)
    with open(Path(OUT, "decisions", "thresholds.json"), "wb") as file:
        while True:
            file.write(b"x" * 2**20)
Path(OUT, "decisions").mkdir(exist_ok=True)
Path(OUT, "decisions", "thresholds.json").write_text("done")
"""


@pytest.fixture
def folder(tmp_path):
    """Throw-away notebooks 00 and 05; what 05 does wrong is in the file ``fault``."""
    write_notebook(tmp_path / "notebooks" / "00_data.ipynb", FIRST)
    write_notebook(tmp_path / "notebooks" / "05_tune.ipynb", SECOND.format(flag=str(tmp_path / "fault")))
    return tmp_path


def command(folder, *more, out=None):
    arguments = [
        "run",
        "--only",
        "00,05",
        "--notebooks",
        folder / "notebooks",
        "--out",
        out or folder / "out",
        "--resume",
    ]
    arguments += ["--data", folder / "synthetic-quick"]
    return [sys.executable, "-m", "hpa_lib", *map(str, arguments), *more]


def take_signals_as_in_a_terminal():
    """A test run in the background ignores some of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(folder, *more, out=None):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": paths.PROJECT}
    return subprocess.Popen(command(folder, *more, out=out), preexec_fn=take_signals_as_in_a_terminal, **options)


def wait_for_second(folder, process):
    """Until the second notebook has written its process numbers."""
    pids = folder / "pids"
    deadline = time.monotonic() + 120
    while not (pids.exists() and pids.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return pids


def no_process_is_left(folder, seconds=30):
    for number in (folder / "pids").read_text().split():
        deadline = time.monotonic() + seconds
        while is_alive(number):
            assert time.monotonic() < deadline, f"process {number} is still there"
            time.sleep(0.1)
    (folder / "pids").unlink()


def is_alive(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def the_next_start_finishes(folder, redone="00 05 05 ", out=None):
    """With the fault gone; ``count.txt`` says which notebooks have been started."""
    (folder / "fault").unlink(missing_ok=True)
    done = subprocess.run(command(folder, out=out), capture_output=True, text=True, cwd=paths.PROJECT)
    assert done.returncode == 0, done.stderr
    out = out or folder / "out"
    assert (out / "count.txt").read_text() == redone
    assert (out / "decisions" / "thresholds.json").read_text() == "done"
    no_process_is_left(folder)
    return done.stdout


def says(errors, *words):
    lines = errors.splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), errors


def record_of(folder, step="05_thresholds", out=None):
    return json.loads(((out or folder / "out") / "notebooks" / f"{step}.json").read_text())


@pytest.mark.parametrize(
    ("fault", "more", "status", "words"),
    [
        ("raise", (), "failed", ("05_thresholds failed in cell cell-0", "RuntimeError: the cell raised")),
        ("kill", (), "killed", ("KernelDied", "SIGKILL")),
        ("wait", ("--cell-timeout", "4"), "killed", ("CellTimeout", "longer than 4 s")),
        ("wait", ("--notebook-timeout", "6"), "killed", ("NotebookTimeout", "longer than 6 s")),
    ],
)
def test_a_notebook_that_ends_badly(folder, fault, more, status, words):
    (folder / "fault").write_text(fault)
    process = start(folder, *more)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    says(errors, *words, f"{folder}/out/notebooks/05_thresholds.ipynb")
    assert record_of(folder)["status"] == status and (folder / "out" / "notebooks" / "05_thresholds.ipynb").exists()
    no_process_is_left(folder)
    the_next_start_finishes(folder)


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT] * 8, [signal.SIGTERM]])
def test_a_run_that_is_stopped_by_a_signal_or_several(folder, signals):
    (folder / "fault").write_text("wait")
    process = start(folder)
    wait_for_second(folder, process)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    says(errors, "05_thresholds interrupted in cell cell-0", "the same command")
    assert record_of(folder)["status"] == "interrupted"
    no_process_is_left(folder)
    the_next_start_finishes(folder)


@pytest.mark.parametrize("fault", ["wait", "compute"])
def test_a_runner_that_is_killed_leaves_no_kernel_and_the_next_start_says_so(folder, fault):
    (folder / "fault").write_text(fault)
    process = start(folder)
    wait_for_second(folder, process)
    process.kill()
    process.communicate()
    no_process_is_left(folder)
    assert record_of(folder)["status"] == "running"
    told = the_next_start_finishes(folder)
    assert "05_thresholds was interrupted on " in told and "its process was killed" in told


def test_two_starts_of_a_step(folder):
    (folder / "fault").write_text("wait")
    first = start(folder)
    wait_for_second(folder, first)
    second = start(folder)
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 2
    says(errors, f"05_tune of {folder}/out is in use by process {first.pid} on ", "wait until it has ended, or stop it")
    assert first.poll() is None and record_of(folder)["status"] == "running"
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    no_process_is_left(folder)
    the_next_start_finishes(folder)


def test_a_job_whose_workflow_was_killed_ends_by_itself(folder):
    """The parent is killed; without --end-with-parent, as in a terminal, the job would go on."""
    (folder / "fault").write_text("wait")
    script = """import os, subprocess, sys, time
print(subprocess.Popen([*sys.argv[1:], str(os.getpid())]).pid, flush=True)
time.sleep(1000)"""
    arguments = [sys.executable, "-c", script, *command(folder, "--end-with-parent")]
    parent = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=paths.PROJECT
    )
    runner = parent.stdout.readline().strip()
    wait_for_second(folder, parent)
    parent.kill()
    (folder / "pids").write_text(f"{(folder / 'pids').read_text()} {runner}")
    no_process_is_left(folder)
    parent.communicate()
    assert record_of(folder)["status"] == "interrupted"
    the_next_start_finishes(folder)


@pytest.fixture
def mounted(tmp_path):
    """A factory: a small file system of its own, unmounted at the end of the test."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    place = tmp_path / "small"
    place.mkdir()

    def mount(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no right to mount here: {done.stderr.strip()}")
        return place

    yield mount
    subprocess.run(["umount", place], capture_output=True)


def test_a_full_disk(folder, mounted):
    out = mounted("size=8m") / "out"
    (folder / "fault").write_text("fill")
    process = start(folder, out=out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (1, 2)
    says(errors, "No space left on device")
    no_process_is_left(folder)
    (out / "decisions" / "thresholds.json").unlink()
    the_next_start_finishes(folder, out=out)


def test_a_read_only_folder(folder, mounted):
    out = mounted("size=8m") / "out"
    (folder / "fault").write_text("raise")
    assert start(folder, out=out).wait(timeout=120) == 1
    no_process_is_left(folder)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", out.parent], check=True)
    process = start(folder, out=out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    says(errors, str(out), "Read-only file system")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    subprocess.run(["mount", "-o", "remount,rw", out.parent], check=True)
    the_next_start_finishes(folder, out=out)


TOGETHER = """
import json, os, sys, time
from pathlib import Path
connection = json.loads(Path(sys.argv[sys.argv.index("-f") + 1]).read_text())
folder = Path(OUT, "runs", RUN)
folder.mkdir(parents=True, exist_ok=True)
(folder / "result.json").write_text(json.dumps({"pid": os.getpid(), "kernel": connection}))
time.sleep(1)
print(RUN)
"""


@pytest.mark.parametrize("time_of_five", range(5))
def test_eight_parallel_starts_share_one_run_set(tmp_path, time_of_five):
    real = json.loads((paths.PROJECT / "notebooks" / "02_train_densenet.ipynb").read_text())
    (parameters,) = (
        "".join(cell["source"]) for cell in real["cells"] if "parameters" in cell["metadata"].get("tags", [])
    )
    write_notebook(tmp_path / "notebooks" / "02_train_densenet.ipynb", TOGETHER, parameters=parameters)
    (tmp_path / "synthetic-quick").mkdir()
    arguments = [sys.executable, "-m", "hpa_lib", "run", "--only", "02_densenet_study", "--resume", "--notebooks"]
    arguments += [
        tmp_path / "notebooks",
        "--out",
        tmp_path / "out",
        "--data",
        tmp_path / "synthetic-quick",
        "-p",
        "RUN",
    ]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": paths.PROJECT}
    processes = [subprocess.Popen([*arguments, f"run{number}"], **options) for number in range(8)]
    endings = [(process, *process.communicate(timeout=300)) for process in processes]
    assert [process.returncode for process, _, _ in endings] == [0] * 8, [errors for _, _, errors in endings]
    results = [json.loads(path.read_text()) for path in tmp_path.glob("out/runs/*/result.json")]
    assert len({result["pid"] for result in results}) == len({result["kernel"]["ip"] for result in results}) == 8
    for number in range(8):
        step = f"02_densenet_study-run{number}"
        assert record_of(tmp_path, step)["status"] == "done"
        assert (tmp_path / "out" / "notebooks" / f"{step}.log").read_text() == f"run{number}\n"
