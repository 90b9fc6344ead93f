"""A grid file: many runs (network x recipe x channels x seed x fold) as a profile, checked before anything starts."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from hpa_lib import paths
from hpa_lib.running import files, plan
from hpa_lib.training import recipes

KEYS = {  # key of a grid file -> what holds without it, whose type a value must have
    "networks": [],  # or a mapping: network -> further parameters of its notebook
    "recipes": ["own"],
    "channels": ["rgby"],
    "folds": [0],
    "seeds": [0],
    "epochs": recipes.DEFAULTS["epochs"],
    "image_size": recipes.DEFAULTS["image_size"],
    "num_folds": 4,
    "baseline": False,  # notebook 01b too
    "explore": False,  # notebook 08 too
    "parameters": {},  # further ones, each for every notebook that has it
    "data": "",
    "out": "",
}
PARAMETERS = {  # key -> the notebooks' parameter that it sets, which `parameters` cannot set too
    "networks": "NETWORK",
    "recipes": "RECIPE",
    "channels": "CHANNELS",
    "folds": "FOLD",
    "seeds": "SEED",
    "epochs": "EPOCHS",
    "image_size": "IMAGE_SIZE",
    "num_folds": "NUM_FOLDS",
    "data": "DATA",
    "out": "OUT",
}
SET_PER_STEP = ("RUN", "RUNS", "START_OVER")
EXPECTED = {int: "a whole number", bool: "true or false", str: "a text", dict: "lines such as BATCH_SIZE: 16 below it"}


def load(path: Path, folder: Path | None = None) -> dict:
    """A grid file as a profile: ``data``, ``out``, ``shared`` and ``steps``, as in ``profiles.PROFILES``.

    Args:
        path: a YAML file with some of ``KEYS``; relative folders in it are relative to the file's own.
        folder: that of the numbered notebooks; default: the project's.

    Raises:
        plan.Refused: the file, a key or a value is wrong; the sentence names the file and the line.
    """
    path, folder = Path(path).resolve(), Path(folder or paths.PROJECT / "notebooks")
    steps = _find_networks(folder)
    given, lines = _read(path)
    for key, problem in _problems(given, steps):
        raise plan.Refused(f"{path}, line {lines.get(key, 1)}: {problem}")
    values = KEYS | given
    try:
        profile = _make_profile(values, path, folder, steps)
        _check_known(values["parameters"], profile["steps"], folder)
        plan.make_plan(profile["steps"], folder, fixed=profile["shared"])
    except plan.Refused as error:
        raise plan.Refused(f"{path}: {error}") from None
    return profile


def _find_networks(folder: Path) -> dict[str, tuple[str, dict]]:
    """Network -> the number of the notebook that trains it, and the parameter that chooses it there, if any."""
    found = {}
    for path in sorted(folder.glob("*_train_*.ipynb")):
        has_choice = "NETWORK" in plan.read_parameters(path)
        for network in recipes.CHOICES["network"] if has_choice else [plan.find_network(path, {})]:
            found[network] = path.name.partition("_")[0], {"NETWORK": network} if has_choice else {}
    return found


def _read(path: Path) -> tuple[dict, dict[str, int]]:
    """What a grid file says, and the line of each key."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a mark before the first letter
        node, values = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except UnicodeDecodeError:
        raise plan.Refused(f"{path} is no plain text: save it as text with the encoding UTF-8") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "no plain text"
        line = f", line {mark.line + 1}" if mark else ""
        raise plan.Refused(f"{path}{line}: this is no YAML ({problem}): compare it with workflow/grid.yml") from None
    if not isinstance(values, dict):
        raise plan.Refused(f"{path} has no lines such as 'networks: [densenet]': compare it with workflow/grid.yml")
    for mapping in [node, *(value for _, value in node.value if isinstance(value, yaml.MappingNode))]:
        _refuse_doubled(path, mapping)
    return values, {key.value: key.start_mark.line + 1 for key, _ in node.value}


def _refuse_doubled(path: Path, mapping: yaml.MappingNode) -> None:
    names = [key.value for key, _ in mapping.value]
    for number, (key, _) in enumerate(mapping.value):
        if key.value in names[:number]:
            raise plan.Refused(f"{path}, line {key.start_mark.line + 1}: the key {key.value} is given twice")


def _problems(given: Mapping, networks: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a grid file's keys and values: key and sentence; later ones may follow the first."""
    for key, value in given.items():
        if key not in KEYS:
            yield key, f"unknown key {key!r}: {recipes.suggest(key, KEYS)}"
        elif value is None:
            yield key, f"{key} has no value: give one, or take the line out"
        elif type(value) is not type(KEYS[key]) and not (key == "networks" and isinstance(value, dict)):
            yield key, f"{key} is {value!r}: give {EXPECTED.get(type(KEYS[key]), f'a list, such as [{value}]')}"
    values = KEYS | dict(given)
    for key in ("networks", "recipes", "channels", "folds", "seeds"):
        yield from ((key, f"{key}: {problem}") for problem in _list_problems(key, values[key], networks))
    for key in ("epochs", "image_size", "num_folds"):
        yield from ((key, f"{key}: {problem}") for problem in _entry_problems(key, values[key], ()))
    if max(values["folds"]) >= values["num_folds"]:
        yield "folds", f"folds: {max(values['folds'])}: num_folds is {values['num_folds']}, and the first fold is 0"
    if isinstance(values["networks"], dict):
        for network, further in values["networks"].items():
            yield from (("networks", f"{network}: {problem}") for problem in _further_problems(further))
    yield from (("parameters", f"parameters: {problem}") for problem in _further_problems(values["parameters"]))


def _list_problems(key: str, entries: Iterable, networks: Iterable[str]) -> Iterator[str]:
    """What is wrong with a list, or the names of a mapping."""
    if not entries:
        yield f"the list is empty: give some of {', '.join(sorted(networks)) if key == 'networks' else KEYS[key]}"
    for entry in entries:
        yield from _entry_problems(key, entry, networks)
        if list(entries).count(entry) > 1:
            yield f"{entry!r} is given twice"


def _entry_problems(key: str, entry: object, networks: Iterable[str]) -> Iterator[str]:
    """What is wrong with a number, or with one entry of a list."""
    choices = {"networks": sorted(networks), "channels": recipes.CHOICES["channels"]}.get(key)
    if choices:
        if entry not in choices:
            yield f"{entry!r} is unknown: {recipes.suggest(entry, choices)}"
    elif key == "recipes":
        try:
            recipes.find_recipe(str(entry))
        except ValueError as error:
            yield str(error)
    else:
        least, most = plan.RANGES[PARAMETERS[key]]
        if type(entry) is not int or not least <= entry <= most:
            yield f"{entry!r}: use a whole number from {least} to {most}"


def _further_problems(further: object) -> Iterator[str]:
    """What is wrong with ``parameters`` or a network's, apart from what ``plan`` checks."""
    if not isinstance(further or {}, dict):
        yield f"{further!r}: give {EXPECTED[dict]}"
        return
    for name, value in (further or {}).items():
        if not isinstance(name, str):
            yield f"{name!r}: give the name of a parameter, such as BATCH_SIZE: 16"
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            yield f"{name} {value} is a text in YAML: write {float(value)!r} or {value.replace('e', '.0e', 1)}"
        keys = [key for key, parameter in PARAMETERS.items() if parameter == name]
        if keys or name in SET_PER_STEP:
            yield f"{name} {f'is set by the key {keys[0]}' if keys else 'differs per step'}: leave it out here"


def _make_profile(values: Mapping, path: Path, folder: Path, steps: Mapping[str, tuple]) -> dict:
    """The profile of checked values; ``RUNS`` of notebooks 05 and 06 are the grid's, so that no other run counts."""
    shared = {"EPOCHS": values["epochs"], "IMAGE_SIZE": values["image_size"]} | values["parameters"]
    baseline = [("01b_classical", "01b", {})] if values["baseline"] else []
    runs = [run for step in plan.make_plan(baseline, folder, fixed=shared) for run in files.trains(step)]
    trained = list(_training_steps(values, steps))
    chosen = {"RUNS": ",".join([*runs, *(run for run, _ in trained)])}
    last = [("08_explore", "08", {})] if values["explore"] else []
    data, out = (str(path.parent / Path(values[key]).expanduser()) if values[key] else "" for key in ("data", "out"))
    return {
        "data": paths.find_data(data)[0],
        "out": Path(out).resolve() if out else paths.PROJECT / "outputs" / path.stem,
        "shared": shared,
        "steps": [
            ("00_data", "00", {"NUM_FOLDS": values["num_folds"]}),
            ("01_eda", "01", {}),
            *baseline,
            *(step for _, step in trained),
            ("05_thresholds", "05", chosen),
            ("06_ensemble", "06", chosen),
            *last,
            ("07_report", "07", {}),
        ],
    }


def _training_steps(values: Mapping, steps: Mapping[str, tuple]) -> Iterator[tuple[str, tuple[str, str, dict]]]:
    """Of every combination the run's name, and its step, named after it: ``02_densenet-rgby-study-fold1``."""
    networks = values["networks"] if isinstance(values["networks"], dict) else dict.fromkeys(values["networks"])
    dials = list(itertools.product(*(values[key] for key in ("recipes", "channels", "seeds", "folds"))))
    for network, dial in itertools.product(networks, dials):
        number, parameters = steps[network]
        parameters = parameters | dict(zip(("RECIPE", "CHANNELS", "SEED", "FOLD"), dial, strict=True))
        parameters |= networks[network] or {}
        lines = {name.lower(): value for name, value in (values["parameters"] | parameters).items()}
        run = recipes.name_run(network, recipes.DEFAULTS | lines)
        yield run, (f"{number}_{run}", number, parameters)


def _check_known(parameters: Mapping, steps: Iterable[tuple], folder: Path) -> None:
    notebooks = {plan.find_notebook(folder, number) for _, number, _ in steps}
    known = sorted(set().union(*map(plan.read_parameters, notebooks)))
    for name in parameters:
        if name not in known:
            raise plan.Refused(f"parameters: no notebook of the grid has {name}: {recipes.suggest(name, known)}")


def make_steps(path: Path, folder: Path | None = None) -> list[plan.Step]:
    """All steps of a grid file, checked; raises as ``load``."""
    folder = Path(folder or paths.PROJECT / "notebooks")
    profile = load(path, folder)
    fixed = profile["shared"] | {"DATA": profile["data"], "OUT": profile["out"]}
    return plan.make_plan(profile["steps"], folder, fixed=fixed)
