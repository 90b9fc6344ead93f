"""A table of any model's probabilities becomes a run; ten bad tables are refused in a sentence, and leave nothing."""

import hashlib
import shutil

import fake_runs
import numpy as np
import pandas as pd
import pytest

from hpa_lib import __main__, atlas, locks, store
from hpa_lib.decisions import foreign_runs


@pytest.fixture
def run_set(tmp_path):
    out = tmp_path / "out"
    fake_runs.write_out(out, tmp_path / "data", num_images=120)
    return out


@pytest.fixture
def table(run_set):
    """Random probabilities of every image, training images too, with the classes by number."""
    ids = np.array([f"{number:08x}-fake" for number in range(120)])
    probs = np.random.default_rng(0).random((120, 28)).round(3)
    return pd.DataFrame(probs, columns=[str(label) for label in range(28)]).assign(Id=ids)


def write(folder, table, **options):
    table.to_csv(folder / "probs.csv", index=False, **options)
    return folder / "probs.csv"


def test_the_parts_are_told_apart_by_the_split(run_set, table, tmp_path):
    images = foreign_runs.add(run_set, "resnet50", write(tmp_path, table))
    assert "resnet50" in store.list_runs(run_set)
    known, _, _, folds = store.load_split(run_set)
    ids, probs = store.load_probs(run_set, "resnet50", "holdout")
    assert set(ids) == set(known[folds == -1]) and images["holdout"] == len(ids)
    assert images["val"] == (folds == 0).sum()
    wanted = table.set_index("Id").loc[ids, [str(label) for label in range(28)]]
    np.testing.assert_allclose(probs, wanted, atol=1e-6)
    theirs = store.load_probs(run_set, "densenet-rgby-none", "test")[0]
    assert set(store.load_probs(run_set, "resnet50", "test")[0]) == set(theirs)
    assert set(foreign_runs.read(tmp_path / "probs.csv")[0]) == set(table["Id"])


def test_class_names_in_any_order_and_excels_form_are_read(run_set, table, tmp_path):
    expected = foreign_runs.read(write(tmp_path, table))
    named = table.rename(columns={str(label): name for label, name in enumerate(atlas.LABELS)})
    named = named[sorted(named.columns)]
    for options in ({}, {"sep": ";", "decimal": ",", "encoding": "utf-8-sig"}, {"sep": "\t", "lineterminator": "\r\n"}):
        found = foreign_runs.read(write(tmp_path, named, **options))
        assert (found[0] == expected[0]).all()
        np.testing.assert_allclose(found[1], expected[1])


def replaced(table, value):
    changed = table.astype(object)
    changed.iloc[5, 3] = value
    return changed


BAD = {
    "not there": (lambda table: None, "cannot be read"),
    "no rows": (lambda table: table[:0], "has no rows"),
    "a class is missing": (lambda table: table.drop(columns="7"), r"has no columns Golgi apparatus \(or 7\)"),
    "a class twice": (lambda table: table.assign(Nucleoplasm=0), r"has 2 columns Nucleoplasm \(or 0\)"),
    "no Ids": (lambda table: table.rename(columns={"Id": "image"}), "has no columns Id"),
    "an Id twice": (lambda table: pd.concat([table, table[:1]]), "1 Ids occur more than once, first '00000000-fake'"),
    "an empty Id": (lambda table: table.assign(Id=table["Id"].where(table.index != 3, "")), "row 4 has no Id"),
    "a word": (lambda table: replaced(table, "high"), "'high' of '00000005-fake', Nucleoli fibrillar.*, is no number"),
    "an empty cell": (lambda table: replaced(table, ""), "'' of '00000005-fake', .*, is no number"),
    "not a number": (lambda table: replaced(table, "nan"), "1 cells are no probabilities .* first nan"),
    "logits": (lambda table: replaced(table, -2.5), "1 cells .* first -2.5 .* look like logits, apply the sigmoid"),
    "above 1": (
        lambda table: replaced(table.assign(**{"9": 0}), 1.5),
        "1 cells are no .* first 1.5 of '[0-9a-f]*-fake', [^:]*$",
    ),
    "images missing": (lambda table: table[:60], r"images of .* have no row in .*: give probabilities for all of them"),
    "other images": (lambda table: table.assign(Id="x" + table["Id"]), "120 Ids are in neither the split nor the test"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_and_leaves_nothing(run_set, table, tmp_path, capsys, name):
    change, told = BAD[name]
    changed = change(table)
    path = tmp_path / "probs.csv" if changed is None else write(tmp_path, changed)
    with pytest.raises(ValueError, match=told):
        foreign_runs.add(run_set, "resnet50", path)
    assert not (run_set / "runs" / "resnet50").exists()
    assert __main__.main(["add-run", "resnet50", str(path), "--out", str(run_set)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_taken_name_is_kept_unless_asked(run_set, table, tmp_path, capsys):
    path, command = write(tmp_path, table), ["add-run", "densenet-rgby-none"]
    command += [str(path), "--out", str(run_set)]
    before = (run_set / "runs" / "densenet-rgby-none" / "probs_val.npz").read_bytes()
    assert __main__.main(command) == 2 and "--replace to write over it" in capsys.readouterr().err
    assert (run_set / "runs" / "densenet-rgby-none" / "probs_val.npz").read_bytes() == before
    assert __main__.main([*command, "--replace"]) == 0
    assert "next: hpa run --only 05,06,08,07" in capsys.readouterr().out
    assert (run_set / "runs" / "densenet-rgby-none" / "probs_val.npz").read_bytes() != before
    assert __main__.main(["add-run", "x", str(path), "--out", str(run_set), "--fold", "9"]) == 2
    assert "fold 9 has no images: use one of 0, 1" in capsys.readouterr().err


def test_what_is_no_text_or_has_a_short_row_is_refused(tmp_path, table):
    path = write(tmp_path, table)
    path.write_text(path.read_text() + "x,0.5\n")
    with pytest.raises(ValueError, match="the row of 'x' has 2 cells, the first line 29"):
        foreign_runs.read(path)
    path.write_bytes(b"Id,\xff\xfe\n")
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        foreign_runs.read(path)


def test_a_second_table_of_a_name_needs_replace_and_leaves_nothing_of_the_first(run_set, table, tmp_path):
    path = write(tmp_path, table)
    foreign_runs.add(run_set, "resnet50", path)
    (run_set / "runs" / "resnet50" / "old.png").touch()
    with pytest.raises(ValueError, match="has a run resnet50 already"):
        foreign_runs.add(run_set, "resnet50", path)
    foreign_runs.add(run_set, "resnet50", path, replace=True)
    assert not (run_set / "runs" / "resnet50" / "old.png").exists()


def test_its_record_has_the_entries_of_a_networks_and_says_where_it_is_from(run_set, table, tmp_path):
    path = write(tmp_path, table)
    foreign_runs.add(run_set, "resnet50", path, fold=1)
    record = store.load_json(run_set, "runs/resnet50/result.json")
    wanted = {"run": "resnet50", "model": "resnet50", "weights": "a table of probabilities", "fold": 1, "seed": 0}
    wanted |= {"recipe": "", "tta": 1, "best_epoch": 0, "seconds": 0, "images_per_second": 0, "synthetic": True}
    assert {key: record[key] for key in wanted} == wanted and record["split"] == store.split_digest(run_set)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(record["settings"]["sha256"]) == 16 and digest.startswith(record["settings"]["sha256"])


def test_the_test_images_are_those_of_the_first_run_or_of_the_sample_or_none(run_set, table, tmp_path):
    path, known = write(tmp_path, table), set(store.load_probs(run_set, "densenet-rgby-none", "test")[0])
    description = store.load_json(run_set, "data/dataset.json")
    shutil.rmtree(run_set / "runs")
    foreign_runs.add(run_set, "a", path)
    assert set(store.load_probs(run_set, "a", "test")[0]) == known
    foreign_runs.add(run_set, "b", path)  # a's are the only stored ones
    assert set(store.load_probs(run_set, "b", "test")[0]) == known
    shutil.rmtree(run_set / "runs")
    dropped = sorted(known)[:2]
    store.save_json(run_set, "data/dataset.json", description | {"dropped": {"test": dropped}})
    kept = table[~table["Id"].isin(dropped)]
    assert foreign_runs.add(run_set, "c", write(tmp_path, kept))["test"] == len(known) - 2
    known_ids, *_ = store.load_split(run_set)
    store.save_json(run_set, "data/dataset.json", description | {"test_images": 0})
    rows = table[table["Id"].isin(known_ids)]
    assert "test" not in foreign_runs.add(run_set, "d", write(tmp_path, rows))


def test_a_trained_network_is_not_written_over(run_set, table, tmp_path):
    folder = run_set / "runs" / "densenet-rgby-none"
    (folder / "model.keras").write_bytes(b"hours of training")
    before = sorted(folder.iterdir())
    with pytest.raises(ValueError, match="densenet-rgby-none of .* is a trained network: give another name"):
        foreign_runs.add(run_set, "densenet-rgby-none", write(tmp_path, table), replace=True)
    assert sorted(folder.iterdir()) == before


def test_without_a_holdout_notebook_06_finds_an_empty_part(table, tmp_path):
    fake_runs.write_out(tmp_path / "out", tmp_path / "data", num_images=120, holdout=0)
    assert "holdout" not in foreign_runs.add(tmp_path / "out", "resnet50", write(tmp_path, table))
    assert store.load_probs(tmp_path / "out", "resnet50", "holdout")[1].shape == (0, 28)


@pytest.mark.parametrize("command", [["add-run", "resnet50", "probs.csv", "--out"], ["report"]])
def test_a_run_set_in_use_is_left_alone(run_set, table, tmp_path, capsys, monkeypatch, command):
    write(tmp_path, table)
    monkeypatch.chdir(tmp_path)
    with locks.step(run_set, "07_report"), locks.step(run_set, "", "resnet50"):
        assert __main__.main([*command, str(run_set)]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert not (run_set / "runs" / "resnet50").exists() and not (run_set / "report.html").exists()
