"""Green patterns of the nucleus: classes 0 to 5. One function per class; its first docstring line is the biology.

Every pattern takes the field, ``rng`` (what differs from field to field) and ``variant`` (what belongs to the protein
and is the same in all its fields), and returns a canvas float32 (S, S), about 1 where the structure is.
"""

import cv2
import numpy as np

from hpa_synth import drawing, placing, rasters


def nucleoplasm(field, rng, variant):
    """The whole nucleus without its nucleoli, smooth to grainy.

    Nucleoli keep 5 to 45 % of the light; grain of .7 to 1.6 um, sd .05 to .30.
    """
    depth, grain_um, dimming = variant.uniform(0.05, 0.3), variant.uniform(0.7, 1.6), variant.uniform(0.55, 0.95)
    grain = 1 + depth * drawing.value_noise(field, rng, grain_um)
    return 0.75 * field.maps.nucleus * grain * (1 - dimming * field.maps.nucleoli)


def nuclear_membrane(field, rng, variant):
    """A thin, uneven rim round the nucleus, in some cells with folds across it.

    Rim .3 um inside the nuclear edge, sd .4 to .6 um, brightness +- 25 %; 35 % of the cells have up to two folds of
    3 to 9 um; the inside keeps .1 to .3.
    """
    width, inside = variant.uniform(0.4, 0.6), variant.uniform(0.1, 0.3)
    depth = rasters.distance_inside(field.maps.nucleus_map, field.um_per_px)
    rim = np.exp(-(((depth - 0.3) / width) ** 2)) * (1 + 0.25 * drawing.value_noise(field, rng, 1.5))
    cell = placing.repeat_cells(field, rng, rng.integers(0, 3, field.cells.count), 0.35)
    x, y = placing.nucleus_points(field, rng, cell, 0.6)
    heading, length = placing.random_angles(rng, len(cell)), placing.uniform(rng, 3, 9, len(cell))
    folds = drawing.walk(field, rng, cell, x, y, heading, length, 0.2, around_nucleus=False)
    canvas = rim + inside * (1 - 0.5 * field.maps.nucleoli) + 0.45 * drawing.draw_walks(field, folds, 1.0)
    return canvas * field.maps.nucleus


def nucleoli(field, rng, variant):
    """One to four bright blobs in the nucleus, exactly the dark holes of the DNA stain; sometimes only their rims.

    Diameter 1.7 to 3.8 um; one protein in five shows rims; the nucleoplasm keeps .02 to .15.
    """
    blobs = field.maps.nucleoli
    if variant.random() < 0.2:
        rounds = max(1, int(0.5 / field.um_per_px))
        blobs = 1.2 * np.maximum(blobs - 0.75 * cv2.erode(blobs, np.ones((3, 3)), iterations=rounds), 0)
    return blobs * (1 + 0.15 * drawing.value_noise(field, rng, 0.9)) + variant.uniform(0.02, 0.15) * field.maps.nucleus


def nucleoli_fibrillar_center(field, rng, variant):
    """A cluster of small spots, or one larger spot, inside each nucleolus.

    Three to eight spots of .56 to 1 um; 35 % of the proteins show a single one of 1 to 1.6 um.
    """
    spots = field.cells.nucleoli
    single = variant.random() < 0.35
    nucleolus = np.repeat(np.arange(len(spots.cell)), 1 if single else variant.integers(3, 9))
    count = len(nucleolus)
    angle = placing.random_angles(rng, count)
    away = 0 if single else spots.radius[nucleolus] * np.sqrt(rng.random(count, dtype=np.float32))
    x, y = spots.x[nucleolus] + away * np.cos(angle), spots.y[nucleolus] + away * np.sin(angle)
    radius = placing.uniform(rng, 0.5, 0.8, count) if single else placing.uniform(rng, 0.28, 0.5, count)
    canvas = drawing.discs(field, spots.cell[nucleolus], x, y, radius, placing.uniform(rng, 0.7, 1.2, count))
    return np.minimum(canvas, 1.5) + 0.03 * field.maps.nucleus


def nuclear_speckles(field, rng, variant):
    """Twenty to fifty irregular, mottled spots all over the nucleus, none in the nucleoli.

    18 to 44 clumps in a nucleus of 240 um2, each of three discs of .56 to 1.1 um; the nucleoplasm keeps .08 to .25.
    """
    counts = rng.integers(18, 45, field.cells.count) * np.clip(field.cells.nucleus_area / 240, 0.5, 1.5)
    clump = placing.repeat_cells(field, rng, counts)
    x, y = placing.nucleus_points(field, rng, clump, 0.88)
    cell = np.repeat(clump, 3)
    x = np.repeat(x, 3) + placing.normal(rng, 0.38, len(cell))
    y = np.repeat(y, 3) + placing.normal(rng, 0.38, len(cell))
    radius = placing.uniform(rng, 0.28, 0.55, len(cell))
    speckles = np.minimum(drawing.discs(field, cell, x, y, radius, np.full(len(cell), 0.75)), 1.3)
    diffuse = variant.uniform(0.08, 0.25) * (1 - 0.8 * field.maps.nucleoli)
    return (speckles * (1 - 0.9 * field.maps.nucleoli) + diffuse) * field.maps.nucleus


def nuclear_bodies(field, rng, variant):
    """A few distinct round spots in the nucleus; how many depends on the protein.

    2.5, 5 or 11 spots on average, diameter .56 to 1 um with 18 % spread; the nucleoplasm keeps .03 to .15.
    """
    mean, radius_um = variant.choice([2.5, 5.0, 11.0]), variant.uniform(0.28, 0.52)
    cell = placing.repeat_cells(field, rng, rng.poisson(mean, field.cells.count))
    x, y = placing.nucleus_points(field, rng, cell, 0.85)
    radius = (radius_um * rng.lognormal(0, 0.18, len(cell))).astype(np.float32)
    spots = drawing.discs(field, cell, x, y, radius, placing.uniform(rng, 0.7, 1.3, len(cell)))
    return (np.minimum(spots, 1.6) + variant.uniform(0.03, 0.15)) * field.maps.nucleus
