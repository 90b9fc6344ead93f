import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import train_tiny

from hpa_lib import checkpoints, metrics, predict, thresholds, training

SCRIPT = Path(train_tiny.__file__)


def start(folder, *arguments, **environment):
    command = [sys.executable, str(SCRIPT), str(folder), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_history_best_epoch_and_evaluation_over_the_whole_part(tmp_path):
    history, model = train_tiny.run(tmp_path)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    best = history.loc[history["val_macro_ap"].idxmax()]
    _, val = train_tiny.tiny_parts()
    labels, probs = val.labels[val.rows], predict.predict_probs(model, val.images, val.rows)
    assert np.mean(metrics.average_precision(labels, probs)) == pytest.approx(best["val_macro_ap"], abs=1e-6)
    preds = thresholds.apply(probs, np.full(28, 0.5))
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
    assert all((one == two).all() for one, two in zip(model.get_weights(), again.get_weights(), strict=True))


def test_other_settings_are_refused_and_start_over_replaces_them(tmp_path):
    train_tiny.run(tmp_path)
    other = train_tiny.SETTINGS | {"seed": 4}
    with pytest.raises(ValueError, match="seed 3 -> 4.*another RUN name.*START_OVER"):
        train_tiny.run(tmp_path, settings=other)
    history, _ = train_tiny.run(tmp_path, settings=other, start_over=True)
    assert len(history) == 5


def test_a_loss_that_is_no_number_stops_with_a_sentence_and_keeps_the_last_state(tmp_path):
    with pytest.raises(ValueError, match="became nan in epoch 1: lower LEARNING_RATE"):
        train_tiny.run(tmp_path, lr=1e30, warmup_epochs=0.0, clip_norm=0.0)
    assert not (tmp_path / checkpoints.STATE).exists()


def test_patience_stops_early(tmp_path, capsys):
    history, _ = train_tiny.run(tmp_path, lr=0.0, patience=2)
    assert len(history) < 5 and "stopped: no better val_macro_ap for 2 epochs" in capsys.readouterr().out


def test_an_unknown_monitor_is_refused(tmp_path):
    with pytest.raises(ValueError, match="monitor 'val_macro_f1': use one of"):
        train_tiny.run(tmp_path, monitor="val_macro_f1")


def test_keras_class_weight_is_not_offered(tmp_path):
    with pytest.raises(TypeError, match="class_weight"):
        train_tiny.run(tmp_path, class_weight={0: 1.0})


def test_the_average_of_the_weights_is_kept_and_the_training_goes_on_without_it(tmp_path):
    plain, _ = train_tiny.run(tmp_path / "plain")
    averaged, _ = train_tiny.run(tmp_path / "averaged", ema=0.9)
    assert averaged["loss"].tolist() == plain["loss"].tolist()
    assert averaged["val_loss"].tolist() != plain["val_loss"].tolist()


def test_the_network_saved_without_its_optimizer_answers_the_same(tmp_path):
    _, model = train_tiny.run(tmp_path)
    training.without_optimizer(model).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    _, val = train_tiny.tiny_parts()
    logits = [predict.predict_logits(one, val.images, val.rows) for one in (model, again)]
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
