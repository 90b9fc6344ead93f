"""Inception V2 as TF-Slim defines it: Inception with Batch Normalization.

Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167.
Layer names are Slim's variable names with dots for slashes; the layer named exactly like one of Slim's endpoints
(``Conv2d_1a_7x7``, ``Mixed_3c``, ...) gives that endpoint.
"""

import keras
import numpy as np

from hpa_lib import atlas
from hpa_lib.models import layers

STEM = "Conv2d_1a_7x7"
LOGITS = "InceptionV2/Logits/Conv2d_1c_1x1"
EPSILON = 1e-3  # of every BatchNorm
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
    num_labels: int = atlas.NUM_LABELS,
    dropout: float = 0.2,
    stem_norm: bool = False,
    several_windows: bool = True,
) -> keras.Model:
    """Inception V2: uint8 (N, S, S, 4) -> float32 logits (N, num_labels). Pixels are brought to -1..1 inside.

    Args:
        image_size, channels, num_labels: as for every network, see ``hpa_lib.models``.
        width: Slim's depth multiplier, of every number of filters (16 at least); ImageNet weights need 1.
        dropout: rate before the last layer (Slim keeps .8).
        stem_norm: BatchNorm on the stem; Slim's own arg scope gives it biases instead.
        several_windows: False gives each mixed block one 3x3 window with as many filters as its branches have.
    """
    layers.check_size("inception_v2", image_size, SMALLEST)
    inputs, x = layers.open_image(image_size, channels, HALF_RANGE, HALF_RANGE)
    x = _open_stem(x, width, stem_norm)  # (N, S/2, S/2, 64)
    x = _pool(x, "max", 2, "MaxPool_2a_3x3")
    x = _convolve(x, 64, 1, 1, width, "Conv2d_2b_1x1")
    x = _convolve(x, 192, 3, 1, width, "Conv2d_2c_3x3")
    x = _pool(x, "max", 2, "MaxPool_3a_3x3")  # (N, S/8, S/8, 192)
    for name in sorted([*MIXED, *HALVING]):  # Mixed_3b to Mixed_5c
        x = mixed_block(x, width, name, several_windows)  # at the end (N, S/32, S/32, 1024)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    return keras.Model(inputs, layers.classify(x, num_labels), name="inception_v2")


def _open_stem(x, width: float, stem_norm: bool):
    """The separable 7x7/2 convolution: 8 spatial filters per channel (fewer in narrow models), then a 1x1 mix."""
    filters = layers.scaled(64, width, smallest=16)
    multiplier = min(filters // 3, 8)  # Slim divides by 3 whatever the number of channels
    options = {"depth_multiplier": multiplier, "use_bias": not stem_norm, "name": f"{STEM}.conv"}
    x = keras.layers.SeparableConv2D(filters, 7, 2, "same", **options)(x)
    if stem_norm:
        x = _normalise(x, STEM)
    return keras.layers.ReLU(name=STEM)(x)


def _normalise(x, name: str):
    options = {"epsilon": EPSILON, "scale": False, "momentum": layers.BATCH_NORM_MOMENTUM}
    return layers.BatchNorm(name=f"{name}.BatchNorm", **options)(x)


def _convolve(x, filters: int, side: int, stride: int, width: float, name: str):
    filters = layers.scaled(filters, width, smallest=16)
    options = {"use_bias": False, "kernel_initializer": "he_normal", "name": f"{name}.conv"}
    x = keras.layers.Conv2D(filters, side, stride, "same", **options)(x)
    return keras.layers.ReLU(name=name)(_normalise(x, name))


def _pool(x, kind: str, stride: int, name: str):
    pooling = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}[kind]
    return pooling(3, strides=stride, padding="same", name=name)(x)


def mixed_block(x, width: float, name: str, several_windows: bool = True):
    """Branches with windows of several sizes read the same map, and their outputs are concatenated."""
    branch = f"{name}.Branch_"
    if not several_windows:
        return _one_window(x, width, name)
    if name in HALVING:
        (first, second), stride = HALVING[name], 2
        branches = [
            _follow(x, first, ("Conv2d_0a_1x1", "Conv2d_1a_3x3"), stride, width, f"{branch}0"),
            _follow(x, second, ("Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_1a_3x3"), stride, width, f"{branch}1"),
            _pool(x, "max", stride, f"{branch}2.MaxPool_1a_3x3"),
        ]
        return keras.layers.Concatenate(name=name)(branches)
    first, second, third, (pooling, pooled_filters) = MIXED[name]
    pooled = _pool(x, pooling, 1, f"{branch}3.{pooling.capitalize()}Pool_0a_3x3")
    branches = [
        _follow(x, first, ("Conv2d_0a_1x1",), 1, width, f"{branch}0"),
        _follow(x, second, ("Conv2d_0a_1x1", "Conv2d_0b_3x3"), 1, width, f"{branch}1"),
        _follow(x, third, ("Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_0c_3x3"), 1, width, f"{branch}2"),
        _follow(pooled, (pooled_filters,), ("Conv2d_0b_1x1",), 1, width, f"{branch}3"),
    ]
    return keras.layers.Concatenate(name=name)(branches)


def _one_window(x, width: float, name: str):
    """The block without its branches: a 1x1 and a 3x3 convolution with the filters of all branches together."""
    if name in HALVING:
        (narrow, middle), (_, _, last) = HALVING[name]
        filters = (narrow, middle + last + round(x.shape[-1] / width))  # the pooling passes its input's channels on
        return _follow(x, filters, ("Conv2d_0a_1x1", "Conv2d_1a_3x3"), 2, width, f"{name}.Branch_0")
    branches = MIXED[name]
    filters = (branches[1][0], sum(branch[-1] for branch in branches))
    return _follow(x, filters, ("Conv2d_0a_1x1", "Conv2d_0b_3x3"), 1, width, f"{name}.Branch_1")


def _follow(x, filters: tuple, names: tuple, stride: int, width: float, branch: str):
    """A chain of convolutions; the side of each is the last digit of its name, the last one takes the stride."""
    for number, (count, name) in enumerate(zip(filters, names, strict=True), start=1):
        step = stride if number == len(names) else 1
        x = _convolve(x, count, int(name[-1]), step, width, f"{branch}.{name}")
    return x


def match_tensors(model: keras.Model, tensors: dict[str, np.ndarray]) -> list[tuple]:
    """Which of Slim's tensors, with either kind of stem, fills which variable of a model with either kind of stem.

    The classifier is matched only when it has as many outputs as the model.

    Returns:
        Rows ``(variable, tensor names, function from those tensors to the variable's value)``.

    Raises:
        ValueError: the checkpoint has no stem that we know, or a BatchNorm with gamma.
    """
    rows = _match_stem(model, tensors)
    for layer in model.layers:
        name = f"InceptionV2/{layer.name.replace('.', '/')}"
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.name.startswith(STEM):
            rows += _match_norm(layer, name, tensors)
        elif isinstance(layer, keras.layers.Conv2D):
            rows.append((layer.kernel, (f"{name.removesuffix('/conv')}/weights",), np.asarray))
    logits = model.get_layer("logits")
    if tensors.get(f"{LOGITS}/biases", np.empty(0)).shape == (logits.units,):
        rows.append((logits.kernel, (f"{LOGITS}/weights",), lambda kernel: kernel[0, 0]))
        rows.append((logits.bias, (f"{LOGITS}/biases",), np.asarray))
    return rows


def stem_kind(tensors: dict[str, np.ndarray]) -> str:
    """Which stem a checkpoint holds: ``"biases"`` or ``"BatchNorm"``; a ValueError where it has neither."""
    for part, kind in (("biases", "biases"), ("BatchNorm/beta", "BatchNorm")):
        if f"InceptionV2/{STEM}/{part}" in tensors:
            return kind
    raise ValueError(f"no biases and no BatchNorm on InceptionV2/{STEM}: use a TF-Slim Inception V2 checkpoint")


def _match_norm(layer, name: str, tensors: dict) -> list[tuple]:
    if np.any(tensors.get(f"{name}/gamma", 1) != 1):
        raise ValueError(f"{name}/gamma scales, but Slim's Inception V2 has no gamma: use another checkpoint")
    variables = {"beta": layer.beta, "moving_mean": layer.moving_mean, "moving_variance": layer.moving_variance}
    return [(variable, (f"{name}/{part}",), np.asarray) for part, variable in variables.items()]


def _match_stem(model: keras.Model, tensors: dict) -> list[tuple]:
    """The stem's rows: two factors of filters, and biases or BatchNorm, converted to the model's kind."""
    prefix, layer = f"InceptionV2/{STEM}", model.get_layer(f"{STEM}.conv")
    channels, multiplier = layer.depthwise_kernel.shape[2:]
    norm = next((other for other in model.layers if other.name == f"{STEM}.BatchNorm"), None)

    def fit(kernel):
        return layers.inflate(kernel, channels)

    def mix(kernel, variance=1 - EPSILON):  # (1, 1, channels * multiplier, filters), what follows divides by its root
        split = (kernel / np.sqrt(variance + EPSILON)).reshape(1, 1, -1, multiplier, kernel.shape[-1])
        return fit(split).reshape(1, 1, -1, kernel.shape[-1])

    rows = [(layer.depthwise_kernel, (f"{prefix}/depthwise_weights",), fit)]
    pointwise, biases = (f"{prefix}/pointwise_weights",), (f"{prefix}/biases",)
    if norm is None and stem_kind(tensors) == "BatchNorm":
        beta, mean, variance = (f"{prefix}/BatchNorm/{part}" for part in ("beta", "moving_mean", "moving_variance"))
        rows.append((layer.pointwise_kernel, (*pointwise, variance), mix))
        return [*rows, (layer.bias, (beta, mean, variance), lambda b, m, v: b - m / np.sqrt(v + EPSILON))]
    rows.append((layer.pointwise_kernel, pointwise, mix))
    if norm is None:
        return [*rows, (layer.bias, biases, np.asarray)]
    if stem_kind(tensors) == "BatchNorm":
        return rows + _match_norm(norm, f"{prefix}/BatchNorm", tensors)
    rows += [(norm.beta, biases, np.asarray), (norm.moving_mean, biases, np.zeros_like)]
    return [*rows, (norm.moving_variance, biases, lambda values: np.full_like(values, 1 - EPSILON))]
