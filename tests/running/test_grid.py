import pytest
from throwaway_study import GRID, write_grid, write_study

from hpa_lib import paths
from hpa_lib.running import files, grid, plan, profiles


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    write_study(tmp_path_factory.mktemp("study"))
    return tmp_path_factory.getbasetemp() / "study0" / "notebooks"


@pytest.fixture
def load(tmp_path, notebooks):
    """A factory: the profile of a grid file with these changes, or of this text."""

    def load_grid(text=None, **changes):
        path = write_grid(tmp_path, **changes)
        if text is not None:
            path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text, encoding="utf-8")
        return grid.load(path, notebooks)

    return load_grid


def names(profile):
    return [name for name, _, _ in profile["steps"]]


def test_every_combination_is_a_step_named_after_its_run(load, tmp_path):
    profile = load(seeds=[0, 7], channels=["rgb"], networks=["resnet18"])
    assert names(profile)[2:-3] == [
        "03_resnet18-rgb-study",
        "03_resnet18-rgb-study-fold1",
        "03_resnet18-rgb-study-seed7",
        "03_resnet18-rgb-study-fold1-seed7",
    ]
    assert profile["steps"][3] == (
        "03_resnet18-rgb-study-fold1",
        "03",
        {"NETWORK": "resnet18", "RECIPE": "study", "CHANNELS": "rgb", "SEED": 0, "FOLD": 1},
    )
    assert profile["out"] == tmp_path / "out" and profile["data"] == tmp_path / "synthetic-smoke"
    assert set(profile) == set(profiles.DEMO)


def test_names_of_steps_are_those_of_the_runs_that_the_notebooks_make(load, tmp_path, notebooks):
    path = write_grid(tmp_path, recipes=["own", "best without EMA, TTA"], parameters={"CLASS_WEIGHTS": "inverse"})
    steps = grid.make_steps(path, notebooks)
    trained = [step for step in steps if step.run]
    assert len(trained) == 8 and all(step.name.partition("_")[2] == step.run for step in trained)
    assert {"densenet-rgby-inverse-fold1", "resnet18-rgby-best-without-ema-tta"} <= {step.run for step in trained}
    (runs,) = {step.parameters["RUNS"] for step in steps if "RUNS" in step.parameters}
    assert runs.split(",") == [step.run for step in trained]


def test_one_notebook_trains_two_networks_of_a_grid(tmp_path, notebooks):
    path = write_grid(tmp_path, networks=["densenet", "resnet18", "densenet121"], folds=[1])
    trained = [step for step in grid.make_steps(path, notebooks) if step.run]
    assert [(step.name, step.notebook.stem, step.parameters.get("NETWORK")) for step in trained] == [
        ("02_densenet-rgby-study-fold1", "02_train_densenet", None),
        ("03_resnet18-rgby-study-fold1", "03_train_resnet18", "resnet18"),
        ("03_densenet121-rgby-study-fold1", "03_train_resnet18", "densenet121"),
    ]
    assert [files.writes(step) for step in trained] == [[f"runs/{step.run}/result.json"] for step in trained]
    assert [step.run for step in trained] == [step.name.partition("_")[2] for step in trained]


def test_runs_of_the_baseline_count_too(tmp_path):
    path = write_grid(tmp_path, baseline=True, parameters={"MODELS": "logistic-none,trees-none"})
    profile = grid.load(path)
    assert "01b_classical" in names(profile)
    assert profile["steps"][-2][2]["RUNS"].startswith("classical-logistic-none,classical-trees-none,densenet-")


def test_parameters_reach_the_notebooks_that_have_them(tmp_path, notebooks):
    path = write_grid(
        tmp_path, networks={"densenet": None, "resnet18": {"BATCH_SIZE": 8}}, parameters={"BATCH_SIZE": 4}
    )
    sizes = {step.name: step.parameters.get("BATCH_SIZE") for step in grid.make_steps(path, notebooks)}
    assert sizes["02_densenet-rgby-study"] == 4 and sizes["03_resnet18-rgby-study"] == 8 and sizes["00_data"] is None


def test_what_is_left_out_has_defaults(load):
    profile = load("networks: [densenet]\n")
    assert names(profile)[2] == "02_densenet-rgby-sqrt" and profile["data"] == paths.find_data()[0]
    assert profile["out"] == paths.PROJECT / "outputs" / "grid"


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfnetworks: [densenet]", b"networks: [densenet]\r\nfolds: [1]\r\n"])
def test_files_of_other_editors_are_read(load, text):
    assert names(load(text))[2].startswith("02_densenet-rgby-sqrt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("networks: [densenet]\nfold: [0]", "line 2: unknown key 'fold': did you mean folds?"),
        ("networks: [densenet]\nxyz: 1", "line 2: unknown key 'xyz': use one of networks, recipes"),
        ("networks: [densenet]\n1: 1", "unknown key 1: use one of"),
        ("networks: densenet", "line 1: networks is 'densenet': give a list, such as [densenet]"),
        ("networks: [densenet]\nfolds: 0", "line 2: folds is 0: give a list, such as [0]"),
        ("networks: [densenet]\nepochs: '3'", "line 2: epochs is '3': give a whole number"),
        ("networks: [densenet]\nepochs: true", "line 2: epochs is True: give a whole number"),
        ("networks: [densenet]\nbaseline: 1", "line 2: baseline is 1: give true or false"),
        ("networks: [densenet]\nout: 3", "line 2: out is 3: give a text"),
        ("networks: [densenet]\nparameters: [1]", "line 2: parameters is [1]: give lines such as"),
        ("networks:", "line 1: networks has no value: give one"),
        ("epochs: 3", "networks: the list is empty: give some of densenet, densenet121, resnet18"),
        ("networks: []", "line 1: networks: the list is empty: give some of densenet, densenet121"),
        ("networks: [densenet]\nseeds: []", "line 2: seeds: the list is empty: give some of [0]"),
        ("networks: [densnet]", "line 1: networks: 'densnet' is unknown: did you mean densenet?"),
        ("networks: [[densenet]]", "line 1: networks: ['densenet'] is unknown: did you mean densenet?"),
        ("networks: [densenet, densenet]", "line 1: networks: 'densenet' is given twice"),
        ("networks: {densenet: 3}", "line 1: densenet: 3: give lines such as"),
        ("networks: {densenet: {FOLD: 1}}", "line 1: densenet: FOLD is set by the key folds"),
        ("networks: {resnet18: {NETWORK: densenet121}}", "line 1: resnet18: NETWORK is set by the key networks"),
        ("networks: [densenet121]\nparameters: {SHORTCUT: false}", "SHORTCUT False is for resnet18 alone"),
        ("networks: {densenet: {EPOCS: 1}}", "no parameter EPOCS in 02_train_densenet.ipynb: did you mean EPOCHS?"),
        ("networks: [densenet]\nrecipes: [bets]", "line 2: recipes: RECIPE 'bets': did you mean best?"),
        ("networks: [densenet]\nrecipes: [3]", "line 2: recipes: RECIPE '3': use one of own"),
        ("networks: [densenet]\nchannels: [rbgy]", "line 2: channels: 'rbgy' is unknown: did you mean rgby?"),
        ("networks: [densenet]\nfolds: [0, 4]", "line 2: folds: 4: num_folds is 4, and the first fold is 0"),
        ("networks: [densenet]\nfolds: [-1]", "line 2: folds: -1: use a whole number from 0 to"),
        ("networks: [densenet]\nseeds: [a]", "line 2: seeds: 'a': use a whole number from 0 to"),
        ("networks: [densenet]\nepochs: 0", "line 2: epochs: 0: use a whole number from 1 to"),
        ("networks: [densenet]\nnum_folds: 1", "line 2: num_folds: 1: use a whole number from 2 to"),
        ("networks: [densenet]\nnetworks: [densenet]", "line 2: the key networks is given twice"),
        ("networks: [densenet]\nparameters: {SEED: 3}", "line 2: parameters: SEED is set by the key seeds"),
        ("networks: [densenet]\nparameters: {3: 8}", "line 2: parameters: 3: give the name of a parameter"),
        ("networks: [densenet]\nparameters: {SEED: 1, SEED: 2}", "line 2: the key SEED is given twice"),
        ("networks: [densenet]\nparameters: {LEARNING_RATE: 1e-3}", "write 0.001 or 1.0e-3"),
        ("networks: [densenet]\nparameters: {batch_size: 8}", "has batch_size: did you mean BATCH_SIZE?"),
        ("networks: [densenet]\nparameters: {RUN: a}", "line 2: parameters: RUN differs per step"),
        (
            "networks: [densenet]\nparameters: {BATCHSIZE: 3}",
            "no notebook of the grid has BATCHSIZE: did you mean BATCH_SIZE?",
        ),
        ("networks: [densenet]\nparameters: {BATCH_SIZE: a}", "parameter BATCH_SIZE = 'a': give a value of type int"),
        ("networks: [densenet]\nrecipes: [best without EMA, best without ema]", "would both be the run"),
        ("networks: [densenet]\n\tepochs: 3", "line 2: this is no YAML"),
        ("networks: [densenet\nepochs: 3", "this is no YAML"),
        ("- densenet", "has no lines such as"),
        ("", "has no lines such as"),
        ("Id,Target\n1,2", "has no lines such as"),
        ("networks: [densenet]".encode("utf-16"), "is no plain text: save it as text with the encoding UTF-8"),
        (b"PK\x03\x04networks", "this is no YAML"),
    ],
)
def test_a_wrong_grid_file_is_refused_in_one_sentence_with_its_line(load, tmp_path, text, words):
    with pytest.raises(plan.Refused) as refusal:
        load(text)
    assert words in str(refusal.value) and "grid.yml" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OSError, match="nowhere.yml"):
        grid.load(tmp_path / "nowhere.yml")


def test_the_example_is_good():
    profile = grid.load(paths.PROJECT / "workflow" / "grid.yml")
    assert len(profile["steps"]) == 9 and profile["out"] == paths.PROJECT / "outputs" / "grid"


def test_every_key_is_in_the_example():
    text = (paths.PROJECT / "workflow" / "grid.yml").read_text(encoding="utf-8")
    assert [key for key in grid.KEYS if f"\n{key}:" not in text] == [] and set(GRID) <= set(grid.KEYS)
