"""The pictures of the images: the right channel in the right colour, and nothing hidden."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hpa_lib.figures import micrographs

pytestmark = pytest.mark.usefixtures("strict_figures")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 16, 16, 4), np.uint8)


def texts(fig):
    return " ".join(text.get_text() for text in fig.findobj(plt.Text))


def test_each_channel_has_its_colour_and_full_brightness():
    image = np.zeros((8, 8, 4), np.uint8)
    image[0, 0, 0] = image[1, 1, 1] = image[2, 2, 2] = 50
    shown = micrographs.to_rgb(image, peak=100)
    assert shown.shape == (8, 8, 3)
    assert shown[0, 0].argmax() == 0 and shown[1, 1].argmax() == 1 and shown[2, 2].argmax() == 2
    assert shown[1, 1, 1] == 1
    assert shown[5, 5].max() == 0


def test_noise_stays_dark():
    assert micrographs.to_rgb(np.full((8, 8, 4), 2, np.uint8)).max() < 0.2


def test_four_channels_are_named_and_stamped(images):
    fig = micrographs.four_channels(images[0], "some Id: Nucleoli", synthetic=True)
    fig.canvas.draw()
    assert len(fig.axes) == 5
    for word in (
        "microtubules",
        "protein of interest",
        "nucleus",
        "endoplasmic reticulum",
        "Nucleoli",
        "synthetic data",
    ):
        assert word in texts(fig)
    blue = fig.axes[2].images[0].get_array()
    assert blue[..., 2].mean() > blue[..., 0].mean()


def test_contact_sheet_has_a_place_for_each_image(images):
    fig = micrographs.contact_sheet(images, [f"class {index}" for index in range(9)], columns=4)
    fig.canvas.draw()
    assert len(fig.axes) == 12
    assert sum(bool(ax.images) for ax in fig.axes) == sum(ax.get_visible() for ax in fig.axes) == 9
    assert "class 8" in texts(fig)


def test_channel_means_do_not_depend_on_the_block(images):
    expected = images.mean(axis=(1, 2))
    np.testing.assert_allclose(micrographs.channel_means(images), expected, rtol=1e-5)
    np.testing.assert_allclose(micrographs.channel_means(images, block=2), expected, rtol=1e-5)
    assert micrographs.channel_means(images[:0]).shape == (0, 4)


def test_intensities_draw_each_part_in_each_channel(images):
    means = {"train": micrographs.channel_means(images), "test": micrographs.channel_means(images[:4] // 4)}
    fig = micrographs.intensities(means)
    fig.canvas.draw()
    assert len(fig.axes) == 4
    assert all(len(ax.lines) == 2 for ax in fig.axes)
    median = np.median(means["train"][:, 1])
    assert f"train (median {median:.0f})" in texts(fig)
