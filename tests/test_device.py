import os
import subprocess
import sys
import types
from pathlib import Path

import keras
import pytest

from hpa_lib import device

MIRRORED = """
import sys
import types
sys.path.insert(0, sys.argv[1])
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np, train_tiny
from hpa_lib import losses, training

def losses_of(scope):
    keras.utils.set_random_seed(3)
    train, _ = train_tiny.tiny_parts()
    with scope:
        model = train_tiny.tiny_model()
        model.layers[-2].rate = 0.0  # dropout draws other numbers on each device
        model.layers[3].trainable = False  # so does batch normalisation: each device sees half a batch
        optimizer = training.make_optimizer(lr=0.01, epochs=3, steps=len(train))
        model.compile(optimizer=optimizer, loss=losses.make_loss("bce", np.linspace(1, 3, 28)), jit_compile=False)
    return model.fit(train, epochs=3, shuffle=False, verbose=0).history["loss"]

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
import contextlib
print(losses_of(contextlib.nullcontext()), losses_of(strategy.scope()), sep=";")
"""


@pytest.fixture(autouse=True)
def restore_policy():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("gpus", "flags", "expected"),
    [
        ([], {"avx2"}, "float32"),
        ([], {"avx2", "avx512_bf16"}, "mixed_bfloat16"),
        ([], {"amx_bf16"}, "mixed_bfloat16"),
        ([("T4", 7.5)], set(), "mixed_float16"),
        ([("H100", 9.0)], set(), "mixed_bfloat16"),
        ([("H100", 9.0), ("T4", 7.5)], set(), "mixed_float16"),
    ],
)
def test_precision_follows_the_hardware(monkeypatch, gpus, flags, expected):
    monkeypatch.setattr(device, "_gpus", lambda: gpus)
    monkeypatch.setattr(device, "cpu_flags", lambda: flags)
    record = device.setup("auto")
    assert record["precision"] == expected == keras.config.dtype_policy().name
    assert record["gpus"] == len(gpus)


def test_a_given_precision_is_taken_and_an_unknown_one_refused():
    assert device.setup("float32")["precision"] == "float32"
    with pytest.raises(ValueError, match="precision 'float8': use one of"):
        device.setup("float8")


def test_setup_seeds_the_weights():
    values = []
    for seed in (1, 1, 2):
        device.setup("float32", seed)
        values.append(keras.random.normal((3,)).numpy().tolist())
    assert values[0] == values[1] != values[2]


def test_versions_name_the_code_and_its_commit():
    found = device.versions()
    assert {"hpa-kit", "keras", "numpy", "commit"} <= set(found) and found["commit"]


def test_two_devices_train_to_the_loss_of_one():
    command = [sys.executable, "-c", MIRRORED, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (eval(part) for part in done.stdout.strip().splitlines()[-1].split(";"))
    assert len(one) == 3 and one[-1] < one[0]
    assert two == pytest.approx(one, rel=1e-3)


def test_tensorflow_gets_onednn_unless_told_otherwise():
    """Read by TensorFlow at its first import, so it must be set by then, in a process of its own."""
    script = "import os, hpa_lib; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    for given, expected in ((None, "1"), ("0", "0")):
        environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
        environment |= {"TF_ENABLE_ONEDNN_OPTS": given} if given else {}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


def test_peak_memory_is_in_megabytes_on_every_system(monkeypatch):
    assert 50 < device.peak_memory_mb() < 50_000
    usage = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: types.SimpleNamespace(ru_maxrss=3 * 2**30))
    monkeypatch.setitem(sys.modules, "resource", usage)
    for system, expected in (("darwin", 3 * 2**10), ("linux", 3 * 2**20)):  # bytes there, KiB here
        monkeypatch.setattr("sys.platform", system)
        assert device.peak_memory_mb() == expected
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows: an import raises
    assert device.peak_memory_mb() is None


def test_a_slow_git_does_not_stop_a_training(monkeypatch):
    def hang(*_, **options):
        raise subprocess.TimeoutExpired("git", options.get("timeout", 1))

    monkeypatch.setattr("subprocess.run", hang)
    assert device.versions()["commit"] == "unknown"


def test_keras_settings_that_cannot_work_are_refused(monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="the Keras backend 'torch' is not supported"):
        patch.setattr(keras.backend, "backend", lambda: "torch")
        device.setup("float32")
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format 'channels_first' is not supported"):
            device.setup("float32")
    finally:
        keras.config.set_image_data_format("channels_last")
