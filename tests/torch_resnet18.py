"""ResNet18 in PyTorch, written from the paper with torchvision's names: the independent reference of our Keras one.

``python tests/torch_resnet18.py`` writes the narrow fixture in ``tests/fixtures/resnet18_narrow`` anew.
"""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FIXTURE = Path(__file__).parent / "fixtures" / "resnet18_narrow"
NARROW = (8, 8, 16, 32)  # filters of the four stages at width 1/16, 8 at least


class BasicBlock(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = None
        if stride != 1 or channels != filters:
            conv = nn.Conv2d(channels, filters, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(filters))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(nn.Module):
    def __init__(self, filters=(64, 128, 256, 512), num_labels=1000, channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(filters[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = filters[0]
        for stage, (count, stride) in enumerate(zip(filters, (1, 2, 2, 2), strict=True), start=1):
            blocks = nn.Sequential(BasicBlock(before, count, stride), BasicBlock(count, count, 1))
            setattr(self, f"layer{stage}", blocks)
            before = count
        self.fc = nn.Linear(filters[3], num_labels)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def random_network(seed=0, **options):
    """A network in evaluation mode whose BatchNorms are far from the identity."""
    torch.manual_seed(seed)
    network = ResNet18(**options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.3, 0.3)
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
    return network


def logits_of(network, images):
    """Logits (N, L) of uint8 (N, S, S, 3) images, normalised as ImageNet networks want them."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        return network((pixels - mean) / std).numpy()


def write_fixture(folder=FIXTURE):
    network = random_network(filters=NARROW, num_labels=28)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(network.state_dict(), folder / "resnet18.safetensors")
    arrays = {}
    for size in (96, 65):
        arrays[f"images_{size}"] = np.random.default_rng(size).integers(0, 256, (2, size, size, 3), np.uint8)
        arrays[f"logits_{size}"] = logits_of(network, arrays[f"images_{size}"])
    np.savez_compressed(folder / "expected.npz", **arrays)


if __name__ == "__main__":
    write_fixture()
