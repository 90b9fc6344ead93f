"""``hpa run``: which notebooks, with which data and run set, and what is printed at the end."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hpa_synth
from hpa_lib import paths, store
from hpa_lib.data import kaggle
from hpa_lib.running import files, grid, limits, plan, profiles, records, runner


def run(options: argparse.Namespace) -> int:
    """Plan, then run the notebooks of a profile."""
    is_named, options.profile = bool(options.profile), options.profile or "demo"
    folder = options.notebooks or paths.PROJECT / "notebooks"
    profile = _find_profile(options.profile, folder)
    settings = dict(options.p)
    twice = [name for name in settings if sum(name == other for other, _ in options.p) > 1]
    if twice:
        raise plan.Refused(f"-p {twice[0]} is given twice: give it once")
    for name in {"DATA", "OUT"} & set(settings):
        raise plan.Refused(f"-p {name}: use --{name.lower()} DIR, which holds for the whole run")
    plan.check_keras()
    if os.environ.get("HPA_CACHE"):  # a kernel works in the notebooks' folder
        os.environ["HPA_CACHE"] = str(Path(os.environ["HPA_CACHE"]).expanduser().resolve())
    only = [part.strip() for part in options.only.split(",") if part.strip()]
    chosen = plan.choose_steps(profile["steps"], folder, only)
    only_reads = {number for _, number, _ in chosen} <= {"05", "06", "07", "08"}
    out = _choose_out(options.out, profile["out"], only_reads and not is_named)
    makes_data = any(number == "00" for _, number, _ in chosen)
    data = _choose_data(options, profile["data"], out, makes_data)
    steps = plan.make_plan(chosen, folder, settings=settings, fixed=profile["shared"] | {"DATA": data, "OUT": out})
    needs_data = any("DATA" in step.parameters for step in steps) and not makes_data and _has_test_images(out)
    if needs_data and not data.exists():
        raise plan.Refused(f"the data {data} is not there: name its folder with --data, or run 00_data.ipynb too")
    if options.dry_run:
        print(*_describe(steps, out, options.resume), sep="\n")
        return 0
    if options.end_with_parent:
        limits.end_with_parent(options.end_with_parent)
    return _execute(steps, out, options)


def _find_profile(name: str, folder: Path) -> dict:
    """A profile by its name, or a grid file."""
    if Path(name).suffix in (".yml", ".yaml"):
        return grid.load(Path(name).expanduser(), folder)
    if name not in profiles.PROFILES:
        raise plan.Refused(f"unknown profile {name!r}: use {', '.join(profiles.PROFILES)} or a grid file (.yml)")
    return profiles.PROFILES[name]


def _describe(steps: list[plan.Step], out: Path, resume: bool) -> Iterator[str]:
    """One line per step: its notebook and parameters, and with ``resume`` whether it would run and why."""
    again = []
    for step in steps:
        state = ""
        if resume:
            reason = files.why_again(out, step, records.load(out, step.name))
            before = files.depends_on(step, again)
            again += [step] if reason or before else []
            state = f": runs, since {reason}" if reason else ": up to date"
            state = f": may run, since {before[0]} runs before it" if before and not reason else state
        yield f"{step.name}: {step.notebook.name} {step.parameters}{state}"


def _choose_out(given: str, default: Path, take_newest: bool) -> Path:
    """The run set: ``--out``, ``HPA_OUT``, else the profile's or, with ``take_newest``, the newest finished one."""
    if given or os.environ.get("HPA_OUT"):
        return paths.find_out(given)
    return store.find_run_set() if take_newest else default


def _has_test_images(out: Path) -> bool:
    stored = out / "data" / "dataset.json"
    return not stored.exists() or store.load_json(out, "data/dataset.json").get("test_images", 1) > 0


def _choose_data(options: argparse.Namespace, default: Path | str, out: Path, makes_data: bool) -> Path:
    """What the notebooks get as ``DATA``: an absolute path, since a kernel works in the notebooks' folder.

    A run set knows the data that it was made of, and keeps it unless notebook 00 is run again (``makes_data``).
    """
    data, source = paths.find_data(options.data or default)
    if not makes_data and (out / "data" / "dataset.json").exists():
        return _data_of_run_set(out, data if options.data else None)
    if source == "synthetic default":
        raise plan.Refused(f"profile {options.profile} is for Kaggle's data: name its folder with --data or HPA_DATA")
    name = paths.synthetic_profile(data)  # refuses a missing folder that notebook 00 would not draw
    if name and name not in hpa_synth.DATA_SETS:
        names = ", ".join(paths.SYNTHETIC + known for known in hpa_synth.DATA_SETS)
        raise plan.Refused(f"the data {data} is not there, and '{name}' is no profile to draw: use one of {names}")
    hpa_synth.check_version(data)
    return data


def _data_of_run_set(out: Path, given: Path | None) -> Path:
    """The folder or zip that a run set was made of, or ``given`` where that holds the same data."""
    description = store.load_json(out, "data/dataset.json")
    if not {"path", "data_hash"} <= description.keys():
        raise plan.Refused(f"{out}/data/dataset.json does not name the data: run 00_data.ipynb with the same OUT")
    known = Path(description["path"])
    if given in (None, known):
        return known
    if given.is_dir() and kaggle.fingerprint(given) == description["data_hash"]:
        return given
    remedy = "leave --data out, choose another --out, or run 00_data.ipynb too"
    raise plan.Refused(f"the run set {out} was made of {known}, not of {given}: {remedy}")


def _execute(steps: list[plan.Step], out: Path, options: argparse.Namespace) -> int:
    chosen = {name: getattr(options, name) for name in runner.Options._fields}
    stopped = runner.run_plan(steps, out, runner.Options(**chosen))[-1]
    if stopped["status"] == "done":
        if not options.end_with_parent:  # the job of a workflow, which says more at its end
            _print_results(out, has_report=any(step.notebook.name.startswith("07") for step in steps))
        return 0
    error = records.error_of(stopped)
    where = f"in cell {error['cell']}" if error["cell"] else "before its first cell"
    goes_on = stopped["status"] == "interrupted" or "was ended by" in error["message"]
    again = "goes on from the last finished epoch" if stopped["run"] else "runs it again"
    remedy = f": the same command {again}, with --resume without the steps that are done" if goes_on else ""
    print(
        f"hpa: {stopped['step']} {stopped['status']} {where}: {error['name']}: {error['message']} "
        f"(see {out}/notebooks/{stopped['step']}.ipynb){remedy}",
        file=sys.stderr,
    )
    return 130 if stopped["status"] == "interrupted" else 1


def _print_results(out: Path, has_report: bool) -> None:
    """The study's small table and the paths of the last files, where this run made them."""
    if not has_report:
        wait = "" if any(out.glob("runs/*/result.json")) else "once there are runs, "
        print(f"done; {wait}hpa run --only 05,06,07 --out {out} compares them")
        return
    if (out / "tables" / "summary.csv").exists():
        table = store.load_table(out, "tables/summary.csv")
        print("\n" + table.to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    for name, what in (("report.html", "report"), ("submission.csv", "submission"), ("notebooks", "records")):
        if (out / name).exists():
            print(f"{what:<11} {out / name}")
