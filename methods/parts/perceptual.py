"""The perceptual distance of images: how far apart they are in features of VGG16 trained on ImageNet."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
VGG16_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
"""torchvision's weights."""

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
"""Filters of VGG16's convolutions up to relu4_3, a pooling between blocks."""


class PerceptualDistance:
    """Sum over the blocks of VGG16 of the mean squared difference of the features at their ends.

    As in the W2GN authors' code: after relu1_2, relu2_2, relu3_3 and relu4_3, on images in [−1, 1] that are not
    standardized as ImageNet's. Not a module, so that the network is neither trained nor saved with a model; it follows
    the images to their device.

    Args:
        blocks: networks applied one after another, such as `vgg16_blocks()`; frozen here.
    """

    def __init__(self, blocks: nn.Sequential) -> None:
        self.blocks = blocks.eval().requires_grad_(False)

    def __call__(self, images: Tensor, others: Tensor) -> Tensor:
        """[B, C, H, W] in [−1, 1], twice -> a scalar. One channel is repeated to three; at least 8 pixels a side."""
        self.blocks.to(images.device)
        features, other_features = images.expand(-1, 3, -1, -1), others.expand(-1, 3, -1, -1)
        distances = []
        for block in self.blocks:
            features, other_features = block(features), block(other_features)
            distances.append(F.mse_loss(features, other_features))
        return torch.stack(distances).sum()


def vgg16_blocks() -> nn.Sequential:
    """VGG16 up to relu4_3, a block between any two of the layers compared, at torch's random initialization."""
    layers: list[nn.Module] = []
    blocks: list[nn.Module] = []
    channels = 3
    for filters in BLOCKS:
        for inputs, features in pairwise((channels, *filters)):
            layers += [nn.Conv2d(inputs, features, 3, padding=1), nn.ReLU()]
        blocks.append(nn.Sequential(*layers))
        layers, channels = [nn.MaxPool2d(2)], filters[-1]
    return nn.Sequential(*blocks)


def pretrained_vgg16_blocks() -> nn.Sequential:
    """`vgg16_blocks` with torchvision's weights, from torch.hub's folder, where they are downloaded to if missing.

    Raises FileNotFoundError where they can't be had, ValueError where another file is in their place; the message says
    what to do.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / VGG16_URL.rsplit("/", 1)[-1]
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(VGG16_URL, str(file), VGG16_SHA256, progress=False)
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, RuntimeError) as error:  # the latter where what arrives has another checksum
        raise FileNotFoundError(
            f"the perceptual loss needs the weights of VGG16, which are not at {file} and could not be downloaded "
            f"({error}); download {VGG16_URL} (528 MB, SHA-256 {VGG16_SHA256}) to that place"
        ) from error
    if found != VGG16_SHA256:
        raise ValueError(
            f"{file} is not the weights of VGG16 that the perceptual loss needs: its SHA-256 is {found}, not "
            f"{VGG16_SHA256}; remove it to download it again"
        )
    weights = torch.load(file, map_location="cpu", weights_only=True)
    # Layers draw initial weights before they get these: the global generator must not notice.
    with torch.random.fork_rng(devices=[]):
        blocks = vgg16_blocks()
    # torchvision numbers the layers through, convolutions in the same order.
    pairs = zip(blocks.state_dict(), (name for name in weights if name.startswith("features.")), strict=False)
    blocks.load_state_dict({ours: weights[theirs] for ours, theirs in pairs})
    return blocks
