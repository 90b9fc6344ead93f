"""The ``hpa`` command. Exit codes: 0 all is well, 1 findings or a failed run, 2 bad usage, 130 interrupted."""

import argparse
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; errors are one sentence on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["synth"]:
            import hpa_synth.__main__  # which has the arguments; --help and the other commands need no generator

            return hpa_synth.__main__.draw(arguments[1:], "hpa synth")
        options = make_parser().parse_args(arguments)
        return options.command(options)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"hpa: {_explain(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hpa: interrupted", file=sys.stderr)
        return 130


def _explain(error: ValueError | OSError) -> str:
    """The sentence of an error; the system's own (a full disk, a folder that cannot be written) has no remedy yet."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    file = error.filename or "a file"
    return f"{file} cannot be used ({error.strerror}): make room or change its rights, or name another place"


def _path(text: str) -> Path:
    """A path of the command line; a shell leaves ``~`` as it is in quotation marks."""
    return Path(text).expanduser()


def make_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets ``command`` to its function."""
    parser = argparse.ArgumentParser(prog="hpa", description="The Human Protein Atlas study from the command line.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_data_commands(commands)
    _add_run(commands)
    _add_score_commands(commands)
    return parser


def _add_data_commands(commands) -> None:
    commands.add_parser("synth", help="draw a synthetic data set in Kaggle's layout")

    check = commands.add_parser("check", help="all that is wrong with a data folder, each finding with its remedy")
    check.add_argument("data", metavar="DATA", type=_path)
    check.add_argument("--size", type=int, default=0, metavar="PX", help="report images with fewer pixels per side")
    check.add_argument(
        "--quick", action="store_true", help="read headers only; decoding every PNG takes as long as building the cache"
    )
    check.add_argument("--out", default="", metavar="DIR", help="run set whose cache/ takes what is in zip archives")
    check.add_argument("--strict", action="store_true", help="notes count as failures too")
    check.set_defaults(command=check_command)

    weights = commands.add_parser("weights", help="which ImageNet weights are here, and where to get the others")
    weights.set_defaults(command=weights_command)


def _add_run(commands) -> None:
    run = commands.add_parser("run", help="run the notebooks headlessly and strictly")
    run.add_argument("--profile", default="demo", metavar="demo|course|kaggle", help="default: demo")
    run.add_argument("--only", default="", metavar="01,05", help="notebooks (number or name) or steps, with commas")
    run.add_argument("--data", default="", metavar="DIR", help="data folder in Kaggle's layout")
    run.add_argument("--out", default="", metavar="DIR", help="folder of this run set")
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    run.add_argument("--dry-run", action="store_true", help="check and show the plan, start nothing")
    run.add_argument("--cell-timeout", type=int, metavar="SECONDS", help="stop when one cell takes longer")
    run.add_argument("--notebooks", type=_path, metavar="DIR", help="folder of the numbered notebooks")
    run.set_defaults(command=run_command)


def _add_score_commands(commands) -> None:
    add = commands.add_parser("add-run", help="store any model's table of probabilities as a run")
    add.add_argument("name", metavar="NAME", help="of the run, such as resnet50-fastai")
    add.add_argument("table", metavar="PROBS.csv", type=_path, help="Id and one column per class, by number or name")
    add.add_argument("--out", default="", metavar="DIR", help="run set; default: HPA_OUT, else the newest finished one")
    add.add_argument("--fold", type=int, default=0, help="the fold that validates this model; default: 0")
    add.add_argument("--replace", action="store_true", help="write over a run of this name")
    add.set_defaults(command=add_run_command)

    score = commands.add_parser("score", help="macro F1 of a submission against a truth file")
    score.add_argument("submission", metavar="SUBMISSION", type=_path)
    score.add_argument("truth", metavar="TRUTH", type=_path)
    score.set_defaults(command=score_command)

    submission = commands.add_parser("submission", help="work on submission files")
    check = submission.add_subparsers(required=True, metavar="ACTION").add_parser("check", help="would Kaggle take it?")
    check.add_argument("submission", metavar="SUBMISSION", type=_path)
    check.add_argument("sample", metavar="SAMPLE", type=_path)
    check.set_defaults(command=submission_check_command)


def run_command(options: argparse.Namespace) -> int:
    """Plan, then run the notebooks of a profile."""
    from hpa_lib import paths
    from hpa_lib.running import plan, profiles

    if options.profile not in profiles.PROFILES:
        raise plan.Refused(f"unknown profile {options.profile!r}: use one of {', '.join(profiles.PROFILES)}")
    profile = profiles.PROFILES[options.profile]
    settings = dict(options.p)
    twice = [name for name in settings if sum(name == other for other, _ in options.p) > 1]
    if twice:
        raise plan.Refused(f"-p {twice[0]} is given twice: give it once")
    for name in {"DATA", "OUT"} & set(settings):
        raise plan.Refused(f"-p {name}: use --{name.lower()} DIR, which holds for the whole run")
    plan.check_keras()
    folder = options.notebooks or paths.PROJECT / "notebooks"
    only = [part.strip() for part in options.only.split(",") if part.strip()]
    chosen = plan.choose_steps(profile["steps"], folder, only)
    out = _choose_out(options.out, profile["out"], {number for _, number, _ in chosen})
    makes_data = any(number == "00" for _, number, _ in chosen)
    data = _choose_data(options, profile["data"], out, makes_data)
    steps = plan.make_plan(chosen, folder, settings=settings, fixed=profile["shared"] | {"DATA": data, "OUT": out})
    needs_data = any("DATA" in step.parameters for step in steps) and not makes_data and _has_test_images(out)
    if needs_data and not data.exists():
        raise plan.Refused(f"the data {data} is not there: name its folder with --data, or run 00_data.ipynb too")
    if options.dry_run:
        print(*(f"{step.name}: {step.notebook.name} {step.parameters}" for step in steps), sep="\n")
        return 0
    return _run(steps, out, options)


def _choose_out(given: str, default: Path, numbers: set[str]) -> Path:
    """The run set: ``--out``, ``HPA_OUT``, the profile's; where nothing is to be trained, the newest finished one."""
    from hpa_lib import paths, store

    if given or os.environ.get("HPA_OUT"):
        return paths.find_out(given)
    return store.find_run_set() if numbers <= {"05", "06", "07"} and not default.exists() else default


def _has_test_images(out: Path) -> bool:
    from hpa_lib import store

    stored = out / "data" / "dataset.json"
    return not stored.exists() or store.load_json(out, "data/dataset.json").get("test_images", 1) > 0


def _choose_data(options: argparse.Namespace, default: Path | str, out: Path, makes_data: bool) -> Path:
    """What the notebooks get as ``DATA``: an absolute path, since a kernel works in the notebooks' folder.

    A run set knows the data that it was made of, and keeps it unless notebook 00 is run again (``makes_data``).
    """
    import hpa_synth
    from hpa_lib import paths
    from hpa_lib.running import plan

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
    from hpa_lib import store
    from hpa_lib.data import kaggle
    from hpa_lib.running import plan

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


def _run(steps, out: Path, options: argparse.Namespace) -> int:
    from hpa_lib.running import runner

    record = runner.run_plan(steps, out, options.profile, options.cell_timeout)
    if record["status"] == "done":
        _print_results(out, has_report=any(step.notebook.name.startswith("07") for step in steps))
        return 0
    stopped = next(entry for entry in record["steps"] if entry["step"] == record["last_step"])
    error = stopped["error"]
    where = f"in cell {error['cell']}" if error["cell"] else "before its first cell"
    goes_on = record["status"] == "interrupted" or "was ended by" in error["message"]
    remedy = ": the same command goes on from the last finished epoch" if goes_on else ""
    print(
        f"hpa: {stopped['step']} {record['status']} {where}: {error['name']}: {error['message']} "
        f"(see {out}/notebooks/{stopped['step']}.ipynb){remedy}",
        file=sys.stderr,
    )
    return 130 if record["status"] == "interrupted" else 1


def _print_results(out: Path, has_report: bool) -> None:
    """The study's small table and the paths of the last files, where this run made them."""
    from hpa_lib import store

    if not has_report:
        print(f"done; hpa run --only 05,06,07 --out {out} compares all runs")
        return
    if (out / "tables" / "summary.csv").exists():
        table = store.load_table(out, "tables/summary.csv")
        print("\n" + table.to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    for name, what in (("report.html", "report"), ("submission.csv", "submission"), ("run.json", "record")):
        if (out / name).exists():
            print(f"{what:<11} {out / name}")


def check_command(options: argparse.Namespace) -> int:
    """Print the findings of a data folder; notes alone are no failure unless ``--strict``."""
    from hpa_lib import paths
    from hpa_lib.data import archives, checks

    data = archives.unpack_data(options.data, paths.find_out(options.out) / "cache" / "unpacked", clean=False)
    findings = checks.check(data, size=options.size, quick=options.quick)
    for severity, file, problem, remedy in findings[["severity", "file", "problem", "remedy"]].itertuples(index=False):
        print(f"{severity}: {file}: {problem}: {remedy}")
    serious = len(findings) if options.strict else int((findings["severity"] != "note").sum())
    print(f"{options.data}: {len(findings)} findings, {serious} of them to be fixed")
    return 1 if serious else 0


def weights_command(options: argparse.Namespace) -> int:
    """Print which ImageNet weights are here."""
    from hpa_lib.models import weights

    for row in weights.status():
        print(f"{row['model']}: {row['file']}: {row['present']}: {row['path'] or row['how']}")
    return 0


def score_command(options: argparse.Namespace) -> int:
    """Print the score of a submission."""
    from hpa_lib import atlas
    from hpa_lib.decisions import submission

    result = submission.score(options.submission, options.truth)
    print(f"macro F1    {result['macro_f1']:.4f}  (95 % interval {result['low']:.4f} to {result['high']:.4f})")
    print(f"micro F1    {result['micro_f1']:.4f}")
    print(f"images      {result['num_images']}, {result['num_empty']} of them without any label")
    for number, (name, f1) in enumerate(zip(atlas.LABELS, result["f1_per_class"], strict=True)):
        absent = "  (not in the truth)" if number in result["absent"] else ""
        print(f"  {number:2d} {name:<30} {f1:.4f}{absent}")
    return 0


def add_run_command(options: argparse.Namespace) -> int:
    """Store a table of probabilities as a run."""
    from hpa_lib import store
    from hpa_lib.decisions import foreign_runs

    out = store.find_run_set(options.out)
    images = foreign_runs.add(out, options.name, options.table, options.fold, options.replace)
    print(f"run {options.name} in {out}: {', '.join(f'{part} {number}' for part, number in images.items())} images")
    print(f"next: hpa run --only 05,06,07 --out {out}")
    return 0


def submission_check_command(options: argparse.Namespace) -> int:
    """Print what is wrong with a submission file."""
    from hpa_lib.decisions import submission

    problems = submission.check(options.submission, options.sample)
    print("\n".join(problems) or f"{options.submission} is in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
