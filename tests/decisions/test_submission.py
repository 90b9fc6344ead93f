"""The table Kaggle wants: order, doubles, labels, empty rows; a wrong order is refused, never scored."""

import zipfile

import fake_runs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_lib import atlas, store
from hpa_lib.data import csv_rows, splits
from hpa_lib.decisions import metrics, submission

NUM_LABELS = 28
IDS = np.array([f"id-{number}" for number in (3, 1, 2, 0)])
HEADER = "Id,Predicted\n"
GOOD = HEADER + "id-3,16 0\nid-1,25\nid-2,0\nid-0,1 2 3\n"


lines = st.sampled_from([*GOOD.splitlines(), "id-3,99", "id-9,", "id-1", ""])


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample_submission.csv"
    path.write_text(HEADER + "".join(f"{image_id},0\n" for image_id in IDS))
    return path


def write_text(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_written_in_the_samples_order_and_read_back(tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("round")
    generator = np.random.default_rng(seed)
    ids = np.array([f"{number}" for number in range(30)])
    preds = (generator.random((30, NUM_LABELS)) < 0.2).astype(np.uint8)
    preds[~preds.any(axis=1), 0] = 1
    sample = write_text(folder / "sample.csv", HEADER + "".join(f"{image_id},0\n" for image_id in ids))
    order = generator.permutation(30)
    table = submission.make_table(ids[order], preds[order], submission.read_ids(sample))
    path = store.save_table(folder, "mine.csv", table)
    back_ids, back = submission.read(path)
    np.testing.assert_array_equal(back, preds)
    assert back_ids.tolist() == ids.tolist() and submission.check(path, sample) == []


def test_a_good_file_has_no_findings(tmp_path, sample):
    quoted = GOOD.replace("Id,Predicted", '"Id","Predicted"')
    for text in (GOOD, GOOD.replace("\n", "\r\n"), GOOD.rstrip("\n"), GOOD + "\n", quoted):
        assert submission.check(write_text(tmp_path / "mine.csv", text), sample) == []


def test_a_zipped_submission_is_checked_and_scored_as_the_table_in_it(tmp_path, sample):
    """Kaggle takes such archives."""
    for text, findings in ((GOOD, 0), (GOOD.replace(",", ";"), 1)):
        with zipfile.ZipFile(tmp_path / "mine.zip", "w") as opened:
            opened.writestr("mine.csv", text)
        assert len(submission.check(tmp_path / "mine.zip", sample)) == findings


def test_a_byte_order_mark_is_read_past_in_every_table(tmp_path, sample):
    """As Excel writes it; the sample and the label tables (``csv_rows``) and submissions agree on it."""
    marked = write_text(tmp_path / "mine.csv", "\ufeff" + GOOD)
    assert submission.check(marked, sample) == [] and submission.read(marked)[0].tolist() == IDS.tolist()
    assert submission.read_ids(marked).tolist() == IDS.tolist()
    assert [row.id for row in csv_rows.read_rows(marked, "Predicted")[0]] == IDS.tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER + "id-1,25\nid-3,16 0\nid-2,0\nid-0,1\n", "another order than the sample's, first at row 1 (id-1"),
        (HEADER + "id-3,0\nid-1,25\nid-2,0\n", "1 image of the sample missing in the submission, first id-0"),
        (GOOD + "id-9,0\n", "1 image of the submission not in the sample, first id-9"),
        (GOOD + "id-0,0\n", "1 repeated Id in the submission, first id-0"),
        (GOOD.replace("16 0", "28"), "first id-3: label '28'"),
        (GOOD.replace("16 0", "-1"), "label '-1'"),
        (GOOD.replace("16 0", "0.0"), "label '0.0'"),
        (GOOD.replace("16 0", "Nucleoplasm"), "label 'Nucleoplasm'"),
        (GOOD.replace("16 0", "16 16"), "label 16 occurs twice"),
        (GOOD.replace("16 0", ""), "1 row without any label, first id-3"),
        (GOOD.replace("id-1,25", "id-1"), "1 line not of the form Id,Predicted, first line 3"),
        (GOOD.replace("id-1,25", "id-1,2,5"), "1 line not of the form Id,Predicted, first line 3"),
        (GOOD.replace("id-1,25", ",25"), "1 line not of the form Id,Predicted, first line 3"),
        (GOOD.replace("id-1,25\n", "\n"), "1 line not of the form Id,Predicted, first line 3"),
        (GOOD.replace(",", ";"), "is separated by semicolons: use commas"),
        (GOOD.replace(",", "\t"), "is separated by tabs: use commas"),
        (GOOD.replace("Predicted", "Target"), "starts with 'Id,Target'"),
        (GOOD.removeprefix(HEADER), "starts with 'id-3,16 0'"),
        ("", "mine.csv is empty: its first line must be Id,Predicted"),
        ("\n\n", "mine.csv is empty"),
        (HEADER, "4 images of the sample missing"),
        (GOOD.replace("Id,Predicted", "id,predicted"), "starts with 'id,predicted'"),
        (GOOD.replace("Id,Predicted", "Id,Predicted,Usage"), "starts with 'Id,Predicted,Usage'"),
        (b"\x89PNG\xff\xfe\x00", "no UTF-8 text"),
        (b"PK\x03\x04\x00", "is a zip archive that cannot be unpacked"),
        (GOOD.encode("latin-1") + b"\xff", "not UTF-8 text"),
        (GOOD.encode("utf-16"), "no UTF-8 text"),
        (GOOD.replace("id-1,25", 'id-1,"25'), "line 5: unexpected end of data: look for a stray quotation mark"),
    ],
)
def test_findings_name_what_is_wrong(tmp_path, sample, text, words):
    findings = submission.check(write_text(tmp_path / "mine.csv", text), sample)
    assert any(words in finding for finding in findings), findings
    assert not any("\n" in finding for finding in findings)


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.lists(lines).map("\n".join).map(str.encode)
    )
)
def test_no_file_at_all_breaks_the_check_or_passes_as_this_sample(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    sample = write_text(folder / "sample.csv", GOOD)
    findings = submission.check(write_text(folder / "any.csv", content), sample)
    assert all(isinstance(finding, str) and finding for finding in findings)
    if not findings:
        assert submission.read(folder / "any.csv")[0].tolist() == IDS.tolist()


def test_labels_that_cannot_be_read_are_not_called_empty_too(tmp_path, sample):
    assert len(submission.check(write_text(tmp_path / "mine.csv", GOOD.replace("16 0", "28")), sample)) == 1
    preds, findings, empty = submission.inspect(tmp_path / "none.csv", IDS)
    assert preds.shape == (0, NUM_LABELS) and len(findings) == 1 and empty == []


def test_all_findings_are_reported_at_once(tmp_path, sample):
    text = HEADER + "id-3,\nid-3,99\nid-7,0\nid-1,1 1\n"
    assert len(submission.check(write_text(tmp_path / "mine.csv", text), sample)) == 5


def test_a_missing_file_is_a_finding_and_a_missing_sample_an_error(tmp_path, sample):
    assert "mine.csv is not there: give the path of a CSV" in submission.check(tmp_path / "mine.csv", sample)[0]
    with pytest.raises(ValueError, match="is not there"):
        submission.check(sample, tmp_path / "no_sample.csv")


def test_score_is_macro_f1_with_an_interval(tmp_path):
    generator = np.random.default_rng(0)
    ids = [f"{number}" for number in range(200)]
    labels, preds = ((generator.random((200, NUM_LABELS)) < 0.3).astype(np.uint8) for _ in range(2))
    labels[:, 27] = 0
    preds[5] = 0
    for name, column, rows in (("truth.csv", "Target", labels), ("mine.csv", "Predicted", preds)):
        texts = [" ".join(map(str, generator.permutation(np.flatnonzero(row)))) for row in rows]
        pd.DataFrame({"Id": ids, column: texts}).to_csv(tmp_path / name, index=False)
    result = submission.score(tmp_path / "mine.csv", tmp_path / "truth.csv", draws=100)
    assert result["macro_f1"] == metrics.macro_f1(labels, preds)
    assert result["low"] < result["macro_f1"] < result["high"]
    assert result["num_empty"] == 1
    assert result["num_images"] == 200 and result["absent"] == [27] and len(result["f1_per_class"]) == NUM_LABELS
    assert result["macro_f1_present"] > result["macro_f1"]


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ("Id,Target\nid-1,0\nid-3,0\nid-2,0\nid-0,0\n", "another order than the truth's"),
        ("Id,Target\nid-3,0\nid-1,0\nid-2,0\n", "1 image of the submission not in the truth, first id-0"),
        ("Id,Target\nid-3,0\nid-1,0\nid-2,0\nid-0,0\nid-9,1\n", "1 image of the truth missing"),
        ("Id,Predicted\nid-3,0\n", "must be Id,Target"),
        ("Id,Target\nid-3,0\nid-3,0\n", "1 repeated Id in truth.csv"),
        ("Id,Target\nid-3,0 28\n", "label '28'"),
    ],
)
def test_score_refuses_what_kaggle_would_score_as_nonsense(tmp_path, truth, words):
    paths = write_text(tmp_path / "mine.csv", GOOD), write_text(tmp_path / "truth.csv", truth)
    with pytest.raises(ValueError, match=words):
        submission.score(*paths)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["id-3", "id-1", "id-2", "id-2"], "1 repeated Id in the predictions, first id-2"),
        (["id-3", "id-1", "id-2", "id-5"], "first id-0"),
        (["id-3", "id-1", "id-2"], "3 ids for 4 rows"),
    ],
)
def test_a_table_of_other_images_is_refused(ids, words):
    with pytest.raises(ValueError, match=words):
        submission.make_table(np.array(ids), np.ones((4, NUM_LABELS)), IDS)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("Id,Predicted", " id , PREDICTED "),
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        "Predicted,Id\n" + "".join(f"0,{image_id}\n" for image_id in IDS),
        "Id,Predicted\n" + "".join(f'"{image_id}","0"\n' for image_id in IDS),
        "Id,Predicted\n" + "".join(f"{image_id},\n" for image_id in IDS),
        "Id,Predicted,Usage\n" + "".join(f"{image_id},99,Public\n" for image_id in IDS),
        GOOD + "id-0,0\n",
    ],
    ids=["mark", "crlf", "header", "semicolons", "tabs", "order", "quotes", "no labels", "columns", "repeat"],
)
def test_a_sample_of_any_program_gives_the_ids_and_their_order(tmp_path, content):
    path = write_text(tmp_path / "sample_submission.csv", content)
    assert submission.read_ids(path).tolist() == IDS.tolist()
    assert submission.check(write_text(tmp_path / "mine.csv", GOOD), path) == []


def test_the_competitions_own_sample_passes(real_samples, tmp_path):
    sample = real_samples / "sample_submission.csv"
    ids = submission.read_ids(sample)
    assert len(ids) == 11702 and submission.check(sample, sample) == []
    mine = pd.read_csv(sample, dtype=str)
    mine.sort_values("Id", ascending=False).to_csv(tmp_path / "reversed.csv", index=False)
    assert "another order" in submission.check(tmp_path / "reversed.csv", sample)[0]


def test_dropped_images_get_the_commonest_label_set():
    preds = np.zeros((2, 28), np.uint8)
    preds[:, [3, 5]] = 1
    table = submission.make_table(np.array(["a", "c"]), preds, np.array(["a", "b", "c"]), ["b"], "0 25")
    assert table["Predicted"].tolist() == ["3 5", "0 25", "3 5"]
    again = submission.make_table(np.array(["c", "a", "b"]), preds[[0, 0, 1]], np.array(["a", "b", "c"]), ["b"], "0")
    assert again["Predicted"].tolist() == ["3 5"] * 3  # an image that was predicted keeps its own labels
    with pytest.raises(ValueError, match="1 image of the sample missing in the predictions, first d"):
        submission.make_table(np.array(["a"]), preds[:1], np.array(["a", "b", "d"]), ["b"], "0")


def test_the_commonest_set_is_a_whole_set():
    labels = np.zeros((5, 28), np.uint8)
    labels[:2, 0], labels[2:, [2, 16]] = 1, 1
    assert submission.commonest_set(labels) == "2 16"


def test_of_two_commonest_sets_the_one_of_more_frequent_labels_is_taken():
    labels = np.stack([atlas.parse_target(target) for target in ("27", "27", "3", "3", "3 4", "0 27 5", "3 5")])
    assert submission.commonest_set(labels) == "3"
    labels = np.stack([atlas.parse_target(target) for target in ("0 1", "0 1", "3", "3", "3 4")])
    assert submission.commonest_set(labels) == "3"  # the mean counts: a large set does not win by its size


def test_several_files_are_written_in_the_samples_order_with_a_row_for_dropped_images(tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    fake_runs.write_out(out, data, num_images=60)
    ids = submission.read_ids(data / "sample_submission.csv")
    preds = np.eye(len(ids) - 1, NUM_LABELS, dtype=np.uint8)
    description = store.load_json(out, "data/dataset.json")
    store.save_json(out, "data/dataset.json", description | {"test_images": len(preds)})
    files = {"submission.csv": preds, "runs/a/submission.csv": 1 - preds}
    assert submission.write_all(out, data, ids[:0:-1], files, "7") == [ids[0]]
    for name in files:
        assert submission.check(out / name, data / "sample_submission.csv") == []
    table = store.load_table(out, "submission.csv")
    assert table["Id"].tolist() == ids.tolist() and table["Predicted"].tolist()[::-1] == [
        *map(str, range(len(preds))),
        "7",
    ]
    (data / "sample_submission.csv").write_text("Id,Predicted\nother,0\n")
    with pytest.raises(ValueError, match="has changed since notebook 00 read it"):
        submission.write_all(out, data, ids[1:], files, "7")


def test_what_notebook_00_left_out_is_what_the_runs_did_not_predict():
    sample = np.array(["a", "b", "c"])
    assert submission.list_dropped(np.array(["c", "a"]), sample, 2) == ["b"]
    assert submission.list_dropped(sample, sample, 3) == []
    with pytest.raises(ValueError, match="predicted 3 test images, but notebook 00 found 2: train them again"):
        submission.list_dropped(sample, sample, 2)
    with pytest.raises(ValueError, match="predicted 1 test image that the sample lacks, first z: train them again"):
        submission.list_dropped(np.array(["z", "a"]), sample, 2)  # test images were exchanged, as many as before


def test_the_public_and_the_private_part_are_all_images_and_the_same_for_every_submission(tmp_path):
    labels = (np.random.default_rng(0).random((300, NUM_LABELS)) < np.geomspace(0.5, 0.02, NUM_LABELS)).astype(np.uint8)
    ids = np.array([f"id-{number}" for number in range(len(labels))])
    truth = submission.make_table(ids, labels, ids).rename(columns={"Predicted": "Target"})
    truth_path = store.save_table(tmp_path, "truth.csv", truth)
    scores = {}
    for name, preds in {"right": labels, "first": np.eye(NUM_LABELS, dtype=np.uint8)[[0] * len(ids)]}.items():
        path = store.save_table(tmp_path, f"{name}.csv", submission.make_table(ids, preds, ids))
        assert "public" not in submission.score(path, truth_path, draws=20)
        scores[name] = submission.score(path, truth_path, draws=20, public=submission.PUBLIC)
        whole = submission.score(path, truth_path, draws=20)
        assert scores[name] == whole | {part: scores[name][part] for part in ("public", "private")}
    public, private = (scores["right"][part] for part in ("public", "private"))
    assert public["num_images"] + private["num_images"] == 300 and public["num_images"] == pytest.approx(87, abs=3)
    assert public["macro_f1"] == private["macro_f1"] == 1  # every class is in both parts
    is_public = splits.make_holdout(labels, np.arange(len(ids)), 0.29, seed=0)
    for part, rows in (("public", is_public), ("private", ~is_public)):
        share = labels[rows, 0].mean()
        assert scores["first"][part]["macro_f1"] == pytest.approx(2 * share / (1 + share) / NUM_LABELS)
    table = submission.score_table(scores).set_index("submission")
    assert table.loc["first", "private macro_f1"] == scores["first"]["private"]["macro_f1"]
    assert table.loc["right", ["low", "public num_images"]].tolist() == [scores["right"]["low"], public["num_images"]]
    with pytest.raises(ValueError, match="use a number between 0 and 1"):
        submission.score(tmp_path / "right.csv", truth_path, draws=20, public=1.5)
