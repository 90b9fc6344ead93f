"""The few strokes that every structure is drawn with: weighted points, discs, rings, lines, random walks, noise.

One primitive does the drawing: an additive bilinear splat of weighted points. Curves are dense points, discs are
sunflower patterns, rings are points on a circle. Crossing filaments add up and nothing snaps to the pixel grid.
A canvas is float32 (S, S), about 1 where the structure is. Positions are um relative to the origin of their cell.
"""

from typing import NamedTuple

import cv2
import numpy as np

from hpa_synth import polar

GOLDEN_ANGLE = np.float32(2.399963)


class Walks(NamedTuple):
    """Random walks: which cell, the points and which of them are part of the curve; all (curves, points)."""

    cell: np.ndarray  # int
    x: np.ndarray  # float32, um
    y: np.ndarray
    drawn: np.ndarray  # bool
    step_um: float


def splat(field, cell: np.ndarray, x: np.ndarray, y: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """A canvas with every point's weight shared among its four nearest pixels.

    Args:
        field: the field (its size, scale and cell centres are used).
        cell: int, any shape.
        x: float32 of that shape, um from the cell's origin.
        y: the same.
        weight: that shape or broadcastable to it; the sum over pixels that one point adds.
    """
    size = field.size
    scale = np.float32(1 / field.um_per_px)
    column = ((field.cells.centres[:, 0] * scale)[cell] + x * scale - np.float32(0.5)).ravel()
    row = ((field.cells.centres[:, 1] * scale)[cell] + y * scale - np.float32(0.5)).ravel()
    weight = np.broadcast_to(np.asarray(weight, np.float32), np.shape(x)).ravel()
    inside = (column > 0) & (row > 0) & (column < size - 1.01) & (row < size - 1.01)
    if not inside.all():
        column, row, weight = column[inside], row[inside], weight[inside]
    left, top = column.astype(np.int32), row.astype(np.int32)
    right_share, low_share = column - left, row - top
    pixel = top * size + left
    low = weight * low_share
    high = weight - low
    high_right, low_right = high * right_share, low * right_share
    pixels = np.concatenate([pixel, pixel + 1, pixel + size, pixel + size + 1])
    shares = np.concatenate([high - high_right, high_right, low - low_right, low_right])
    return np.bincount(pixels, shares, size * size).astype(np.float32).reshape(size, size)


def discs(field, cell, x, y, radius_um: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Filled discs; a disc smaller than a pixel keeps its light (area x brightness) in about one pixel."""
    if not len(cell):
        return np.zeros((field.size, field.size), np.float32)
    radius_px = np.maximum(radius_um / field.um_per_px, 0.35)
    count = int(np.clip(np.ceil(2.2 * np.pi * np.percentile(radius_px, 90) ** 2), 1, 64))
    order = np.arange(count, dtype=np.float32)
    away, angle = np.sqrt((order + 0.5) / count), order * GOLDEN_ANGLE
    weight = brightness * np.maximum(np.pi * radius_px**2, 0.9) / count
    return _stamp(field, cell, x, y, radius_um, away * np.cos(angle), away * np.sin(angle), weight)


def rings(field, cell, x, y, radius_um: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Hollow circles with a wall of about 1.2 pixels."""
    if not len(cell):
        return np.zeros((field.size, field.size), np.float32)
    radius_px = np.maximum(radius_um / field.um_per_px, 0.35)
    count = int(np.clip(np.ceil(2.2 * np.pi * np.percentile(radius_px, 90) ** 2), 10, 64))
    angle = np.arange(count, dtype=np.float32) * np.float32(2 * np.pi / count)
    away = 0.75 + 0.12 * np.cos(7 * np.arange(count))
    weight = brightness * np.maximum(2 * np.pi * radius_px * 1.2, 0.9) / count
    return _stamp(field, cell, x, y, radius_um, away * np.cos(angle), away * np.sin(angle), weight)


def _stamp(field, cell, x, y, scale, shape_x, shape_y, weight) -> np.ndarray:
    """The same pattern of points (m,) at every position (n,), scaled by ``scale`` (n,), ``weight`` (n,) a point."""
    points = (len(cell), len(shape_x))
    all_x = x[:, None] + scale[:, None] * shape_x.astype(np.float32)
    all_y = y[:, None] + scale[:, None] * shape_y.astype(np.float32)
    return splat(field, np.broadcast_to(cell[:, None], points), all_x, all_y, np.asarray(weight)[:, None])


def lines(field, cell, x, y, angle, length_um, brightness, points: int, start: float = -0.5) -> np.ndarray:
    """Straight strokes; (x, y) is the point at share ``-start`` of the length, so the default is the middle."""
    along = np.linspace(start, start + 1, points, dtype=np.float32) * length_um[:, None]
    all_x = x[:, None] + along * np.cos(angle)[:, None]
    all_y = y[:, None] + along * np.sin(angle)[:, None]
    weight = brightness * length_um / (points * field.um_per_px)
    return splat(field, np.broadcast_to(cell[:, None], all_x.shape), all_x, all_y, weight[:, None])


def walk(
    field, rng, cell, x, y, heading, length_um, wiggle, step_um=0.34, max_points=100, stop=0.0, around_nucleus=True
) -> Walks:
    """Persistent random walks that slide along the nucleus and end (or slide) at the cell's edge.

    Args:
        field: the field.
        rng: the random stream.
        cell: int (n,), one walk each.
        x: float32 (n,), start, um.
        y: the same.
        heading: float32 (n,), radians.
        length_um: float32 (n,).
        wiggle: sd of the heading, radians per square root of um.
        step_um: distance between points; never less than .8 pixel.
        max_points: cap on the points of one walk.
        stop: chance that a walk ends where it meets the cell's edge instead of following it.
        around_nucleus: False lets the walks pass over the nucleus; one value or bool (n,).
    """
    step = max(step_um, 0.8 * field.um_per_px)
    longest = float(length_um.max()) if len(length_um) else 0.0
    count = int(np.clip(np.ceil(longest / step), 2, max_points))
    turns = rng.standard_normal((len(cell), count), dtype=np.float32) * np.float32(wiggle * np.sqrt(step))
    angle = np.asarray(heading, np.float32)[:, None] + np.cumsum(turns, 1)
    all_x = np.asarray(x, np.float32)[:, None] + np.cumsum(np.cos(angle), 1) * np.float32(step)
    all_y = np.asarray(y, np.float32)[:, None] + np.cumsum(np.sin(angle), 1) * np.float32(step)
    drawn = np.arange(count, dtype=np.float32) * step < length_um[:, None]
    curve = np.nonzero(drawn)[0]  # only points within the length are worth confining
    around = np.broadcast_to(np.asarray(around_nucleus), len(cell))[curve]
    all_x[drawn], all_y[drawn], left = confine(field, cell[curve], all_x[drawn], all_y[drawn], around)
    if stop:
        beyond = np.zeros_like(drawn)
        beyond[drawn] = left
        beyond &= rng.random((len(cell), 1)) < stop
        drawn &= ~np.maximum.accumulate(beyond, 1)
    return Walks(np.broadcast_to(cell[:, None], all_x.shape), all_x, all_y, drawn, step)


def confine(field, cell, x, y, around_nucleus: bool | np.ndarray = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points moved into their cell's cytoplasm along their ray, and a mask of those that lay beyond the edge."""
    away = np.sqrt(x * x + y * y) + np.float32(1e-6)
    angle = np.arctan2(y, x)
    clear = np.where(around_nucleus, np.float32(1.05), np.float32(0))
    inner, outer = polar.radii_at((field.cells.nucleus_radii, field.cells.cell_radii), cell, angle)
    inner = inner * clear
    outer = np.maximum(outer * np.float32(0.965), inner + np.float32(0.2))
    factor = np.clip(away, inner, outer) / away
    return x * factor, y * factor, away > outer


def draw_walks(field, walks: Walks, brightness: np.ndarray | float) -> np.ndarray:
    """The curves as a canvas; ``brightness`` (n,) or one number, about the value on the line at one pixel's width."""
    weight = np.broadcast_to(np.asarray(brightness, np.float32).reshape(-1, 1), walks.x.shape)[walks.drawn]
    share = np.float32(walks.step_um / field.um_per_px)
    return splat(field, walks.cell[walks.drawn], walks.x[walks.drawn], walks.y[walks.drawn], weight * share)


def soften(field, canvas: np.ndarray, sd_um: float) -> np.ndarray:
    """A Gaussian blur of ``sd_um``; nothing is done below a quarter of a pixel."""
    sd_px = sd_um / field.um_per_px
    return cv2.GaussianBlur(canvas, (0, 0), sd_px) if sd_px > 0.25 else canvas


def value_noise(field, rng: np.random.Generator, grain_um: float) -> np.ndarray:
    """Smooth random texture with structures of about ``grain_um``: float32 (S, S), mean 0, sd about 1.

    A random grid, enlarged with cubic interpolation: much cheaper than filtering in the Fourier domain.
    """
    step = grain_um / field.um_per_px  # pixels per grid node
    nodes = max(4, int(np.ceil(field.size / step)) + 3)
    grid = rng.random((nodes, nodes), dtype=np.float32)
    side = int(np.ceil(nodes * step))
    enlarged = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    top, left = rng.integers(0, max(1, side - field.size), 2)
    return (enlarged[top : top + field.size, left : left + field.size] - np.float32(0.5)) * np.float32(4.2)
