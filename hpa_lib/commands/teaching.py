"""``hpa exercises``: the tasks of a course."""

import argparse

from hpa_lib.running import exercises


def write_exercises(options: argparse.Namespace) -> int:
    """Write the student's and the solved copy of every exercise."""
    copies = exercises.write_copies(options.out, options.replace)
    for folder in dict.fromkeys(path.parent for path in copies):
        print(f"{folder.name:<11} {folder}: {sum(path.parent == folder for path in copies)} notebooks")
    return 0
