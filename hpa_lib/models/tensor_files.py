"""Reading public weight files: a dict of NumPy arrays by name. Nothing that could run code is ever opened.

A PyTorch ``.pth``, ``.pt`` or ``.bin`` is a pickle, and unpickling runs whatever its author wrote into it: refused.
"""

import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

PICKLES = (".pth", ".pt", ".bin", ".pkl", ".pickle", ".npy", ".npz")
ARCHIVES = (".tar.gz", ".tgz")


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of a weight file, by name.

    Args:
        path: a ``.safetensors`` file; a TensorFlow checkpoint (one ``.ckpt`` file, or the prefix of ``.index`` and
            ``.data-...`` files); or a ``.tar.gz`` with one ``.ckpt`` file in it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle, a truncated or damaged file, or an archive without a checkpoint.
        ImportError: a TensorFlow checkpoint where TensorFlow is not installed.
    """
    path = Path(path)
    if path.suffix in PICKLES:
        raise ValueError(f"{path} may hold a pickle, which can run code when read: convert it to .safetensors first")
    if not path.is_file() and not path.with_name(f"{path.name}.index").is_file():
        raise FileNotFoundError(f"no weight file {path}: `hpa weights` says what is present and how to get the rest")
    if path.suffix == ".safetensors":
        try:
            return safetensors.numpy.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise ValueError(f"{path} is truncated or no safetensors file ({error}): fetch it again") from error
    if path.name.endswith(ARCHIVES):
        with tempfile.TemporaryDirectory() as folder:
            return _read_checkpoint(_unpack(path, Path(folder)))
    return _read_checkpoint(path)


def _read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    try:
        import tensorflow as tf  # the one reader of this format; nothing else in models needs TensorFlow
    except ImportError as error:
        raise ImportError(f"{path} is a TensorFlow checkpoint: install tensorflow to read it") from error
    try:
        reader = tf.train.load_checkpoint(str(path))
        return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is truncated or no TensorFlow checkpoint ({reason}): fetch it again") from error


def _unpack(archive: Path, folder: Path) -> Path:
    """The one ``.ckpt`` file of an archive, written into ``folder``; nothing else in it is unpacked."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            found = [member for member in tar if member.isfile() and member.name.endswith(".ckpt")]
            if len(found) != 1:
                raise ValueError(f"{archive} holds {len(found)} .ckpt files: expected one")
            target = folder / "model.ckpt"  # our own name: the archive does not choose where it writes
            with target.open("wb") as file:
                shutil.copyfileobj(tar.extractfile(found[0]), file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} is truncated or no tar.gz archive ({error}): fetch it again") from error
    return target
