"""The pictures of the images: the right channel in the right colour, and nothing hidden."""

import io

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


def test_brightness_and_gamma_act_on_their_channel():
    image = np.full((8, 8, 4), 40, np.uint8)
    image[0, 0] = 80
    plain = micrographs.to_rgb(image, np.eye(4)[:, :3], peak=100)
    no_green = micrographs.to_rgb(image, np.eye(4)[:, :3], peak=100, brightness=[1, 0, 1, 1])
    assert (no_green[..., 1] == 0).all() and np.array_equal(no_green[..., [0, 2]], plain[..., [0, 2]])
    changed = micrographs.to_rgb(image, np.eye(4)[:, :3], peak=100, brightness=[2, 1, 1, 1], gamma=[1, 0.5, 1, 1])
    assert changed[5, 5] == pytest.approx([1, 0.5**0.5, 0.5])


def test_magenta_and_green_leave_no_channel_out():
    image = np.zeros((8, 8, 4), np.uint8)
    image[0, 0] = image[1, 1, 1] = 50
    shown = micrographs.to_rgb(image, micrographs.MAGENTA_GREEN, peak=100)
    assert shown[0, 0] == pytest.approx([1, 1, 1]) and shown[1, 1] == pytest.approx([0, 1, 0])


@pytest.mark.parametrize(("um_per_px", "text", "pixels"), [(0.32, "10 µm", 31), (0.08, "2 µm", 25), (1.3, "20 µm", 15)])
def test_the_scale_bar_has_a_round_length(um_per_px, text, pixels):
    picture = np.zeros((96, 96, 3))
    shown, length = micrographs.add_scale_bar(picture, um_per_px)
    assert length == text and picture.max() == 0
    assert (shown[..., 0].max(axis=0) == 1).sum() == pixels


def test_a_picture_becomes_a_png_file():
    picture = np.zeros((4, 6, 3))
    picture[1, 2] = 1, 0.5, 0
    again = plt.imread(io.BytesIO(micrographs.encode_png(picture)))
    assert again.shape == (4, 6, 3) and again[1, 2] == pytest.approx([1, 128 / 255, 0])


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
