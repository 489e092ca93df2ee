"""Small images, an extractor that is quick to compute, and Inceptions with random weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from bench.metrics.extractors import Extractor, InceptionV3, TorchvisionInceptionV3, to_uint8
from bench.torchvision_compat import import_torchvision

CPU = torch.device("cpu")


def smooth_images(count: int, channels: int = 3, size: int = 28, seed: int = 0) -> np.ndarray:
    """Random blotches, uint8 [count, channels, size, size]."""
    coarse = np.random.default_rng(seed).random((count, channels, 4, 4), dtype=np.float32)
    fine = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=(size, size), mode="bicubic")
    return to_uint8(fine.numpy())[:, :channels]


def noisy(images: np.ndarray, scale: float) -> np.ndarray:
    """Float images in [0, 1], off by Gaussian noise."""
    noise = np.random.default_rng(1).standard_normal(images.shape)
    return (images / 255 + scale * noise).clip(0, 1).astype(np.float32)


@dataclass(frozen=True)
class MeanColor(Extractor):
    """Three features, each a channel's mean."""

    name: str = "mean-color"
    feature_dim: int = 3
    resize: str = "none"
    intensities: str = "[0, 255]"
    weights_sha256: str = "none"

    def load(self, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda images: images.float().mean(dim=(2, 3))


def random_inception(folder: Path, monkeypatch: pytest.MonkeyPatch) -> InceptionV3:
    """torch-fidelity's network with random weights, whose file the environment names."""
    import_torchvision()
    from torch_fidelity import feature_extractor_inceptionv3 as module

    # The constructor loads weights; it gets none here.
    with (
        torch.random.fork_rng(),
        mock.patch.object(module, "load_state_dict_from_url"),
        mock.patch.object(module.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        torch.manual_seed(0)
        network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        _he_initialize(network)
        # Images of such a network differ little from each other; larger logits make it sure of its labels.
        torch.nn.init.normal_(network.fc.weight, std=1)
    return InceptionV3(weights_sha256=_save(network, folder / "random.pth", InceptionV3.VARIABLE, monkeypatch))


def random_torchvision_inception(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TorchvisionInceptionV3:
    """torchvision's network with random weights, whose file the environment names."""
    import_torchvision()
    from torchvision.models import inception_v3

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = inception_v3(weights=None, init_weights=False)
        _he_initialize(network)
    variable = TorchvisionInceptionV3.VARIABLE
    return TorchvisionInceptionV3(weights_sha256=_save(network, folder / "torchvision.pth", variable, monkeypatch))


def _he_initialize(network: torch.nn.Module) -> None:
    """With the default initialization the features of all images are the same."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _save(network: torch.nn.Module, path: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """SHA-256 of the file."""
    torch.save(network.state_dict(), path)
    monkeypatch.setenv(variable, str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()
