import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from hpa_lib import models
from hpa_lib.training import device

MIRRORED = """
import sys
import types
sys.path.insert(0, sys.argv[1])
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np, train_tiny
from hpa_lib.training import losses, loop

def losses_of(scope):
    keras.utils.set_random_seed(3)
    train, _ = train_tiny.tiny_parts()
    with scope:
        model = train_tiny.tiny_model()
        model.layers[-2].rate = 0.0  # dropout draws other numbers on each device
        model.layers[3].trainable = False  # so does batch normalisation: each device sees half a batch
        optimizer = loop.make_optimizer({"learning_rate": 0.01, "epochs": 3}, len(train))
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
    ("model", "gpus", "flags", "expected"),
    [
        ("resnet18", [], {"avx2"}, "float32"),
        ("resnet18", [], {"avx2", "avx512_bf16"}, "mixed_bfloat16"),
        ("inception_v2", [], {"amx_bf16"}, "mixed_bfloat16"),
        ("densenet", [], {"avx2", "avx512_bf16", "amx_bf16"}, "float32"),
        ("", [], {"amx_bf16"}, "float32"),
        ("densenet", [("T4", 7.5)], set(), "mixed_float16"),
        ("densenet", [("H100", 9.0)], set(), "mixed_bfloat16"),
        ("resnet18", [("H100", 9.0), ("T4", 7.5)], set(), "mixed_float16"),
    ],
)
def test_precision_follows_the_network_and_the_hardware(monkeypatch, model, gpus, flags, expected):
    monkeypatch.setattr(device, "_gpus", lambda: gpus)
    monkeypatch.setattr(device, "cpu_flags", lambda: flags)
    record = device.setup("auto", model=model)
    assert record["precision"] == expected == keras.config.dtype_policy().name
    assert record["gpus"] == len(gpus)


def test_the_precision_of_every_network_on_a_cpu_is_stated():
    assert set(device.BFLOAT16_ON_CPU) == set(models.MODELS)


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


def test_two_devices_train_to_the_loss_of_one():
    command = [sys.executable, "-c", MIRRORED, str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    alone, two = (eval(part) for part in done.stdout.strip().splitlines()[-1].split(";"))
    assert len(alone) == 3 and alone[-1] < alone[0]
    assert two == pytest.approx(alone, rel=1e-3)


def test_tensorflow_gets_onednn_unless_told_otherwise():
    """Read by TensorFlow at its first import, so it must be set by then, in a process of its own."""
    script = "import os, hpa_lib; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    for given, expected in ((None, "1"), ("0", "0")):
        environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
        environment |= {"TF_ENABLE_ONEDNN_OPTS": given} if given else {}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


CPU = {"gpus": 0, "backend": "tensorflow"}


def test_the_cores_that_are_named_are_those_lent_to_this_process(monkeypatch):
    monkeypatch.setattr(device.parallel, "count_cores", lambda: 3)
    monkeypatch.setattr(device, "_gpus", list)
    assert device.setup("float32")["device"] == "CPU, 3 cores"


@pytest.mark.parametrize(
    ("model", "origin", "hardware", "expected"),
    [
        ("densenet", "from scratch", CPU, (5e-3, 16, 2, False)),
        ("resnet18", "from scratch", CPU, (2e-3, 32, 2, False)),
        ("resnet18", "ImageNet", CPU, (2e-4, 32, 2, False)),
        ("inception_v2", "own file", CPU, (2e-4, 32, 2, False)),
        ("densenet121", "ImageNet", CPU | {"gpus": 1}, (2e-4, 64, 12, True)),
        ("densenet", "from scratch", CPU | {"backend": "jax"}, (5e-3, 16, 2, True)),
    ],
)
def test_what_is_left_to_the_kit_follows_network_weights_and_device(monkeypatch, model, origin, hardware, expected):
    monkeypatch.setattr(device.parallel, "count_cores", lambda: 12)
    resolved = device.resolve(model, origin, hardware)
    assert tuple(resolved.values()) == pytest.approx(expected)
    assert list(resolved) == ["learning_rate", "batch_size", "workers", "jit_compile"]


@pytest.mark.parametrize("hardware", [CPU, CPU | {"gpus": 2}])
def test_given_values_win(hardware):
    given = {"learning_rate": 0.3, "batch_size": 7, "workers": 5}
    for jit, compiled in (("on", True), ("off", False)):
        resolved = device.resolve("resnet18", "ImageNet", hardware, **given, jit=jit)
        assert resolved == given | {"jit_compile": compiled}


def test_every_network_has_its_values():
    assert set(device.FROM_SCRATCH) == set(models.MODELS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"jit": "yes"}, "JIT 'yes': use"), ({"batch_size": -1}, "batch size -1"), ({"model": "vgg"}, "model 'vgg'")],
)
def test_values_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        device.resolve(**{"model": "resnet18", "origin": "ImageNet", "hardware": CPU} | changed)


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
