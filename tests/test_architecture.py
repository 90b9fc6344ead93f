"""The house as it is drawn: which folder may import which, and how large a folder, a file and a function may get."""

import ast
import re
import subprocess
import sys

import pytest

import hpa_lib
from hpa_lib import paths

LIBRARY, GENERATOR = paths.PROJECT / "hpa_lib", paths.PROJECT / "hpa_synth"
EVERYWHERE = {"atlas", "paths", "store", "locks", "provenance"}  # files at the top, which every folder may use
ARROWS = {  # folder -> the folders that it may import
    "data": "",
    "models": "",
    "figures": "",
    "decisions": "data",
    "training": "data models decisions",
    "classical": "data decisions",
    "reporting": "data decisions figures training",
    "running": "models training",
    "hpa_synth": "data",
}
# In hpa_lib (14; commands/ since __main__ grew beyond one file, locks since store did), in a folder (12; data has also
# the importer of other people's images), between folders.
MOST_ENTRIES, MOST_FILES, MOST_ARROWS = 16, 13, 13
ONLY_IN = {  # package -> the folders or files that may name it
    "tensorflow": {"training/device.py", "training/explain.py", "models/layers.py", "models/tensor_files.py"},
    "keras": {"models", "training"},
    "jax": {"training/device.py", "training/explain.py"},
    "torch": set(),
    "imgaug": {"training/augment.py"},
    "kornia_rs": {"data/png.py"},
    "matplotlib": {"figures"},
    "seaborn": {"figures"},
    "papermill": {"running/runner.py"},
    "jupyter_client": {"running/runner.py"},
    "nbclient": {"running/exercises.py", "running/runner.py"},
}
WORK_AT_IMPORT = {
    "if not hasattr(np, 'sctypes')",  # augment.py lets imgaug be imported on NumPy 2
    "os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')",  # __init__.py: these three must come before TensorFlow
    "os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')",
    "sys.meta_path.insert(0, QuietTensorFlow())",
    "sys.meta_path.append(types.SimpleNamespace(find_spec=refuse_moved))",
}
PROBABILITIES = {"prob", "probs", "probability", "probabilities", "val_probs", "test_probs", "holdout_probs"}
MODULES = sorted([*LIBRARY.rglob("*.py"), *GENERATOR.rglob("*.py")])


def name_of(path):
    """``hpa_lib.models.layers`` for its file, ``hpa_lib.models`` for the package's ``__init__``."""
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def folder_of(module):
    """``models`` for ``hpa_lib.models.layers``, ``atlas`` for ``hpa_lib.atlas``, ``hpa_synth`` for all of it."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or "__init__" if package == "hpa_lib" else package


def imports_of(path):
    """Full names of everything a file imports, also inside functions; of our own, the module that holds the name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import in full"
            for alias in node.names:
                assert alias.name != "*", f"{path}:{node.lineno}: import the module, not *"
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES or not is_ours(node.module) else node.module


def is_ours(module):
    return module.partition(".")[0] in ("hpa_lib", "hpa_synth")


def arrows():
    """All ``(folder, folder)`` between which a file of the first imports one of the second."""
    for path in MODULES:
        for name in filter(is_ours, imports_of(path)):
            yield folder_of(name_of(path)), folder_of(name)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_keep_to_the_arrows(path):
    folder = folder_of(name_of(path))
    others = {folder_of(name) for name in imports_of(path) if is_ours(name)} - {folder, "__init__"} - EVERYWHERE
    if folder in EVERYWHERE:
        assert not others, f"{path.name} may only import {EVERYWHERE}"
    elif folder == "__init__":
        assert not others, "hpa_lib/__init__.py imports nothing of the library: every import of it would pay for that"
    elif folder not in ("__main__", "commands"):  # the commands are what __main__ was: they may use everything
        assert folder in ARROWS, f"{folder} is a new folder: enter it in ARROWS with what it may import"
        assert others <= set(ARROWS[folder].split()), f"{folder} may not import {others - set(ARROWS[folder].split())}"


def test_the_generator_uses_little_of_the_library():
    ours = {name for path in GENERATOR.rglob("*.py") for name in imports_of(path) if name.startswith("hpa_lib")}
    assert ours <= {"hpa_lib.atlas", "hpa_lib.store", "hpa_lib.data.disk", "hpa_lib.data.parallel"}


def test_the_house_stays_small():
    entries = {path.name for path in LIBRARY.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= MOST_ENTRIES, f"hpa_lib has {len(entries)} entries: {sorted(entries)}"
    for folder in (path for path in LIBRARY.iterdir() if path.is_dir() and path.name != "__pycache__"):
        files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
        assert len(files) <= MOST_FILES, f"{folder.name} has {len(files)} files: {sorted(files)}"
    between = {pair for pair in arrows() if pair[0] != pair[1] and set(pair) <= ARROWS.keys()}
    assert len(between) <= MOST_ARROWS, f"{len(between)} arrows between folders: {sorted(between)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_foreign_packages_stay_in_their_places(path):
    places = {folder_of(name_of(path)), str(path.relative_to(LIBRARY.parent)).removeprefix("hpa_lib/")}
    for package in {name.split(".")[0] for name in imports_of(path)}:
        assert package not in ONLY_IN or ONLY_IN[package] & places, f"{path.name} may not import {package}"


def test_no_import_cycle():
    ours = {name_of(path): {name for name in imports_of(path) if name in NAMES} for path in MODULES}
    done = set()

    def visit(name, trail):
        assert name not in trail, f"import cycle: {' -> '.join([*trail[trail.index(name) :], name])}"
        if name not in done:
            for other in ours[name] - {name}:
                visit(other, [*trail, name])
            done.add(name)

    for name in ours:
        visit(name, [])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_only_define(path):
    """At the top level of a file: imports, constants, functions, classes; nothing that runs."""
    for number, node in enumerate(ast.parse(path.read_text(encoding="utf-8")).body):
        is_docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_definition = isinstance(
            node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.ClassDef
        )
        is_main = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        is_allowed = ast.unparse(node).split(":")[0] in WORK_AT_IMPORT
        assert is_docstring or is_definition or is_main or is_allowed, f"{path.name}:{node.lineno} does work at import"
        assert not (number == 0 and not is_docstring), f"{path.name} lacks its docstring"


def test_importing_everything_is_silent_and_makes_nothing(tmp_path):
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    command = [sys.executable, "-c", script, *sorted(NAMES - {"hpa_lib.__main__"})]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


def is_probability(node):
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id in PROBABILITIES


def comparisons_of_probabilities(source):
    """Line numbers where an array of probabilities itself stands beside <, <=, > or >=."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for operator in node.ops):
                yield from (node.lineno for side in sides if is_probability(side))


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "thresholds.py"], ids=name_of)
def test_only_thresholds_compares_probabilities(path):
    """By name: an array that is called what the house calls probabilities is compared in thresholds.py alone."""
    found = list(comparisons_of_probabilities(path.read_text(encoding="utf-8")))
    assert found == [], f"{path.name}, lines {found}: call thresholds.apply"


def test_the_search_for_comparisons_finds_them():
    assert list(comparisons_of_probabilities("preds = probs >= 0.5")) == [1]
    assert list(comparisons_of_probabilities("preds = (probs[:, j] > thresholds[j])")) == [1]
    assert list(comparisons_of_probabilities("bad = probs.min() < 0 or len(probs) < 3")) == []
    assert (
        list(comparisons_of_probabilities((LIBRARY / "decisions" / "thresholds.py").read_text(encoding="utf-8"))) != []
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, (
        f"{path.name} has {len(text.splitlines())} lines: give a part a file of its own"
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lines = node.end_lineno - first.lineno + 1
            assert lines <= 50, f"{path.name}: the body of {node.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_say_whose_or_which(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
        assert name not in ("own", "one"), f"{path.name}:{node.lineno}: say whose, or which"


def test_no_file_is_called_utils():
    assert not {path.stem for path in MODULES} & {"utils", "util", "helpers", "common", "misc"}


UNIX_ONLY = {"resource", "fcntl", "termios", "pwd", "grp", "pty", "tty", "curses", "readline", "syslog", "crypt"}
EVERY_SYSTEM = {"SIG_IGN", "SIG_DFL", "SIGTERM", "SIGINT", "SIGABRT", "SIGILL", "SIGFPE", "SIGSEGV"}
UNIX_ONLY_OS = {"fork", "sched_getaffinity", "getuid", "geteuid", "killpg", "setsid", "getpgid", "mkfifo", "statvfs"}


def unix_only_names(tree):
    """What a file of ours would miss on Windows: modules at import, functions of os and signals when they are used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "os" and node.attr in UNIX_ONLY_OS:
                yield f"os.{node.attr}"
            if node.value.id == "signal" and node.attr.startswith("SIG") and node.attr not in EVERY_SYSTEM:
                yield f"signal.{node.attr}"
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in UNIX_ONLY)
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in UNIX_ONLY:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_can_be_imported_on_every_system(path):
    """Linux, macOS and Windows: a module of Unix alone is imported where it is used, and its absence is dealt with."""
    text = path.read_text(encoding="utf-8")
    asked = set(re.findall(r"hasattr\(os, \"(\w+)\"\)", text))
    missing = {name for name in unix_only_names(ast.parse(text)) if name.removeprefix("os.") not in asked}
    assert not missing, f"{path.name} uses {missing}, which Windows lacks"


def test_the_search_for_unix_only_names_finds_them():
    text = "import os, resource\nfrom fcntl import flock\nos.fork()\nsignal.SIGKILL\nsignal.SIGTERM\nsignal.Signals"
    assert sorted(unix_only_names(ast.parse(text))) == ["fcntl", "os.fork", "resource", "signal.SIGKILL"]


def test_library_is_imported_without_unix_modules():
    """In a process that lacks ``resource`` and ``os.sched_getaffinity``, as Windows does."""
    names = sorted(NAMES - {"hpa_lib.__main__"})
    script = (
        "import importlib, os, sys; sys.modules['resource'] = None; del os.sched_getaffinity\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "from hpa_lib import provenance\nfrom hpa_lib.data import parallel\n"
        "assert provenance.peak_memory_mb() is None and parallel.count_cores() >= 1"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "old", [*hpa_lib.RENAMED, "metrics", "losses", "cache", "profiles", "synthetic", "synthetic.field"]
)
def test_an_old_import_says_where_the_module_is_now(old):
    package, _, name = f"hpa_lib.{old}".rpartition(".")
    for statement in (f"from {package} import {name}", f"import hpa_lib.{old}"):
        with pytest.raises(ModuleNotFoundError, match=r"hpa_lib\.[a-z.]+ is \S+ now: change the import") as error:
            exec(statement)
        assert str(error.value).split(" is ")[1].split(" ")[0] in NAMES
