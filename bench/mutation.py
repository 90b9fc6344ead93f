"""How many small faults in decisions, splits, losses and checkpoints the tests notice: a mutation run.

    python bench/mutation.py [--only metrics thresholds] [--sample 40] [--processes 2]

A mutant is one change to one of ``FILES``: another operator, a number plus 1, a result that is not returned, a
statement left out, ... (``vary`` has them all; texts stay as they are). It is killed when a test that runs its lines
fails, or takes ten times as long. bench/mutation_equivalent.csv lists mutants that behave like the original, with the
reason; they are counted apart. Prints file, mutants, killed, share and equivalent ones, then the survivors, and enters
the row into outputs/reference/mutation.csv; ``--sample`` runs that many per file, always the same, and enters nothing.
"""

import argparse
import ast
import contextlib
import copy
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import NamedTuple

import coverage
import hypothesis
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "outputs" / "reference" / "mutation.csv"
BROKEN = 99  # the exit code of a mutant that cannot be run
FILES = ["decisions/metrics", "decisions/thresholds", "decisions/submission", "decisions/ensemble", "decisions/answers"]
FILES += ["decisions/leaderboard", "decisions/bootstrap", "decisions/calibration", "decisions/candidates"]
FILES += ["decisions/foreign_runs", "data/splits", "data/kaggle", "training/imbalance", "training/checkpoints"]
FILES += ["training/losses"]
MORE_TESTS = {"decisions/thresholds": ["decisions/test_candidates"], "data/kaggle": ["data/test_checks"]}
EQUIVALENT = set(pd.read_csv(ROOT / "bench" / "mutation_equivalent.csv")["change"])
PAIRS = [(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)]
PAIRS += [(ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr)]
PAIRS += [("min", "max"), ("any", "all"), ("argmin", "argmax"), ("minimum", "maximum"), ("zeros", "ones")]
OTHER = dict(PAIRS) | {second: first for first, second in PAIRS}
OTHER |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult}


class Mutant(NamedTuple):
    """The node ``old`` in a field of its parent (in a list: at ``slot``) becomes ``new``."""

    parent: ast.AST
    field: str
    slot: int | None
    old: ast.AST
    new: ast.AST
    function: str
    lines: range | None  # of the statement; None for what runs at import

    def put(self, node):
        """Place ``new`` or ``old`` in the tree."""
        if self.slot is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.slot] = node

    def describe(self):
        """The function, and the node before and after; within its parent where that is short."""
        shown = self.parent if len(ast.unparse(self.parent)) <= 60 else self.old
        before = ast.unparse(shown).partition("\n")[0]
        self.put(self.new)
        after = ast.unparse(self.new if shown is self.old else shown).partition("\n")[0]
        self.put(self.old)
        return f"{self.function}: {before} -> {after}"


def vary(node):
    """All that a node may become."""
    fields = []
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            fields += [("ops", [*node.ops[:index], OTHER[type(operator)](), *node.ops[index + 1 :]])]
    elif type(getattr(node, "op", None)) in OTHER:
        fields = [("op", OTHER[type(node.op)]())]
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        fields = [("value", not node.value if isinstance(node.value, bool) else node.value + 1)]
    elif isinstance(node, ast.Attribute | ast.Name):
        fields = [(name, OTHER[getattr(node, name)]) for name in ("attr", "id") if getattr(node, name, None) in OTHER]
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        fields = [("value", ast.Constant(None))]
    elif isinstance(node, ast.If | ast.IfExp) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        fields = [("test", ast.UnaryOp(ast.Not(), node.test))]
    changed = [node.operand] if isinstance(node, ast.UnaryOp) else []
    for name, value in fields:
        changed.append(copy.copy(node))
        setattr(changed[-1], name, value)
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    is_entry = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript | ast.Attribute)
    left_out = is_call or is_entry or isinstance(node, ast.Raise | ast.AugAssign | ast.Continue | ast.Break)
    return [*changed, ast.Pass()] if left_out else changed


def list_mutants(node, function="", lines=None):
    """All mutants below a node. Error texts, annotations and the guards of ``zip`` are left alone."""
    mutants = []
    for field, value in ast.iter_fields(node):
        is_guard = field == "keywords" and ast.unparse(node).startswith("zip(")
        if isinstance(node, ast.Raise) or field in ("annotation", "returns") or is_guard:
            continue
        for slot, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.stmt) and function:
                last = child.body[0].lineno - 1 if hasattr(child, "body") else child.end_lineno
                lines = range(child.lineno, max(last, child.lineno) + 1)
            mutants += [Mutant(node, field, slot, child, new, function, lines) for new in vary(child)]
            mutants += list_mutants(child, child.name if isinstance(child, ast.FunctionDef) else function, lines)
    return mutants


class Run:
    """A pytest plugin: once the tests of a file are collected, it runs them for each mutant in a fork."""

    def __init__(self, file, sample, processes):
        self.file, self.path, self.processes = file, ROOT / "hpa_lib" / f"{file}.py", processes
        self.tree, self.survivors = ast.parse(self.path.read_text(encoding="utf-8")), []
        self.mutants = list_mutants(self.tree)
        if sample:
            self.mutants = random.Random(0).sample(self.mutants, min(sample, len(self.mutants)))

    def pytest_runtestloop(self, session):
        """Take the place of pytest's own loop."""
        with tempfile.TemporaryDirectory() as folder:
            os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
            notes = Path(folder, "tests.json")
            if os.waitpid(fork(lambda: self.record(session, notes), 3600), 0)[1]:
                sys.exit(f"{self.file}: its tests fail without a mutant too")
            seconds, tests_of_line = json.loads(notes.read_text())
            items, running = sorted(session.items, key=lambda item: seconds[item.nodeid]), {}
            for mutant in self.mutants:
                names = {name for line in mutant.lines or () for name in tests_of_line.get(str(line), [])}
                wanted = [item for item in items if item.nodeid in names or mutant.lines is None]
                limit = 20 + 10 * sum(seconds[item.nodeid] for item in wanted)
                child = fork(lambda mutant=mutant, wanted=wanted: self.judge(session, mutant, wanted), limit)
                running[child] = mutant
                while running and (mutant is self.mutants[-1] or len(running) >= self.processes):
                    child, status = os.wait()
                    self.survivors += [running.pop(child)] * (status == 0)
                    if status == BROKEN << 8:
                        sys.exit(f"{self.file}: a mutant cannot be run")
        return True

    def record(self, session, notes):
        """Run all tests without a mutant; note what each takes, and which of them run each line."""
        recorder, seconds = coverage.Coverage(data_file=None, config_file=False, include=[str(self.path)]), {}
        recorder.start()
        for item in session.items:
            recorder.switch_context(item.nodeid)
            start = time.perf_counter()
            run_tests(session, [item])
            seconds[item.nodeid] = time.perf_counter() - start
        recorder.stop()
        notes.write_text(json.dumps([seconds, recorder.get_data().contexts_by_lineno(str(self.path))]))
        return session.testsfailed

    def judge(self, session, mutant, items):
        """Give the functions of the file the code and defaults of the mutant; 1 if a test fails or the import does."""
        mutant.put(mutant.new)
        code = compile(ast.fix_missing_locations(self.tree), str(self.path), "exec")
        module = sys.modules["hpa_lib." + self.file.replace("/", ".")]
        fresh = {"__name__": module.__name__, "__file__": module.__file__}
        try:
            exec(code, fresh)
        except Exception:
            return 1
        for name, value in fresh.items():
            if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
                for part in ("__code__", "__defaults__", "__kwdefaults__"):
                    setattr(getattr(module, name), part, getattr(value, part))
            elif mutant.lines is None:
                setattr(module, name, value)
        return run_tests(session, items)


def run_tests(session, items):
    """How many of the tests fail; the first that does ends the run."""
    for item, following in zip(items, [*items[1:], None], strict=False):
        if not session.testsfailed:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    return session.testsfailed


def fork(action, seconds):
    """The number of a silent child process that ends with ``action``'s result, or is killed after ``seconds``."""
    child = os.fork()
    if not child:
        signal.alarm(int(seconds))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        try:
            os._exit(int(action()))
        finally:
            os._exit(BROKEN)
    return child


def run_file(file, sample, processes):
    """A row of the table, and the survivors in words."""
    tests = [file.replace("/", "/test_"), *MORE_TESTS.get(file, [])]
    options = ["-x", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=mutation"]
    run = Run(file, sample, processes)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main([*options, *(str(ROOT / "tests" / f"{name}.py") for name in tests)], plugins=[run])
    if code not in (0, 5):  # none failed; none was collected
        sys.exit(output.getvalue())
    survivors = sorted((mutant.old.lineno, f"{file} {mutant.describe()}") for mutant in run.survivors)
    different = [f"    line {line}, {text}" for line, text in survivors if text not in EQUIVALENT]
    killed, count = len(run.mutants) - len(survivors), len(run.mutants) - len(survivors) + len(different)
    row = {"file": f"{file}.py", "mutants": count, "killed": killed, "share": round(killed / count, 3)}
    return row | {"equivalent": len(survivors) - len(different)}, different


def enter(row):
    """Put a row into the table, in the place of an older one of its file, and the total below."""
    known = pd.read_csv(TABLE).query("file not in ['all', @row['file']]") if TABLE.exists() else None
    table = pd.concat([known, pd.DataFrame([row])]).sort_values("file", ignore_index=True)
    total = table.sum().to_dict()
    table.loc[len(table)] = total | {"file": "all", "share": round(total["killed"] / total["mutants"], 3)}
    table.to_csv(TABLE, index=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="such as metrics")
    parser.add_argument("--sample", type=int, help="mutants per file; all without it")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    calm = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}  # a busy machine kills no mutant
    phases = ["explicit", "generate"]
    hypothesis.settings.register_profile("mutation", database=None, derandomize=True, phases=phases, **calm)
    for file in [file for file in FILES if not options.only or Path(file).name in options.only]:
        row, survivors = run_file(file, options.sample, options.processes)
        print(*row.values())
        print(*survivors, sep="\n", flush=True)
        if not options.sample:
            enter(row)


if __name__ == "__main__":
    main()
