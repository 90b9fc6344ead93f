"""Green patterns of the cytoplasm and the cell's edge: classes 6, 7, 21, 22, 23 and 25 (see patterns_nucleus)."""

import numpy as np

from hpa_synth import drawing, placing, polar


def endoplasmic_reticulum(field, rng, variant):
    """The network that yellow marks: dense round the nucleus, thinning to strands at the edge.

    The yellow channel's own net and, at .3, an independent one of the same grain.
    """
    own_net = np.maximum(1 - np.abs(drawing.value_noise(field, rng, 2.1)), 0) ** 2
    cytoplasm = field.maps.cytoplasm * np.exp(-1.8 * field.maps.outward) * own_net
    return 1.3 * (1.05 * field.reticulum + 0.3 * cytoplasm)


def golgi_apparatus(field, rng, variant):
    """A ribbon of short curved pieces on one side of the nucleus, round the centrosome.

    9 to 21 pieces of .6 to 3.2 um within about 2 um of the nucleus; in 35 % of A-431 (8 % of other) proteins the
    ribbon runs all round the nucleus.
    """
    all_round = variant.random() < (0.35 if field.cells.line.name == "A-431" else 0.08)
    half_width = np.pi if all_round else variant.uniform(0.28, 0.6)
    counts = rng.integers(9, 22, field.cells.count) * (2 if all_round else 1)
    cell = placing.repeat_cells(field, rng, counts)
    count = len(cell)
    aside = placing.uniform(rng, -1, 1, count) * np.sqrt(rng.random(count, dtype=np.float32))
    angle = (field.cells.centrosome_angle[cell] + half_width * aside).astype(np.float32)
    away = polar.radius_at(field.cells.nucleus_radii, cell, angle) + 0.6 + np.abs(placing.normal(rng, 1.9, count))
    heading = angle + np.float32(np.pi / 2) + placing.normal(rng, 0.7, count)
    length = placing.uniform(rng, 0.6, 3.2, count)
    walks = drawing.walk(field, rng, cell, away * np.cos(angle), away * np.sin(angle), heading, length, 0.55)
    pieces = drawing.draw_walks(field, walks, placing.uniform(rng, 0.6, 1.1, count))
    return np.minimum(1.9 * drawing.soften(field, pieces, 0.22), 1.6)


def plasma_membrane(field, rng, variant):
    """The cell's whole edge, free or in contact, sometimes with fine protrusions or a flat sheen over the cell.

    Edge sd .5 to .85 um, brightness +- 30 %, sheen .05 to .28; four proteins in ten show 25 to 69 filopodia per cell.
    """
    width, sheen = variant.uniform(0.5, 0.85), variant.uniform(0.05, 0.28)
    edge = np.exp(-((field.maps.from_edge / width) ** 2)) * (1 + 0.3 * drawing.value_noise(field, rng, 3.0))
    canvas = field.maps.cell * (edge + sheen * (1 + 0.15 * drawing.value_noise(field, rng, 2.0)))
    if variant.random() < 0.4:
        cell = placing.repeat_cells(field, rng, rng.integers(25, 70, field.cells.count), 0.8)
        angle = placing.random_angles(rng, len(cell))
        away = polar.radius_at(field.cells.cell_radii, cell, angle)
        heading, length = angle + placing.normal(rng, 0.25, len(cell)), placing.uniform(rng, 1, 5, len(cell))
        x, y = away * np.cos(angle), away * np.sin(angle)
        canvas += 0.7 * np.minimum(drawing.lines(field, cell, x, y, heading, length, 1.0, 14, start=-0.1), 1.5)
    return canvas


def cell_junctions(field, rng, variant):
    """Bright stretches or dashes only where two cells touch; free edges stay dark.

    Six proteins in ten show dashes of about 1 to 3 um, the others long stretches.
    """
    dashed = variant.random() < 0.6
    stretches = [_junction(field, rng, first, second, dashed) for first, second in _touching_pairs(field.cells)]
    stretches = [stretch for stretch in stretches if stretch is not None]
    canvas = 0.02 * field.maps.cell
    if stretches:
        cell, x, y, weight = (np.concatenate(part) for part in zip(*stretches, strict=True))
        line = drawing.soften(field, drawing.splat(field, cell, x, y, weight), 0.28)
        canvas = canvas + np.minimum(2.2 * line, 1.8)
    return canvas


def _touching_pairs(cells) -> list[tuple[int, int]]:
    """The pairs (first < second) of cells with a common border of at least four directions."""
    first = np.repeat(np.arange(cells.count), cells.neighbour.shape[1])
    second = cells.neighbour.ravel()
    pairs, counts = np.unique(np.stack([first, second])[:, second > first], axis=1, return_counts=True)
    return [(int(cell), int(other)) for cell, other in pairs.T[counts >= 4]]


def _junction(field, rng, first, second, dashed):
    """The common border of two cells: cell, x, y, weight (70 each), or None where the outlines do not meet."""
    cells = field.cells
    direction = np.flatnonzero(cells.neighbour[first] == second)
    breaks = np.flatnonzero(np.diff(direction) > 1)
    if len(breaks):
        direction = np.roll(direction, -(breaks[0] + 1))
    angle = np.unwrap(polar.ANGLES[direction])
    angle = np.interp(np.linspace(0, len(angle) - 1, 70), np.arange(len(angle)), angle).astype(np.float32)
    away = polar.radius_at(cells.cell_radii, np.full(70, first), angle)
    x, y = away * np.cos(angle), away * np.sin(angle)
    length = np.hypot(np.diff(x), np.diff(y)).sum()
    weight = np.full(70, length / 70 / field.um_per_px) * rng.uniform(0.5, 1.1)
    if dashed:
        phase = np.arange(70) * length / 70 * rng.uniform(1.2, 2.4) + rng.uniform(0, 2 * np.pi)
        weight = weight * (np.sin(phase) > rng.uniform(-0.6, 0.3))
    shift = cells.centres[first] - cells.centres[second]
    other_x, other_y = x + shift[0], y + shift[1]
    other_edge = polar.radius_at(cells.cell_radii, np.full(70, second), np.arctan2(other_y, other_x))
    weight = weight * (np.abs(np.hypot(other_x, other_y) - other_edge) < 1.6)  # both outlines must really meet there
    if (weight > 0).sum() < 4:
        return None
    return np.full(70, first), 1.01 * x, 1.01 * y, weight


def mitochondria(field, rng, variant):
    """Worm-like threads along the microtubules from the nucleus outwards, in some proteins short rods.

    38 to 84 worms of .9 to 13 um in a cell of 700 um2, crowded round the nucleus.
    """
    spread, length_factor = variant.uniform(1.6, 2.8), variant.uniform(0.5, 1.4)
    cell = placing.repeat_cells(field, rng, placing.counts_by_area(field, rng, 38, 85, 0.4, 1.5))
    count = len(cell)
    x, y, _ = placing.cytoplasm_points(field, rng, cell, 1.0, spread)
    centre = field.cells.centrosome[cell]
    heading = np.arctan2(y - centre[:, 1], x - centre[:, 0]) + placing.normal(rng, 0.8, count)
    length = np.clip(length_factor * rng.gamma(2.2, 1.9, count), 0.9, 13).astype(np.float32)
    walks = drawing.walk(field, rng, cell, x, y, heading, length, 0.48, 0.34, 40)
    worms = drawing.draw_walks(field, walks, placing.uniform(rng, 0.6, 1.0, count))
    return np.minimum(1.55 * drawing.soften(field, worms, 0.17), 1.9)


def cytosol(field, rng, variant):
    """A diffuse fill of the cytoplasm, thinner at the edge, with no net and no spots.

    Grain of 10 % at .8 um and 10 % at 7 um; the nucleus keeps .03 to .30.
    """
    grain = 1 + 0.10 * (drawing.value_noise(field, rng, 0.8) + drawing.value_noise(field, rng, 7.0))
    thinning = 1 - 0.6 * np.exp(-field.maps.from_edge / 1.6)
    return 0.6 * (field.maps.cytoplasm * grain * thinning + variant.uniform(0.03, 0.30) * field.maps.nucleus)
