"""The 28 subcellular-location labels, the four channels, and the text form of a label set.

Source: the data page of Kaggle's "Human Protein Atlas Image Classification" (2018).
"""

from collections.abc import Iterable

import numpy as np

IMAGE_FOLDERS = ("train", "test")  # of Kaggle's data
LABELS = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & rings",
)
NUM_LABELS = len(LABELS)

CHANNELS = ("red", "green", "blue", "yellow")  # microtubules, the protein of interest, nucleus, ER
CHANNEL_STAINS = ("microtubules", "protein of interest", "nucleus", "endoplasmic reticulum")


def parse_target(text: str) -> np.ndarray:
    """The multi-hot row of a label set written as Kaggle writes it.

    Args:
        text: class numbers separated by blanks, such as ``"16 0"``, in any order; ``""`` is the empty set.

    Returns:
        uint8 (28,), 1 where the label is present.

    Raises:
        ValueError: a part is not a whole number in 0..27, or occurs twice.
    """
    row = np.zeros(NUM_LABELS, np.uint8)
    for part in text.split():
        if not (part.isascii() and part.isdigit() and int(part) < NUM_LABELS):
            raise ValueError(f"label {part!r} in target {text!r}: write class numbers 0..27, separated by blanks")
        if row[int(part)]:
            raise ValueError(f"label {part} occurs twice in target {text!r}: write each class number once")
        row[int(part)] = 1
    return row


def format_target(row: Iterable[int]) -> str:
    """The text form of a multi-hot row (28,): class numbers ascending, separated by blanks."""
    return " ".join(str(index) for index in np.flatnonzero(np.asarray(row)))
