import pytest
from throwaway import write_notebook

from hpa_lib import plan

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
        ([], ["00_data", "02_none", "02_sqrt"]),
    ],
)
def test_only_takes_numbers_and_step_names_and_keeps_the_order(only, names):
    assert [name for name, _, _ in plan.choose_steps(STEPS, only)] == names


def test_unknown_step_is_refused():
    with pytest.raises(plan.Refused, match="no step '99'.*02_sqrt"):
        plan.choose_steps(STEPS, ["99"])


def test_misspelt_parameter_is_refused_with_the_nearest_name(folder):
    with pytest.raises(plan.Refused, match="no parameter EPOCS in 00_data.ipynb or 02_.*did you mean EPOCHS?"):
        plan.make_plan(STEPS, folder, settings={"EPOCS": "1"})


def test_parameter_of_another_notebook_is_refused_when_that_one_is_not_chosen(folder):
    with pytest.raises(plan.Refused, match="no parameter EPOCHS in 00_data.ipynb: it has DATA, OUT"):
        plan.make_plan(STEPS, folder, only=["00"], settings={"EPOCHS": "1"})


def test_misspelt_parameter_of_a_profile_is_refused(folder):
    with pytest.raises(plan.Refused, match="step 00_data: no parameter SEDE"):
        plan.make_plan([("00_data", "00", {"SEDE": 1})], folder)


def test_wrong_type_in_a_profile_is_refused(folder):
    with pytest.raises(plan.Refused, match="EPOCHS = '3': give a value of type int"):
        plan.make_plan([("02", "02", {"EPOCHS": "3"})], folder)


def test_parameters_cell_is_read_without_running_it(folder):
    parameters = plan.read_parameters(folder / "02_train_densenet.ipynb")
    assert parameters["LEARNING_RATE"] == plan.Parameter(("float",), 0.001)
    assert parameters["FOLDS"] == plan.Parameter(("list", "None"), None)


def test_without_annotation_the_type_of_the_default_counts(tmp_path):
    path = write_notebook(tmp_path / "00_a.ipynb", parameters="SEED = 0\nSHIFT = -1.5")
    assert plan.read_parameters(path)["SEED"].kinds == ("int",)
    assert plan.read_parameters(path)["SHIFT"] == plan.Parameter(("float",), -1.5)


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
        ("FOLDS", "[0, 2]", [0, 2]),
        ("FOLDS", "none", None),
    ],
)
def test_texts_become_values_of_the_annotated_type(folder, name, text, value):
    parameter = plan.read_parameters(folder / "02_train_densenet.ipynb")[name]
    result = plan.read_value(name, text, parameter)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("name", "text"), [("EPOCHS", "1.5"), ("EPOCHS", "one"), ("AUGMENT", "1"), ("LEARNING_RATE", "x"), ("FOLDS", "0")]
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
        ("EPOCHS: Path = 'x'", "the type 'Path'"),
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
