"""The study beside a run set: its numbers come from a file, and the verdicts are true for any stored results."""

import json
import shutil

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import store
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.reporting import report, study, tables, verdicts

NETWORKS = ("densenet", "inception_v2", "resnet18")
RUNS = dict.fromkeys([f"{network}-rgby-{weights}" for network in NETWORKS for weights in ("none", "sqrt")], 1.0)
LEVELS = {  # how many rare classes each run does not find at .5
    "helps": dict(zip(RUNS, (9, 6, 3, 0, 6, 3), strict=True)),
    "hurts": dict(zip(RUNS, (0, 3, 6, 9, 3, 6), strict=True)),
    "equal": dict.fromkeys(RUNS, 3),
}
UNION = {"name": "union of two", "macro_f1": 0.41, "gain": 0.01, "gain_low": -0.01, "gain_high": 0.03}  # of two runs
VERDICTS = {"helps": "agrees", "hurts": "disagrees", "equal": "cannot tell"}
OURS = "this run set (synthetic data)"


def load(out, study_file=study.FILE):
    return report.load(out, bootstrap=100, study_file=study_file)


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


def make_limits(out, run, story):
    """Thresholds of which some are bad, in other classes for each network: the union finds what one of them misses."""
    limits, network = np.full(28, 0.2 if story == "helps" else 0.5), NETWORKS.index(run.split("-")[0])
    if story == "helps":
        limits[tables.rarest_classes(out)[-1 - network]] = 0.35
    if story == "hurts":
        limits[network::3] = 0.05  # always
    return limits


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
    limits = {run: {"global": make_limits(out, run, story)} for run in RUNS}
    store.save_json(out, "decisions/thresholds.json", decision | {"thresholds": limits})
    store.save_table(out, "tables/ensemble.csv", pd.DataFrame([UNION | {"best_single": "densenet-rgby-none"}]))
    return out


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return {story: write_story(folder, story) for story in LEVELS}


def judge(out):
    return verdicts.judge_claims(load(out))


@pytest.mark.parametrize("story", LEVELS)
def test_each_verdict_follows_from_the_stored_results(stories, story):
    table = judge(stories[story])
    assert len(table) == len(study.load()["claims"]) == 12
    assert dict(zip(table["claim"], table["verdict"], strict=True)) == dict.fromkeys(table["claim"], VERDICTS[story])


def test_a_network_that_the_study_did_not_have_changes_nothing_beside_its_numbers(tmp_path):
    out = write_story(tmp_path, "helps")
    found = load(out)
    shutil.copytree(out / "runs" / "resnet18-rgby-none", out / "runs" / "densenet121-rgby-study")
    record = store.load_json(out, "runs/resnet18-rgby-none/result.json")
    record |= {"run": "densenet121-rgby-study", "model": "densenet121", "val_macro_f1": 0.99, "train_macro_f1": 0.99}
    record |= {"settings": record["settings"] | {"model": "densenet121"}, "parameters": 9e6}
    store.save_json(out, "runs/densenet121-rgby-study/result.json", record)
    decision = store.load_decision(out, "thresholds")
    limits = decision["thresholds"] | {"densenet121-rgby-study": {"global": [0.5] * 28}}
    decision |= {"thresholds": limits, "runs": store.digest_runs(out, list(limits))}
    store.save_json(out, "decisions/thresholds.json", decision)
    more = load(out)
    assert len(more["runs"]) == len(found["runs"]) + 1
    for make in (study.classifier_table, study.weights_table, study.rare_shares, verdicts.judge_claims):
        pd.testing.assert_frame_equal(make(more), make(found))
    assert "densenet121, block by block." in [item.caption for item in report.models(more).items]


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
    gain = {"before": 0.2, "after": 0.2, "gain": 0.0, "runs": "a"}
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
        assert verdicts._judge(gain | {"low": low, "high": high}, "", limit, hardly)[1] == verdict


def all_tables(found):
    made = [study.classifier_table(found), study.weights_table(found), study.rare_shares(found)]
    made += [study.public_table(found, name, {"ours": name}) for name in ("thresholds", "ensemble")]
    return [*made, study.public_private(found)[0], verdicts.judge_claims(found)]


def test_other_numbers_in_the_file_are_other_numbers_in_the_tables(stories, tmp_path):
    numbers, wanted = study.load(), []
    parts = [*numbers["classifiers"].values(), *numbers["class_weights"].values(), numbers["thresholds"]]
    for part in [*parts, numbers["ensemble"], numbers["final"]]:
        for name in [name for name, value in part.items() if not isinstance(value, str)]:
            part[name] = 0.7 + len(wanted) / 1000
            wanted.append(part[name])
    path = tmp_path / "other.json"
    path.write_text(json.dumps(numbers | {"data": "other data"}))
    text = "\n".join(table.to_csv(float_format="%.3f") for table in all_tables(load(stories["helps"], path)))
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
    out = stories["helps"]
    found = load(out)
    table = study.classifier_table(found).set_index(["network", "measure"])
    result = store.load_json(out, "runs/resnet18-rgby-none/result.json")
    ours = table[OURS]["ResNet18"]
    assert ours["train F1"] == result["train_macro_f1"] and ours["validation F1"] == result["val_macro_f1"]
    assert np.isnan(ours["validation loss"]) and (table.loc["ResNet18", "runs"] == "resnet18-rgby-none").all()
    arrays = found["judged"]["resnet18-rgby-none"]
    assert ours["F1 on the hold-out"] == pytest.approx(metrics.macro_f1(arrays["labels"], arrays["half"]))
    gain = study.weights_table(found).set_index(["network", "measure"]).loc["ResNet18", "gain"]
    same = tables.weights_table(found["runs"], found["judged"], 100).set_index("model").loc["resnet18"]
    assert gain[[OURS, "low", "high"]].tolist() == same[["gain", "low", "high"]].tolist()
    tuned = tables.thresholds_table(found["judged"], 100)["gain"].mean()
    assert study.public_table(found, "thresholds", {"ours": "thresholds"}).iloc[-1, 3] == pytest.approx(tuned)
    store.save_json(out, "data/dataset.json", store.load_json(out, "data/dataset.json") | {"synthetic": False})
    assert load(out)["headings"] == ["study (Kaggle's real data)", "this run set (Kaggle's real data)"]
    store.save_json(out, "data/dataset.json", store.load_json(out, "data/dataset.json") | {"synthetic": True})


def test_two_networks_are_united_and_beside_them_the_two_runs_of_notebook_06(stories):
    found = load(stories["helps"])
    scores = dict.fromkeys(RUNS, 0.1) | {
        "resnet18-rgby-sqrt": 0.5,
        "resnet18-rgby-none": 0.4,
        "densenet-rgby-sqrt": 0.3,
    }
    found["ensemble"]["cross_fitted"] = scores
    assert verdicts.find_united(found) == ["resnet18-rgby-sqrt", "densenet-rgby-sqrt"]
    found["gains"] = verdicts.measure(found)
    best, second = (found["judged"][run] for run in ("resnet18-rgby-sqrt", "densenet-rgby-sqrt"))
    f1 = [metrics.macro_f1(best["labels"], preds) for preds in (best["tuned"], best["tuned"] | second["tuned"])]
    names = {"networks": "ensemble", "runs": "stored_union"}
    table = study.public_table(found, "ensemble", names).set_index(["network", "measure"])
    assert table.loc["networks", OURS].tolist() == pytest.approx([*f1, f1[1] - f1[0]])
    assert table.loc["runs", OURS].tolist() == pytest.approx([0.4, 0.41, 0.01])
    assert table.iloc[3:, 0].isna().all()  # the study united once
    found["gains"]["stored_union"] |= {"runs": found["gains"]["ensemble"]["runs"]}
    assert len(study.public_table(found, "ensemble", names)) == 3


def test_the_union_of_two_networks_is_measured_once_per_seed(stories):
    found = load(stories["helps"])
    names = ["resnet18-rgby-sqrt", "resnet18-rgby-none", "densenet-rgby-sqrt", "densenet-rgby-none"]
    networks = found["networks"].set_index("run").loc[names].assign(seed=[0, 1, 0, 1]).reset_index()
    found["networks"] = networks.assign(settings=networks["model"])  # two networks with two seeds each
    scores = {"resnet18-rgby-sqrt": 0.5, "densenet-rgby-sqrt": 0.3}
    found["ensemble"]["cross_fitted"] = dict.fromkeys(RUNS, 0.1) | scores
    gain = verdicts.measure(found)["ensemble"]
    assert gain["runs"] == (
        "resnet18-rgby-sqrt with densenet-rgby-sqrt, resnet18-rgby-none with densenet-rgby-none "
        "against resnet18-rgby-sqrt, resnet18-rgby-none"
    )
    judged, after = found["judged"], []
    for run in ("resnet18-rgby-sqrt", "resnet18-rgby-none"):
        other = run.replace("resnet18", "densenet")
        after.append(metrics.macro_f1(judged[run]["labels"], judged[run]["tuned"] | judged[other]["tuned"]))
    assert gain["after"] == pytest.approx(np.mean(after)) and gain["low"] < gain["gain"] < gain["high"]


def test_a_single_network_has_none_to_be_united_with(stories):
    found = load(stories["helps"])
    networks = found["networks"]
    one_kind = found | {"networks": networks[networks["model"] == "resnet18"]}
    assert verdicts.find_united(one_kind) == ["resnet18-rgby-none"]
    assert np.isnan(verdicts.measure(one_kind)["ensemble"]["gain"])
    other_fold = networks.assign(fold=[0, 1, 1, 1, 1, 1])
    assert len(verdicts.find_united(found | {"networks": other_fold})) == 2, "judged on the same hold-out"
    assert len(verdicts.find_united(found | {"networks": other_fold, "judged_on": "validation"})) == 1


def test_no_score_takes_part_in_which_run_represents_a_network(stories):
    out = stories["helps"]
    networks = load(out)["networks"]
    assert tables.find_runs(networks, "densenet")["run"].tolist() == ["densenet-rgby-none"]
    assert tables.find_runs(networks, "vgg").empty
    settings = [  # recipe, class weights, start, seed; the first settings of these, with both seeds, are taken
        ("best", "sqrt", "from scratch", 0),
        ("long", "none", "ImageNet", 0),
        ("own", "sqrt", "ImageNet", 0),
        ("own", "none", "ImageNet", 1),
        ("own", "none", "ImageNet", 0),
        ("own", "none", "from scratch", 0),
    ]
    results = {}
    for number, (recipe, weights, start, seed) in enumerate(settings):
        result = {"model": "a", "recipe": recipe, "class_weights": weights, "weights": start, "seed": seed, "tta": 1}
        result |= {"settings": {"recipe": recipe, "weights": start}, "val_macro_f1": 0.1 * number}
        results[f"run{number}"] = result | {"best_epoch": 1, "seconds": 1, "images_per_second": 1}
    arrays = tables.load_judged(out)["densenet-rgby-none"]
    records = tables.order_runs(tables.record_table(results, dict.fromkeys(results, arrays)))
    assert tables.find_runs(records, "a")["run"].tolist() == ["run3", "run4"]


def test_the_share_of_rare_classes_by_hand(stories):
    hits, false_alarms = np.array([[1, 2, 4], [0, 0, 0]]), np.array([[0, 0, 1], [0, 0, 0]])
    assert verdicts.rare_share(hits, false_alarms, hits, [0, 1]).tolist() == [3 / 8, 0]
    found = load(stories["helps"])
    judged, rarest = found["judged"], found["rarest"]
    table = study.rare_shares(found).set_index("network")
    for column, run in (("without", "densenet-rgby-none"), ("with", "densenet-rgby-sqrt")):
        preds = judged[run]["half"]
        assert table.loc["DenseNet-like CNN", column] == pytest.approx(preds[:, rarest].sum() / preds.sum())
    labels = judged["densenet-rgby-none"]["labels"]
    assert table.loc["ResNet18", "true"] == pytest.approx(labels[:, rarest].sum() / labels.sum())


def test_choices_are_counted_in_what_is_stored(stories):
    out = stories["helps"]
    table = study.count_choices(load(out)).set_index("choice")
    assert (table.loc["all", ["training", "hold-out", "test", "by parameter"]] == [6, 0, 0, 2]).all()
    assert table.loc["all", "validation"] == 6 + 6 + 1 + 1 and table.loc["ensemble", "by parameter"] == 1
    decisions = {name: store.load_json(out, f"decisions/{name}.json") for name in ("thresholds", "ensemble")}
    changed = decisions["ensemble"] | {"pair": list(RUNS)[2:4], "stacker": [], "weights": {}}
    store.save_json(out, "decisions/ensemble.json", changed | {"chosen_by": "macro F1 on the hold-out"})
    table = study.count_choices(load(out)).set_index("choice")
    assert table.loc["all", "hold-out"] == 1 and table.loc["pair of the union", "by parameter"] == 1
    assert table.loc["weights of averages", "validation"] == 2
    store.save_json(out, "decisions/ensemble.json", decisions["ensemble"])


def test_public_and_private_scores_and_their_gap(stories):
    out = stories["helps"]
    table, sentence = study.public_private(load(out))
    assert table["public macro_f1"].tolist() == [0.46382] and "no private score" in sentence
    decision = store.load_json(out, "decisions/ensemble.json")
    part = {"low": 0.1, "high": 0.9, "num_images": 5}
    scores = {name: part | {"macro_f1": 0.5} for name in ("chosen", "union")}
    for name, public, private in (("chosen", 0.3, 0.425), ("union", 0.5, 0.475)):
        scores[name] |= {"public": part | {"macro_f1": public}, "private": part | {"macro_f1": private}}
    store.save_json(out, "decisions/ensemble.json", decision | {"test_scores": scores})
    table, sentence = study.public_private(load(out))
    assert (
        table["submission"].tolist() == ["final, study (Kaggle's real data)", "chosen", "union"]
        and "up to 0.125," in sentence
    )
    assert "0.46382 is a public score" in sentence and table["private macro_f1"].tolist()[1:] == [0.425, 0.475]
    store.save_json(out, "decisions/ensemble.json", decision)
