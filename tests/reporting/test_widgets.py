"""The explorer without a browser: its widgets follow each other. What a person sees is in test_browser."""

import fake_runs
import matplotlib.pyplot as plt
import numpy as np
import pytest

from hpa_lib import atlas
from hpa_lib.decisions import metrics, thresholds
from hpa_lib.reporting import explore, widgets

RUN = "resnet18-rgby-none"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A made-up run with images of 96 pixels and embeddings."""
    folder = tmp_path_factory.mktemp("widgets")
    fake_runs.write_out(folder / "out", folder / "data", num_images=400)
    found = explore.load(folder / "out", RUN)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (len(found.ids), 96, 96, 4), np.uint8)
    embeddings = generator.normal(size=(len(found.ids), 16)).astype(np.float16)
    return found._replace(images=images, cache_rows=np.arange(len(found.ids)), embeddings=embeddings)


def find(box, name):
    """All widgets with the class ``hpa-<name>``, in order."""
    matches = [box] if f"hpa-{name}" in box._dom_classes else []
    for child in getattr(box, "children", ()):
        matches += find(child, name)
    return matches


def listed(box):
    return [button.description for button in find(box, "id") if button.layout.display != "none"]


def test_missed_and_a_class_list_only_such_images(found):
    box = widgets.explorer(found)
    find(box, "class")[0].value, find(box, "error")[0].value = 2, "missed"
    expected = found.ids[explore.select(found, "holdout", 2, "missed")]
    assert listed(box) == expected[: widgets.PAGE].tolist() and len(expected)
    assert find(box, "count")[0].value == f"{len(expected)} images"


def test_the_threshold_moves_the_scores_and_the_list(found):
    label = int(found.labels.sum(axis=0).argmax())
    box = widgets.explorer(found, label)
    find(box, "error")[0].value = "missed"
    before, curve = listed(box), find(box, "curve")[0].value
    find(box, "threshold")[0].value = 0.9
    changed = found.thresholds.copy()
    changed[label] = 0.9
    inside = found.parts == "holdout"
    preds = thresholds.apply(found.probs[inside], changed, found.fill_empty)
    expected = metrics.class_table(found.labels[inside], preds).loc[label]
    numbers = find(box, "numbers")[0].value
    for name, value in (("precision", expected["precision"]), ("recall", expected["recall"]), ("F1", expected["f1"])):
        assert f"{name} <b>{value:.3f}</b>" in numbers
    assert f"macro F1 of all 28 <b>{metrics.macro_f1(found.labels[inside], preds):.3f}</b>" in numbers
    moved = explore.select(explore.with_threshold(found, label, 0.9), "holdout", label, "missed")
    assert listed(box) == found.ids[moved][: widgets.PAGE].tolist() != before
    assert find(box, "curve")[0].value != curve


def test_channels_change_the_pictures(found):
    box = widgets.explorer(found)
    pictures = [find(box, name)[0] for name in ("picture", "thumbnail")]
    before = [picture.value for picture in pictures]
    green = find(box, f"channel-{atlas.CHANNELS[1]}")[0]
    green.value = False
    assert all(picture.value != value for picture, value in zip(pictures, before, strict=True))
    green.value = True
    assert [picture.value for picture in pictures] == before
    find(box, "look")[0].value = "magenta and green"
    assert pictures[0].value != before[0]


def test_a_button_opens_its_image(found):
    box = widgets.explorer(found, um_per_px=0.32)
    before = find(box, "picture")[0].value
    find(box, "id")[3].click()
    assert listed(box)[3] in find(box, "title")[0].value and find(box, "picture")[0].value != before
    assert "bar: 10 µm" in find(box, "scale")[0].value
    assert len(find(box, "similar")[0].value.split("<br>")) == 8, "a heading and seven neighbours"


def test_without_images_and_embeddings_the_answers_are_there(found):
    box = widgets.explorer(found._replace(images=None, cache_rows=None, embeddings=None), 1)
    assert len(listed(box)) == min(widgets.PAGE, len(explore.select(found, "holdout", 1)))
    assert find(box, "ask")[0].disabled and find(box, "picture")[0].value == b""
    find(box, "id")[0].click()
    find(box, "channel-red")[0].value = False


def test_no_image_fits_the_selection(found):
    never = found._replace(probs=np.zeros_like(found.probs), fill_empty=False, thresholds=np.full(28, 0.5))
    box = widgets.explorer(never)
    find(box, "error")[0].value = "false"
    assert listed(box) == [] and find(box, "count")[0].value == "0 images"


def test_a_redrawn_page_leaves_no_figure_open(found):
    before = plt.get_fignums()
    look = find(widgets.explorer(found), "look")[0]
    look.value = "magenta and green"
    assert plt.get_fignums() == before


def test_an_order_leaves_no_image_out(found):
    box = widgets.explorer(found, 2)
    find(box, "error")[0].value = "right"
    before = find(box, "count")[0].value
    find(box, "order")[0].value = widgets.WORST
    assert find(box, "count")[0].value == before != "0 images", "images that are right come last"


def test_an_empty_selection_shows_no_image(found):
    never = found._replace(probs=np.zeros_like(found.probs), fill_empty=False, thresholds=np.full(28, 0.5))
    box = widgets.explorer(never)
    assert find(box, "opened")[0].layout.display is None
    find(box, "error")[0].value = "false"
    assert find(box, "opened")[0].layout.display == "none"


def test_confusions_follow_part_and_threshold(found):
    box, pictures = widgets.explorer(found, int(found.labels.sum(axis=0).argmax())), set()
    for name, value in (("part", "holdout"), ("threshold", 0.95), ("part", "val")):
        find(box, name)[0].value = value
        find(box, "ask-confused")[0].click()
        pictures.add(bytes(find(box, "confused")[0].value))
    assert len(pictures) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)
