"""Green patterns of filaments and of the centrosome: classes 11 to 19 (see patterns_nucleus)."""

import numpy as np

from hpa_synth import drawing, placing, polar


def intermediate_filaments(field, rng, variant):
    """A tangled mesh of wavy filaments through the cytosol, densest round the nucleus and not radial.

    One filament per 11 um2 (30 to 95), 3 to 26 um long, starting along the nuclear edge.
    """
    cell = placing.repeat_cells(field, rng, np.clip(field.cells.area / 11, 30, 95))
    count = len(cell)
    x, y, angle = placing.cytoplasm_points(field, rng, cell, 1.0, 1.7)
    side = np.where(rng.random(count) < 0.5, np.pi / 2, -np.pi / 2)
    heading = angle + side + placing.normal(rng, 0.55, count)
    length = np.clip(rng.gamma(3, 3.6, count), 3, 26).astype(np.float32)
    walks = drawing.walk(field, rng, cell, x, y, heading, length, 0.42, 0.4, 60, stop=0.9)
    mesh = drawing.draw_walks(field, walks, placing.uniform(rng, 0.45, 0.9, count))
    return 0.75 * np.minimum(mesh, 2.5) + 0.10 * field.maps.cytoplasm * (1 - field.maps.outward)


def actin_filaments(field, rng, variant):
    """Long straight bundles (stress fibres), parallel along the cell and across the nucleus, and the cell's cortex.

    9 to 25 fibres of 9 to 38 um per cell, one in ten slanting; the cell's edge is stained too.
    """
    cells = field.cells
    cell = placing.repeat_cells(field, rng, rng.integers(9, 26, cells.count))
    count = len(cell)
    angle = placing.random_angles(rng, count)
    away = 0.9 * polar.radius_at(cells.cell_radii, cell, angle) * np.sqrt(rng.random(count, dtype=np.float32))
    slant = np.where(rng.random(count) < 0.1, np.float32(1.1), np.float32(0))
    heading = (cells.axis[cell] + placing.normal(rng, 0.12, count) + slant)[:, None]
    length = placing.uniform(rng, 9, 38, count)
    along = np.linspace(-0.5, 0.5, 96, dtype=np.float32) * length[:, None]
    aside = placing.normal(rng, 0.006, count)[:, None] * along**2
    x = (away * np.cos(angle))[:, None] + along * np.cos(heading) - aside * np.sin(heading)
    y = (away * np.sin(angle))[:, None] + along * np.sin(heading) + aside * np.cos(heading)
    owner = np.broadcast_to(cell[:, None], x.shape)
    inside = np.hypot(x, y) < 0.97 * polar.radius_at(cells.cell_radii, owner, np.arctan2(y, x))
    weight = (placing.uniform(rng, 0.35, 1.0, count) * length / (96 * field.um_per_px))[:, None] * inside
    fibres = 1.5 * drawing.soften(field, drawing.splat(field, owner, x, y, weight), 0.2)
    cortex = np.exp(-((field.maps.from_edge / 0.7) ** 2)) * field.maps.cell
    return 0.8 * np.minimum(fibres, 2.0) + 0.30 * cortex + 0.07 * field.maps.cytoplasm


def focal_adhesion_sites(field, rng, variant):
    """Short dense plaques near the cell's edge, pointing outwards, in a few groups.

    16 to 47 dashes of .9 to 2.9 um at .80 to .955 of the radius, in up to three groups per cell.
    """
    cell = placing.repeat_cells(field, rng, rng.integers(16, 48, field.cells.count))
    count = len(cell)
    groups = rng.uniform(0, 2 * np.pi, (field.cells.count, 3)).astype(np.float32)
    angle = groups[cell, rng.integers(0, 3, count)] + placing.normal(rng, 0.55, count)
    away = polar.radius_at(field.cells.cell_radii, cell, angle) * placing.uniform(rng, 0.80, 0.955, count)
    heading, length = angle + placing.normal(rng, 0.22, count), placing.uniform(rng, 0.9, 2.9, count)
    light = placing.uniform(rng, 0.6, 1.2, count)
    dashes = drawing.lines(field, cell, away * np.cos(angle), away * np.sin(angle), heading, length, light, 12)
    return np.minimum(2.1 * drawing.soften(field, dashes, 0.24), 1.8) + 0.03 * field.maps.cell


def microtubules(field, rng, variant):
    """The very threads of the red channel: thin strands from the centrosome through the whole cell.

    Seven proteins in ten also show the bridges, seven in ten the spindles.
    """
    threads = drawing.draw_walks(field, field.microtubules, field.microtubule_brightness)
    threads = threads * (1 - np.float32(0.45) * field.maps.nucleus)
    threads = threads + 1.4 * (variant.random() < 0.7) * field.bridge + 1.1 * (variant.random() < 0.7) * field.spindle
    return 0.42 * np.minimum(threads, 3.5) + 0.07 * field.maps.cytoplasm


def microtubule_ends(field, rng, variant):
    """Only the outer tips of the red channel's threads, as comets that fade inwards.

    The last 1.6 um of 85 % of the microtubules.
    """
    walks = field.microtubules
    last = walks.drawn.sum(1) - 1
    tip = np.flatnonzero((rng.random(len(last)) < 0.85) & (last > 8))
    points = max(2, int(round(1.6 / walks.step_um)))
    index = np.maximum(last[tip][:, None] - np.arange(points), 0)
    fading = np.linspace(1.2, 0.3, points) * (walks.step_um / field.um_per_px)
    x, y = walks.x[tip[:, None], index], walks.y[tip[:, None], index]
    comets = drawing.splat(field, walks.cell[tip, :points], x, y, fading[None])
    return np.minimum(2.0 * drawing.soften(field, comets, 0.2), 1.7)


def cytokinetic_bridge(field, rng, variant):
    """The bundle between two daughter cells, with the dark midbody in its middle.

    The hour-glass strand that red shows for every dividing pair.
    """
    return np.minimum(1.1 * field.bridge, 1.6)


def mitotic_spindle(field, rng, variant):
    """The spindle of a dividing cell: fibres from two poles to the condensed chromosomes.

    The shape that red shows for every mitotic cell.
    """
    return np.minimum(1.6 * field.spindle, 2.0)


def microtubule_organizing_center(field, rng, variant):
    """A larger, granular patch at the focus of the microtubules.

    16 to 39 granules of .4 to .8 um in a cloud of sd .7 to 1.35 um over a halo, in 92 % of the cells.
    """
    cloud_um = variant.uniform(0.7, 1.35)
    counts = rng.integers(16, 40, field.cells.count)
    cell = placing.repeat_cells(field, rng, counts, 0.92)
    x, y = placing.centrosome_points(field, rng, cell, cloud_um)
    radius, light = placing.uniform(rng, 0.2, 0.4, len(cell)), placing.uniform(rng, 0.3, 0.8, len(cell))
    granules = drawing.discs(field, cell, x, y, radius, light)
    stained = np.unique(cell)
    centre = field.cells.centrosome[stained]
    radius, light = np.full(len(stained), 1.5 * cloud_um), np.full(len(stained), 0.45)
    halo = drawing.discs(field, stained, centre[:, 0], centre[:, 1], radius.astype(np.float32), light)
    return np.minimum(granules + drawing.soften(field, halo, 0.5), 1.6)


def centrosome(field, rng, variant):
    """One small bright spot, or the two centrioles, at the focus of the microtubules.

    Spots of .5 to .9 um, .3 to 1.5 um apart, in 95 % of the cells.
    """
    cell = placing.repeat_cells(field, rng, 1 + (rng.random(field.cells.count) < 0.55), 0.95)
    angle, away = placing.random_angles(rng, len(cell)), placing.uniform(rng, 0.15, 0.75, len(cell))
    centre = field.cells.centrosome[cell]
    x, y = centre[:, 0] + away * np.cos(angle), centre[:, 1] + away * np.sin(angle)
    radius, light = placing.uniform(rng, 0.26, 0.46, len(cell)), placing.uniform(rng, 0.9, 1.4, len(cell))
    return np.minimum(drawing.discs(field, cell, x, y, radius, light), 1.7)
