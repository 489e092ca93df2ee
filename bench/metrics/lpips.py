"""How far reconstructions are from their images to a trained eye: LPIPS, over the features of VGG16.

The network is torch-fidelity's. Its weights are two files, VGG16 trained on ImageNet (528 MB) and LPIPS's weighting of
its features (7 kB); both are verified before they are read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.generation.judged import MADE_FROM
from bench.metrics.weights import locate, tensors_only
from bench.torchvision_compat import import_torchvision

if TYPE_CHECKING:
    import torch
    from torch_fidelity import SampleSimilarityLPIPS

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
VGG16_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
VGG16_VARIABLE = "BENCH_VGG16_WEIGHTS"
LPIPS_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-vgg16-lpips.pth"
LPIPS_SHA256 = "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
LPIPS_VARIABLE = "BENCH_LPIPS_WEIGHTS"

SMALLEST = 16
"""Pixels a side: VGG16 halves its input four times."""

_BATCH = 8  # images at a time: bounds the memory of the features


@metric(
    table="reconstruction",
    source="Zhang et al. 2018, arXiv 1801.03924, version 0.1, VGG16; network by torch-fidelity",
    outputs={"lpips": Output("min", "0 upwards", "distance of an image and its reconstruction in features of VGG16")},
    protocol={
        "made_from": MADE_FROM["reconstructions"],
        "network": "VGG16 on ImageNet, LPIPS 0.1 weights",
        "weights_sha256": [VGG16_SHA256, LPIPS_SHA256],
        "interpolation": "area where both sides shrink, else bilinear",
        "channels": "grey repeated to three",
        "quantization": "none",
        "average": "over images",
        "device": "cpu",
    },
)
def lpips(
    images: np.ndarray, reconstructions: np.ndarray, *, resize: int | None = None, num_samples: int = 1_000
) -> dict[str, float]:
    """Learned perceptual distance of images and reconstructions, averaged over images.

    Args:
        images: uint8 [N, C, H, W], C one or three.
        reconstructions: float [N, C, H, W] in [0, 1].
        resize: pixels a side to which both are brought, as torch-fidelity does by default (64); None leaves their size.
        num_samples: few by default, since 1,000 of 64 pixels a side take a minute of one core.

    Raises:
        Unmeasurable: the weights cannot be had, reconstructions are not finite, or images are too small for VGG16.
    """
    import torch

    require_finite(reconstructions=reconstructions)
    if resize is None and min(images.shape[2:]) < SMALLEST:
        raise Unmeasurable(
            f"images are {images.shape[2]} × {images.shape[3]} pixels, VGG16 needs {SMALLEST} a side; set resize"
        )
    if resize is not None and resize < SMALLEST:
        raise Unmeasurable(f"images resized to {resize} pixels a side; VGG16 needs {SMALLEST}")
    network = _load(resize)
    distances = np.empty(len(images))
    for start in range(0, len(images), _BATCH):
        batch = slice(start, start + _BATCH)
        with torch.no_grad():
            distances[batch] = network(_prepared(images[batch]), _prepared(reconstructions[batch] * 255)).reshape(-1)
    return {"lpips": float(distances.mean())}


def _prepared(images: np.ndarray) -> torch.Tensor:
    """float32 [N, 3, H, W] of intensities 0 to 255."""
    import torch

    return torch.from_numpy(images.astype(np.float32)).expand(-1, 3, -1, -1)


@cache
def _load(resize: int | None) -> SampleSimilarityLPIPS:
    import torch

    files = (locate(VGG16_URL, VGG16_SHA256, VGG16_VARIABLE), locate(LPIPS_URL, LPIPS_SHA256, LPIPS_VARIABLE))
    import_torchvision()
    from torch_fidelity import SampleSimilarityLPIPS

    # Layers draw initial weights before they load theirs: the global generator must not notice.
    with _hub_of({VGG16_URL: files[0], LPIPS_URL: files[1]}), tensors_only(), torch.random.fork_rng(devices=[]):
        return SampleSimilarityLPIPS("lpips-vgg16", sample_similarity_resize=resize)


@contextmanager
def _hub_of(files: dict[str, Path]) -> Iterator[None]:
    """torch.hub with these files as its downloads: torch-fidelity reads its weights from there, and only there."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder) / "hub" / "checkpoints"
        checkpoints.mkdir(parents=True)
        for url, file in files.items():
            (checkpoints / url.rsplit("/", 1)[-1]).symlink_to(file.absolute())
        # Not torch.hub.set_dir, after which the environment would no longer count.
        before = os.environ.get("TORCH_HOME")
        os.environ["TORCH_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["TORCH_HOME"]
            if before is not None:
                os.environ["TORCH_HOME"] = before
