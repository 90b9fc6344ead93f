"""Draws one labelled field: protein, geometry, green patterns, background, microscope."""

from typing import NamedTuple

import numpy as np

from hpa_lib import atlas
from hpa_synth import drawing, geometry, imaging, placing, rasters, reference
from hpa_synth.field import Field, make_field
from hpa_synth.patterns import PATTERNS

STRUCTURE = 0.3  # brightness of a canvas from which a pixel counts as structure
ATTEMPTS = 24  # geometries tried until every label's structure is in the frame
WHOLE_FIELD = (16, 21, 22)  # labels whose structure is between or round cells: no per-cell brightness
PROTEIN_STREAM, VARIANT_STREAM, LABEL_STREAM = 1, 2, 3  # keep the random streams of one seed apart


class Protein(NamedTuple):
    """What the fields of one protein share, so that fields of one group look alike."""

    line: geometry.CellLine
    exposure: np.ndarray  # grey levels per unit of canvas (4,)
    weights: dict[int, float]  # brightness of each label relative to the brightest
    cell_sd: dict[int, float]  # log-normal spread of each label from cell to cell
    background: tuple[float, float]  # unspecific light in cytoplasm and nucleus


class Drawing(NamedTuple):
    """A drawn field with what the generator knows about it."""

    image: np.ndarray  # uint8 (S, S, 4), R, G, B, Y
    visible: tuple[int, ...]  # the labels whose structure really is in the frame
    canvases: dict[int, np.ndarray]  # the clean structure of each label, float32 (S, S)
    field: Field


def render(
    seed: int,
    index: int,
    labels: list[int],
    size: int = 512,
    um_per_px: float = 0.32,
    *,
    protein: int | None = None,
    dark: bool = False,
) -> np.ndarray:
    """One synthetic field, uint8 (size, size, 4) in R, G, B, Y order; the same arguments give the same bytes.

    Args:
        seed: the data set's seed.
        index: the field's number; with ``seed`` it fixes cells, structures and noise.
        labels: class numbers 0..27 that the green channel shows; may be empty.
        size: pixels per side.
        um_per_px: scale. .32 is the real one at 512 px; small images want larger pixels, not resized fields.
        protein: fields with the same number share cell line, exposures and variants; by default ``index``.
        dark: expose like the darker 3072-px originals.

    Raises:
        ValueError: a label is not a class number or is given twice, or the size or the scale is out of range.
    """
    return draw(seed, index, labels, size, um_per_px, protein=protein, dark=dark).image


def draw(seed, index, labels, size=512, um_per_px=0.32, *, protein=None, dark=False) -> Drawing:
    """Like ``render``, with the clean structures and the labels that are really visible."""
    labels = _check(labels, size, um_per_px)
    protein = index if protein is None else protein
    settings = make_protein(seed, protein, labels, dark)
    for attempt in range(ATTEMPTS):
        streams = np.random.SeedSequence([seed, index, attempt]).spawn(4)
        geometry_rng, texture_rng, background_rng, camera_rng = map(np.random.default_rng, streams)
        label_rngs = {label: np.random.default_rng([seed, index, attempt, LABEL_STREAM, label]) for label in labels}
        field = make_field(geometry_rng, texture_rng, settings.line, labels, size, um_per_px)
        canvases = {}
        for label in labels:
            variant = np.random.default_rng([seed, protein, VARIANT_STREAM, label])
            canvases[label] = PATTERNS[label].draw(field, label_rngs[label], variant)
        visible = tuple(label for label in labels if is_visible(canvases[label], label, um_per_px))
        if len(visible) == len(labels):
            break
    red, blue, yellow = (
        make(field, texture_rng) for make in (reference.red_canvas, reference.blue_canvas, reference.yellow_canvas)
    )
    green = _green_canvas(field, settings, canvases, label_rngs) + _background(field, settings, background_rng)
    image = imaging.photograph([red, green, blue, yellow], settings.exposure, um_per_px, camera_rng)
    return Drawing(image, visible, canvases, field)


def is_visible(canvas: np.ndarray, label: int, um_per_px: float) -> bool:
    """True when the structure (canvas above ``STRUCTURE``) covers at least the label's evidence area in the frame."""
    return np.count_nonzero(canvas > STRUCTURE) * um_per_px**2 >= PATTERNS[label].evidence_um2


def make_protein(seed: int, protein: int, labels: list[int], dark: bool) -> Protein:
    """The settings of protein number ``protein``: one label at full weight, the others at .35 to .9."""
    rng = np.random.default_rng([seed, protein, PROTEIN_STREAM])
    line = geometry.choose_line(rng)
    exposure = imaging.expose(rng, dark)
    background = tuple(np.abs(rng.normal(0, 0.045, 2)))
    main = rng.permutation(atlas.NUM_LABELS)
    brightest = min(labels, key=lambda label: main[label], default=None)
    weights = rng.uniform(0.35, 0.9, atlas.NUM_LABELS)
    cell_sd = rng.choice([0.15, 0.35, 0.60], atlas.NUM_LABELS)
    return Protein(
        line=line,
        exposure=exposure,
        weights={
            label: max(
                PATTERNS[label].gain * (1 if label == brightest else weights[label]),
                PATTERNS[label].faintest / exposure[imaging.GREEN],
            )
            for label in labels
        },
        cell_sd={label: 0 if label in WHOLE_FIELD else cell_sd[label] for label in labels},
        background=background,
    )


def contact_fields(size: int = 128, um_per_px: float = 0.64, seed: int = 0) -> tuple[list[int], np.ndarray]:
    """One single-label field of every class, for a contact sheet.

    Returns:
        The labels 0..27 and the images, uint8 (28, size, size, 4), R, G, B, Y.
    """
    labels = list(range(atlas.NUM_LABELS))
    return labels, np.stack([render(seed, label, [label], size, um_per_px) for label in labels])


def _check(labels, size, um_per_px) -> list[int]:
    labels = [int(label) for label in labels]
    wrong = [label for label in labels if not 0 <= label < atlas.NUM_LABELS]
    if wrong or len(set(labels)) != len(labels):
        raise ValueError(f"labels {labels}: give different class numbers 0..{atlas.NUM_LABELS - 1}")
    if not 16 <= size <= 4096:
        raise ValueError(f"size {size} px: choose 16..4096")
    if not 0.05 <= um_per_px <= 2.6:
        raise ValueError(f"um_per_px {um_per_px}: choose .05..2.6 um (real images have .32 at 512 px)")
    return labels


def _green_canvas(field, settings, canvases, label_rngs) -> np.ndarray:
    """The weighted sum of the labels' structures, brighter in some cells than in others."""
    green = np.zeros((field.size, field.size), np.float32)
    for label, canvas in canvases.items():
        light = canvas * np.float32(settings.weights[label])
        if settings.cell_sd[label]:
            factors = label_rngs[label].lognormal(0, settings.cell_sd[label], field.cells.count)
            light = light * rasters.per_cell(field.maps, factors)
        green += light
    return green


def _background(field, settings, rng) -> np.ndarray:
    """Unspecific light, whatever the labels: a weak fill, a dispersed pool in mitotic cells, specks of debris."""
    cytoplasm, nucleus = settings.background
    canvas = np.float32(cytoplasm) * field.maps.cytoplasm + np.float32(nucleus) * field.maps.nucleus
    dispersed = rng.uniform(0.02, 0.12)
    if field.cells.mitotic.any():
        canvas += rasters.per_cell(field.maps, np.where(field.cells.mitotic, dispersed, 0))
    width_um = field.size * field.um_per_px
    specks = int(rng.poisson(18 * (width_um / 164) ** 2))
    first = field.cells.centres[0]
    x, y = placing.uniform(rng, 0, width_um, specks) - first[0], placing.uniform(rng, 0, width_um, specks) - first[1]
    radius, light = placing.uniform(rng, 0.1, 0.35, specks), placing.uniform(rng, 0.2, 1.0, specks)
    debris = drawing.discs(field, np.zeros(specks, int), x, y, radius, light)
    return canvas + np.minimum(debris, 1.0)
