"""The pictures of explanations show the maps and the table that they are given."""

import numpy as np
import pandas as pd
import pytest

from hpa_lib.figures import explanations, style


def example_table(methods):
    verdicts = list(explanations.LOOKS)
    rows = [
        {"name": f"class {number}", "method": method, "images": 8, "verdict": verdicts[number], "chance": 0.01}
        | {"mass": 0.1 * (number + 1), "mass_low": 0.05, "mass_high": 0.5, "random": 0.02}
        for method in methods
        for number in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("methods", [["occlusion"], ["Grad-CAM", "Grad-CAM, finer maps", "occlusion"]])
def test_localisation_shows_every_class_and_its_verdict(methods, strict_figures):
    fig = explanations.localisation(example_table(methods), synthetic=True)
    fig.draw_without_rendering()
    assert [ax.get_title("left") for ax in fig.axes] == methods
    assert fig.get_figwidth() == (style.SINGLE if len(methods) == 1 else style.DOUBLE)
    for ax in fig.axes:
        marks = {line.get_label(): line.get_xdata().tolist() for line in ax.lines}
        masses = [marks[f"network: {verdict}"] for verdict in explanations.LOOKS]
        assert np.allclose(masses, [[0.1], [0.2], [0.3]])
        assert marks["random weights"] == [0.02] * 3 and marks["chance (share of the area)"] == [0.01] * 3
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["class 0", "class 1", "class 2"]
    assert fig.get_suptitle() == "synthetic data"


def test_heat_maps_lay_the_map_and_the_outline_over_the_image(strict_figures):
    images, masks = np.full((3, 8, 8, 4), 90, np.uint8), np.zeros((3, 8, 8), bool)
    masks[:, 2:5, 2:5] = True
    maps = masks / 9.0
    maps[2] = 0
    fig = explanations.heat_maps(images, maps, masks, ["first", "second", "third"])
    fig.draw_without_rendering()
    assert [ax.get_title("left") for ax in fig.axes[:6:2]] == ["first", "second", "third"]
    assert [ax.get_title("left") for ax in fig.axes[1:6:2]] == ["", "", "nothing speaks for it"]
    for ax, heat in zip(fig.axes[1:6:2], maps, strict=True):
        assert np.array_equal(ax.images[0].get_array(), explanations.overlay(images[0], heat))
        assert len(ax.collections) == 1
    assert "true structure" in fig.get_supxlabel()


def test_heat_maps_do_without_a_known_structure(strict_figures):
    images, maps = np.zeros((1, 8, 8, 4), np.uint8), np.full((1, 8, 8), 1 / 64)
    fig = explanations.heat_maps(images, maps, None, ["Nucleoli"])
    assert len(fig.axes) == 2 and not fig.axes[1].collections
    assert "structure" not in fig.get_supxlabel()


def test_the_overlay_is_red_where_the_map_is_high():
    image, heat = np.full((8, 8, 4), 100, np.uint8), np.zeros((8, 8))
    heat[2, 3] = 0.5
    shown = explanations.overlay(image, heat)
    assert shown[2, 3, 0] - shown[2, 3, 1] > 0.4 and shown[5, 5] == pytest.approx([1, 1, 1]), "the protein in grey"
    assert (explanations.overlay(image, np.zeros((8, 8))) <= 1).all(), "a map of zeros: nothing speaks for the label"
