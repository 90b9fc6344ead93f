"""The report of a run set: the study's outline, from whatever is stored, the same from the notebook and the command."""

import json
import re
import shutil

import fake_runs
import pandas as pd
import pytest

from hpa_lib import paths, store
from hpa_lib.decisions import bootstrap, thresholds
from hpa_lib.reporting import report, study

HEADINGS = ["Data", "Preprocessing", "Models", "Experiment A: three classifiers", "Experiment B1: class weights"]
HEADINGS += ["Experiment B2: thresholds", "Experiment C: ensembles", "Where the network looks", "Conclusion"]
LOOKED_AT = "densenet-rgby-sqrt"
RUNS = {"densenet-rgby-none": 0.9, "densenet-rgby-sqrt": 1.0, "trees-rgby-none": 1.5}


def write_out(folder, holdout=0.2):
    """What notebooks 00 to 06 leave, without any figure; one run is no network."""
    out = folder / "out"
    fake_runs.write_out(out, folder / "data", RUNS, num_images=600, holdout=holdout)
    fake_runs.complete(out)
    record = {"weights": "ImageNet", "parameters": 151016, "versions": {"commit": "c0ffee"}}
    record["finished"] = "2026-11-25T23:59:59+00:00"
    store.save_json(
        out, "runs/densenet-rgby-sqrt/result.json", store.load_json(out, "runs/densenet-rgby-sqrt/result.json") | record
    )
    labels, probs, groups = store.load_scored(out, "trees-rgby-none", "holdout" if holdout else "val")
    preds = {
        name: (probs >= limit).astype("uint8") for name, limit in (("trees-rgby-none", 0.5), ("union of two", 0.4))
    }
    table = bootstrap.compare(labels, preds, "trees-rgby-none", groups, 50, 0).assign(kind="single")
    store.save_table(out, "tables/ensemble.csv", table.assign(best_single="trees-rgby-none"))
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = write_out(tmp_path_factory.mktemp("report"))
    verdicts = ["on the structure", "on the structure", "not told from chance"]
    digest = {"digest": store.digest_runs(folder, [LOOKED_AT])[LOOKED_AT]}
    localisation = pd.DataFrame({"method": ["Grad-CAM", "occlusion", "occlusion"], "verdict": verdicts, "images": 3})
    store.save_table(folder, "tables/localisation.csv", localisation.assign(run=LOOKED_AT, **digest))
    report.write(folder, bootstrap=50)
    return folder


def test_every_part_of_the_study_is_there_with_a_sentence_and_an_item(out):
    text = (out / "report.html").read_text()
    assert re.findall(r"<h2>(.+?)</h2>", text) == HEADINGS
    for part in text.split("<section ")[1:]:
        assert re.search(r"<p>.+\.</p>", part) and "<figcaption>" in part


def test_explanations_are_counted_by_verdict_where_they_were_measured(out, tmp_path):
    section = report.explanations(report.load(out, bootstrap=50))
    assert "densenet-rgby-sqrt" in section.text
    counts = section.items[0].table.set_index("method")
    verdicts = {"on the structure": 1, "not told from chance": 1}
    assert counts.loc["occlusion"].to_dict() == verdicts | {"fields per class": 3}
    found, table = report.load(out, bootstrap=50), store.load_table(out, "tables/localisation.csv")
    copy = shutil.copytree(out, tmp_path / "copy")
    for change in ({"digest": "of an earlier training"}, {"run": "removed"}):
        store.save_table(copy, "tables/localisation.csv", table.assign(**change))
        section = report.explanations(found | {"out": copy})
        assert "run notebook 08 again" in section.text and not section.items
    section = report.explanations({"out": tmp_path / "empty"})
    assert section.text.startswith("Not measured") and not section.items


def test_figures_that_were_not_stored_are_left_out_by_name(out):
    text = (out / "report.html").read_text()
    assert "Not in this run set: Images per class (made by 01_eda_label_imbalance.ipynb);" in text
    assert "block by block" not in text  # the first run of the network does not say how many parameters it has
    for name in ("report_curves", "report_rare_classes", "report_f1_by_class"):
        assert (out / f"report/figures/{name}.pdf").exists()
    f1 = store.load_table(out, "report/figures/report_f1_by_class.csv")
    assert list(f1.columns) == ["class", "images", *RUNS] and len(f1) == 28


def test_the_page_opens_with_data_start_code_and_date(out):
    top = (out / "report.html").read_text().split("<nav")[0]
    assert "SYNTHETIC DATA" in top and "c0ffee" in top
    assert "the 3 runs started from: from scratch (2), ImageNet (1)." in top
    assert "Newest run: 2026-11-25 (UTC)." in top
    found = report.load(out, bootstrap=50)
    assert report.stamps(found | {"data": {"synthetic": False}})[0].startswith("Kaggle's data")


def test_the_same_files_give_the_same_report(out, tmp_path):
    copy = shutil.copytree(out, tmp_path / "copy")
    report.write(copy, bootstrap=50)
    for name in ("report.html", "report/report.md", "report/manifest.json", "report/figures/report_curves.pdf"):
        assert (copy / name).read_bytes() == (out / name).read_bytes(), name


def test_other_numbers_of_the_study_are_on_the_page(out, tmp_path):
    numbers = json.loads(study.FILE.read_text())
    numbers["classifiers"]["densenet"]["train_f1"], numbers["final"]["public"] = 0.7771, 0.6662
    (tmp_path / "study.json").write_text(json.dumps(numbers))
    copy = shutil.copytree(out, tmp_path / "copy")
    page = report.write(copy, bootstrap=50, study_file=tmp_path / "study.json").read_text()
    for number in ("0.777", "0.666"):
        assert number in page and number not in (out / "report.html").read_text()


def test_captions_name_our_runs_and_no_table_repeats_them(out):
    items = [item for make in report.SECTIONS for item in make(report.load(out, bootstrap=50)).items]
    assert not [item.name for item in items if item.table is not None and "runs" in item.table]
    captions = {item.name: item.caption for item in items}
    assert captions["study_class_weights"] == (
        "Class weights. Ours: densenet-rgby-sqrt against densenet-rgby-none (DenseNet-like CNN)."
    )
    assert captions["study_thresholds"] == "Thresholds. Ours: mean over all runs, n = 2 (the study's networks)."


def test_each_way_to_choose_thresholds_is_explained_in_a_sentence():
    assert report.WAYS.keys() == thresholds.CANDIDATES.keys()


def test_each_table_is_traced_to_the_probabilities_that_it_was_made_of(out):
    items = {item["name"]: item for item in json.loads((out / "report/manifest.json").read_text())["items"]}
    for name in ("report_classifiers", "report_thresholds", "study_claims", "summary"):
        assert items[name]["runs"] == sorted(RUNS)
        assert {f"runs/{run}/probs_holdout.npz" for run in RUNS} < items[name]["made_from"].keys()
    assert items["report_parts"]["runs"] == []


def test_without_a_holdout_titles_say_validation(tmp_path):
    out = write_out(tmp_path, holdout=0)
    found = report.load(out, bootstrap=50)
    classifiers = report.classifiers(found)
    assert "validation" in classifiers.items[1].caption and "hold-out" not in str(classifiers.items)
    assert pd.DataFrame(report.data(found).items[0].table)["part"].tolist() == ["fold 0", "fold 1"]
    assert "runs/densenet-rgby-none/probs_val.npz" in found["scores"]


def test_the_notebook_makes_the_same_sections_in_the_same_order():
    cells = json.loads((paths.PROJECT / "notebooks" / "07_report.ipynb").read_text())["cells"]
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    names = [make.__name__ for make in report.SECTIONS]
    assert re.findall(r"report\.(\w+)\(found\)", code) == ["stamps", *names]
    assert f"sections = [{', '.join(names)}]" in code
