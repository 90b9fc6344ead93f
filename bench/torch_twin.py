"""Any of our Keras networks as a PyTorch module: the same layers, the same weights, for a fair race on one machine."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Twin(nn.Module):
    """uint8 (N, 4, S, S), lying in memory as channels_last -> logits (N, 28); for ``channels="rgby"``.

    Args:
        model: a model of ``hpa_lib.models``, whose weights are copied.

    Raises:
        KeyError: the model has a layer of a kind that is not translated here.
    """

    def __init__(self, model):
        super().__init__()
        self.steps, self.parts = [], nn.ModuleDict()
        for layer in model.layers[1:]:
            name = layer.name.replace(".", "/")  # torch takes a dot for a child's name
            self.parts[name] = TRANSLATIONS[type(layer).__name__](layer)
            inputs = layer._inbound_nodes[0].input_tensors
            self.steps.append((name, [source._keras_history.operation.name.replace(".", "/") for source in inputs]))

    def forward(self, images):
        """Logits float32 or, under autocast, bfloat16."""
        maps = {"image": images}
        for name, sources in self.steps:
            maps[name] = self.parts[name](*(maps[source] for source in sources))
        return maps[self.steps[-1][0]]


class Call(nn.Module):
    """A function without weights."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        """What the function makes of its inputs."""
        return self.function(*inputs)


def _tensor(value) -> torch.Tensor:
    return torch.from_numpy(np.array(value))


def _pads(layer, side: int, stride: int) -> list[int]:
    """TensorFlow's "same" padding, left right top bottom: with a stride of 2 one more at the end."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    size = layer.input.shape[1]
    whole = max((-(-size // stride) - 1) * stride + side - size, 0)
    return [whole // 2, whole - whole // 2] * 2


def _conv(layer):
    kernel, stride = _tensor(layer.kernel).permute(3, 2, 0, 1), layer.strides[0]
    pads = _pads(layer, layer.kernel_size[0], stride)
    even = pads[0] == pads[1]
    conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], stride, pads[0] if even else 0)
    conv.weight.data = kernel.contiguous()
    conv.bias = nn.Parameter(_tensor(layer.bias)) if layer.use_bias else None
    steps = [conv] if even else [nn.ZeroPad2d(pads), conv]
    return nn.Sequential(*steps, nn.ReLU()) if layer.activation.__name__ == "relu" else nn.Sequential(*steps)


def _separable(layer):
    depthwise = _tensor(layer.depthwise_kernel).permute(2, 3, 0, 1).flatten(0, 1)[:, None]  # (I * M, 1, H, W)
    pointwise, stride = _tensor(layer.pointwise_kernel).permute(3, 2, 0, 1), layer.strides[0]
    first = nn.Conv2d(layer.input.shape[-1], len(depthwise), layer.kernel_size, stride, groups=layer.input.shape[-1])
    first.weight.data, first.bias = depthwise.contiguous(), None
    second = nn.Conv2d(pointwise.shape[1], pointwise.shape[0], 1)
    second.weight.data = pointwise.contiguous()
    second.bias = nn.Parameter(_tensor(layer.bias)) if layer.use_bias else None
    return nn.Sequential(nn.ZeroPad2d(_pads(layer, layer.kernel_size[0], stride)), first, second)


def _batch_norm(layer):
    shape = layer.moving_mean.shape[0]
    norm = (nn.BatchNorm2d if len(layer.input.shape) == 4 else nn.BatchNorm1d)(shape, layer.epsilon, 1 - layer.momentum)
    norm.weight.data = _tensor(layer.gamma) if layer.scale else torch.ones(shape)
    norm.bias.data = _tensor(layer.beta) if layer.center else torch.zeros(shape)
    norm.running_mean, norm.running_var = _tensor(layer.moving_mean), _tensor(layer.moving_variance)
    return norm


def _pool(function, padding, **options):
    def translate(layer):
        side, stride = layer.pool_size[0], layer.strides[0]
        pads = _pads(layer, side, stride)
        if pads[0] == pads[1]:
            return Call(lambda x: function(x, side, stride, pads[0], **options))
        return Call(lambda x: function(functional.pad(x, pads, value=padding), side, stride))

    return translate


def _dense(layer):
    dense = nn.Linear(*layer.kernel.shape)
    dense.weight.data, dense.bias.data = _tensor(layer.kernel).T.contiguous(), _tensor(layer.bias)
    return nn.Sequential(dense, nn.ReLU()) if layer.activation.__name__ == "relu" else dense


def _normalise(layer):
    scale = 1 / torch.tensor(layer.std)
    offset = (-torch.tensor(layer.mean) * scale)[:, None, None]
    scale = scale[:, None, None]
    return Call(lambda x: x * scale + offset)


TRANSLATIONS = {
    "Channels": lambda layer: Call(torch.Tensor.float),
    "Normalise": _normalise,
    "Conv2D": _conv,
    "SeparableConv2D": _separable,
    "BatchNorm": _batch_norm,
    "ReLU": lambda layer: nn.ReLU(),
    "MaxPooling2D": _pool(functional.max_pool2d, -torch.inf),
    "AveragePooling2D": _pool(functional.avg_pool2d, 0.0, count_include_pad=False),
    "ZeroPadding2D": lambda layer: nn.ZeroPad2d([*layer.padding[1], *layer.padding[0]]),
    "Dropout": lambda layer: nn.Dropout(layer.rate),
    "Concatenate": lambda layer: Call(lambda *maps: torch.cat(maps, 1)),
    "Add": lambda layer: Call(lambda first, other: first + other),
    "GlobalAveragePooling2D": lambda layer: Call(lambda x: x.mean((2, 3))),
    "Flatten": lambda layer: Call(lambda x: x.permute(0, 2, 3, 1).flatten(1)),
    "Dense": _dense,
}
