"""What `hpa run --resume` skips, and why it runs the rest."""

import json

import nbformat
import pytest
from throwaway import write_notebook

from hpa_lib import __main__, locks, paths
from hpa_lib.running import files, plan, records, runner

RESUME = runner.Options(resume=True)
SPLIT = """
from pathlib import Path
Path(OUT, "data").mkdir(exist_ok=True)
Path(OUT, "data", "split.csv").write_text(f"made {EPOCHS}")
Path(OUT, "data", "dataset.json").write_text("{}")
"""
TUNE = """
from pathlib import Path
Path(OUT, "decisions").mkdir(exist_ok=True)
Path(OUT, "decisions", "thresholds.json").write_text("{}")
"""


@pytest.fixture
def steps(tmp_path):
    """Throw-away notebooks 00 and 05 of one run set, as a plan; 05 reads what 00 writes."""
    values = {"OUT": str(tmp_path / "out")}
    first = write_notebook(tmp_path / "notebooks" / "00_data.ipynb", SPLIT)
    second = write_notebook(tmp_path / "notebooks" / "05_tune.ipynb", TUNE)
    return [plan.Step("00_data", first, values), plan.Step("05_tune", second, values)]


def ran(steps, tmp_path, capsys, options=RESUME):
    """The names of the steps that ran, and were not skipped."""
    capsys.readouterr()
    runner.run_plan(steps, tmp_path / "out", options)
    lines = capsys.readouterr().out.splitlines()
    return [line.split()[1] for line in lines if "done" in line]


def edit(notebook, change):
    content = nbformat.read(notebook, as_version=4)
    change(content)
    nbformat.write(content, notebook)


def test_what_is_up_to_date_is_skipped_and_without_resume_all_runs(steps, tmp_path, capsys):
    assert ran(steps, tmp_path, capsys) == ["00_data", "05_tune"]
    before = (tmp_path / "out" / "notebooks" / "05_tune.ipynb").stat()
    assert ran(steps, tmp_path, capsys) == []
    assert (tmp_path / "out" / "notebooks" / "05_tune.ipynb").stat() == before
    assert ran(steps, tmp_path, capsys, runner.NO_LIMITS) == ["00_data", "05_tune"]


def test_a_cosmetic_edit_costs_nothing_and_a_change_of_code_its_step(steps, tmp_path, capsys):
    ran(steps, tmp_path, capsys)

    def comment(content):
        content.cells[0].source = "# Another title"
        content.cells[1].source += "\n# a comment"
        content.cells[2].source = content.cells[2].source.replace("Path(OUT", "Path( OUT") + "\n# said otherwise"

    edit(steps[0].notebook, comment)
    assert ran(steps, tmp_path, capsys) == []
    edit(steps[1].notebook, lambda content: content.cells.append(nbformat.v4.new_code_cell("1 + 1", id="more")))
    assert ran(steps, tmp_path, capsys) == ["05_tune"]


def test_a_changed_parameter_runs_its_step_and_what_reads_its_results(steps, tmp_path, capsys):
    ran(steps, tmp_path, capsys)
    changed = [steps[0]._replace(parameters=steps[0].parameters | {"EPOCHS": 9}), steps[1]]
    assert ran(changed, tmp_path, capsys) == ["00_data", "05_tune"]
    changed = [changed[0], steps[1]._replace(parameters=steps[1].parameters | {"EPOCHS": 9})]
    assert ran(changed, tmp_path, capsys) == ["05_tune"]


def test_a_default_that_changes_counts_as_a_parameter(steps, tmp_path, capsys):
    ran(steps, tmp_path, capsys)

    def change(content):
        content.cells[1].source = content.cells[1].source.replace("EPOCHS: int = 3", "EPOCHS: int = 4")

    edit(steps[1].notebook, change)
    assert ran(steps, tmp_path, capsys) == ["05_tune"]


@pytest.mark.parametrize(("gone", "step"), [("decisions/thresholds.json", "05_tune"), ("data/split.csv", "00_data")])
def test_a_result_that_is_gone_is_made_again(steps, tmp_path, capsys, gone, step):
    ran(steps, tmp_path, capsys)
    (tmp_path / "out" / gone).unlink()
    assert ran(steps, tmp_path, capsys) == [step]


def test_a_failed_step_runs_again_and_those_before_it_do_not(steps, tmp_path, capsys):
    edit(steps[1].notebook, lambda content: content.cells.append(nbformat.v4.new_code_cell("1 / 0", id="bad")))
    ran(steps, tmp_path, capsys)
    edit(steps[1].notebook, lambda content: content.cells.pop())
    assert ran(steps, tmp_path, capsys) == ["05_tune"]


def test_a_killed_runner_is_told_by_the_next_start_which_goes_on(steps, tmp_path, capsys):
    ran(steps, tmp_path, capsys)
    record = records.load(tmp_path / "out", "05_tune")
    records.save(tmp_path / "out", record | {"status": "running"})
    runner.run_plan(steps, tmp_path / "out", RESUME)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("05_tune was interrupted on ")]
    assert [line for line in lines if "05_tune" in line and "done" in line]


def test_a_retry_is_for_what_was_killed(steps, tmp_path, capsys):
    ran(steps, tmp_path, capsys)
    record, retry = records.load(tmp_path / "out", "05_tune"), runner.Options(attempt=2)
    killed = {"name": "KernelDied", "message": "the kernel was ended by SIGKILL", "cell": "fit"}
    raised = {"name": "ZeroDivisionError", "message": "division by zero", "cell": "fit"}
    for status, error, again in (
        ("failed", raised, []),
        ("killed", killed, ["05_tune"]),
        ("running", None, ["05_tune"]),
    ):
        records.save(tmp_path / "out", record | {"status": status, "error": error})
        assert ran(steps[1:], tmp_path, capsys, retry) == again, status


TRAIN = """
from pathlib import Path
state = Path(OUT, "runs", "a", "checkpoints", "state.json")
print("goes on" if state.exists() else "begins")
if EPOCHS == 7:
    raise RuntimeError("before the first epoch")
state.parent.mkdir(parents=True, exist_ok=True)
state.write_text("{}")
if EPOCHS == 8:
    raise RuntimeError("after the first epoch")
(state.parents[1] / "result.json").write_text("{}")
"""


def test_a_run_of_other_settings_begins_anew_and_an_interrupted_one_goes_on(steps, tmp_path):
    notebook = write_notebook(tmp_path / "notebooks" / "02_train.ipynb", TRAIN)

    def told(epochs):
        values = {"OUT": str(tmp_path / "out"), "EPOCHS": epochs}
        runner.run_plan([plan.Step("02_a", notebook, values, "a")], tmp_path / "out", RESUME)
        return (tmp_path / "out" / "notebooks" / "02_a.log").read_text().split("\n")[0]

    runner.run_plan(steps[:1], tmp_path / "out")
    assert [told(epochs) for epochs in (3, 7, 7, 8, 8, 3)] == [
        "begins", "begins", "begins", "begins", "goes on", "begins",
    ]  # fmt: skip


def test_workers_and_another_folder_cost_nothing(steps, tmp_path, capsys):
    """What a step came to does not depend on them; a training that was stopped goes on with more workers."""
    parameters = 'OUT: str = ""\nEPOCHS: int = 3\nWORKERS: int = 0\nTTA: int = 1\n'
    notebook = write_notebook(tmp_path / "notebooks" / "02_train.ipynb", TRAIN, parameters=parameters)
    ran(steps, tmp_path, capsys)

    def told(**values):
        step = plan.Step("02_a", notebook, {"OUT": str(tmp_path / "out"), "EPOCHS": 8, **values}, "a")
        runner.run_plan([step], tmp_path / "out", RESUME)
        return (tmp_path / "out" / "notebooks" / "02_a.log").read_text().split("\n")[0]

    assert [told(), told(WORKERS=2), told(TTA=8), told(EPOCHS=8)] == ["begins", "goes on", "goes on", "goes on"]
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = [step._replace(parameters=step.parameters | {"OUT": str(tmp_path / "moved")}) for step in steps]
    capsys.readouterr()
    runner.run_plan(moved, tmp_path / "moved", RESUME)
    assert capsys.readouterr().out.count("up to date") == 2


def test_another_network_is_another_run_and_a_record_of_before_there_was_a_choice_is_resnet18s(tmp_path):
    notebook = paths.PROJECT / "notebooks" / "03_train_resnet18.ipynb"
    step, other = (plan.Step("03_a", notebook, values, "mine") for values in ({}, {"NETWORK": "densenet121"}))
    now = files.in_force(step)
    before = {name: value for name, value in now.items() if name != "NETWORK"}
    for parameters in (now, before):
        record = {"parameters": parameters, "trained_on": []}
        assert not files.was_trained_otherwise(tmp_path, step, record)
        assert files.was_trained_otherwise(tmp_path, other, record)


def test_a_shared_cache_that_moved_is_the_same_input(tmp_path):
    notebook = write_notebook(tmp_path / "02_x.ipynb", "1", parameters='OUT: str = ""\nIMAGE_SIZE: int = 32\n')
    step, digests = plan.Step("a", notebook, {}, "a"), []
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "manifest.json").write_text('{"ids": []}')
        (tmp_path / "out" / "cache" / "train_32").mkdir(parents=True, exist_ok=True)
        content = json.dumps({"shared": str(tmp_path / place)})
        (tmp_path / "out" / "cache" / "train_32" / "manifest.json").write_text(content)
        digests.append(files.digest_inputs(tmp_path / "out", step))
    assert digests[0] == digests[1] and len(digests[0]) == 1


def test_a_dry_run_says_why(steps, tmp_path, capsys):
    arguments = ["run", "--resume", "--dry-run", "--only", "00,05", "--notebooks", str(tmp_path / "notebooks")]
    arguments += ["--out", str(tmp_path / "out")]
    assert __main__.main([*arguments, "--data", str(tmp_path / "synthetic-quick")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(": runs, since it has not run yet") and second.endswith(": runs, since it has not run yet")
    assert not (tmp_path / "out").exists()
    done = [argument for argument in arguments if argument != "--dry-run"]
    assert __main__.main([*done, "--data", str(tmp_path / "synthetic-quick")]) == 0
    edit(steps[0].notebook, lambda content: content.cells.append(nbformat.v4.new_code_cell("1 + 1", id="more")))
    capsys.readouterr()
    __main__.main([*arguments, "--data", str(tmp_path / "synthetic-quick")])
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(": runs, since the code of 00_data.ipynb has changed")
    assert second.endswith(": may run, since 00_data runs before it")


def test_the_kits_notebooks_are_all_listed_with_what_they_write():
    from hpa_lib import paths

    numbers = {path.name.partition("_")[0] for path in (paths.PROJECT / "notebooks").glob("*.ipynb")}
    assert numbers == files.NOTEBOOKS.keys()
    assert plan.find_notebook(paths.PROJECT / "notebooks", "00").stem == locks.DATA


def test_a_baseline_lists_its_runs(tmp_path):
    parameters = 'MODELS: str = "logistic-none, trees-balanced"\nFOLD: int = 1\nSEED: int = 0\n'
    notebook = write_notebook(tmp_path / "01b_x.ipynb", "1", parameters=parameters)
    step = plan.Step("01b", notebook, {})
    assert files.trains(step) == ["classical-logistic-none-fold1", "classical-trees-balanced-fold1"]
    assert "runs/classical-logistic-none-fold1/result.json" in files.writes(step)


def test_a_step_reads_only_the_runs_that_it_is_given(tmp_path):
    notebook = write_notebook(tmp_path / "05_x.ipynb", "1", parameters='OUT: str = ""  # x\nRUNS: str = ""  # x\n')
    (tmp_path / "data").mkdir()
    for run in ("a", "b"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "result.json").write_text(json.dumps({}))
    assert set(files.digest_inputs(tmp_path, plan.Step("05", notebook, {"RUNS": "a"}))) == {"runs/a/result.json"}
    assert len(files.digest_inputs(tmp_path, plan.Step("05", notebook, {}))) == 2
