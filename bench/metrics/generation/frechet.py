"""Fréchet distance between the features of two sets of images: FID, and the same over a network that works offline.

Features are summarized by mean and covariance, as if Gaussian; the distance between those Gaussians is
|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½). It is biased upwards by finite samples (by 22 / 2.2 / 0.2 for 100 / 1,000 /
10,000 images with 64 features), so the numbers of images belong to the measurement.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.extractors import (
    PREPROCESSING_VERSION,
    Device,
    EfficientNetLite0,
    Extractor,
    InceptionV3,
    extract_features,
)
from bench.torchvision_compat import import_torchvision

Statistics = dict[str, np.ndarray]
"""mu: mean [D]; sigma: covariance [D, D], unbiased; both float64."""

EFFICIENTNET = EfficientNetLite0()
INCEPTION = InceptionV3()


def feature_statistics(features: np.ndarray) -> Statistics:
    """Mean and covariance of features [N, D], N ≥ 2. Raises Unmeasurable for fewer."""
    if len(features) < 2:
        raise Unmeasurable(f"a covariance needs at least two images; there are {len(features)}")
    import_torchvision()
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics

    return fid_features_to_statistics(torch.from_numpy(features.astype(np.float64)))


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson and Landau 1982).

    From the eigenvalues of Σ₁Σ₂ in float64; at equal statistics rounding can leave it slightly below 0 (by 1e-4 in
    256 with singular covariances of ten images, by far less with more).
    """
    import_torchvision()
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    return fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID]


def reference_statistics(extractor: Extractor, images: np.ndarray, device: Device, cache: Path) -> Statistics:
    """Statistics of the features of a dataset's images, uint8 [N, C, H, W], from `cache` where they lie there.

    The key is the content: the images' bytes, the extractor with its weights, and the version of the preprocessing.
    Device and threads belong to it too, since sums in float32 depend on them: a trial's value must not depend on who
    filled the cache. A cache file that cannot be read is replaced.
    """
    import torch

    content = {
        "images": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
        "shape": images.shape,
        "extractor": extractor.name,
        "weights": extractor.weights_sha256,
        "preprocessing": PREPROCESSING_VERSION,
        "device": device.type,
        "threads": torch.get_num_threads(),
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = Path(cache) / "feature-statistics" / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            statistics = {"mu": stored["mu"], "sigma": stored["sigma"]}
        if statistics["sigma"].shape == (extractor.feature_dim, extractor.feature_dim):
            return statistics
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # none yet, or not readable
    statistics = feature_statistics(extract_features(extractor, images, device))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("wb") as file:
            np.savez(file, mu=statistics["mu"], sigma=statistics["sigma"])
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return statistics


def image_distance(extractor: Extractor, images: np.ndarray, others: np.ndarray, device: Device, cache: Path) -> float:
    """Fréchet distance between a dataset's images, uint8 [N, C, H, W], and others, float [M, C, H, W] in [0, 1].

    Raises:
        Unmeasurable: others are not finite, fewer than two images, or the extractor's weights cannot be had.
    """
    measured = feature_statistics(extract_features(extractor, others, device))
    return frechet_distance(reference_statistics(extractor, images, device, cache), measured)


def _protocol(extractor: Extractor) -> dict[str, Any]:
    return {
        **extractor.protocol(),
        "quantization": "8 bits",
        "reference_images": "as many as num_samples, or the whole split where it has fewer",
    }


_FID_SOURCE = "Heusel et al. 2017, arXiv 1706.08500; Inception and distance by torch-fidelity"
_FD_SOURCE = "distance of Heusel et al. 2017, arXiv 1706.08500, over features of EfficientNet-Lite0: not FID"


@metric(
    table="generation",
    source=_FID_SOURCE,
    outputs={"fid-generation": Output("min", "0 upwards", "FID of decoded draws of the prior against images")},
    protocol=_protocol(INCEPTION),
)
def fid_generation(
    images: np.ndarray, samples: np.ndarray, device: Device, cache: Path, *, num_samples: int = 10_000
) -> dict[str, float]:
    """FID of generated samples; see `image_distance`."""
    value = image_distance(INCEPTION, images[:num_samples], samples[:num_samples], device, cache)
    return {"fid-generation": value}


@metric(
    table="reconstruction",
    source=_FID_SOURCE,
    outputs={"fid-reconstruction": Output("min", "0 upwards", "FID of reconstructions against their images")},
    protocol=_protocol(INCEPTION),
)
def fid_reconstruction(
    images: np.ndarray, reconstructions: np.ndarray, device: Device, cache: Path, *, num_samples: int = 10_000
) -> dict[str, float]:
    """FID of reconstructions; see `image_distance`."""
    value = image_distance(INCEPTION, images[:num_samples], reconstructions[:num_samples], device, cache)
    return {"fid-reconstruction": value}


@metric(
    name="fd-efficientnet-lite0-generation",
    table="generation",
    source=_FD_SOURCE,
    outputs={
        "fd-efficientnet-lite0-generation": Output(
            "min", "0 upwards", "Fréchet distance (EfficientNet-Lite0) of decoded draws of the prior against images"
        )
    },
    protocol=_protocol(EFFICIENTNET),
)
def fd_efficientnet_lite0_generation(
    images: np.ndarray, samples: np.ndarray, device: Device, cache: Path, *, num_samples: int = 10_000
) -> dict[str, float]:
    """Fréchet distance of generated samples over EfficientNet-Lite0 features; see `image_distance`."""
    value = image_distance(EFFICIENTNET, images[:num_samples], samples[:num_samples], device, cache)
    return {"fd-efficientnet-lite0-generation": value}


@metric(
    name="fd-efficientnet-lite0-reconstruction",
    table="reconstruction",
    source=_FD_SOURCE,
    outputs={
        "fd-efficientnet-lite0-reconstruction": Output(
            "min", "0 upwards", "Fréchet distance (EfficientNet-Lite0) of reconstructions against their images"
        )
    },
    protocol=_protocol(EFFICIENTNET),
)
def fd_efficientnet_lite0_reconstruction(
    images: np.ndarray, reconstructions: np.ndarray, device: Device, cache: Path, *, num_samples: int = 10_000
) -> dict[str, float]:
    """Fréchet distance of reconstructions over EfficientNet-Lite0 features; see `image_distance`."""
    value = image_distance(EFFICIENTNET, images[:num_samples], reconstructions[:num_samples], device, cache)
    return {"fd-efficientnet-lite0-reconstruction": value}
