"""``hpa exercises`` and ``hpa grade``: the tasks of a course."""

import argparse

import pandas as pd

from hpa_lib import store
from hpa_lib.running import exercises


def write_exercises(options: argparse.Namespace) -> int:
    """Write the student's and the solved copy of every exercise."""
    copies = exercises.write_copies(options.out, options.replace)
    for folder in dict.fromkeys(path.parent for path in copies):
        print(f"{folder.name:<11} {folder}: {sum(path.parent == folder for path in copies)} notebooks")
    return 0


def grade(options: argparse.Namespace) -> int:
    """Grade a folder of handed-in exercises, one folder per student; a file that cannot be run stops no other."""
    folder, table, rows = options.handed_in.resolve(), options.table, []
    if table.exists():
        raise ValueError(f"{table} is there, perhaps with points that were given by hand: name another file")
    run_set = store.find_run_set()
    files = [path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    for path in files:
        student = (path.relative_to(folder).parts[:-1] or (folder.name,))[0]
        try:
            marks = exercises.grade(path, run_set)
        except ValueError as error:
            marks = [{"notebook": path.stem, "cell": "", "points": 0, "of": 0, "note": str(error)}]
        for mark in marks:
            note = "by hand" if mark["points"] is None else f"{mark['points']} of {mark['of']}  {mark['note'][:90]}"
            print(f"{student:<15} {mark['notebook']:<22} {mark['cell']:<18} {note}", flush=True)
        rows += [{"student": student} | mark for mark in marks]
    if not rows:
        raise ValueError(f"{folder} holds no notebook: name a folder with one folder per student")
    columns = pd.DataFrame(rows).astype({"points": "Int64"})
    store.write_atomic(table, lambda path: columns.to_csv(path, index=False))
    print(columns.groupby("student")[["points"]].sum().to_string(), f"\ntable: {table}")
    return 0
