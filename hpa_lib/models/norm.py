"""Batch normalisation in one pass over the map where TensorFlow runs the network; Keras's own elsewhere.

Keras 3 writes BatchNormalization as a dozen elementwise operations in float32. XLA fuses them (JAX, GPUs), plain
TensorFlow on a CPU does not, and there they take more of a training step than the convolutions (`bench/norm.py`).
TensorFlow's fused kernel computes the same numbers; `tests/test_norm.py` holds the two against each other.
"""

import keras


@keras.saving.register_keras_serializable("hpa_lib")
class BatchNorm(keras.layers.BatchNormalization):
    """``keras.layers.BatchNormalization`` over the last axis, with the same arguments, weights and results."""

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
        moments = {
            "mean": tf.cast(layer.moving_mean, tf.float32),
            "variance": tf.cast(layer.moving_variance, tf.float32),
        }
        return fused(inputs, gamma, beta, **moments, epsilon=layer.epsilon, is_training=False)[0]
    outputs, mean, variance = fused(inputs, gamma, beta, epsilon=layer.epsilon, is_training=True)
    count = tf.cast(tf.size(inputs) // filters, tf.float32)
    variance = variance * (count - 1) / count  # the kernel divides by count - 1, Keras by count
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return outputs
