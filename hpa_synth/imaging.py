"""The microscope: from four clean canvases to four noisy 8-bit channels.

Order: bleed-through, point spread, haze, illumination, exposure, detector offset, noise, clipping. The numbers were set
against 400 original images; the tests hold the result to their statistics.
"""

from functools import lru_cache

import cv2
import numpy as np

RED, GREEN, BLUE, YELLOW = range(4)
EXPOSURE = (186.0, 112.0, 90.0, 258.0)  # grey levels per unit of canvas, R, G, B, Y
EXPOSURE_SD = (0.45, 0.45, 0.40, 0.45)  # log-normal spread between proteins
GAIN = ((3.0, 8.0), (5.0, 14.0), (2.0, 5.0), (3.0, 8.0))  # noise variance per grey level at .32 um/px
OFFSET = ((-5.5, 0.5), (-4.5, 1.0), (-7.0, -2.0), (-6.5, 0.0))  # grey levels; the real background is clipped to 0
DARK = (0.18, 0.95, 0.35, 0.18)  # exposure of the 3072-px originals relative to the 2048-px ones
BANK_SIZE = 1 << 21


def expose(rng: np.random.Generator, dark: bool) -> np.ndarray:
    """The exposures of one protein's four channels, grey levels per unit of canvas, float (4,); no label enters."""
    spread = np.exp(rng.normal(0, EXPOSURE_SD))
    return np.array(EXPOSURE) * spread * (np.array(DARK) if dark else 1.0)


def photograph(
    canvases: list[np.ndarray], exposure: np.ndarray, um_per_px: float, rng: np.random.Generator
) -> np.ndarray:
    """The recorded image.

    Args:
        canvases: red, green, blue, yellow, float32 (S, S) each.
        exposure: grey levels per unit of canvas (4,).
        um_per_px: scale; larger pixels average more photons and so have less noise.
        rng: the camera's random stream.

    Returns:
        uint8 (S, S, 4), R, G, B, Y.
    """
    size = len(canvases[0])
    image = np.empty((size, size, 4), np.uint8)
    light = _illumination(rng, size)
    for channel, canvas in enumerate(_bleed_through(canvases, rng.uniform(0, 1, 4))):
        signal = _blur(canvas, um_per_px, rng.uniform(0.9, 1.3), rng.uniform(0.08, 0.22)) * light
        signal = signal * np.float32(exposure[channel] * rng.lognormal(0, 0.05))
        signal += np.float32(rng.uniform(*OFFSET[channel]))
        gain = rng.uniform(*GAIN[channel]) * (0.32 / um_per_px) ** 1.5
        gain = gain * np.sqrt(exposure[channel] / EXPOSURE[channel])  # half of a brighter exposure is detector gain
        image[..., channel] = _detect(signal, gain, rng.uniform(0.1, 1.2), _noise(rng, size))
    return image


def _detect(signal, gain, read_variance, noise):
    """Grey levels 0..255 of a signal with shot noise (variance ``gain`` x signal) and read noise; works in place."""
    spread = np.maximum(signal, 0)
    spread *= np.float32(gain)
    spread += np.float32(read_variance)
    np.sqrt(spread, out=spread)
    spread *= noise
    spread += signal
    return np.clip(spread, 0, 255, out=spread)


def _bleed_through(canvases, strength):
    """The four canvases with up to 3 % of a neighbouring stain in each, R, G, B, Y."""
    red, green, blue, yellow = canvases
    return (
        red + np.float32(0.03 * strength[0]) * green,
        green + np.float32(0.025 * strength[1]) * blue + np.float32(0.02 * strength[2]) * yellow,
        blue,
        yellow + np.float32(0.03 * strength[3]) * red,
    )


def _blur(canvas, um_per_px, sharpness, haze):
    """The canvas through the optics: point spread (and the low-pass of size reduction) plus out-of-focus haze."""
    size = len(canvas)
    sharp = cv2.GaussianBlur(canvas, (0, 0), max(0.11 / um_per_px, 0.34) * sharpness)
    reduced = max(8, size // max(2, int(round(1.25 / um_per_px))))
    small = cv2.resize(sharp, (reduced, reduced), interpolation=cv2.INTER_AREA)
    veil = cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.4), (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.scaleAdd(veil, haze, sharp)


def _illumination(rng, size):
    """Uneven light: 1 at its centre, up to 35 % per squared field width less away from it; float32 (S, S)."""
    centre_x, centre_y, fall = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2), rng.uniform(0, 0.35)
    along = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    distance2 = (along[None] - np.float32(centre_x)) ** 2 + (along[:, None] - np.float32(centre_y)) ** 2
    return 1 - np.float32(fall) * distance2


@lru_cache(maxsize=1)
def _noise_bank() -> np.ndarray:
    return np.random.Generator(np.random.PCG64(20181010)).standard_normal(BANK_SIZE, dtype=np.float32)


def _noise(rng, size):
    """Standard normal noise (S, S): a slice of a fixed bank at a random offset, ten times cheaper than fresh numbers.

    Poisson counts are that close to normal here. An image larger than the bank draws fresh numbers.
    """
    if size * size >= BANK_SIZE:
        return rng.standard_normal((size, size), dtype=np.float32)
    start = int(rng.integers(0, BANK_SIZE - size * size))
    return _noise_bank()[start : start + size * size].reshape(size, size)
