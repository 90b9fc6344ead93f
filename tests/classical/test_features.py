"""Measured features: the same for turned and brighter images, numbers for blank ones, and measured again when stale."""

import json

import numpy as np
import pytest

import hpa_synth
from hpa_lib.classical import features

BRIGHTNESS = slice(0, 4)


@pytest.fixture(scope="module")
def images():
    """Eight synthetic fields of 64 px, uint8 (8, 64, 64, 4)."""
    return np.stack([hpa_synth.render(5, number, [3 * number], 64, 0.9) for number in range(8)])


def spread(images):
    return features.measure(images, workers=1, progress=False).std(axis=0) + 1e-6


def test_every_feature_has_a_name_and_an_explanation(images):
    assert features.measure_image(images[0]).shape == (59,) == (len(features.FEATURES),)
    assert list(features.FEATURES)[BRIGHTNESS] == [
        f"brightness_{color}" for color in ("red", "green", "blue", "yellow")
    ]
    assert len(set(features.FEATURES.values())) == 59 and all(features.FEATURES.values())


@pytest.mark.parametrize("turn", [np.rot90, np.flipud, np.fliplr, lambda image: image.transpose(1, 0, 2)])
def test_a_turned_or_mirrored_image_has_the_same_features(images, turn):
    for image in images[:3]:
        turned = features.measure_image(np.ascontiguousarray(turn(image)))
        assert np.abs((turned - features.measure_image(image)) / spread(images)).max() < 1e-4


def test_brightness_changes_the_brightness_alone(images):
    dark = images // 2
    for image in dark[:3]:
        before, after = features.measure_image(image), features.measure_image(image * 2)
        np.testing.assert_allclose(after[BRIGHTNESS], 2 * before[BRIGHTNESS], rtol=1e-5)
        assert np.abs((after - before)[4:] / spread(dark)[4:]).max() < 1e-4


def test_blank_channels_give_numbers(images):
    for channels in ([0], [1], [2], [3], [0, 3], [0, 2, 3], [0, 1, 2, 3]):
        image = images[0].copy()
        image[..., channels] = 0
        assert np.isfinite(features.measure_image(image)).all(), channels
    for value in (1, 100, 255):
        assert np.isfinite(features.measure_image(np.full((32, 32, 4), value, np.uint8))).all()


@pytest.mark.parametrize("size", [32, 33, 96])
def test_any_size_from_32_px(size):
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 4), dtype=np.uint8)
    assert np.isfinite(features.measure_image(noise)).all()


def test_spots_grains_and_rings_say_what_they_say():
    """A field with a round nucleus in a square cell and green in one place after another."""
    y, x = np.mgrid[:96, :96]
    radius = np.hypot(y - 48, x - 48)
    image = np.zeros((96, 96, 4), np.uint8)
    image[12:84, 12:84, [0, 3]] = 120
    image[radius < 16, 2] = 200
    measured = {}
    for name, green in {
        "nucleus": radius < 12,
        "envelope": abs(radius - 16) < 1.5,
        "cytoplasm": (abs(y - 48) < 36) & (abs(x - 48) < 36) & (radius > 20),
        "spots": (y % 8 == 4) & (x % 8 == 4) & (radius > 20),
    }.items():
        image[..., 1] = 200 * green
        measured[name] = dict(zip(features.FEATURES, features.measure_image(image), strict=True))
    assert max(measured, key=lambda name: measured[name]["ring_-inf..-5"]) == "nucleus"
    rings = [f"ring_{low:g}..{high:g}" for low, high in features.RINGS]
    assert max(rings, key=measured["envelope"].get) in ("ring_-2.5..-1", "ring_-1..0", "ring_0..1")
    assert max(measured, key=lambda name: measured[name]["belt_5..10"]) == "cytoplasm"
    assert abs(measured["spots"]["spots_0.5_cytoplasm"] - 100 / 64) < 0.3  # one in each square of 8 px
    assert measured["nucleus"]["with_nucleus_nucleus"] > 0.3 > measured["envelope"]["with_nucleus_nucleus"]
    assert measured["nucleus"]["bright_distance"] < -4 < 4 < measured["cytoplasm"]["bright_distance"]


def write_cache(out, images, stamp):
    folder = out / "cache" / f"train_{images.shape[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images)
    ids = [f"{number}" for number in range(len(images))]
    (folder / "manifest.json").write_text(json.dumps({"ids": ids, "size": images.shape[1], "source": stamp}))


def test_features_are_stored_and_measured_again_when_stale(images, tmp_path, monkeypatch):
    write_cache(tmp_path, images, "first")
    ids, values = features.load(tmp_path, "train", 64, workers=1)
    assert ids.tolist() == [str(number) for number in range(8)]
    assert np.array_equal(values, features.measure(images, workers=1, progress=False)) and values.dtype == np.float32
    calls, measure = [], features.measure
    monkeypatch.setattr(features, "measure", lambda *options: calls.append(1) or measure(*options))
    assert np.array_equal(features.load(tmp_path, "train", 64, workers=1)[1], values) and not calls
    write_cache(tmp_path, images[::-1], "other pixels, the same Ids")
    assert np.array_equal(features.load(tmp_path, "train", 64, workers=1)[1], values[::-1]) and len(calls) == 1
    monkeypatch.setattr(features, "VERSION", features.VERSION + 1)
    features.load(tmp_path, "train", 64, workers=1)
    assert len(calls) == 2
    with np.load(tmp_path / "cache" / "features_train_64.npz") as stored:
        assert stored["names"].tolist() == list(features.FEATURES) and stored["ids"].tolist() == ids.tolist()
