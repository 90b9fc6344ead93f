import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import nbformat
import numpy as np
import pandas as pd
import pytest
import train_tiny

from hpa_lib import models, paths, store
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.training import batches, checkpoints, loop, losses, predict

SCRIPT = Path(train_tiny.__file__)


def start(folder, *arguments, **environment):
    command = [sys.executable, str(SCRIPT), str(folder), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_history_best_epoch_and_evaluation_over_the_whole_part(tmp_path, ema):
    """With a moving average it is the average that is evaluated, kept and given back."""
    history, model = train_tiny.run(tmp_path, ema=ema)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    best = history.loc[history["val_macro_ap"].idxmax()]
    _, val = train_tiny.tiny_parts()
    labels, probs = val.labels[val.rows], predict.predict_probs(model, val.images, val.rows)
    assert np.mean(metrics.average_precision(labels, probs)) == pytest.approx(best["val_macro_ap"], abs=1e-6)
    preds = thresholds.apply(probs, 0.5, thresholds.FILL_EMPTY)
    assert metrics.macro_f1(labels, preds) == pytest.approx(best["val_macro_f1"])
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("ema", ["0", "0.9"])
def test_a_killed_run_goes_on_to_the_very_same_weights(tmp_path, ema):
    unbroken = start(tmp_path / "unbroken", EMA=ema)
    assert unbroken.returncode == 0, unbroken.stderr
    killed = start(tmp_path / "killed", "3", EMA=ema)
    assert killed.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "killed" / checkpoints.STATE).read_text())["epoch"] == 2
    resumed = start(tmp_path / "killed", EMA=ema)
    assert "resuming after epoch 2 of 5" in resumed.stdout
    histories = [pd.read_csv(tmp_path / name / "history.csv") for name in ("unbroken", "killed")]
    assert histories[1]["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert histories[0]["loss"].tolist() == histories[1]["loss"].tolist()
    first, second = (np.load(tmp_path / name / "final.npz") for name in ("unbroken", "killed"))
    assert all((first[key] == second[key]).all() for key in first.files)


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path, capsys):
    _, model = train_tiny.run(tmp_path)
    _, again = train_tiny.run(tmp_path)
    assert "already trained" in capsys.readouterr().out
    assert all((first == two).all() for first, two in zip(model.get_weights(), again.get_weights(), strict=True))


def test_other_settings_are_refused_and_start_over_replaces_them(tmp_path):
    train_tiny.run(tmp_path)
    with pytest.raises(ValueError, match="seed 3 -> 4.*another RUN name.*START_OVER"):
        train_tiny.run(tmp_path, seed=4)
    history, _ = train_tiny.run(tmp_path, seed=4, start_over=True)
    assert len(history) == 5


@pytest.mark.parametrize(
    "changed",
    [{"loss": "focal"}, {"learning_rate": 0.02}, {"ema": 0.9}, {"epochs": 6}, {"patience": 3}]
    + [{"weight_decay": 0.0}, {"warmup_epochs": 0.0}, {"clip_norm": 0.0}, {"monitor": "val_loss"}],
)
def test_whatever_fit_reads_guards_the_resume(tmp_path, changed):
    store.save_json(tmp_path, checkpoints.STATE, checkpoints.new_state(loop.check_settings(train_tiny.SETTINGS)))
    with pytest.raises(ValueError, match=f"{list(changed)[0]} .* -> .*another RUN name"):
        train_tiny.run(tmp_path, **changed)


def test_a_state_stored_before_all_settings_were_is_refused_in_one_sentence(tmp_path):
    store.save_json(tmp_path, checkpoints.STATE, checkpoints.new_state(train_tiny.SETTINGS))
    with pytest.raises(ValueError, match="clip_norm not named -> 1.0.*another RUN name.*START_OVER"):
        train_tiny.run(tmp_path)


def test_settings_without_a_loss_are_refused(tmp_path):
    with pytest.raises(ValueError, match="settings lack 'loss': fit reads"):
        loop.check_settings({"learning_rate": 0.01, "epochs": 5})


def test_a_loss_that_is_no_number_stops_with_a_sentence_and_keeps_the_last_state(tmp_path):
    with pytest.raises(ValueError, match="became nan in epoch 1: lower LEARNING_RATE"):
        train_tiny.run(tmp_path, learning_rate=1e30, warmup_epochs=0.0, clip_norm=0.0)
    assert not (tmp_path / checkpoints.STATE).exists()


def no_progress(*_):
    return {"loss": 1.0, "macro_ap": 0.5, "macro_f1": 0.1}


def test_patience_stops_early(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "evaluate", no_progress)
    history, _ = train_tiny.run(tmp_path, patience=2)
    assert len(history) == 3 and "stopped: no better val_macro_ap for 2 epochs" in capsys.readouterr().out


def test_a_kill_just_before_the_patience_stop_costs_no_epoch(tmp_path, monkeypatch, capsys):
    """The state is stored before the stop, so a kill between the two leaves a run whose patience is used up."""
    monkeypatch.setattr(loop, "evaluate", no_progress)
    save = checkpoints.save_state
    monkeypatch.setattr(checkpoints, "save_state", lambda folder, state: state["finished"] or save(folder, state))
    killed, _ = train_tiny.run(tmp_path, patience=2)
    assert len(killed) == 3 and not json.loads((tmp_path / checkpoints.STATE).read_text())["finished"]
    monkeypatch.setattr(checkpoints, "save_state", save)
    capsys.readouterr()
    resumed, _ = train_tiny.run(tmp_path, patience=2)
    assert resumed["epoch"].tolist() == [1, 2, 3]
    assert "stopped: no better val_macro_ap for 2 epochs" in capsys.readouterr().out
    assert json.loads((tmp_path / checkpoints.STATE).read_text())["finished"]


def test_an_unknown_monitor_is_refused(tmp_path):
    with pytest.raises(ValueError, match="monitor 'val_macro_f1': use one of"):
        train_tiny.run(tmp_path, monitor="val_macro_f1")


def test_keras_class_weight_is_not_offered(tmp_path):
    train, val = train_tiny.tiny_parts()
    recipe = {"class_weights": np.ones(28), "settings": train_tiny.SETTINGS}
    with pytest.raises(TypeError, match="class_weight"):
        loop.fit(train_tiny.tiny_model(), train, val, tmp_path, class_weight={0: 1.0}, **recipe)


def test_the_average_of_the_weights_is_kept_and_the_training_goes_on_without_it(tmp_path):
    plain, _ = train_tiny.run(tmp_path / "plain")
    averaged, _ = train_tiny.run(tmp_path / "averaged", ema=0.9)
    assert averaged["loss"].tolist() == plain["loss"].tolist()
    assert averaged["val_loss"].tolist() != plain["val_loss"].tolist()


def test_the_network_saved_without_its_optimizer_answers_the_same(tmp_path):
    _, model = train_tiny.run(tmp_path)
    loop.without_optimizer(model).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    _, val = train_tiny.tiny_parts()
    logits = [predict.predict_logits(network, val.images, val.rows) for network in (model, again)]
    assert (logits[0] == logits[1]).all()


def test_no_epoch_at_all_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="epochs 0: at least one"):
        train_tiny.run(tmp_path, epochs=0)
    assert not list(tmp_path.iterdir())


def test_a_float16_run_stores_the_scale_of_its_loss(tmp_path):
    killed = start(tmp_path, "3", PRECISION="mixed_float16")
    resumed = start(tmp_path, PRECISION="mixed_float16")
    assert killed.returncode == -signal.SIGKILL and resumed.returncode == 0, resumed.stderr[-2000:]
    assert (
        "resuming after epoch 2 of 5" in resumed.stdout and "Skipping variable" not in resumed.stderr
    )  # Keras's words


def test_the_monitor_decides_which_epoch_is_the_best(tmp_path):
    history, model = train_tiny.run(tmp_path, monitor="val_loss", learning_rate=0.3, warmup_epochs=0.0)
    _, val = train_tiny.tiny_parts()
    again = loop.evaluate(model, val, losses.make_loss("bce", np.linspace(1, 3, 28)))
    assert history["val_loss"].idxmin() != history["val_macro_ap"].idxmax(), "this seed cannot tell the two apart"
    assert again["loss"] == pytest.approx(history["val_loss"].min(), rel=1e-5)


def test_no_two_layers_or_epochs_meet_the_same_dropout_seed():
    inputs = keras.Input((8,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dropout(0.5)(inputs))
    inner = keras.Model(inputs, keras.layers.Dropout(0.5)(x))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(inner(inputs)))
    dropouts = [layer for layer in loop._all_layers(model) if isinstance(layer, keras.layers.Dropout)]
    met, steps = set(), 20_000  # Keras counts the second number up by one each step
    for epoch in range(5):
        loop._seed_dropout(model, 3, epoch)
        for layer in dropouts:
            first, second = keras.ops.convert_to_numpy(layer.seed_generator.state).tolist()
            met |= {(first, second + step) for step in range(steps)}
    assert len(dropouts) == 4 and len(met) == 5 * 4 * steps


def test_any_number_of_workers_trains_to_the_very_same_weights(tmp_path):
    alone, *others = (train_tiny.run(tmp_path / str(n), workers=n, epochs=2)[1].get_weights() for n in (1, 2, 4))
    for other in others:
        assert all((first == second).all() for first, second in zip(alone, other, strict=True))


def test_each_epoch_trains_on_the_batches_of_its_number(tmp_path, monkeypatch):
    started, original = [], batches.ImageBatches.start_epoch
    monkeypatch.setattr(
        batches.ImageBatches, "start_epoch", lambda self, epoch: started.append(epoch) or original(self, epoch)
    )
    train_tiny.run(tmp_path)
    assert started[-5:] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", models.MODELS)
def test_weight_decay_leaves_biases_and_normalisation_alone(name):
    """With no gradient only the decay moves a weight."""
    model = models.MODELS[name](image_size=64, width=0.05 if name == "densenet121" else 0.25)
    optimizer = loop.make_optimizer({"learning_rate": 0.1, "epochs": 1, "weight_decay": 0.5, "warmup_epochs": 0}, 2)
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(keras.ops.ones_like(variable))
    optimizer.apply([keras.ops.zeros_like(variable) for variable in variables], variables)
    for variable in variables:
        is_kernel = len(variable.shape) > 1
        expected = 0.95 if is_kernel else 1.0
        assert keras.ops.convert_to_numpy(variable) == pytest.approx(expected, abs=1e-5), variable.path


def test_the_whole_gradient_is_clipped_to_its_largest_norm():
    """A huge gradient must leave the same path as the same direction at norm 1; a small one passes as it is."""

    def path(scale, **changed):
        settings = {"learning_rate": 0.1, "epochs": 1, "warmup_epochs": 0, "weight_decay": 0.0} | changed
        optimizer, variables = loop.make_optimizer(settings, 9), [keras.Variable([0.0]), keras.Variable([0.0])]
        values = []
        for first, second in ((3.0 * scale, 4.0 * scale), (0.03, -0.04), (-0.03, 0.04)):
            optimizer.apply([keras.ops.array([first]), keras.ops.array([second])], variables)
            values += [float(variable.numpy()[0]) for variable in variables]
        return np.array(values)

    assert path(1000) == pytest.approx(path(0.2), rel=1e-4)
    assert path(1000, clip_norm=0) != pytest.approx(path(0.2), rel=1e-2)
    assert path(1000, clip_norm=2) == pytest.approx(path(0.4, clip_norm=0), rel=1e-4)


def test_the_learning_rate_warms_up_to_its_peak_and_falls_to_zero():
    settings = {"learning_rate": 0.1, "epochs": 5, "warmup_epochs": 2}
    schedule = loop.make_optimizer(settings, 10)._learning_rate
    rates = np.array([float(schedule(step)) for step in range(51)])
    assert rates[0] == pytest.approx(0.004) and rates.argmax() == 20 and rates.max() == pytest.approx(0.1)
    assert (
        (np.diff(rates[:21]) > 0).all() and (np.diff(rates[20:]) < 0).all() and rates[50] == pytest.approx(0, abs=1e-6)
    )


def test_the_score_of_an_epoch_follows_the_rule_for_empty_rows():
    _, val = train_tiny.tiny_parts()
    model = train_tiny.tiny_model()
    model.get_layer("logits").bias.assign(np.full(28, -9.0))  # no class reaches .5 on any image
    labels, probs = val.labels[val.rows], predict.predict_probs(model, val.images, val.rows)
    filled = thresholds.fill_empty_rows(np.zeros_like(probs, np.uint8), probs)
    row = loop.evaluate(model, val, losses.make_loss("bce", np.ones(28)))
    assert row["macro_f1"] == pytest.approx(metrics.macro_f1(labels, filled)) and row["macro_f1"] > 0


def test_the_loop_that_notebook_02_quotes_trains(capsys):
    """The lines in its Markdown, run as they are printed."""
    (path,) = (paths.PROJECT / "notebooks").glob("02_*.ipynb")
    text = next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.id == "training")
    lines = text.split("```python\n")[1].split("```")[0]
    train, val = train_tiny.tiny_parts()
    names = {"model": train_tiny.tiny_model(), "train": train, "val": val, "loop": loop, "losses": losses}
    names |= {"settings": train_tiny.SETTINGS | {"epochs": 2}, "class_weights": np.ones(28)}
    exec(lines, names)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and len(lines.splitlines()) == 6
    assert printed[1].startswith("2 {'loss'") and "macro_ap" in printed[1]


def test_starting_over_forgets_the_old_run_before_it_writes(tmp_path, monkeypatch):
    """Killed after the first weights of the new run, it must not be taken for the finished old one."""
    train_tiny.run(tmp_path)

    def kill(folder, state):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_state", kill)
    with pytest.raises(KeyboardInterrupt):
        train_tiny.run(tmp_path, start_over=True)
    assert not (tmp_path / checkpoints.STATE).exists()
