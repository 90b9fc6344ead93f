"""What in an image speaks for a label: Grad-CAM, occlusion as its check, and how much of them is on the true structure.

A map is float32 (S, S), not negative, and its sum is 1; where nothing speaks for the label it is 0 everywhere.
TensorFlow and JAX are named here for the gradient alone.
"""

import functools

import keras
import numpy as np
import pandas as pd
from keras import ops
from scipy import stats

from hpa_lib import atlas
from hpa_lib.models import summary
from hpa_lib.training import predict

BATCH = 64  # images per step
COPIES = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D, keras.layers.ZeroPadding2D, keras.layers.Dropout)


def grad_cam(model: keras.Model, images: np.ndarray, labels: np.ndarray | int, side: int = 1) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017): the last feature maps, weighted by how a label's logit depends on them.

    Each map is weighted with the logit's mean gradient over its pixels; the sum, cut at 0, is enlarged to the image.
    The very last maps are coarse, 3 x 3 for 96 pixels in ResNet18, and say little about where something is.

    Args:
        model: one of ``models.MODELS``, or any network from images over feature maps to logits.
        images: uint8 (N, S, S, 4).
        labels: int (N,), or one for all images.
        side: pixels that the feature maps have at least; the last such maps are taken, so 1 means the very last.

    Returns:
        Maps, float32 (N, S, S).

    Raises:
        ValueError: a label that the network does not have, or no feature map of this side.
    """
    labels, (backbone, head) = _check(model, images, labels), _split(model, side)
    maps = np.empty(images.shape[:3], np.float32)
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        found = backbone(images[part], training=False)
        weights = ops.mean(_gradient(head, found, labels[part]), axis=(1, 2), keepdims=True)  # (B, 1, 1, K)
        evidence = ops.relu(ops.sum(ops.cast(found * weights, "float32"), axis=-1, keepdims=True))
        maps[part] = ops.convert_to_numpy(ops.image.resize(evidence, images.shape[1:3]))[..., 0]
    return _scale(maps)


def fine_grad_cam(model: keras.Model, images: np.ndarray, labels: np.ndarray | int) -> np.ndarray:
    """``grad_cam`` with the last feature maps that have an eighth of the image's side at least."""
    return grad_cam(model, images, labels, side=images.shape[1] // 8)


def occlusion(
    model: keras.Model, images: np.ndarray, labels: np.ndarray | int, window: int, stride: int | None = None
) -> np.ndarray:
    """Occlusion (Zeiler & Fergus 2014): how far a label's logit drops when a square of the image is covered.

    The square is filled with the image's median of each channel, which is what most of the image looks like; a fixed
    grey would be a structure of its own in dark images. A pixel gets the mean drop over the squares that cover it, cut
    at 0. This needs no gradient, so it can check Grad-CAM.

    Args:
        model, images, labels: as in ``grad_cam``.
        window: pixels, the side of the square.
        stride: pixels from one square to the next; None for half a window.

    Returns:
        Maps, float32 (N, S, S).

    Raises:
        ValueError: a label that the network does not have, or squares that leave gaps or are larger than the image.
    """
    labels, size = _check(model, images, labels), images.shape[1]
    stride = max(window // 2, 1) if stride is None else stride
    if not 1 <= stride <= window <= size:
        raise ValueError(f"window {window}, stride {stride}: use 1 <= stride <= window <= {size} pixels")
    edges = [*range(0, size - window, stride), size - window]
    squares = [np.s_[top : top + window, left : left + window] for top in edges for left in edges]
    fills = np.median(images, axis=(1, 2)).astype(np.uint8)  # (N, 4)
    drops, covers = np.zeros(images.shape[:3], np.float32), np.zeros((size, size), np.float32)
    for square in squares:
        covers[square] += 1
    for row, image in enumerate(images):
        covered = np.repeat(image[None], 1 + len(squares), axis=0)  # the first stays whole
        for copy, square in zip(covered[1:], squares, strict=True):
            copy[square] = fills[row]
        logits = predict.predict_logits(model, covered, np.arange(len(covered)), min(len(covered), BATCH))
        for square, logit in zip(squares, logits[1:, labels[row]], strict=True):
            drops[row][square] += logits[0, labels[row]] - logit
    return _scale(np.maximum(drops / covers, 0))


METHODS = {  # what ``localise`` judges: name -> function of model, images and labels
    "Grad-CAM": grad_cam,
    "Grad-CAM, finer maps": fine_grad_cam,
    "occlusion": lambda model, images, labels: occlusion(model, images, labels, *[max(images.shape[1] // 6, 1)] * 2),
}


def localise(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, masks: np.ndarray, covered: int = 8, seed: int = 1000
) -> pd.DataFrame:
    """How much of the explanations is on the true structure, per class and method, against two controls.

    The mass of a map is its sum over the mask. By chance it would be the mask's share of the image, and a map without
    evidence counts as that. The other control is the same network with random weights, drawn once: what its maps reach
    is owed to the layers, not to training (Adebayo et al. 2018). Intervals are Student's, 95 % over the fields, so few
    fields give wide ones; of 28 classes about one passes either control by luck.

    Args:
        model: the trained network.
        images: uint8 (N, S, S, 4), several fields of each class.
        labels: int (N,), the class that is explained in each field.
        masks: bool (N, S, S), where that class's structure is.
        covered: fields of each class for occlusion, which takes about 40 predictions per field.
        seed: of the random weights, one that no run started from; it seeds Keras, NumPy and Python as a whole.

    Returns:
        One row per class and method: ``label``, ``name``, ``method``, ``images`` (how many); ``chance``; with ``_low``
        and ``_high`` each ``mass``, ``random`` and the paired ``over_random`` and ``over_chance``; ``verdict``.

    Raises:
        ValueError: ``covered`` is not 1 or more.
    """
    if covered < 1:
        raise ValueError(f"covered {covered}: use at least 1 field per class")
    labels = _check(model, images, labels)
    keras.utils.set_random_seed(seed)
    untrained = keras.models.clone_model(model)
    first = np.concatenate([np.flatnonzero(labels == label)[:covered] for label in np.unique(labels)])
    rows = []
    for method, explain in METHODS.items():
        chosen = first if method == "occlusion" else np.arange(len(images))
        both = (explain(network, images[chosen], labels[chosen]) for network in (model, untrained))
        mass, random = (_mass(maps, masks[chosen]) for maps in both)
        chance = masks[chosen].mean(axis=(1, 2))
        values = {"mass": mass, "random": random, "chance": chance}
        values = pd.DataFrame(values | {"over_random": mass - random, "over_chance": mass - chance})
        for label in np.unique(labels):
            title = {"label": int(label), "name": atlas.LABELS[label], "method": method}
            rows.append(title | _summarise(values[labels[chosen] == label]))
    return pd.DataFrame(rows)


def _summarise(values: pd.DataFrame) -> dict:
    """Means over the fields of one class with their intervals, and what they come to."""
    row = {"images": len(values), "chance": values["chance"].mean()}
    half = (stats.t.ppf(0.975, len(values) - 1) * values.sem()).fillna(1)  # of one field nothing is known
    for name, smallest in {"mass": 0, "random": 0, "over_random": -1, "over_chance": -1}.items():
        mean = values[name].mean()
        row |= {name: mean, f"{name}_low": max(mean - half[name], smallest), f"{name}_high": min(mean + half[name], 1)}
    if row["over_chance_low"] <= 0:
        return row | {"verdict": "not told from chance"}
    return row | {"verdict": "on the structure" if row["over_random_low"] > 0 else "not told from a random network"}


def _mass(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each map (N, S, S) that is on its mask, float64 (N,); of a map without evidence the mask's area."""
    totals, on_masks = (part.sum(axis=(1, 2), dtype=float) for part in (maps, maps * masks))
    return np.divide(on_masks, totals, out=masks.mean(axis=(1, 2)), where=totals > 0)


def _check(model: keras.Model, images: np.ndarray, labels: np.ndarray | int) -> np.ndarray:
    """The label of each image, int (N,)."""
    labels, known = np.broadcast_to(labels, len(images)), model.output_shape[-1]
    if not np.isin(labels, np.arange(known)).all():
        raise ValueError(f"labels {labels.min()}..{labels.max()}: the network has 0..{known - 1}")
    return labels


@functools.lru_cache(maxsize=4)
def _split(model: keras.Model, side: int) -> tuple[keras.Model, keras.Model]:
    """The network up to its last feature map of at least this side, and the rest; they share its weights."""
    features = _last_feature_map(model, side)
    return keras.Model(model.inputs[0], features), keras.Model(features, model.outputs[0])


def _last_feature_map(model: keras.Model, side: int):
    """The last tensor (N, H, W, K) of at least this side that all later layers need and that is no copy of another."""
    numbers = {layer.name: number for number, layer in enumerate(model.layers)}
    earliest = len(numbers)  # the first layer that a later one reads: nothing may lead past the map
    for layer in reversed(model.layers):
        is_map = len(layer.output.shape) == 4 and layer.output.shape[1] >= side and not isinstance(layer, COPIES)
        if is_map and numbers[layer.name] <= earliest:
            return layer.output
        earliest = min([earliest, *(numbers[name] for name in summary.parents(layer))])
    raise ValueError(f"side {side}: {model.name} has no feature map of so many pixels")


def _gradient(head: keras.Model, features, labels: np.ndarray):
    """The gradient of each image's logit of its label with respect to its features, (B, H, W, K)."""

    def evidence(features):
        logits = head(features, training=False)
        return ops.sum(ops.take_along_axis(logits, ops.convert_to_tensor(labels[:, None]), axis=1))  # images do not mix

    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(evidence)(features)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(features)
        total = evidence(features)
    return tape.gradient(total, features)


def _scale(maps: np.ndarray) -> np.ndarray:
    """The maps (N, S, S), each divided by its sum; empty ones stay."""
    totals = maps.sum(axis=(1, 2), keepdims=True, dtype=float)
    return (maps / np.where(totals > 0, totals, 1)).astype(np.float32)
