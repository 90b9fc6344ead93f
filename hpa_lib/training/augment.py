"""Augmentation: the study's imgaug pipeline, a stronger one, exact turns, and mixing of multi-hot images.

Every image's random numbers come from (seed, epoch, image) alone, so that any number of workers, and a run that was
stopped and resumed, see the same stream.
"""

import numpy as np

if not hasattr(np, "sctypes"):
    # imgaug 0.4.0 (2020, the last release) reads np.sctypes at import, which NumPy 2 removed. These are its old values.
    np.sctypes = {  # noqa: NPY201 (putting it back is the point)
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64],
        "complex": [np.complex64, np.complex128],
        "others": [bool, object, bytes, str, np.void],
    }

import imgaug.augmenters as iaa

AUGMENTS = ("none", "turns", "study", "strong")
MIXES = ("none", "mixup", "cutmix")
MIX_ALPHA = 0.4  # of the Beta distribution of the shares; larger mixes more evenly
EXACT_TURNS = {0: 3, 1: 2, 2: 1}  # operation of ``study_pipeline`` -> the ``turn`` that gives the very same pixels


def study_pipeline() -> iaa.Augmenter:
    """The study's augmenter: one of three turns, a shear of up to 16 degrees, or one of two flips (half the time)."""
    return iaa.OneOf(
        [
            iaa.Affine(rotate=90),
            iaa.Affine(rotate=180),
            iaa.Affine(rotate=270),
            iaa.Affine(shear=(-16, 16)),
            iaa.Fliplr(0.5),
            iaa.Flipud(0.5),
        ]
    )


def strong_pipeline() -> iaa.Augmenter:
    """What ``strong`` does after its turn: shift, scale and shear, gamma and gain per channel, now and then holes."""
    return iaa.Sequential(
        [
            iaa.Affine(
                scale=(0.85, 1.2),
                translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
                shear=(-12, 12),
                mode="reflect",
            ),
            iaa.GammaContrast((0.75, 1.35), per_channel=True),
            iaa.Multiply((0.75, 1.3), per_channel=True),
            iaa.Sometimes(0.3, iaa.CoarseDropout(0.06, size_percent=0.12)),
        ]
    )


def image_seed(seed: int, epoch: int, image: int) -> int:
    """One 32-bit seed for one image in one epoch."""
    return int(np.random.SeedSequence([seed, epoch, image]).generate_state(1)[0])


def turn(image: np.ndarray, number: int) -> np.ndarray:
    """One of the eight symmetries of the square, exact to the pixel: ``number`` 0..3 quarter turns, 4..7 mirrored.

    Args:
        image: (..., H, W, C) with H = W for odd quarter turns.
        number: 0 (unchanged) to 7.

    Returns:
        A view of the same image(s).
    """
    if number >= 4:
        image = image[..., ::-1, :]
    return np.rot90(image, number % 4, axes=(-3, -2))


def augment_images(images: np.ndarray, name: str, seeds: list[int]) -> np.ndarray:
    """Each image augmented with its own seed.

    Args:
        images: uint8 (B, S, S, 4).
        name: one of ``AUGMENTS``.
        seeds: B seeds, from ``image_seed``.

    Returns:
        uint8 (B, S, S, 4), a new array (``none`` gives the images back as they are).

    Raises:
        ValueError: an unknown name.
    """
    if name == "none":
        return images
    if name == "turns":
        return _turn_all(images, [seed % 8 for seed in seeds])
    if name == "study":
        return _augment_as_the_study(images, seeds)
    if name != "strong":
        raise ValueError(f"augmentation {name!r}: use one of {', '.join(AUGMENTS)}")
    pipeline = strong_pipeline()
    changed = _turn_all(images, [seed % 8 for seed in seeds])
    for row, seed in enumerate(seeds):
        changed[row] = _augment_one(pipeline, changed[row], seed)
    return changed


def _turn_all(images: np.ndarray, numbers: list[int]) -> np.ndarray:
    """Each image turned by its number; a pixel's four bytes are copied as one."""
    pixels = np.ascontiguousarray(images).view(np.uint32)  # (B, S, S, 1)
    return np.stack([turn(image, number) for image, number in zip(pixels, numbers, strict=True)]).view(np.uint8)


def _augment_as_the_study(images: np.ndarray, seeds: list[int]) -> np.ndarray:
    """``study_pipeline`` image by image: the operation is drawn here, so that the turns can take the exact path."""
    pipeline = study_pipeline()
    chosen = [int(np.random.default_rng(seed).integers(len(pipeline))) for seed in seeds]
    changed = _turn_all(images, [EXACT_TURNS.get(operation, 0) for operation in chosen])
    for row, (operation, seed) in enumerate(zip(chosen, seeds, strict=True)):
        if operation not in EXACT_TURNS:
            changed[row] = _augment_one(pipeline[operation], images[row], seed)
    return changed


def _augment_one(augmenter: iaa.Augmenter, image: np.ndarray, seed: int) -> np.ndarray:
    augmenter.seed_(seed)
    return augmenter(image=image)


def mix_images(images: np.ndarray, labels: np.ndarray, name: str, rng: np.random.Generator):
    """Each image of a batch mixed with another one, its labels in the same proportion.

    ``mixup`` blends the whole images (Zhang et al. 2018); ``cutmix`` pastes a rectangle (Yun et al. 2019).

    Args:
        images: uint8 (B, S, S, C).
        labels: float32 (B, 28) in [0, 1].
        name: one of ``MIXES``.
        rng: random numbers of this batch.

    Returns:
        images uint8 (B, S, S, C) and labels float32 (B, 28), now soft.

    Raises:
        ValueError: an unknown name.
    """
    if name == "none":
        return images, labels
    if name not in MIXES:
        raise ValueError(f"mix {name!r}: use one of {', '.join(MIXES)}")
    partner = rng.permutation(len(images))
    share = float(rng.beta(MIX_ALPHA, MIX_ALPHA))  # of the image itself
    if name == "mixup":
        blend = share * images.astype(np.float32) + (1 - share) * images[partner]
        mixed = np.round(blend).astype(np.uint8)
    else:
        mixed, share = _paste_rectangle(images, partner, share, rng)
    return mixed, (share * labels + (1 - share) * labels[partner]).astype(np.float32)


def _paste_rectangle(images, partner, share, rng):
    size = images.shape[1]
    side = int(round(size * np.sqrt(1 - share)))
    top, left = rng.integers(0, size - side + 1, 2)
    mixed = images.copy()
    mixed[:, top : top + side, left : left + side] = images[partner, top : top + side, left : left + side]
    return mixed, 1 - side * side / (size * size)
