"""What the networks share: how an image enters, normalisation, the last layer, a stem with a fourth channel.

Every model takes the stored image, uint8 (N, S, S, 4) in the order red, green, blue, yellow. Two small named layers
turn it into what the network expects, so a saved model needs no side knowledge:

* ``channels`` picks or merges the channels and makes them float32, still 0..255;
* ``normalise`` is (pixel - mean) / std for each channel.
"""

import keras
import numpy as np
from keras import ops

CHANNEL_MODES = {"rgby": 4, "rgb": 3, "rgb_merge": 3}  # mode -> number of channels that the network sees
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in 0..1, as torchvision, timm and Keras' DenseNet121 expect
IMAGENET_STD = (0.229, 0.224, 0.225)
BATCH_NORM_MOMENTUM = 0.9  # moving averages settle within tens of steps, which short training runs need


@keras.saving.register_keras_serializable("hpa_lib")
class Channels(keras.layers.Layer):
    """The channels that the network sees, float32 in 0..255.

    Args:
        mode: ``"rgby"`` all four; ``"rgb"`` drops yellow; ``"rgb_merge"`` adds half of yellow to red and half to green
            (values above 255 are cut at 255, so a merged image is still an image) and keeps blue.
    """

    def __init__(self, mode: str = "rgby", **options):
        super().__init__(**options)
        self.mode = mode

    def call(self, images):
        """Float32 (N, S, S, 3 or 4) from uint8 (N, S, S, 4)."""
        if self.mode == "rgby":
            return ops.cast(images, "float32")
        rgb = ops.cast(images[..., :3], "float32")
        if self.mode == "rgb":
            return rgb
        half_yellow = ops.cast(images[..., 3:], "float32") * 0.5  # (N, S, S, 1)
        merged = ops.minimum(rgb[..., :2] + half_yellow, 255.0)
        return ops.concatenate([merged, rgb[..., 2:]], axis=-1)

    def get_config(self):
        """What is needed to build the layer again."""
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable("hpa_lib")
class Normalise(keras.layers.Layer):
    """(pixel - mean) / std, channel by channel, in float32: in bfloat16 the mean alone would lose grey levels.

    Args:
        mean, std: one number per channel, in pixel units (0..255).
    """

    def __init__(self, mean, std, **options):
        super().__init__(**options)
        self.mean, self.std = [float(value) for value in mean], [float(value) for value in std]

    def call(self, pixels):
        """Float32, the shape of ``pixels``."""
        scale = 1.0 / np.asarray(self.std, "float32")
        offset = -np.asarray(self.mean, "float32") * scale
        return pixels * ops.convert_to_tensor(scale) + ops.convert_to_tensor(offset)

    def get_config(self):
        """What is needed to build the layer again."""
        return {**super().get_config(), "mean": self.mean, "std": self.std}


def open_image(image_size: int, channels: str, mean, std):
    """The model's input and the normalised image, the first two named layers of every model.

    Yellow, which no ImageNet network knows, is divided by the mean of red's and green's std and NOT centred: an image
    without yellow is then a normalised 0 there, and an inflated stem computes exactly what its 3-channel parent did.

    Args:
        image_size: pixels, the side of the square image.
        channels: a key of ``CHANNEL_MODES``; a ValueError names them.
        mean, std: three numbers for R, G, B, in pixel units (0..255).

    Returns:
        ``inputs`` uint8 (N, S, S, 4), ``image`` float32 (N, S, S, 3 or 4).
    """
    if channels not in CHANNEL_MODES:
        raise ValueError(f"channels {channels!r}: use one of {', '.join(CHANNEL_MODES)}")
    mean, std = list(mean), list(std)
    if CHANNEL_MODES[channels] == 4:
        mean, std = [*mean, 0.0], [*std, (std[0] + std[1]) / 2]
    inputs = keras.Input((image_size, image_size, 4), dtype="uint8", name="image")
    image = Channels(channels, dtype="float32", name="channels")(inputs)
    return inputs, Normalise(mean, std, dtype="float32", name="normalise")(image)


def check_size(model_name: str, image_size: int, smallest: int) -> None:
    """Refuse an ``image_size`` (pixels) that leaves no pixel after the last pooling."""
    if image_size < smallest:
        raise ValueError(f"image_size {image_size} is too small for {model_name}: use {smallest} pixels or more")


def scaled(filters: int, width: float, smallest: int = 8) -> int:
    """``filters`` times the width multiplier, rounded down, ``smallest`` at least."""
    return max(int(filters * width), smallest)


def classify(features, num_labels: int):
    """The last layer, named ``logits``: float32 (N, num_labels) from (N, F), also under mixed precision."""
    return keras.layers.Dense(num_labels, dtype="float32", name="logits")(features)


def inflate(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel of 3 input ``channels`` (height, width, 3, filters) for 4: yellow gets the mean of red and green.

    A normalised yellow of 0, which is an image without yellow, gives the 3-channel result exactly. Other kernels, and
    those for 3 channels, stay as they are.
    """
    if channels != 4 or kernel.shape[2] != 3:
        return kernel
    red, green, _ = np.split(kernel, 3, axis=2)
    return np.concatenate([kernel, (red + green) / 2], axis=2)


@keras.saving.register_keras_serializable("hpa_lib")
class BatchNorm(keras.layers.BatchNormalization):
    """``keras.layers.BatchNormalization`` with the same arguments, weights and results, in one pass under TensorFlow.

    Keras 3 writes it as a dozen elementwise operations in float32. XLA fuses them (JAX, GPUs), plain TensorFlow on a
    CPU does not, and there they take more of a training step than the convolutions. TensorFlow's fused kernel computes
    the same numbers (``tests/models/test_norm.py``); ``bench/training.py`` measures what it brings.
    """

    def call(self, inputs, training=None, mask=None):
        """The normalised map, in the layer's compute dtype; moving averages are updated when ``training``."""
        if keras.backend.backend() != "tensorflow" or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        return _normalise_fused(self, keras.ops.cast(inputs, self.compute_dtype), bool(training and self.trainable))


def _normalise_fused(layer, inputs, training: bool):
    import tensorflow as tf

    filters = inputs.shape[-1]
    gamma = tf.cast(layer.gamma, tf.float32) if layer.scale else tf.ones(filters)
    beta = tf.cast(layer.beta, tf.float32) if layer.center else tf.zeros(filters)
    fused = tf.compat.v1.nn.fused_batch_norm
    if not training:
        moments = (tf.cast(moment, tf.float32) for moment in (layer.moving_mean, layer.moving_variance))
        return fused(inputs, gamma, beta, *moments, epsilon=layer.epsilon, is_training=False)[0]
    outputs, mean, variance = fused(inputs, gamma, beta, epsilon=layer.epsilon, is_training=True)
    count = tf.cast(tf.size(inputs) // filters, tf.float32)
    variance = variance * (count - 1) / count  # the kernel divides by count - 1, Keras by count
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return outputs
