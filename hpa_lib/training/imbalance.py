"""Class weights and sampling weights from label counts: how much more a rare class counts."""

import numpy as np

SCHEMES = ("none", "inverse", "sqrt", "effective")


def class_weights(counts: np.ndarray, scheme: str = "sqrt", cap: float = 12.0, beta: float = 0.999) -> np.ndarray:
    """One weight per class, 1 for the most common one and larger for rarer ones.

    ``none`` gives 1 to all; ``inverse`` gives ``n_max / n``; ``sqrt`` its square root; ``effective`` the inverse of
    the effective number of samples ``(1 - beta^n) / (1 - beta)`` (Cui et al. 2019, "Class-Balanced Loss Based on
    Effective Number of Samples", eq. 2), scaled in the same way. Weights above ``cap`` are cut to it: 12,885 : 11
    would otherwise let each Rods & rings image count 1,171 times.

    Args:
        counts: int (C,), images of each class in the training part; 0 counts as 1.
        scheme: one of ``SCHEMES``, or C numbers separated by commas (hand-set weights, taken as they are).
        cap: largest weight, at least 1.
        beta: of the effective number, in [0, 1).

    Returns:
        float32 (C,). ``losses`` says what a weight does in each loss.

    Raises:
        ValueError: an unknown scheme, a negative count, or hand-set weights that are not C positive numbers.
    """
    counts = np.asarray(counts, float)
    if counts.ndim != 1 or (counts < 0).any():
        raise ValueError(f"counts {counts.tolist()}: give each class a number >= 0")
    if "," in scheme:
        return _hand_set(scheme, len(counts))
    if scheme not in SCHEMES:
        raise ValueError(f"class weight scheme {scheme!r}: use one of {', '.join(SCHEMES)}, or one number per class")
    counts = np.maximum(counts, 1)
    rarity = counts.max() / counts
    if scheme == "none":
        rarity = np.ones_like(counts)
    elif scheme == "sqrt":
        rarity = np.sqrt(rarity)
    elif scheme == "effective":
        effective = (1 - beta**counts) / (1 - beta)
        rarity = effective.max() / effective
    return np.minimum(rarity, max(cap, 1.0)).astype(np.float32)


def _hand_set(text: str, num_classes: int) -> np.ndarray:
    try:
        weights = np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError:
        weights = np.zeros(0, np.float32)
    if len(weights) != num_classes or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"hand-set class weights {text!r}: write {num_classes} positive numbers separated by commas")
    return weights


def sampling_weights(labels: np.ndarray, power: float = 0.5, cap: float = 12.0) -> np.ndarray:
    """How often to draw each image, relative to an image of common classes only: led by its rarest label.

    Args:
        labels: uint8 (N, C).
        power: 0 draws all alike, 1 draws every class's images equally often (before the cap).
        cap: largest ratio between two images.

    Returns:
        float64 (N,), summing to 1: the probabilities of a draw with replacement.
    """
    labels = np.asarray(labels)
    counts = np.maximum(labels.sum(axis=0), 1)
    rarity = np.minimum((counts.max() / counts) ** power, cap)
    rarest = np.where(labels > 0, rarity, 1.0).max(axis=1)  # (N, C) -> (N,)
    return rarest / rarest.sum()


def describe_sampling(sampling: np.ndarray | None) -> str:
    """What one epoch draws, in one sentence; ``sampling`` from ``sampling_weights``, or None for each image once."""
    if sampling is None:
        return "An epoch goes through every training image once, in a new order."
    count = len(sampling)
    different = (1 - (1 - sampling) ** count).sum()
    times = f"from {count * sampling.min():.2g} to {count * sampling.max():.2g} times"
    return f"An epoch draws {count} times with replacement: about {different:.0f} images, each {times} on average."


def prior_logits(labels: np.ndarray, class_weights: np.ndarray) -> np.ndarray:
    """The logits of a model that knows nothing but how common each class is: where a fresh network should start.

    From zero, the first epochs only teach 28 times "this is rare" (Lin et al. 2017, "Focal Loss for Dense Object
    Detection", section 3.3). With weights it is the frequency that the weighted loss believes in.

    Args:
        labels: (N, C) multi-hot, of the training part.
        class_weights: float (C,), from ``class_weights``.

    Returns:
        float32 (C,).
    """
    present = class_weights * np.maximum(np.asarray(labels).sum(axis=0, dtype=float), 0.5)
    absent = np.maximum((1 - np.asarray(labels, float)).sum(axis=0), 0.5)
    return np.log(present / absent).astype(np.float32)
