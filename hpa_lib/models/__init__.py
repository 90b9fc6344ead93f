"""The four networks, one builder each: ``MODELS["resnet18"](image_size=128, channels="rgby")`` -> a Keras model.

Every model takes the stored image, uint8 (N, S, S, 4) in the order red, green, blue, yellow, and gives float32 logits
(N, 28): a sigmoid makes probabilities of them. Its last layer is named ``logits``, other layers of its head start with
``head_``, everything else is the backbone. The parameters of all builders: ``image_size``, the side in pixels (a
ValueError where it is too small); ``channels``, ``"rgby"``, ``"rgb"`` or ``"rgb_merge"``, see ``layers.Channels``;
``width``, which multiplies every number of filters (ImageNet weights need 1); ``num_labels``, the outputs.
"""

import keras

from hpa_lib.models import densenet, densenet121, inception_v2, resnet18

MODELS = {
    "densenet": densenet.build,
    "resnet18": resnet18.build,
    "inception_v2": inception_v2.build,
    "densenet121": densenet121.build,
}

BLOCK_LINES = {  # network -> its parameter that takes the block away which makes it what it is, and the default
    "densenet": {"concatenate": True},
    "resnet18": {"shortcut": True},
    "inception_v2": {"several_windows": True},
}


def is_head(layer: keras.layers.Layer) -> bool:
    """True for the layers that a new task trains afresh: ``logits`` and those named ``head_...``."""
    return layer.name == "logits" or layer.name.startswith("head_")


def set_backbone_trainable(model: keras.Model, trainable: bool) -> keras.Model:
    """The same model with its backbone frozen (all layers but the head) or freed, for head-first fine-tuning.

    A frozen BatchNorm also keeps its moving averages. Keras notices the change at the next ``compile``: compile again
    after calling this.
    """
    for layer in model.layers:
        if not is_head(layer):
            layer.trainable = trainable
    return model
