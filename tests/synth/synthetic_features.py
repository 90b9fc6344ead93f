"""Hand-made features of one four-channel image: what an honest classifier may look at. No generator inside."""

import cv2
import numpy as np

DISTANCES_UM = (-np.inf, -3.0, -1.5, -0.6, 0.0, 0.6, 1.5, 3.0, 6.0, 10.0, np.inf)  # from the nuclear edge, inside < 0
SPOT_UM = (0.35, 0.6, 1.0, 1.7, 3.0)


def intensity(image: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    """Global intensities of the given channels of one image (S, S, 4): mean, sd and seven quantiles each."""
    features = []
    for channel in channels:
        values = image[..., channel].astype(np.float32)
        features += [values.mean(), values.std(), *np.percentile(values, [1, 10, 25, 50, 75, 95, 99])]
    return np.array(features)


def structure(image: np.ndarray, um_per_px: float, target: int = 1) -> np.ndarray:
    """About 100 features of the channel ``target`` in relation to the other three, brightness divided out."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.float32)
    protein = smooth[..., target] / (np.percentile(smooth[..., target], 99.7) + 3)
    nucleus = _mask(smooth[..., 2], 1.0 / um_per_px)
    cell = _mask(smooth[..., 0] + smooth[..., 3], 1.5 / um_per_px) | nucleus
    distance = _signed_distance(nucleus, um_per_px)
    from_edge = cv2.distanceTransform(cell.astype(np.uint8), cv2.DIST_L2, 3) * um_per_px
    cytoplasm = cell & ~nucleus
    return np.nan_to_num(
        np.array(
            _profile(protein, distance, cell)
            + _edge(protein, from_edge, cytoplasm)
            + _spots(protein, nucleus, cytoplasm, um_per_px)
            + _relations(protein, smooth, target, nucleus, cytoplasm, distance, um_per_px)
            + _directions(protein, cell, um_per_px)
        )
    )


def _mask(values: np.ndarray, sd_px: float) -> np.ndarray:
    blurred = cv2.GaussianBlur(values, (0, 0), sd_px)
    scaled = np.clip(blurred * (255 / (np.percentile(blurred, 99) + 1e-3)), 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_OTSU)
    return scaled > 0.7 * level


def _signed_distance(mask: np.ndarray, um_per_px: float) -> np.ndarray:
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return (outside - inside) * um_per_px


def _profile(protein, distance, cell) -> list[float]:
    """Mean and sd by the distance from the nuclear edge."""
    features = []
    for low, high in zip(DISTANCES_UM[:-1], DISTANCES_UM[1:], strict=True):
        values = protein[(distance > low) & (distance <= high) & (cell | (distance < 3))]
        features += [values.mean(), values.std()] if len(values) else [0.0, 0.0]
    return features


def _edge(protein, from_edge, cytoplasm) -> list[float]:
    """Mean by the distance from the cell's edge, and outside."""
    outside = protein[from_edge == 0] if (from_edge == 0).any() else np.zeros(1)
    features = [outside.mean(), np.percentile(outside, 99.5)]
    for low, high in ((0, 1.5), (1.5, 3), (3, 6), (6, 20)):
        values = protein[cytoplasm & (from_edge > low) & (from_edge <= high)]
        features.append(values.mean() if len(values) else 0.0)
    return features


def _spots(protein, nucleus, cytoplasm, um_per_px) -> list[float]:
    """Energy, peak counts per area and peak heights of differences of Gaussians, in nucleus and cytoplasm."""
    features = []
    for size in SPOT_UM:
        sd = max(0.5 * size / um_per_px, 0.45)
        band = cv2.GaussianBlur(protein, (0, 0), sd) - cv2.GaussianBlur(protein, (0, 0), 1.6 * sd)
        peak = (band == cv2.dilate(band, np.ones((3, 3)))) & (band > 0.04)
        for where in (nucleus, cytoplasm):
            values = band[where]
            if not len(values):
                features += [0.0] * 5
                continue
            heights = band[peak & where]
            spread = heights.std() / heights.mean() if len(heights) > 2 else 0.0
            density = len(heights) / (len(values) * um_per_px**2) * 100
            features += [values.std(), np.percentile(values, 99), np.percentile(values, 1), density, spread]
    return features


def _relations(protein, smooth, target, nucleus, cytoplasm, distance, um_per_px) -> list[float]:
    """Correlations with the other channels, and where the brightest pixels lie."""
    features = []
    for other in [channel for channel in (0, 3, 2, 1) if channel != target][:3]:
        for where in (nucleus, cytoplasm):
            features.append(_correlation(protein[where], smooth[where][:, other]))
    inside = nucleus | cytoplasm
    bright = (protein > np.percentile(protein[inside], 99)) & inside if inside.any() else inside
    reach = distance[bright] if bright.any() else np.zeros(1)
    features += [reach.mean(), reach.std(), np.abs(reach).mean()]
    focus = cv2.GaussianBlur(smooth[..., 0 if target != 0 else 3], (0, 0), 1.2 / um_per_px)
    features.append(focus[bright].mean() / (focus[inside].mean() + 1) if bright.any() else 0.0)
    count, _, stats, _ = cv2.connectedComponentsWithStats((protein > 0.5).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA] * um_per_px**2
    box = stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT] * um_per_px**2
    features += [count - 1, *(np.percentile(areas, [50, 90, 100]) if count > 1 else (0, 0, 0))]
    features += [np.mean(areas / box) if count > 1 else 0.0]
    values = protein[inside]
    return features + [
        *np.percentile(values, [5, 25, 50, 75, 90, 95, 99]),
        (protein > 0.3).mean(),
        (protein > 0.6).mean(),
    ]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of two samples, 0 where one does not vary."""
    if len(first) < 9 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _directions(protein, cell, um_per_px) -> list[float]:
    """Local and global alignment of the texture, from the structure tensor."""
    features = []
    for size in (0.6, 1.5):
        blurred = cv2.GaussianBlur(protein, (0, 0), max(0.5, 0.4 * size / um_per_px))
        across, along = cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
        parts = [cv2.GaussianBlur(part, (0, 0), 2 * size / um_per_px) for part in (across**2, along**2, across * along)]
        strength = parts[0] + parts[1] + 1e-6
        coherence = np.hypot(parts[0] - parts[1], 2 * parts[2]) / strength
        weight = strength * cell
        double = np.arctan2(2 * parts[2], parts[0] - parts[1])
        features.append((coherence * weight).sum() / weight.sum())
        features.append(np.abs((np.exp(1j * double) * coherence * weight).sum()) / weight.sum())
    return features
