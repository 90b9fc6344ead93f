"""Model + images -> probabilities, with test-time augmentation. Keras ends here: NumPy from here on."""

import keras
import numpy as np

from hpa_lib.decisions import calibration
from hpa_lib.training import augment

TTA_MERGES = ("mean", "max")


def predict_logits(model: keras.Model, images: np.ndarray, rows: np.ndarray, batch_size: int = 64, turn: int = 0):
    """Logits float32 (M, 28) of ``images[rows]``, in the order of ``rows``.

    Args:
        model: uint8 (B, S, S, 4) in, logits (B, 28) out.
        images: uint8 (N, S, S, 4), an array or the memory-mapped cache; never read as a whole.
        rows: int (M,).
        batch_size: images per step.
        turn: which symmetry of the square to apply first, 0 (none) to 7; see ``augment.turn``.
    """
    logits = np.empty((len(rows), model.output_shape[-1]), np.float32)
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        batch = augment.turn(images[part], turn)
        padded = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(part), axis=0)])  # one shape, one graph
        logits[start : start + len(part)] = model.predict_on_batch(padded)[: len(part)]
    return logits


def predict_probs(model, images, rows, batch_size: int = 64, turns: int = 1, merge: str = "mean") -> np.ndarray:
    """Probabilities float32 (M, 28) of ``images[rows]``, in the order of ``rows``.

    Args:
        model, images, rows, batch_size: as in ``predict_logits``.
        turns: test-time augmentation over the first ``turns`` (1 to 8) symmetries of the square.
        merge: ``mean`` of the logits, or ``max`` (a structure seen in any turn counts).

    Raises:
        ValueError: ``turns`` or ``merge`` out of range.
    """
    if not 1 <= turns <= 8 or merge not in TTA_MERGES:
        raise ValueError(f"turns {turns}, merge {merge!r}: use 1 to 8 turns and one of {', '.join(TTA_MERGES)}")
    views = [predict_logits(model, images, rows, batch_size, turn) for turn in range(turns)]
    merged = np.mean(views, axis=0) if merge == "mean" else np.max(views, axis=0)
    return calibration.sigmoid(merged).astype(np.float32)
