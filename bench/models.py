"""Training-step throughput of each network, Keras on JAX, beside PyTorch for ResNet18.

    python bench/models.py                                     # 224 px, batches of 128, bfloat16: meant for a GPU
    python bench/models.py --size 64 --batch 4 --steps 2 --matmul 512 --models densenet resnet18   # a try on a CPU

A step is forward, loss, backward and AdamW on one batch that is already on the device: uint8 in, all four channels,
28 labels. PyTorch gets its best: channels_last, autocast, torch.compile, fused AdamW. The share is of the bfloat16
matrix rate measured on the same device just before; a training step is counted as three forward passes. Every row runs
in a process of its own, so that no framework holds another's memory. TensorFlow is not needed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"  # before keras is imported
PROJECT = Path(__file__).resolve().parents[1]
MODELS = ("densenet", "resnet18", "inception_v2", "densenet121")


def time_steps(step, wait, options) -> float:
    """Seconds per step: the median of ``repeats`` blocks of ``steps``, after three steps of warm-up."""
    for _ in range(3):
        step()
    wait()
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        for _ in range(options.steps):
            step()
        wait()
        seconds.append((time.perf_counter() - start) / options.steps)
    return statistics.median(seconds)


def measure_peak(options) -> dict:
    """The matrix rate: a chain of square products in the chosen precision, FLOP/s."""
    import jax
    import jax.numpy as jnp

    side = options.matmul
    dtype = jnp.bfloat16 if options.precision == "mixed_bfloat16" else jnp.float32
    state = {"a": jnp.ones((side, side), dtype), "b": jnp.full((side, side), 1 / side, dtype)}
    product = jax.jit(lambda a, b: a @ b)

    def step():
        state["a"] = product(state["a"], state["b"])

    seconds = time_steps(step, lambda: state["a"].block_until_ready(), options)
    return {"flops": 2 * side**3 / seconds, "device": str(jax.devices()[0].device_kind)}


def random_batch(options):
    """One batch: images uint8 (B, S, S, 4), labels float32 (B, 28)."""
    import numpy as np

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (options.batch, options.size, options.size, 4), np.uint8)
    return images, (random.random((options.batch, 28)) < 0.06).astype("float32")


def measure_keras(name: str, options) -> dict:
    """One Keras model on JAX: images per second of a compiled, stateless training step."""
    import jax
    import keras

    from hpa_lib import models
    from hpa_lib.models import summary

    keras.config.set_dtype_policy(options.precision)
    model = models.MODELS[name](image_size=options.size, channels="rgby", width=options.width)
    optimizer, loss = keras.optimizers.AdamW(1e-3), keras.losses.BinaryCrossentropy(from_logits=True)
    optimizer.build(model.trainable_variables)
    images, labels = (jax.device_put(array) for array in random_batch(options))

    def loss_of(trainable, fixed):
        logits, fixed = model.stateless_call(trainable, fixed, images, training=True)
        return loss(labels, logits), fixed

    def advance(trainable, fixed, optimizer_state):
        (value, fixed), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, fixed)
        trainable, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
        return trainable, fixed, optimizer_state, value

    advance = jax.jit(advance, donate_argnums=(0, 1, 2))
    state = [
        [variable.value for variable in group]
        for group in (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    ]
    values = []

    def step():
        *state[:], value = advance(*state)
        values[:] = [value]

    seconds = time_steps(step, lambda: values[0].block_until_ready(), options)
    flops = 3 * summary.count_flops(model)
    return {"images_per_second": options.batch / seconds, "flops_per_image": flops, "loss": float(values[0])}


def measure_torch(options) -> dict:
    """ResNet18 in PyTorch with channels_last, autocast and torch.compile: images per second of a training step."""
    import torch

    sys.path.append(str(PROJECT / "tests"))  # the reference network lives with the tests
    import torch_resnet18

    device = "cuda" if torch.cuda.is_available() else "cpu"
    filters = [max(int(count * options.width), 8) for count in (64, 128, 256, 512)]
    network = torch_resnet18.ResNet18(filters, num_labels=28, channels=4).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=device == "cuda")
    images, labels = (torch.from_numpy(array).to(device) for array in random_batch(options))
    images = images.permute(0, 3, 1, 2)  # seen as (B, 4, S, S), lying in memory as channels_last

    def loss_of(batch):
        with torch.autocast(device, torch.bfloat16, enabled=options.precision == "mixed_bfloat16"):
            logits = network((batch.float() / 255 - 0.45) / 0.225)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)

    compiled = loss_of if options.no_compile else torch.compile(loss_of)

    def step():
        optimizer.zero_grad(set_to_none=True)
        compiled(images).backward()
        optimizer.step()

    seconds = time_steps(step, torch.cuda.synchronize if device == "cuda" else lambda: None, options)
    return {"images_per_second": options.batch / seconds}


def measure_in_child(what: str, arguments: list[str]) -> dict:
    """The figures of one row, from a process of its own; ``{}`` with the reason printed when it failed."""
    command = [sys.executable, __file__, *arguments, "--measure", what]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{what}: left out, {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        return {}
    return json.loads(done.stdout.strip().splitlines()[-1])


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--batch", type=int, default=128, help="images")
    parser.add_argument("--steps", type=int, default=20, help="steps in a timed block")
    parser.add_argument("--repeats", type=int, default=5, help="timed blocks, of which the median counts")
    parser.add_argument("--width", type=float, default=1.0, help="multiplies the numbers of filters")
    parser.add_argument("--matmul", type=int, default=8192, help="side of the matrices of the peak")
    parser.add_argument("--precision", default="mixed_bfloat16", choices=("mixed_bfloat16", "float32"))
    parser.add_argument("--no-compile", action="store_true", help="PyTorch without torch.compile")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.measure:
        measure = {"peak": measure_peak, "torch": measure_torch}.get(options.measure)
        print(json.dumps(measure(options) if measure else measure_keras(options.measure, options)))
        return 0
    peak = measure_in_child("peak", arguments)
    if not peak:
        return 1
    print(f"{peak['device']}, {options.precision}, {options.size} px, batches of {options.batch}")
    print(f"matrix rate measured: {peak['flops'] / 1e12:.3g} TFLOP/s (side {options.matmul})")
    rows = {name: measure_in_child(name, arguments) for name in options.models}
    reference = measure_in_child("torch", arguments) if "resnet18" in rows else {}
    print(f"{'network':<14}{'images/s':>10}{'TFLOP/s':>10}{'of peak':>9}{'of PyTorch':>12}")
    for name, row in rows.items():
        if row:
            rate = row["images_per_second"] * row["flops_per_image"]
            ratio = row["images_per_second"] / reference["images_per_second"] if reference and name == "resnet18" else 0
            line = f"{name:<14}{row['images_per_second']:>10.1f}{rate / 1e12:>10.3g}{rate / peak['flops']:>9.1%}"
            print(line + (f"{ratio:>12.2f}" if ratio else ""))
    if reference:
        rate = reference["images_per_second"] * rows["resnet18"].get("flops_per_image", 0)
        share = f"{rate / 1e12:>10.3g}{rate / peak['flops']:>9.1%}" if rate else ""
        print(f"{'resnet18 torch':<14}{reference['images_per_second']:>10.1f}{share}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
