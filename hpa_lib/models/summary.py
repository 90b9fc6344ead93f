"""What a network is made of: its blocks, the branches inside a block, parameters and arithmetic. Read off the model."""

import math
import re
from collections import Counter

import keras
from keras import layers

from hpa_lib import models

POOLS = {
    layers.MaxPooling2D: "max pool",
    layers.AveragePooling2D: "average pool",
    layers.GlobalAveragePooling2D: "average of the map",
    layers.GlobalMaxPooling2D: "maximum of the map",
}


def count_flops(model: keras.Model) -> int:
    """Floating-point operations for one image forward: 2 per multiply-add, of convolutions and dense layers only.

    Normalisation, activations and pooling are left out, as the published counts do. A training step costs about three
    times as much.
    """
    return sum(_layer_flops(layer) for layer in model.layers)


def block_rows(model: keras.Model) -> list[dict]:
    """One row per block, from the input to the head, for tables and drawings.

    Returns:
        ``name``; ``kind`` (input, convolution, pooling, parallel, residual, dense, head); ``shape``, the output's
        (height, width, channels) or (features,); ``parameters``; ``flops`` for one image; ``layers``, such as
        ``"2 x conv 3x3"``.
    """
    return [
        {
            "name": name,
            "kind": _kind(name, members),
            "shape": tuple(members[-1].output.shape[1:]),
            "parameters": sum(layer.count_params() for layer in members),
            "flops": sum(_layer_flops(layer) for layer in members),
            "layers": _describe(members),
        }
        for name, members in _group(model).items()
    ]


def branches(model: keras.Model, block: str) -> list[list[str]]:
    """The branches that meet at the end of a block, each a list of layers in the order of the data.

    An empty list is a branch without layers: a residual block's plain shortcut. A block where nothing meets is one
    branch. ``block`` is a ``name`` of ``block_rows``; a ValueError for any other.
    """
    members = {layer.name: layer for layer in _group(model).get(block, [])}
    meeting = [layer for layer in members.values() if isinstance(layer, layers.Add | layers.Concatenate)]
    if not members:
        raise ValueError(f"{model.name} has no block {block!r}: use one of {', '.join(_group(model))}")
    ends = parents(meeting[0]) if meeting else list(members)[-1:]  # of a dense block the first of many meetings
    found = []
    for name in ends:
        chain = []
        while name in members and len(parents(members[name])) == 1:
            chain.append(_label(members[name]))
            name = parents(members[name])[0]
        found.append([label for label in reversed(chain) if label])
    return found


def _group(model: keras.Model) -> dict[str, list]:
    """The model's layers by block, in the order of the data."""
    blocks, waiting, name = {}, [], "input"
    for layer in model.layers:
        if isinstance(layer, layers.ZeroPadding2D):
            waiting.append(layer)  # a padding belongs to what follows
            continue
        name = _block_name(layer, name)
        blocks.setdefault(name, []).extend([*waiting, layer])
        waiting = []
    return blocks


def _block_name(layer, previous: str) -> str:
    if models.is_head(layer):
        return "head"
    parts = layer.name.split(".")
    if len(parts) > 1:
        return ".".join(parts[:2]) if parts[1].isdigit() else parts[0]
    known = re.match(r"(conv|pool)\d", layer.name)  # the names of keras.applications
    if known:
        return known.group()
    return layer.name if re.match(r"[A-Z]", layer.name) else previous  # Slim's endpoints start with a capital


def _kind(name: str, members: list) -> str:
    if name in ("input", "head"):
        return name
    if any(isinstance(layer, layers.Add) for layer in members):
        return "residual"
    meetings = sum(isinstance(layer, layers.Concatenate) for layer in members)
    if meetings:
        return "parallel" if meetings == 1 else "dense"
    is_convolution = any(isinstance(layer, layers.Conv2D | layers.SeparableConv2D) for layer in members)
    return "convolution" if is_convolution else "pooling"


def _layer_flops(layer) -> int:
    if isinstance(layer, layers.Dense):
        return 2 * layer.kernel.shape[0] * layer.kernel.shape[1]
    if isinstance(layer, layers.SeparableConv2D):
        weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    elif isinstance(layer, layers.Conv2D):
        weights = math.prod(layer.kernel.shape)
    else:
        return 0
    _, height, width, _ = layer.output.shape
    return 2 * weights * height * width  # each weight is used once at each pixel of the output


def _label(layer) -> str:
    """A layer in a few words; ``""`` for those that follow every convolution (BatchNorm, ReLU) or only pad."""
    if isinstance(layer, layers.Conv2D | layers.SeparableConv2D):
        kind = "separable conv" if isinstance(layer, layers.SeparableConv2D) else "conv"
        stride = f", stride {layer.strides[0]}" if layer.strides[0] > 1 else ""
        return f"{kind} {layer.kernel_size[0]}x{layer.kernel_size[1]}, {layer.output.shape[-1]}{stride}"
    if isinstance(layer, layers.Dense):
        return f"dense {layer.units}"
    return next((text for kind, text in POOLS.items() if isinstance(layer, kind)), "")


def _describe(members: list) -> str:
    """The labels of a block without their filters, counted: ``"4 x conv 1x1, max pool"``."""
    labels = [re.sub(r"(conv \dx\d), \d+", r"\1", label) for label in map(_label, members) if label]
    counted = Counter(labels).items()
    return "; ".join(f"{count} x {label}" if count > 1 else label for label, count in counted)


def parents(layer) -> list[str]:
    """The names of the layers that feed a layer."""
    return [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]
