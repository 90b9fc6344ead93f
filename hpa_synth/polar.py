"""Polar tables: every outline is 128 radii around the cell's origin; placing a point is a look-up, not a search.

The origin of a cell is the centre of its nucleus. All lengths are in micrometres, all angles in radians.
"""

import numpy as np

NUM_ANGLES = 128  # a power of two, so that a bit mask wraps an index round the turn
ANGLES = (np.arange(NUM_ANGLES) * (2 * np.pi / NUM_ANGLES)).astype(np.float32)
TURN = np.float32(2 * np.pi)


def radius_at(table: np.ndarray, cell: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """The radius in direction ``angle``, interpolated between the table's directions.

    Args:
        table: float32 (n, 128), radii in um of n cells.
        cell: int, any shape, which row.
        angle: float32, the same shape, any multiple of a turn.

    Returns:
        float32 of that shape, um.
    """
    return radii_at((table,), cell, angle)[0]


def radii_at(tables: tuple[np.ndarray, ...], cell: np.ndarray, angle: np.ndarray) -> list[np.ndarray]:
    """Like ``radius_at``, for several tables at once; the position in the tables is worked out only once."""
    position = angle * np.float32(NUM_ANGLES / (2 * np.pi))
    floor = np.floor(position)
    part = position - floor
    before = floor.astype(np.int32)
    row = np.asarray(cell, np.int32) * NUM_ANGLES
    after = row + ((before + 1) & (NUM_ANGLES - 1))
    before = row + (before & (NUM_ANGLES - 1))
    return [flat[before] + (flat[after] - flat[before]) * part for flat in map(np.ravel, tables)]


def smooth_minimum(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smaller of two positive arrays with the corner between them rounded off."""
    return (first**-7.0 + second**-7.0) ** (-1 / 7.0)


def fourier_wobble(rng: np.random.Generator, count: int, modes: range, sd: float, decay: float) -> np.ndarray:
    """A random smooth log-radius for each of ``count`` outlines: Fourier modes whose sd falls as 1 / mode^decay.

    Returns:
        float32 (count, 128), to be used as ``radius * exp(wobble)``.
    """
    order = np.array(modes)[:, None, None]
    height = rng.normal(0, sd, (len(modes), count, 1)) / order**decay
    phase = rng.uniform(0, 2 * np.pi, (len(modes), count, 1))
    return (height * np.cos(order * ANGLES + phase)).sum(0).astype(np.float32)


def ellipse(radius: np.ndarray, elongation: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Radii (n, 128) of ellipses along ``axis``: the area of a circle of ``radius``, the aspect ``elongation``."""
    angle = ANGLES[None] - axis[:, None]
    stretch = elongation[:, None]
    return radius[:, None] / np.sqrt(np.cos(angle) ** 2 / stretch + np.sin(angle) ** 2 * stretch)


def bumps(rng: np.random.Generator, count: int, per_outline: int) -> np.ndarray:
    """``per_outline`` narrow peaks at random directions: the attachments between which a cell's edge is concave.

    Returns:
        float32 (count, 128), heights .1 to 1 of the radius, widths of about 11 to 22 degrees.
    """
    shape = (per_outline, count, 1)
    sharpness = rng.uniform(7, 26, shape)
    around = np.cos(ANGLES - rng.uniform(0, 2 * np.pi, shape)) - 1
    return (rng.uniform(0.1, 1.0, shape) * np.exp(sharpness * around)).sum(0).astype(np.float32)
