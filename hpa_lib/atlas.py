"""The 28 subcellular-location labels, the four channels, and the text form of a label set.

Source: the data page of Kaggle's "Human Protein Atlas Image Classification" (2018).
"""

import difflib
import re
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
OTHER_NAMES = {  # of HPA's older releases, which also wrote "Cytoskeleton (Actin filaments)", as they are compared
    "focal adhesions": "Focal adhesion sites",
    "microtubule end": "Microtubule ends",
    "mtoc": "Microtubule organizing center",
    "nucleoli fib center": "Nucleoli fibrillar center",
}

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


def parse_locations(text: str) -> np.ndarray:
    """The multi-hot row of location names as HPA writes them, ``"Nucleoplasm;Rods & Rings"``, or of class numbers.

    Semicolons or commas separate names; capitals, "and" for "&" and "centre" for "center" make no difference.

    Returns:
        uint8 (28,); empty for ``""``.

    Raises:
        ValueError: a name is none of the 28 (such as Vesicles, which may be any of several), or as ``parse_target``.
    """
    names = [name.strip() for name in re.split("[;,]", text) if name.strip()]
    if len(names) < 2 and text.replace(" ", "").isdigit():
        return parse_target(text)
    numbers = {_plain(name): number for number, name in enumerate(LABELS)}
    numbers |= {other: LABELS.index(name) for other, name in OTHER_NAMES.items()}
    unknown = [name for name in names if _plain(name) not in numbers]
    if unknown:
        near = [match for name in unknown for match in difflib.get_close_matches(_plain(name), numbers, 2, 0.7)]
        question = " or ".join(dict.fromkeys(LABELS[numbers[match]] for match in near))
        remedy = f"{f'did you mean {question}? ' if near else ''}use the names of hpa_lib/atlas.py, or leave it blank"
        raise ValueError(f"no such location among the 28, {', '.join(map(repr, unknown))}: {remedy}")
    row = np.zeros(NUM_LABELS, np.uint8)
    row[[numbers[_plain(name)] for name in names]] = 1
    return row


def _plain(name: str) -> str:
    """A location name as it is compared."""
    plain = " ".join(name.casefold().replace("&", " and ").replace("centre", "center").split())
    return re.sub(r"cytoskeleton \((.+)\)", r"\1", plain)


def format_target(row: Iterable[int]) -> str:
    """The text form of a multi-hot row (28,): class numbers ascending, separated by blanks."""
    return " ".join(str(index) for index in np.flatnonzero(np.asarray(row)))
