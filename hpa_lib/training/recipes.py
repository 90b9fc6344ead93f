"""The one dial: named recipes, the defaults of all training parameters, and what is in force of both.

A *line* is one parameter of a training notebook, here in lower case. A recipe is a plain dictionary of the lines that
it sets; all others keep their defaults. Three rules decide what is in force:

1. ``own`` sets nothing: the lines are used as they are;
2. any other recipe sets its lines, except those that differ from their default: they are the user's and win;
3. ``"best without SAMPLING, EMA"`` is ``best`` with those lines as the study had them (an ablation in one parameter).

In a script (``runs.train``) a line that is given always wins, whatever its value.
"""

import difflib
from collections.abc import Iterable, Mapping

from hpa_lib import store

STUDY = {  # the study's training: plain cross-entropy, imgaug, no answer to the imbalance yet
    "class_weights": "none",
    "loss": "bce",
    "prior_bias": False,
    "augment": "study",
    "mix": "none",
    "sampling": 0.0,
    "ema": 0.0,
    "tta": 1,
}
BEST = {  # the kit's, for few epochs: rare labels are sampled more often and weigh more, the loss contains F1
    "class_weights": "sqrt",
    "loss": "bce+soft_f1",
    "prior_bias": True,
    "augment": "turns",
    "mix": "none",
    "sampling": 0.5,
    "ema": 0.98,
    "tta": 8,
}
RECIPES = {  # measured in docs/findings.md
    "own": {},
    "study": STUDY,
    "class_weights": STUDY | {"class_weights": "sqrt"},  # the study's one change
    "best": BEST,
    "long": BEST | {"loss": "bce", "sampling": 0.0},  # the kit's, for ten epochs and more
}
DEFAULTS = {  # of every line; the parameters cells of notebooks 02 to 04 hold the same, which a test checks
    "recipe": "own",
    "out": "",
    "run": "",
    "image_size": 96,
    "class_weights": "sqrt",
    "epochs": 12,
    "seed": 0,
    "channels": "rgby",
    "loss": "bce",
    "prior_bias": True,
    "augment": "study",
    "mix": "none",
    "sampling": 0.0,
    "head_epochs": 0,
    "batch_size": 0,
    "learning_rate": 0.0,
    "ema": 0.0,
    "patience": 0,
    "fold": 0,
    "workers": 0,
    "jit": "auto",
    "tta": 1,
    "precision": "auto",
    "weights": "",
    "start_over": False,
}
NOT_SETTINGS = {  # lines that do not shape the weights of a run; all others must be equal for a resume
    "recipe",  # the lines that it sets are compared instead
    "network",  # runs.settings has it as `model`
    "out",
    "run",
    "workers",
    "jit",
    "tta",
    "start_over",
}
RANGES = {  # least and most of numbers
    "image_size": (1, 10**5),
    "epochs": (1, 10**6),
    "seed": (0, 2**32 - 1),  # what NumPy and Keras take
    "sampling": (0, 1),
    "head_epochs": (0, 10**6),
    "batch_size": (0, 10**6),
    "learning_rate": (0, 10),
    "ema": (0, 0.99999),
    "patience": (0, 10**6),
    "fold": (0, 10**3),
    "workers": (0, 10**3),
    "tta": (1, 8),
}
CHOICES = {  # as the modules that use them have them, which a test checks; those take seconds to import
    "network": ("resnet18", "densenet121"),  # a line of notebook 03 alone
    "channels": ("rgby", "rgb", "rgb_merge"),
    "augment": ("none", "turns", "study", "strong"),
    "mix": ("none", "mixup", "cutmix"),
    "jit": ("auto", "on", "off"),
    "precision": ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
}
LOSSES = ("bce", "focal", "asymmetric", "soft_f1", "lovasz")
SCHEMES = ("none", "inverse", "sqrt", "effective")  # of class weights
WITHOUT = " without "


def lines_in_force(names: Mapping[str, object]) -> dict[str, object]:
    """The lines of a parameters cell with its recipe applied, lower-case names.

    Args:
        names: ``globals()`` of a notebook after its parameters cell. Every UPPER_CASE name that holds a text, a number
            or a truth value is a line, so that none can be forgotten where runs are compared.

    Raises:
        ValueError: a line is missing, or ``RECIPE`` is no recipe or leaves out a line that it does not set.
    """
    lines = {name.lower(): value for name, value in names.items() if name.isupper() and _is_plain(value)}
    missing = [name.upper() for name in DEFAULTS if name not in lines]
    if missing:
        raise ValueError(f"the parameters cell lacks {', '.join(missing)}: take them from the notebook as it came")
    recipe = find_recipe(lines["recipe"])
    return lines | {name: value for name, value in recipe.items() if lines[name] == DEFAULTS[name]}


def complete(recipe: str, given: Mapping[str, object]) -> dict[str, object]:
    """All lines of a script's run: those ``given``, then the recipe's, then the defaults.

    Args:
        recipe: as ``RECIPE`` in the notebooks.
        given: lower-case names; a network's further lines, such as ``shortcut``, are taken as they are.

    Raises:
        ValueError: an unknown recipe.
    """
    return DEFAULTS | find_recipe(recipe) | {"recipe": recipe} | dict(given)


def find_recipe(name: str) -> dict[str, object]:
    """The lines that a recipe sets; those that ``"... without LINE, LINE"`` leaves out are the study's.

    Raises:
        ValueError: the recipe is unknown, or does not set a line that it shall leave out.
    """
    base, left_out = _split(name)
    if base not in RECIPES:
        raise ValueError(f"RECIPE {name!r}: {suggest(base, RECIPES)} (or one such as 'best without SAMPLING')")
    lines = dict(RECIPES[base])
    for line in left_out:
        if line not in lines:
            known = ", ".join(lines).upper() or "nothing"
            raise ValueError(f"RECIPE {name!r}: {base} sets {known}, and so cannot leave out {line.upper()}")
        if lines[line] == STUDY[line]:
            raise ValueError(
                f"RECIPE {name!r}: leaving out {line.upper()} changes nothing, {base} has the study's value"
            )
        lines[line] = STUDY[line]
    return lines


def check(lines: Mapping[str, object]) -> None:
    """Refuse a value that no run could be trained with, before anything is loaded.

    Args:
        lines: those to check, lower-case names.

    Raises:
        ValueError: a number out of range, a text that is none of the choices, or another network without ResNet18's
            shortcuts.
    """
    for name, (least, most) in RANGES.items():
        if name in lines and not least <= lines[name] <= most:
            raise ValueError(f"parameter {name.upper()} = {lines[name]}: use a number from {least} to {most}")
    for name, choices in CHOICES.items():
        if lines.get(name) == "report":
            raise ValueError(f"{name.upper()} 'report' is called 'study' now: write {name.upper()} = 'study'")
        if name in lines and lines[name] not in choices:
            raise ValueError(f"parameter {name.upper()} = {lines[name]!r}: {suggest(lines[name], choices)}")
    if lines.get("network", "resnet18") != "resnet18" and not lines.get("shortcut", True):
        raise ValueError(f"SHORTCUT False is for resnet18 alone: leave it at True for {lines['network']}")
    unknown = [part for part in lines.get("loss", "bce").split("+") if part not in LOSSES]
    if unknown:
        raise ValueError(f"LOSS {unknown[0]!r}: use one of {', '.join(LOSSES)}, or a sum such as bce+soft_f1")
    scheme = lines.get("class_weights", "none")
    if scheme not in SCHEMES and "," not in scheme:
        raise ValueError(f"CLASS_WEIGHTS {scheme!r}: use one of {', '.join(SCHEMES)}, or 28 numbers with commas")


def name_run(network: str, lines: Mapping[str, object]) -> str:
    """The run's name: ``RUN``, or one made of network, channels, recipe (or class weights), fold and seed."""
    base, left_out = _split(lines["recipe"])
    dial = lines["class_weights"] if base == "own" else "-".join([base, *["without"][: len(left_out)], *left_out])
    return lines["run"] or store.run_name(network, lines["channels"], dial, lines["fold"], lines["seed"])


def describe(lines: Mapping[str, object]) -> str:
    """What is in force, in one line: what the recipe set, and what of it is the user's own."""
    recipe = find_recipe(lines["recipe"])
    if not recipe:
        return "recipe own: the lines of the parameters cell as they are"
    kept = [f"{name.upper()} {lines[name]}" for name, value in recipe.items() if lines[name] == value]
    changed = [f"{name.upper()} {lines[name]}" for name, value in recipe.items() if lines[name] != value]
    yours = f" | yours: {', '.join(changed)}" if changed else ""
    return f"recipe {lines['recipe']}: {', '.join(kept)}{yours}"


def _split(name: str) -> tuple[str, list[str]]:
    """``("best", ["ema", "tta"])`` of ``"best without TTA, EMA"``."""
    base, _, left_out = f"{name} ".partition(WITHOUT)
    return base.strip(), sorted(left_out.lower().replace(",", " ").split())


def suggest(wrong: object, choices: Iterable[str]) -> str:
    """What to do about an unknown name: the choice that is spelt most like it, or all of them."""
    spellings = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(wrong).lower(), spellings, n=1)
    return f"did you mean {spellings[near[0]]}?" if near else f"use one of {', '.join(spellings.values())}"


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)
