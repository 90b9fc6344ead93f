"""All speed benchmarks in one go: each script in its own process, its rows in one table.

    python bench/all.py                       # what `make bench` runs, under 20 minutes on two idle cores
    python bench/all.py --only cache runner   # these anew; the other rows stay as they were measured

Writes outputs/reference/speed.csv and the table in bench/README.md. Each script's seconds are rows, too. Where other
work kept the machine busy when it started, the column `machine` says so.
"""

import argparse
import csv
import datetime
import io
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata, util
from pathlib import Path

import speed

from hpa_lib import paths, store

SCRIPTS = ("training", "cache", "thresholds", "board", "synthetic", "runner")
MINUTES = 20  # the goal of all together
COLUMNS = ("script", *speed.COLUMNS, "date", "machine")
CSV, PAGE = paths.PROJECT / "outputs" / "reference" / "speed.csv", paths.PROJECT / "bench" / "README.md"
MARKER = "<!-- reference: outputs/reference/speed.csv, made by `make bench` -->\n"
BUSY = 0.5  # load average from which other work is named


def describe_machine() -> str:
    """Cores, memory, versions, and what else kept the machine busy."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    packages = [name for name in ("tensorflow", "keras", "torch") if util.find_spec(name)]
    words = [
        f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}",
        f"Python {platform.python_version()}",
    ]
    words += [f"{name} {metadata.version(name)}" for name in packages]
    load = os.getloadavg()[0]
    return "; ".join(words + [f"beside other work (load {load:.0f})"] * (load > BUSY))


def run(script: str, machine: str) -> list[dict]:
    """A script's rows; a failed script is a row that says so."""
    command = [sys.executable, Path(__file__).with_name(f"{script}.py"), "--json"]
    started, no_bars = time.perf_counter(), os.environ | {"TQDM_DISABLE": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=no_bars)
    seconds = time.perf_counter() - started
    if done.returncode:
        rows = [speed.not_run(f"bench/{script}.py", f"it ended with {done.returncode}")]
    else:
        rows = json.loads(done.stdout.splitlines()[-1])
    rows.append(speed.not_run("", "") | {"what": f"bench/{script}.py", "measured": f"{seconds:.0f} s"})
    print(speed.make_table(rows), flush=True)
    when = {"script": script, "date": datetime.date.today().isoformat(), "machine": machine}
    return [when | row for row in rows]


def merge(old: list[dict], new: dict[str, list[dict]]) -> list[dict]:
    """The rows of all scripts, new ones where there are any, and last the minutes of all if none is missing."""
    rows = []
    for script in SCRIPTS:
        kept = new.get(script) or [row for row in old if row["script"] == script]
        missing = dict.fromkeys(COLUMNS, "") | speed.not_run(f"bench/{script}.py", "`make bench` was not done here yet")
        rows += kept or [missing | {"script": script}]
    times = [row for row in rows if row["what"] == f"bench/{row['script']}.py" and row["measured"].endswith(" s")]
    if len(times) < len(SCRIPTS):
        return rows
    minutes = sum(float(row["measured"].split()[0]) for row in times) / 60
    return [
        *rows,
        dict.fromkeys(COLUMNS, "") | speed.compare("all scripts", minutes, MINUTES, "min", "the goal", "<= 1"),
    ]


def make_page(rows: list[dict]) -> str:
    """The table of the page: its columns, and below it when and where each script was run."""
    runs = {}
    for row in rows:
        runs.setdefault((row["date"], row["machine"]), {})[row["script"]] = None
    lines = [f"{date}, {machine}: {', '.join(scripts)}." for (date, machine), scripts in runs.items() if date]
    return "\n".join([speed.make_table(rows), "", *lines])


def write(rows: list[dict], csv_path: Path = CSV, page: Path = PAGE) -> None:
    """Store the rows, and put them into the page in place of the block behind the marker."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    store.write_atomic(csv_path, lambda path: Path(path).write_text(text.getvalue(), encoding="utf-8"))
    before, found, after = page.read_text(encoding="utf-8").partition(MARKER)
    rest = after[after.index("\n## ") :]
    store.write_atomic(
        page, lambda path: Path(path).write_text(f"{before}{found}{make_page(rows)}\n{rest}", encoding="utf-8")
    )


def read(path: Path = CSV) -> list[dict]:
    """The stored rows; none where the file is missing."""
    return list(csv.DictReader(path.open(encoding="utf-8", newline=""))) if path.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=SCRIPTS, choices=SCRIPTS, help="scripts to run; default: all")
    options, machine, new = parser.parse_args(), describe_machine(), {}
    for script in options.only:
        print(f"== bench/{script}.py", flush=True)
        new[script] = run(script, machine)
        write(merge(read(), new))  # a stopped run keeps what is done
    return int(any(row["measured"].startswith("not run: it ended") for rows in new.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
