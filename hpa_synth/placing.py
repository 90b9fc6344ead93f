"""Where structures go inside a cell: random points in the cytoplasm, in the nucleus and round the centrosome."""

import numpy as np

from hpa_synth import drawing, polar


def repeat_cells(field, rng: np.random.Generator, counts: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Each interphase cell's index as often as ``counts`` (n,) says, int (m,); a ``share`` of the cells have any."""
    present = ~field.cells.mitotic & (rng.random(field.cells.count) < share)
    return np.repeat(np.arange(field.cells.count), np.maximum(np.asarray(counts).astype(int) * present, 0))


def counts_by_area(field, rng, low: int, high: int, smallest: float = 0.4, largest: float = 1.6) -> np.ndarray:
    """Numbers of organelles per cell (n,): ``low`` .. ``high`` - 1 in a cell of 700 um2, in proportion to its area."""
    return rng.integers(low, high, field.cells.count) * np.clip(field.cells.area / 700, smallest, largest)


def random_angles(rng: np.random.Generator, count: int) -> np.ndarray:
    """Directions, radians float32 (count,)."""
    return rng.uniform(0, 2 * np.pi, count).astype(np.float32)


def uniform(rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    """Uniform numbers, float32 (count,)."""
    return rng.uniform(low, high, count).astype(np.float32)


def normal(rng: np.random.Generator, sd: float, count: int) -> np.ndarray:
    """Normal numbers round 0, float32 (count,)."""
    return (sd * rng.standard_normal(count, dtype=np.float32)).astype(np.float32)


def cytoplasm_points(field, rng, cell: np.ndarray, crowding: float = 1.0, spread: float = 1.0, angle=None):
    """Points between nucleus and edge: x, y (m,) um, angle (m,).

    Args:
        field: the field.
        rng: the random stream.
        cell: int (m,).
        crowding: with ``spread`` the two Beta parameters of the share of the area that is further in: (1, 1) is
            uniform in area.
        spread: above 1 crowds the points round the nucleus (1, 3), ``crowding`` above 1 at the edge.
        angle: float32 (m,), given directions instead of random ones.
    """
    angle = random_angles(rng, len(cell)) if angle is None else angle
    inner = polar.radius_at(field.cells.nucleus_radii, cell, angle) + np.float32(0.3)
    outer = polar.radius_at(field.cells.cell_radii, cell, angle) * np.float32(0.95)
    share = rng.beta(crowding, spread, len(cell)).astype(np.float32)
    away = np.sqrt(inner**2 + share * np.maximum(outer**2 - inner**2, 0))
    return away * np.cos(angle), away * np.sin(angle), angle


def nucleus_points(field, rng, cell: np.ndarray, reach: float = 0.93):
    """Points in the nucleus, uniform in area up to ``reach`` of its radius: x, y (m,) um."""
    angle = random_angles(rng, len(cell))
    away = polar.radius_at(field.cells.nucleus_radii, cell, angle) * np.float32(reach)
    away = away * np.sqrt(rng.random(len(cell), dtype=np.float32))
    return away * np.cos(angle), away * np.sin(angle)


def centrosome_points(field, rng, cell: np.ndarray, sd_um: float):
    """Points in a round cloud of ``sd_um`` about the centrosome: x, y (m,) um; they may be over the nucleus."""
    centre = field.cells.centrosome[cell]
    return centre[:, 0] + normal(rng, sd_um, len(cell)), centre[:, 1] + normal(rng, sd_um, len(cell))


def perinuclear_points(field, rng, cell, spread: float, pericentrosomal: float, cloud_um: float):
    """Cytoplasm points, a share of ``pericentrosomal`` of them in a cloud about the centrosome: x, y (m,) um."""
    x, y, _ = cytoplasm_points(field, rng, cell, 1.0, spread)
    near = rng.random(len(cell)) < pericentrosomal
    x[near], y[near] = centrosome_points(field, rng, cell[near], cloud_um)
    x, y, _ = drawing.confine(field, cell, x, y)
    return x, y
