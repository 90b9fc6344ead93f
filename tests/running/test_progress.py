"""What `hpa run` shows while a notebook runs, on a real terminal and in a pipe."""

import collections
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import nbformat
import pytest
from throwaway import write_notebook

from hpa_lib import store
from hpa_lib.running import plan, progress, records
from hpa_lib.training import loop

EPOCHS = """\
import time
for epoch in (1, 2):
    print(f"epoch {epoch:3d}/2  loss 0.1889  val loss 0.2  macro AP 0.1{epoch}0  macro F1 at .5 0.053", flush=True)
    time.sleep(1.5)
"""
SHORT_PAUSE = "import sys; from hpa_lib import __main__; from hpa_lib.running import progress; progress.PAUSE = 0.7; sys.exit(__main__.main())"  # fmt: skip # noqa: E501


@pytest.fixture
def command(tmp_path):
    """A factory: a folder of one notebook 05 whose last cell is the source; the arguments of `hpa` that run it."""

    def write(source):
        v4 = nbformat.v4
        cells = [
            v4.new_markdown_cell("# 05 Title"),
            v4.new_code_cell('OUT: str = ""', metadata={"tags": ["parameters"]}),
        ]
        cells += [v4.new_markdown_cell("## 5. Training\n\nText."), v4.new_code_cell(source)]
        kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        (tmp_path / "notebooks").mkdir()
        nbformat.write(
            v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "notebooks" / "05_x.ipynb"
        )
        return ["run", "--notebooks", str(tmp_path / "notebooks"), "--out", str(tmp_path / "out"), "--only", "05"]

    return write


class Terminal:
    """A command on a pseudo-terminal of some width."""

    def __init__(self, command, columns):
        self.end, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hpa_lib", *command], stdout=inner, stderr=inner, env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        os.close(inner)

    def read(self, until=None):
        """All that is written to the terminal; with ``until``, no more than it takes for that text to come."""
        text = ""
        while until is None or until not in text:
            try:
                text += os.read(self.end, 4096).decode()
            except OSError:  # Linux: the command has ended
                break
        return text


def screen(text):
    """The lines that are left on a terminal, and every state that the rewritten one had."""
    lines, states = [""], []
    for part in re.findall(r"\r\n|\r|[^\r]+", text):
        if part == "\r\n":
            lines.append("")
        elif part != "\r":
            states.append(part)
            lines[-1] = part + lines[-1][len(part) :]
    return [line.rstrip() for line in lines], states


@pytest.mark.parametrize(("columns", "runs", "last"), [(44, [], "done; once there are"), (150, ["a"], "done; hpa run")])
def test_one_line_is_rewritten_and_never_longer_than_the_terminal(command, tmp_path, columns, runs, last):
    for run in runs:
        store.save_json(tmp_path / "out", f"runs/{run}/result.json", {})
    terminal = Terminal(command(EPOCHS), columns)
    lines, states = screen(terminal.read())
    assert terminal.process.wait(timeout=60) == 0
    assert re.fullmatch(r"\[1/1\] 05_thresholds done +\d+\.\d s, \d+ MB", lines[0]), lines
    assert lines[1].startswith(last) and lines[2:] == [""]
    shown = [state for state in states if "remaining" in state]
    assert len(shown) >= 3 and max(map(len, shown)) < columns
    if columns == 150:
        line = r"\[1/1\] 05_thresholds  0:00:0\d, remaining: not known yet  epoch 2/2, macro AP 0\.120  5\. Training *"
        assert any(re.fullmatch(line, state) for state in shown), shown


def test_in_a_pipe_nothing_is_rewritten_and_a_line_comes_once_per_pause(command):
    assert progress.PAUSE == 60
    process = [sys.executable, "-c", SHORT_PAUSE, *command(EPOCHS)]
    done = subprocess.run(process, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "\r" not in done.stdout and done.stderr == ""
    assert [line[:5] for line in lines[:-1]] == ["[1/1]"] * len(lines[:-1]) and 3 <= len(lines) <= 10
    assert "epoch 2/2, macro AP 0.120  5. Training" in done.stdout and " done  " in lines[-2]


def test_log_takes_what_the_cells_print_as_it_comes(command, tmp_path):
    source = (
        "import sys, time\nprint('first', flush=True)\nprint('warning', file=sys.stderr, flush=True)\ntime.sleep(100)"
    )
    log = tmp_path / "out" / "notebooks" / "05_thresholds.log"
    terminal = Terminal(command(source), 80)
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text() == "first\nwarning\n"):
        assert time.monotonic() < deadline and terminal.process.poll() is None
        time.sleep(0.1)
    terminal.read(until="remaining")
    terminal.process.send_signal(signal.SIGINT)
    lines, _ = screen(terminal.read())
    assert terminal.process.wait(timeout=60) == 130
    texts = [line for line in lines if line and "remaining" not in line]
    assert re.fullmatch(r"\[1/1\] 05_thresholds interrupted +\d+\.\d s, \d+ MB", texts[0]), lines
    assert " ".join(texts[1:]).startswith("hpa: 05_thresholds interrupted in cell ")


def test_remaining_time_is_that_of_the_last_run_with_these_parameters_on_this_machine(tmp_path):
    notebook = write_notebook(tmp_path / "05_x.ipynb", "1")
    steps = [plan.Step(name, notebook, {"EPOCHS": 4}) for name in "abcde"]
    for step in steps[:-1]:
        record = records.begin(tmp_path, step, "") | {"status": "done", "seconds": 30.0}
        changes = {"b": {"host": "elsewhere"}, "c": {"parameters": {"EPOCHS": 5}}, "d": {"status": "failed"}}
        records.save(tmp_path, record | changes.get(step.name, {}))
    assert records.expected_seconds(tmp_path, steps) == [30, None, None, None, None]


def test_line_counts_down_to_the_end_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    state = progress.Progress("[2/3] b", tmp_path / "b.log", [100, 3600], started=400.0)
    assert state.line() == "[2/3] b  0:10:00, remaining: about 1:01:40"
    monkeypatch.setattr("time.monotonic", lambda: 1500.0)  # longer than the last time
    assert state.line() == "[2/3] b  0:18:20, remaining: about 1:00:00"
    state.expected = [100, None]
    assert state.line().endswith("remaining: not known yet")


def test_section_is_that_of_the_last_heading_and_begins_without_an_epoch(tmp_path):
    state = progress.Progress("a", tmp_path / "a.log")
    state.start_cell({"cell_type": "markdown", "source": "## 1. First\n\nText.\n### Deeper"}, 0)
    state.write("epoch   1/20  loss 1  macro AP 0.100  macro F1 at .5 0.053\nepoch   2/20  loss 1  macro AP 0.200  x\n")
    state.start_cell({"cell_type": "code", "source": "# a comment"}, 1)
    assert state.line().endswith("  epoch 2/20, macro AP 0.200  Deeper")
    state.start_cell({"cell_type": "markdown", "source": "## 2. Second"}, 2)
    assert state.line().endswith("not known yet  2. Second")


def test_lines_of_the_training_loop_are_understood():
    row = collections.defaultdict(lambda: 0.25, epoch=3)
    assert progress.EPOCH.findall(loop._line(row, 20, 3)) == [("3/20", "macro AP 0.250")]


def test_a_terminal_that_is_gone_is_no_traceback(monkeypatch):
    def fail():
        raise OSError("gone")

    problems = []
    monkeypatch.setattr("threading.excepthook", problems.append)
    monkeypatch.setattr(progress, "PAUSE", 0.01)
    with progress.shown(fail):
        time.sleep(0.1)
    assert problems == []


def test_the_next_run_knows_its_time(command, tmp_path):
    arguments = [sys.executable, "-m", "hpa_lib", *command("1")]
    subprocess.run(arguments, capture_output=True, check=True)
    record = records.load(tmp_path / "out", "05_thresholds")
    step = plan.Step(record["step"], tmp_path / "notebooks" / record["notebook"], {"OUT": str(tmp_path / "out")})
    assert records.expected_seconds(tmp_path / "out", [step]) == [record["seconds"]]
