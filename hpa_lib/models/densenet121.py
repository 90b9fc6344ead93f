"""DenseNet121 (Huang et al. 2016, https://arxiv.org/abs/1608.06993) from Keras, with the challenge winner's head.

What the field moved to after the study: each layer of a dense block sees the concatenation of all layers before it,
and the head looks at the average and at the maximum of the last map, because a label may sit in one cell only.
"""

import inspect

import keras

from hpa_lib import atlas
from hpa_lib.models import layers

SMALLEST = 32  # pixels: five halvings
dense_layer = inspect.getmodule(keras.applications.DenseNet121).conv_block  # to be read in notebook 03


def build(
    image_size: int = 128,
    channels: str = "rgby",
    width: float = 1.0,
    num_labels: int = atlas.NUM_LABELS,
    dropout: float = 0.5,
) -> keras.Model:
    """DenseNet121 with a wide head: uint8 (N, S, S, 4) -> float32 logits (N, num_labels). ImageNet mean and std inside.

    Args:
        image_size, channels, num_labels: as for every network, see ``hpa_lib.models``.
        width: multiplies the head's 1024 units; the dense blocks are as Keras fixes them.
        dropout: rate of the head's two dropouts.
    """
    layers.check_size("densenet121", image_size, SMALLEST)
    mean, std = ([255 * value for value in values] for values in (layers.IMAGENET_MEAN, layers.IMAGENET_STD))
    inputs, image = layers.open_image(image_size, channels, mean, std)
    backbone = keras.applications.DenseNet121(include_top=False, weights=None, input_tensor=image)
    x = backbone.output  # (N, S/32, S/32, 1024)
    average = keras.layers.GlobalAveragePooling2D(name="head_average")(x)
    largest = keras.layers.GlobalMaxPooling2D(name="head_max")(x)
    x = keras.layers.Concatenate(name="head_concat")([average, largest])
    x = _steady(x, dropout, 1)
    x = keras.layers.Dense(layers.scaled(1024, width), activation="relu", name="head_dense")(x)
    x = _steady(x, dropout, 2)
    model = keras.Model(inputs, layers.classify(x, num_labels), name="densenet121")
    return keras.models.clone_model(model, clone_function=_clone)


def _clone(layer):
    """The same layer; of a BatchNormalization ours, whose moving averages settle as fast as in the other networks."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        return layers.BatchNorm.from_config(config | {"momentum": layers.BATCH_NORM_MOMENTUM})
    return type(layer).from_config(config)


def _steady(x, dropout: float, number: int):
    x = keras.layers.BatchNormalization(name=f"head_bn{number}")(x)
    return keras.layers.Dropout(dropout, name=f"head_dropout{number}")(x)
