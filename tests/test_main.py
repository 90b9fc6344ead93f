import argparse
import functools
import hashlib
import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading
import tomllib

import nbformat
import pandas as pd
import pytest
from fake_runs import write_out
from throwaway import write_notebook
from throwaway_study import write_study

import hpa_synth.__main__
from hpa_lib import __main__, paths, store
from hpa_lib.commands import run
from hpa_lib.running import plan, profiles


@pytest.fixture
def hpa(capfd):
    """A factory: run one command line in this process; the exit code, stdout's text and stderr's lines."""

    def run(*arguments):
        code = __main__.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def study(tmp_path):
    """The first arguments of `hpa run` for a folder of throw-away notebooks 00 to 08 with the real ones' parameters."""
    for real in sorted((paths.PROJECT / "notebooks").glob("0[0-8]*_*.ipynb")):
        cells = nbformat.read(real, as_version=4).cells
        (parameters,) = (cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
        number = real.name.partition("_")[0]
        write_notebook(tmp_path / "notebooks" / f"{number}_x.ipynb", "print(OUT)", parameters=parameters)
    return ["run", "--notebooks", tmp_path / "notebooks", "--out", tmp_path / "out"]


def refused(result, *words):
    code, out, errors = result
    assert code == 2 and out == "" and len(errors) == 1, result
    assert all(word in errors[0] for word in words), errors


def test_wrong_requests_are_refused_in_one_sentence_before_anything_starts(hpa, study, tmp_path):
    refused(hpa(*study, "-p", "EPOCS", "1"), "EPOCS", "did you mean EPOCHS?")
    refused(hpa(*study, "-p", "EPOCHS", "many"), "EPOCHS = 'many'", "type int")
    refused(hpa(*study, "--only", "09"), "no step '09'")
    refused(hpa(*study, "--profile", "dmeo"), "unknown profile 'dmeo'", "demo, course, kaggle")
    refused(hpa(*study, "--data", tmp_path / "nowhere"), "nowhere is not there")
    refused(hpa(*study, "-p", "OUT", "x"), "--out DIR")
    refused(hpa(*study, "-p", "EPOCHS", "1", "-p", "EPOCHS", "2"), "-p EPOCHS is given twice")
    refused(hpa(*study, "--only", "02", "-p", "RUN", "x"), "02_densenet_study, 02_densenet_class_weights", "--only")
    assert hpa(*study, "--only", "03_resnet18_study,05,08", "-p", "RUN", "x", "--dry-run")[0] == 0  # trained, looked at
    refused(hpa("run", "--notebooks", tmp_path / "nowhere"), "found none")
    assert not (tmp_path / "out").exists()


def test_a_notebooks_name_chooses_its_steps(hpa, study):
    code, out, _ = hpa(*study, "--only", "05_x", "--dry-run")
    assert code == 0 and out.startswith("05_thresholds: ") and len(out.splitlines()) == 1


def test_a_grid_file_is_a_profile(hpa, tmp_path):
    grid = write_study(tmp_path)
    arguments = ["run", "--profile", grid, "--notebooks", tmp_path / "notebooks", "--dry-run"]
    code, out, _ = hpa(*arguments)
    assert code == 0 and len(out.splitlines()) == 9 and f"'OUT': '{tmp_path / 'out'}'" in out
    code, out, _ = hpa(*arguments, "--only", "03_resnet18-rgby-study-fold1")
    assert code == 0 and out.startswith("03_resnet18-rgby-study-fold1: 03_train_resnet18.ipynb")
    refused(hpa("run", "--profile", tmp_path / "nowhere.yml"), "nowhere.yml cannot be used")


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_data_that_is_not_there_is_refused_before_anything_starts(hpa, study, tmp_path, monkeypatch, arguments):
    foo = tmp_path / "synthetic-foo"
    refused(hpa(*study, *arguments, "--data", foo), f"{foo} is not there", "'foo'", "synthetic-quick")
    foo.mkdir()
    refused(hpa(*study, *arguments, "--data", foo), str(foo), "'foo'", "synthetic-quick")
    monkeypatch.setenv("HPA_DATA", str(tmp_path / "nowhere"))
    refused(hpa(*study, *arguments, "--profile", "kaggle"), "nowhere is not there", "HPA_DATA")
    monkeypatch.setenv("HPA_DATA", str(foo))
    refused(hpa(*study, *arguments, "--profile", "kaggle"), "'foo'")
    assert not (tmp_path / "out").exists()


def test_data_named_by_a_relative_path_is_the_same_for_the_notebooks(hpa, study, tmp_path, monkeypatch):
    """A kernel works in the folder of the notebooks, so what it gets must be absolute."""
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data" / "train.csv").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPA_DATA", "my data/")
    code, out, _ = hpa(*study, "--profile", "kaggle", "--only", "00", "--dry-run")
    assert code == 0 and f"'DATA': '{tmp_path / 'my data'}'" in out


def test_a_quoted_tilde_is_the_home_folder(hpa, tiny_dataset, tmp_path, monkeypatch):
    tiny_dataset("data")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, _ = hpa("check", "~/data", "--quick", "--out", "~/out")
    assert code == 0 and out.endswith("0 of them to be fixed\n")


@pytest.mark.parametrize("folder", ["a file", "a file/out"])
def test_a_folder_that_cannot_be_made_is_one_sentence_without_error_numbers(hpa, study, tmp_path, folder):
    (tmp_path / "a file").touch()
    code, _, errors = hpa(*study[:3], "--out", tmp_path / folder, "--only", "05")
    assert code == 2 and len(errors) == 1
    assert "Errno" not in errors[0] and f"{tmp_path}/a file" in errors[0] and errors[0].count(": ") == 2


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_settings_that_cannot_work_are_refused_before_anything_starts(hpa, study, tmp_path, monkeypatch, arguments):
    refused(hpa(*study, *arguments, "-p", "SEED", "-1"), "parameter SEED = -1: use a number from 0 to 4294967295")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    refused(hpa(*study, *arguments), "the Keras backend 'torch' (KERAS_BACKEND) is not supported")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused(hpa(*study, *arguments), "the Keras backend 'jax' is not installed: pip install jax")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def made_of(tmp_path):
    """A factory: let the run set say that notebook 00 made it of this folder."""

    def write(data, **more):
        from hpa_lib.data import kaggle

        digest = kaggle.fingerprint(data) if data.is_dir() else "0"
        store.save_json(tmp_path / "out", "data/dataset.json", {"path": data, "data_hash": digest, **more})

    return write


def test_a_later_step_reads_the_data_that_its_run_set_was_made_of(hpa, study, tiny_dataset, made_of):
    data = tiny_dataset()
    made_of(data)
    for given in ((), ("--data", data)):
        for profile in ("demo", "kaggle"):
            code, out, errors = hpa(*study, "--only", "06", "--profile", profile, "--dry-run", *given)
            assert code == 0 and f"'DATA': '{data}'" in out, errors


def test_other_data_than_the_run_sets_is_refused_unless_00_makes_it_anew(hpa, study, tiny_dataset, made_of, tmp_path):
    data, other = tiny_dataset(), tiny_dataset("other", seed=1)
    made_of(data)
    for step in ("02", "06"):
        result = hpa(*study, "--only", step, "--data", other, "--dry-run")
        refused(result, f"{tmp_path / 'out'} was made of {data}", f"not of {other}", "run 00_data.ipynb")
    code, out, _ = hpa(*study, "--only", "00,06", "--data", other, "--dry-run")
    assert code == 0 and out.count(f"'DATA': '{other}'") == 2


def test_a_run_sets_data_may_have_moved(hpa, study, tiny_dataset, made_of, tmp_path):
    data = tiny_dataset()
    made_of(data)
    moved = data.rename(tmp_path / "moved")
    refused(hpa(*study, "--only", "06", "--dry-run"), f"{data} is not there", "--data")
    code, out, _ = hpa(*study, "--only", "06", "--data", moved, "--dry-run")
    assert code == 0 and f"'DATA': '{moved}'" in out
    assert hpa(*study, "--only", "07", "--dry-run")[0] == 0  # reads no data


def test_archives_named_again_are_the_run_sets_data(hpa, study, tmp_path):
    (tmp_path / "download").mkdir()
    (tmp_path / "download" / "train.zip").touch()
    store.save_json(tmp_path / "out", "data/dataset.json", {"path": tmp_path / "download", "data_hash": "0"})
    for given in ((), ("--data", tmp_path / "download")):
        code, out, errors = hpa(*study, "--only", "06", *given, "--dry-run")
        assert code == 0 and f"'DATA': '{tmp_path / 'download'}'" in out, errors


def test_a_damaged_description_of_the_data_is_one_sentence(hpa, study, tmp_path):
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "data" / "dataset.json").write_text('{"images": 3}')
    refused(hpa(*study, "--only", "06", "--dry-run"), "dataset.json does not name the data", "run 00_data.ipynb")
    (tmp_path / "out" / "data" / "dataset.json").write_text("{")
    refused(hpa(*study, "--only", "06", "--dry-run"), "dataset.json is damaged", "run 00_data.ipynb")
    assert hpa(*study, "--only", "00", "--dry-run")[0] == 0  # it is made anew


def test_a_set_of_an_older_generator_is_refused(hpa, study, tiny_dataset):
    data = tiny_dataset()
    (data / "synthetic.json").write_text('{"settings": {"version": "1.1"}}')
    refused(hpa(*study, "--data", data, "--dry-run"), str(data), "version 1.1", hpa_synth.VERSION, "delete")
    (data / "synthetic.json").write_text(json.dumps({"settings": {"version": hpa_synth.VERSION}}))
    assert hpa(*study, "--data", data, "--dry-run")[0] == 0


def test_a_run_stopped_early_says_so(hpa, study, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hpa_lib.running.runner.started_kernel", interrupt)
    code, _, errors = hpa(*study, "--only", "01")
    assert code == 130 and len(errors) == 1
    assert errors[0].startswith("hpa: 01_eda interrupted before its first cell: ")


def test_the_kaggle_profile_does_not_fall_back_on_drawn_data(hpa, study, monkeypatch):
    monkeypatch.delenv("HPA_DATA", raising=False)
    monkeypatch.setattr(paths, "find_data", lambda _: (paths.DEFAULT_DATA, "synthetic default"))
    refused(
        hpa(*study, "--profile", "kaggle", "--dry-run"), "profile kaggle is for Kaggle's data", "--data or HPA_DATA"
    )


def test_missing_subcommand_is_bad_usage():
    for arguments in ([], ["run", "--nonsense"], ["submission"], ["synth"]):
        with pytest.raises(SystemExit) as stop:
            __main__.main(arguments)
        assert stop.value.code == 2


def test_01_and_01b_are_two_notebooks(hpa, study):
    for only, step in (("01", "01_eda"), ("1", "01_eda"), ("01b", "01b_classical")):
        code, out, _ = hpa(*study, "--dry-run", "--only", only)
        assert code == 0 and [line.partition(":")[0] for line in out.splitlines()] == [step]


def test_dry_run_shows_the_plan_and_starts_nothing(hpa, study, tmp_path):
    code, out, _ = hpa(*study, "--dry-run", "--only", "02", "-p", "EPOCHS", "1")
    assert code == 0 and len(out.splitlines()) == len([s for s in profiles.DEMO["steps"] if s[1] == "02"])
    assert "'EPOCHS': 1" in out and str(tmp_path / "out") in out
    assert not (tmp_path / "out").exists()


def test_run_ends_with_the_stored_table_and_the_paths(hpa, study, tmp_path):
    tables = tmp_path / "out" / "tables"
    tables.mkdir(parents=True)
    (tables / "summary.csv").write_text("run,macro_f1\ndensenet-none,0.12345\n")
    (tmp_path / "out" / "report.html").write_text("")
    code, out, errors = hpa(*study, "--only", "07")
    assert code == 0 and errors == []
    assert "densenet-none     0.123" in out and str(tmp_path / "out" / "report.html") in out
    assert "submission" not in out  # there is none


def test_failed_run_is_one_sentence_and_exit_code_1(hpa, study, tmp_path):
    write_notebook(tmp_path / "notebooks" / "00_x.ipynb", "raise ValueError('no such thing')")
    code, _, errors = hpa(*study)
    assert code == 1 and len(errors) == 1 and "00_data failed in cell cell-0: ValueError: no such thing" in errors[0]


def test_killed_run_is_one_sentence_and_exit_code_1(study, tmp_path):
    source = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    write_notebook(tmp_path / "notebooks" / "01_x.ipynb", source, parameters='OUT: str = ""  # folder')
    command = [sys.executable, "-m", "hpa_lib", *map(str, study), "--only", "01"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "killed" in done.stderr and "01_eda.ipynb" in done.stderr


def test_environment_names_the_data_only_where_the_profile_searches(hpa, study, tmp_path, monkeypatch):
    monkeypatch.setenv("HPA_DATA", str(tmp_path))
    assert str(paths.DEFAULT_DATA) in hpa(*study, "--dry-run")[1]
    assert f"'DATA': '{tmp_path}'" in hpa(*study, "--dry-run", "--profile", "kaggle", "--only", "00")[1]


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_profiles_fit_the_notebooks(name):
    profile = profiles.PROFILES[name]
    steps = plan.make_plan(profile["steps"], paths.PROJECT / "notebooks", fixed=profile["shared"])
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    used = set().union(*(step.parameters for step in steps))
    assert set(profile["shared"]) <= used


def test_check_tells_findings_by_the_exit_code(hpa, tiny_dataset, tmp_path):
    data = tiny_dataset()
    assert hpa("check", data)[0] == 0
    next((data / "train").glob("*_red.png")).unlink()
    code, out, _ = hpa("check", data)
    assert code == 1 and "red missing" in out
    assert hpa("check", tmp_path / "nowhere")[0] == 1


def test_notes_count_only_when_strict(hpa, tiny_dataset):
    data = tiny_dataset()
    (data / "sample_submission.csv").unlink()
    code, out, _ = hpa("check", data)
    assert code == 0 and "note: sample_submission.csv" in out
    assert hpa("check", data, "--strict")[0] == 1


def test_synth_score_and_submission_check_work_together(hpa, tmp_path):
    data = tmp_path / "data"
    assert hpa("synth", data, "--images", "28", "--size", "64", "--workers", "1")[0] == 0
    truth, sample = next((data / "truth").glob("*.csv")), data / "sample_submission.csv"
    assert hpa("submission", "check", sample, sample)[0] == 0
    code, out, _ = hpa("score", sample, truth)
    assert code == 0 and "macro F1" in out and "Nucleoplasm" in out and "public" not in out
    parts = hpa("score", sample, truth, "--public", "0.5")[1].splitlines()[1:3]
    assert [line.split()[0] for line in parts] == ["public", "private"]
    refused(hpa("score", sample, truth, "--public", "29"), "--public 29.0: use a share")
    short = tmp_path / "short.csv"
    short.write_text("".join(sample.read_text().splitlines(keepends=True)[:-1]))
    code, out, _ = hpa("submission", "check", short, sample)
    assert code == 1 and len(out.splitlines()) == 1
    refused(hpa("score", short, truth))
    refused(hpa("synth", tmp_path / "other", "--size", "3"), "size 3 px")


def test_synth_takes_the_generators_own_arguments(capsys):
    pages = []
    for show in (lambda: __main__.main(["synth", "--help"]), lambda: hpa_synth.__main__.draw(["--help"], "hpa synth")):
        with pytest.raises(SystemExit) as stop:
            show()
        assert stop.value.code == 0
        pages.append(capsys.readouterr().out)
    assert pages[0] == pages[1] and "usage: hpa synth" in pages[0]


def test_weights_says_what_is_missing_and_where_to_put_it(hpa, tmp_path, monkeypatch):
    monkeypatch.setenv("HPA_WEIGHTS", str(tmp_path))
    code, out, _ = hpa("weights")
    assert code == 0 and "resnet18" in out and "inception_v2" in out


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a local HTTP server for the files of ``tmp_path/public``."""
    (tmp_path / "public").mkdir()
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "public"))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def test_weights_are_fetched_where_they_are_looked_for(hpa, server, tmp_path, monkeypatch):
    from hpa_lib.models import weights

    monkeypatch.setenv("HPA_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "nowhere")
    content = b"not really weights, and held by its checksum alone"
    (tmp_path / "public" / "file.h5").write_bytes(content)
    source = {
        "files": ("file.h5",),
        "address": f"{server}/file.h5",
        "checksum": "md5:" + hashlib.md5(content).hexdigest(),
    }
    gone = {"files": ("gone.tar.gz",), "address": f"{server}/gone.tar.gz"}
    monkeypatch.setattr(weights, "SOURCES", {"inception_v2": gone, "densenet121": source})
    code, out, errors = hpa("weights", "--fetch")  # the one that fails does not keep the other from being fetched
    assert code == 2 and out == f"densenet121: {tmp_path / 'weights' / 'file.h5'}\n"
    assert len(errors) == 1 and f"{server}/gone.tar.gz cannot be downloaded (HTTP Error 404" in errors[0]
    assert [path.read_bytes() for path in (tmp_path / "weights").iterdir()] == [content]
    (tmp_path / "public" / "file.h5").unlink()
    assert hpa("weights", "--fetch", "densenet121")[:2] == (0, out)  # it is here: the network is not asked
    refused(hpa("weights", "--fetch", "densenet"), "'densenet' has no public weights: use one of")
    (tmp_path / "weights" / "file.h5").unlink()
    (tmp_path / "public" / "file.h5").write_bytes(b"damaged on the way")
    refused(hpa("weights", "--fetch", "densenet121"), "has md5", "fetch it again")
    assert not list((tmp_path / "weights").iterdir())


def test_version_names_the_package_and_the_commit(hpa, monkeypatch):
    version = tomllib.loads((paths.PROJECT / "pyproject.toml").read_text())["project"]["version"]
    for commit, more in (("0123abc+changes", " (commit 0123abc+changes)"), (None, "")):
        monkeypatch.setattr("hpa_lib.provenance.commit", lambda commit=commit: commit)
        assert hpa("--version") == (0, f"hpa-kit {version}{more}\n", [])


def test_help_of_run_shows_every_default(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["run", "--help"])
    options = re.split(r"\n  (?=-)", capsys.readouterr().out)[2:]  # after the usage and -h
    assert len(options) == 13
    without = {option.split()[0] for option in options if "default:" not in option}
    assert without == {"--dry-run", "--resume", "--end-with-parent"}  # what is either said or not


def test_runs_lists_the_best_first_and_what_is_not_finished_or_stale(hpa, tmp_path):
    write_out(tmp_path / "out", tmp_path / "data", num_images=400)
    stored = store.load_json(tmp_path / "out", "runs/densenet-rgby-none/result.json")
    stored |= {"val_macro_ap": 0.99, "val_macro_f1": 0.5, "best_epoch": 3, "epochs": 4, "seconds": 90, "split": "other"}
    store.save_json(tmp_path / "out", "runs/densenet-rgby-none/result.json", stored)
    history = [{"epoch": epoch, "val_macro_ap": epoch / 100, "val_macro_f1": 0, "seconds": 60} for epoch in (1, 2, 3)]
    settings = {"model": "resnet18", "epochs": 9, "split": store.split_digest(tmp_path / "out")}
    state = {"settings": settings, "epoch": 3, "best_epoch": 2, "finished": False, "history": history}
    store.save_json(tmp_path / "out", "runs/begun/checkpoints/state.json", state)
    code, out, errors = hpa("runs", tmp_path / "out")
    lines = [line.split(maxsplit=7) for line in out.splitlines()[1:]]
    assert code == 0 and [line[0] for line in lines] == [
        "densenet-rgby-none", "inception_v2-rgby-log", "resnet18-rgby-none", "begun",
    ]  # fmt: skip
    assert lines[0][1:] == ["densenet", "4", "3", "0.990", "0.500", "1.5", "stale: another split"]
    assert 0.9 > float(lines[1][2]) > float(lines[2][2]) > 0.3  # a table of probabilities brings no score of its own
    assert lines[3][1:] == ["resnet18", "9", "2", "0.020", "3.0", "unfinished:", "epoch 3"]


def test_runs_shows_the_tuned_score_of_runs_that_have_not_changed_since(hpa, tmp_path):
    out = tmp_path / "out"
    write_out(out, tmp_path / "data", num_images=400)
    runs = store.list_runs(out)
    store.save_json(out, "decisions/thresholds.json", {"recommended": "grid", "runs": store.digest_runs(out, runs)})
    rows = [[run, name, score, "hold-out"] for run in runs for name, score in (("half", 0.1), ("grid", 0.777))]
    table = pd.DataFrame(rows, columns=["run", "name", "macro_f1", "judged_on"])
    store.save_table(out, "tables/thresholds.csv", table)
    assert hpa("runs", out)[1].count("0.777") == len(runs)
    ids, probs = store.load_probs(out, runs[0], "val")
    store.save_probs(out, runs[0], "val", ids, 1 - probs)
    assert hpa("runs", out)[1].count("0.777") == len(runs) - 1


def test_report_of_a_run_set_without_thresholds_names_the_notebook(hpa, tmp_path):
    out = tmp_path / "out"
    write_out(out, tmp_path / "data", num_images=400)
    refused(hpa("report", out), "thresholds.json is not there: run 05_threshold_tuning.ipynb")
    refused(hpa("report", out, "--bootstrap", "0"), "--bootstrap 0: use 1 resample or more")


def test_runs_of_an_empty_run_set_is_one_sentence(hpa, tmp_path):
    refused(hpa("runs", tmp_path), f"no run in {tmp_path}: run 00_data.ipynb and 02")


def test_help_needs_no_heavy_import():
    script = "import sys; from hpa_lib import __main__ as m; m.make_parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "hpa_synth", "keras", "tensorflow", "papermill"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [("MAP", "umap", "'umap': use pca or tsne"), ("FIELDS", -1, "-1: use a number from 0"), ("COVERED", 0, "0: use a")],
)
def test_what_notebook_08_could_not_use_is_refused_before_it_starts(hpa, study, tmp_path, name, value, remedy):
    (tmp_path / "out").mkdir()
    refused(hpa(*study, "--only", "08", "-p", name, value), f"parameter {name} = {remedy}")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("trained", "again"), [("resnet18-rgby-study", "goes on from the last finished epoch"), ("", "runs it again")]
)
def test_an_interrupted_step_says_what_the_same_command_does(monkeypatch, capsys, tmp_path, trained, again):
    error = {"name": "Interrupted", "message": "stopped by Ctrl-C or a signal", "cell": "fit"}
    record = {"step": "a_step", "run": trained, "status": "interrupted", "error": error}
    monkeypatch.setattr(run.runner, "run_plan", lambda *arguments: [record])
    assert run._execute([], tmp_path, argparse.Namespace(**run.runner.NO_LIMITS._asdict())) == 130
    assert f": the same command {again}, with --resume" in capsys.readouterr().err
