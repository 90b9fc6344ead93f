"""ResNet18 (He et al. 2015, https://arxiv.org/abs/1512.03385) in the layout of torchvision and timm.

Layer names are torch's with the stem marked: torch's ``layer2.0.conv1`` is ``layer2.0.conv1`` here, its ``conv1`` is
``stem.conv1``. Torch pads both sides alike, TensorFlow's "same" does not when the stride is 2: hence explicit padding.
"""

import keras
import numpy as np

from hpa_lib import atlas
from hpa_lib.models import layers

SMALLEST = 32  # pixels: five halvings
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # filters, stride of the first of two blocks


def build(
    image_size: int = 128,
    channels: str = "rgby",
    width: float = 1.0,
    num_labels: int = atlas.NUM_LABELS,
    dropout: float = 0.0,
    shortcut: bool = True,
) -> keras.Model:
    """ResNet18: uint8 (N, S, S, 4) -> float32 logits (N, num_labels). ImageNet mean and std inside.

    Args:
        image_size, channels, width, num_labels: as for every network, see ``hpa_lib.models``.
        dropout: rate before the last layer.
        shortcut: False leaves the shortcuts of all blocks out: the same convolutions, one after the other.
    """
    layers.check_size("resnet18", image_size, SMALLEST)
    mean, std = ([255 * value for value in values] for values in (layers.IMAGENET_MEAN, layers.IMAGENET_STD))
    inputs, x = layers.open_image(image_size, channels, mean, std)
    x = _convolve(x, layers.scaled(64, width), 7, 2, "stem.conv1", "stem.bn1")  # (N, S/2, S/2, 64)
    x = keras.layers.ReLU(name="stem.relu")(x)
    x = keras.layers.ZeroPadding2D(1, name="stem.maxpool_pad")(x)  # 0 does for -inf: nothing after a ReLU is below 0
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem.maxpool")(x)  # (N, S/4, S/4, 64)
    for stage, (filters, stride) in enumerate(STAGES, start=1):
        x = residual_block(x, layers.scaled(filters, width), stride, f"layer{stage}.0", shortcut)
        x = residual_block(x, layers.scaled(filters, width), 1, f"layer{stage}.1", shortcut)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)  # (N, 512)
    if dropout:
        x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    return keras.Model(inputs, layers.classify(x, num_labels), name="resnet18")


def _convolve(x, filters: int, side: int, stride: int, name: str, norm_name: str):
    padding = "same"
    if stride > 1 and side > 1:
        x = keras.layers.ZeroPadding2D(side // 2, name=f"{name}_pad")(x)
        padding = "valid"
    options = {"use_bias": False, "kernel_initializer": "he_normal", "name": name}
    x = keras.layers.Conv2D(filters, side, stride, padding, **options)(x)
    return layers.BatchNorm(epsilon=1e-5, momentum=layers.BATCH_NORM_MOMENTUM, name=norm_name)(x)


def residual_block(x, filters: int, stride: int, name: str, shortcut: bool = True):
    """Two 3x3 convolutions and a shortcut around them, which is a 1x1 convolution where the shape changes."""
    around = x
    if shortcut and (stride != 1 or x.shape[-1] != filters):
        around = _convolve(x, filters, 1, stride, f"{name}.downsample.0", f"{name}.downsample.1")
    x = _convolve(x, filters, 3, stride, f"{name}.conv1", f"{name}.bn1")
    x = keras.layers.ReLU(name=f"{name}.relu1")(x)
    x = _convolve(x, filters, 3, 1, f"{name}.conv2", f"{name}.bn2")
    x = keras.layers.Add(name=f"{name}.add")([x, around]) if shortcut else x
    return keras.layers.ReLU(name=f"{name}.relu2")(x)


def match_tensors(model: keras.Model, tensors: dict[str, np.ndarray]) -> list[tuple]:
    """Which of torch's tensors fills which of our variables; ``fc`` only when it has as many outputs as the model.

    Returns:
        Rows ``(variable, tensor names, function from those tensors to the variable's value)``.
    """
    rows = []
    for layer in model.layers:
        name = layer.name.removeprefix("stem.")
        if isinstance(layer, keras.layers.Conv2D):
            channels = layer.kernel.shape[2]

            def turn(kernel, channels=channels):
                return layers.inflate(kernel.transpose(2, 3, 1, 0), channels)

            rows.append((layer.kernel, (f"{name}.weight",), turn))
        elif isinstance(layer, keras.layers.BatchNormalization):
            parts = {"weight": layer.gamma, "bias": layer.beta}
            parts |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
            rows += [(variable, (f"{name}.{part}",), np.asarray) for part, variable in parts.items()]
    logits = model.get_layer("logits")
    if tensors.get("fc.bias", np.empty(0)).shape == (logits.units,):
        rows += [(logits.kernel, ("fc.weight",), np.transpose), (logits.bias, ("fc.bias",), np.asarray)]
    return rows
