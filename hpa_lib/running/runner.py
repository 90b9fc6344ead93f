"""Run a plan of notebooks headlessly and strictly, and leave in ``run.json`` what happened.

A notebook counts as done only if every cell ran. Papermill alone reports a killed kernel's notebook as completed; here
the status is ``killed``, the cell is marked in the executed copy, and the run stops.
"""

import contextlib
import logging
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_async, run_sync
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError

from hpa_lib import provenance, store
from hpa_lib.running import plan, progress, records

LONGEST_SOCKET_PATH = 103  # bytes in the sockaddr_un of macOS, less the closing zero; Linux takes 107


def run_plan(steps: list[plan.Step], out: Path, profile: str = "", cell_timeout: int | None = None) -> dict:
    """The record of a run (what ``run.json`` holds): each step run in order, until the first that is not done.

    The executed copies are stored in ``out/notebooks/<step>.ipynb``. ``out/run.json`` is rewritten as steps start and
    finish; entries of an earlier run's other steps stay in it. Ctrl-C, SIGTERM and the closing of the terminal stop the
    run as ``interrupted``. The run set is locked meanwhile: two runs would mark each other's steps.

    Args:
        steps: from ``plan.make_plan``.
        out: the run set's folder.
        profile: its name, for the record.
        cell_timeout: seconds one cell may take; None for no limit.

    Returns:
        ``status`` (``done``, ``failed``, ``killed`` or ``interrupted``), ``last_step``, ``steps`` (each with its own
        ``status``, ``seconds``, ``error``, ``peak_memory_mb``), and the ``versions``.

    Raises:
        store.Locked: another process runs steps of this run set; nothing has been started.
    """
    for name in ("papermill", "asyncio"):  # what they would say is in the record: the task of an interrupted cell, too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with store.lock(Path(out) / store.RUN_LOCK, f"the run set {out}"), _terminate_as_interrupt():
        earlier = records.earlier_steps(Path(out))
        expected = records.expected_seconds(steps, earlier)
        return _run_steps(steps, Path(out), records.begin(steps, earlier, profile), expected, cell_timeout)


def _run_steps(steps: list[plan.Step], out: Path, record: dict, expected: list, cell_timeout: int | None) -> dict:
    """The record after the last step that was run; every change of it is stored."""
    width, started = max(len(step.name) for step in steps), time.monotonic()
    for number, step in enumerate(steps, start=1):
        entry = next(planned for planned in record["steps"] if planned["step"] == step.name)
        entry.update(status="running", started=provenance.now(), host=platform.node())
        store.save_json(out, "run.json", record)
        head, log = f"[{number}/{len(steps)}] {step.name:<{width}}", out / "notebooks" / f"{step.name}.log"
        state = progress.Progress(head, log, expected[number - 1 :], started)
        with progress.shown(state.line):
            entry.update(run_notebook(step, out, cell_timeout, state))
        print(head, _outcome(entry), flush=True)
        store.save_json(out, "run.json", record)
        if entry["status"] != "done":
            break
    record.update(status=entry["status"], last_step=entry["step"], finished=provenance.now())
    store.save_json(out, "run.json", record)
    return record


def run_notebook(
    step: plan.Step, out: Path, cell_timeout: int | None = None, state: progress.Progress | None = None
) -> dict:
    """How one notebook's run ended: ``status``, ``seconds``, ``peak_memory_mb``, ``error`` (name, message, cell).

    ``cell`` is None where the run ended before its first cell.

    The kernel runs this very interpreter, with the notebook's folder as working directory. What its cells print, and
    what it writes past the notebook (a crash's native traceback), is stored beside the executed copy as ``<step>.log``,
    as it comes.
    """
    executed = out / "notebooks" / f"{step.name}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    state = state or progress.Progress(step.name, executed.with_suffix(".log"))
    start, memory, returncode = time.monotonic(), [None], None
    try:
        for old in (executed, state.log):  # never an older run's in place of this one's
            old.unlink(missing_ok=True)
        with started_kernel(step.notebook.parent, state.log) as kernel:
            process = kernel.provisioner.process
            try:
                executed_notebook = papermill.execute_notebook(
                    str(step.notebook),
                    str(executed),
                    step.parameters,
                    progress_bar=False,
                    execution_timeout=cell_timeout,
                    stdout_file=state,
                    stderr_file=state,
                    on_cell_start=state.start_cell,
                    on_cell_executed=lambda **_: memory.append(provenance.peak_memory_mb_of(process.pid)),
                    km=kernel,
                )
            finally:
                returncode = process.poll()  # None while the kernel lives: the end of the block shuts it down
        status, error = _every_cell_ran(executed_notebook)
    except PapermillExecutionError as problem:
        status, error = "failed", {"name": problem.ename, "message": problem.evalue}
    except CellTimeoutError:
        status, error = "killed", {"name": "CellTimeout", "message": f"a cell took longer than {cell_timeout} s"}
    except Exception as problem:  # nbclient and its parts raise many kinds, RuntimeError for most of what can happen
        if returncode is None:
            status, error = "failed", {"name": type(problem).__name__, "message": str(problem)}
        else:
            status, error = "killed", {"name": "KernelDied", "message": _why_dead(returncode)}
    except KeyboardInterrupt:
        status, error = "interrupted", {"name": "Interrupted", "message": "stopped by Ctrl-C or a signal"}
    if error:
        error["cell"] = _mark_stopped_cell(executed, error, status)
    if state.log.exists() and state.log.stat().st_size == 0:
        state.log.unlink()
    seconds = round(time.monotonic() - start, 1)
    return {"status": status, "seconds": seconds, "peak_memory_mb": memory[-1], "error": error}


@contextlib.contextmanager
def started_kernel(folder: Path, log: Path) -> Iterator[AsyncKernelManager]:
    """A running kernel of this interpreter, working in ``folder``; it is gone when the ``with`` block ends.

    It talks over sockets in a private folder, so that parallel runs cannot take each other's ports (Windows has no such
    sockets and takes ports), reads no personal IPython start-up files, and ignores ``MPLBACKEND``, which would keep
    the figures out of the executed copy. A kernel specification named ``python3`` elsewhere on the machine is not used.
    """
    short = tempfile.gettempdir() if len(tempfile.gettempdir()) < LONGEST_SOCKET_PATH - 40 else "/tmp"
    transport, sockets = ("tcp", None) if sys.platform == "win32" else ("ipc", short)
    with tempfile.TemporaryDirectory(prefix="hpa-", dir=sockets) as private, open(log, "ab") as stream:
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            transport=transport,
            connection_file=f"{private}/kernel.json",
        )
        environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
        environment |= {"IPYTHONDIR": f"{private}/ipython", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "TQDM_DISABLE": "1"}
        try:
            options = {"stdout": stream, "stderr": stream, "extra_arguments": ["--HistoryManager.hist_file=:memory:"]}
            _wait(kernel.start_kernel(cwd=str(folder), env=environment, **options))
            yield kernel
        finally:
            if kernel.has_kernel:
                _wait(kernel.shutdown_kernel())
            _wait(kernel.cleanup_resources())


def _wait(coroutine):
    return run_sync(ensure_async)(coroutine)


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM, which batch systems send before they kill, and a closed terminal end the run as tidily as Ctrl-C."""
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none

    def interrupt(number, _):
        if number == hang_up:  # the terminal is gone: a write to it would fail and end the run before its record
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    if hang_up and signal.getsignal(hang_up) != signal.SIG_IGN:  # `nohup` ignores it, on purpose
        numbers.append(hang_up)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _why_dead(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"the kernel ended by itself (exit code {returncode})"
    name = signal.Signals(-returncode).name
    hint = ": often the machine ran out of memory" if name == "SIGKILL" else ""
    return f"the kernel was ended by {name}{hint}"


def _every_cell_ran(notebook: nbformat.NotebookNode) -> tuple[str, dict | None]:
    """``done``, or ``failed`` where a code cell was never run: ``sys.exit()`` ends a notebook without an error."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    skipped = sum(cell.execution_count is None for cell in cells)
    if skipped:
        return "failed", {"name": "EndedEarly", "message": f"{skipped} of {len(cells)} code cells were never run"}
    return "done", None


def _mark_stopped_cell(executed: Path, error: dict, status: str) -> str | None:
    """The id of the cell where the run stopped; the executed copy then shows it as failed and the rest as not run."""
    if not executed.is_file():
        return None
    notebook = nbformat.read(executed, as_version=4)
    times = [cell.metadata.get("papermill", {}).get("start_time") for cell in notebook.cells]
    last = max((index for index, started in enumerate(times) if started), default=None)
    if last is None:
        return None
    cell = notebook.cells[last]
    cell.metadata.papermill.update(status="failed", exception=True)
    notebook.metadata.papermill["exception"] = True
    for later in notebook.cells[last + 1 :]:
        later.metadata.setdefault("papermill", {})["status"] = "pending"
    if cell.cell_type == "code" and status != "failed":  # a failed cell shows its traceback already
        texts = {"ename": error["name"], "evalue": error["message"], "traceback": [error["message"]]}
        cell.outputs.append(nbformat.v4.new_output("error", **texts))
    store.write_atomic(executed, lambda path: nbformat.write(notebook, path))
    return cell.get("id") or f"number {last}"


def _outcome(entry: dict) -> str:
    memory = f", {entry['peak_memory_mb']} MB" if entry["peak_memory_mb"] else ""
    return f"{entry['status']:<11} {entry['seconds']:7.1f} s{memory}"
