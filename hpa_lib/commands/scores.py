"""``hpa runs``, ``report``, ``add-run``, ``score``, ``submission check``: what runs and submissions are worth."""

import argparse
import os

from hpa_lib import atlas, locks, store
from hpa_lib.decisions import foreign_runs, submission
from hpa_lib.reporting import report, run_list


def list_runs(options: argparse.Namespace) -> int:
    """Print the table of all runs."""
    table = run_list.make_table(store.find_run_set(options.out))
    formats = {"epochs": "{:.0f}".format, "best epoch": "{:.0f}".format, "minutes": "{:.1f}".format}
    print(table.to_string(index=False, float_format="{:.3f}".format, formatters=formats, na_rep=""))
    return 0


def write_report(options: argparse.Namespace) -> int:
    """Make the report anew from what is stored."""
    if options.bootstrap < 1:
        raise ValueError(f"--bootstrap {options.bootstrap}: use 1 resample or more")
    out = store.find_run_set(options.out)
    with locks.step(out, "07_report"):
        page = report.write(out, options.bootstrap)
    print(f"report      {page}\nto copy     {page.with_suffix('')}")
    return 0


def add_run(options: argparse.Namespace) -> int:
    """Store a table of probabilities as a run."""
    out = store.find_run_set(options.out or os.environ.get("HPA_OUT", ""))  # the first run of a run set, too
    store.run_folder(out, options.name)  # refuses a bad name
    with locks.step(out, "", options.name):
        images = foreign_runs.add(out, options.name, options.table, options.fold, options.replace)
    print(f"run {options.name} in {out}: {', '.join(f'{part} {number}' for part, number in images.items())} images")
    print(f"next: hpa run --only 05,06,08,07 --out {out}")
    return 0


def score(options: argparse.Namespace) -> int:
    """Print the score of a submission."""
    if not 0 <= options.public < 1:
        raise ValueError(f"--public {options.public}: use a share from 0 to less than 1")
    result = submission.score(options.submission, options.truth, public=options.public)
    print(f"macro F1    {result['macro_f1']:.4f}  (95 % interval {result['low']:.4f} to {result['high']:.4f})")
    for part in ("public", "private") if options.public else ():
        print("{0:<11} {macro_f1:.4f}  ({low:.4f} to {high:.4f}), {num_images} images".format(part, **result[part]))
    print(f"micro F1    {result['micro_f1']:.4f}")
    print(f"images      {result['num_images']}, {result['num_empty']} of them without any label")
    for number, (name, f1) in enumerate(zip(atlas.LABELS, result["f1_per_class"], strict=True)):
        absent = "  (not in the truth)" if number in result["absent"] else ""
        print(f"  {number:2d} {name:<30} {f1:.4f}{absent}")
    return 0


def check_submission(options: argparse.Namespace) -> int:
    """Print what is wrong with a submission file."""
    problems = submission.check(options.submission, options.sample)
    print("\n".join(problems) or f"{options.submission} is in order")
    return 1 if problems else 0
