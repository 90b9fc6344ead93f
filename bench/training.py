"""How fast training is on this CPU: `fit` beside the bare step, Keras beside PyTorch, and what `fit` adds to a step.

    python bench/training.py                                      # 128 px, batches of 32, four networks
    python bench/training.py --models resnet18 --seconds 3        # a try
    python bench/training.py --variants                           # also the other precision, and Keras's own BatchNorm

*Bare* is one training step on a constant batch. *fit* is ``model.fit`` on batches from a memory-mapped cache, with the
study's imgaug augmentation or with none; the three take turns in blocks of ``--seconds``. Each network runs in its own
process, in the precision that ``device.setup("auto")`` chooses here. PyTorch trains the very same network, see
torch_twin.py, in a process without TensorFlow: the two crash side by side. (Keras builds the network there with its
NumPy backend, which needs the developer's jax.) *Without a network* is the same ``fit`` with one small dense layer,
which leaves what Keras, tf.data and the augmentation take.
"""

import argparse
import collections
import functools
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import speed

import hpa_lib  # noqa: F401  (before Keras: it sets what TensorFlow reads at its first import)

MODELS = ("densenet", "resnet18", "inception_v2", "densenet121")
TWINS = MODELS[:3]  # those that torch_twin.py translates
HOW = ("eager", "compiled")
UNIT, CACHED = "images/s", 512  # images in the memory-mapped cache
TIME_LIMIT = 900  # seconds for one measurement
# What TensorFlow logs:
LOG_LINE = re.compile(r"[IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log|To enable the following")
ON_CPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # for a GPU there is bench/models.py


def compile_model(model):
    """The model with the optimiser and the loss of the course's runs."""
    import numpy as np

    from hpa_lib.training import loop, losses

    optimizer = loop.make_optimizer({"learning_rate": 1e-3, "epochs": 100}, 100)
    model.compile(optimizer=optimizer, loss=losses.make_loss("bce", np.ones(28)), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def make_ways(model, options, folder: str):
    """Three functions that train a number of steps: bare, and ``fit`` with no augmentation and with the study's."""
    import numpy as np

    from hpa_lib.training import batches

    random = np.random.default_rng(0)
    labels = (random.random((CACHED, 28)) < 0.06).astype("float32")
    pixels = random.integers(0, 256, (CACHED, options.size, options.size, 4), np.uint8)
    np.save(Path(folder) / "images.npy", pixels)
    images = np.load(Path(folder) / "images.npy", mmap_mode="r")
    constant = pixels[: options.batch], labels[: options.batch]

    def bare(steps: int):
        for _ in range(steps):
            model.train_on_batch(*constant)

    def fit(augmentation: str, steps: int):
        rows, recipe = np.arange(steps * options.batch) % CACHED, {"shuffle": True, "augmentation": augmentation}
        model.fit(batches.ImageBatches(images, labels, rows, options.batch, **recipe), shuffle=False, verbose=0)

    return {"bare": bare, "none": functools.partial(fit, "none"), "study": functools.partial(fit, "study")}


def measure_keras(name: str, precision: str, options) -> dict:
    """Images per second of the bare step and of ``fit``, and the steps of a block."""
    import keras

    from hpa_lib import models

    keras.config.set_dtype_policy(precision)
    model = compile_model(models.MODELS[name](image_size=options.size, channels="rgby"))
    with tempfile.TemporaryDirectory() as folder:
        ways = make_ways(model, options, folder)
        for way in ways.values():
            way(3)  # warms up
        steps = max(round(options.seconds / (speed.clock(ways["bare"], 2) / 2)), 8)
        seconds = speed.take_turns({kind: functools.partial(way, steps) for kind, way in ways.items()}, options.repeats)
    return {kind: steps * options.batch / value for kind, value in seconds.items()} | {"steps": steps}


def measure_pipeline(options) -> dict:
    """What ``fit`` takes without a network, ms of all cores: per call, and per batch beside a bare step."""
    import keras

    inputs = keras.Input((options.size, options.size, 4), dtype="uint8")
    first_pixel = keras.layers.Rescaling(1 / 255)(inputs[:, 0, 0, :])
    model = compile_model(keras.Model(inputs, keras.layers.Dense(28)(first_pixel)))
    with tempfile.TemporaryDirectory() as folder:
        short, long = {}, {}
        for kind, way in make_ways(model, options, folder).items():
            for steps, times in ((3, {}), (10, short), (50, long)):  # the first warms up
                times[kind] = 1e3 * min(speed.clock(way, steps, clock=time.process_time) for _ in range(5))
    per_step = {kind: (long[kind] - short[kind]) / 40 for kind in long}
    batches = {kind: per_step[kind] - per_step["bare"] for kind in ("none", "study")}
    return batches | {"call": short["none"] - 10 * per_step["none"], "bare": per_step["bare"]}


def profile_step(name: str, precision: str, options) -> dict:
    """Each kind of operation's share of three training steps, largest first, by TensorFlow's profiler."""
    import keras
    import numpy as np
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from hpa_lib import models

    keras.config.set_dtype_policy(precision)
    model = compile_model(models.MODELS[name](image_size=options.size, channels="rgby"))
    batch = np.zeros((options.batch, options.size, options.size, 4), np.uint8), np.zeros((options.batch, 28), "float32")
    model.train_on_batch(*batch)
    totals, space = collections.Counter(), xplane_pb2.XSpace()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(3):
                model.train_on_batch(*batch)
        space.ParseFromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            operation = re.fullmatch(r"[\w./]+:(\w+).*", plane.event_metadata[event.metadata_id].name)
            if operation:
                totals[operation[1]] += event.duration_ps
    return {operation: round(time / totals.total(), 3) for operation, time in totals.most_common(20)}


def measure_plain_norm(name: str, precision: str, options) -> dict:
    """``measure_keras`` with Keras's own BatchNormalization."""
    import keras

    from hpa_lib.models import layers

    layers.BatchNorm.call = keras.layers.BatchNormalization.call
    return measure_keras(name, precision, options)


def hand_over(name: str, options) -> dict:
    """Store the network's weights, a batch and its logits in ``options.folder``, for ``measure_torch``."""
    import numpy as np

    from hpa_lib import models

    model = models.MODELS[name](image_size=options.size, channels="rgby")
    shape = (options.batch, options.size, options.size, 4)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    model.save_weights(Path(options.folder) / f"{name}.weights.h5")
    np.savez(Path(options.folder) / f"{name}.npz", pixels=pixels, logits=model.predict_on_batch(pixels))
    return {"stored": name}


def measure_torch(name: str, precision: str, how: str, options) -> dict:
    """Images per second of the same network's step in PyTorch: channels_last, autocast, ``how`` eager or compiled."""
    import numpy as np
    import torch
    import torch_twin

    from hpa_lib import models

    model = models.MODELS[name](image_size=options.size, channels="rgby")
    model.load_weights(Path(options.folder) / f"{name}.weights.h5")
    assert "tensorflow" not in sys.modules
    network = torch_twin.Twin(model).to(memory_format=torch.channels_last)
    stored = np.load(Path(options.folder) / f"{name}.npz")
    pixels, random = stored["pixels"], np.random.default_rng(0)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # seen as (B, 4, S, S), lying in memory as channels_last
    labels = torch.from_numpy((random.random((options.batch, 28)) < 0.06).astype("float32"))
    with torch.no_grad():
        difference = np.abs(network.eval()(images).numpy() - stored["logits"]).max()
    assert difference < 1e-2, f"the twin of {name} computes other logits (by {difference})"
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    forward = torch.compile(network) if how == "compiled" else network

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed_bfloat16"):
            logits = forward(images)
        torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    def block(steps: int):
        for _ in range(steps):
            step()

    block(3)  # warms up
    steps = max(round(options.seconds / (speed.clock(block, 2) / 2)), 8)
    seconds = speed.take_turns({"bare": functools.partial(block, steps)}, options.repeats)
    return {"bare": steps * options.batch / seconds["bare"]}


def choose_precision(name: str, options) -> dict:
    """What ``auto`` means for this network on this machine, and whether the CPU multiplies bfloat16 at all."""
    from hpa_lib.training import device

    fast = bool(device.cpu_flags().intersection(device.FAST_BFLOAT16))
    return {"chosen": device.setup("auto", model=name)["precision"], "fast": fast}


def in_child(*arguments: str, **environment: str) -> dict:
    """What a measurement in a process of its own printed last; only ``failed``, the reason, when it did."""
    command = [sys.executable, *arguments]
    options = {"capture_output": True, "text": True, "timeout": TIME_LIMIT, "env": ON_CPU | environment}
    try:
        done = subprocess.run(command, **options)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {TIME_LIMIT} s"}
    if done.returncode:
        return {"failed": reason(done.returncode, done.stderr)}
    return json.loads(done.stdout.strip().splitlines()[-1])


def reason(returncode: int, stderr: str) -> str:
    """Why a process failed: the signal that ended it, if one did, and its last line that TensorFlow did not log."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not LOG_LINE.match(line)]
    last = lines[-1] if lines else "it gave no reason"
    return f"ended by {signal.Signals(-returncode).name}: {last}" if returncode < 0 else last


MEASURES = {
    "keras": measure_keras,
    "plain_norm": measure_plain_norm,
    "hand_over": hand_over,
    "torch": measure_torch,
    "pipeline": measure_pipeline,
    "profile": profile_step,
    "precision": choose_precision,
}


def compare_fit(name: str, found: dict) -> list[dict]:
    """The rows of a network's ``fit`` beside its bare step."""
    if "failed" in found:
        return [speed.not_run(f"{name}: fit", found["failed"])]
    peer = f"bare step, {found['steps']:.0f} steps"
    study = speed.compare(f"{name}: fit, study's augmentation", found["study"], found["bare"], UNIT, peer, ">= 0.95")
    return [study, speed.compare(f"{name}: fit, no augmentation", found["none"], found["bare"], UNIT, peer)]


def compare_torch(name: str, precision: str, keras_rate: float, given: list[str]) -> list[dict]:
    """The row of Keras beside the better of eager and compiled PyTorch."""
    what = f"{name}: Keras / PyTorch"
    missing = [package for package in ("torch", "jax") if not importlib.util.find_spec(package)]
    if missing:
        return [speed.not_run(what, f"{' and '.join(missing)} not installed")]
    with tempfile.TemporaryDirectory() as folder:
        given = [*given, f"--folder={folder}"]
        in_child(__file__, *given, "--measure", f"hand_over:{name}")
        only_builds = {"KERAS_BACKEND": "numpy"}
        ways = {
            how: in_child(__file__, *given, "--measure", f"torch:{name}:{precision}:{how}", **only_builds)
            for how in HOW
        }
    rates = {how: found["bare"] for how, found in ways.items() if "bare" in found}
    if not rates:
        return [speed.not_run(what, ways["eager"]["failed"])]
    best = max(rates, key=rates.get)
    words = ", ".join(f"{how} {speed.show(rate)}" for how, rate in rates.items())
    return [speed.compare(what, keras_rate, rates[best], UNIT, f"PyTorch {best} ({words})", ">= 1")]


def compare_variants(name: str, chosen: str, keras_rate: float, given: list[str]) -> list[dict]:
    """The rows of the chosen step beside the other precision and beside Keras's own BatchNormalization."""
    other = "float32" if chosen == "mixed_bfloat16" else "mixed_bfloat16"
    rows = []
    for measure, peer in ((f"keras:{name}:{other}", other), (f"plain_norm:{name}:{chosen}", "Keras's BatchNorm")):
        found, what = in_child(__file__, *given, "--measure", measure), f"{name}: bare step in {chosen}"
        rows.append(
            speed.compare(what, keras_rate, found["bare"], UNIT, peer)
            if "bare" in found
            else speed.not_run(what, found["failed"])
        )
    return rows


def measure_network(name: str, given: list[str], variants: bool) -> list[dict]:
    """All rows of one network."""
    precision = in_child(__file__, "--measure", f"precision:{name}").get("chosen", "float32")
    found = in_child(__file__, *given, "--measure", f"keras:{name}:{precision}")
    rows = compare_fit(f"{name} ({precision.removeprefix('mixed_')})", found)
    if "bare" not in found:
        return rows
    if name in TWINS:
        rows += compare_torch(name, precision, found["bare"], given)
    return rows + (compare_variants(name, precision, found["bare"], given) if variants else [])


def compare_pipeline(found: dict) -> list[dict]:
    """The rows of what ``fit`` takes without a network."""
    if "failed" in found:
        return [speed.not_run("fit without a network", found["failed"])]
    peer = "the same step bare"
    names = {"call": "a call of fit", "none": "a batch, no augmentation", "study": "a batch, study's augmentation"}
    return [
        speed.compare(f"{words}, without a network", found[kind], found["bare"], "ms of CPU", peer)
        for kind, words in names.items()
    ]


def measure(options) -> list[dict] | dict:
    if options.measure:
        kind, *rest = options.measure.split(":")
        return MEASURES[kind](*rest, options)
    given = ["--json", *(f"--{name}={getattr(options, name)}" for name in ("size", "batch", "seconds", "repeats"))]
    rows = [row for name in options.models for row in measure_network(name, given, options.variants)]
    return rows + compare_pipeline(in_child(__file__, *given, "--measure", "pipeline"))


if __name__ == "__main__":
    parser = speed.make_parser(__doc__, size=128, batch=32, seconds=8, repeats=2)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--variants", action="store_true", help="also the other precision and Keras's BatchNorm")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    speed.main(parser, measure)
