"""Pixel maps of one field's cells, made once and shared by the four channels."""

from dataclasses import dataclass

import cv2
import numpy as np

from hpa_synth import polar
from hpa_synth.geometry import Cells

SUBPIXEL = 4  # OpenCV's fixed-point bits for polygon corners


@dataclass
class Rasters:
    """Maps (S, S) of one field; distances in um, shares in 0..1, float32 unless said otherwise."""

    cell_map: np.ndarray  # uint16, 0 outside, i + 1 inside cell i
    nucleus_map: np.ndarray  # uint16, 0 outside, i + 1 inside the nucleus of cell i
    cell: np.ndarray  # 1 inside any cell
    nucleus: np.ndarray  # 1 inside any nucleus
    cytoplasm: np.ndarray  # 1 inside a cell and outside its nucleus
    nucleoli: np.ndarray  # share of the pixel covered by nucleoli
    from_edge: np.ndarray  # inside a cell: distance to its edge, contacts included
    from_nucleus: np.ndarray  # outside nuclei: distance to the nearest one
    outward: np.ndarray  # 0 at the nucleus .. 1 at the cell's edge


def make_rasters(cells: Cells, size: int, um_per_px: float) -> Rasters:
    """The maps of ``cells`` on a square grid of ``size`` pixels."""
    cell_map = np.zeros((size, size), np.uint16)
    nucleus_map = np.zeros((size, size), np.uint16)
    edge = np.full((size, size), 255, np.uint8)
    outlines = outline_points(cells.centres, cells.cell_radii, um_per_px)
    nuclei = outline_points(cells.centres, cells.nucleus_radii, um_per_px)
    for cell, outline in enumerate(outlines):
        cv2.fillPoly(cell_map, [outline], cell + 1, cv2.LINE_8, SUBPIXEL)
    cv2.polylines(edge, list(outlines), True, 0, 1, cv2.LINE_8, SUBPIXEL)
    for cell in np.flatnonzero(~cells.mitotic):
        cv2.fillPoly(nucleus_map, [nuclei[cell]], int(cell) + 1, cv2.LINE_8, SUBPIXEL)
    in_cell, in_nucleus = cell_map > 0, nucleus_map > 0
    from_edge = _distance(np.where(in_cell, edge, 0).astype(np.uint8), um_per_px)
    from_nucleus = _distance((~in_nucleus).astype(np.uint8), um_per_px)
    nucleus = in_nucleus.astype(np.float32)
    return Rasters(
        cell_map=cell_map,
        nucleus_map=nucleus_map,
        cell=in_cell.astype(np.float32),
        nucleus=nucleus,
        cytoplasm=(in_cell & ~in_nucleus).astype(np.float32),
        nucleoli=_nucleoli_map(cells, size, um_per_px) * nucleus,
        from_edge=from_edge,
        from_nucleus=from_nucleus,
        outward=np.minimum(from_nucleus / (from_nucleus + from_edge + np.float32(0.2)), 1),
    )


def outline_points(centres: np.ndarray, radii: np.ndarray, um_per_px: float) -> np.ndarray:
    """Polygon corners int32 (n, angles, 2) in OpenCV's fixed-point pixels (``SUBPIXEL`` bits)."""
    angles = np.linspace(0, 2 * np.pi, radii.shape[1], endpoint=False)
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[..., None] + centres[:, None]
    return np.round((corners / um_per_px - 0.5) * (1 << SUBPIXEL)).astype(np.int32)


def distance_inside(mask: np.ndarray, um_per_px: float) -> np.ndarray:
    """Inside ``mask`` (S, S): the distance to its border in um, float32; 0 outside."""
    return _distance((mask > 0).astype(np.uint8), um_per_px)


def per_cell(rasters: Rasters, values: np.ndarray) -> np.ndarray:
    """A map (S, S) float32 with ``values[i]`` everywhere in cell i and 0 outside the cells."""
    table = np.zeros(len(values) + 1, np.float32)
    table[1:] = values
    return table[rasters.cell_map]


def _distance(mask: np.ndarray, um_per_px: float) -> np.ndarray:
    """Distance to the nearest zero of ``mask``, um; a mask without zeros is far from everything, not at infinity."""
    return np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 3), 2 * len(mask)) * np.float32(um_per_px)


def _nucleoli_map(cells: Cells, size: int, um_per_px: float) -> np.ndarray:
    """Nucleoli as slightly lobed anti-aliased blobs, share of each pixel 0..1, float32 (S, S)."""
    spots = cells.nucleoli
    canvas = np.zeros((size, size), np.uint8)
    angles = polar.ANGLES[::8]
    lobes = 1 + 0.28 * np.cos(2 * angles + spots.x[:, None]) + 0.16 * np.cos(3 * angles + spots.y[:, None])
    centres = cells.centres[spots.cell] + np.stack([spots.x, spots.y], 1)
    outlines = outline_points(centres, spots.radius[:, None] * lobes, um_per_px)
    if len(outlines):
        cv2.fillPoly(canvas, list(outlines), 255, cv2.LINE_AA, SUBPIXEL)
    return canvas.astype(np.float32) * np.float32(1 / 255)
