"""What the fused BatchNorm of hpa_lib/models/layers.py brings to a training step under TensorFlow.

    python bench/norm.py [--models resnet18] [--size 128] [--batch 32] [--steps 15]

Each network and precision in a process of its own; the same network with Keras's own BatchNormalization takes turns
with ours, block by block, and the medians are compared.
"""

import argparse
import statistics
import subprocess
import sys
import time

import hpa_lib  # noqa: F401  (before Keras: it sets what TensorFlow reads at its first import)


def measure(name: str, precision: str, options) -> str:
    """One line: images per second with Keras's layer and with ours, and the ratio."""
    import keras
    import numpy as np

    from hpa_lib import models
    from hpa_lib.models import layers
    from hpa_lib.training import loop, losses

    keras.config.set_dtype_policy(precision)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (options.batch, options.size, options.size, 4), np.uint8)
    labels = (random.random((options.batch, 28)) < 0.06).astype("float32")
    ours, compiled = layers.BatchNorm.call, {}
    for kind, call in (("keras", keras.layers.BatchNormalization.call), ("fused", ours)):
        layers.BatchNorm.call = call
        model = models.MODELS[name](image_size=options.size)
        optimizer = loop.make_optimizer(lr=1e-3, epochs=100, steps=100)
        model.compile(optimizer=optimizer, loss=losses.make_loss("bce", np.ones(28)), jit_compile=False)
        model.train_on_batch(images, labels)  # traced while ``call`` is in place
        compiled[kind] = model
    rates = {kind: [] for kind in compiled}
    for _ in range(options.steps):
        for kind, model in compiled.items():
            started = time.perf_counter()
            model.train_on_batch(images, labels)
            rates[kind].append(options.batch / (time.perf_counter() - started))
    keras_rate, fused_rate = (statistics.median(rates[kind]) for kind in ("keras", "fused"))
    return f"{name:<14}{precision:<16}{keras_rate:>11.1f}{fused_rate:>11.1f}{fused_rate / keras_rate:>8.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=("densenet", "resnet18", "inception_v2"))
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each kind")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measure(*options.measure, options))
        return
    print(f"{'network':<14}{'precision':<16}{'keras img/s':>11}{'ours img/s':>11}{'ratio':>8}", flush=True)
    for name in options.models:
        for precision in ("float32", "mixed_bfloat16"):
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", name, precision]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            print(done.stdout.strip().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
