"""Cells in the plane: where they are, their outlines, nuclei, centrosomes and nucleoli. No pixels here.

One idea makes everything cheap: polar cells (see ``polar``). Cells of five cell-line styles are placed on a jittered
hexagonal grid; each outline is limited by its neighbours (a smooth Voronoi cell), which also tells where two cells
touch.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hpa_synth import polar

MITOTIC_SHARE = 0.010  # of all cells, whatever the labels: a mitotic cell must not give a label away
DIVIDING_SHARE = 0.010  # the chance of a dividing pair, per cell in the field
MITOTIC_RADIUS = 9.5  # um, a rounded-up cell
FAR = np.float32(1e3)  # um, "no neighbour in this direction"


class CellLine(NamedTuple):
    """One style of cells; sizes in um, from 141 nuclei of the HPA dictionary and the cell lines of HPA v18."""

    name: str
    share: float  # of the fields
    nucleus_um: float  # major axis
    nucleus_aspect: float
    radius_um: float  # of a free cell
    pitch_um: float  # distance between neighbours
    contact: float  # chance that two neighbours touch
    elongation: float
    spikes: int  # attachments with concave edges between them


CELL_LINES = (
    CellLine("U-2 OS", 0.34, 20.5, 1.32, 24.0, 41.0, 0.40, 1.25, 4),
    CellLine("A-431", 0.20, 17.5, 1.28, 16.5, 28.0, 0.85, 1.12, 0),
    CellLine("U-251 MG", 0.22, 21.0, 1.45, 23.0, 43.0, 0.30, 1.80, 4),
    CellLine("small epithelial", 0.12, 14.5, 1.22, 13.0, 22.5, 0.85, 1.12, 0),
    CellLine("fibroblast", 0.12, 19.5, 1.55, 26.0, 47.0, 0.30, 2.10, 3),
)


class Nucleoli(NamedTuple):
    """Nucleoli of all cells: the cell (m,), the centre relative to the cell's origin and the radius (m,), um."""

    cell: np.ndarray
    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray


@dataclass
class Cells:
    """The n cells of one field; positions and radii in um, (n, ...) float32 unless said otherwise."""

    line: CellLine
    centres: np.ndarray  # (n, 2), the field's corner is (0, 0)
    cell_radii: np.ndarray  # (n, 128)
    nucleus_radii: np.ndarray  # (n, 128), .6 in mitotic cells, which have no nucleus
    axis: np.ndarray  # (n,), the cell's long axis, radians
    centrosome_angle: np.ndarray  # (n,)
    centrosome: np.ndarray  # (n, 2), relative to the cell's origin
    spindle_axis: np.ndarray  # (n,)
    mitotic: np.ndarray  # bool (n,)
    dividing: list[tuple[int, int]]  # pairs of daughter cells joined by a bridge
    neighbour: np.ndarray  # int (n, 128), the touching cell that limits this direction, or -1
    nucleoli: Nucleoli

    @property
    def count(self) -> int:
        """The number of cells, those cut by the border included."""
        return len(self.centres)

    @property
    def area(self) -> np.ndarray:
        """The area of each cell, um2 (n,)."""
        return (0.5 * (self.cell_radii**2).sum(1) * polar.TURN / polar.NUM_ANGLES).astype(np.float32)

    @property
    def nucleus_area(self) -> np.ndarray:
        """The area of each nucleus, um2 (n,)."""
        return (0.5 * (self.nucleus_radii**2).sum(1) * polar.TURN / polar.NUM_ANGLES).astype(np.float32)


def choose_line(rng: np.random.Generator) -> CellLine:
    """A cell line, drawn with the shares of the real images."""
    shares = np.array([line.share for line in CELL_LINES])
    return CELL_LINES[rng.choice(len(CELL_LINES), p=shares / shares.sum())]


def make_cells(
    rng: np.random.Generator, line: CellLine, width_um: float, mitosis: bool, division: bool, contacts: bool
) -> Cells:
    """The cells of one field.

    Args:
        rng: the geometry's random stream.
        line: the cell-line style.
        width_um: side of the square field, um.
        mitosis: a mitotic cell is needed (label 17); otherwise there is still one now and then.
        division: a dividing pair is needed (label 16); otherwise there is still one now and then.
        contacts: touching cells are needed (label 22); epithelial lines always touch.
    """
    pitch = line.pitch_um * rng.uniform(0.88, 1.2) * (0.88 if contacts else 1)
    centres = _place_centres(rng, width_um, pitch)
    inside = _well_inside(centres, width_um)
    mitotic = _choose_mitotic(rng, len(centres), inside, mitosis)
    radius = (line.radius_um * np.exp(rng.normal(0, 0.16, len(centres)))).astype(np.float32)
    radius[mitotic] = MITOTIC_RADIUS
    gaps = _gaps(rng, len(centres), max(line.contact, 0.75) if contacts else line.contact)
    dividing = []
    if division or rng.random() < min(0.15, DIVIDING_SHARE * len(inside)):
        dividing = _join_a_pair(rng, centres, radius, gaps, mitotic, inside, line)
    axis = _cell_axes(rng, len(centres), line)
    free = _free_outlines(rng, line, radius, axis, mitotic)
    cell_radii, neighbour = _limit_by_neighbours(free, centres, radius, gaps, mitotic)
    centrosome_angle = rng.uniform(0, 2 * np.pi, len(centres)).astype(np.float32)
    nucleus_radii = _nuclei(rng, line, cell_radii, axis, centrosome_angle, mitotic, dividing)
    return Cells(
        line=line,
        centres=centres,
        cell_radii=cell_radii,
        nucleus_radii=nucleus_radii,
        axis=axis,
        centrosome_angle=centrosome_angle,
        centrosome=_centrosomes(rng, cell_radii, nucleus_radii, centrosome_angle),
        spindle_axis=rng.uniform(0, np.pi, len(centres)).astype(np.float32),
        mitotic=mitotic,
        dividing=dividing,
        neighbour=neighbour,
        nucleoli=_nucleoli(rng, nucleus_radii, mitotic),
    )


def _place_centres(rng: np.random.Generator, width_um: float, pitch: float) -> np.ndarray:
    """Centres (n, 2) on a rotated, jittered hexagonal grid with drop-outs; cells cut by the border are kept."""
    side = int(np.ceil(1.7 * (width_um / pitch + 2))) | 1
    row, column = np.mgrid[0:side, 0:side] - side // 2
    grid = np.stack([(column + 0.5 * (row % 2)).ravel() * pitch, row.ravel() * pitch * 0.87], 1)
    grid += rng.uniform(-0.5, 0.5, 2) * pitch
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centres = (grid @ rotation + width_um / 2 + rng.normal(0, 0.21 * pitch, grid.shape)).astype(np.float32)
    centres = _spread(centres[((centres > -0.5 * pitch) & (centres < width_um + 0.5 * pitch)).all(1)], 0.8 * pitch)
    kept = rng.random(len(centres)) >= rng.uniform(0.02, 0.28)
    if (kept & ((centres > 0) & (centres < width_um)).all(1)).sum() < 2:
        kept[:] = True
    return centres[kept]


def _spread(centres: np.ndarray, least_um: float) -> np.ndarray:
    """The centres pushed half-way apart where they are nearer than ``least_um``, so that nuclei keep their shape."""
    between = centres[:, None] - centres[None]
    distance = np.hypot(between[..., 0], between[..., 1]) + np.eye(len(centres), dtype=np.float32) * FAR
    push = np.maximum(least_um / np.maximum(distance, 1e-3) - 1, 0)[..., None] * between / 2
    return (centres + np.clip(push.sum(1), -least_um / 3, least_um / 3)).astype(np.float32)


def _well_inside(centres: np.ndarray, width_um: float) -> np.ndarray:
    """The indices of the cells whose centre is clear of the border; all cells when there is none."""
    inside = np.flatnonzero(((centres > 0.1 * width_um) & (centres < 0.9 * width_um)).all(1))
    return inside if len(inside) else np.arange(len(centres))


def _choose_mitotic(rng: np.random.Generator, count: int, inside: np.ndarray, needed: bool) -> np.ndarray:
    mitotic = np.zeros(count, bool)
    wanted = rng.binomial(len(inside), MITOTIC_SHARE)
    extra = 1 + (rng.random() < 0.25)
    wanted = max(wanted, extra) if needed else wanted
    if wanted:
        mitotic[rng.choice(inside, min(wanted, max(1, len(inside) - 1)), replace=False)] = True
    return mitotic


def _gaps(rng: np.random.Generator, count: int, contact: float) -> np.ndarray:
    """The free space between each two cells, um (n, n), symmetric; 0 where they touch."""
    gaps = np.where(rng.random((count, count)) < contact, 0.0, rng.uniform(1.0, 5.0, (count, count)))
    gaps = np.triu(gaps, 1).astype(np.float32)
    return gaps + gaps.T


def _join_a_pair(rng, centres, radius, gaps, mitotic, inside, line) -> list[tuple[int, int]]:
    """Move one cell and its nearest neighbour together as two small daughters; changes the arrays in place."""
    candidates = [cell for cell in inside if not mitotic[cell]]
    if not candidates or len(centres) - mitotic.sum() < 2:
        return []
    first = int(rng.choice(candidates))
    away = np.hypot(*(centres - centres[first]).T)
    away[mitotic] = away[first] = FAR
    second = int(np.argmin(away))
    middle = (centres[first] + centres[second]) / 2
    direction = (centres[second] - centres[first]) / max(away[second], 1e-3)
    half = min(away[second], rng.uniform(20, 26)) / 2
    centres[first], centres[second] = middle - direction * half, middle + direction * half
    gaps[first, second] = gaps[second, first] = rng.uniform(3.5, 7.0)
    radius[[first, second]] = line.radius_um * 0.72
    return [(first, second)]


def _cell_axes(rng: np.random.Generator, count: int, line: CellLine) -> np.ndarray:
    """Long axes, radians (n,): any direction in compact lines, roughly parallel in elongated ones."""
    if line.elongation < 1.3:
        return rng.uniform(0, np.pi, count).astype(np.float32)
    return (rng.uniform(0, np.pi) + rng.normal(0, 0.45, count)).astype(np.float32)


def _free_outlines(rng, line, radius, axis, mitotic) -> np.ndarray:
    """Outlines (n, 128) as the cells would have them alone: ellipse x wobble x eccentric nucleus x attachments."""
    count = len(radius)
    elongation = np.exp(rng.normal(np.log(line.elongation), 0.12, count)).astype(np.float32)
    elongation[mitotic] = 1.03
    calm = np.where(mitotic, 0.12, 1.0).astype(np.float32)[:, None]  # a mitotic cell is nearly round
    wobble = polar.fourier_wobble(rng, count, range(2, 8), 0.15, 0.6)
    eccentric = rng.uniform(0, 0.38, (count, 1)) * np.cos(polar.ANGLES - rng.uniform(0, 2 * np.pi, (count, 1)))
    outlines = polar.ellipse(radius, elongation, axis) * np.exp((wobble + eccentric) * calm)
    if line.spikes:
        outlines = outlines * (1 + calm * (polar.bumps(rng, count, line.spikes) - 0.22))
    return outlines.astype(np.float32)


def _limit_by_neighbours(free, centres, radius, gaps, mitotic) -> tuple[np.ndarray, np.ndarray]:
    """Outlines (n, 128) cut back at the border with every neighbour, and the touching neighbour per direction or -1.

    The border between two cells divides their distance as their radii do and leaves half the gap on either side.
    """
    between = centres[None] - centres[:, None]
    distance = np.hypot(between[..., 0], between[..., 1]) + np.eye(len(centres), dtype=np.float32) * FAR
    direction = np.arctan2(between[..., 1], between[..., 0])
    own_part = radius[:, None] / (radius[:, None] + radius[None])
    to_border = np.maximum(distance * own_part - gaps / 2, 2.0)
    facing = np.cos(polar.ANGLES - direction[..., None])  # (n, n, 128)
    limits = np.where(facing > 0.08, to_border[..., None] / np.maximum(facing, 0.08), FAR).astype(np.float32)
    limits[mitotic] = np.maximum(limits[mitotic], 8.2)
    inverse = free**-7 + (1 / limits**7).sum(1)
    nearest = limits.argmin(1)
    touching = (limits.min(1) < 0.86 * free) & (np.take_along_axis(gaps, nearest, 1) == 0)
    touching &= ~mitotic[nearest] & ~mitotic[:, None]
    return (inverse ** (-1 / 7)).astype(np.float32), np.where(touching, nearest, -1)


def _nuclei(rng, line, cell_radii, axis, centrosome_angle, mitotic, dividing) -> np.ndarray:
    """Nucleus outlines (n, 128): wobbly ellipses, one in five with a kidney dent at the centrosome, within .8 cell."""
    count = len(axis)
    half = (line.nucleus_um * np.exp(rng.normal(0, 0.13, count)) / 2).astype(np.float32)
    half[[cell for pair in dividing for cell in pair]] *= 0.8
    aspect = np.maximum(1.02, rng.normal(line.nucleus_aspect, 0.12, count)).astype(np.float32)
    tilt = (axis + rng.normal(0, 0.35, count)).astype(np.float32)
    radii = polar.ellipse(half / np.sqrt(aspect), aspect, tilt)
    radii = radii * np.exp(polar.fourier_wobble(rng, count, range(2, 6), 0.055, 0.7))
    dent = np.where(rng.random(count) < 0.22, rng.uniform(0.15, 0.38, count), 0.0)[:, None]
    radii = radii * (1 - dent * np.exp(5 * (np.cos(polar.ANGLES - centrosome_angle[:, None]) - 1)))
    radii = polar.smooth_minimum(radii, 0.8 * cell_radii).astype(np.float32)
    radii[mitotic] = 0.6
    return radii


def _centrosomes(rng, cell_radii, nucleus_radii, angle) -> np.ndarray:
    """Centrosome positions (n, 2), .6 to 2.2 um outside the nucleus, relative to the cells' origins."""
    cell = np.arange(len(angle))
    away = polar.radius_at(nucleus_radii, cell, angle) + rng.uniform(0.6, 2.2, len(angle))
    away = np.minimum(away, 0.9 * polar.radius_at(cell_radii, cell, angle))
    return np.stack([away * np.cos(angle), away * np.sin(angle)], 1).astype(np.float32)


def _nucleoli(rng, nucleus_radii, mitotic) -> Nucleoli:
    """One to four nucleoli a nucleus: the holes of the blue channel and the place of two green classes."""
    area = 0.5 * (nucleus_radii**2).sum(1) * polar.TURN / polar.NUM_ANGLES
    cell = np.repeat(np.arange(len(area)), rng.integers(1, 5, len(area)))
    cell = cell[~mitotic[cell]]
    angle = rng.uniform(0, 2 * np.pi, len(cell)).astype(np.float32)
    away = polar.radius_at(nucleus_radii, cell, angle) * (0.62 * np.sqrt(rng.random(len(cell)))).astype(np.float32)
    radius = (rng.uniform(0.85, 1.9, len(cell)) * np.sqrt(area[cell] / 250)).astype(np.float32)
    return Nucleoli(cell, away * np.cos(angle), away * np.sin(angle), radius)
