"""One field of view: its cells, their pixel maps, and the structures that several channels share."""

from dataclasses import dataclass

import numpy as np

from hpa_synth import geometry, rasters, reference
from hpa_synth.drawing import Walks
from hpa_synth.geometry import CellLine, Cells
from hpa_synth.rasters import Rasters

BRIDGE, SPINDLE, JUNCTIONS = 16, 17, 22  # the labels that need something special of the cells


@dataclass
class Field:
    """One field of view; canvases are float32 (size, size), about 1 where the structure is."""

    size: int
    um_per_px: float
    cells: Cells
    maps: Rasters
    microtubules: Walks | None = None  # the very walks that red, class 14 and class 15 draw
    microtubule_brightness: np.ndarray | None = None
    spindle: np.ndarray | None = None  # canvas of all spindles
    bridge: np.ndarray | None = None  # canvas of all cytokinetic bridges
    reticulum: np.ndarray | None = None  # canvas of the endoplasmic reticulum


def make_field(
    geometry_rng: np.random.Generator,
    texture_rng: np.random.Generator,
    line: CellLine,
    labels: list[int],
    size: int,
    um_per_px: float,
) -> Field:
    """A field whose cells allow ``labels``: a spindle needs a mitotic cell, a bridge a dividing pair.

    Nothing else depends on the labels, and the shared structures are drawn here in a fixed order, so the reference
    channels of one field are the same whatever the green channel shows.
    """
    width_um = size * um_per_px
    cells = geometry.make_cells(geometry_rng, line, width_um, SPINDLE in labels, BRIDGE in labels, JUNCTIONS in labels)
    field = Field(size, um_per_px, cells, rasters.make_rasters(cells, size, um_per_px))
    field.microtubules, field.microtubule_brightness = reference.microtubule_walks(field, texture_rng)
    field.spindle = reference.spindle_canvas(field, texture_rng)
    field.bridge = reference.bridge_canvas(field, texture_rng)
    field.reticulum = reference.reticulum_canvas(field, texture_rng)
    return field
