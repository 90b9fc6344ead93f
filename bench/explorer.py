"""How long the explorer of notebook 08 takes to answer, from the cache of a run set.

    python bench/explorer.py OUT [--run RUN]

Prints milliseconds (the best of five) of a page of 24 thumbnails with the open image, of a moved threshold, and of one
Grad-CAM where the run's network is stored, and each as a multiple of what decoding 24 four-channel PNGs of the same
size with Pillow takes: the time that a viewer without the cache would need for its page alone.
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from hpa_lib.reporting import explore, widgets


def best_of_five(act) -> float:
    """Milliseconds of the fastest of five calls; each gets its number."""
    seconds = []
    for number in range(5):
        start = time.perf_counter()
        act(number)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def encode(channel: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(channel).save(stream, format="png")
    return stream.getvalue()


def find(box, name: str):
    """The widget marked with this CSS class."""
    marked = f"hpa-{name}" in getattr(box, "_dom_classes", ())
    found = box if marked else None
    for child in getattr(box, "children", ()):
        found = found or find(child, name)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a run set with its cache")
    parser.add_argument("--run", default="", help="by default the best network on validation")
    options = parser.parse_args()
    found = explore.load(options.out, options.run)
    label = int(found.labels.sum(axis=0).argmax())
    box = widgets.explorer(found, label)
    look, threshold = find(box, "look"), find(box, "threshold")
    pngs = [encode(channel) for row in range(24) for channel in np.moveaxis(explore.images_of(found, row), -1, 0)]
    actions = {
        "decoding 24 images with Pillow": lambda number: [np.asarray(Image.open(io.BytesIO(png))) for png in pngs],
        "page of 24 thumbnails": lambda number: setattr(look, "value", look.options[(number + 1) % 2]),
        "threshold moved": lambda number: setattr(threshold, "value", 0.1 + 0.1 * number),
    }
    if explore.can_explain(found):
        actions["Grad-CAM of one image"] = lambda number: explore.heat_maps(
            found, explore.images_of(found, np.array([number])), label
        )
    table = pd.Series({name: best_of_five(act) for name, act in actions.items()}, name="ms").to_frame()
    table["ratio"] = table["ms"] / table["ms"].iloc[0]
    print(f"{found.images.shape[1]} px, {len(found.ids)} images\n{table.round(1).to_string()}")
