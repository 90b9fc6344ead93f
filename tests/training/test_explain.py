"""Explanations find what a network looks at, and say so when that is not the structure."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from hpa_lib import models
from hpa_lib.training import explain

LABEL, SIZE, MARK = 5, 32, 4
MADE = {}  # networks, built once


def planted(number, seed=0):
    """Fields with a green disc at random, which is the structure, and a red mark in the upper left corner of each."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 50, (number, SIZE, SIZE, 4), np.uint8)
    centres = rng.integers(12, SIZE - 6, (number, 2))
    distance = np.linalg.norm(np.indices((SIZE, SIZE)).T[None] - centres[:, None, None], axis=-1)
    masks = (distance < 5).transpose(0, 2, 1)
    images[masks, 1] = 220
    images[:, :MARK, :MARK, 0] = 240
    return images, masks


def looks_at(channel):
    """A network whose logit of ``LABEL`` rises with the bright pixels of one channel and that sees nothing else."""
    inputs = keras.Input((SIZE, SIZE, 4), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(28, name="logits")(x))
    kernel, bias = (np.zeros(weights.shape, np.float32) for weights in model.get_layer("conv").get_weights())
    kernel[1, 1, channel, 0], bias[0] = 1, -0.5
    model.get_layer("conv").set_weights([kernel, bias])
    dense = np.zeros((4, 28), np.float32)
    dense[0, LABEL] = 100
    model.get_layer("logits").set_weights([dense, np.zeros(28, np.float32)])
    return model


def network(name):
    """One of ours, narrow, 64 pixels."""
    if name not in MADE:
        keras.utils.set_random_seed(0)
        MADE[name] = models.MODELS[name](64, width=0.125)
    return MADE[name]


def noise(number=3, size=64):
    return np.random.default_rng(1).integers(0, 256, (number, size, size, 4), np.uint8)


def test_a_network_that_looks_at_a_planted_corner_mark_is_caught():
    images, masks = planted(8)
    cheat, labels = looks_at(channel=0), np.full(8, LABEL)
    corner = np.zeros((SIZE, SIZE), bool)
    corner[: MARK + 2, : MARK + 2] = True
    assert explain.grad_cam(cheat, images, LABEL)[:, corner].sum(axis=1) == pytest.approx(np.ones(8), abs=1e-5)
    assert explain.occlusion(cheat, images, LABEL, 3, 1)[:, corner].sum(axis=1) == pytest.approx(np.ones(8), abs=1e-5)
    table = explain.localise(cheat, images, labels, masks)
    assert set(table["verdict"]) == {"not told from chance"} and (table["mass"] < 0.01).all()


def test_a_network_that_looks_at_the_structure_is_on_it():
    images, masks = planted(8)
    table = explain.localise(looks_at(channel=1), images, np.full(8, LABEL), masks, covered=6)
    assert table["method"].tolist() == list(explain.METHODS) and table["images"].tolist() == [8, 8, 6]
    assert set(table["verdict"]) == {"on the structure"} and set(table["name"]) == {"Nuclear bodies"}
    assert (table["mass"] > 2 * table["chance"]).all()
    np.testing.assert_allclose(table["over_chance"], table["mass"] - table["chance"], atol=1e-9)
    np.testing.assert_allclose(table["over_random"], table["mass"] - table["random"], atol=1e-9)
    assert (table["mass_low"] <= table["mass"]).all() and (table["mass"] <= table["mass_high"]).all()


def test_an_untrained_network_is_no_better_than_one():
    images, masks = planted(8)
    trained = looks_at(channel=0)
    keras.utils.set_random_seed(3)  # which draws the very weights of the control
    table = explain.localise(keras.models.clone_model(trained), images, np.full(8, LABEL), masks, seed=3)
    assert (table["over_random"] == 0).all() and "on the structure" not in set(table["verdict"])


def test_a_map_without_evidence_counts_as_chance():
    images, masks = planted(4)
    blind = looks_at(channel=1)
    assert not explain.grad_cam(blind, images, LABEL + 1).any()
    assert not explain.occlusion(blind, images, LABEL + 1, 8).any()
    table = explain.localise(blind, images, np.full(4, LABEL + 1), masks)
    np.testing.assert_allclose(table["mass"], table["chance"])
    assert set(table["verdict"]) == {"not told from chance"}


def test_occlusion_is_the_drop_of_the_logit():
    images, _ = planted(2)
    images[:] = 10
    images[0, 8:16, 8:16, 1], images[1, 24:, 24:, 1] = 255, 255  # one square covers each of them
    maps = explain.occlusion(looks_at(channel=1), images, np.array([LABEL, LABEL]), window=8, stride=8)
    expected = np.zeros((2, SIZE, SIZE))
    expected[0, 8:16, 8:16] = expected[1, 24:, 24:] = 1 / 64
    assert maps == pytest.approx(expected, abs=1e-6)


def test_the_squares_of_occlusion_reach_the_last_pixel():
    images, _ = planted(1)
    images[:] = 10
    images[0, -1, -1, 1] = 255
    found = explain.occlusion(looks_at(channel=1), images, LABEL, window=10, stride=9)[0]
    assert found[-10:, -10:].sum() == pytest.approx(1)


@pytest.mark.parametrize("name", models.MODELS)
def test_every_network_can_be_explained(name):
    maps = explain.grad_cam(network(name), noise(), np.array([0, 25, 27]))
    assert maps.shape == (3, 64, 64) and maps.dtype == np.float32 and (maps >= 0).all()
    totals = maps.sum(axis=(1, 2))
    assert totals[totals > 0] == pytest.approx(1, abs=1e-5) and totals.any()
    finer = explain.grad_cam(network(name), noise(), 25, side=8)
    assert len(np.unique(finer)) > len(np.unique(maps[1]))


def test_a_map_is_that_of_its_own_image_and_label(monkeypatch):
    monkeypatch.setattr(explain, "BATCH", 2)
    model, images, labels = network("densenet"), noise(), np.array([2, 16, 25])
    for explanation, options in ((explain.grad_cam, {"side": 8}), (explain.occlusion, {"window": 32})):
        together = explanation(model, images, labels, **options)
        for row, label in enumerate(labels):
            alone = explanation(model, images[[row]], int(label), **options)
            assert alone[0] == pytest.approx(together[row], abs=1e-6) and alone.any()


def test_no_path_leads_past_the_feature_map():
    """The map that is explained carries all that the head sees: the head computes the logits from it."""
    model, images = network("inception_v2"), noise()
    for side in (1, 4, 8, 16):
        features = explain._last_feature_map(model, side)
        found = keras.Model(model.inputs[0], features)(images)
        logits = keras.Model(features, model.outputs[0])(found, training=False)
        assert found.shape[1] >= side
        np.testing.assert_allclose(logits, model(images, training=False), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_explained_is_refused():
    images, _ = planted(2)
    model = looks_at(0)
    with pytest.raises(ValueError, match="labels 5..28: the network has 0..27"):
        explain.grad_cam(model, images, np.array([5, 28]))
    with pytest.raises(ValueError, match="side 40: .* has no feature map"):
        explain.grad_cam(model, images, 5, side=40)
    with pytest.raises(ValueError, match="use 1 <= stride <= window <= 32 pixels"):
        explain.occlusion(model, images, 5, window=8, stride=9)


ON_JAX = """
import sys
sys.modules["tensorflow"] = None  # as on a machine without it
import keras, numpy as np
from hpa_lib.training import explain
folder = sys.argv[1]
assert keras.backend.backend() == "jax"
images = np.load(folder + "/images.npy")
model = keras.models.load_model(folder + "/model.keras")
np.save(folder + "/maps.npy", [explain.grad_cam(model, images, np.array([0, 25, 27]), side) for side in (1, 8)])
"""


def test_jax_gives_the_same_map(tmp_path):
    pytest.importorskip("jax")
    model, images = network("densenet"), noise()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles faster, computes the same
    command = [sys.executable, "-c", ON_JAX, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = np.stack([explain.grad_cam(model, images, np.array([0, 25, 27]), side) for side in (1, 8)])
    assert expected.any(axis=(2, 3)).sum() >= 4
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_no_field_is_no_verdict():
    images, masks = planted(2)
    with pytest.raises(ValueError, match="covered 0: use at least 1 field"):
        explain.localise(looks_at(channel=1), images, np.full(2, LABEL), masks, covered=0)
    table = explain.localise(looks_at(channel=1), images[:1], np.full(1, LABEL), masks[:1])
    assert (table["over_chance_low"] < 0).all() and set(table["verdict"]) == {"not told from chance"}, "of one field"
