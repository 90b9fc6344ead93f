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
    students, table, rows = exercises.find_handed_in(options.handed_in.resolve()), options.table, []
    if table.exists():
        raise ValueError(f"{table} is there, perhaps with points that were given by hand: name another file")
    run_set = store.find_run_set()
    for student, files in students.items():
        for mark in exercises.grade(files, run_set):
            note = "by hand" if mark["points"] is None else f"{mark['points']} of {mark['of']}  {mark['note'][:90]}"
            print(f"{student:<15} {mark['notebook']:<22} {mark['cell']:<18} {note}", flush=True)
            rows.append({"student": student} | mark)
    columns = pd.DataFrame(rows).astype({"points": "Int64"})
    store.write_atomic(table, lambda path: columns.to_csv(path, index=False))
    ungraded = columns[(columns["cell"] == "") & (columns["note"] != exercises.MISSING)]
    for student, note in ungraded[["student", "note"]].itertuples(index=False):
        print(f"note: {student}: {note}")
    print("points so far, without the answers in words:")
    for student, points, of in columns.groupby("student")[["points", "of"]].sum().itertuples():
        print(f"{student:<15} {points} of {of}")
    print(f"table: {table}")
    return 1 if len(ungraded) else 0
