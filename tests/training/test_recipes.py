"""One dial: what a recipe sets, which lines the user replaces, and that the notebooks hold the same defaults."""

import pytest

from hpa_lib import models, paths
from hpa_lib.models import layers
from hpa_lib.running import plan
from hpa_lib.training import augment, device, imbalance, losses, recipes

NETWORKS = {"02": "densenet", "03": "resnet18", "04": "inception_v2"}


def cell(**changed):
    """The names of a notebook after its parameters cell, and a few that are no lines."""
    names = {name.upper(): value for name, value in (recipes.DEFAULTS | changed).items()}
    return names | {"plan": plan, "In": ["..."], "exit": exit, "CELLS": ["a list is no line"]}


def test_own_leaves_the_lines_as_they_are():
    assert recipes.lines_in_force(cell(epochs=3)) == recipes.DEFAULTS | {"epochs": 3}


@pytest.mark.parametrize("name", sorted(set(recipes.RECIPES) - {"own"}))
def test_a_recipe_sets_its_lines_and_no_other(name):
    lines = recipes.lines_in_force(cell(recipe=name, fold=2))
    assert lines == recipes.DEFAULTS | {"fold": 2} | recipes.RECIPES[name] | {"recipe": name}


def test_a_line_of_the_users_wins_and_both_are_told():
    lines = recipes.lines_in_force(cell(recipe="best", loss="focal", ema=0.5))
    assert (lines["loss"], lines["ema"], lines["sampling"]) == ("focal", 0.5, 0.5)
    told = recipes.describe(lines)
    assert told.startswith("recipe best: ") and told.endswith(" | yours: LOSS focal, EMA 0.5") and "TTA 8" in told


def test_a_line_can_be_left_out_of_a_recipe():
    lines = recipes.lines_in_force(cell(recipe="best without SAMPLING, tta"))
    assert (lines["sampling"], lines["tta"]) == (0.0, 1)
    assert lines["loss"] == "bce+soft_f1"


@pytest.mark.parametrize("line", [name for name in recipes.STUDY if recipes.STUDY[name] != recipes.BEST[name]])
def test_each_line_left_out_of_best_is_as_the_study_had_it(line):
    """Also where the notebooks' default is another: an ablation that changes nothing would prove nothing."""
    lines = recipes.lines_in_force(cell(recipe=f"best without {line.upper()}"))
    assert lines[line] == recipes.STUDY[line]
    assert {name for name in recipes.STUDY if lines[name] != recipes.RECIPES["best"][name]} <= {line}


def test_in_a_script_a_given_line_wins_whatever_its_value():
    lines = recipes.complete("best", {"sampling": 0.0, "epochs": 2})
    assert (lines["sampling"], lines["ema"], lines["epochs"], lines["recipe"]) == (0.0, 0.98, 2, "best")
    assert lines.keys() == recipes.DEFAULTS.keys()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bets", "did you mean best"),
        ("report", "use one of own, study"),
        ("best without LEARNING_RATE", "cannot leave out LEARNING_RATE"),
        ("own without LOSS", "own sets nothing"),
        ("long without SAMPLING", "leaving out SAMPLING changes nothing"),
    ],
)
def test_an_unknown_recipe_is_refused(name, told):
    with pytest.raises(ValueError, match=told):
        recipes.find_recipe(name)


def test_recipes_set_the_same_known_lines():
    """Two recipes that set different lines could not be compared: what one leaves to the default, the other changes."""
    sets = [set(lines) for name, lines in recipes.RECIPES.items() if name != "own"]
    assert all(lines == sets[0] for lines in sets) and sets[0] <= recipes.DEFAULTS.keys()
    study, weighted = recipes.RECIPES["study"], recipes.RECIPES["class_weights"]
    assert [name for name in study if study[name] != weighted[name]] == ["class_weights"]


@pytest.mark.parametrize("number", NETWORKS)
def test_the_notebooks_hold_the_defaults(number):
    parameters = plan.read_parameters(plan.find_notebook(paths.PROJECT / "notebooks", number))
    found = {name.lower(): parameter.default for name, parameter in parameters.items()}
    choice = {"network": "resnet18"} if number == "03" else {}  # of a notebook that trains two
    assert found == recipes.DEFAULTS | models.BLOCK_LINES[NETWORKS[number]] | choice
    assert list(parameters)[:7] == ["RECIPE", "OUT", "RUN", "IMAGE_SIZE", "CLASS_WEIGHTS", "EPOCHS", "SEED"]


def test_the_choices_are_those_of_the_modules_that_use_them():
    assert set(recipes.CHOICES["network"]) == set(models.MODELS) - {"densenet", "inception_v2"}
    assert set(recipes.CHOICES["channels"]) == set(layers.CHANNEL_MODES)
    assert recipes.CHOICES["augment"] == augment.AUGMENTS and recipes.CHOICES["mix"] == augment.MIXES
    assert recipes.CHOICES["precision"] == device.PRECISIONS
    assert set(recipes.LOSSES) == set(losses.LOSSES) and recipes.SCHEMES == imbalance.SCHEMES


@pytest.mark.parametrize(
    ("line", "value", "told"),
    [
        ("tta", 99, "parameter TTA = 99: use a number from 1 to 8"),
        ("ema", 1.0, "parameter EMA = 1.0: use a number from 0 to 0.99999"),
        ("fold", -1, "parameter FOLD = -1"),  # -1 is the hold-out
        ("learning_rate", float("nan"), "parameter LEARNING_RATE = nan"),
        ("loss", "bce+focl", "LOSS 'focl': use one of bce, focal"),
        ("mix", "mixip", "parameter MIX = 'mixip': did you mean mixup?"),
        ("augment", "report", "AUGMENT 'report' is called 'study' now"),
        ("class_weights", "srqt", "CLASS_WEIGHTS 'srqt': use one of none, inverse"),
        ("channels", "rgbx", "CHANNELS = 'rgbx': did you mean rgb?"),
        ("precision", "int4", "PRECISION = 'int4': use one of auto"),
        ("network", "DenseNet21", "NETWORK = 'DenseNet21': did you mean densenet121?"),
        ("network", "inception_v2", "NETWORK = 'inception_v2': use one of resnet18, densenet121"),
    ],
)
def test_what_no_run_can_be_trained_with_is_refused(line, value, told):
    with pytest.raises(ValueError, match=told):
        recipes.check(recipes.DEFAULTS | {line: value})
    recipes.check(recipes.DEFAULTS | {"class_weights": "1,2", "loss": "bce+lovasz", "ema": 0.98})


def test_a_cell_that_lacks_a_line_says_which():
    names = cell()
    del names["EMA"], names["RECIPE"]
    with pytest.raises(ValueError, match="the parameters cell lacks RECIPE, EMA: take them from the notebook"):
        recipes.lines_in_force(names)


def test_a_run_is_named_after_its_dial():
    def name(**lines):
        return recipes.name_run("densenet", recipes.complete(lines.pop("recipe", "own"), lines))

    assert (name(), name(class_weights="none", seed=2)) == ("densenet-rgby-sqrt", "densenet-rgby-none-seed2")
    assert (name(recipe="best"), name(recipe="best without ")) == ("densenet-rgby-best",) * 2
    names = {name(recipe=text) for text in ("best without TTA, EMA", "best without ema tta")}
    assert names == {"densenet-rgby-best-without-ema-tta"}
    assert name(recipe="best", run="mine") == "mine"
