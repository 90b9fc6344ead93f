"""The page of new images: as many as fit, and no Id that could be read as HTML."""

import numpy as np

from hpa_lib import store
from hpa_lib.figures import micrographs
from hpa_lib.reporting import predictions


def test_the_page_shows_the_first_images_with_their_labels_the_most_probable_first(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 4), np.uint8)
    probs = np.linspace(0, 0.9, 28)[None].repeat(3, axis=0)
    preds = np.zeros((3, 28), np.uint8)
    preds[0, [2, 27]] = 1
    thumbnails = {"<b>1": micrographs.make_thumbnail(image), "2": micrographs.make_thumbnail(image[:64, :64])}
    limits = np.where(np.arange(28) == 27, 0.95, 0.015)
    path = predictions.write_page(tmp_path / "page.html", "a & b", ["one < two"], thumbnails, probs, preds, limits)
    page = path.read_text(encoding="utf-8")
    assert "<h1>a &amp; b</h1>" in page and "<li>one &lt; two</li>" in page and "<b>1" not in page
    assert page.count("<img") == 2 and "the first 2 images; labels.csv has all 3" in page
    assert (
        "<ul><li>Rods &amp; rings .90 (below .95)</li><li>Nucleoli .07 (from .015)</li></ul>" in page
        and "no label" in page
    )


def test_no_usable_image_gives_empty_tables(tmp_path):
    nothing = np.empty((0, 28))
    predictions.write_tables(tmp_path, [], nothing, nothing, [])
    assert [len(store.load_table(tmp_path, name)) for name in predictions.FILES[:3]] == [0, 0, 0]
