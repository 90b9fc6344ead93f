"""Where the network runs, in which precision, and the values that follow from it.

TensorFlow is named here, in ``models.layers``, in ``explain`` and where weight files are read, and nowhere else.
"""

import contextlib
from pathlib import Path

import keras

import hpa_lib
from hpa_lib.data import parallel

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # CPU flags: hardware for bfloat16 products
BFLOAT16_ON_CPU = {  # network -> the flags with which a step in bfloat16 is faster than in float32 (bench/training.py)
    "densenet": (),  # maps of 8 and 16 filters are too thin: three times slower with AMX, 1.3 with AVX512_BF16
    "resnet18": FAST_BFLOAT16,
    "inception_v2": FAST_BFLOAT16,
    "densenet121": FAST_BFLOAT16,  # as wide as ResNet18; not measured
}
FROM_SCRATCH = {  # peak learning rate and, on a CPU, images per step; see ``resolve``
    "densenet": {"learning_rate": 5e-3, "batch_size": 16},
    "resnet18": {"learning_rate": 2e-3, "batch_size": 32},
    "inception_v2": {"learning_rate": 2e-3, "batch_size": 32},
    "densenet121": {"learning_rate": 2e-3, "batch_size": 32},
}


def setup(precision: str = "auto", seed: int = 0, model: str = "") -> dict:
    """Seed everything, choose the precision, and let the GPU's memory grow. Call it before a model is built.

    Args:
        precision: one of ``PRECISIONS``; ``auto`` takes bfloat16 on GPUs from compute capability 8.0 and float16 on
            older ones; on a CPU bfloat16 where ``BFLOAT16_ON_CPU`` says so for this network, else float32. It never
            measures, so that a resumed run chooses the same.
        seed: of Python, NumPy and the backend.
        model: the network's name in ``models.MODELS``; one that is not in the table gets float32 on a CPU.

    Returns:
        A record for ``result.json``: ``backend``, ``device``, ``gpus`` (how many) and ``precision``.

    Raises:
        ValueError: an unknown precision, or a Keras backend or image format that the models do not support.
    """
    _check_keras()
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    gpus = _gpus()
    chosen = _choose_precision(gpus, model) if precision == "auto" else precision
    keras.config.set_dtype_policy(chosen)
    keras.utils.set_random_seed(seed)
    return {
        "backend": keras.backend.backend(),
        "device": ", ".join(name for name, _ in gpus) if gpus else f"CPU, {parallel.count_cores()} cores",
        "gpus": len(gpus),
        "precision": chosen,
    }


def resolve(
    model: str,
    origin: str,
    hardware: dict,
    *,
    learning_rate: float = 0.0,
    batch_size: int = 0,
    workers: int = 0,
    jit: str = "auto",
) -> dict:
    """What learning rate, batch size, workers and XLA come to: a value that is given, else one by this rule.

    - learning rate: ``FROM_SCRATCH`` of the network, a tenth of it with pretrained weights;
    - batch size: ``FROM_SCRATCH`` of the network on a CPU, 64 on a GPU;
    - workers: 2 on a CPU, where they compete with the step; on a GPU one per core that is lent, 2 to 16;
    - XLA: on a GPU, and always with JAX, which is slow without; TensorFlow's convolutions on a CPU are slower with it.

    Args:
        model: the network's name in ``models.MODELS``.
        origin: ``weights`` in the record of ``models.weights.start``, such as ``"from scratch"``.
        hardware: the record of ``device.setup``.
        learning_rate, batch_size, workers: 0 for the rule.
        jit: ``auto``, ``on`` or ``off``.

    Returns:
        ``learning_rate``, ``batch_size``, ``workers`` and ``jit_compile``. The first two belong in ``settings``.

    Raises:
        ValueError: an unknown network, an unknown ``jit``, or a negative number.
    """
    if model not in FROM_SCRATCH or jit not in ("auto", "on", "off"):
        raise ValueError(f"model {model!r}, JIT {jit!r}: use one of {', '.join(FROM_SCRATCH)} and auto, on or off")
    if min(learning_rate, batch_size, workers) < 0:
        raise ValueError(f"learning rate {learning_rate}, batch size {batch_size}, workers {workers}: 0 or more each")
    scratch, on_gpu = FROM_SCRATCH[model], hardware["gpus"] > 0
    tenth = 1.0 if origin == "from scratch" else 0.1
    return {
        "learning_rate": learning_rate or scratch["learning_rate"] * tenth,
        "batch_size": batch_size or (64 if on_gpu else scratch["batch_size"]),
        "workers": workers or (min(max(parallel.count_cores(), 2), 16) if on_gpu else 2),
        "jit_compile": on_gpu or hardware["backend"] == "jax" if jit == "auto" else jit == "on",
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

        found = [gpu for gpu in jax.devices() if gpu.platform == "gpu"]
        return [(gpu.device_kind, float(getattr(gpu, "compute_capability", 0) or 0)) for gpu in found]
    import tensorflow as tf

    with hpa_lib.without_startup_lines():
        found = tf.config.list_physical_devices("GPU")
    for gpu in found:
        with contextlib.suppress(RuntimeError):  # too late once a model ran in this process: the first call counts
            tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in found]
    return [
        (gpu.get("device_name", "GPU"), float("{}.{}".format(*gpu.get("compute_capability", (0, 0)))))
        for gpu in details
    ]


def _choose_precision(gpus: list[tuple[str, float]], model: str) -> str:
    if gpus:
        return "mixed_bfloat16" if min(capability for _, capability in gpus) >= 8 else "mixed_float16"
    flags = cpu_flags()
    return "mixed_bfloat16" if flags.intersection(BFLOAT16_ON_CPU.get(model, ())) else "float32"


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
