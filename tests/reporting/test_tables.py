import shutil

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import store
from hpa_lib.data import splits
from hpa_lib.decisions import bootstrap, metrics, thresholds
from hpa_lib.reporting import tables

RUNS = {"densenet-rgby-none": 0.9, "densenet-rgby-sqrt": 1.0, "resnet18-rgby-sqrt": 1.5}


def record(out, judged):
    return tables.record_table({run: store.load_json(out, f"runs/{run}/result.json") for run in judged}, judged)


@pytest.fixture(scope="module")
def judged(out):
    return tables.load_judged(out)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    fake_runs.write_out(folder / "out", folder / "data", RUNS)
    fake_runs.complete(folder / "out")
    return folder / "out"


def test_scores_come_from_the_stored_holdout(out, judged):
    table = record(out, judged).set_index("run")
    ids, probs = store.load_probs(out, "resnet18-rgby-sqrt", "holdout")
    labels, _ = store.load_truth(out, ids)
    row = table.loc["resnet18-rgby-sqrt"]
    assert row["F1 at .5, unfilled"] == pytest.approx(metrics.macro_f1(labels, thresholds.apply(probs, 0.5)))
    assert row["F1 at .5"] == pytest.approx(metrics.macro_f1(labels, thresholds.apply(probs, 0.5, True)))
    assert row["macro AP"] == pytest.approx(metrics.average_precision(labels, probs).mean())
    assert table["minutes"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("fill", [True, False])
def test_one_rule_for_empty_rows_holds_for_every_label_set_that_is_compared(out, tmp_path, fill):
    folder = shutil.copytree(out, tmp_path / "out")
    decision = store.load_json(folder, "decisions/thresholds.json")
    store.save_json(folder, "decisions/thresholds.json", decision | {"fill_empty": fill})
    for run, arrays in tables.load_judged(folder).items():
        limits = np.array(decision["thresholds"][run]["global"])
        for name, chosen in (("half", 0.5), ("tuned", limits)):
            np.testing.assert_array_equal(arrays[name], thresholds.apply(arrays["probs"], chosen, fill))
            np.testing.assert_array_equal(arrays[f"{name}_unfilled"], thresholds.apply(arrays["probs"], chosen))
        assert (arrays["half"].sum(axis=1) == 0).any() != fill and (arrays["tuned"] != arrays["half"]).any()


def test_without_a_holdout_nothing_is_scored_on_the_images_it_was_tuned_on(tmp_path):
    out = tmp_path / "out"
    fake_runs.write_out(out, tmp_path / "data", RUNS, num_images=600, holdout=0)
    fake_runs.complete(out)
    for name in ("global", "shrunken-global"):  # the method behind the name is the library's, not the stored one
        method, options = thresholds.CANDIDATES[name]
        decision = store.load_json(out, "decisions/thresholds.json")
        store.save_json(out, "decisions/thresholds.json", decision | {"recommended": name, "options": {"own": "exact"}})
        for arrays in tables.load_judged(out).values():
            folds = splits.make_folds(arrays["labels"], arrays["groups"], 4, 0)
            fair = thresholds.cross_fit(arrays["labels"], arrays["probs"], folds, method, True, **options)
            np.testing.assert_array_equal(arrays["tuned"], fair)


def test_a_run_is_compared_with_its_twin_without_weights_only(out, judged):
    table = tables.weights_table(record(out, judged), judged, draws=50)
    assert table[["model", "class weights", "seeds"]].values.tolist() == [["densenet", "sqrt", 1]]
    row = table.iloc[0]
    assert row["gain"] == pytest.approx(row["with"] - row["without"]) and row["low"] <= row["gain"] <= row["high"]
    runs = record(out, judged).set_index("run")["F1 at .5, unfilled"]
    assert row["gain, unfilled"] == pytest.approx(runs["densenet-rgby-sqrt"] - runs["densenet-rgby-none"])
    halves = [judged[run]["half"] for run in ("densenet-rgby-sqrt", "densenet-rgby-none")]
    labels, groups = judged["densenet-rgby-sqrt"]["labels"], judged["densenet-rgby-sqrt"]["groups"]
    alone = bootstrap.paired(labels, *halves, groups=groups, draws=50)
    assert (row["low"], row["high"]) == pytest.approx((alone["low"], alone["high"]))


def test_runs_predicted_with_other_turns_are_no_twins(out, tmp_path):
    folder = shutil.copytree(out, tmp_path / "out")
    result = store.load_json(folder, "runs/densenet-rgby-sqrt/result.json")
    store.save_json(folder, "runs/densenet-rgby-sqrt/result.json", result | {"tta": 8})
    judged = tables.load_judged(folder)
    assert tables.weights_table(record(folder, judged), judged, draws=10).empty


def test_twins_of_several_seeds_make_one_row_whose_interval_contains_the_seeds(out, tmp_path):
    folder = shutil.copytree(out, tmp_path / "out")
    for run, source in (
        ("densenet-rgby-none-seed1", "densenet-rgby-sqrt"),
        ("densenet-rgby-sqrt-seed1", "resnet18-rgby-sqrt"),
    ):
        shutil.copytree(folder / "runs" / source, folder / "runs" / run)
        like = store.load_json(folder, f"runs/{run.removesuffix('-seed1')}/result.json")
        settings = like["settings"] | {"seed": 1}
        store.save_json(folder, f"runs/{run}/result.json", like | {"run": run, "seed": 1, "settings": settings})
    decision = store.load_json(folder, "decisions/thresholds.json")
    new = ["densenet-rgby-none-seed1", "densenet-rgby-sqrt-seed1"]
    decision["thresholds"] |= dict.fromkeys(new, decision["thresholds"]["densenet-rgby-none"])
    decision["runs"] |= store.digest_runs(folder, new)
    store.save_json(folder, "decisions/thresholds.json", decision)
    judged = tables.load_judged(folder)
    row = tables.weights_table(record(folder, judged), judged, draws=50).set_index("model").loc["densenet"]
    gains = [
        metrics.macro_f1(judged[f"densenet-rgby-sqrt{end}"]["labels"], judged[f"densenet-rgby-sqrt{end}"]["half"])
        - metrics.macro_f1(judged[f"densenet-rgby-none{end}"]["labels"], judged[f"densenet-rgby-none{end}"]["half"])
        for end in ("", "-seed1")
    ]
    assert row["seeds"] == 2 and row["gain"] == pytest.approx(np.mean(gains))
    assert row["each seed"] == " ".join(f"{gain:+.3f}" for gain in gains)
    assert row["high"] - row["gain"] > 12 * np.std(gains, ddof=1) / np.sqrt(2)  # Student's t of one degree of freedom


def test_thresholds_table_and_summary_agree_with_the_runs(out, judged):
    runs = record(out, judged)
    tuned = tables.thresholds_table(judged, draws=50)
    assert tuned["tuned"].tolist() == runs["F1 tuned"].tolist() and tuned["at .5"].tolist() == runs["F1 at .5"].tolist()
    assert tuned["gain"].to_numpy() == pytest.approx((runs["F1 tuned"] - runs["F1 at .5"]).to_numpy())
    bare = [metrics.macro_f1(arrays["labels"], arrays["tuned_unfilled"]) for arrays in judged.values()]
    assert tuned["gain, unfilled"].to_numpy() == pytest.approx(bare - runs["F1 at .5, unfilled"].to_numpy())
    summary = tables.summary_table(out, runs).set_index("model")
    assert summary.loc["ensemble: mean", "with thresholds"] == 0.42
    means = np.mean([arrays["probs"] for arrays in judged.values()], axis=0)
    filled = metrics.macro_f1(next(iter(judged.values()))["labels"], thresholds.apply(means, 0.5, True))
    assert summary.loc["ensemble: mean", "at .5"] == pytest.approx(filled)
    first, second = (judged[run] for run in list(RUNS)[:2])
    united = metrics.macro_f1(first["labels"], first["half"] | second["half"])
    assert summary.loc["ensemble: union of two", "at .5"] == pytest.approx(united)
    assert summary.index[-1] == "chosen: mean"


def test_rare_table_counts_labels_and_predictions(out, judged):
    table = tables.rare_table(judged, tables.rarest_classes(out, 4))
    _, labels, _, folds = store.load_split(out)
    assert len(table) == 4 and table.columns.tolist() == ["class", "true", *RUNS]
    rarest = np.argsort(labels[folds >= 0].sum(axis=0), kind="stable")[:4]
    assert table["true"].sum() == labels[folds == -1][:, rarest].sum()
    for run in RUNS:
        assert table[run].tolist() == judged[run]["half"][:, rarest].sum(axis=0).tolist()


def test_a_run_that_notebook_05_did_not_take_is_left_out_by_name(out, tmp_path):
    folder = shutil.copytree(out, tmp_path / "out")
    shutil.copytree(folder / "runs" / "densenet-rgby-none", folder / "runs" / "new")
    assert list(tables.load_judged(folder)) == sorted(RUNS)
    assert any(
        "notebook 05 did not take them" in words and words.endswith(": new.") for words in tables.notices(folder)
    )


def test_runs_of_another_split_are_left_out_by_name_and_old_decisions_refused(out, tmp_path):
    folder = shutil.copytree(out, tmp_path / "out")
    stale = store.load_json(folder, "runs/resnet18-rgby-sqrt/result.json") | {"split": "another"}
    store.save_json(folder, "runs/resnet18-rgby-sqrt/result.json", stale)
    decision = store.load_json(folder, "decisions/thresholds.json")
    del decision["thresholds"]["resnet18-rgby-sqrt"], decision["runs"]["resnet18-rgby-sqrt"]  # as 05 leaves it out
    store.save_json(folder, "decisions/thresholds.json", decision)
    assert list(tables.load_judged(folder)) == ["densenet-rgby-none", "densenet-rgby-sqrt"]
    assert any("another split: resnet18-rgby-sqrt" in sentence for sentence in tables.notices(folder))
    ids, labels, groups, folds = store.load_split(folder)
    store.save_split(folder, ids, labels, groups, np.where(folds == 0, 1, folds))
    with pytest.raises(store.MissingInput, match=r"thresholds.json was made of other runs.*run 05_threshold_tuning"):
        tables.load_judged(folder)


def test_dropped_test_images_and_missing_ones_are_said_aloud(out, tmp_path):
    (first,) = tables.notices(out)
    assert (
        "Thresholds: global" in first
        and "get their most probable class" in first
        and " and ".join(list(RUNS)[:2]) in first
        and "The row 'chosen' is mean (chosen by parameter)" in first
    )
    folder = shutil.copytree(out, tmp_path / "out")
    decision = store.load_json(folder, "decisions/ensemble.json")
    store.save_json(folder, "decisions/ensemble.json", decision | {"dropped": ["a", "b"], "fallback": "0 25"})
    assert "2 test images could not be read" in tables.notices(folder)[1] and "'0 25'" in tables.notices(folder)[1]
    description = store.load_json(folder, "data/dataset.json")
    store.save_json(folder, "data/dataset.json", description | {"test_images": 0})
    assert "no submission" in tables.notices(folder)[-1]


def test_only_runs_trained_in_epochs_have_a_curve(out):
    runs = store.list_runs(out)
    for run, epochs in zip(runs, ([1, 2], [0], None), strict=True):  # a network, a baseline, a table of probabilities
        if epochs:
            store.save_table(out, f"runs/{run}/history.csv", pd.DataFrame({"epoch": epochs, "loss": 0.5}))
    assert list(tables.load_histories(out, runs)) == runs[:1]
