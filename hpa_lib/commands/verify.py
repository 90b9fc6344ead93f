"""``hpa verify``: does every number of a run set that was handed in follow from what it has stored?"""

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path

from hpa_lib import paths, provenance, store
from hpa_lib.reporting import verification
from hpa_lib.running import plan, runner

SHOWN = 3  # values of one file that do not follow
MADE_BY = {"thresholds": "05", "ensemble": "06"}  # decision -> notebook
WIDTH = 60  # characters of a stored text


def verify(options: argparse.Namespace) -> int:
    """Print each value that does not follow; 1 where there is one."""
    out = paths.find_out(options.out)
    parameters, found = verification.find_parameters(out), verification.check_records(out)
    records = [store.load_json(out, f"runs/{run}/result.json") for run in store.list_runs(out)]
    commits = ", ".join(sorted({record.get("versions", {}).get("commit", "unknown") for record in records}))
    print(f"{out}: runs by commit {commits}; verified by commit {provenance.commit() or 'unknown'}")
    with tempfile.TemporaryDirectory(prefix="hpa-verify-") as folder:
        copy = Path(folder)
        notes = verification.copy_given(out, copy, options.data)
        finished, stopped = _run_again(out, copy, parameters)
        differing, num_values, num_files = verification.compare(out, copy, finished)
    found += stopped + differing
    newer = verification.find_newer(out, found) if found else ""
    _print([] if newer else found)
    for note in [*notes, *([] if "07" in parameters else ["the report: there is none"])]:
        print(f"not verified: {note}")
    if newer:
        print(f"the report is older than {newer}: run hpa report {out}, then verify again")
        return 1
    if found:
        files = len({mismatch.file for mismatch in found})
        print(f"{len(found):,} values in {files} files do not follow from the stored probabilities and decisions")
        return 1
    print(f"{num_values:,} values in {num_files} files follow from the stored probabilities and decisions")
    return 0


def _run_again(out: Path, copy: Path, parameters: dict[str, dict]) -> tuple[list[str], list[verification.Mismatch]]:
    """Run the notebooks on the copy: those that came to their end, and where one stopped, the finding that says why."""
    finished = []
    for number, values in parameters.items():
        notebook = plan.find_notebook(paths.PROJECT / "notebooks", number)
        print(f"running {notebook.name} on a copy", flush=True)
        ended = runner.run_notebook(plan.Step(notebook.stem, notebook, values | {"OUT": str(copy)}), copy)
        if ended["status"] == "interrupted":
            raise KeyboardInterrupt
        if ended["status"] != "done":
            message = ended["error"]["message"].replace(str(copy), str(out))
            return finished, [verification.Mismatch(notebook.name, str(ended["error"]["cell"]), "", "results", message)]
        finished.append(number)
        if number == "06":
            verification.keep_test_scores(out, copy)
    return finished, []


def _print(found: list[verification.Mismatch]) -> None:
    """Some findings of each file, and how many more there are."""
    seen = Counter()
    for file, row, column, stored, recomputed in found:
        seen[file] += 1
        if seen[file] > SHOWN:
            continue
        if column.startswith("runs.") and stored and recomputed:  # digests of their probabilities
            print(f"{file}: the probabilities of {column[5:]} have changed since notebook {MADE_BY[Path(file).stem]}")
        else:
            place = ", ".join(part for part in (row, column) if part)
            print(f"{file}: {place}: stored {_shorten(stored, recomputed)}, recomputed {_shorten(recomputed, stored)}")
    for file, number in seen.items():
        if number > SHOWN:
            print(f"{file}: {number - SHOWN:,} more values")


def _shorten(value: object, other: object) -> str:
    """A value as text; of a long text the part where it differs from the other."""
    if value is None:
        return "nothing"
    start = max(0, len(os.path.commonprefix([str(value), str(other)])) - WIDTH // 2)
    return str(value)[start : start + WIDTH]
