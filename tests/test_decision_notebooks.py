"""Notebooks 05, 06 and 08 on stored runs that no training made: three runs, one, folds, no hold-out, wrong names."""

import json
import shutil

import fake_runs
import nbformat
import numpy as np
import pandas as pd
import pytest

from hpa_lib import paths, store
from hpa_lib.data import splits
from hpa_lib.decisions import answers, calibration, ensemble, metrics, submission, thresholds
from hpa_lib.running import plan, runner

QUICK = {"BOOTSTRAP": 50}


def run_notebook(number, out, **parameters):
    """Run one notebook as ``hpa run`` does; its record and its executed copy."""
    notebook = plan.find_notebook(paths.PROJECT / "notebooks", number)
    record = runner.run_notebook(plan.Step(number, notebook, {"OUT": str(out), **parameters}), out)
    return record, nbformat.read(out / "notebooks" / f"{number}.ipynb", as_version=4)


def run_both(out, data):
    """Run 05 and 06 and give back their two decisions and the text printed by 06."""
    for number, parameters in (("05", QUICK), ("06", QUICK | {"DATA": str(data)})):
        record, executed = run_notebook(number, out, **parameters)
        assert record["status"] == "done", record["error"]
        check_figures(executed)
    decisions = [json.loads((out / "decisions" / f"{name}.json").read_text()) for name in ("thresholds", "ensemble")]
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    return *decisions, "".join(output.text for output in outputs if output.output_type == "stream")


def check_figures(executed):
    """Every cell that stores a figure shows it, once."""
    for cell in executed.cells:
        if cell.cell_type == "code":
            shown = sum("image/png" in output.get("data", {}) for output in cell.outputs)
            assert shown == cell.source.count("store.save_figure"), cell.id


def check_rule_for_empty_rows(out, table):
    """Scores of 05 and 06, made anew: the stored ones are of filled rows, and that makes a difference."""
    run = "resnet18-rgby-none"
    ids, probs = store.load_probs(out, run, "val")
    labels, groups = store.load_truth(out, ids)
    folds = splits.make_folds(labels, groups, 5, 0)
    row = table[(table["run"] == run) & (table["name"] == "exact")].iloc[0]
    bare = thresholds.cross_fit(labels, probs, folds, "exact")
    filled = metrics.macro_f1(labels, thresholds.fill_empty_rows(bare, probs))
    assert row["cross_fitted"] == pytest.approx(filled) and metrics.macro_f1(labels, bare) != pytest.approx(filled)
    decision = store.load_decision(out, "thresholds")
    scores = pd.read_csv(out / "tables" / "ensemble.csv").set_index("name")["cross_fitted"]
    members = {name: store.load_probs(out, name, "val")[1] for name in fake_runs.RUNS}
    tuning = {"method": decision["method"], "fill_empty": True, **decision["options"]}
    crossed = {
        name: thresholds.cross_fit(labels, member_probs, folds, **tuning) for name, member_probs in members.items()
    }
    assert scores[run] == pytest.approx(metrics.macro_f1(labels, crossed[run]))
    both = ensemble.intersection(list(crossed.values()))
    united = thresholds.fill_empty_rows(both, ensemble.mean(list(members.values())))
    assert (both != united).any() and scores["intersection"] == pytest.approx(metrics.macro_f1(labels, united))


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "out", tmp_path / "data"


def test_three_runs_from_probabilities_to_a_checked_submission(folders):
    out, data = folders
    fake_runs.write_out(out, data)
    chosen, combined, _ = run_both(out, data)
    table = pd.read_csv(out / "tables" / "thresholds.csv")
    assert len(table) == len(fake_runs.RUNS) * len(thresholds.CANDIDATES)
    means = table.groupby("name")["macro_f1"].mean()
    cross_fitted = table.groupby("name")["cross_fitted"].mean()
    assert chosen["recommended"] == cross_fitted.idxmax() and means[chosen["recommended"]] > means["half"]
    assert chosen["chosen_by"] == "cross-fitted macro F1 on validation"
    check_rule_for_empty_rows(out, table)
    exact = table[table["name"] == "exact"].set_index("run")["tuned_on"]
    assert (table.set_index("run")["tuned_on"] <= exact.reindex(table["run"]).to_numpy() + 0.02).all()
    assert (
        set(chosen["thresholds"]) == set(fake_runs.RUNS)
        and len(chosen["thresholds"]["resnet18-rgby-none"]["exact"]) == 28
    )
    sample = data / "sample_submission.csv"
    for path in [out / "submission.csv", out / "submission_union.csv", *out.glob("runs/*/submission.csv")]:
        assert submission.check(path, sample) == []
    files = {name: submission.read(out / "runs" / name / "submission.csv") for name in combined["pair"]}
    _, preds = ensemble.align(files)
    united = submission.read(out / "submission_union.csv")[1]
    assert (united == ensemble.union(list(preds.values()))).all()
    ensembles = pd.read_csv(out / "tables" / "ensemble.csv").set_index("name")
    assert combined["chosen"] == ensembles["cross_fitted"].idxmax()
    assert combined["thresholds_digest"] == store.digest(out, "decisions/thresholds.json")
    singles = ensembles[ensembles["kind"] == "single"]
    assert combined["best_single"] == singles["cross_fitted"].idxmax() and len(singles) == 3
    classes = pd.read_csv(out / "tables" / "ensemble_classes.csv")
    assert classes["f1"].mean() == pytest.approx(ensembles.loc[combined["chosen"], "macro_f1"])
    assert combined["test_scores"]["chosen"]["macro_f1"] > 0.3
    members = pd.read_csv(out / "tables" / "ensemble_members.csv")
    assert sorted(members["member"].unique()) == sorted(fake_runs.RUNS)


def test_one_run_is_an_ensemble_of_one_and_says_so(folders):
    out, data = folders
    fake_runs.write_out(out, data, {"resnet18-rgby-none": 1.0}, num_images=500)
    _, combined, printed = run_both(out, data)
    assert "Only one member" in printed and combined["pair"] == ["resnet18-rgby-none"]
    ensembles = pd.read_csv(out / "tables" / "ensemble.csv").set_index("name")
    assert ensembles.loc[["mean", "union of two", "majority vote"], "gain"].tolist() == [0, 0, 0]


@pytest.mark.slow
def test_runs_of_two_folds_make_one_member(folders):
    out, data = folders
    names = {"resnet18-rgby-none": 1.0, "resnet18-rgby-none-fold1": 1.0, "densenet-rgby-none": 1.2}
    names["densenet-rgby-none-fold1"] = 1.2
    fake_runs.write_out(out, data, names, num_images=800)
    _, combined, _ = run_both(out, data)
    limits = {part: np.array(combined["thresholds"][part]["densenet-rgby-none"]) for part in ("val", "holdout")}
    folds = [name for name in names if name.startswith("densenet")]
    (_, val), (_, holdout) = (
        ensemble.join_folds([store.load_probs(out, run, part) for run in folds]) for part in ("val", "holdout")
    )
    np.testing.assert_allclose(limits["holdout"], answers.carry_over(limits["val"], val, holdout))
    assert set(combined["members"]) == {"resnet18-rgby-none", "densenet-rgby-none"}


@pytest.mark.slow
def test_without_a_holdout_cross_fitting_judges(folders):
    out, data = folders
    fake_runs.write_out(out, data, num_images=800, holdout=0)
    chosen, combined, _ = run_both(out, data)
    assert chosen["judged_on"] == combined["judged_on"] == "validation, cross-fitted"
    table = pd.read_csv(out / "tables" / "thresholds.csv")
    np.testing.assert_allclose(table["macro_f1"], table["cross_fitted"])  # nothing is scored where it was tuned
    ensembles = pd.read_csv(out / "tables" / "ensemble.csv")
    np.testing.assert_allclose(ensembles["macro_f1"], ensembles["cross_fitted"])
    errors = pd.read_csv(out / "tables" / "calibration.csv").set_index("run")
    for run in fake_runs.RUNS:
        ids, probs = store.load_probs(out, run, "val")
        labels, groups = store.load_truth(out, ids)
        scaled = calibration.scale_cross_fitted(labels, probs, splits.make_folds(labels, groups, 5, 0))
        error = calibration.expected_calibration_error(labels, scaled)
        assert errors.loc[run, "error_scaled"] == pytest.approx(error)


@pytest.mark.slow
def test_the_holdout_changes_no_choice(folders, tmp_path):
    """With the labels of the hold-out shuffled among its images all choices are the same, and its scores are others."""
    out, data = folders
    fake_runs.write_out(out, data, num_images=800)
    ids, labels, groups, folds = store.load_split(out)
    before = run_both(out, data)[:2]
    held = np.flatnonzero(folds == -1)
    labels[held] = labels[np.random.default_rng(0).permutation(held)]
    store.save_split(out, ids, labels, groups, folds)
    for run in fake_runs.RUNS:
        result = store.load_json(out, f"runs/{run}/result.json")
        store.save_json(out, f"runs/{run}/result.json", result | {"split": store.split_digest(out)})
    after = run_both(out, data)[:2]
    scores = {"mean_macro_f1", "wins", "macro_f1"}
    for first, second in zip(before, after, strict=True):
        changed = {name for name in first if first[name] != second[name]}
        assert scores & first.keys() <= changed <= scores | {"runs", "thresholds_digest"}


@pytest.mark.slow
def test_a_dropped_test_image_keeps_its_row_in_the_submission(folders):
    out, data = folders
    fake_runs.write_out(out, data, num_images=400)
    for run in fake_runs.RUNS:
        ids, probs = store.load_probs(out, run, "test")
        store.save_probs(out, run, "test", ids[1:], probs[1:])
    description = store.load_json(out, "data/dataset.json")
    store.save_json(out, "data/dataset.json", description | {"test_images": len(ids) - 1})
    _, combined, printed = run_both(out, data)
    assert "1 test images were left out" in printed and combined["dropped"] == [ids[0]]
    for path in (out / "submission.csv", out / "submission_union.csv"):
        assert submission.check(path, data / "sample_submission.csv") == []
        rows = pd.read_csv(path, dtype=str).set_index("Id")["Predicted"]
        assert rows[ids[0]] == combined["fallback"] == submission.commonest_set(store.load_split(out)[1])


@pytest.mark.slow
def test_without_test_images_all_but_the_submission_is_made(folders):
    out, data = folders
    fake_runs.write_out(out, data, num_images=400)
    for path in out.glob("runs/*/probs_test.npz"):
        path.unlink()
    shutil.rmtree(data)
    (data / "train").mkdir(parents=True)
    description = store.load_json(out, "data/dataset.json")
    store.save_json(out, "data/dataset.json", description | {"test_images": 0})
    _, combined, printed = run_both(out, data)
    assert "no test images, so no submission" in printed and combined["chosen"]
    assert not (out / "submission.csv").exists() and (out / "tables" / "ensemble.csv").exists()


@pytest.mark.slow
def test_runs_of_another_split_are_left_out_or_refused(folders):
    out, data = folders
    fake_runs.write_out(out, data, num_images=400)
    result = store.load_json(out, "runs/densenet-rgby-none/result.json")
    store.save_json(out, "runs/densenet-rgby-none/result.json", result | {"split": "another"})
    chosen, combined, printed = run_both(out, data)
    assert "another split: densenet-rgby-none" in printed and "densenet-rgby-none" not in combined["members"]
    ids, labels, groups, folds = store.load_split(out)
    store.save_split(out, ids, labels, groups, folds + (folds >= 0))
    record, _ = run_notebook("05", out, **QUICK)
    assert record["status"] == "failed" and "all runs in" in record["error"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ENSEMBLE": "mena"}, "ENSEMBLE 'mena': use one of"),
        ({"PAIR": "resnet18-rgby-none,densenet-rgby-none,typo"}, "name two different ones of"),
        ({"PAIR": "resnet18-rgby-none,resnet18-rgby-none"}, "name two different ones of"),
    ],
)
def test_wrong_names_of_members_stop_with_a_sentence(folders, parameters, words):
    out, data = folders
    fake_runs.write_out(out, data, {"resnet18-rgby-none": 1.0, "densenet-rgby-none": 0.9}, num_images=400)
    assert run_notebook("05", out, **QUICK)[0]["status"] == "done"
    record, _ = run_notebook("06", out, DATA=str(data), **QUICK, **parameters)
    assert record["status"] == "failed" and words in record["error"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "parameters", "words"),
    [
        ("05", {"RUNS": "resnet"}, "no finished run 'resnet' in"),
        ("05", {"CANDIDATE": "best", **QUICK}, "CANDIDATE 'best': use one of half, flat"),
        ("06", {}, "run 05_threshold_tuning.ipynb"),
        ("06", {"CANDIDATE": "half"}, "run 05_threshold_tuning.ipynb"),  # the rule for empty rows is stored there
    ],
)
def test_wrong_names_stop_with_a_sentence(folders, number, parameters, words):
    out, data = folders
    fake_runs.write_out(out, data, {"resnet18-rgby-none": 1.0}, num_images=400)
    parameters = parameters | ({"DATA": str(data)} if number == "06" else {})
    record, _ = run_notebook(number, out, **parameters)
    assert record["status"] == "failed" and words in record["error"]["message"]


@pytest.mark.slow
def test_the_finished_runs_that_come_with_the_project_give_its_tables(tmp_path):
    """05, 06 and 07 on a machine that never trained, as README's first hour has them."""
    out = shutil.copytree(store.REFERENCE, tmp_path / "reference")
    for number in ("05", "06", "07"):
        record, _ = run_notebook(number, out)
        assert record["status"] == "done", record["error"]
    for name in ("summary", "ensemble", "thresholds"):
        ours, shipped = pd.read_csv(out / "tables" / f"{name}.csv"), pd.read_csv(store.REFERENCE / f"{name}.csv")
        pd.testing.assert_frame_equal(ours, shipped, rtol=1e-6)
    assert not (out / "submission.csv").exists()  # there is no test part in it


@pytest.mark.slow
@pytest.mark.parametrize("holdout", [0.2, 0])
def test_the_explorer_says_what_it_leaves_out(folders, holdout):
    """No images, no embeddings and no network, with and without a hold-out."""
    out, data = folders
    fake_runs.write_out(out, data, num_images=300, holdout=holdout)
    record, executed = run_notebook("08", out, MAP="tsne", NUMBER=4)
    assert record["status"] == "done", record["error"]
    printed = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))
    assert "no cached images, no embeddings, no network: their views are left out" in printed
    figures = {path.stem for path in (out / "figures").glob("*.png")}
    assert figures == {"explore_answer", "explore_threshold", "explore_confusion"}
    part = "holdout" if holdout else "val"
    labels, probs, _ = store.load_scored(out, "resnet18-rgby-none", part)
    wrong = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY) != labels
    assert len(store.load_table(out, "tables/explore_mistakes.csv")) == wrong.sum()
