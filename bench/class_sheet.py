"""The picture of the 28 classes in README.md: one drawn field per class, in 256 colours so that the file stays small.

Run ``python bench/class_sheet.py``; it writes ``outputs/reference/classes.png``.
"""

import io

from PIL import Image

import hpa_synth
from hpa_lib import atlas, paths
from hpa_lib.figures import micrographs

FILE = paths.PROJECT / "outputs" / "reference" / "classes.png"


def draw(size: int = 256, um_per_px: float = 0.40) -> Image.Image:
    """The contact sheet as a picture with a palette of 256 colours."""
    labels, images = hpa_synth.contact_fields(size, um_per_px)
    fig = micrographs.contact_sheet(images, [f"{label} {atlas.LABELS[label]}" for label in labels], synthetic=True)
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=100)
    return Image.open(buffer).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


if __name__ == "__main__":
    draw().save(FILE, optimize=True)
    print(f"{FILE}: {FILE.stat().st_size / 1000:.0f} kB")
