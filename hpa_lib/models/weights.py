"""ImageNet weights: where they are stored, how they are fetched, and how our layers are filled with them."""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from hpa_lib import paths, store
from hpa_lib.models import inception_v2, layers, resnet18, tensor_files

FOLDER = paths.PROJECT / "data" / "weights"
TIMEOUT = 30  # seconds without an answer
NETWORKS = {"resnet18": resnet18, "inception_v2": inception_v2}  # those with files of tensors
SOURCES = {  # model -> files looked for, in this order; the first is what a download is stored as
    "resnet18": {
        "files": ("resnet18.a1_in1k.safetensors", "resnet18.safetensors"),
        "hub": ("timm/resnet18.a1_in1k", "model.safetensors"),
    },
    "inception_v2": {
        "files": ("inception_v2_2016_08_28.tar.gz", "inception_v2.ckpt"),
        "address": "https://storage.googleapis.com/download.tensorflow.org/models/inception_v2_2016_08_28.tar.gz",
    },
    "densenet121": {
        "files": ("densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",),
        "address": "https://storage.googleapis.com/tensorflow/keras-applications/densenet/"
        "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "checksum": "md5:30ee3e1110167f948a6b9946edeeb738",  # as Keras itself checks it
    },
}


def folder() -> Path:
    """The weights folder: the environment variable ``HPA_WEIGHTS``, else the project's ``data/weights``."""
    return Path(os.environ.get("HPA_WEIGHTS") or FOLDER).expanduser().resolve()


def find(name: str, path: str | Path = "", online: bool | None = None) -> Path | None:
    """The local weight file of a model, or None where there is none and none may be fetched.

    The first that exists wins: ``path``, a file in ``HPA_WEIGHTS``, one in the project's ``data/weights``, a download
    into the weights folder when that is allowed.

    Args:
        name: a key of ``models.MODELS``; the study's ``densenet`` has no public weights, so None.
        path: a weight file of your own, or ``""``.
        online: may the public file be downloaded; None asks the environment variable ``HPA_ONLINE`` (``1`` = yes), so
            that no run depends on a network by accident.

    Raises:
        FileNotFoundError: ``path`` is given and is not there.
        ValueError: a found or downloaded file has a wrong checksum.
        ConnectionError: downloading is allowed and failed.
    """
    if path:
        path = Path(path).expanduser().resolve()
        if not path.is_file() and not path.with_name(f"{path.name}.index").is_file():
            raise FileNotFoundError(f"no weight file {path} for {name}: leave the path empty to search, or correct it")
        return path
    if name not in SOURCES:
        return None
    files = [place / file_name for place in (folder(), FOLDER) for file_name in SOURCES[name]["files"]]
    found = next((file for file in files if file.is_file()), None)
    online = os.environ.get("HPA_ONLINE") == "1" if online is None else online
    return download(name) if online and not found else found


def download(name: str) -> Path:
    """Fetch a model's public weights into the weights folder, whole and checked, and return the file.

    Raises:
        ValueError: the model has no public weights, or the file is not the right one.
        ConnectionError: the address cannot be reached, or the download broke off.
    """
    if name not in SOURCES:
        raise ValueError(f"model {name!r} has no public weights: use one of {', '.join(SOURCES)}")
    source = SOURCES[name]
    target = folder() / source["files"][0]
    if "hub" in source:
        return _fetch_from_hub(*source["hub"], target, name)
    return _fetch(source["address"], target, source.get("checksum", ""), name)


def _fetch(address: str, target: Path, checksum: str, name: str) -> Path:
    def write(path: Path) -> None:
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT) as response, path.open("wb") as file:
                shutil.copyfileobj(response, file)
                expected = int(response.headers.get("Content-Length") or path.stat().st_size)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise ConnectionError(f"{address} cannot be downloaded ({error}): fetch it by hand to {target}") from error
        if path.stat().st_size != expected:
            raise ConnectionError(f"{address} broke off after {path.stat().st_size} of {expected} bytes: try again")

    return _place(target, write, checksum, name)


def _fetch_from_hub(repository: str, file_name: str, target: Path, name: str) -> Path:
    """Download one file of a Hugging Face repository, held against the hub's own SHA-256."""
    import huggingface_hub  # slow to import, and needed only here

    try:
        address = huggingface_hub.hf_hub_url(repository, file_name)
        checksum = huggingface_hub.get_hf_file_metadata(address, timeout=TIMEOUT).etag or ""
        cached = huggingface_hub.hf_hub_download(repository, file_name)
    except Exception as error:  # the hub's client raises its own, requests' and httpx' errors
        raise ConnectionError(f"{repository} cannot be fetched from the hub ({error}): copy it to {target}") from error
    known = f"sha256:{checksum}" if len(checksum) == 64 else ""  # large files carry their SHA-256 as the etag
    return _place(target, lambda path: shutil.copyfile(cached, path), known, name)


def _place(target: Path, write: Callable[[Path], object], checksum: str, name: str) -> Path:
    """The file that ``write`` makes, if its checksum (``"md5:..."``) is right or, without one, it fills the model."""

    def write_checked(path: Path) -> None:
        write(path)
        if not checksum:
            load(NETWORKS[name].build(image_size=96, channels="rgb"), path)
            return
        algorithm, _, expected = checksum.partition(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            raise ValueError(f"the file for {target} has {algorithm} {found}, not {expected}: fetch it again")

    return store.write_atomic(target, write_checked)


def status() -> list[dict[str, str]]:
    """One row per model: ``model``, ``file`` looked for, ``present`` (yes/no), ``path``, ``how`` to get it."""
    rows = [{"model": "densenet", "file": "-", "present": "-", "path": "", "how": "always trained from scratch"}]
    for name, source in SOURCES.items():
        found = find(name, online=False)
        origin = f"hub {source['hub'][0]}, file {source['hub'][1]}" if "hub" in source else source["address"]
        how = "nothing to do" if found else f"hpa weights --fetch {name}, or put it into {folder()}; from {origin}"
        row = {"model": name, "file": source["files"][0], "present": "yes" if found else "no"}
        rows.append(row | {"path": str(found or ""), "how": how})
    return rows


def start(model: keras.Model, pretrained: bool = True, path: str | Path = "") -> dict:
    """Give a fresh model its first weights, and get the record of what it really got, for the run and the report.

    Args:
        pretrained: look for ImageNet weights; False trains from scratch on purpose.
        path: a weight file of your own, or ``""`` to search as ``find`` does.

    Returns:
        ``weights`` (``"ImageNet"``, ``"own file"`` where ``path`` was given, or ``"from scratch"``), ``file``,
        ``unused`` (tensor names) and ``message``, a line to print; where pretraining was wanted and is missing it
        starts with ``NO PRETRAINED WEIGHTS``.

    Raises:
        ValueError: ``path`` is given for a model that takes no weight file.
    """
    scratch = {"weights": "from scratch", "file": "", "unused": []}
    if not pretrained:
        return {**scratch, "message": f"{model.name} starts from random weights, as asked."}
    if model.name not in SOURCES and path:
        raise ValueError(f"{model.name} takes no weight file, but WEIGHTS names {path}: leave it empty")
    if model.name not in SOURCES:
        return {**scratch, "message": f"{model.name} has no public weights: it starts from random weights."}
    try:
        found, reason = find(model.name, path), "not found"
    except ConnectionError as error:
        found, reason = None, str(error)
    if found is None:
        text = f"NO PRETRAINED WEIGHTS for {model.name} ({reason}): training FROM SCRATCH, expect a lower score. "
        return {**scratch, "message": f"{text}`hpa weights --fetch {model.name}` gets them."}
    unused = load(model, found)
    origin = "own file" if path else "ImageNet"  # we do not know what a user's file was trained on
    kind = "weights" if path else "ImageNet weights"
    message = f"{model.name} starts from the {kind} in {found.name}; {len(unused)} tensors not used."
    if model.name == "inception_v2":
        message += f" Its stem came with {inception_v2.stem_kind(tensor_files.read(found))}."
    return {"weights": origin, "file": str(found), "unused": unused, "message": message}


def load(model: keras.Model, path: str | Path) -> list[str]:
    """Fill a model of the file's width (1 for the public weights) from a weight file: all of it, or nothing.

    The model's name says which network it is:

    - ``resnet18``: a timm or torchvision ``.safetensors``.
    - ``inception_v2``: a TF-Slim ``.ckpt``, a ``.tar.gz`` that holds one, or a ``.safetensors`` with the same names. A
      stem of the other kind than the model's is converted, exactly for inference: a BatchNorm is folded into filters
      and biases; biases become the shift of a BatchNorm whose averages are 0 and 1.
    - ``densenet121``: the ``..._notop.h5`` file of Keras; the model's own head stays as it is.

    The file's classifier fills the last layer when it has as many outputs; else it is named as unused. A 4-channel
    stem takes its yellow filters from red and green (``layers.inflate``).

    Returns:
        The sorted names of the unused tensors.

    Raises:
        FileNotFoundError, ValueError: no file, a damaged one, a missing tensor or one of another shape.
    """
    if model.name == "densenet121":
        return _load_densenet121(model, Path(path))
    tensors = tensor_files.read(path)
    return _fill(NETWORKS[model.name].match_tensors(model, tensors), tensors, path)


def _load_densenet121(model: keras.Model, path: Path) -> list[str]:
    """Keras itself reads the file, into a 3-channel twin; it refuses one with more tensors, so none is unused."""
    if not path.is_file():
        raise FileNotFoundError(f"no weight file {path}: `hpa weights` says how to get it")
    twin = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(32, 32, 3))
    try:
        twin.load_weights(str(path))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is truncated or no DenseNet121 notop file ({error}): fetch it again") from error
    for layer in twin.layers:
        values = layer.get_weights()
        if layer.name == "conv1_conv":
            values = [layers.inflate(values[0], model.get_layer(layer.name).kernel.shape[2])]
        if values:
            model.get_layer(layer.name).set_weights(values)
    return []


def _fill(rows: list[tuple], tensors: dict[str, np.ndarray], path) -> list[str]:
    """Assign the rows of ``match_tensors``, all or none; returns the names of the unused tensors."""
    used = {name for _, names, _ in rows for name in names}
    missing = sorted(used - set(tensors))
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} tensors, first {missing[0]!r}: it belongs to another network")
    values = []
    for variable, names, convert in rows:
        given = [tensors[name] for name in names]
        shapes = f"tensor {names[0]!r} has shape {given[0].shape}, the model's {variable.path} {tuple(variable.shape)}"
        try:
            value = np.asarray(convert(*given), "float32")
        except ValueError as error:
            raise ValueError(f"{path}: {shapes}, and cannot be converted ({error}): wrong file or width") from error
        if value.shape != tuple(variable.shape):
            raise ValueError(f"{path}: {shapes}: build the model with the file's width and channels")
        values.append((variable, value))
    for variable, value in values:
        variable.assign(value)
    return sorted(set(tensors) - used)
