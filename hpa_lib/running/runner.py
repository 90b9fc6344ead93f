"""Run a plan of notebooks headlessly and strictly, and leave in ``notebooks/<step>.json`` what happened.

A notebook counts as done only if every cell ran. Papermill alone reports a killed kernel's notebook as completed; here
the status is ``killed``, the cell is marked in the executed copy, and the run stops.
"""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_async, run_sync
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError

from hpa_lib import locks, provenance, store
from hpa_lib.running import files, gpus, limits, plan, progress, records
from hpa_lib.training import checkpoints

# ipykernel ends with its parent by a thread of Python, which a long call of C keeps waiting; Linux does not wait.
KERNEL = """\
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
from ipykernel import kernelapp
kernelapp.launch_new_instance()
"""
LONGEST_SOCKET_PATH = 103  # bytes in the sockaddr_un of macOS, less the closing zero; Linux takes 107


class Options(NamedTuple):
    """How the steps of a plan are run."""

    profile: str = ""  # its name, for the records
    resume: bool = False  # skip what is up to date, see ``files.why_again``
    cell_timeout: int | None = None  # seconds that one cell may take; None for no limit
    notebook_timeout: int | None = None  # seconds that one notebook may take
    threads: int = 0  # of each kernel on the CPU; 0 for all cores
    attempt: int = 1  # above 1 only a step that was stopped from outside is run again: for want of memory or time


NO_LIMITS = Options()


def run_plan(steps: list[plan.Step], out: Path, options: Options = NO_LIMITS) -> list[dict]:
    """The records of the steps, run in order until the first that is not done.

    The executed copies are stored in ``out/notebooks/<step>.ipynb``, the records beside them, as steps start and
    finish. Ctrl-C, SIGTERM and the closing of the terminal stop the run as ``interrupted``. Each step is locked while
    it runs: other steps of the same run set may run beside it.

    Args:
        steps: from ``plan.make_plan``.
        out: the run set's folder.
        options: see there.

    Returns:
        Per step its ``status`` (``done``, ``failed``, ``killed`` or ``interrupted``), ``seconds``, ``error``,
        ``peak_memory_mb``, ``versions`` and what else ``records.begin`` holds.

    Raises:
        locks.Locked: another process works on a step; it has not been started.
    """
    for name in ("papermill", "asyncio"):  # what they would say is in the record: the task of an interrupted cell, too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    out, done, started = Path(out), [], time.monotonic()
    expected, width = records.expected_seconds(out, steps), max(len(step.name) for step in steps)
    with limits.signals_as_interrupt():
        for number, step in enumerate(steps, start=1):
            head, log = f"[{number}/{len(steps)}] {step.name:<{width}}", out / "notebooks" / f"{step.name}.log"
            state = progress.Progress(head, log, expected[number - 1 :], started)
            with locks.step(out, step.notebook.stem, step.run):
                done.append(_run_step(step, out, options, state))
            if done[-1]["status"] != "done":
                break
    return done


def _run_step(step: plan.Step, out: Path, options: Options, state: progress.Progress) -> dict:
    """The record of one step, which this process has locked; it is stored before the start and after the end."""
    earlier = records.load(out, step.name)
    if earlier and earlier["status"] == "running":
        where = f"on {earlier.get('host')} (started {earlier.get('started')})"
        print(f"{step.name} was interrupted {where}: its process was killed", flush=True)
    if options.attempt > 1 and earlier and earlier["status"] != "done" and not _was_stopped(earlier):
        print(f"{step.name} is not tried again: more memory or time would not change how it ended", flush=True)
        return earlier
    if options.resume and not files.why_again(out, step, earlier):
        print(state.head, "up to date", flush=True)
        return earlier
    if options.resume and step.run and earlier and files.was_trained_otherwise(out, step, earlier):
        for folder in (out / "runs" / step.run, out / "runs" / step.run / "head"):
            checkpoints.forget(folder)  # else the training would be refused: its settings are others
    record = records.begin(out, step, options.profile)
    with gpus.claimed() if step.run else contextlib.nullcontext({}) as devices, progress.shown(state.line):
        environment = devices | gpus.thread_limits(options.threads)
        environment[locks.HELD] = str(locks.path_of(out, step.notebook.stem, step.run))
        record |= run_notebook(step, out, options, state, environment)
    if record["status"] == "done" and step.notebook.stem == locks.DATA:
        record["inputs"] = files.digest_inputs(out, step)  # it draws the data where there are none
    print(state.head, _outcome(record), flush=True)
    return records.save(out, record | {"finished": provenance.now()})


def _was_stopped(record: dict) -> bool:
    """From outside: the kernel was killed, or the job (before it could say so, or by a batch system's time limit)."""
    return record["status"] in ("running", "interrupted") or (record.get("error") or {}).get("name") == "KernelDied"


def run_notebook(
    step: plan.Step,
    out: Path,
    options: Options = NO_LIMITS,
    state: progress.Progress | None = None,
    environment: Mapping[str, str] | None = None,
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
        with (
            limits.clock(options.notebook_timeout),
            started_kernel(step.notebook.parent, state.log, environment or {}) as kernel,
        ):
            process = kernel.provisioner.process
            try:
                executed_notebook = papermill.execute_notebook(
                    str(step.notebook),
                    str(executed),
                    step.parameters,
                    progress_bar=False,
                    execution_timeout=options.cell_timeout,
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
        status, error = (
            "killed",
            {"name": "CellTimeout", "message": f"a cell took longer than {options.cell_timeout} s"},
        )
    except Exception as problem:  # nbclient and its parts raise many kinds, RuntimeError for most of what can happen
        if returncode is None:
            status, error = "failed", {"name": type(problem).__name__, "message": str(problem)}
        else:
            status, error = "killed", {"name": "KernelDied", "message": _why_dead(returncode)}
    except limits.OverLimit:
        status, error = "killed", _over("NotebookTimeout", "the notebook", options.notebook_timeout)
    except KeyboardInterrupt:
        status, error = "interrupted", {"name": "Interrupted", "message": "stopped by Ctrl-C or a signal"}
    if error:
        error["cell"] = _mark_stopped_cell(executed, error, status)
    if state.log.exists() and state.log.stat().st_size == 0:
        state.log.unlink()
    cost = {"seconds": round(time.monotonic() - start, 1), "peak_memory_mb": memory[-1]}
    return {"status": status, "error": error} | cost


@contextlib.contextmanager
def started_kernel(folder: Path, log: Path, more: Mapping[str, str]) -> Iterator[AsyncKernelManager]:
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
        kernel.kernel_spec.argv = [sys.executable, "-c", KERNEL, "-f", "{connection_file}"]
        environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
        environment |= {"IPYTHONDIR": f"{private}/ipython", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "TQDM_DISABLE": "1"}
        environment |= more
        try:
            options = {"stdout": stream, "stderr": stream, "extra_arguments": ["--HistoryManager.hist_file=:memory:"]}
            _wait(kernel.start_kernel(cwd=str(folder), env=environment, **options))
            yield kernel
        finally:
            if kernel.has_kernel:
                _wait(kernel.shutdown_kernel(now=sys.exc_info()[0] is not None))
            _wait(kernel.cleanup_resources())


def _wait(coroutine):
    return run_sync(ensure_async)(coroutine)


def _over(name: str, what: str, seconds: int) -> dict:
    return {"name": name, "message": f"{what} took longer than {seconds} s"}


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
