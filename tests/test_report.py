import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import metrics, report, store, thresholds

RUNS = {"densenet-rgby-none": 0.9, "densenet-rgby-sqrt": 1.0, "resnet18-rgby-sqrt": 1.5}
RECIPE = {"loss": "bce", "augment": "report", "mix": "none", "sampling": 0.0, "epochs": 3, "learning_rate": 0.001}


def complete(out):
    """Give the fake runs the settings and decisions that notebooks 02 to 06 would have stored."""
    tuned = {}
    for run in store.list_runs(out):
        result = store.load_json(out, f"runs/{run}/result.json")
        record = {"weights": "from scratch", "best_epoch": 2.0, "seconds": 60, "images_per_second": 50.0}
        store.save_json(
            out,
            f"runs/{run}/result.json",
            result | {"settings": RECIPE | {"model": result["model"]}, "tta": 1} | record,
        )
        ids, probs = store.load_probs(out, run, "val")
        tuned[run] = {"global": thresholds.tune(store.load_truth(out, ids)[0], probs, "global")}
    decision = {"recommended": "global", "fill_empty": True, "thresholds": tuned}
    store.save_json(out, "decisions/thresholds.json", decision)
    members = {run: [run] for run in RUNS}
    scores = {"union of two": 0.31, "mean": 0.42, **dict.fromkeys(RUNS, 0.3)}
    ensemble = {"members": members, "pair": list(RUNS)[:2], "chosen": "mean", "macro_f1": scores}
    store.save_json(out, "decisions/ensemble.json", ensemble)


@pytest.fixture(scope="module")
def answers(out):
    return report.load_answers(out)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    fake_runs.write_out(folder / "out", folder / "data", RUNS)
    complete(folder / "out")
    return folder / "out"


def test_scores_come_from_the_stored_holdout(out, answers):
    table = report.run_table(out, answers).set_index("run")
    ids, probs = store.load_probs(out, "resnet18-rgby-sqrt", "holdout")
    labels, _ = store.load_truth(out, ids)
    half = thresholds.apply(probs, np.full(28, 0.5))
    assert table.loc["resnet18-rgby-sqrt", "F1 at .5"] == pytest.approx(metrics.macro_f1(labels, half))
    assert table.loc["resnet18-rgby-sqrt", "macro AP"] == pytest.approx(metrics.average_precision(labels, probs).mean())
    assert table["minutes"].tolist() == [1, 1, 1]


def test_a_run_is_compared_with_its_twin_without_weights_only(out, answers):
    table = report.weights_table(out, answers, report.run_table(out, answers), draws=50)
    assert table[["model", "class weights"]].values.tolist() == [["densenet", "sqrt"]]
    row = table.iloc[0]
    assert row["gain"] == pytest.approx(row["with"] - row["without"]) and row["low"] <= row["gain"] <= row["high"]


def test_thresholds_table_and_summary_agree_with_the_runs(out, answers):
    runs = report.run_table(out, answers)
    tuned = report.thresholds_table(answers, draws=50)
    assert tuned["tuned"].tolist() == runs["F1 tuned"].tolist()
    summary = report.summary_table(out, runs).set_index("model")
    assert summary.loc["ensemble: mean", "with thresholds"] == 0.42
    assert summary.index[-1] == "submitted: mean"


def test_rare_table_counts_labels_and_predictions(out, answers):
    table = report.rare_table(out, answers, number=4)
    _, labels, _, folds = store.load_split(out)
    assert len(table) == 4 and table.columns.tolist() == ["class", "true", *RUNS]
    rarest = np.argsort(labels[folds >= 0].sum(axis=0), kind="stable")[:4]
    assert table["true"].sum() == labels[folds == -1][:, rarest].sum()


def test_the_study_stands_beside_under_its_own_name(out, answers):
    table = report.study_table(report.summary_table(out, report.run_table(out, answers)), synthetic=True)
    assert table["macro F1"].tolist()[:2] == [0.46, 0.656]
    assert "SYNTHETIC" in table["measured on"].iloc[-1] and "Kaggle" in table["measured on"].iloc[0]


def test_the_page_holds_tables_and_escapes_texts(out):
    table = pd.DataFrame({"class": ["Rods & rings"], "F1": [0.25]})
    path = report.write_html(out, "A <title>", [("One", "a < b", [table])], synthetic=True)
    page = path.read_text()
    assert "Rods &amp; rings" in page and "0.250" in page and "a &lt; b" in page and "SYNTHETIC DATA" in page


def test_a_run_that_notebook_05_has_not_seen_names_it(out):
    store.save_json(out, "runs/new/result.json", {"model": "x"})
    ids, probs = store.load_probs(out, "densenet-rgby-none", "holdout")
    store.save_probs(out, "new", "holdout", ids, probs)
    with pytest.raises(store.MissingInput, match="does not know run new: run 05_threshold_tuning"):
        report.load_answers(out)
