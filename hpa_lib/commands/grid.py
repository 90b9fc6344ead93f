"""``hpa grid``: the runs of a grid file as a Snakemake workflow, on this machine or through SLURM."""

import argparse
import contextlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

from hpa_lib import __main__, locks, paths
from hpa_lib.commands import run
from hpa_lib.data import parallel
from hpa_lib.running import files, gpus, grid, limits, plan, records

WORKFLOW = paths.PROJECT / "workflow"
NEEDS = {"local": ["snakemake"], "slurm": ["snakemake", "snakemake_executor_plugin_slurm"]}  # executor -> packages
INSTALL = f"{sys.executable} -m pip install --require-hashes --no-deps -r {WORKFLOW / 'requirements.lock'}"


def start(options: argparse.Namespace) -> int:
    """Check everything, then let Snakemake run what is not up to date."""
    folder = options.notebooks or paths.PROJECT / "notebooks"
    steps = grid.make_steps(options.grid, folder)
    out = Path(steps[0].parameters["OUT"])
    _check(options, folder, out)
    runs = sum(bool(step.run) for step in steps)
    print(f"{options.grid}: {runs} runs, {len(steps)} notebooks, run set {out}", flush=True)
    command = _snakemake(options, folder.resolve(), out) + _force(steps, out)
    if options.dry_run:
        return subprocess.run(command).returncode
    with locks.workflow(out), limits.signals_as_interrupt():
        if options.executor == "slurm":
            _refuse_queued(out)
        locks.refuse_held(locks.path_of(out, step.notebook.stem, step.run) for step in steps)
        code = _follow(command)
    if code:
        print(f"hpa: {_explain(code, steps, out)}", file=sys.stderr)
        return 1
    print(f"done: {out}")
    return 0


def _check(options: argparse.Namespace, folder: Path, out: Path) -> None:
    """Refuse what cannot work: the checks of ``hpa run`` for all steps, and Snakemake must be there."""
    request = ["run", "--profile", str(options.grid), "--notebooks", str(folder), "--out", str(out), "--dry-run"]
    with contextlib.redirect_stdout(io.StringIO()):
        run.run(__main__.make_parser().parse_args(request))
    missing = [name for name in NEEDS[options.executor] if importlib.util.find_spec(name) is None]
    if missing:
        raise plan.Refused(f"{missing[0]} is not installed: {INSTALL}")
    if not hasattr(os, "killpg"):
        raise plan.Refused("hpa grid needs Linux or macOS: on Windows, use hpa run --profile GRID.yml")


def _snakemake(options: argparse.Namespace, folder: Path, out: Path) -> list[str]:
    """The command line. Snakemake's lock of the folder is ours here, which ends with its process."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile"), "--directory", str(out)]
    command += ["--nolock", "--rerun-incomplete", "--keep-going"]
    command += ["--dry-run", "--quiet", "host"] if options.dry_run else ["--quiet", "host", "rules"]
    command += ["--rerun-triggers", "params", "input", "mtime", "--max-checksum-file-size", "100MB"]
    places = {"grid": options.grid.resolve(), "notebooks": folder}  # quoted: Snakemake reads values as YAML
    quoted = (f"{name}={urllib.parse.quote(str(path))}" for name, path in places.items())
    command += ["--config", *quoted, f"parent={os.getpid()}"]
    if options.executor == "local":
        command += ["--cores", str(options.jobs or parallel.count_cores())]
        command += ["--resources", f"gpu={len(gpus.list_gpus())}"]
    else:
        command += ["--executor", options.executor]
        command += ["--jobs", str(options.jobs)] if options.jobs else []
    profile = options.profile or (WORKFLOW / "profiles" / "slurm" if options.executor == "slurm" else None)
    return command + (["--profile", str(profile.resolve())] if profile else [])


def _force(steps: list[plan.Step], out: Path) -> list[str]:
    """The option that runs again what is there and not up to date by the steps' own records.

    Snakemake knows only what it ran itself: ``hpa run`` and notebooks run by hand may have changed results since.
    """
    there = [step for step in steps if all((out / name).exists() for name in files.writes(step))]
    stale = [step for step in there if files.why_again(out, step, records.load(out, step.name))]
    return ["--forcerun", *(files.writes(step)[0] for step in stale)] if stale else []


def _refuse_queued(out: Path) -> None:
    """Jobs of a workflow that was killed go on in SLURM: a second start of them must wait."""
    try:
        words = ["squeue", "--noheader", "--format", "%i %Z"]
        queue = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise plan.Refused(f"squeue does not answer ({said.strip()}): start this where SLURM works") from None
    jobs = [line.split()[0] for line in queue.stdout.splitlines() if line.endswith(f" {out}")]
    if jobs:
        raise plan.Refused(f"jobs of an earlier start still work on {out}: wait, or scancel {' '.join(jobs)}")


def _follow(command: list[str]) -> int:
    """Snakemake's exit code, after all processes that it started have ended.

    They are a process group, so that a signal reaches all of them: Snakemake alone would wait for its running jobs.
    """
    options = {"start_new_session": True, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen(command, preexec_fn=_take_interrupts, **options)
    try:
        return process.wait()
    except KeyboardInterrupt:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGINT)
        raise
    finally:
        process.wait()
        _wait_for_group(process.pid)


def _take_interrupts() -> None:
    """A start with ``&`` in a script ignores Ctrl-C, and so would all processes below it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for_group(group: int) -> None:
    """Wait until no process of a group is left; a job notices within seconds that Snakemake was killed."""
    with contextlib.suppress(ProcessLookupError):
        while hasattr(os, "killpg"):
            os.killpg(group, 0)
            time.sleep(0.2)


def _explain(code: int, steps: list[plan.Step], out: Path) -> str:
    """What went wrong: the steps that are not done, by their records."""
    if code < 0:
        return f"Snakemake was ended by {signal.Signals(-code).name}: the same command goes on from there"
    stopped = [record for step in steps if (record := records.load(out, step.name)) and record["status"] != "done"]
    if not stopped:
        return f"Snakemake ended with exit code {code}: its own words are above"
    first, error = stopped[0], records.error_of(stopped[0])
    return (
        f"{len(stopped)} of {len(steps)} steps were stopped, first {first['step']} ({first['status']}): "
        f"{error['name']}: {error['message']} (see {out}/notebooks/{first['step']}.ipynb)"
    )
