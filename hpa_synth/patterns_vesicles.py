"""Green patterns of spots and bodies in the cytoplasm: classes 8, 9, 10, 20, 24, 26 and 27 (see patterns_nucleus)."""

import numpy as np

from hpa_synth import drawing, placing, polar


def peroxisomes(field, rng, variant):
    """Many small, equal dots scattered evenly over the whole cytoplasm.

    120 to 229 dots in a cell of 700 um2, diameter .4 to .6 um, all about equally bright.
    """
    cell = placing.repeat_cells(field, rng, placing.counts_by_area(field, rng, 120, 230, 0.35, 1.8))
    x, y, _ = placing.cytoplasm_points(field, rng, cell, 1.0, 1.35)
    return _dots(field, rng, cell, x, y, 0.2, 0.3, light=-0.1, light_sd=0.15)


def endosomes(field, rng, variant):
    """Vesicles of varied size and brightness, more of them near the nucleus and the Golgi.

    45 to 109 in a cell of 700 um2, diameter .3 to .84 um, 40 % within 2.8 um (sd) of the centrosome.
    """
    cell = placing.repeat_cells(field, rng, placing.counts_by_area(field, rng, 45, 110))
    x, y = placing.perinuclear_points(field, rng, cell, 1.8, 0.4, 2.8)
    return _dots(field, rng, cell, x, y, 0.15, 0.42, light=-0.35, light_sd=0.55)


def lysosomes(field, rng, variant):
    """Vesicles like endosomes but larger and brighter, half of them in a cloud near the Golgi.

    28 to 74 in a cell of 700 um2, diameter .68 to 1.2 um, 50 % within 3.4 um (sd) of the centrosome.
    """
    cell = placing.repeat_cells(field, rng, placing.counts_by_area(field, rng, 28, 75))
    x, y = placing.perinuclear_points(field, rng, cell, 2.6, 0.5, 3.4)
    return _dots(field, rng, cell, x, y, 0.34, 0.6, light=0.1, light_sd=0.25)


def lipid_droplets(field, rng, variant):
    """Round droplets with a stained surface, so that larger ones look like rings; grouped beside the nucleus.

    10 to 49 rings of .9 to 2.3 um, on one or two sides of 90 % of the cells.
    """
    cell = placing.repeat_cells(field, rng, rng.integers(10, 50, field.cells.count), 0.9)
    sides = rng.uniform(0, 2 * np.pi, (field.cells.count, 2)).astype(np.float32)
    angle = sides[cell, rng.integers(0, 2, len(cell))] + placing.normal(rng, 0.6, len(cell))
    x, y, _ = placing.cytoplasm_points(field, rng, cell, 1.0, 2.6, angle)
    radius = placing.uniform(rng, 0.45, 1.15, len(cell))
    return np.minimum(drawing.rings(field, cell, x, y, radius, placing.uniform(rng, 0.6, 1.1, len(cell))), 1.7)


def aggresome(field, rng, variant):
    """One dense round inclusion close beside the nucleus, on the centrosome's side.

    Diameter 1.7 to 3.5 um, .4 um or more from the nucleus, in 50 to 95 % of the cells, one in four has a second;
    in three proteins of ten it is hollow.
    """
    extra = (rng.random(field.cells.count) < 0.2).astype(int) + (rng.random(field.cells.count) < 0.08)
    cell = placing.repeat_cells(field, rng, 1 + extra, variant.uniform(0.5, 0.95))
    count = len(cell)
    angle = field.cells.centrosome_angle[cell] + placing.normal(rng, 0.9, count)
    radius = placing.uniform(rng, 0.85, 1.75, count)
    away = polar.radius_at(field.cells.nucleus_radii, cell, angle) + radius + 0.4
    away = away + rng.exponential(0.8, count).astype(np.float32)
    away = np.minimum(away, 0.9 * polar.radius_at(field.cells.cell_radii, cell, angle))
    x, y = away * np.cos(angle), away * np.sin(angle)
    canvas = drawing.discs(field, cell, x, y, radius, np.ones(count))
    if variant.random() < 0.3:
        canvas = canvas - 0.55 * drawing.discs(field, cell, x, y, 0.55 * radius, np.ones(count))
    return 1.15 * np.clip(canvas, 0, 1.4)


def cytoplasmic_bodies(field, rng, variant):
    """Distinct round spots in the cytoplasm, larger and far fewer than vesicles.

    4 to 17 in a cell of 700 um2, diameter .56 to 1.15 um.
    """
    cell = placing.repeat_cells(field, rng, placing.counts_by_area(field, rng, 4, 18, 0.35, 1.8), 0.95)
    x, y, _ = placing.cytoplasm_points(field, rng, cell, 1.0, 1.2)
    return _dots(field, rng, cell, x, y, 0.28, 0.58, light=-0.1, light_sd=0.25)


def rods_and_rings(field, rng, variant):
    """A few stiff rods and some rings, lying free in the cytoplasm.

    3 to 11 in 50 to 95 % of the cells: rods of 2.5 to 8 um, rings of 2 to 4.4 um (Carcamo 2011).
    """
    cell = placing.repeat_cells(field, rng, rng.integers(3, 12, field.cells.count), variant.uniform(0.5, 0.95))
    x, y, _ = placing.cytoplasm_points(field, rng, cell, 1.2, 1.4)
    rod = rng.random(len(cell)) < variant.uniform(0.55, 0.95)
    heading, length = placing.random_angles(rng, int(rod.sum())), placing.uniform(rng, 2.5, 8.0, int(rod.sum()))
    rods = drawing.walk(field, rng, cell[rod], x[rod], y[rod], heading, length, 0.07, 0.3, 40)
    canvas = 2.0 * drawing.soften(field, drawing.draw_walks(field, rods, 1.0), 0.2)
    radius = placing.uniform(rng, 1.0, 2.2, int((~rod).sum()))
    canvas += drawing.rings(field, cell[~rod], x[~rod], y[~rod], radius, np.ones(len(radius)))
    return np.minimum(canvas, 1.7)


def _dots(field, rng, cell, x, y, smallest_um, largest_um, light, light_sd):
    """Discs with radii between the two bounds and log-normal brightness (log mean ``light``)."""
    radius = placing.uniform(rng, smallest_um, largest_um, len(cell))
    brightness = rng.lognormal(light, light_sd, len(cell)).astype(np.float32)
    return np.minimum(drawing.discs(field, cell, x, y, radius, brightness), 1.8)
