"""The study beside a run set: its numbers come from a file, and the verdicts are true for any stored results."""

import json

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import store
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.reporting import study, tables

NETWORKS = ("densenet", "inception_v2", "resnet18")
RUNS = dict.fromkeys([f"{network}-rgby-{weights}" for network in NETWORKS for weights in ("none", "sqrt")], 1.0)
LEVELS = {  # how many rare classes each run does not find at .5
    "helps": dict(zip(RUNS, (9, 6, 3, 0, 6, 3), strict=True)),
    "hurts": dict(zip(RUNS, (0, 3, 6, 9, 3, 6), strict=True)),
    "equal": dict.fromkeys(RUNS, 3),
}
THRESHOLDS = {"helps": 0.2, "hurts": 0.95, "equal": 0.5}
UNIONS = {"helps": (0.02, 0.01, 0.03), "hurts": (-0.02, -0.03, -0.01), "equal": (0.01, -0.01, 0.03)}
VERDICTS = {"helps": "agrees", "hurts": "disagrees", "equal": "cannot tell"}
SCORES = {"draws": 100, "seed": 0}


def store_probs(out, run, level):
    """Right answers with a few false ones, in which ``level`` of the ten rarest classes are at .3 in place of .9."""
    for part in ("val", "holdout"):
        ids, probs = store.load_probs(out, run, part)
        labels, _ = store.load_truth(out, ids)
        wrong = np.random.default_rng(0).random(labels.shape) < 0.02
        probs = np.where((labels > 0) ^ wrong, 0.9, 0.1)
        rare = tables.rarest_classes(out)[::-1][:level]
        probs[:, rare] = np.where(probs[:, rare] > 0.5, 0.3, 0.1)
        store.save_probs(out, run, part, ids, probs)


def overfit_gap(run, story):
    """Training F1 minus validation F1: at the limit itself, or as the study saw it, or the opposite."""
    gaps = {name: scores["train_f1"] - scores["test_f1"] for name, scores in study.load()["classifiers"].items()}
    limit = (gaps["densenet"] + min(gaps["resnet18"], gaps["inception_v2"])) / 2
    is_large = run.startswith("densenet") == (story == "hurts")
    return limit if story == "equal" else 0.5 if is_large else 0.0


def write_story(folder, story, start="ImageNet"):
    """A run set in which all that the study tried helps, hurts or changes nothing."""
    out = folder / story
    fake_runs.write_out(out, folder / "data", RUNS, num_images=2500)
    for run in RUNS:
        store_probs(out, run, LEVELS[story][run])
    fake_runs.complete(out)
    for run in RUNS:
        name = f"runs/{run}/result.json"
        labels, probs, _ = store.load_scored(out, run, "val")
        scores = {"val_macro_f1": metrics.macro_f1(labels, thresholds.apply(probs, 0.5)), "train_loss": 0.1}
        scores["train_macro_f1"] = scores["val_macro_f1"] + overfit_gap(run, story)
        scores["weights"] = "from scratch" if run.startswith("densenet") else start
        store.save_json(out, name, store.load_json(out, name) | scores)
    decision = store.load_json(out, "decisions/thresholds.json")
    limits = {run: {"global": np.full(28, THRESHOLDS[story])} for run in RUNS}
    store.save_json(out, "decisions/thresholds.json", decision | {"thresholds": limits})
    gain, low, high = UNIONS[story]
    row = {"name": "union of two", "macro_f1": 0.4 + gain, "gain": gain, "gain_low": low, "gain_high": high}
    store.save_table(out, "tables/ensemble.csv", pd.DataFrame([row | {"best_single": "resnet18-rgby-none"}]))
    return out


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return {story: write_story(folder, story) for story in LEVELS}


def judge(out, numbers=None):
    numbers = numbers or study.load()
    return study.claims(numbers, out, tables.load_judged(out), **SCORES)


@pytest.mark.parametrize("story", LEVELS)
def test_each_verdict_follows_from_the_stored_results(stories, story):
    table = judge(stories[story])
    assert len(table) == len(study.load()["claims"]) == 12
    assert dict(zip(table["claim"], table["verdict"], strict=True)) == dict.fromkeys(table["claim"], VERDICTS[story])


def test_without_imagenet_weights_what_needs_them_is_not_tested(tmp_path):
    table = judge(write_story(tmp_path, "helps", start="from scratch"))
    is_untested = table["claim"].str.contains("pretrained")
    assert is_untested.sum() == 4 and (table["verdict"] == np.where(is_untested, "not tested", "agrees")).all()
    assert table[is_untested].iloc[:, 2].str.startswith("not in this run set: ").all()


def test_a_network_that_has_hardly_learnt_says_nothing_about_overfitting(tmp_path):
    out = write_story(tmp_path, "helps")
    for run in RUNS:
        result = store.load_json(out, f"runs/{run}/result.json")
        store.save_json(out, f"runs/{run}/result.json", result | {"train_macro_f1": 0.09, "val_macro_f1": 0.08})
    table = judge(out)
    told = table[table["claim"].str.contains("overfit")]
    assert len(told) == 3 and (told["verdict"] == "not tested").all()
    assert told.iloc[:, 2].str.endswith("; trained too little to overfit").all()
    assert (table.drop(told.index)["verdict"] == "agrees").all()


def test_runs_that_differ_in_more_are_not_compared(tmp_path):
    out = write_story(tmp_path, "helps")
    for run in RUNS:
        if run.startswith("resnet18"):
            result = store.load_json(out, f"runs/{run}/result.json")
            store.save_json(out, f"runs/{run}/result.json", result | {"settings": result["settings"] | {"epochs": 9}})
    untested = judge(out).query("verdict == 'not tested'")["claim"].tolist()
    assert untested == ["ResNet18, pretrained, beats the CNN trained from scratch", "Inception V2 beats ResNet18"]


def test_the_verdict_of_an_interval():
    found = {"before": 0.2, "after": 0.2, "gain": 0.0, "runs": "a"}
    for low, high, limit, hardly, verdict in (
        (0.01, 0.02, 0, False, "agrees"),
        (-0.02, -0.01, 0, False, "disagrees"),
        (0.0, 0.02, 0, False, "cannot tell"),
        (-0.02, 0.0, 0, False, "cannot tell"),
        (0.01, 0.02, 0.1, False, "disagrees"),
        (0.01, 0.02, 0.1, True, "agrees"),
        (0.11, 0.12, 0.1, True, "disagrees"),
        (0.09, 0.12, 0.1, True, "cannot tell"),
    ):
        assert study._judge(found | {"low": low, "high": high}, "", limit, hardly)[1] == verdict


def all_tables(numbers, out):
    judged = tables.load_judged(out)
    made = [study.classifier_table(numbers, out, judged), study.ensemble_table(numbers, out)]
    made += [study.public_private(numbers, out)[0], judge(out, numbers)]
    for function in (study.weights_table, study.thresholds_table, study.rare_shares):
        made.append(function(numbers, out, judged, **SCORES))
    return made


def test_other_numbers_in_the_file_are_other_numbers_in_the_tables(stories, tmp_path):
    numbers, wanted = study.load(), []
    parts = [*numbers["classifiers"].values(), *numbers["class_weights"].values(), numbers["thresholds"]]
    for part in [*parts, numbers["ensemble"], numbers["final"]]:
        for name in [name for name, value in part.items() if not isinstance(value, str)]:
            part[name] = 0.7 + len(wanted) / 1000
            wanted.append(part[name])
    path = tmp_path / "other.json"
    path.write_text(json.dumps(numbers | {"data": "other data"}))
    text = "\n".join(table.to_csv(float_format="%.3f") for table in all_tables(study.load(path), stories["helps"]))
    missing = [value for value in wanted if f"{value:.3f}" not in text]
    assert missing == wanted[-3:]  # rank, teams and winner are for the report's text
    assert "study (other data)" in text and "0.333" not in text and "test F1 0.704 against 0.702" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"final": {"rank": 525, "teams": 2154, "winner": 0.656}}, "lacks final.public: copy the entry from"),
        ({"thresholds": {"public_without": "0.3", "public_with": 0.3}}, "lacks thresholds.public_without"),
        ({"source": 1}, "lacks source"),
    ],
)
def test_a_file_without_an_entry_is_refused(tmp_path, change, words):
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study.load() | change))
    with pytest.raises(ValueError, match=words) as caught:
        study.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{"])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    path = tmp_path / "study.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"study.json (cannot be read as the study's numbers|lacks)"):
        study.load(path)
    with pytest.raises(ValueError, match="cannot be read as the study's numbers"):
        study.load(tmp_path / "none.json")


def test_ours_are_the_stored_scores_of_the_named_runs(stories):
    numbers, out = study.load(), stories["helps"]
    judged = tables.load_judged(out)
    table = study.classifier_table(numbers, out, judged).set_index(["network", "measure"])
    result = store.load_json(out, "runs/resnet18-rgby-none/result.json")
    ours = table["this run set (synthetic data)"]["ResNet18"]
    assert ours["train F1"] == result["train_macro_f1"] and ours["validation F1"] == result["val_macro_f1"]
    assert np.isnan(ours["validation loss"]) and (table.loc["ResNet18", "runs"] == "resnet18-rgby-none").all()
    arrays = judged["resnet18-rgby-none"]
    assert ours["F1 on the hold-out"] == pytest.approx(metrics.macro_f1(arrays["labels"], arrays["half"]))
    gain = study.weights_table(numbers, out, judged, **SCORES).set_index(["network", "measure"]).loc["ResNet18", "gain"]
    same = tables.weights_table(out, judged, **SCORES).set_index("model").loc["resnet18"]
    assert gain[["this run set (synthetic data)", "low", "high"]].tolist() == same[["gain", "low", "high"]].tolist()
    tuned = tables.thresholds_table(judged, **SCORES)["gain"].mean()
    assert study.thresholds_table(numbers, out, judged, **SCORES).iloc[-1, 3] == pytest.approx(tuned)
    store.save_json(out, "data/dataset.json", store.load_json(out, "data/dataset.json") | {"synthetic": False})
    assert study.headings(numbers, out) == ("study (Kaggle's real data)", "this run set (Kaggle's real data)")
    store.save_json(out, "data/dataset.json", store.load_json(out, "data/dataset.json") | {"synthetic": True})


def test_no_score_takes_part_in_which_run_represents_a_network(stories):
    out = stories["helps"]
    records = tables.record_table(out, tables.load_judged(out))
    assert study.find_runs(records, "densenet")["run"].tolist() == ["densenet-rgby-none"]
    assert study.find_runs(records, "vgg").empty
    results = [  # recipe, class weights, start, seed; the first settings of these, with both seeds, are taken
        ("best", "sqrt", "from scratch", 0),
        ("long", "none", "ImageNet", 0),
        ("own", "sqrt", "ImageNet", 0),
        ("own", "none", "ImageNet", 1),
        ("own", "none", "ImageNet", 0),
        ("own", "none", "from scratch", 0),
    ]
    for number, (recipe, weights, start, seed) in enumerate(results):
        result = {"model": "a", "recipe": recipe, "class_weights": weights, "weights": start, "seed": seed, "tta": 1}
        result |= {"settings": {"recipe": recipe, "weights": start}, "val_macro_f1": 0.1 * number}
        store.save_json(out / "other", f"runs/run{number}/result.json", result)
    arrays = tables.load_judged(out)["densenet-rgby-none"]
    records = tables.record_table(out / "other", {f"run{number}": arrays for number in range(len(results))})
    assert study.find_runs(records, "a")["run"].tolist() == ["run3", "run4"]


def test_the_share_of_rare_classes_by_hand(stories):
    assert study.rare_share(np.array([[1, 2, 5], [0, 0, 0]]), np.array([0, 1])).tolist() == [3 / 8, 0]
    out = stories["helps"]
    judged, rarest = tables.load_judged(out), tables.rarest_classes(out)
    table = study.rare_shares(study.load(), out, judged, **SCORES).set_index("network")
    for column, run in (("without", "densenet-rgby-none"), ("with", "densenet-rgby-sqrt")):
        preds = judged[run]["half"]
        assert table.loc["DenseNet-like CNN", column] == pytest.approx(preds[:, rarest].sum() / preds.sum())
    labels = judged["densenet-rgby-none"]["labels"]
    assert table.loc["ResNet18", "true"] == pytest.approx(labels[:, rarest].sum() / labels.sum())


def test_choices_are_counted_in_what_is_stored(stories):
    out = stories["helps"]
    table = study.choices(out).set_index("choice")
    assert (table.loc["all", ["training", "hold-out", "test", "by parameter"]] == [6, 0, 0, 2]).all()
    assert table.loc["all", "validation"] == 6 + 6 + 1 and table.loc["ensemble", "by parameter"] == 1
    decisions = {name: store.load_json(out, f"decisions/{name}.json") for name in ("thresholds", "ensemble")}
    changed = decisions["ensemble"] | {"pair": list(RUNS)[2:4], "stacker": [], "weights": {}}
    store.save_json(out, "decisions/ensemble.json", changed | {"chosen_by": "macro F1 on the hold-out"})
    table = study.choices(out).set_index("choice")
    assert table.loc["all", "hold-out"] == 1 and table.loc["pair of the union", "by parameter"] == 1
    assert table.loc["weights of averages", "validation"] == 2
    store.save_json(out, "decisions/ensemble.json", decisions["ensemble"])


def test_public_and_private_scores_and_their_gap(stories):
    numbers, out = study.load(), stories["helps"]
    table, sentence = study.public_private(numbers, out)
    assert table["public macro_f1"].tolist() == [0.46382] and "no private score" in sentence
    decision = store.load_json(out, "decisions/ensemble.json")
    part = {"low": 0.1, "high": 0.9, "num_images": 5}
    scores = {name: part | {"macro_f1": 0.5} for name in ("chosen", "union")}
    for name, public, private in (("chosen", 0.3, 0.425), ("union", 0.5, 0.475)):
        scores[name] |= {"public": part | {"macro_f1": public}, "private": part | {"macro_f1": private}}
    store.save_json(out, "decisions/ensemble.json", decision | {"test_scores": scores})
    table, sentence = study.public_private(numbers, out)
    assert table["submission"].tolist() == ["final", "chosen", "union"] and "up to 0.125," in sentence
    assert "0.46382 is a public score" in sentence and table["private macro_f1"].tolist()[1:] == [0.425, 0.475]
    store.save_json(out, "decisions/ensemble.json", decision)
