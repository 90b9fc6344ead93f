"""Where each label's structure was drawn, and fresh fields to judge explanations on."""

import cv2
import numpy as np

from hpa_lib import atlas
from hpa_synth import rendering, sampling

NUCLEOPLASM, CYTOSOL = 0, 25  # diffuse classes: what they fill is known exactly
FRESH = 1 << 31  # the first number of a fresh field; those of data sets end at 2 * 1,000,000


def draw_with_masks(seed, index, labels, size=512, um_per_px=0.32, *, protein=None, dark=False):
    """The field that ``render`` draws with the same arguments, and where each of its labels is.

    Returns:
        The image, uint8 (size, size, 4), and a dictionary from label to mask, bool (size, size).

    Raises:
        ValueError: as ``render``, or a label's structure is not in the frame.
    """
    drawing = rendering.draw(seed, index, labels, size, um_per_px, protein=protein, dark=dark)
    lost = [atlas.LABELS[label] for label in drawing.canvases if label not in drawing.visible]
    if lost:
        raise ValueError(f"{', '.join(lost)} not visible in a field of {size} px: choose a larger size")
    return drawing.image, {label: find_structure(drawing, label) for label in drawing.canvases}


def find_structure(drawing: rendering.Drawing, label: int) -> np.ndarray:
    """The pixels of a label's structure, bool (S, S): its compartment where it is diffuse, else what makes it visible.

    Nucleoplasm is the nucleus without its nucleoli, cytosol the cell without its nucleus.
    """
    maps = drawing.field.maps
    if label == NUCLEOPLASM:
        return (maps.nucleus > 0) & (maps.nucleoli < 0.5)
    if label == CYTOSOL:
        return maps.cytoplasm > 0
    return drawing.canvases[label] > rendering.STRUCTURE


def fresh_fields(label: int, number: int, size: int, um_per_px: float, reduced: int = 0, seed: int = 0):
    """New fields with a label and its natural company, which no data set of any seed holds.

    Args:
        label: class number 0..27.
        number: how many fields, each of another protein.
        size, um_per_px: as in ``render``; those of the data set that a network was trained on.
        reduced: pixels to which they are reduced then, as a cache of smaller images does; 0 for ``size``.
        seed: the same seed gives the same fields.

    Returns:
        Images uint8 (number, S, S, 4) and the label's masks, bool (number, S, S); S is ``reduced``, else ``size``.
    """
    sets, counts = sampling.read_label_sets()
    weights = counts * sets[:, label]
    chosen = np.random.default_rng([seed, FRESH, label]).choice(len(sets), number, p=weights / weights.sum())
    images, masks = [], []
    for field, row in enumerate(chosen):
        index = FRESH + field * atlas.NUM_LABELS + label
        image, field_masks = draw_with_masks(seed, index, np.flatnonzero(sets[row]), size, um_per_px)
        images.append(_reduce(image, reduced or size))
        masks.append(_reduce(field_masks[label].astype(np.float32), reduced or size) >= 0.5)
    return np.stack(images), np.stack(masks)


def _reduce(image, size):
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) if len(image) != size else image
