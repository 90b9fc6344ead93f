import os
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from hpa_lib import models
from hpa_lib.figures import architecture
from hpa_lib.models import densenet, layers, summary

SMALL = {"densenet": 0.5, "resnet18": 0.125, "inception_v2": 0.25, "densenet121": 0.05}  # width, small for testing


def small(name, **options):
    keras.utils.set_random_seed(1)
    return models.MODELS[name](**{"image_size": 64, "width": SMALL[name], **options})


def random_images(size=64, count=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 4), np.uint8)


def shake(model, seed=0):
    """Make every weight random, so that nothing is hidden by a fresh BatchNorm or a zero bias."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype.startswith("float"):
            near = 1.0 if variable.name in ("gamma", "moving_variance") else 0.0
            fans = max(1, int(np.prod(variable.shape[:-1])))
            spread = 0.2 if len(variable.shape) == 1 else (2 / fans) ** 0.5
            noise = random.normal(0, spread, variable.shape)
            variable.assign(near + (abs(noise) if near else noise))
    return model


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def built():
    return {name: shake(small(name)) for name in models.MODELS}


@pytest.mark.parametrize("name", models.MODELS)
def test_takes_uint8_and_gives_logits(name, built):
    model = built[name]
    assert model.name == name
    assert model.input_shape == (None, 64, 64, 4) and model.inputs[0].dtype == "uint8"
    assert model.layers[-1].name == "logits"
    logits = model.predict(random_images(), verbose=0)
    assert logits.shape == (2, 28) and logits.dtype == np.float32
    assert np.isfinite(logits).all() and logits.min() < 0 < logits.max()


def test_logits_stay_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = small("resnet18")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.get_layer("layer1.0.conv1").compute_dtype == "bfloat16"
    assert model.get_layer("normalise").compute_dtype == "float32"
    assert model.predict(random_images(), verbose=0).dtype == np.float32


@pytest.mark.parametrize("mode", layers.CHANNEL_MODES)
def test_channel_modes(mode):
    images = random_images(8)
    found = keras.ops.convert_to_numpy(layers.Channels(mode)(images))
    red, green, blue, yellow = (images[..., channel].astype(float) for channel in range(4))
    expected = {
        "rgby": [red, green, blue, yellow],
        "rgb": [red, green, blue],
        "rgb_merge": [np.minimum(red + yellow / 2, 255), np.minimum(green + yellow / 2, 255), blue],
    }[mode]
    np.testing.assert_array_equal(found, np.stack(expected, axis=-1))
    assert found.dtype == np.float32
    model = small("densenet", channels=mode)
    assert model.get_layer("entry.conv1").kernel.shape[2] == len(expected)


def test_normalise_is_the_imagenet_transform():
    model = small("resnet18", channels="rgb")
    before = keras.Model(model.input, model.get_layer("normalise").output)
    images = random_images()
    expected = (images[..., :3] / 255 - layers.IMAGENET_MEAN) / layers.IMAGENET_STD
    np.testing.assert_allclose(before.predict(images, verbose=0), expected, atol=1e-5)


def test_inception_sees_minus_one_to_one_and_yellow_from_zero():
    model = small("inception_v2", channels="rgby")
    before = keras.Model(model.input, model.get_layer("normalise").output)
    images = np.zeros((1, 64, 64, 4), np.uint8)
    images[0, 0, 0] = 255
    pixels = before.predict(images, verbose=0)[0]
    np.testing.assert_allclose(pixels[0, 0], [1, 1, 1, 2], atol=1e-6)
    np.testing.assert_allclose(pixels[1, 1], [-1, -1, -1, 0], atol=1e-6)


@pytest.mark.parametrize("size", [62, 64, 65, 93, 94, 128, 224, 512])
def test_densenet_at_many_sizes(size):
    model = densenet.build(image_size=size, width=0.25)
    assert model.output_shape == (None, 28)
    padding = model.get_layer("block3.conv").padding
    assert padding == ("valid" if size >= 94 else "same")
    others = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and "parallel" not in layer.name
    ]
    assert all(layer.padding == "valid" for layer in others if layer.name != "block3.conv")


def test_densenet_is_the_reports():
    kinds = (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.Dropout, keras.layers.Dense)
    found = []
    for layer in densenet.build(image_size=128).layers:
        if isinstance(layer, keras.layers.Conv2D):
            found.append(f"conv {layer.kernel_size[0]} {layer.filters} {layer.padding} {layer.activation.__name__}")
        elif isinstance(layer, kinds[1]):
            found.append("pool")
        elif isinstance(layer, kinds[2]):
            found.append(f"drop {layer.rate}")
        elif isinstance(layer, kinds[3]):
            found.append(f"dense {layer.units} {layer.activation.__name__}")
    entry = [f"conv 3 {filters} valid relu" for filters in (8, 8, 16)]
    parallel = [f"conv {side} 16 same relu" for side in (3, 5, 7, 1)]
    blocks = [[f"conv 3 {filters} valid relu", "pool", "drop 0.1"] for filters in (32, 64, 128)]
    head = ["drop 0.5", "dense 28 relu", "drop 0.1", "dense 28 linear"]
    expected = [*entry, "pool", "drop 0.1", *parallel, "pool", "drop 0.1", *sum(blocks, []), *head]
    assert found == expected


@pytest.mark.parametrize(
    ("name", "size"), [("densenet", 61), ("resnet18", 31), ("inception_v2", 16), ("densenet121", 8)]
)
def test_too_small_an_image_is_refused(name, size):
    with pytest.raises(ValueError, match=f"image_size {size} is too small for {name}: use .* pixels"):
        models.MODELS[name](image_size=size)


@pytest.mark.parametrize("name", models.MODELS)
def test_the_moving_averages_of_all_networks_settle_alike(name, built):
    norms = [layer for layer in built[name].layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(type(layer), layer.momentum) for layer in norms} == {(layers.BatchNorm, layers.BATCH_NORM_MOMENTUM)}


def test_unknown_channel_mode_is_refused():
    with pytest.raises(ValueError, match="channels 'cmyk': use one of rgby, rgb, rgb_merge"):
        models.MODELS["resnet18"](channels="cmyk")


@pytest.mark.parametrize("name", models.MODELS)
def test_freezing_the_backbone_leaves_the_head(name, built):
    model = built[name]
    models.set_backbone_trainable(model, False)
    trainable = {variable.path.split("/")[0] for variable in model.trainable_variables}
    weighted = {layer.name for layer in model.layers if layer.weights}
    assert trainable == {layer for layer in weighted if layer == "logits" or layer.startswith("head_")}
    models.set_backbone_trainable(model, True)
    assert len(model.trainable_variables) == len(small(name).trainable_variables)


def test_head_first_training_moves_only_the_head():
    model = models.set_backbone_trainable(small("resnet18"), False)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.BinaryCrossentropy(from_logits=True))
    before = model.get_weights()
    model.fit(random_images(), np.ones((2, 28), np.float32), epochs=1, verbose=0)
    triples = zip(model.weights, before, model.get_weights(), strict=True)
    moved = {variable.path.split("/")[0] for variable, old, new in triples if not np.array_equal(old, new)}
    assert moved == {"logits"}


def test_inflate():
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 5))
    inflated = layers.inflate(kernel, 4)
    np.testing.assert_array_equal(inflated[:, :, :3], kernel)
    np.testing.assert_allclose(inflated[:, :, 3], kernel[:, :, :2].mean(axis=2))
    assert layers.inflate(kernel, 3) is kernel and layers.inflate(inflated, 4) is inflated


RELOAD = """
import sys
if {backend!r} == "jax":
    sys.modules["tensorflow"] = None  # as on a machine without it
import keras, numpy as np
from hpa_lib import models
assert keras.backend.backend() == {backend!r}
images = np.load({folder!r} + "/images.npy")
for name in {names!r}:
    model = keras.models.load_model({folder!r} + "/" + name + ".keras", safe_mode=True, compile=False)
    np.save({folder!r} + "/" + name + ".npy", model.predict(images, verbose=0))
"""
SHALLOW = ["densenet", "resnet18", "inception_v2"]
RELOADS = [
    ("tensorflow", [*SHALLOW, "densenet121"]),
    ("jax", SHALLOW),
    pytest.param("jax", ["densenet121"], marks=pytest.mark.slow),  # 430 layers compile slowly
]


@pytest.mark.parametrize(("backend", "names"), RELOADS)
def test_saved_models_reload_in_safe_mode_and_agree_on_both_backends(backend, names, built, tmp_path):
    if backend == "jax":
        pytest.importorskip("jax")
    np.save(tmp_path / "images.npy", random_images())
    for name in names:
        built[name].save(tmp_path / f"{name}.keras")
    code = RELOAD.format(backend=backend, folder=str(tmp_path), names=names)
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles faster, computes the same
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in names:
        expected = built[name].predict(random_images(), verbose=0)
        found = np.load(tmp_path / f"{name}.npy")
        tolerance = 1e-4 if backend == "jax" else 1e-6
        assert relative_error(found, expected) < tolerance, name


def test_counts_are_the_published_ones():
    model = models.MODELS["resnet18"](image_size=224, channels="rgb", num_labels=1000)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable == 11_689_512  # torchvision's figure
    assert summary.count_flops(model) == 2 * 1_814_073_344  # multiply-adds of convolutions and the last layer


@pytest.mark.parametrize("name", models.MODELS)
def test_block_rows_account_for_everything(name, built):
    rows = summary.block_rows(built[name])
    assert sum(row["parameters"] for row in rows) == built[name].count_params()
    assert sum(row["flops"] for row in rows) == summary.count_flops(built[name])
    assert rows[0]["kind"] == "input" and rows[-1]["kind"] == "head"
    assert rows[-1]["shape"] == (28,)
    assert len(rows) < 20


def test_branches_of_each_kind(built):
    assert summary.branches(built["resnet18"], "layer1.1") == [["conv 3x3, 8", "conv 3x3, 8"], []]
    assert len(summary.branches(built["resnet18"], "layer2.0")[1]) == 1
    assert summary.branches(built["inception_v2"], "Mixed_5a")[2] == ["max pool"]
    assert [len(branch) for branch in summary.branches(built["inception_v2"], "Mixed_3b")] == [1, 2, 3, 2]
    assert summary.branches(built["densenet121"], "conv2")[0] == []
    assert len(summary.branches(built["resnet18"], "stem")) == 1  # nothing meets there
    with pytest.raises(ValueError, match="resnet18 has no block 'steam': use one of input, stem"):
        summary.branches(built["resnet18"], "steam")


@pytest.mark.parametrize("name", models.MODELS)
def test_drawings_name_every_block(name, built):
    rows = summary.block_rows(built[name])
    fig = architecture.draw_blocks(rows, name, "what to see")
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == [row["name"] for row in rows]
    for row in rows:
        if row["kind"] in architecture.MEETINGS:
            branches = summary.branches(built[name], row["name"])
            texts = [text.get_text() for text in architecture.draw_branches(branches, row["kind"]).axes[0].texts]
            assert texts.count(branches[-1][0] if branches[-1] else "as it is") >= 1
    plt.close("all")
    with pytest.raises(ValueError, match="kind 'head': branches meet in one of"):
        architecture.draw_branches([["dense 28"]], "head")


@pytest.mark.slow
def test_the_benchmark_runs_at_a_tiny_size():
    pytest.importorskip("jax")
    script = Path(__file__).parents[2] / "bench" / "models.py"
    tiny = ["--size", "64", "--batch", "2", "--steps", "1", "--repeats", "1", "--matmul", "64", "--width", "0.125"]
    command = [sys.executable, str(script), *tiny, "--models", "densenet", "resnet18", "--no-compile"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("mixed_bfloat16, 64 px, batches of 2")
    for name in ("densenet", "resnet18"):
        row = next(line.split() for line in lines if line.startswith(name))
        assert float(row[1]) > 0 and row[3].endswith("%")
