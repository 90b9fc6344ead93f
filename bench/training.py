"""How fast training is on this CPU: `fit` beside the bare step, the chosen precision beside float32, PyTorch, imgaug.

    python bench/training.py                                          # 128 px, batches of 32, three networks
    python bench/training.py --models resnet18 --steps 4 --repeats 1  # a try

All in one run, so the ratios can be trusted where the absolute figures cannot. *Bare* is one training step on a
constant batch. *fit* is ``model.fit`` on batches from a memory-mapped cache, with the study's imgaug augmentation;
*wait* the longest time from the end of an epoch's last step until ``fit`` returned, in steps. Each network runs in
float32 and in bfloat16, in a process of its own; `bare` and `fit` take turns in it. The precision that
``device.setup("auto")`` chooses here is marked with a star; a CPU without products in bfloat16 is left at float32, and
so is PyTorch on it. *Plain norm* has Keras's own BatchNormalization in place of the fused one of
``hpa_lib/models/layers.py``. PyTorch (left out where it is not installed) trains the very same network, see
torch_twin.py, in a process without TensorFlow: the two crash side by side.
"""

import argparse
import importlib.util
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hpa_lib  # noqa: F401  (before Keras: it sets what TensorFlow reads at its first import)

MODELS = ("densenet", "resnet18", "inception_v2")
TIME_LIMIT = 900  # seconds for one measurement
# What TensorFlow logs:
LOG_LINE = re.compile(r"[IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log|To enable the following")
ON_CPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # for a GPU there is bench/models.py


def measure_keras(name: str, precision: str, options) -> dict:
    """Images per second of the bare step and of ``fit``, medians over the repeats, and the longest wait in steps."""
    import keras
    import numpy as np

    from hpa_lib import models
    from hpa_lib.training import batches, loop, losses

    keras.config.set_dtype_policy(precision)
    random = np.random.default_rng(0)
    count = options.steps * options.batch
    shape = (count, options.size, options.size, 4)
    model = models.MODELS[name](image_size=options.size, channels="rgby")
    optimizer = loop.make_optimizer({"learning_rate": 1e-3, "epochs": 100}, options.steps)
    model.compile(optimizer=optimizer, loss=losses.make_loss("bce", np.ones(28)), jit_compile=False)
    labels = (random.random((count, 28)) < 0.06).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", random.integers(0, 256, shape, np.uint8))
        images = np.load(Path(folder) / "images.npy", mmap_mode="r")
        recipe = {"shuffle": True, "augmentation": "study"}
        train = batches.ImageBatches(images, labels, np.arange(count), options.batch, **recipe)
        constant = np.array(images[: options.batch]), labels[: options.batch]
        rates, waits, step_ends = {"bare": [], "fit": []}, [], []
        note_end = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: step_ends.append(time.time()))
        for repeat in range(options.repeats + 1):  # the first one warms up
            started = time.perf_counter()
            for _ in range(options.steps):
                model.train_on_batch(*constant)
            middle = time.perf_counter()
            for _ in range(options.epochs):  # one call per epoch, as loop.fit does
                model.fit(train, shuffle=False, verbose=0, callbacks=[note_end])
                waits.append(time.time() - step_ends[-1])
            ended = time.perf_counter()
            if repeat:
                rates["bare"].append(count / (middle - started))
                rates["fit"].append(options.epochs * count / (ended - middle))
    medians = {kind: statistics.median(values) for kind, values in rates.items()}
    return medians | {"wait": max(waits[options.epochs :]) * medians["bare"] / options.batch}


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

    rates = []
    for _ in range(options.repeats + 1):  # the first one warms up
        started = time.perf_counter()
        for _ in range(options.steps):
            step()
        rates.append(options.steps * options.batch / (time.perf_counter() - started))
    return {"bare": statistics.median(rates[1:])}


def measure_augmentation(options) -> dict:
    """Images per second on one core of each augmentation at 224 px, four channels; ``imgaug`` makes the turns too."""
    import cv2
    import numpy as np

    from hpa_lib.training import augment

    cv2.setNumThreads(1)
    images = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 4), np.uint8)
    rates, exact = {}, augment.EXACT_TURNS
    for name in ("imgaug", "study", "strong", "turns"):
        augment.EXACT_TURNS = {} if name == "imgaug" else exact
        times = []
        for repeat in range(options.repeats + 2):
            started = time.perf_counter()
            augment.augment_images(images, name.replace("imgaug", "study"), list(range(64 * repeat, 64 * repeat + 64)))
            times.append(time.perf_counter() - started)
        rates[name] = 64 / statistics.median(times[1:])
    return rates


def choose_precision(name: str, options) -> dict:
    """What ``auto`` means for this network on this machine, and whether the CPU multiplies bfloat16 at all."""
    from hpa_lib.training import device

    fast = bool(device.cpu_flags().intersection(device.FAST_BFLOAT16))
    return {"chosen": device.setup("auto", model=name)["precision"], "fast": fast}


def in_child(*arguments: str, **environment: str) -> dict:
    """What a measurement in a process of its own printed last; ``{}``, with the reason printed, when it failed."""
    command = [sys.executable, *arguments]
    options = {"capture_output": True, "text": True, "timeout": TIME_LIMIT, "env": ON_CPU | environment}
    try:
        done = subprocess.run(command, **options)
    except subprocess.TimeoutExpired:
        print(f"{' '.join(arguments)}: left out, not done after {TIME_LIMIT} s")
        return {}
    if done.returncode:
        print(f"{' '.join(arguments)}: left out, {reason(done.returncode, done.stderr)}")
        return {}
    return json.loads(done.stdout.strip().splitlines()[-1])


def reason(returncode: int, stderr: str) -> str:
    """Why a process failed: the signal that ended it, if one did, and its last line that TensorFlow did not log."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not LOG_LINE.match(line)]
    last = lines[-1] if lines else "it gave no reason"
    return f"ended by {signal.Signals(-returncode).name}: {last}" if returncode < 0 else last


def ratio(rates: dict, rate: str, other: str, words: str) -> str:
    """How many times as fast ``rate`` is as ``other``, as the last column; empty where one of them is missing."""
    return f"{rates[rate] / rates[other]:>8.2f} {words}" if rate in rates and other in rates else ""


MEASURES = {
    "keras": measure_keras,
    "plain_norm": measure_plain_norm,
    "hand_over": hand_over,
    "torch": measure_torch,
    "augmentation": measure_augmentation,
    "precision": choose_precision,
}


def report_network(name: str, given: list[str]):
    """Print a network's rows: Keras in each precision, then PyTorch where it is installed."""
    bare, auto = {}, in_child(__file__, "--measure", f"precision:{name}")
    chosen = auto.get("chosen", "float32")
    precisions = ("float32", "mixed_bfloat16") if auto.get("fast") else ("float32",)
    for kind, precision in [*(("keras", precision) for precision in precisions), ("plain_norm", chosen)]:
        row = in_child(__file__, *given, "--measure", f"{kind}:{name}:{precision}")
        if row:
            rate, other = (precision, "float32") if kind == "keras" else ("plain norm", chosen)
            bare[rate] = row["bare"]
            mark = " *" if rate == chosen else ""
            line = f"{name:<14}{'Keras ' + rate + mark:<30}{row['bare']:>11.1f}{row['fit']:>11.1f}"
            line += f"{row['fit'] / row['bare']:>10.2f}{row['wait']:>7.1f}"
            print(line + ratio(bare, rate, other, f"x {other}"), flush=True)
    if not importlib.util.find_spec("torch"):
        return
    with tempfile.TemporaryDirectory() as folder:
        given = [*given, f"--folder={folder}"]
        in_child(__file__, *given, "--measure", f"hand_over:{name}")
        for how in ("eager", "compiled"):
            measure = f"torch:{name}:{chosen}:{how}"
            row = in_child(__file__, *given, "--measure", measure, KERAS_BACKEND="numpy")  # only builds the network
            if row:
                bare[how] = row["bare"]
                line = f"{name:<14}{f'PyTorch {how} {chosen}':<30}{row['bare']:>11.1f}{'':>28}"
                print(line + ratio(bare, chosen, how, "= Keras / PyTorch"), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--steps", type=int, default=20, help="steps in a timed block")
    parser.add_argument("--repeats", type=int, default=3, help="timed blocks, of which the median counts")
    parser.add_argument("--epochs", type=int, default=2, help="calls of fit in a timed block")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        kind, *rest = options.measure.split(":")
        print(json.dumps(MEASURES[kind](*rest, options)))
        return
    given = [f"--{name}={getattr(options, name)}" for name in ("size", "batch", "steps", "repeats", "epochs")]
    print(f"{options.size} px, batches of {options.batch}; * is the precision that auto chooses here")
    print(f"{'network':<14}{'with':<30}{'bare img/s':>11}{'fit img/s':>11}{'fit/bare':>10}{'wait':>7}{'ratio':>8}")
    if not importlib.util.find_spec("torch"):
        print("PyTorch: left out, it is not installed")
    for name in options.models:
        report_network(name, given)
    rates = in_child(__file__, *given, "--measure", "augmentation")
    if rates:
        print("augmentation, 224 px, one core:", {name: round(rate) for name, rate in rates.items()}, "img/s")
        print(f"exact turns / imgaug {rates['turns'] / rates['imgaug']:.1f}")


if __name__ == "__main__":
    main()
