"""``hpa runs``, ``add-run``, ``score`` and ``submission check``: what stored runs and submissions are worth."""

import argparse

from hpa_lib.commands import path


def add(commands) -> None:
    """Add the commands of this file to argparse's subparsers."""
    runs = commands.add_parser("runs", help="all runs of a run set, the best on validation first")
    runs.add_argument(
        "out", nargs="?", default="", metavar="OUT", help="default: HPA_OUT, else the newest finished one"
    )
    runs.set_defaults(command=runs_command)

    add = commands.add_parser("add-run", help="store any model's table of probabilities as a run")
    add.add_argument("name", metavar="NAME", help="of the run, such as resnet50-fastai")
    add.add_argument("table", metavar="PROBS.csv", type=path, help="Id and one column per class, by number or name")
    add.add_argument("--out", default="", metavar="DIR", help="run set; default: HPA_OUT, else the newest finished one")
    add.add_argument("--fold", type=int, default=0, help="the fold that validates this model; default: 0")
    add.add_argument("--replace", action="store_true", help="write over a run of this name")
    add.set_defaults(command=add_run_command)

    score = commands.add_parser("score", help="macro F1 of a submission against a truth file")
    score.add_argument("submission", metavar="SUBMISSION", type=path)
    score.add_argument("truth", metavar="TRUTH", type=path)
    score.set_defaults(command=score_command)

    submission = commands.add_parser("submission", help="work on submission files")
    check = submission.add_subparsers(required=True, metavar="ACTION").add_parser("check", help="would Kaggle take it?")
    check.add_argument("submission", metavar="SUBMISSION", type=path)
    check.add_argument("sample", metavar="SAMPLE", type=path)
    check.set_defaults(command=submission_check_command)


def runs_command(options: argparse.Namespace) -> int:
    """Print the table of all runs."""
    from hpa_lib import store
    from hpa_lib.reporting import run_list

    table = run_list.make_table(store.find_run_set(options.out))
    formats = {"epochs": "{:.0f}".format, "best epoch": "{:.0f}".format, "minutes": "{:.1f}".format}
    print(table.to_string(index=False, float_format="{:.3f}".format, formatters=formats, na_rep=""))
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


def submission_check_command(options: argparse.Namespace) -> int:
    """Print what is wrong with a submission file."""
    from hpa_lib.decisions import submission

    problems = submission.check(options.submission, options.sample)
    print("\n".join(problems) or f"{options.submission} is in order")
    return 1 if problems else 0
