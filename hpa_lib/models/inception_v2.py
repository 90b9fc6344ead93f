"""Inception V2 as TF-Slim defines it: Inception with Batch Normalization.

Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167.
Layer names are Slim's variable names with dots for slashes; the layer named exactly like one of Slim's endpoints
(``Conv2d_1a_7x7``, ``Mixed_3c``, ...) gives that endpoint.
"""

import keras
from keras import layers

from hpa_lib import labels
from hpa_lib.models import stem

SMALLEST = 32  # pixels: five halvings
HALF_RANGE = (127.5, 127.5, 127.5)  # mean and std that bring 0..255 to -1..1

# Filters of the mixed blocks that keep the map's size: 1x1; 1x1, 3x3; 1x1, 3x3, 3x3; pooling and 1x1.
MIXED = {
    "Mixed_3b": ((64,), (64, 64), (64, 96, 96), ("average", 32)),
    "Mixed_3c": ((64,), (64, 96), (64, 96, 96), ("average", 64)),
    "Mixed_4b": ((224,), (64, 96), (96, 128, 128), ("average", 128)),
    "Mixed_4c": ((192,), (96, 128), (96, 128, 128), ("average", 128)),
    "Mixed_4d": ((160,), (128, 160), (128, 160, 160), ("average", 96)),
    "Mixed_4e": ((96,), (128, 192), (160, 192, 192), ("average", 96)),
    "Mixed_5b": ((352,), (192, 320), (160, 224, 224), ("average", 128)),
    "Mixed_5c": ((352,), (192, 320), (192, 224, 224), ("max", 128)),
}
# Filters of those that halve it: 1x1, 3x3/2; 1x1, 3x3, 3x3/2; beside them a max pooling.
HALVING = {"Mixed_4a": ((128, 160), (64, 96, 96)), "Mixed_5a": ((128, 192), (192, 256, 256))}


def build(
    image_size: int = 128,
    channels: str = "rgby",
    width: float = 1.0,
    num_labels: int = labels.NUM_LABELS,
    dropout: float = 0.2,
    stem_norm: bool = False,
) -> keras.Model:
    """Inception V2: uint8 (N, S, S, 4) -> float32 logits (N, num_labels). Pixels are brought to -1..1 inside.

    Args:
        image_size: pixels, 32 or more.
        channels: ``"rgby"``, ``"rgb"`` or ``"rgb_merge"``.
        width: Slim's depth multiplier: of every number of filters, 16 at least; ImageNet weights need 1.
        num_labels: outputs.
        dropout: rate before the last layer (Slim keeps .8).
        stem_norm: BatchNorm on the stem; Slim's own arg scope gives it biases instead.

    Raises:
        ValueError: the image is too small, or the channel mode is unknown.
    """
    stem.check_size("inception_v2", image_size, SMALLEST)
    inputs, x = stem.open_image(image_size, channels, HALF_RANGE, HALF_RANGE)
    x = _open_stem(x, width, stem_norm)  # (N, S/2, S/2, 64)
    x = _pool(x, "max", 2, "MaxPool_2a_3x3")
    x = _convolve(x, 64, 1, 1, width, "Conv2d_2b_1x1")
    x = _convolve(x, 192, 3, 1, width, "Conv2d_2c_3x3")
    x = _pool(x, "max", 2, "MaxPool_3a_3x3")  # (N, S/8, S/8, 192)
    for name in sorted([*MIXED, *HALVING]):  # Mixed_3b to Mixed_5c
        x = _mix(x, width, name)  # at the end (N, S/32, S/32, 1024)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return keras.Model(inputs, stem.classify(x, num_labels), name="inception_v2")


def _open_stem(x, width: float, stem_norm: bool):
    """The separable 7x7/2 convolution: 8 spatial filters a channel (fewer in narrow models), then a 1x1 mix."""
    filters = stem.scaled(64, width, smallest=16)
    x = layers.SeparableConv2D(
        filters,
        7,
        strides=2,
        padding="same",
        depth_multiplier=min(filters // 3, 8),  # Slim divides by 3 whatever the number of channels
        use_bias=not stem_norm,
        name="Conv2d_1a_7x7.conv",
    )(x)
    if stem_norm:
        x = _normalise(x, "Conv2d_1a_7x7")
    return layers.ReLU(name="Conv2d_1a_7x7")(x)


def _normalise(x, name: str):
    return layers.BatchNormalization(
        epsilon=1e-3, scale=False, momentum=stem.BATCH_NORM_MOMENTUM, name=f"{name}.BatchNorm"
    )(x)


def _convolve(x, filters: int, side: int, stride: int, width: float, name: str):
    x = layers.Conv2D(
        stem.scaled(filters, width, smallest=16),
        side,
        stride,
        "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}.conv",
    )(x)
    return layers.ReLU(name=name)(_normalise(x, name))


def _pool(x, kind: str, stride: int, name: str):
    pooling = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[kind]
    return pooling(3, strides=stride, padding="same", name=name)(x)


def _mix(x, width: float, name: str):
    """One mixed block: its branches see the same map, their answers are concatenated."""
    branch = f"{name}.Branch_"
    if name in HALVING:
        (first, second), stride = HALVING[name], 2
        branches = [
            _follow(x, first, ("Conv2d_0a_1x1", "Conv2d_1a_3x3"), stride, width, f"{branch}0"),
            _follow(x, second, ("Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_1a_3x3"), stride, width, f"{branch}1"),
            _pool(x, "max", stride, f"{branch}2.MaxPool_1a_3x3"),
        ]
        return layers.Concatenate(name=name)(branches)
    first, second, third, (pooling, pooled_filters) = MIXED[name]
    pooled = _pool(x, pooling, 1, f"{branch}3.{pooling.capitalize()}Pool_0a_3x3")
    branches = [
        _follow(x, first, ("Conv2d_0a_1x1",), 1, width, f"{branch}0"),
        _follow(x, second, ("Conv2d_0a_1x1", "Conv2d_0b_3x3"), 1, width, f"{branch}1"),
        _follow(x, third, ("Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_0c_3x3"), 1, width, f"{branch}2"),
        _follow(pooled, (pooled_filters,), ("Conv2d_0b_1x1",), 1, width, f"{branch}3"),
    ]
    return layers.Concatenate(name=name)(branches)


def _follow(x, filters: tuple, names: tuple, stride: int, width: float, branch: str):
    """A chain of convolutions; the side of each is the last digit of its name, the last one takes the stride."""
    for number, (count, name) in enumerate(zip(filters, names, strict=True), start=1):
        step = stride if number == len(names) else 1
        x = _convolve(x, count, int(name[-1]), step, width, f"{branch}.{name}")
    return x
