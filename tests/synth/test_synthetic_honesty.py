"""Is the synthetic data worth studying? Real statistics, labels that come from pixels, and no shortcut to them."""

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import f1_score

import hpa_synth
from hpa_lib import atlas
from hpa_lib.classical import features
from hpa_synth import sampling

REFERENCE = (0, 2, 3)  # red, blue, yellow
DARK_OVERALL = 0.365  # of the 400 originals, half of which are training and half test images

# Means over 400 original single-channel images at 512 px (about 100 a channel); spectra: log10 of the power in the
# bands .03-.08, .08-.16, .16-.3 and .3-.5 cycles a pixel relative to .01-.03.
REAL = pd.DataFrame(
    {
        "mean": (17.8, 12.1, 12.2, 16.3),
        "zero": (0.502, 0.553, 0.819, 0.514),
        "band0": (-1.02, -1.10, -1.25, -1.05),
        "band1": (-1.76, -1.72, -2.16, -1.84),
        "band2": (-2.27, -2.09, -2.95, -2.35),
        "band3": (-2.68, -2.35, -3.57, -2.70),
    },
    index=atlas.CHANNELS,
)
REAL_TEST_TO_TRAIN = (0.57, 1.05, 0.76, 0.52)  # mean of the real test images over that of the training images
BANDS = ((0.01, 0.03), (0.03, 0.08), (0.08, 0.16), (0.16, 0.3), (0.3, 0.5))


def spectrum(channel):
    """log10 power in four bands relative to the lowest one."""
    size = len(channel)
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = np.abs(np.fft.fft2((channel - channel.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    bands = [power[(frequency >= low) & (frequency < high)].mean() for low, high in BANDS]
    return np.log10((np.array(bands[1:]) + 1e-9) / (bands[0] + 1e-9))


def intensity(image, channels):
    """Mean, standard deviation and seven quantiles of the given channels."""
    rows = []
    for channel in channels:
        values = image[..., channel].astype(np.float32)
        rows += [values.mean(), values.std(), *np.percentile(values, [1, 10, 25, 50, 75, 95, 99])]
    return np.array(rows)


def structure(image):
    """All measured features that do not change with brightness."""
    return features.measure_image(image)[len(atlas.CHANNELS) :]


@pytest.fixture(scope="module")
def statistics():
    """One row a field and channel of 72 fields with natural label sets at 512 px, half of each population."""
    labels = sampling.make_plan(np.random.default_rng(5), 72, 0, 0.0).labels
    rows = []
    for index, row in enumerate(labels):
        image = hpa_synth.render(77, index, np.flatnonzero(row), dark=index % 2 == 1)
        for channel, color in enumerate(atlas.CHANNELS):
            values = image[..., channel].astype(float)
            bands = {f"band{number}": value for number, value in enumerate(spectrum(values))}
            dark = index % 2 == 1
            rows.append({"color": color, "dark": dark, "mean": values.mean(), "zero": (values == 0).mean(), **bands})
    return pd.DataFrame(rows).groupby(["dark", "color"]).mean()


def mixture(statistics, dark_share):
    """The statistics of a mixture of the two populations, rows in the channels' order."""
    mixed = (1 - dark_share) * statistics.loc[False] + dark_share * statistics.loc[True]
    return mixed.loc[list(atlas.CHANNELS)]


def test_brightness_and_empty_background_are_the_real_ones(statistics):
    made = mixture(statistics, DARK_OVERALL)
    assert (made["mean"] / REAL["mean"] - 1).abs().max() < 0.25, made
    assert (made["zero"] - REAL["zero"]).abs().max() < 0.12, made


def test_power_spectra_are_the_real_ones(statistics):
    bands = ["band0", "band1", "band2", "band3"]
    difference = mixture(statistics, DARK_OVERALL)[bands] - REAL[bands]
    assert difference.abs().to_numpy().max() < 0.3, difference.round(2)


def test_the_population_shift_is_the_real_one(statistics):
    """The test part is darker in red, blue and yellow, not in green: more of it is of the dark population."""
    train, test = mixture(statistics, 0.22)["mean"], mixture(statistics, 0.51)["mean"]
    assert np.abs(test / train - np.array(REAL_TEST_TO_TRAIN)).max() < 0.25
    assert (test / train)[["red", "blue", "yellow"]].max() < 0.85
    assert 0.8 < (test / train)["green"] < 1.2


def test_real_originals_have_the_numbers_above(real_samples):
    """The 40 originals at hand agree with the 400 behind ``REAL`` within their sampling error."""
    for color in atlas.CHANNELS:
        images = [cv2.imread(str(path), 0) for path in (real_samples / "kaggle_single_channel").glob(f"*_{color}.png")]
        assert len(images) == 10
        bands = np.mean([spectrum(image.astype(float)) for image in images], axis=0)
        assert np.abs(bands - REAL.loc[color, ["band0", "band1", "band2", "band3"]].to_numpy(float)).max() < 0.45
        assert abs(np.mean([(image == 0).mean() for image in images]) - REAL.loc[color, "zero"]) < 0.25


def test_images_of_one_group_look_alike():
    """Leakage between folds is real: the nearest other field by brightness is often one of the same protein."""
    groups, brightness = [], []
    for protein, row in enumerate(sampling.make_plan(np.random.default_rng(5), 40, 0, 0.0).labels):
        for field in range(3):
            image = hpa_synth.render(3, 3 * protein + field, np.flatnonzero(row), 96, 0.64, protein=protein)
            brightness.append(intensity(image, (0, 1, 2, 3)))
            groups.append(protein)
    logs = np.log(np.array(brightness) + 1)
    logs = (logs - logs.mean(0)) / (logs.std(0) + 1e-6)
    distance = np.square(logs[:, None] - logs).sum(2) + np.diag(np.full(len(logs), np.inf))
    found = np.array(groups)[distance.argmin(1)] == groups
    assert found.mean() > 0.25  # chance: 2 of 119 = .017


@pytest.fixture(scope="module")
def single_labels():
    """Features of 28 x 50 single-label fields at 128 px, one field in five of the dark population; ~1.5 minutes."""
    rows = {"green": [], "reference": [], "intensity": [], "file": [], "label": []}
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(atlas.NUM_LABELS) for _ in range(50)])
    for number, label in enumerate(order):
        image = hpa_synth.render(11, number, [label], 128, 0.64, dark=number // 28 % 5 == 0)
        rows["label"].append(label)
        rows["green"].append(structure(image))
        rows["intensity"].append(intensity(image, REFERENCE))
        sizes = [len(cv2.imencode(".png", np.ascontiguousarray(image[..., channel]))[1]) for channel in REFERENCE]
        borders = [image[:2, :, channel].mean() for channel in REFERENCE]
        rows["file"].append([number % 2, number % 3, number % 5, number % 16, *sizes, *borders])
        image[..., 1] = 0
        swapped = [image[..., order] for order in ([1, 0, 2, 3], [0, 3, 2, 1])]  # red, then yellow in green's place
        rows["reference"].append(np.concatenate([structure(image) for image in swapped]))
    return {name: np.array(values) for name, values in rows.items()}


def scores(data, name):
    """Accuracy and F1 per class (28,) of extra trees trained on 36 fields a class and asked about the other 14."""
    labels = data["label"]
    train = np.arange(len(labels)) // atlas.NUM_LABELS < 36
    forest = ExtraTreesClassifier(400, random_state=0).fit(data[name][train], labels[train])
    preds = forest.predict(data[name][~train])
    return (preds == labels[~train]).mean(), f1_score(labels[~train], preds, average=None)


@pytest.mark.slow
def test_labels_come_from_pixels(single_labels):
    _, f1 = scores(single_labels, "green")
    print(f"feature classifier, 128 px: macro F1 {f1.mean():.3f}, lowest {f1.min():.2f} ({f1.argmin()})")
    assert f1.mean() >= 0.85
    assert f1.min() >= 0.5, f1.round(2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["intensity", "file"])
def test_brightness_and_files_of_the_reference_channels_say_nothing(single_labels, name):
    accuracy, _ = scores(single_labels, name)
    print(f"{name} of red, blue, yellow: accuracy {accuracy:.3f} (chance .036)")
    assert accuracy <= 0.08


@pytest.mark.slow
def test_only_dividing_cells_and_contacts_show_in_the_reference_channels(single_labels):
    accuracy, f1 = scores(single_labels, "reference")
    print(f"structure of red, blue, yellow: accuracy {accuracy:.3f}, above .25: {np.flatnonzero(f1 > 0.25)}")
    assert accuracy <= 0.11
    assert set(np.flatnonzero(f1 > 0.3)) <= {16, 17, 22}
