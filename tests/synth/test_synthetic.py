"""The generator's promises about one field: same bytes, labels that can be seen, channels that belong together."""

import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import hpa_synth
from hpa_lib import atlas
from hpa_synth import imaging, rendering
from hpa_synth.patterns import PATTERNS

ALL_LABELS = range(atlas.NUM_LABELS)
SOCKETS = "ignore::pytest.PytestUnraisableExceptionWarning"  # of kernels of other tests, closed when Python comes to it
pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings(SOCKETS)]


def digest(indices):
    fields = {index: hpa_synth.render(5, index, [index, 25], 96, 0.64) for index in indices}
    return hashlib.sha256(b"".join(fields[index].tobytes() for index in sorted(fields))).hexdigest()


def correlation(drawing, channel):
    """Green against another channel in the cytoplasm, after a light blur against noise."""
    smooth = cv2.GaussianBlur(drawing.image, (0, 0), 1.0).astype(float)
    inside = drawing.field.maps.cytoplasm > 0
    return np.corrcoef(smooth[..., 1][inside], smooth[..., channel][inside])[0, 1]


def test_render_gives_an_image_and_the_same_one_again():
    image = hpa_synth.render(1, 2, [0, 23], 96, 0.64)
    assert image.shape == (96, 96, 4)
    assert image.dtype == np.uint8
    assert np.array_equal(image, hpa_synth.render(1, 2, [0, 23], 96, 0.64))
    assert not np.array_equal(image, hpa_synth.render(2, 2, [0, 23], 96, 0.64))
    assert not np.array_equal(image, hpa_synth.render(1, 3, [0, 23], 96, 0.64))


def test_bytes_do_not_depend_on_order_or_process():
    code = "from test_synthetic import digest; print(digest([2, 0, 1]))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert run.stdout.strip() == digest([0, 1, 2]), run.stderr


def test_label_order_does_not_matter():
    assert np.array_equal(hpa_synth.render(1, 0, [3, 25], 96, 0.64), hpa_synth.render(1, 0, [25, 3], 96, 0.64))


@pytest.mark.parametrize("label", ALL_LABELS)
def test_every_label_is_visible_in_green(label):
    drawing = rendering.draw(3, label, [label], 128, 0.64)
    assert drawing.visible == (label,)
    structure = drawing.canvases[label] > 0.5 * drawing.canvases[label].max()
    background = ~cv2.dilate((drawing.canvases[label] > 0.02).astype(np.uint8), np.ones((5, 5))).astype(bool)
    green = drawing.image[..., 1].astype(float)
    assert green[structure].mean() > green[background].mean() + 5
    assert drawing.canvases[label].dtype == np.float32
    assert drawing.canvases[label].min() >= 0


@pytest.mark.parametrize("size, um_per_px", [(64, 0.9), (128, 0.64), (256, 0.40)])
def test_labels_are_visible_at_every_profile_scale(size, um_per_px):
    for label in ALL_LABELS:
        assert rendering.draw(11, label, [label], size, um_per_px).visible == (label,), label


def test_a_canvas_without_structure_is_no_evidence():
    empty = np.zeros((64, 64), np.float32)
    assert not any(rendering.is_visible(empty, label, 0.64) for label in ALL_LABELS)
    one_spot = empty.copy()
    one_spot[30:33, 30:33] = 1
    assert rendering.is_visible(one_spot, 19, 0.64)
    assert not rendering.is_visible(one_spot, 0, 0.64)


@pytest.mark.parametrize("size, um_per_px", [(512, 0.32), (128, 0.64)])
def test_microtubules_follow_red_and_reticulum_follows_yellow(size, um_per_px):
    def mean_correlation(label, channel):
        return np.mean([correlation(rendering.draw(3, i, [label], size, um_per_px), channel) for i in range(5)])

    assert mean_correlation(14, 0) > 0.6
    assert mean_correlation(11, 0) < 0.45
    assert mean_correlation(23, 0) < 0.35
    assert mean_correlation(6, 3) > 0.65
    assert mean_correlation(25, 3) < 0.45


@pytest.mark.parametrize("size, um_per_px", [(512, 0.32), (128, 0.64)])
def test_the_nuclear_membrane_lies_at_the_edge_of_blue(size, um_per_px):
    for index in range(4):
        drawing = rendering.draw(3, index, [1], size, um_per_px)
        inside = cv2.distanceTransform((drawing.field.maps.nucleus > 0).astype(np.uint8), cv2.DIST_L2, 5)
        distance = inside - drawing.field.maps.from_nucleus / um_per_px
        green = drawing.image[..., 1].astype(float)
        steps = np.array([-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6])  # px; the pixels at the edge itself are +-1
        profile = [green[np.abs(distance - step) < 0.5].mean() for step in steps]
        assert abs(steps[np.argmax(profile)]) <= 2


def test_junctions_lie_only_where_two_cells_touch():
    for index in range(4):
        drawing = rendering.draw(3, index, [22], 512, 0.32)
        bright = drawing.canvases[22] > 0.3
        cells = drawing.field.maps.cell_map.astype(np.float32)
        window = np.ones((9, 9))  # 1.3 um either way
        highest = cv2.dilate(cells, window)
        lowest = cv2.erode(np.where(cells == 0, 1e4, cells).astype(np.float32), window)
        assert ((highest != lowest) & (highest > 0))[bright].mean() > 0.93


def test_the_bridge_joins_the_two_daughters():
    for index in range(4):
        drawing = rendering.draw(3, index, [16], 512, 0.32)
        ((first, second),) = drawing.field.cells.dividing
        start, end = drawing.field.cells.centres[[first, second]]
        row, column = np.nonzero(drawing.canvases[16] > 0.3)
        points = np.stack([column + 0.5, row + 0.5], 1) * 0.32 - start
        along = points @ (end - start) / ((end - start) @ (end - start))
        beside = np.abs(points @ np.array([start[1] - end[1], end[0] - start[0]])) / np.hypot(*(end - start))
        assert 0.1 < along.min() < along.max() < 0.9
        assert beside.max() < 4
        red = drawing.image[..., 0].astype(float)
        assert red[row, column].mean() > 2 * red.mean()


def test_spindles_stand_in_cells_without_a_nucleus():
    drawing = rendering.draw(3, 1, [17], 512, 0.32)
    cells = drawing.field.maps.cell_map[drawing.canvases[17] > 0.3]
    assert drawing.field.cells.mitotic[np.unique(cells[cells > 0]) - 1].any()
    assert (drawing.field.maps.nucleus[drawing.canvases[17] > 0.6] == 0).mean() > 0.95


def test_nucleoli_fill_the_dark_holes_of_blue():
    drawing = rendering.draw(3, 0, [2], 512, 0.32)
    holes = drawing.field.maps.nucleoli > 0.9
    rest = (drawing.field.maps.nucleus > 0) & (drawing.field.maps.nucleoli == 0)
    assert drawing.image[..., 2][holes].mean() < 0.7 * drawing.image[..., 2][rest].mean()
    assert drawing.canvases[2][holes].mean() > 3 * drawing.canvases[2][rest].mean()


@pytest.mark.parametrize("label", [0, 6, 7, 14, 21, 24])
def test_green_says_nothing_to_the_other_channels(label):
    """Adding a label leaves blue and yellow as they are, and red too but for the 3 % of bleed-through."""
    for index in range(3):
        alone = hpa_synth.render(3, index, [25], 128, 0.64).astype(int)
        more = hpa_synth.render(3, index, [25, label], 128, 0.64).astype(int)
        assert np.array_equal(alone[..., 2:], more[..., 2:])
        assert np.abs(alone[..., 0] - more[..., 0]).mean() < 1.5
        assert not np.array_equal(alone[..., 1], more[..., 1])


def test_mitotic_cells_and_pairs_occur_whatever_the_label():
    cells = [rendering.draw(3, index, [25], 512, 0.32).field.cells for index in range(60)]
    assert any(cell.mitotic.any() for cell in cells)
    assert any(cell.dividing for cell in cells)
    assert sum(cell.mitotic.sum() for cell in cells) < 0.03 * sum(cell.count for cell in cells)


def test_fields_of_one_protein_share_line_and_exposure():
    first, second = (rendering.draw(3, index, [23], 128, 0.64, protein=7).field.cells.line for index in (0, 1))
    assert first == second
    made, same = (rendering.make_protein(3, 7, [23, 0], False) for _ in range(2))
    assert np.array_equal(made.exposure, same.exposure)
    assert made.weights == same.weights
    assert not np.array_equal(made.exposure, rendering.make_protein(3, 8, [23, 0], False).exposure)


def test_dark_fields_are_darker_in_the_reference_channels():
    bright, dark = (
        np.mean([hpa_synth.render(3, index, [0], 128, 0.64, dark=dark) for index in range(12)], axis=(0, 1, 2))
        for dark in (False, True)
    )
    assert (dark[[0, 3]] < 0.35 * bright[[0, 3]]).all()
    assert dark[2] < 0.5 * bright[2]
    assert dark[1] > 0.6 * bright[1]


def test_even_the_weakest_label_reaches_its_faintest_level():
    for protein in range(40):
        settings = rendering.make_protein(3, protein, [0, 19, 25], True)
        for label, weight in settings.weights.items():
            assert weight * settings.exposure[imaging.GREEN] >= 0.999 * PATTERNS[label].faintest


def test_an_empty_label_set_gives_a_field_with_background_only():
    drawing = rendering.draw(3, 0, [], 96, 0.64)
    assert drawing.visible == ()
    assert drawing.image[..., 1].mean() < drawing.image[..., 0].mean()


@pytest.mark.parametrize("scale", [(16, 0.64), (40, 0.3), (200, 1.2), (700, 0.5)])
def test_unusual_sizes_and_scales_work(scale):
    assert hpa_synth.render(0, 0, [0, 25], *scale).shape == (scale[0], scale[0], 4)


@pytest.mark.parametrize(
    "labels, size, um_per_px, told",
    [
        ([28], 64, 0.64, "28"),
        ([-1], 64, 0.64, "-1"),
        ([3, 3], 64, 0.64, "3, 3"),
        ([0], 4, 0.64, "4"),
        ([0], 64, 0, "0"),
    ],
)
def test_wrong_arguments_are_told(labels, size, um_per_px, told):
    with pytest.raises(ValueError, match=told):
        hpa_synth.render(0, 0, labels, size, um_per_px)


def test_contact_fields_show_each_class_once():
    labels, images = hpa_synth.contact_fields(64, 0.9, seed=1)
    assert labels == list(ALL_LABELS)
    assert images.shape == (28, 64, 64, 4)
    assert np.array_equal(images[9], hpa_synth.render(1, 9, [9], 64, 0.9))


def test_every_class_has_a_line_of_biology():
    assert len(hpa_synth.DESCRIPTIONS) == len(PATTERNS) == atlas.NUM_LABELS
    assert all(20 < len(line) < 120 and line.endswith(".") for line in hpa_synth.DESCRIPTIONS)
    names = [pattern.draw.__name__.replace("_", " ") for pattern in PATTERNS]
    assert names == [name.lower().replace("&", "and") for name in atlas.LABELS]
