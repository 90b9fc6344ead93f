import json

import numpy as np
import pytest
from throwaway import write_notebook

from hpa_lib import paths
from hpa_lib.running import plan, profiles

STEPS = [
    ("00_data", "00", {}),
    ("02_none", "02", {"CLASS_WEIGHTS": "none"}),
    ("02_sqrt", "02", {"CLASS_WEIGHTS": "sqrt", "LEARNING_RATE": 1}),
]


@pytest.fixture
def folder(tmp_path):
    write_notebook(tmp_path / "00_data.ipynb", parameters='DATA: str = ""  # data folder\nOUT: str = ""  # output')
    write_notebook(tmp_path / "02_train_densenet.ipynb")
    return tmp_path


def test_steps_get_shared_own_and_command_line_values_in_that_order(folder):
    fixed = {"OUT": folder / "out", "CLASS_WEIGHTS": "linear", "EPOCHS": 5}
    steps = plan.make_plan(STEPS, folder, settings={"EPOCHS": "1"}, fixed=fixed)
    assert [step.name for step in steps] == ["00_data", "02_none", "02_sqrt"]
    assert steps[0].parameters == {"OUT": str(folder / "out")}  # the others are unknown to notebook 00
    assert steps[1].parameters == {"OUT": str(folder / "out"), "CLASS_WEIGHTS": "none", "EPOCHS": 1}
    assert steps[2].parameters["CLASS_WEIGHTS"] == "sqrt"


def test_a_whole_number_becomes_a_float_where_the_notebook_says_float(folder):
    rate = plan.make_plan(STEPS, folder)[2].parameters["LEARNING_RATE"]
    assert rate == 1.0 and type(rate) is float


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (["02"], ["02_none", "02_sqrt"]),
        (["2"], ["02_none", "02_sqrt"]),
        (["02_sqrt"], ["02_sqrt"]),
        (["02_sqrt", "00"], ["00_data", "02_sqrt"]),
        (["02_train_densenet"], ["02_none", "02_sqrt"]),
        (["02_train_densenet.ipynb"], ["02_none", "02_sqrt"]),
        (["notebooks/02_train_densenet.ipynb", "00_data"], ["00_data", "02_none", "02_sqrt"]),
        ([], ["00_data", "02_none", "02_sqrt"]),
    ],
)
def test_only_takes_numbers_step_names_and_notebooks_and_keeps_the_order(folder, only, names):
    assert [name for name, _, _ in plan.choose_steps(STEPS, folder, only)] == names


def networks(*values, settings=None):
    """The plan of steps of the real notebook 03 with these parameters."""
    steps = [(f"03_{number}", "03", {"RECIPE": "study"} | value) for number, value in enumerate(values)]
    return plan.make_plan(steps, paths.PROJECT / "notebooks", settings=settings)


def test_a_run_is_named_after_the_network_that_the_parameters_choose():
    first, second = networks({}, {"NETWORK": "densenet121"})
    assert (first.run, second.run) == ("resnet18-rgby-study", "densenet121-rgby-study")
    assert (first.name, second.name) == ("03_0", "03_1")
    (chosen,) = networks({}, settings={"NETWORK": "densenet121"})  # a try, beside the step's own copy
    assert (chosen.name, chosen.run) == ("03_0-densenet121-rgby-study", "densenet121-rgby-study")
    (step,) = networks({}, settings={"NETWORK": "resnet18"})
    assert step.name == "03_0"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"NETWORK": "densenet12"}, "step 03_0: parameter NETWORK = 'densenet12': did you mean densenet121"),
        ({"NETWORK": "inception_v2"}, "NETWORK = 'inception_v2': use one of resnet18, densenet121"),
        ({"NETWORK": "densenet121", "SHORTCUT": False}, "SHORTCUT False is for resnet18 alone: leave it at True"),
    ],
)
def test_a_network_that_the_notebook_cannot_train_is_refused(values, told):
    with pytest.raises(plan.Refused, match=told):
        networks(values)


@pytest.mark.parametrize(("name", "runs"), [("demo", []), ("course", ["study"]), ("kaggle", ["long"])])
def test_the_longer_profiles_train_densenet121_too(name, runs):
    steps = plan.make_plan(profiles.PROFILES[name]["steps"], paths.PROJECT / "notebooks")
    assert [step.run for step in steps if "121" in step.name] == [f"densenet121-rgby-{recipe}" for recipe in runs]


def test_one_network_for_all_steps_may_not_give_one_run_twice():
    with pytest.raises(plan.Refused, match="03_0 and 03_1 would both be the run densenet121-rgby-study"):
        networks({}, {"NETWORK": "densenet121"}, settings={"NETWORK": "densenet121"})


@pytest.mark.parametrize("wanted", ["99", "02_train", "densenet", "02_train_densenet.py"])
def test_unknown_step_is_refused(folder, wanted):
    with pytest.raises(plan.Refused, match=f"no step '{wanted}'.*02_sqrt"):
        plan.choose_steps(STEPS, folder, [wanted])


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("SEED: int = 0", "SEED", "-1"),
        ("SEED: int = 0", "SEED", "4294967296"),  # the largest seed of NumPy and Keras is one less
        ("EPOCHS: int = 1", "EPOCHS", "0"),
        ("IMAGE_SIZE: int = 64", "IMAGE_SIZE", "0"),
        ("NUM_FOLDS: int = 4", "NUM_FOLDS", "1"),
        ("FOLD: int = 0", "FOLD", "-1"),
        ("HOLDOUT: float = 0.2", "HOLDOUT", "1.5"),
        ("HOLDOUT: float = 0.2", "HOLDOUT", "nan"),
        ("MAX_IMAGES: int = 0", "MAX_IMAGES", "-3"),  # would have meant all images
        ("SAMPLING: float = 0.0", "SAMPLING", "7.0"),  # would have trained on a few images of the rarest labels
        ("EMA: float = 0.0", "EMA", "1.5"),
        ("TTA: int = 1", "TTA", "99"),  # would have been refused after the training
        ("BOOTSTRAP: int = 1000", "BOOTSTRAP", "0"),
        ("FOLDS: int = 5", "FOLDS", "1"),
    ],
)
def test_numbers_out_of_range_are_refused_wherever_they_come_from(tmp_path, line, name, text):
    write_notebook(tmp_path / "02_a.ipynb", parameters=line)
    value = float(text) if "." in text or text == "nan" else int(text)
    for values, settings in (({}, {name: text}), ({name: value}, {})):
        with pytest.raises(plan.Refused, match=rf"parameter {name} = {text}: use a number from \d"):
            plan.make_plan([("02", "02", values)], tmp_path, settings=settings)


@pytest.mark.parametrize(("name", "text"), [("SEED", "0"), ("SEED", "4294967295"), ("EPOCHS", "1"), ("HOLDOUT", "0")])
def test_numbers_at_the_ends_of_their_range_are_taken(tmp_path, name, text):
    kind = "float" if name == "HOLDOUT" else "int"
    write_notebook(tmp_path / "02_a.ipynb", parameters=f"{name}: {kind} = 1")
    assert plan.make_plan([("02", "02", {})], tmp_path, settings={name: text})[0].parameters == {name: float(text)}


@pytest.mark.parametrize(
    ("environment", "stored", "words"),
    [
        ({"KERAS_BACKEND": "torch"}, None, "the Keras backend 'torch' (KERAS_BACKEND) is not supported"),
        ({}, {"backend": "torch"}, "the Keras backend 'torch' (KERAS_FILE) is not supported"),
        ({"KERAS_BACKEND": "openvino"}, {"backend": "jax"}, "the Keras backend 'openvino'"),
        ({}, {"image_data_format": "channels_first"}, "image_data_format 'channels_first' (KERAS_FILE)"),
    ],
)
def test_keras_settings_that_cannot_work_are_refused(tmp_path, monkeypatch, environment, stored, words):
    keras_settings(tmp_path, monkeypatch, environment, stored)
    with pytest.raises(plan.Refused) as refusal:
        plan.check_keras()
    assert words.replace("KERAS_FILE", str(tmp_path / "keras.json")) in str(refusal.value)


@pytest.mark.parametrize(
    ("environment", "stored"),
    [
        ({}, None),
        ({"KERAS_BACKEND": "jax"}, {"backend": "torch"}),
        ({"KERAS_BACKEND": "tensorflow"}, {"image_data_format": "channels_last"}),
        ({}, "no JSON"),
        ({}, [1]),
    ],
)
def test_other_keras_settings_are_taken(tmp_path, monkeypatch, environment, stored):
    keras_settings(tmp_path, monkeypatch, environment, stored)
    plan.check_keras()


def keras_settings(folder, monkeypatch, environment, stored):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    for name, value in ({"KERAS_HOME": str(folder)} | environment).items():
        monkeypatch.setenv(name, value)
    if stored is not None:
        (folder / "keras.json").write_text(stored if isinstance(stored, str) else json.dumps(stored))


def test_numpy_values_are_shown_as_plain_ones(folder):
    for value in (np.str_("3"), np.float64(0.5)):
        with pytest.raises(plan.Refused) as refusal:
            plan.make_plan([("02", "02", {"EPOCHS": value})], folder)
        assert "np." not in str(refusal.value)


def test_misspelt_parameter_is_refused_with_the_nearest_name(folder):
    with pytest.raises(plan.Refused, match="no parameter EPOCS in 00_data.ipynb or 02_.*did you mean EPOCHS?"):
        plan.make_plan(STEPS, folder, settings={"EPOCS": "1"})


def test_parameter_of_another_notebook_is_refused_by_naming_that_notebook(folder):
    with pytest.raises(
        plan.Refused, match="no parameter EPOCHS in 00_data.ipynb: it belongs to 02_train_densenet.ipynb"
    ):
        plan.make_plan(STEPS, folder, only=["00"], settings={"EPOCHS": "1"})
    write_notebook(folder / "00_data.ipynb", parameters="MAX_IMAGES: int = 0")
    write_notebook(folder / "02_train_densenet.ipynb", parameters="IMAGE_SIZE: int = 64")  # a similar name
    with pytest.raises(plan.Refused, match="no parameter MAX_IMAGES in 02_train_densenet.ipynb: it belongs to 00_data"):
        plan.make_plan([("02", "02", {})], folder, settings={"MAX_IMAGES": "5"})


def test_misspelt_parameter_of_a_profile_is_refused(folder):
    with pytest.raises(plan.Refused, match="step 00_data: no parameter SEDE"):
        plan.make_plan([("00_data", "00", {"SEDE": 1})], folder)


def test_wrong_type_in_a_profile_is_refused(folder):
    with pytest.raises(plan.Refused, match="EPOCHS = '3': give a value of type int"):
        plan.make_plan([("02", "02", {"EPOCHS": "3"})], folder)


def test_parameters_cell_is_read_without_running_it(folder):
    parameters = plan.read_parameters(folder / "02_train_densenet.ipynb")
    assert parameters["LEARNING_RATE"] == plan.Parameter("float", 0.001)
    assert parameters["SMALL"] == plan.Parameter("bool", True)


def test_without_annotation_the_type_of_the_default_counts(tmp_path):
    path = write_notebook(tmp_path / "00_a.ipynb", parameters="SEED = 0\nSHIFT = -1.5")
    assert plan.read_parameters(path)["SEED"].kind == "int"
    assert plan.read_parameters(path)["SHIFT"] == plan.Parameter("float", -1.5)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LEARNING_RATE", "1e-3", 0.001),
        ("LEARNING_RATE", "2", 2.0),
        ("EPOCHS", "-4", -4),
        ("AUGMENT", "false", False),
        ("AUGMENT", "True", True),
        ("CLASS_WEIGHTS", "1e-3", "1e-3"),
        ("CLASS_WEIGHTS", "", ""),
        ("SMALL", "False", False),
    ],
)
def test_texts_become_values_of_the_annotated_type(folder, name, text, value):
    parameter = plan.read_parameters(folder / "02_train_densenet.ipynb")[name]
    result = plan.read_value(name, text, parameter)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("EPOCHS", "1.5"), ("EPOCHS", "one"), ("AUGMENT", "1"), ("LEARNING_RATE", "x"), ("SMALL", "none")],
)
def test_texts_of_a_wrong_type_are_refused(folder, name, text):
    parameter = plan.read_parameters(folder / "02_train_densenet.ipynb")[name]
    with pytest.raises(plan.Refused, match=f"parameter {name} = '{text}': give a value of type"):
        plan.read_value(name, text, parameter)


@pytest.mark.parametrize("name", ["EPOCHS", "LEARNING_RATE"])
def test_true_is_no_number(folder, name):
    with pytest.raises(plan.Refused, match=f"{name} = True"):
        plan.make_plan([("02", "02", {name: True})], folder)


def test_missing_parameters_tag_is_refused(tmp_path):
    path = write_notebook(tmp_path / "00_a.ipynb", "print(1)", parameters=None)
    with pytest.raises(plan.Refused, match="0 cells tagged 'parameters'"):
        plan.read_parameters(path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("EPOCHS: int = 1 + len('a')", "cannot be read"),
        ("import os", "line 1 is 'import os'"),
        ("EPOCHS: int = ", "cannot be read"),
        ("EPOCHS: Path = 'x'", "line 1: EPOCHS has the type 'Path', not one of bool, int, float, str"),
        ("FOLDS: list[int] | None = None", r"FOLDS has the type 'list\[int\] \| None'"),
        ("FOLDS = [1, 2]", "FOLDS has the type 'list'"),
        ("FOLDS = None", "FOLDS has the type 'NoneType'"),
        ("FOLDS: int", "line 1 is 'FOLDS: int'"),
        ("FOLD, FOLDS = 1, 2", "line 1 is"),
        ("FOLD = FOLDS = 1", "line 1 is"),
        ("FOLDS += 1", "line 1 is"),
    ],
)
def test_unreadable_parameters_cell_is_refused(tmp_path, line, problem):
    path = write_notebook(tmp_path / "00_a.ipynb", parameters=line)
    with pytest.raises(plan.Refused, match=problem):
        plan.read_parameters(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": 3}', '{"cells": [1]}', '{"cells": [{"metadata": 1}]}'])
def test_file_that_is_no_notebook_is_refused(tmp_path, text):
    path = tmp_path / "00_a.ipynb"
    path.write_text(text)
    with pytest.raises(plan.Refused, match=r"00_a.ipynb cannot be read as a notebook .* restore it"):
        plan.read_parameters(path)


def test_missing_and_ambiguous_notebooks_are_refused(folder):
    with pytest.raises(plan.Refused, match="notebook 07 .* found none"):
        plan.find_notebook(folder, "07")
    write_notebook(folder / "02_copy.ipynb")
    with pytest.raises(plan.Refused, match="02_copy.ipynb and 02_train_densenet.ipynb"):
        plan.find_notebook(folder, "02")


def test_a_copy_of_a_notebook_is_named_with_the_remedy(tmp_path):
    """As JupyterLab's "Duplicate" makes it, beside the original."""
    for name in ("05_a.ipynb", "05_a-Copy1.ipynb"):
        write_notebook(tmp_path / name)
    with pytest.raises(plan.Refused, match=r"found 05_a-Copy1.ipynb and 05_a.ipynb.*: move or rename the others"):
        plan.find_notebook(tmp_path, "05")


def test_a_recipe_is_checked_before_anything_starts():
    folder, step = paths.PROJECT / "notebooks", ("02_best", "02", {"RECIPE": "best"})
    (planned,) = plan.make_plan([step], folder, settings={"LOSS": "focal", "EPOCHS": "2"})
    assert planned.parameters == {"RECIPE": "best", "LOSS": "focal", "EPOCHS": 2}
    plan.make_plan([step], folder, settings={"RECIPE": "best without SAMPLING", "SAMPLING": "0"})
    with pytest.raises(plan.Refused, match="step 02_best: RECIPE 'bets': did you mean best"):
        plan.make_plan([step], folder, settings={"RECIPE": "bets"})
    told = (
        "SAMPLING 0.0 is the default, which gives way to the 0.5 of recipe best: use -p RECIPE 'best without SAMPLING'"
    )
    with pytest.raises(plan.Refused, match=told):
        plan.make_plan([step], folder, settings={"SAMPLING": "0"})
    with pytest.raises(plan.Refused, match="use -p RECIPE 'best without EMA, TTA' instead"):
        plan.make_plan([step], folder, settings={"RECIPE": "best without EMA", "TTA": "1"})
    with pytest.raises(
        plan.Refused, match="CLASS_WEIGHTS sqrt is the default.* the none of recipe study: set RECIPE own"
    ):
        plan.make_plan([step], folder, settings={"RECIPE": "study", "CLASS_WEIGHTS": "sqrt"})


def test_two_steps_that_come_to_one_run_are_refused():
    folder = paths.PROJECT / "notebooks"
    steps = [
        ("02_none", "02", {"CLASS_WEIGHTS": "none"}),
        ("02_sqrt", "02", {"CLASS_WEIGHTS": "sqrt"}),
        ("03", "03", {}),
    ]
    assert len(plan.make_plan(steps, folder, settings={"EPOCHS": "1"})) == 3
    for name, text, run in (
        ("RECIPE", "best", "densenet-rgby-best"),
        ("CLASS_WEIGHTS", "inverse", "densenet-rgby-inverse"),
    ):
        with pytest.raises(plan.Refused, match=f"02_none and 02_sqrt would both be the run {run}: choose one of them"):
            plan.make_plan(steps, folder, settings={name: text})
    with pytest.raises(plan.Refused, match="step 03: LOSS 'focl'"):
        plan.make_plan(steps[2:], folder, settings={"LOSS": "focl"})


def test_a_try_keeps_the_executed_copy_of_its_step():
    step = ("02_sqrt", "02", {"CLASS_WEIGHTS": "sqrt"})
    folder = paths.PROJECT / "notebooks"
    assert plan.make_plan([step], folder)[0].name == "02_sqrt"
    assert plan.make_plan([step], folder, settings={"RUN": "try"})[0].name == "02_sqrt-try"
