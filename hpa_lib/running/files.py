"""What each notebook reads and leaves, in one place: a resumed start and a workflow go by it.

A *step* is up to date when it was done with the same parameters, the same code cells and the same inputs, and what it
left is still there. Comments, text cells and formatting do not count, nor does the library's own code: who changes that
runs a step without ``--resume``, and trains again with ``START_OVER``.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from hpa_lib import store
from hpa_lib.running import plan
from hpa_lib.training import recipes

NO_RESULT = ("OUT", "WORKERS", "JIT")  # parameters that change no result
CACHES = ("cache/train_{IMAGE_SIZE}/manifest.json", "cache/test_{IMAGE_SIZE}/manifest.json")
ANSWERS = ("runs/{RUNS}/probs_*.npz", "runs/{RUNS}/result.json")
TRAINING = (("data/split.csv", *CACHES), ("runs/{run}/result.json",))
NOTEBOOKS = {  # number -> patterns below the run set of what it reads (besides the data folder), and its last results
    "00": ((), ("data/split.csv", "data/dataset.json")),
    "01": (("data/split.csv", "cache/*/manifest.json"), ("tables/eda_baselines.csv",)),
    "01b": (("data/split.csv", *CACHES), ("runs/{run}/result.json", "tables/classical_scores.csv")),
    "02": TRAINING,
    "03": TRAINING,
    "04": TRAINING,
    "05": (("data/split.csv", *ANSWERS), ("decisions/thresholds.json",)),
    "06": (
        ("data/split.csv", *ANSWERS, "decisions/thresholds.json"),
        ("decisions/ensemble.json", "tables/ensemble_classes.csv"),
    ),
    "07": (
        ("data/*", "decisions/*", "tables/*", *ANSWERS, "runs/*/history.csv"),
        ("report.html", "tables/summary.csv"),
    ),
    "08": (("data/split.csv", *ANSWERS, "decisions/thresholds.json"), ("tables/explore_mistakes.csv",)),
}


def reads(step: plan.Step) -> list[str]:
    """Patterns of the files below the run set that a step reads; of a notebook that is not the kit's, the split."""
    patterns, _ = NOTEBOOKS.get(_number(step), (("data/split.csv",), ()))
    values = in_force(step)
    return _fill(patterns, {"RUNS": _split(values.get("RUNS", "")) or ["*"], "IMAGE_SIZE": [values.get("IMAGE_SIZE")]})


def writes(step: plan.Step) -> list[str]:
    """The files below the run set without which a step is not done, the last of its results."""
    _, patterns = NOTEBOOKS.get(_number(step), ((), ()))
    return _fill(patterns, {"run": trains(step)})


def trains(step: plan.Step) -> list[str]:
    """The names of the runs that a step stores: one of a training notebook, several of 01b."""
    if _number(step) != "01b":
        return [step.run] if step.run else []
    values = in_force(step)
    fold, seed, kinds = values["FOLD"], values["SEED"], [name.split("-") for name in _split(values["MODELS"])]
    return [store.run_name("classical", model, class_weights, fold, seed) for model, class_weights in kinds]


def _number(step: plan.Step) -> str:
    return step.notebook.stem.partition("_")[0]


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _fill(patterns: Iterable[str], values: dict[str, list]) -> list[str]:
    """Each pattern once per value of the word in braces that it holds; a pattern without one as it is."""
    for word, choices in values.items():
        filled = [[pattern.replace(f"{{{word}}}", str(choice)) for choice in choices] for pattern in patterns]
        pairs = zip(patterns, filled, strict=True)
        patterns = [name for pattern, names in pairs for name in (names if word in pattern else [pattern])]
    return list(dict.fromkeys(patterns))


def digest_inputs(out: Path, step: plan.Step) -> dict[str, str]:
    """Each input of a step -> 16 hexadecimal digits that change with it.

    Of files in the run set the content counts, less what the step itself has written there; of the data folder and of
    files that parameters name, lengths and dates.
    """
    found = {path for pattern in reads(step) for path in Path(out).glob(pattern) if path.is_file()}
    names = sorted(path.relative_to(out).as_posix() for path in found)
    digests = {
        name: store.digest(*_follow_shared(out, name))
        for name in names
        if not store.made_by(name).startswith(step.notebook.name)
    }
    for name, value in step.parameters.items():
        path = Path(value) if isinstance(value, str) and Path(value).is_absolute() else None
        if path and name not in NO_RESULT and path.exists():
            digests[name] = _stamp(path)
    return digests


def _follow_shared(out: Path, name: str) -> tuple[Path, str]:
    """Folder and name of an input; of a cache that is shared (HPA_CACHE), the manifest there: it may have moved."""
    shared = store.load_json(out, name).get("shared") if name.endswith("manifest.json") else None
    return (Path(shared), "manifest.json") if shared else (Path(out), name)


def _stamp(path: Path) -> str:
    """Of a file its length and date; of a folder those of the files in it, and the dates of its folders."""
    entries = [path] if path.is_file() else sorted(path.iterdir())
    states = [(entry, entry.stat()) for entry in entries]
    lines = [f"{entry.name} {entry.is_file() and state.st_size} {state.st_mtime_ns}" for entry, state in states]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def code_digest(notebook: Path) -> str:
    """16 hexadecimal digits that change with a notebook's code cells, parameters apart, and not with how they look."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ("".join(cell["source"]) for cell in cells if _is_code(cell))
    return hashlib.sha256("\n".join(map(_plain_code, sources)).encode()).hexdigest()[:16]


def _is_code(cell: dict) -> bool:
    return cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])


def _plain_code(source: str) -> str:
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:  # IPython's own words, such as %timeit
        return source


def why_again(out: Path, step: plan.Step, record: dict | None) -> str:
    """Why a step must run, by the record of the last time; ``""`` where it is up to date."""
    if record is None:
        return "it has not run yet"
    if record["status"] != "done":
        return f"it was {record['status']} the last time"
    if changed := _differences(record["parameters"], in_force(step), NO_RESULT):
        return f"{changed[0]} has changed"
    if record.get("code") != code_digest(step.notebook):
        return f"the code of {step.notebook.name} has changed"
    if changed := _differences(record.get("inputs", {}), digest_inputs(out, step)):
        return f"{changed[0]} has changed"
    gone = [name for name in writes(step) if not (Path(out) / name).exists()]
    return f"{gone[0]} is gone" if gone else ""


def in_force(step: plan.Step) -> dict:
    """All parameters of a step: those that it was given, else the notebook's defaults."""
    defaults = {name: parameter.default for name, parameter in plan.read_parameters(step.notebook).items()}
    return defaults | step.parameters


def _differences(before: dict, now: dict, besides: Iterable[str] = ()) -> list[str]:
    names = (before.keys() | now.keys()) - set(besides)
    return sorted(name for name in names if before.get(name) != now.get(name))


def was_trained_otherwise(out: Path, step: plan.Step, record: dict) -> bool:
    """Whether what is stored of a step's run was trained with other settings, so that going on would be refused."""
    before, now = (_lines(step.notebook, parameters) for parameters in (record["parameters"], in_force(step)))
    changed = _differences(before, now, recipes.NOT_SETTINGS)
    return bool(changed) or record.get("trained_on") != trained_on(out, step)


def _lines(notebook: Path, parameters: dict) -> dict:
    """The lines of a training notebook with its recipe applied, as they are where it has not all of them; its model."""
    model = {"model": plan.find_network(notebook, parameters)}
    try:
        return recipes.lines_in_force(parameters) | model
    except ValueError:
        return {name.lower(): value for name, value in parameters.items()} | model


def trained_on(out: Path, step: plan.Step) -> list[str]:
    """The digests of split and data that a training run is bound to; nothing of other steps, or before notebook 00."""
    if not step.run or not all((Path(out) / name).exists() for name in ("data/split.csv", "data/dataset.json")):
        return []
    return [store.split_digest(out), store.load_json(out, "data/dataset.json").get("data_hash", "")]


def depends_on(step: plan.Step, earlier: Iterable[plan.Step]) -> list[str]:
    """The names of those earlier steps of which a step reads a result."""
    return [other.name for other in earlier if any(_matches(name, reads(step)) for name in writes(other))]


def _matches(name: str, patterns: list[str]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns)
