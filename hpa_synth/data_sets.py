"""The sizes in which the data set is offered."""

from typing import NamedTuple

VERSION = "1.2"  # raise it with every change that alters images or labels; it is part of every Id
DARK_TRAIN, DARK_TEST = 0.22, 0.51  # shares of the darker 3072-px originals in the real training and test images


class DataSet(NamedTuple):
    """How many images of which size, and how natural the imbalance is."""

    images: int  # training images
    test_images: int
    size: int  # px
    um_per_px: float  # small images show a smaller field at a coarser scale: resizing would erase fine structures
    floor: int  # images that every class has at least (training part); 0 = natural counts
    dark_train: float = DARK_TRAIN  # share of the darker population
    dark_test: float = DARK_TRAIN


DATA_SETS = {
    "smoke": DataSet(images=280, test_images=60, size=64, um_per_px=0.90, floor=5),
    "quick": DataSet(images=2200, test_images=400, size=96, um_per_px=0.739, floor=30),
    "course": DataSet(images=6000, test_images=1200, size=128, um_per_px=0.64, floor=24),
    "kaggle": DataSet(images=31072, test_images=11702, size=512, um_per_px=0.32, floor=0, dark_test=DARK_TEST),
}
LARGEST_FLOOR = 1 / 50  # of the images: more would leave no imbalance to study
FEWEST_FOR_FLOOR = 150  # images: fewer are too few groups for 28 classes


def find_profile(name: str, images: int | None, size: int | None, population_shift: bool) -> DataSet:
    """The named profile with another number of training images or another size.

    The test part keeps its share, the floor shrinks with the images, and the scale becomes .64 um/px times
    sqrt(128 / size), which is the real .32 um/px at 512 px. ``population_shift`` gives the test part the real, larger
    share of dark images.

    Raises:
        ValueError: the name is unknown, or a number is out of range.
    """
    if name not in DATA_SETS:
        raise ValueError(f"profile {name!r}: use one of {', '.join(DATA_SETS)}")
    profile = DATA_SETS[name]
    if images is not None:
        if not 28 <= images <= 1_000_000:
            raise ValueError(f"images {images}: choose 28 (one per class) .. 1000000")
        test_images = max(4, round(images * profile.test_images / profile.images))
        floor = possible_floor(profile.floor, images)
        profile = profile._replace(images=images, test_images=test_images, floor=floor)
    if size is not None and size != profile.size:
        if not 64 <= size <= 2048:
            raise ValueError(f"size {size} px: choose 64..2048, so that structures can be seen")
        profile = profile._replace(size=size, um_per_px=round(0.64 * (128 / size) ** 0.5, 4))
    return profile._replace(dark_test=DARK_TEST) if population_shift else profile


def possible_floor(floor: float, images: int) -> int:
    """The floor, lowered to what ``images`` images in groups can give every class."""
    return min(int(floor), int(images * LARGEST_FLOOR)) if images >= FEWEST_FOR_FLOOR else 0
