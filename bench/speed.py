"""What the speed benchmarks share: a row of the speed page, clocks, and a script's way to print its rows.

A row compares a measured value with its peer: ``ratio`` is measured / peer. Its goal is ``>=`` or ``<=`` a ratio; a
row without a goal is there to explain another one. Growth rows compare N x the work with the work itself, so that a
ratio of N is linear; they may be a quarter above.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

COLUMNS = ("what", "measured", "peer", "ratio", "goal", "met")
SLACK = 1.25  # of a time that grows with N


def show(value: float) -> str:
    """A number with three digits, or all in front of the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def compare(what: str, value: float, peer: float, unit: str, peer_name: str, goal: str = "") -> dict:
    """One row; ``goal`` such as ``">= 0.95"``, of the ratio."""
    ratio = value / peer
    relation, _, limit = goal.partition(" ")
    met = {">=": "yes" if ratio >= float(limit or 0) else "no", "<=": "yes" if ratio <= float(limit or 0) else "no"}
    texts = {"what": what, "measured": f"{show(value)} {unit}", "peer": f"{show(peer)} {unit}, {peer_name}"}
    return texts | {"ratio": show(ratio), "goal": goal, "met": met.get(relation, "")}


def not_run(what: str, reason: str) -> dict:
    """The row of what could not be measured here."""
    return dict.fromkeys(COLUMNS, "") | {"what": what, "measured": f"not run: {reason}"}


def growth(what: str, seconds: dict[int, float], work: str) -> list[dict]:
    """The rows of 4 x and 16 x the work: ``seconds`` by factor, with that of 1; ``work`` is what 1 x is."""
    return [
        compare(f"{what}, {factor} x", seconds[factor], seconds[1], "s", work, f"<= {factor * SLACK:g}")
        for factor in seconds
        if factor > 1
    ]


def clock(action: Callable, *arguments, clock: Callable = time.perf_counter) -> float:
    """Seconds that a call takes; with ``time.process_time`` those of all cores together."""
    started = clock()
    action(*arguments)
    return clock() - started


def take_turns(actions: dict[str, Callable], repeats: int) -> dict[str, float]:
    """The median seconds of each action over the repeats; they take turns, so that all see the same machine."""
    seconds = {name: [] for name in actions}
    for _ in range(repeats):
        for name, action in actions.items():
            seconds[name].append(clock(action))
    return {name: statistics.median(values) for name, values in seconds.items()}


def make_table(rows: list[dict]) -> str:
    """Rows as a table in Markdown."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *([str(row[column]) for column in COLUMNS] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], list[dict]]) -> None:
    """Print the rows of ``measure(options)``: a table, or with ``--json`` one line for bench/all.py."""
    parser.add_argument("--json", action="store_true", help="print the rows as one line of JSON")
    options = parser.parse_args()
    rows = measure(options)
    print(json.dumps(rows) if options.json else make_table(rows))


def make_parser(doc: str, **numbers: int) -> argparse.ArgumentParser:
    """A parser that shows a script's docstring; ``numbers`` are whole-number options with their defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser
