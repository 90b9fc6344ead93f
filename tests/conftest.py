import os
import warnings
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest

from hpa_lib import atlas

REAL_SAMPLES = Path(os.environ.get("HPA_REAL_SAMPLES", Path(__file__).parents[2] / "shared" / "real_samples"))


@pytest.fixture
def strict_figures():
    """Any warning of the test fails it, and its figures are closed. Sockets of older tests may close meanwhile."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        yield
    plt.close("all")


@pytest.fixture
def real_samples():
    """The folder of real samples; tests that use it are skipped where it is absent."""
    if not (REAL_SAMPLES / "train.csv").exists():
        pytest.skip("no real samples here")
    return REAL_SAMPLES


@pytest.fixture
def tiny_dataset(tmp_path):
    """A factory: write a Kaggle-layout folder of random square PNGs and give back its path."""

    def write(name="data", images=6, test_images=3, size=32, seed=0, groups=False):
        random = np.random.default_rng(seed)
        folder = tmp_path / name
        ids = {
            "train": [f"train-{i:04d}" for i in range(images)],
            "test": [f"test-{i:04d}" for i in range(test_images)],
        }
        for part, part_ids in ids.items():
            (folder / part).mkdir(parents=True)
            for image_id in part_ids:
                for channel in atlas.CHANNELS:
                    pixels = random.integers(0, 256, (size, size), np.uint8)
                    assert cv2.imwrite(str(folder / part / f"{image_id}_{channel}.png"), pixels)
        labels = random.random((images, 28)) < 0.1
        labels[np.arange(images), np.arange(images) % 28] = True
        targets = [atlas.format_target(row) for row in labels]
        rows = "".join(f"{image_id},{target}\n" for image_id, target in zip(ids["train"], targets, strict=True))
        (folder / "train.csv").write_text("Id,Target\n" + rows, encoding="utf-8")
        rows = "".join(f"{image_id},0\n" for image_id in ids["test"])
        (folder / "sample_submission.csv").write_text("Id,Predicted\n" + rows, encoding="utf-8")
        if groups:
            rows = "".join(f"{image_id},{index // 2}\n" for index, image_id in enumerate(ids["train"]))
            (folder / "groups.csv").write_text("Id,group\n" + rows, encoding="utf-8")
        return folder

    return write
