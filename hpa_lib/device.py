"""Where the network runs and in which precision.

TensorFlow is named here, in ``models.norm`` and where weight files are read, and nowhere else.
"""

import contextlib
import os
import platform
import sys
from pathlib import Path

import keras

from hpa_lib import provenance

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # CPU flags: hardware for bfloat16 products


def setup(precision: str = "auto", seed: int = 0) -> dict:
    """Seed everything, choose the precision, and let the GPU's memory grow. Call it before a model is built.

    Args:
        precision: one of ``PRECISIONS``; ``auto`` takes bfloat16 where the hardware multiplies it (CPUs with
            AVX512_BF16 or AMX, GPUs from compute capability 8.0), float16 on older GPUs, else float32.
        seed: of Python, NumPy and the backend.

    Returns:
        A record for ``result.json``: backend, device, precision, GPUs, cores.

    Raises:
        ValueError: an unknown precision, or a Keras backend or image format that the models do not support.
    """
    _check_keras()
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    gpus = _gpus()
    chosen = _choose_precision(gpus) if precision == "auto" else precision
    keras.config.set_dtype_policy(chosen)
    keras.utils.set_random_seed(seed)
    return {
        "backend": keras.backend.backend(),
        "device": ", ".join(name for name, _ in gpus) if gpus else f"CPU, {os.cpu_count()} cores",
        "gpus": len(gpus),
        "precision": chosen,
    }


def _check_keras() -> None:
    """``plan.check_keras`` reads the same settings before a headless run; here Keras has them in force."""
    backend, data_format = keras.backend.backend(), keras.config.image_data_format()
    if backend not in ("tensorflow", "jax"):
        raise ValueError(f"the Keras backend '{backend}' is not supported: set KERAS_BACKEND to tensorflow or jax")
    if data_format != "channels_last":
        remedy = 'write "channels_last" into keras.json'
        raise ValueError(f"image_data_format '{data_format}' is not supported: {remedy}")


def _gpus() -> list[tuple[str, float]]:
    """Name and compute capability of each GPU that the backend sees."""
    if keras.backend.backend() == "jax":
        import jax

        found = [one for one in jax.devices() if one.platform == "gpu"]
        return [(one.device_kind, float(getattr(one, "compute_capability", 0) or 0)) for one in found]
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    for one in found:
        with contextlib.suppress(RuntimeError):  # too late once a model ran in this process: the first call counts
            tf.config.experimental.set_memory_growth(one, True)
    details = [tf.config.experimental.get_device_details(one) for one in found]
    return [(one.get("device_name", "GPU"), _number(one.get("compute_capability", (0, 0)))) for one in details]


def _number(capability: tuple[int, int]) -> float:
    return float(f"{capability[0]}.{capability[1]}")


def _choose_precision(gpus: list[tuple[str, float]]) -> str:
    if gpus:
        return "mixed_bfloat16" if min(capability for _, capability in gpus) >= 8 else "mixed_float16"
    flags = cpu_flags()
    return "mixed_bfloat16" if any(flag in flags for flag in FAST_BFLOAT16) else "float32"


def cpu_flags() -> set[str]:
    """The CPU's feature flags as Linux names them; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return set(next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "").split())


def scope():
    """The context to build and compile a model in: MirroredStrategy when TensorFlow sees several GPUs, else nothing."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if len(tf.config.list_logical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()


def peak_memory_mb() -> int | None:
    """The largest resident memory of this process so far, in MB (main memory, not the GPU's); None on Windows."""
    try:
        import resource  # Unix only
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB on Linux
    return largest // (2**20 if sys.platform == "darwin" else 2**10)


def versions() -> dict:
    """Versions that a result depends on, and the git commit of the code where there is one."""
    packages = ("hpa-kit", "keras", "tensorflow", "jax", "numpy", "imgaug", "opencv-python-headless")
    found = {package: version for package in packages if (version := provenance.version(package))}
    return {"python": platform.python_version(), **found, "commit": provenance.commit() or "unknown"}
