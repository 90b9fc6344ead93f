"""Pictures of the images themselves: four stains side by side, contact sheets, channel intensities."""

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from hpa_lib import atlas
from hpa_lib.figures import style

STAIN_COLORS = np.array([[1, 0, 0], [0, 1, 0], [0.25, 0.35, 1], [1, 0.9, 0]])  # red, green, a lighter blue, yellow
COMPOSITE = np.array([[0.75, 0, 0], [0, 1, 0], [0.1, 0.2, 1], [0.25, 0.2, 0]])  # what each stain adds to a composite
MAGENTA_GREEN = np.array([[0.4, 0, 0.4], [0, 1, 0], [0.8, 0, 0.8], [0.25, 0, 0.25]])  # told apart by all colour vision
LOOKS = {"pseudo-colours": COMPOSITE, "magenta and green": MAGENTA_GREEN}


def to_rgb(
    image: np.ndarray,
    colors: np.ndarray = COMPOSITE,
    peak: float = 99.8,
    brightness: Sequence[float] | float = 1,
    gamma: Sequence[float] | float = 1,
) -> np.ndarray:
    """A picture of a four-channel image for the eye: float (S, S, 3) in 0..1. Not what a model sees.

    Args:
        image: uint8 (S, S, C).
        colors: (C, 3), the colour that each channel adds.
        peak: the percentile of each channel that becomes full brightness; most HPA images are far darker than 255.
        brightness: a factor per channel after that, 0 to leave the channel out.
        gamma: an exponent per channel; below 1 the dark parts become brighter.
    """
    image = image.astype(np.float32)
    tops = np.maximum(np.percentile(image, peak, axis=(0, 1)), 16)  # at least 16, so that noise stays dark
    return np.clip(np.clip(image / tops * brightness, 0, 1) ** gamma @ colors, 0, 1)


def add_scale_bar(picture: np.ndarray, um_per_px: float) -> tuple[np.ndarray, str]:
    """A copy of the picture (S, S, 3) with a white bar of a round length, and the length such as ``"20 µm"``."""
    side, picture = len(picture), picture.copy()
    lengths = [length for length in (1, 2, 5, 10, 20, 50, 100, 200) if length / um_per_px <= side / 3] or [1]
    margin, thick = max(side // 24, 1), max(side // 48, 1)
    end = side - margin
    picture[end - thick : end, max(end - round(lengths[-1] / um_per_px), 0) : end] = 1
    return picture, f"{lengths[-1]} µm"


def encode_png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) in 0..1 as the bytes of a PNG file."""
    return cv2.imencode(".png", np.round(255 * picture[..., ::-1]).astype(np.uint8))[1].tobytes()


def make_thumbnail(image: np.ndarray, side: int = 96) -> bytes:
    """A four-channel image, uint8 (S, S, 4), as the bytes of a JPEG file of at most ``side`` pixels per side."""
    if len(image) > side:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    picture = np.round(255 * to_rgb(image)[..., ::-1]).astype(np.uint8)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def four_channels(image: np.ndarray, title: str = "", synthetic: bool = False) -> Figure:
    """One field, uint8 (S, S, 4): its four stains in their own colours, and all together."""
    fig, axes = style.new_figure(11, 3.1, ncols=5)
    for channel, ax in enumerate(axes[:4]):
        ax.imshow(to_rgb(image[..., [channel]], STAIN_COLORS[[channel]]))
        ax.set_title(f"{atlas.CHANNELS[channel]}: {atlas.CHANNEL_STAINS[channel]}", fontsize=9)
    axes[4].imshow(to_rgb(image))
    axes[4].set_title("all four", fontsize=9)
    for ax in axes:
        ax.axis("off")
    each = "Each stain is brightened to its own 99.8th percentile."
    return style.caption(fig, f"{title}. {each}" if title else each, synthetic)


def contact_sheet(
    images: np.ndarray, titles: Sequence[str], columns: int = 7, caption: str = "", synthetic: bool = False
) -> Figure:
    """Many small fields with a title each.

    Args:
        images: uint8 (N, S, S, 4); a row of zeros is drawn as an empty place.
        titles: N texts.
    """
    fig, axes = style.new_panels(len(images), 1.6, 1.95, columns)
    for ax, image, title in zip(axes, images, titles, strict=True):
        ax.imshow(to_rgb(image))
        ax.axis("off")
        ax.set_title(textwrap.fill(title, 24), fontsize=8, loc="left")
    return style.caption(fig, caption, synthetic)


def channel_means(images: np.ndarray, block: int = 512) -> np.ndarray:
    """The mean brightness of each image and channel, float32 (N, 4) in 0..255; the cache is read in blocks."""
    starts = range(0, len(images), block)
    means = [images[start : start + block].mean(axis=(1, 2), dtype=np.float32) for start in starts]
    return np.concatenate(means) if means else np.empty((0, 4), np.float32)


def intensities(means: dict[str, np.ndarray], synthetic: bool = False) -> Figure:
    """How bright the images of each part are, channel by channel: ``means`` is part -> ``channel_means`` of it."""
    fig, axes = style.new_figure(11, 3.2, ncols=4, sharey=True)
    bins = {"bins": 40, "binrange": np.log10([0.25, 256]), "log_scale": True, "stat": "percent"}
    for channel, ax in enumerate(axes):
        for (part, values), dashes in zip(means.items(), ("-", "--", ":"), strict=False):
            values = np.maximum(values[:, channel], 0.25)
            look = {"label": f"{part} (median {np.median(values):.0f})", "linestyle": dashes}
            sns.histplot(values, **bins, **look, element="step", fill=False, ax=ax)
        ax.set_xticks([1, 10, 100], ["1", "10", "100"])
        ax.set(title=atlas.CHANNELS[channel], xlabel="mean brightness (0..255)", ylabel="images (%)")
        ax.legend(loc="upper left")
    axes[0].set_ylim(0, axes[0].get_ylim()[1] * 1.25)  # room for the legends
    text = "Where the outlines differ, a model sees brightnesses that it was not trained on."
    return style.caption(fig, text, synthetic)
