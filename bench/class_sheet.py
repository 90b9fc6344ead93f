"""Pictures of the 28 classes: the sheet in README.md, and one pair per class for docs/generator.md.

Run ``python bench/class_sheet.py``; it writes ``outputs/reference/classes.png`` and ``docs/classes/<number>.png``, in
few colours so that the files stay small.
"""

import io

import numpy as np
from PIL import Image

import hpa_synth
from hpa_lib import atlas, paths
from hpa_lib.figures import micrographs

FILE = paths.PROJECT / "outputs" / "reference" / "classes.png"
FOLDER = paths.PROJECT / "docs" / "classes"


def draw(size: int = 256, um_per_px: float = 0.40) -> Image.Image:
    """The contact sheet as a picture with a palette of 256 colours."""
    labels, images = hpa_synth.contact_fields(size, um_per_px)
    fig = micrographs.contact_sheet(images, [f"{label} {atlas.LABELS[label]}" for label in labels], synthetic=True)
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=100)
    return reduce_colours(Image.open(buffer).convert("RGB"), 256)


def draw_pairs(size: int = 160, um_per_px: float = 0.45) -> list[Image.Image]:
    """A pair per class: all four channels, and the green one alone with a scale bar."""
    pairs = []
    for image in hpa_synth.contact_fields(size, um_per_px)[1]:
        green = micrographs.to_rgb(image[..., [1]], np.ones((1, 3)), peak=99.98)
        pair = np.hstack([micrographs.to_rgb(image), micrographs.add_scale_bar(green, um_per_px)[0]])
        pairs.append(reduce_colours(Image.fromarray(np.round(255 * pair).astype(np.uint8)), 96))
    return pairs


def reduce_colours(picture: Image.Image, number: int) -> Image.Image:
    """The picture with a palette of ``number`` colours."""
    return picture.quantize(number, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


if __name__ == "__main__":
    draw().save(FILE, optimize=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for label, pair in enumerate(draw_pairs()):
        pair.save(FOLDER / f"{label:02d}.png", optimize=True)
    size = sum(path.stat().st_size for path in FOLDER.glob("*.png"))
    print(f"{FILE}: {FILE.stat().st_size / 1000:.0f} kB; {FOLDER}: {size / 1000:.0f} kB")
