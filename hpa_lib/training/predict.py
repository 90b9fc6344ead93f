"""Model + images -> probabilities, with test-time augmentation. Keras ends here: NumPy from here on."""

import contextlib
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np

from hpa_lib.data import checks, image_files, parallel
from hpa_lib.data.kaggle import Finding
from hpa_lib.decisions import calibration
from hpa_lib.training import augment


def predict_logits(model: keras.Model, images: np.ndarray, rows: np.ndarray, batch_size: int = 64, turn: int = 0):
    """Logits float32 (M, 28) of ``images[rows]``, in the order of ``rows``.

    Args:
        model: uint8 (B, S, S, 4) in, logits (B, 28) out.
        images: uint8 (N, S, S, 4), an array or the memory-mapped cache; never read as a whole.
        rows: int (M,).
        batch_size: images per step.
        turn: which symmetry of the square to apply first, 0 (none) to 7; see ``augment.turn``.
    """
    return _predict(model, images, rows, batch_size, turn)[0]


def _predict(model: keras.Model, images: np.ndarray, rows: np.ndarray, batch_size: int, turn: int) -> list[np.ndarray]:
    """Each output of the network, float32 (M, features)."""
    arrays = [np.empty((len(rows), output.shape[-1]), np.float32) for output in model.outputs]
    starts = range(0, len(rows), batch_size)
    for start in parallel.bar(starts, desc="predict", unit="batch", delay=2, leave=False):
        chunk = rows[start : start + batch_size]
        batch = augment.turn(images[chunk], turn)
        padded = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(chunk), axis=0)])  # one shape, one graph
        outputs = keras.tree.flatten(model.predict_on_batch(padded))
        for array, output in zip(arrays, outputs, strict=True):
            array[start : start + len(chunk)] = output[: len(chunk)]
    return arrays


def predict_probs(model: keras.Model, images: np.ndarray, rows: np.ndarray, turns: int = 1) -> np.ndarray:
    """Probabilities float32 (M, 28) of ``images[rows]``, in the order of ``rows``.

    Args:
        model, images, rows: as in ``predict_logits``.
        turns: test-time augmentation, the mean of the logits over the first ``turns`` (1 to 8) turns of the square.

    Raises:
        ValueError: ``turns`` out of range.
    """
    _check_turns(turns)
    return _average(predict_logits(model, images, rows), model, images, rows, turns)


def predict_embeddings(
    model: keras.Model, images: np.ndarray, rows: np.ndarray, turns: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """``predict_probs``, and from the same passes the network's embedding of each image.

    Args:
        model, images, rows, turns: as in ``predict_probs``.

    Returns:
        Probabilities float32 (M, 28) and the input of the layer ``logits``, float16 (M, F), of the unturned images.

    Raises: as ``predict_probs``.
    """
    _check_turns(turns)
    both = keras.Model(model.input, [model.output, model.get_layer("logits").input])
    unturned, embeddings = _predict(both, images, rows, 64, 0)
    return _average(unturned, model, images, rows, turns), embeddings.astype(np.float16)


def predict_folder(
    model: keras.Model, folder: Path, ids: list[str], turns: int = 1, absent: Iterable[str] = ()
) -> Iterator[tuple[list[str], np.ndarray, np.ndarray, list[Finding]]]:
    """Probabilities of a folder of channel files, read as training images are; memory does not grow with their number.

    Args:
        model: as in ``predict_logits``; images are reduced to its size.
        folder: holds ``<Id>_<colour>.png``.
        ids: from ``image_files.list_ids``.
        turns: as in ``predict_probs``.
        absent: channels that the folder lacks (``kaggle.list_absent_channels``).

    Yields:
        For some images at a time: the Ids of those that can be used, the images uint8 (B, S, S, 4), their
        probabilities float32 (B, 28), and the findings about all of them.
    """
    read = functools.partial(image_files.read_images, folder.parent, folder.name, model.input_shape[1], absent)
    chunks = [ids[start : start + checks.CHUNK] for start in range(0, len(ids), checks.CHUNK)]
    workers = min(parallel.count_cores(), 1 + len(ids) // checks.WORTH_A_PROCESS)
    bar = parallel.bar(total=len(ids), desc="predict", unit="image")
    with contextlib.closing(parallel.run(read, chunks, workers)) as results, bar:
        for chunk, (usable, images, findings) in zip(chunks, results, strict=True):
            yield usable, images, predict_probs(model, images, np.arange(len(usable)), turns), findings
            bar.update(len(chunk))


def _check_turns(turns: int) -> None:
    if not 1 <= turns <= 8:
        raise ValueError(f"turns {turns}: use 1 to 8 turns")


def _average(unturned: np.ndarray, model: keras.Model, images: np.ndarray, rows: np.ndarray, turns: int) -> np.ndarray:
    """The probabilities of ``predict_probs``, given the logits of the unturned images."""
    views = [unturned, *(predict_logits(model, images, rows, turn=turn) for turn in range(1, turns))]
    return calibration.sigmoid(np.mean(views, axis=0)).astype(np.float32)
