"""How far reconstructions are from their images, pixel by pixel."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, metric
from bench.metrics.checks import require_finite

PSNR_CAP = 100.0
"""dB; an image reproduced exactly has infinite PSNR, which would make the mean over images infinite too."""

_CHUNK = 256  # images at a time: bounds the memory of the float64 differences


def squared_error_per_image(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Mean squared difference of each image over its pixels and channels, intensities in [0, 1].

    Args:
        images: uint8 [N, C, H, W].
        reconstructions: float [N, C, H, W] in [0, 1].

    Returns:
        float64 [N].

    Raises:
        ValueError: the shapes differ.
        Unmeasurable: reconstructions are not finite.
    """
    if images.shape != reconstructions.shape:
        raise ValueError(f"images are {images.shape}, reconstructions {reconstructions.shape}")
    require_finite(reconstructions=reconstructions)
    errors = np.empty(len(images))
    for start in range(0, len(images), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        difference = images[chunk] / 255.0 - reconstructions[chunk]
        errors[chunk] = np.square(difference).mean(axis=(1, 2, 3))
    return errors


@metric(
    table="reconstruction",
    source="mean squared error",
    outputs={"mse": Output("min", "squared intensity", "mean over images and pixels, intensities in [0, 1]")},
    protocol={"average": "over pixels and channels, then images", "intensity_range": [0, 1]},
)
def mse(images: np.ndarray, reconstructions: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """Mean squared error; see `squared_error_per_image`."""
    return {"mse": float(squared_error_per_image(images[:num_samples], reconstructions[:num_samples]).mean())}


@metric(
    table="reconstruction",
    source="peak signal-to-noise ratio, 10·log10(1 / MSE)",
    outputs={"psnr": Output("max", "dB", "of each image at peak intensity 1, averaged over images")},
    protocol={"average": "PSNR of each image, then over images", "peak": 1, "cap_db": PSNR_CAP},
)
def psnr(images: np.ndarray, reconstructions: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """Peak signal-to-noise ratio of each image, at most PSNR_CAP, averaged over images."""
    errors = squared_error_per_image(images[:num_samples], reconstructions[:num_samples])
    decibels = -10 * np.log10(np.maximum(errors, 10 ** (-PSNR_CAP / 10)))
    return {"psnr": float(decibels.mean())}
