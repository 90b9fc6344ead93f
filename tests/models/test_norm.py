import keras
import numpy as np
import pytest
import tensorflow as tf

from hpa_lib.models import layers

MAP = np.random.default_rng(0).normal(3, 2, (5, 6, 7, 4)).astype("float32")


def pair(**options):
    """Our layer and Keras's with the same, uneven weights."""
    both = layers.BatchNorm(**options), keras.layers.BatchNormalization(**options)
    random = np.random.default_rng(1)
    for layer in both:
        layer.build(MAP.shape)
    values = [random.uniform(0.5, 1.5, weight.shape) for weight in both[0].weights]
    for layer in both:
        layer.set_weights(values)
    return both


def step(layer, training):
    """Output, gradients with respect to input and weights, and the weights afterwards."""
    inputs = tf.constant(MAP)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=training)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2 * tf.range(4, dtype=tf.float32))
    gradients = tape.gradient(loss, [inputs, *[weight.value for weight in layer.trainable_weights]])
    return [np.asarray(outputs), *[np.asarray(gradient) for gradient in gradients], *layer.get_weights()]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"scale": False, "epsilon": 1e-3}, {"momentum": 0.5, "epsilon": 1e-5}])
def test_equals_keras_in_values_gradients_and_averages(training, options):
    ours, theirs = pair(**options)
    for found, other in zip(step(ours, training), step(theirs, training), strict=True):
        np.testing.assert_allclose(found, other, rtol=2e-4, atol=2e-4)


def test_frozen_it_keeps_its_averages():
    ours, _ = pair()
    ours.trainable = False
    before = ours.get_weights()
    ours(MAP, training=True)
    assert all(np.array_equal(found, other) for found, other in zip(before, ours.get_weights(), strict=True))


def test_flat_inputs_and_bfloat16_work():
    assert layers.BatchNorm()(MAP[:, 0, 0], training=True).shape == (5, 4)
    half = layers.BatchNorm(dtype="mixed_bfloat16")(MAP, training=True)
    assert half.dtype == "bfloat16"
    whole = keras.layers.BatchNormalization()(MAP, training=True)
    np.testing.assert_allclose(np.asarray(half, "float32"), np.asarray(whole), atol=0.03)
