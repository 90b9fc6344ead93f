"""``hpa verify`` on fake runs: what follows is silent, and each kind of changed value is named."""

import os
import shutil

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import __main__, paths, store
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.reporting import verification
from hpa_lib.running import plan, runner

RUN = "resnet18-rgby-none"
PAIR = f"{RUN},densenet-rgby-none"


def make_history(out):
    """Give a fake run the history and the scores that notebook 03 would have stored."""
    labels, probs, _ = store.load_scored(out, RUN, "val")
    scores = {"val_macro_ap": metrics.average_precision(labels, probs).mean()}
    scores["val_macro_f1"] = metrics.macro_f1(labels, thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY))
    history = pd.DataFrame([dict.fromkeys(scores, 0.01), scores])
    history = history.assign(epoch=[1, 2], loss=1.0, val_loss=0.2, seconds=30.0, images_per_second=50.0)
    store.save_table(out, f"runs/{RUN}/history.csv", history)
    record = store.load_json(out, f"runs/{RUN}/result.json") | scores
    record |= {"best_epoch": 2, "val_loss": 0.2, "tta": 1, "seconds": 60.0}
    store.save_json(out, f"runs/{RUN}/result.json", record)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run set as notebooks 05 to 07 leave it, each with parameters of its own, and its data."""
    folder = tmp_path_factory.mktemp("handed-in")
    out, data = folder / "out", folder / "data"
    fake_runs.write_out(out, data, num_images=500)
    fake_runs.complete(out)
    make_history(out)
    parameters = {"05": {"FOLDS": 4}, "06": {"FOLDS": 3, "PAIR": PAIR, "SEED": 2}, "07": {"SEED": 5}}
    for number, values in parameters.items():
        notebook = plan.find_notebook(paths.PROJECT / "notebooks", number)
        record = runner.run_notebook(plan.Step(number, notebook, values | {"OUT": str(out), "BOOTSTRAP": 20}), out)
        assert record["status"] == "done", record["error"]
    return out, data


@pytest.fixture
def handed_in(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "out")


def verify(capsys, *arguments):
    code = __main__.main(["verify", *map(str, arguments)])
    return code, capsys.readouterr().out


def move_data(out):
    description = store.load_json(out, "data/dataset.json")
    store.save_json(out, "data/dataset.json", description | {"path": str(out / "gone")})


@pytest.mark.slow
def test_what_follows_is_silent_and_nothing_is_written(handed_in, made, capsys):
    move_data(handed_in)
    before = {path: path.stat().st_mtime_ns for path in handed_in.rglob("*")}
    code, told = verify(capsys, handed_in, "--data", made[1])
    assert code == 0 and "follow from the stored" in told.splitlines()[-1], told
    assert "not verified" not in told and ": stored " not in told
    assert {path: path.stat().st_mtime_ns for path in handed_in.rglob("*")} == before


@pytest.mark.slow
def test_every_kind_of_changed_value_is_named(handed_in, capsys):
    table = store.load_table(handed_in, "tables/ensemble.csv")
    table.loc[2, "macro_f1"] += 0.01
    store.save_table(handed_in, "tables/ensemble.csv", table)
    store.save_table(handed_in, "tables/ensemble_mine.csv", table)
    decision = store.load_json(handed_in, "decisions/thresholds.json")
    decision["thresholds"][RUN]["exact"][3] += 0.05
    store.save_json(handed_in, "decisions/thresholds.json", decision)
    submission = store.load_table(handed_in, "submission.csv")
    submission.loc[4, "Predicted"] = "0 27"
    store.save_table(handed_in, "submission.csv", submission)
    page = handed_in / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace('<td class="number">0.', '<td class="number">9.', 1))
    (handed_in / "tables" / "summary.csv").unlink()
    code, told = verify(capsys, handed_in)
    lines = [line for line in told.splitlines() if ": stored " in line]
    for start in (
        "tables/ensemble.csv: line 4, macro_f1: stored ",
        f"decisions/thresholds.json: thresholds.{RUN}.exact.3: stored ",
        "submission.csv: line 6, Predicted: stored 0 27, recomputed ",
        "report.html: line ",
    ):
        assert sum(line.startswith(start) for line in lines) == 1, (start, told)
    assert {line.split(":")[0] for line in lines if line.endswith("recomputed nothing")} == {"tables/ensemble_mine.csv"}
    assert {line.split(":")[0] for line in lines if ": stored nothing" in line} == {"tables/summary.csv"}
    assert code == 1 and len({line.split(":")[0] for line in lines}) == 6


@pytest.mark.slow
def test_changed_probabilities_and_missing_data(handed_in, capsys):
    move_data(handed_in)
    shutil.rmtree(handed_in / "report")
    ids, probs = store.load_probs(handed_in, RUN, "val")
    store.save_probs(handed_in, RUN, "val", ids, np.clip(probs + 0.3 * store.load_truth(handed_in, ids)[0], 0, 1))
    code, told = verify(capsys, handed_in)
    assert code == 1 and f"runs/{RUN}/result.json: val_macro_ap (of probs_val.npz): stored " in told
    assert "\ntables/thresholds.csv: line " in told and ": stored " in told
    assert f"\ndecisions/thresholds.json: the probabilities of {RUN} have changed since notebook 05\n" in told
    assert f"\ndecisions/ensemble.json: the probabilities of {RUN} have changed since notebook 06\n" in told
    for what in ("the Ids of submission.csv", "scores of test images", "the report"):
        assert f"\nnot verified: {what}" in told
    assert "test_scores" not in told and "report" not in told.partition("not verified: the report")[0]


@pytest.mark.slow
def test_a_notebook_that_stops_is_a_finding(handed_in, capsys):
    (handed_in / "runs" / RUN / "probs_holdout.npz").write_bytes(b"no array")
    code, told = verify(capsys, handed_in)
    assert code == 1 and "05_threshold_tuning.ipynb: load-probs: stored results, recomputed " in told


@pytest.mark.slow
def test_a_report_older_than_what_notebook_08_made_is_told_so(handed_in, capsys):
    row = {"run": RUN, "digest": store.digest_runs(handed_in, [RUN])[RUN], "images": 3}
    table = pd.DataFrame([row | {"method": "Grad-CAM", "verdict": "on the structure"}])
    store.save_table(handed_in, "tables/localisation.csv", table)
    code, told = verify(capsys, handed_in)
    assert code == 1 and ": stored " not in told and "do not follow" not in told
    last = f"the report is older than tables/localisation.csv: run hpa report {handed_in}, then verify again"
    assert told.splitlines()[-1] == last


def test_only_a_report_that_differs_alone_is_called_old(tmp_path):
    def mismatch(file):
        return verification.Mismatch(file, "", "", "1", "2")

    for name in ("report.html", "tables/localisation.csv", "tables/ensemble.csv", "tables/report_x.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / "report.html", (1, 1))
    report = [mismatch("report.html"), mismatch("tables/report_x.csv")]
    assert verification.find_newer(tmp_path, report) == "tables/localisation.csv"
    assert verification.find_newer(tmp_path, [*report, mismatch("tables/ensemble.csv")]) == ""
    os.utime(tmp_path / "tables" / "localisation.csv", (1, 1))
    assert verification.find_newer(tmp_path, report) == ""


def test_a_score_of_a_run_follows_from_its_history_and_its_probabilities(tmp_path):
    fake_runs.write_out(tmp_path, tmp_path / "data", num_images=300)
    make_history(tmp_path)
    assert verification.check_records(tmp_path) == []
    name = f"runs/{RUN}/result.json"
    record = store.load_json(tmp_path, name)
    store.save_json(tmp_path, name, record | {"val_macro_f1": 0.9, "seconds": 61.0})
    found = verification.check_records(tmp_path)
    assert [(mismatch.file, mismatch.column, mismatch.stored) for mismatch in found] == [
        (name, "seconds", 61.0),
        (name, "val_macro_f1", 0.9),
    ]
    history = store.load_table(tmp_path, f"runs/{RUN}/history.csv")
    history["val_macro_f1"] = 0.9  # both edited: the probabilities still say otherwise
    store.save_table(tmp_path, f"runs/{RUN}/history.csv", history)
    found = verification.check_records(tmp_path)
    assert [mismatch.column for mismatch in found] == ["seconds", "val_macro_f1 (of probs_val.npz)"]
    store.save_json(tmp_path, name, record | {"val_macro_f1": 0.9, "tta": 8})  # the probabilities are of turned images
    assert verification.check_records(tmp_path) == []


@pytest.mark.parametrize(
    ("stored", "made", "is_same"),
    [
        ("0.50001", "0.50000", True),
        ("0.5011", "0.5", False),
        ("0.5011", "0.5000", False),
        ("1e-07", "2e-07", True),
        ("12", "13", False),
        ("0 16", "16 0", False),
        ("9001e555", "9002e555", False),  # Ids, no numbers
        (100000, 100001, False),
        (0.123456, 0.123457, True),
        (float("nan"), float("nan"), True),
        (None, "0.1", False),
        (True, 1.0, True),
    ],
)
def test_values_are_the_same_up_to_rounding(tmp_path, stored, made, is_same):
    assert verification._is_same(stored, made) == is_same


def test_a_run_set_without_decisions_is_refused(tmp_path, capsys):
    fake_runs.write_out(tmp_path / "out", tmp_path / "data", num_images=100)
    assert __main__.main(["verify", str(tmp_path / "out")]) == 2
    assert "run 05_threshold_tuning.ipynb" in capsys.readouterr().err


def test_parameters_are_read_from_the_decisions(tmp_path):
    shared = {"runs": {"a": "1", "b": "2"}, "bootstrap": 30, "seed": 2}
    tuned = shared | {"folds": 4, "fill_empty": False, "recommended": "exact", "chosen_by": "parameter"}
    united = shared | {"folds": 3, "candidate": "exact", "chosen": "mean", "chosen_by": "the best", "pair": ["b", "a"]}
    store.save_json(tmp_path, "decisions/thresholds.json", tuned)
    store.save_json(tmp_path, "decisions/ensemble.json", united | {"named_pair": ""})
    both = {"RUNS": "a,b", "BOOTSTRAP": 30, "SEED": 2}
    assert verification.find_parameters(tmp_path) == {
        "05": both | {"FOLDS": 4, "FILL_EMPTY": False, "CANDIDATE": "exact"},
        "06": both | {"FOLDS": 3, "CANDIDATE": "", "ENSEMBLE": "", "PAIR": ""},
    }
    del united["folds"]  # as in older run sets, which do not say either whether the pair was named
    store.save_json(tmp_path, "decisions/ensemble.json", united | {"candidate": "half", "chosen_by": "parameter"})
    store.save_json(tmp_path, "report/manifest.json", {"draws": 40, "seed": 5})
    parameters = verification.find_parameters(tmp_path)
    assert parameters["06"] == both | {"FOLDS": 4, "CANDIDATE": "half", "ENSEMBLE": "mean", "PAIR": "b,a"}
    assert parameters["07"] == {"BOOTSTRAP": 40, "SEED": 5}
    store.save_json(tmp_path, "decisions/ensemble.json", {})
    with pytest.raises(ValueError, match=r"decisions/ of .* has no entry 'runs': run notebooks 05 and 06 again"):
        verification.find_parameters(tmp_path)
