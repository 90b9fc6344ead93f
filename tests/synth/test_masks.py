"""The masks say where each label's structure is, and asking for them changes no image."""

import cv2
import numpy as np
import pytest

import hpa_synth
from hpa_lib import atlas
from hpa_synth import data_sets, masks, writing


@pytest.mark.parametrize("label", range(atlas.NUM_LABELS))
def test_a_labels_mask_is_where_its_green_light_is(label):
    image, found = hpa_synth.draw_with_masks(4, label, [label], 96, 0.739)
    mask = found[label]
    assert list(found) == [label] and mask.shape == (96, 96) and mask.dtype == bool
    assert mask.any() and not mask.all()
    assert image[mask, 1].mean() > image[~mask, 1].mean() + 5


def test_masks_leave_the_image_as_it_is():
    options = {"protein": 3, "dark": True}
    image, found = hpa_synth.draw_with_masks(1, 2, [0, 23, 16], 96, 0.739, **options)
    assert np.array_equal(image, hpa_synth.render(1, 2, [0, 23, 16], 96, 0.739, **options))
    assert set(found) == {0, 16, 23}


def test_a_diffuse_class_fills_its_compartment():
    drawing = masks.rendering.draw(1, 5, [0, 25], 96, 0.739)
    nucleoplasm, cytosol = (masks.find_structure(drawing, label) for label in (0, 25))
    maps = drawing.field.maps
    assert np.array_equal(cytosol, (maps.cell_map > 0) & (maps.nucleus_map == 0))
    assert not (nucleoplasm & (maps.nucleus_map == 0)).any() and not (nucleoplasm & (maps.nucleoli > 0.9)).any()


def test_fresh_fields_show_the_label_and_are_the_same_again():
    images, found = hpa_synth.fresh_fields(17, 3, 64, 0.9, seed=2)
    assert images.shape == (3, 64, 64, 4) and found.shape == (3, 64, 64) and found.any(axis=(1, 2)).all()
    again, _ = hpa_synth.fresh_fields(17, 3, 64, 0.9, seed=2)
    other, _ = hpa_synth.fresh_fields(17, 3, 64, 0.9, seed=3)
    assert np.array_equal(images, again) and not np.array_equal(images, other)


def test_no_data_set_holds_a_fresh_field():
    largest = data_sets.find_profile("smoke", 1_000_000, None, False)
    assert 2 * (largest.images + 1) < masks.FRESH < 2**32  # one word: no larger seed gives the same random stream
    jobs = writing.make_jobs(data_sets.DATA_SETS["smoke"], 0, "test")
    assert max(job.index for job in jobs) < masks.FRESH


def test_a_structure_that_the_frame_does_not_show_is_refused():
    with pytest.raises(ValueError, match="Centrosome not visible in a field of 16 px: choose a larger size"):
        hpa_synth.draw_with_masks(0, 0, [19], 16, 0.64)


def test_reduced_fields_are_those_that_a_smaller_cache_holds():
    images, found = hpa_synth.fresh_fields(25, 2, 128, 0.64)
    smaller, masks_found = hpa_synth.fresh_fields(25, 2, 128, 0.64, reduced=40)
    expected = [cv2.resize(image, (40, 40), interpolation=cv2.INTER_AREA) for image in images]
    assert np.array_equal(smaller, expected) and masks_found.shape == (2, 40, 40)
    assert masks_found.mean() == pytest.approx(found.mean(), rel=0.05)


def test_the_scale_is_read_from_the_card(tmp_path):
    assert hpa_synth.read_scale(tmp_path) == {}
    hpa_synth.write_dataset(tmp_path / "synthetic-smoke", profile="smoke", images=28, workers=1)
    assert hpa_synth.read_scale(tmp_path / "synthetic-smoke") == {"size": 64, "um_per_px": 0.9}
