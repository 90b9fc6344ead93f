"""What a headless run will do: the chosen notebooks with their checked parameters. Nothing is started here.

Papermill only warns about a misspelt parameter or a notebook without a ``parameters`` cell and runs on with the
defaults, and it passes a number such as ``1e-3`` on as a text. So everything is read and checked beforehand.
"""

import ast
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from hpa_lib.training import recipes

RANGES = {  # least and most of numbers that mean the same in every notebook
    **{name.upper(): bounds for name, bounds in recipes.RANGES.items()},
    "NUM_FOLDS": (2, 10**3),
    "HOLDOUT": (0, 1),
    "MAX_IMAGES": (0, 10**9),
    "MAX_DISTANCE": (0, 256),
    "FOLDS": (2, 10**3),
    "BOOTSTRAP": (1, 10**6),
    "LABEL": (-1, 27),
    "NUMBER": (1, 100),
    "FIELDS": (0, 1000),
    "COVERED": (1, 1000),
}
CHOICES = {"MAP": ("pca", "tsne")}  # texts that mean the same in every notebook
BACKENDS = ("tensorflow", "jax")


class Refused(ValueError):
    """The request cannot be run; the sentence says what to change. Nothing has been started."""


class Step(NamedTuple):
    """One notebook run: its name (and that of its executed copy), the notebook's path, its parameters.

    ``run`` is the name of the training run that it makes; ``""`` for a notebook that trains nothing.
    """

    name: str
    notebook: Path
    parameters: dict
    run: str = ""


class Parameter(NamedTuple):
    """One line of a ``parameters`` cell: the name of its type (a key of ``READERS``) and its default."""

    kind: str
    default: object


def make_plan(
    steps: Iterable[tuple[str, str, Mapping]],
    folder: Path,
    only: Iterable[str] = (),
    settings: Mapping[str, str] | None = None,
    fixed: Mapping[str, object] | None = None,
) -> list[Step]:
    """The chosen steps in the profile's order, every parameter checked and of its annotated type.

    Args:
        steps: a profile's ``(step name, notebook number, parameters)``.
        folder: that of the numbered notebooks.
        only: step names, notebook numbers or notebook names (see ``choose_steps``); empty for all steps.
        settings: texts from the command line, each for every chosen notebook that has such a parameter.
        fixed: values for every notebook that has such a parameter (``DATA`` and ``OUT``).

    Raises:
        Refused: an unknown step or parameter, a value of the wrong type or out of range, or a notebook that cannot be
            read or has no proper ``parameters`` cell.
    """
    settings = settings or {}
    plan, named, known, runs = [], [], {}, {}
    for name, number, values in choose_steps(steps, folder, only):
        notebook = find_notebook(folder, number)
        parameters = read_parameters(notebook)
        known.update(parameters)
        for unknown in set(values) - set(parameters):
            raise Refused(f"step {name}: {_unknown(unknown, [notebook], parameters)}")
        merged = {key: value for key, value in (fixed or {}).items() if key in parameters} | dict(values)
        checked = {key: check_value(key, value, parameters[key]) for key, value in merged.items()}
        given = {key: read_value(key, text, parameters[key]) for key, text in settings.items() if key in parameters}
        for key, value in (checked | given).items():
            _check_range(key, value)
        run, copy = "", name
        if "RECIPE" in parameters:
            defaults = {key: parameter.default for key, parameter in parameters.items()}
            network, usual_network = (find_network(notebook, defaults | dial) for dial in (checked | given, checked))
            run = _check_training(name, network, defaults, checked | given)
            runs.setdefault(run, []).append(name)
            usual = recipes.name_run(usual_network, recipes.lines_in_force({**defaults, **checked}))
            copy = name if run == usual else f"{name}-{run}"  # a try keeps the step's own copy and record
        plan.append(Step(copy, notebook, checked | given, run))
        named += [name] if "RECIPE" in parameters and plan[-1].parameters.get("RUN") else []
    for unknown in set(settings) - set(known):
        raise Refused(_unknown(unknown, list(dict.fromkeys(step.notebook for step in plan)), known))
    if settings.get("RUN") and len(named) > 1:
        raise Refused(f"-p RUN names one run, but {', '.join(named)} would all take it: choose one step with --only")
    for run, names in runs.items():
        if len(names) > 1:
            raise Refused(f"{' and '.join(names)} would both be the run {run}: choose one of them with --only")
    return plan


def choose_steps(
    steps: Iterable[tuple[str, str, Mapping]], folder: Path, only: Iterable[str] = ()
) -> list[tuple[str, str, Mapping]]:
    """The steps named by ``only``, in their order; all steps where it is empty.

    A name is a step's (``02_densenet_study``), or a notebook's for all steps of that notebook: its number (``02``) or
    its file with or without ``.ipynb`` (``02_train_densenet``).
    """
    steps, only = list(steps), list(only)
    chosen = []
    for wanted in only:
        stem = Path(wanted).name.removesuffix(".ipynb")
        number = stem.partition("_")[0] if (Path(folder) / f"{stem}.ipynb").exists() else stem.zfill(2)
        found = [step for step in steps if stem == step[0] or number == step[1]]
        if not found:
            names = ", ".join(name for name, _, _ in steps)
            raise Refused(f"no step '{wanted}' in this profile: use a notebook's number or name, or one of {names}")
        chosen += found
    return [step for step in steps if step in chosen] if only else steps


def find_notebook(folder: Path, number: str) -> Path:
    """The one notebook ``folder/<number>_*.ipynb``."""
    found = sorted(Path(folder).glob(f"{number}_*.ipynb"))
    if len(found) != 1:
        names = " and ".join(path.name for path in found) or "none"
        remedy = "move or rename the others" if found else "name the folder of the notebooks"
        raise Refused(f"notebook {number} in {folder}: found {names}, needed is one {number}_<name>.ipynb: {remedy}")
    return found[0]


def find_network(notebook: Path, parameters: Mapping[str, object]) -> str:
    """The network that a notebook trains: ``NETWORK`` of its parameters, or the one in its name, as of notebook 02."""
    return parameters.get("NETWORK") or notebook.stem.rpartition("train_")[2]


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, by name, read from its one cell tagged ``parameters`` without running it.

    Raises:
        Refused: the file is no notebook, the cell is missing or occurs twice, or a line of it is not
            ``NAME: type = literal``.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise Refused(f"{notebook} cannot be read as a notebook ({problem}): restore it from git") from error
    if len(tagged) != 1:
        raise Refused(f"{notebook.name} has {len(tagged)} cells tagged 'parameters': tag exactly one code cell")
    source = "".join(tagged[0]["source"])
    try:
        return dict(_read_line(node) for node in ast.parse(source).body)
    except (SyntaxError, ValueError) as error:
        hint = "each line is NAME: type = literal"
        raise Refused(f"the parameters cell of {notebook.name} cannot be read ({error}): {hint}") from error


def _read_line(node: ast.stmt) -> tuple[str, Parameter]:
    """Name and type of one line of a ``parameters`` cell; without an annotation the default's type counts."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    is_assignment = isinstance(node, ast.Assign | ast.AnnAssign) and node.value
    if not is_assignment or len(targets) != 1 or not isinstance(targets[0], ast.Name):
        raise ValueError(f"line {node.lineno} is {ast.unparse(node)!r}")
    default = ast.literal_eval(node.value)
    kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else type(default).__name__
    if kind not in READERS:
        raise ValueError(f"line {node.lineno}: {targets[0].id} has the type {kind!r}, not one of {', '.join(READERS)}")
    return targets[0].id, Parameter(kind, default)


def _read_bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


READERS = {"bool": _read_bool, "int": int, "float": float, "str": str}


def read_value(name: str, text: str, parameter: Parameter) -> bool | int | float | str:
    """The value of a text from the command line in the parameter's type: ``"1e-3"`` for a float is 0.001."""
    try:
        return READERS[parameter.kind](text)
    except (ValueError, KeyError):
        raise Refused(_wrong_type(name, text, parameter)) from None


def check_value(name: str, value: object, parameter: Parameter) -> object:
    """The same value if it has the parameter's type; a whole number for a float becomes one, a path a text."""
    if isinstance(value, Path):
        value = str(value)
    if type(value).__name__ == parameter.kind:
        return value
    if type(value) is int and parameter.kind == "float":
        return float(value)
    raise Refused(_wrong_type(name, value, parameter))


def _check_range(name: str, value: object) -> None:
    least, most = RANGES.get(name, (None, None))
    if least is not None and not least <= value <= most:
        raise Refused(f"parameter {name} = {value}: use a number from {least} to {most}")
    if value not in CHOICES.get(name, (value,)):
        raise Refused(f"parameter {name} = {value!r}: use {' or '.join(CHOICES[name])}")


def _check_training(step: str, network: str, defaults: Mapping[str, object], values: Mapping[str, object]) -> str:
    """The name of a training step's run; refused are values that nothing can be trained with, or that a recipe hides.

    Hidden is a value that is given and equals its default: such a line gives way to the recipe.
    """
    try:
        in_force = recipes.lines_in_force({**defaults, **values})
        recipes.check(in_force)
        lines = recipes.find_recipe(in_force["recipe"])
    except ValueError as error:
        raise Refused(f"step {step}: {error}") from None
    for line, value in lines.items():
        name, default = line.upper(), recipes.DEFAULTS[line]
        if values.get(name) == default != value:
            recipe = f"{values['RECIPE']}{', ' if recipes.WITHOUT in values['RECIPE'] else recipes.WITHOUT}{name}"
            has_it = recipes.STUDY[line] == default
            remedy = f"use -p RECIPE '{recipe}' instead" if has_it else "set RECIPE own and each line of the recipe"
            raise Refused(
                f"step {step}: {name} {default} is the default, which gives way to the {value} of recipe "
                f"{values['RECIPE']}: {remedy}"
            )
    return recipes.name_run(network, in_force)


def check_keras() -> None:
    """Refuse Keras settings that the models cannot run with. Keras itself is not imported, which takes seconds.

    Keras reads them from ``KERAS_BACKEND`` and from ``keras.json`` in ``KERAS_HOME``, by default ``~/.keras``.

    Raises:
        Refused: another backend than ``BACKENDS`` or one that is not installed, or images with their channels first.
    """
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # Keras goes on with its defaults too
        stored = {}
    backend = os.environ.get("KERAS_BACKEND") or stored.get("backend", BACKENDS[0])
    if backend not in BACKENDS:
        source = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else path
        raise Refused(f"the Keras backend '{backend}' ({source}) is not supported: use {' or '.join(BACKENDS)}")
    if not importlib.util.find_spec(backend):
        raise Refused(f"the Keras backend '{backend}' is not installed: pip install {backend}")
    if stored.get("image_data_format", "channels_last") != "channels_last":
        value = stored["image_data_format"]
        raise Refused(f"image_data_format '{value}' ({path}) is not supported: write \"channels_last\" there")


def _wrong_type(name: str, value: object, parameter: Parameter) -> str:
    value = value.item() if hasattr(value, "item") else value  # a NumPy number or text, shown as a plain one
    return f"parameter {name} = {value!r}: give a value of type {parameter.kind}, such as {parameter.default!r}"


def _unknown(name: str, notebooks: list[Path], known: Iterable[str]) -> str:
    """The sentence about a parameter that ``notebooks`` lack; it names the notebook of their folder that has it."""
    numbered = sorted(notebooks[0].parent.glob("[0-9]*_*.ipynb"))
    owners = [path.name for path in numbered if name in read_parameters(path)]
    remedy = f"it belongs to {owners[0]}" if owners else recipes.suggest(name, sorted(known))
    return f"no parameter {name} in {' or '.join(path.name for path in notebooks)}: {remedy}"
