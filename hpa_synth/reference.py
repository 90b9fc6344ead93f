"""The three reference channels: microtubules (red), nucleus (blue) and endoplasmic reticulum (yellow).

The structures that the green channel may show too (microtubules, spindle, bridge, reticulum) are made here once.
"""

import cv2
import numpy as np

from hpa_synth import drawing, placing, polar, rasters


def microtubule_walks(field, rng: np.random.Generator) -> tuple[drawing.Walks, np.ndarray]:
    """Microtubules as random walks outwards from the centrosome, and the brightness of each (m,).

    About half start in the cytoplasm and point away from the centrosome; half of all pass over or under the nucleus.
    Gamma lengths of 18 um on average and persistent headings after Shariff et al. 2010 and Li et al. 2012.
    """
    cells = field.cells
    cell = placing.repeat_cells(field, rng, np.clip(cells.area / 7.5, 36, 160))
    count = len(cell)
    x, y = placing.centrosome_points(field, rng, cell, 0.9)
    heading = placing.random_angles(rng, count)
    length = np.clip(rng.gamma(2.6, 7.0, count), 4, 48).astype(np.float32)
    free = rng.random(count) < rng.uniform(0.45, 0.7)
    x[free], y[free], _ = placing.cytoplasm_points(field, rng, cell[free], 1.0, 1.3)
    centre = cells.centrosome[cell[free]]
    outwards = np.arctan2(y[free] - centre[:, 1], x[free] - centre[:, 0])
    heading[free] = outwards + placing.normal(rng, 0.55, int(free.sum()))
    length[free] *= 0.6
    wiggle, around = rng.uniform(0.16, 0.27), rng.random(count) < 0.5
    walks = drawing.walk(field, rng, cell, x, y, heading, length, wiggle, 0.38, 70, stop=0.95, around_nucleus=around)
    return walks, placing.uniform(rng, 0.45, 1.0, count)


def spindle_canvas(field, rng: np.random.Generator) -> np.ndarray:
    """Spindles of the mitotic cells: fibres between two poles, dimmer at the chromosomes, and short asters."""
    canvas = np.zeros((field.size, field.size), np.float32)
    along = np.linspace(-1, 1, 46, dtype=np.float32)[None]
    for cell in np.flatnonzero(field.cells.mitotic):
        half_length, half_width = rng.uniform(5.0, 6.5), rng.uniform(2.6, 3.6)
        side = placing.uniform(rng, -1, 1, 44)[:, None]
        fibre_y = side * half_width * (1 - along**2) ** 0.8
        fibre_x = np.broadcast_to(along * half_length, fibre_y.shape)
        fibre_weight = np.broadcast_to(1 - 0.35 * (np.abs(along) < 0.18), fibre_y.shape)
        angle = placing.random_angles(rng, 24)[:, None]
        away = np.linspace(0, 1, 14, dtype=np.float32) * placing.uniform(rng, 1.5, 4.5, 24)[:, None]
        pole = np.where(np.arange(24) % 2, 1, -1)[:, None] * half_length
        aster_x, aster_y = pole + away * np.cos(angle), away * np.sin(angle)
        x = np.concatenate([fibre_x.ravel(), aster_x.ravel()]).astype(np.float32)
        y = np.concatenate([fibre_y.ravel(), aster_y.ravel()]).astype(np.float32)
        weight = np.concatenate([fibre_weight.ravel(), np.full(aster_x.size, 0.35)])
        weight = weight * 0.112 / field.um_per_px
        canvas += drawing.splat(field, np.full(len(x), cell), *_turned(x, y, field.cells.spindle_axis[cell]), weight)
    return canvas


def bridge_canvas(field, rng: np.random.Generator) -> np.ndarray:
    """Cytokinetic bridges: an hour-glass strand between two daughters with the dark midbody gap in its middle."""
    canvas = np.zeros((field.size, field.size), np.float32)
    cells = field.cells
    for first, second in cells.dividing:
        between = cells.centres[second] - cells.centres[first]
        direction = np.float32(np.arctan2(between[1], between[0]))
        start = polar.radius_at(cells.cell_radii, np.array([first]), np.array([direction]))[0] - 1
        back = polar.radius_at(cells.cell_radii, np.array([second]), np.array([direction + np.float32(np.pi)]))[0]
        length = max(np.hypot(*between) - back + 1 - start, 3.0)
        share = np.linspace(0, 1, 60, dtype=np.float32)
        half_width = 0.35 + 1.3 * np.abs(2 * share - 1) ** 2.2
        light = 1 - 0.9 * np.exp(-(((share - 0.5) * length / 0.6) ** 2))
        bend = rng.normal(0, 0.6) * np.sin(np.pi * share)
        y = np.linspace(-1, 1, 9, dtype=np.float32)[:, None] * half_width + bend
        x = np.broadcast_to(start + share * length, y.shape)
        weight = light * 0.5 * (length / 60 / field.um_per_px + 0.25)
        cell = np.full(y.shape, first)
        canvas += drawing.splat(field, cell, *_turned(x, y, direction), np.broadcast_to(weight, y.shape))
    return canvas


def reticulum_canvas(field, rng: np.random.Generator) -> np.ndarray:
    """The endoplasmic reticulum: a net of ridges, dense at the nucleus, with the nuclear envelope as its inner rim."""
    maps = field.maps
    fine = 1 - np.abs(drawing.value_noise(field, rng, 2.1))
    coarse = 1 - np.abs(drawing.value_noise(field, rng, 3.4))
    slow = drawing.value_noise(field, rng, 14.0)
    grain = 1 + 0.3 * drawing.value_noise(field, rng, 0.8)
    net = np.maximum(0.55 * fine + 0.45 * coarse, 0) ** 2 * grain
    sheet = maps.cytoplasm * np.exp(-1.8 * maps.outward) * (0.30 + 0.70 * net) * (1 + 0.18 * slow)
    envelope = np.exp(-(((maps.from_nucleus - 0.25) / 0.42) ** 2)) * maps.cytoplasm
    return np.maximum(sheet + 0.18 * envelope, 0) + np.float32(0.08) * maps.nucleus


def red_canvas(field, rng: np.random.Generator) -> np.ndarray:
    """Red: the microtubules, spindles and bridges over a faint felt of microtubules too fine to draw one by one."""
    maps = field.maps
    threads = drawing.draw_walks(field, field.microtubules, field.microtubule_brightness) + 1.2 * field.spindle
    threads = np.minimum(threads, 4.0) * np.float32(0.52 * (0.32 / field.um_per_px) ** 0.8)
    threads = drawing.soften(field, threads, 0.17)
    threads = threads * (1 - np.float32(0.45) * maps.nucleus)  # those over the nucleus are partly out of focus
    felt = np.maximum(1 - np.abs(drawing.value_noise(field, rng, 1.6)), 0) ** 2
    pool = maps.cytoplasm * (0.06 + 0.20 * np.exp(-1.6 * maps.outward)) * (0.3 + 2.2 * felt) + 0.05 * maps.nucleus
    cell_light = rasters.per_cell(maps, rng.lognormal(0, 0.22, field.cells.count))
    return (threads + pool) * cell_light + np.minimum(0.55 * field.bridge, 0.9)


def yellow_canvas(field, rng: np.random.Generator) -> np.ndarray:
    """Yellow: the endoplasmic reticulum, brighter in some cells than in others."""
    return field.reticulum * rasters.per_cell(field.maps, rng.lognormal(0, 0.25, field.cells.count))


def blue_canvas(field, rng: np.random.Generator) -> np.ndarray:
    """Blue: DNA with chromatin grain, dim in the nucleoli, and the condensed plates of mitotic cells."""
    grain = 0.14 * drawing.value_noise(field, rng, 1.0) + 0.22 * drawing.value_noise(field, rng, 2.6)
    holes = cv2.GaussianBlur(field.maps.nucleoli, (0, 0), max(0.3, 0.25 / field.um_per_px))
    light = rasters.per_cell(field.maps, rng.lognormal(0, 0.28, field.cells.count))
    canvas = field.maps.nucleus * (1 + grain) * (1 - 0.62 * holes) * light
    mitotic = np.flatnonzero(field.cells.mitotic)
    if len(mitotic):
        cell = np.repeat(mitotic, 900)
        x = placing.normal(rng, 1.05, len(cell))
        y = placing.uniform(rng, -5.6, 5.6, len(cell)) + placing.normal(rng, 0.4, len(cell))
        turned = _turned(x, y, field.cells.spindle_axis[cell])
        canvas = canvas + 1.9 * drawing.splat(field, cell, *turned, 26 / 900 / field.um_per_px**2)
    return canvas


def _turned(x, y, angle):
    """The points turned by ``angle``: x, y float32."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return (x * cosine - y * sine).astype(np.float32), (x * sine + y * cosine).astype(np.float32)
