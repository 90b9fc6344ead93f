import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from throwaway import load_records, write_notebook

from hpa_lib.running import plan, runner


@pytest.fixture
def run(tmp_path):
    """A factory: run notebooks made of the given cell sources as steps a, b, ... and give back their records."""

    def run_sources(*notebooks, options=runner.NO_LIMITS, **parameters):
        steps = []
        for name, sources in zip("abcdef", notebooks, strict=False):
            path = write_notebook(tmp_path / "notebooks" / f"0_{name}.ipynb", *sources)
            steps.append(plan.Step(name, path, parameters))
        return runner.run_plan(steps, tmp_path / "out", options)

    return run_sources


def read_cells(tmp_path, step):
    notebook = nbformat.read(tmp_path / "out" / "notebooks" / f"{step}.ipynb", as_version=4)
    return {cell.id: cell for cell in notebook.cells}


def stored_record(tmp_path, step="a"):
    return json.loads((tmp_path / "out" / "notebooks" / f"{step}.json").read_text())


def test_done_run_leaves_copies_with_values_and_a_record(run, tmp_path, capsys):
    records = run(["print(EPOCHS + 1, AUGMENT)"], ["2 + 2"], EPOCHS=41, AUGMENT=False)
    assert read_cells(tmp_path, "a")["cell-0"].outputs[0].text == "42 False\n"
    assert [record["status"] for record in records] == ["done", "done"]
    assert records == [stored_record(tmp_path, "a"), stored_record(tmp_path, "b")]
    assert records[0]["versions"]["papermill"] and records[0]["finished"]
    assert records[0]["parameters"]["EPOCHS"] == 41 and records[0]["parameters"]["LEARNING_RATE"] == 1e-3
    assert records[0]["peak_memory_mb"] > 10
    assert len(capsys.readouterr().out.splitlines()) == 2  # one line a step
    assert [path.name for path in (tmp_path / "out" / "notebooks").glob("*.log")] == ["a.log"]  # b prints nothing
    assert (tmp_path / "out" / "notebooks" / "a.log").read_text() == "42 False\n"


def test_kernel_is_this_interpreter_in_the_notebooks_folder_whatever_kernels_there_are(run, tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert run(["import os, sys; print(sys.executable, os.getcwd())"])[0]["status"] == "done"
    text = read_cells(tmp_path, "a")["cell-0"].outputs[0].text
    assert os.path.realpath(text.split()[0]) == os.path.realpath(sys.executable)
    assert text.split()[1] == str(tmp_path / "notebooks")


def test_kernels_use_no_tcp_port(run, tmp_path):
    source = "import sys, json; print(json.load(open(sys.argv[sys.argv.index('-f') + 1]))['transport'])"
    assert run([source])[0]["status"] == "done"
    assert read_cells(tmp_path, "a")["cell-0"].outputs[0].text == "ipc\n"


def test_figures_are_kept_although_the_environment_says_agg(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run(["import matplotlib.pyplot as plt\nplt.plot([1, 2]);"])
    outputs = read_cells(tmp_path, "a")["cell-0"].outputs
    assert ["image/png" in output.get("data", {}) for output in outputs] == [True]


def test_personal_startup_files_are_not_read(run, tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("print('personal'); EPOCHS_OF_MINE = 1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    run(["print('EPOCHS_OF_MINE' in globals())"])
    assert read_cells(tmp_path, "a")["cell-0"].outputs[0].text == "False\n"


def test_failing_notebook_stops_the_run_and_keeps_its_copy(run, tmp_path):
    (record,) = run(["1 / 0", "print('later')"], ["print('next')"])
    assert record["status"] == "failed" and record["step"] == "a"
    assert record["error"] == {"name": "ZeroDivisionError", "message": "division by zero", "cell": "cell-0"}
    cells = read_cells(tmp_path, "a")
    assert cells["cell-0"].outputs[0].ename == "ZeroDivisionError"
    assert cells["cell-1"].metadata.papermill.status == "pending"
    assert not list((tmp_path / "out" / "notebooks").glob("b.*"))


def test_kernel_killed_with_sigkill_is_killed_not_completed(run, tmp_path):
    (record,) = run(["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "print('later')"], ["1"])
    assert record["status"] == stored_record(tmp_path)["status"] == "killed"
    assert record["error"]["cell"] == "cell-0" and "SIGKILL" in record["error"]["message"]
    cells = read_cells(tmp_path, "a")
    assert [cells[name].metadata.papermill.status for name in ("parameters", "cell-0", "cell-1")] == [
        "completed",
        "failed",
        "pending",
    ]
    assert cells["cell-0"].outputs[0].ename == "KernelDied"


def test_kernel_that_ends_by_itself_is_killed(run):
    (record,) = run(["import os\nos._exit(0)"])
    assert record["status"] == "killed" and "exit code 0" in record["error"]["message"]


@pytest.mark.parametrize("limit", ["cell_timeout", "notebook_timeout"])
def test_a_cell_and_a_notebook_over_their_limits_are_killed_and_their_kernel_gone(run, tmp_path, limit):
    source = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    (record,) = run([source], ["1"], options=runner.Options(**{limit: 3}))
    name, what = {"cell_timeout": ("CellTimeout", "a cell"), "notebook_timeout": ("NotebookTimeout", "the notebook")}[
        limit
    ]
    assert record["status"] == "killed"
    assert record["error"] == {"name": name, "message": f"{what} took longer than 3 s", "cell": "cell-0"}
    pid = int(read_cells(tmp_path, "a")["cell-0"].outputs[0].text)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_notebook_within_its_limit_is_done_and_the_next_has_its_own(run):
    records = run(
        ["import time\ntime.sleep(2)"], ["import time\ntime.sleep(2)"], options=runner.Options(notebook_timeout=60)
    )
    assert [record["status"] for record in records] == ["done", "done"]


def test_a_notebook_that_leaves_early_has_failed(run):
    (record,) = run(["import sys\nsys.exit(0)", "print('the work')"])
    assert record["status"] == "failed" and record["error"]["name"] == "EndedEarly"


def test_native_crash_leaves_its_traceback_beside_the_copy(run, tmp_path):
    source = "import os, sys\nos.write(sys.__stderr__.fileno(), b'native words')\nos.abort()"
    assert "SIGABRT" in run([source])[0]["error"]["message"]
    assert (tmp_path / "out" / "notebooks" / "a.log").stat().st_size > 0


def test_copy_that_cannot_be_written_is_a_failed_step(run, tmp_path):
    (tmp_path / "out" / "notebooks" / "a.ipynb").mkdir(parents=True)
    (record,) = run(["1"], ["2"])
    assert record["status"] == stored_record(tmp_path)["status"] == "failed"
    assert "a.ipynb" in record["error"]["message"]


def test_second_run_replaces_its_steps_and_keeps_the_others(run, tmp_path):
    run(["1"], ["1 / 0"], ["3"])
    steps = [plan.Step("b", write_notebook(tmp_path / "notebooks" / "0_b.ipynb", "2"), {})]
    runner.run_plan(steps, tmp_path / "out")
    assert {record["step"]: record["status"] for record in load_records(tmp_path / "out")} == {
        "a": "done",
        "b": "done",
    }


def test_record_says_running_while_a_step_runs(run, tmp_path):
    run([f"print(open({str(tmp_path / 'out' / 'notebooks' / 'a.json')!r}).read())"])
    assert json.loads(read_cells(tmp_path, "a")["cell-0"].outputs[0].text)["status"] == "running"


def test_run_works_where_the_temporary_folder_has_a_very_long_name(run, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert run(["1"])[0]["status"] == "done"


def take_signals_as_in_a_terminal():
    """A test run in the background, or under nohup, ignores some of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "lines"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGHUP, 0)])
def test_interrupted_run_says_so_and_leaves_no_kernel(tmp_path, number, lines):
    """SIGHUP comes when the terminal is closed: nothing more can be said there."""
    source = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(100)"
    write_notebook(tmp_path / "notebooks" / "00_a.ipynb", source)
    command = [sys.executable, "-m", "hpa_lib", "run", "--only", "00", "--notebooks", str(tmp_path / "notebooks")]
    command += ["--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=take_signals_as_in_a_terminal)
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and len(errors.splitlines()) == lines, errors
    record = stored_record(tmp_path, "00_data")
    assert record["status"] == "interrupted" and record["error"]["cell"] == "cell-0"
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text()}")


@pytest.mark.parametrize("text", ["", '{"steps": [', "[]", "{}", '{"step": 3}'])
def test_a_damaged_record_is_set_aside_and_the_run_goes_on(run, tmp_path, capsys, text):
    (tmp_path / "out" / "notebooks").mkdir(parents=True)
    (tmp_path / "out" / "notebooks" / "a.json").write_text(text)
    assert run(["1"])[0]["status"] == stored_record(tmp_path)["status"] == "done"
    (aside,) = (tmp_path / "out" / "notebooks").glob("a.json.damaged*")
    assert aside.read_text() == text
    assert "a.json is damaged" in capsys.readouterr().out


def test_what_the_client_could_not_do_is_no_dead_kernel(run, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Kernel didn't respond in 60 seconds")

    monkeypatch.setattr("papermill.execute_notebook", fail)
    (record,) = run(["1"])
    assert record["status"] == "failed"
    assert record["error"] == {
        "name": "RuntimeError", "message": "Kernel didn't respond in 60 seconds", "cell": None,
    }  # fmt: skip


@pytest.mark.parametrize("problem", [KeyError("metadata"), TypeError("odd"), OSError("no space left")])
def test_any_error_of_the_machinery_ends_the_step_not_the_record(run, tmp_path, monkeypatch, problem):
    def fail(*_, **__):
        raise problem

    monkeypatch.setattr("papermill.execute_notebook", fail)
    assert run(["1"])[0]["status"] == stored_record(tmp_path)["status"] == "failed"
    assert stored_record(tmp_path)["error"]["name"] == type(problem).__name__


def test_a_kernel_that_dies_at_its_start_is_killed(run, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no Python starts with it
    (record,) = run(["1"])
    assert record["status"] == "killed" and record["error"]["name"] == "KernelDied"
    assert "exit code 1" in record["error"]["message"]


def test_a_run_stopped_before_the_first_cell_names_none(run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "started_kernel", interrupt)
    (record,) = run(["1"])
    assert record["status"] == "interrupted" and record["error"]["cell"] is None


def test_kernels_talk_over_tcp_where_there_are_no_unix_sockets(run, monkeypatch):
    asked = []

    def manager(**options):
        asked.append(options["transport"])
        raise RuntimeError

    monkeypatch.setattr(runner, "AsyncKernelManager", manager)
    for system in ("win32", "darwin", "linux"):
        monkeypatch.setattr("sys.platform", system)
        assert run(["1"])[0]["status"] == "failed"
    assert asked == ["tcp", "ipc", "ipc"]
