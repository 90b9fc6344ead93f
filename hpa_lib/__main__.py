"""The ``hpa`` command. Exit codes: 0 all is well, 1 findings or a failed run, 2 bad usage, 130 interrupted."""

import argparse
import importlib
import os
import sys
from pathlib import Path

import hpa_lib
from hpa_lib import provenance


def main(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; errors are one sentence on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments == ["--version"]:
            commit = provenance.commit()
            print(f"hpa-kit {hpa_lib.__version__}" + (f" (commit {commit})" if commit else ""))
            return 0
        if arguments[:1] == ["synth"]:
            import hpa_synth.__main__  # which has the arguments; --help and the other commands need no generator

            return hpa_synth.__main__.draw(arguments[1:], "hpa synth")
        options = make_parser().parse_args(arguments)
        module, _, function = options.command.partition(".")  # imported only now: --help needs no Keras
        return getattr(importlib.import_module(f"hpa_lib.commands.{module}"), function)(options)
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


def _count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets ``command`` to a function of ``hpa_lib.commands``, by name."""
    parser = argparse.ArgumentParser(prog="hpa", description="The Human Protein Atlas study from the command line.")
    parser.add_argument("--version", action="store_true", help="print the version and the git commit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("synth", help="draw a synthetic data set in Kaggle's layout")
    _add_import(commands)
    _add_data_commands(commands)
    _add_run(commands)
    _add_grid(commands)
    _add_score_commands(commands)
    _add_leaderboard(commands)
    _add_clean(commands)
    _add_teaching_commands(commands)
    _add_predict(commands)
    _add_verify(commands)
    return parser


def _add_import(commands) -> None:
    images = commands.add_parser("import", help="your own images -> Kaggle's layout (docs/own_data.md)")
    add = images.add_argument
    add("source", metavar="SOURCE", type=_path, help="folder of PNG, TIFF or JPEG files")
    add("out", metavar="OUT", type=_path, help="new folder, or one to go on with")
    add("--pattern", default="{id}_{channel}", help="of file names; without {channel}: colour files")
    add("--channels", default="", metavar="red=w1,green=w2,...", help="names in the files; default: the colours")
    add("--scale", default="full", metavar="full|data|LOW:HIGH", help="how 16 bits become 8; default: 65535 is 255")
    add("--crop", action="store_true", help="keep the middle square of images that are not square")
    add("--labels", type=_path, metavar="CSV", help="table with Id and HPA's location names, or class numbers")
    add("--label-column", default="Location", metavar="NAME", help="default: Location")
    add("--group-column", default="", metavar="NAME", help="column that becomes groups.csv; default: none")
    add("--strict", action="store_true", help="with any finding write no table: all images or none")
    images.set_defaults(command="data.import_folder")


def _add_data_commands(commands) -> None:
    check = commands.add_parser("check", help="all that is wrong with a data folder, each finding with its remedy")
    check.add_argument("data", metavar="DATA", type=_path)
    check.add_argument("--size", type=int, default=0, metavar="PX", help="report images with fewer pixels per side")
    check.add_argument(
        "--quick", action="store_true", help="read headers only; decoding every PNG takes as long as building the cache"
    )
    check.add_argument("--out", default="", metavar="DIR", help="run set whose cache/ takes what is in zip archives")
    check.add_argument("--strict", action="store_true", help="notes count as failures too")
    check.set_defaults(command="data.check")

    weights = commands.add_parser("weights", help="which ImageNet weights are here, and fetching the others")
    weights.add_argument("--fetch", nargs="?", const="", metavar="MODEL", help="download them; default: all missing")
    weights.set_defaults(command="data.list_weights")


def _add_run(commands) -> None:
    run = commands.add_parser("run", help="run the notebooks headlessly and strictly")
    add = run.add_argument
    add("--profile", default="", metavar="demo|course|kaggle", help="default: demo")
    add("--only", default="", metavar="01,05", help="notebooks (number or name) or steps; default: all of the profile")
    add("--data", default="", metavar="DIR", help="in Kaggle's layout; default: the run set's, else the profile's")
    add("--out", default="", metavar="DIR", help="folder of this run set; default: HPA_OUT, else the profile's")
    value = "a parameter; default: the profile's value, else the notebook's"
    add("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=value)
    add("--dry-run", action="store_true", help="check and show the plan, start nothing; with --resume: also why")
    add("--resume", action="store_true", help="skip steps whose code, parameters and inputs are as when they were done")
    add("--cell-timeout", type=_count, metavar="SECONDS", help="stop when one cell takes longer; default: no limit")
    add("--notebook-timeout", type=_count, metavar="SECONDS", help="stop when one notebook does; default: no limit")
    add("--threads", type=_count, default=0, metavar="N", help="of each kernel on the CPU; default: all cores")
    add("--attempt", type=_count, default=1, metavar="N", help="above 1: run only what was killed; default: 1")
    add("--end-with-parent", type=_count, metavar="PID", help="stop when the process PID, which started this, has died")
    add("--notebooks", type=_path, metavar="DIR", help="folder of the numbered notebooks; default: the project's")
    run.set_defaults(command="run.run")


def _add_grid(commands) -> None:
    grid = commands.add_parser("grid", help="all runs of a grid file, as a Snakemake workflow")
    add = grid.add_argument
    add("grid", metavar="GRID.yml", type=_path, help="networks, recipes, folds, ...; see workflow/grid.yml")
    add("--executor", choices=("local", "slurm"), default="local", help="who runs the jobs; default: local")
    add("--profile", type=_path, metavar="DIR", help="Snakemake's, see workflow/README.md; default: none, or slurm's")
    add("--jobs", type=_count, metavar="N", help="cores in use here, or jobs at a time in SLURM; default: all cores")
    add("--dry-run", action="store_true", help="check, and show what would run and why; default: start")
    add("--notebooks", type=_path, metavar="DIR", help="folder of the numbered notebooks; default: the project's")
    grid.set_defaults(command="grid.start")


def _add_score_commands(commands) -> None:
    runs = commands.add_parser("runs", help="all runs of a run set, the best on validation first")
    runs.add_argument(
        "out", nargs="?", default="", metavar="OUT", help="default: HPA_OUT, else the newest finished one"
    )
    runs.set_defaults(command="scores.list_runs")

    report = commands.add_parser("report", help="the report page of a run set, and its tables for a text of your own")
    report.add_argument(
        "out", nargs="?", default="", metavar="OUT", help="default: HPA_OUT, else the newest finished one"
    )
    report.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples; default: 1000")
    report.set_defaults(command="scores.write_report")

    add = commands.add_parser("add-run", help="store any model's table of probabilities as a run")
    add.add_argument("name", metavar="NAME", help="of the run, such as resnet50-fastai")
    add.add_argument("table", metavar="PROBS.csv", type=_path, help="Id and one column per class, by number or name")
    add.add_argument("--out", default="", metavar="DIR", help="run set; default: HPA_OUT, else the newest finished one")
    add.add_argument("--fold", type=int, default=0, help="the fold that validates this model; default: 0")
    add.add_argument("--replace", action="store_true", help="write over a run of this name")
    add.set_defaults(command="scores.add_run")

    score = commands.add_parser("score", help="macro F1 of a submission against a truth file")
    score.add_argument("submission", metavar="SUBMISSION", type=_path)
    score.add_argument("truth", metavar="TRUTH", type=_path)
    shares = "share of a public part, such as Kaggle's .29; the rest is private; default: no parts"
    score.add_argument("--public", type=float, default=0.0, metavar="SHARE", help=shares)
    score.set_defaults(command="scores.score")

    submission = commands.add_parser("submission", help="work on submission files")
    check = submission.add_subparsers(required=True, metavar="ACTION").add_parser("check", help="would Kaggle take it?")
    check.add_argument("submission", metavar="SUBMISSION", type=_path)
    check.add_argument("sample", metavar="SAMPLE", type=_path)
    check.set_defaults(command="scores.check_submission")


def _add_leaderboard(commands) -> None:
    codes = "exit code: 0 all were ranked, 1 some could not be scored (not ranked: ...), 2 bad usage"
    board = commands.add_parser("leaderboard", help="the submissions of a course, checked and ranked", epilog=codes)
    add = board.add_argument
    add("submissions", metavar="SUBMISSIONS_DIR", type=_path, help="one file, zip archive or folder per team")
    add("truth", metavar="TRUTH", type=_path, help="Id,Target of the test images, such as truth/test_truth.csv")
    add("--public", type=float, default=0.3, metavar="SHARE", help="share of the public part; default: .3")
    add("--final", action="store_true", help="rank by the private part; default: the public part alone")
    add("--baselines", type=_path, metavar="RUNSET", help="adds the study's CNN and the best classical run")
    add("--anonymous", action="store_true", help="numbers in place of names; the key is DIR-key.json, beside DIR")
    add("--out", type=_path, metavar="DIR", help="writes leaderboard.csv, .md and .html (a page for the wall)")
    board.set_defaults(command="board.make")


def _add_clean(commands) -> None:
    clean = commands.add_parser("clean", help="what of a run set is safe to delete, with sizes")
    clean.add_argument("out", metavar="OUT", help="the run set")
    clean.add_argument("--yes", action="store_true", help="delete it; default: list it")
    clean.set_defaults(command="clean.clean")


def _add_teaching_commands(commands) -> None:
    exercises = commands.add_parser("exercises", help="the exercises to hand out, and their solved copies")
    exercises.add_argument("out", metavar="OUT", type=_path, help="folder that gets student/ and solved/")
    exercises.add_argument("--replace", action="store_true", help="write over copies that were changed since")
    exercises.set_defaults(command="teaching.write_exercises")
    codes = "exit code: 0 all were graded, 1 some files could not be or were left out (note: ...), 2 bad usage"
    grade = commands.add_parser("grade", help="points of handed-in exercises: runs the students' code", epilog=codes)
    grade.add_argument("handed_in", metavar="HANDED_IN", type=_path, help="folder with one folder per student")
    grade.add_argument("table", metavar="GRADES.csv", type=_path, help="new table: points and note per cell")
    grade.set_defaults(command="teaching.grade")


def _add_predict(commands) -> None:
    predict = commands.add_parser("predict", help="a finished run on new images without labels")
    add = predict.add_argument
    add("run", metavar="RUN", help="its name, as hpa runs prints it")
    add("images", metavar="IMAGES", type=_path, help="folder of channel files, such as <Id>_green.png")
    add("out", metavar="OUT", type=_path, help="folder for probs.csv, labels.csv and findings.csv")
    add("--from", dest="run_set", default="", metavar="RUNSET", help="default: HPA_OUT, else the newest finished one")
    add("--page", action="store_true", help="page.html too: thumbnails and labels of the first 1,000 images")
    predict.set_defaults(command="predict.predict")


def _add_verify(commands) -> None:
    verify = commands.add_parser("verify", help="does every number of a run set follow from what it has stored?")
    verify.add_argument("out", metavar="RUNSET", type=_path)
    data = "with sample_submission.csv and, for test scores, truth/; default: what notebook 00 read"
    verify.add_argument("--data", type=_path, metavar="DIR", help=data)
    verify.set_defaults(command="verify.verify")


if __name__ == "__main__":
    sys.exit(main())
