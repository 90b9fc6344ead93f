"""The study's DenseNet-like CNN: a small network trained from scratch, with one parallel block.

Despite its name it holds one concatenation only: four convolutions with different fields of view look at the same
map and their answers are stacked. The study leaves most dropout rates open; they are .1 here: the network is small,
and a higher rate keeps it from learning much in few epochs.
"""

import keras

from hpa_lib import atlas
from hpa_lib.models import layers

OPEN_DROPOUT = 0.1  # where the study names no rate
SMALLEST = 62  # pixels; from 94 on every convolution is exactly the study's


def build(
    image_size: int = 128,
    channels: str = "rgby",
    width: float = 1.0,
    num_labels: int = atlas.NUM_LABELS,
    concatenate: bool = True,
) -> keras.Model:
    """The study's CNN: uint8 (N, S, S, 4) -> float32 logits (N, num_labels).

    Pixels are divided by 255, a BatchNorm does the rest. The convolutions lose a border pixel on each side ("valid").
    From 62 to 93 pixels the last one would be larger than its map, and keeps the border ("same") there.

    Args:
        image_size, channels, width, num_labels: as for every network, see ``hpa_lib.models``.
        concatenate: False puts one 3x3 window in place of the four windows of the parallel block.
    """
    layers.check_size("densenet", image_size, SMALLEST)
    inputs, x = layers.open_image(image_size, channels, (0, 0, 0), (255, 255, 255))
    x = _normalise(x, "entry.bn")
    for number, filters in enumerate((8, 8, 16), start=1):
        x = _convolve(x, filters, width, f"entry.conv{number}")
    x = _shrink(x, "entry")
    x = parallel_block(x, width, concatenate)  # (N, S/2 - 3, S/2 - 3, 64)
    x = _shrink(x, "parallel")
    for number, filters in enumerate((32, 64, 128), start=1):
        x = _convolve(x, filters, width, f"block{number}.conv")
        x = _shrink(x, f"block{number}")
    x = keras.layers.Flatten(name="head_flatten")(x)
    x = keras.layers.Dropout(0.5, name="head_dropout1")(x)
    x = keras.layers.Dense(28, activation="relu", name="head_dense")(x)
    x = _normalise(x, "head_bn")
    x = keras.layers.Dropout(0.1, name="head_dropout2")(x)
    return keras.Model(inputs, layers.classify(x, num_labels), name="densenet")


def _normalise(x, name: str):
    return layers.BatchNorm(momentum=layers.BATCH_NORM_MOMENTUM, name=name)(x)


def _convolve(x, filters: int, width: float, name: str):
    padding = "valid" if x.shape[1] >= 4 else "same"  # "same" only where the map is too small, see build
    filters = layers.scaled(filters, width, smallest=2)
    x = keras.layers.Conv2D(filters, 3, padding=padding, activation="relu", name=name)(x)
    return _normalise(x, f"{name}_bn")


def _shrink(x, block: str):
    x = keras.layers.MaxPooling2D(2, name=f"{block}.maxpool")(x)
    return keras.layers.Dropout(OPEN_DROPOUT, name=f"{block}.dropout")(x)


def parallel_block(x, width: float, concatenate: bool = True):
    """Four windows read the same map and their 4 x 16 filters are concatenated; without, one 3x3 window has all 64."""
    sides, filters = ((3, 5, 7, 1), 16) if concatenate else ((3,), 64)
    options = {"padding": "same", "activation": "relu"}
    branches = [
        keras.layers.Conv2D(layers.scaled(filters, width, 2), side, name=f"parallel.conv{side}x{side}", **options)(x)
        for side in sides
    ]
    x = keras.layers.Concatenate(name="parallel.concat")(branches) if concatenate else branches[0]
    return _normalise(x, "parallel.bn")
