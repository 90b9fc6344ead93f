"""What can be measured in an image without any training: 59 numbers, each with a name and an explanation.

Lengths are in pixels of the given image, so features of different image sizes must not be mixed. An image that is
turned by 90 degrees or mirrored has the same features (to 1e-4 of a feature's spread); in one that is k times as bright
only ``brightness_...`` changes, k-fold, since all others are divided by the channel's own brightness.
"""

import hashlib
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from hpa_lib import atlas, store
from hpa_lib.data import cache, parallel

VERSION = 1  # raise it with every change that alters a feature: stored ones are then measured again
RINGS = tuple(pairwise((-np.inf, -5, -2.5, -1, 0, 1, 2.5, 5, 10, 16, np.inf)))  # px from the nuclear edge, inside < 0
BELTS = tuple(pairwise((0, 2.5, 5, 10, np.inf)))  # px from the cell's edge
SIZES = (0.5, 0.8, 1.3, 2.3, 4.0)  # px, the smaller standard deviation of each difference of Gaussians
HOLES = 1.3  # the one of them in which holes are looked for
STAINS = {"red": "microtubules", "blue": "nucleus", "yellow": "reticulum"}
PLACES = ("nucleus", "cytoplasm")
NUCLEAR_EDGE, CELL_EDGE = "px from the nuclear edge, inside below 0", "px from the cell's edge, without the nucleus"
FEATURES = (
    {f"brightness_{color}": f"mean of the {color} channel, 0 to 255" for color in atlas.CHANNELS}
    | {f"ring_{low:g}..{high:g}": f"green {low:g} to {high:g} {NUCLEAR_EDGE}" for low, high in RINGS}
    | {f"belt_{low:g}..{high:g}": f"green {low:g} to {high:g} {CELL_EDGE}" for low, high in BELTS}
    | {f"grain_{size}_{place}": f"contrast of grains of {size} px in the {place}" for size in SIZES for place in PLACES}
    | {f"spots_{size}_{place}": f"spots of {size} px per 100 px of {place}" for size in SIZES for place in PLACES}
    | {f"holes_{place}": f"how deep the deepest 1 % of holes of {HOLES} px in the {place} are" for place in PLACES}
    | {
        f"with_{stain}_{place}": f"correlation with {stain} in the {place}"
        for stain in STAINS.values()
        for place in PLACES
    }
    | {
        "outside": "green outside all cells",
        "bright_distance": "brightest 1 % of the cell: mean distance from the nuclear edge in px, inside below 0",
        "bright_spread": "standard deviation of that distance",
        "bright_focus": "microtubules at the brightest 1 %, relative to the whole cell",
        "objects": "connected regions above half of full brightness",
        "object_area": "their median area in px",
        "object_extent": "their mean share of the box around them: 1 for a square, small for a thread",
        "low": "5th percentile of green in the cell",
        "middle": "median of green in the cell",
        "high": "95th percentile of green in the cell",
        "filled": "share of the image above .3 of full brightness",
        "fibres_0.95": "how far texture of .95 px runs in one direction, 0 to 1",
        "fibres_2.35": "the same for texture of 2.35 px",
    }
)


def measure_image(image: np.ndarray) -> np.ndarray:
    """The features of one image, float32 (59,), in the order of ``FEATURES``; finite also where a channel is blank.

    Args:
        image: uint8 (S, S, 4), red, green, blue, yellow; S at least 32.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
    green = smooth[..., 1] / max(np.percentile(smooth[..., 1], 99.7), 1e-3)  # full brightness is 1
    nucleus = _find_bright(smooth[..., 2], 1.6)
    cell = _find_bright(smooth[..., 0] + smooth[..., 3], 2.3) | nucleus
    distance = np.clip(_distance_to(nucleus) - _distance_to(~nucleus), -len(image), len(image))
    places = dict(zip(PLACES, (nucleus, cell & ~nucleus), strict=True))
    values = {f"brightness_{color}": image[..., number].mean() for number, color in enumerate(atlas.CHANNELS)}
    values |= _measure_position(green, distance, cell, places["cytoplasm"]) | _measure_grains(green, places)
    values |= _measure_company(green, smooth, places) | _measure_brightest(green, smooth[..., 0], distance, cell)
    values |= _measure_objects(green) | _measure_fibres(green, cell)
    return np.array([values[name] for name in FEATURES], np.float32)


def _find_bright(values: np.ndarray, sigma: float) -> np.ndarray:
    """The foreground of a blurred channel by Otsu's threshold, bool (S, S); nothing of a blank one."""
    blurred = cv2.GaussianBlur(values, (0, 0), sigma)
    scaled = np.clip(blurred * (255 / max(np.percentile(blurred, 99), 1e-3)), 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_OTSU)
    return scaled > 0.7 * level


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """How far each pixel is from the nearest one of ``mask``, float (S, S) in px."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _measure_position(green, distance, cell, cytoplasm) -> dict[str, float]:
    near, depth = cell | (distance < 5), _distance_to(~cell)
    values = {"outside": _mean(green[~cell])}
    for low, high in RINGS:
        values[f"ring_{low:g}..{high:g}"] = _mean(green[near & (distance > low) & (distance <= high)])
    for low, high in BELTS:
        values[f"belt_{low:g}..{high:g}"] = _mean(green[cytoplasm & (depth > low) & (depth <= high)])
    return values


def _measure_grains(green, places) -> dict[str, float]:
    """Contrast, peaks and holes of differences of Gaussians."""
    values = {}
    for size in SIZES:
        band = cv2.GaussianBlur(green, (0, 0), size) - cv2.GaussianBlur(green, (0, 0), 1.6 * size)
        peak = (band == cv2.dilate(band, np.ones((3, 3)))) & (band > 0.04)
        for name, place in places.items():
            values[f"grain_{size}_{name}"] = band[place].std() if place.any() else 0.0
            values[f"spots_{size}_{name}"] = 100 * _mean(peak[place])
            if size == HOLES:
                values[f"holes_{name}"] = np.percentile(band[place], 1) if place.any() else 0.0
    return values


def _measure_company(green, smooth, places) -> dict[str, float]:
    values = {}
    for color, stain in STAINS.items():
        other = smooth[..., atlas.CHANNELS.index(color)]
        for name, place in places.items():
            varies = place.sum() > 8 and min(green[place].std(), other[place].std()) > 1e-6
            values[f"with_{stain}_{name}"] = np.corrcoef(green[place], other[place])[0, 1] if varies else 0.0
    return values


def _measure_brightest(green, red, distance, cell) -> dict[str, float]:
    """Where the brightest pixels of the cell are: distances from the nucleus, and whether microtubules meet there."""
    inside = cell if cell.any() else ~cell
    low, middle, high, top = np.percentile(green[inside], [5, 50, 95, 99])
    bright, focus = inside & (green >= top), cv2.GaussianBlur(red, (0, 0), 1.9)
    values = {"bright_distance": distance[bright].mean(), "bright_spread": distance[bright].std()}
    values["bright_focus"] = focus[bright].mean() / max(focus[inside].mean(), 1e-3)
    return values | {"low": low, "middle": middle, "high": high, "filled": (green > 0.3).mean()}


def _measure_objects(green) -> dict[str, float]:
    count, _, stats, _ = cv2.connectedComponentsWithStats((green > 0.5).astype(np.uint8))
    areas, boxes = stats[1:, cv2.CC_STAT_AREA], stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT]
    area = np.median(areas) if count > 1 else 0.0
    return {"objects": count - 1, "object_area": area, "object_extent": _mean(areas / boxes)}


def _measure_fibres(green, cell) -> dict[str, float]:
    """The coherence of the structure tensor (Bigun & Granlund 1987), weighted by its strength."""
    values = {}
    for size in (0.95, 2.35):
        blurred = cv2.GaussianBlur(green, (0, 0), max(0.5, 0.4 * size))
        across, along = cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
        products = (across**2, along**2, across * along)
        xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), 2 * size) for product in products)
        strength, coherence = (xx + yy) * cell, np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-6)
        values[f"fibres_{size}"] = (coherence * strength).sum() / (strength.sum() + 1e-6)
    return values


def measure(images: np.ndarray, workers: int | None = None, progress: bool = True) -> np.ndarray:
    """The features of many images, float32 (N, 59).

    Args:
        images: uint8 (N, S, S, 4); a mapped cache is read piece by piece.
        workers: processes; by default one per core, 1 for few images.
        progress: show a bar.
    """
    length = max(1, 2**22 // images[:1].nbytes)
    pieces = (np.ascontiguousarray(images[start : start + length]) for start in range(0, len(images), length))
    workers, measured = min(workers or parallel.count_cores(), 1 + len(images) // 200), []
    with parallel.bar(total=len(images), desc="features", unit="image", show=progress) as bar:
        for values in parallel.run(_measure_piece, pieces, workers):
            measured.append(values)
            bar.update(len(values))
    return np.concatenate(measured)


def _measure_piece(images: np.ndarray) -> np.ndarray:
    return np.stack([measure_image(image) for image in images])


def load(out: Path, part: str, size: int, workers: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Ids str (N,) and features float32 (N, 59) of a part cached at ``size`` px.

    They are read from ``features_<part>_<size>.npz`` beside the cache (shared, or the run set's own), and measured
    where that is missing, or was made of other images or by another ``VERSION``. A FileNotFoundError says that notebook
    00 has not cached this size.
    """
    local = Path(out) / "cache" / f"{part}_{size}"
    folder, (ids, images) = cache.locate(local), cache.load(local)
    made_of = repr((VERSION, list(FEATURES))).encode() + (folder / "manifest.json").read_bytes()
    source = hashlib.sha256(made_of).hexdigest()
    paths = [place.with_name(f"features_{place.name}.npz") for place in (folder, local)]
    for path in filter(Path.exists, paths):
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["source"]) == source:
                return ids, stored["values"]
    arrays = {"ids": ids, "names": list(FEATURES), "values": measure(images, workers), "source": source}
    try:
        store.save_arrays(paths[0].parent, paths[0].name, arrays)
    except OSError:  # the shared folder cannot be written
        store.save_arrays(paths[1].parent, paths[1].name, arrays)
    return ids, arrays["values"]
