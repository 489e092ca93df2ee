"""How far reconstructions are from their images, pixel by pixel and window by window."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.generation.judged import MADE_FROM

PSNR_CAP = 100.0
"""dB; an image reproduced exactly has infinite PSNR, which would make the mean over images infinite too."""

WINDOW_SIGMA = 1.5
WINDOW_RADIUS = 5
"""Of SSIM's Gaussian window, in pixels: 11 × 11."""
SSIM_CONSTANTS = (0.01**2, 0.03**2)
"""(K₁L)² and (K₂L)², for intensities of the range L = 1."""

_CHUNK = 256  # images at a time: bounds the memory of arrays in float64


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
    _require_pairs(images, reconstructions)
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
    protocol={
        "made_from": MADE_FROM["reconstructions"],
        "average": "over pixels and channels, then images",
        "intensity_range": [0, 1],
    },
)
def mse(images: np.ndarray, reconstructions: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """Mean squared error; see `squared_error_per_image`."""
    return {"mse": float(squared_error_per_image(images, reconstructions).mean())}


@metric(
    table="reconstruction",
    source="peak signal-to-noise ratio, 10·log10(1 / MSE)",
    outputs={"psnr": Output("max", "dB", "of each image at peak intensity 1, averaged over images")},
    protocol={
        "made_from": MADE_FROM["reconstructions"],
        "average": "PSNR of each image, then over images",
        "peak": 1,
        "cap_db": PSNR_CAP,
    },
)
def psnr(images: np.ndarray, reconstructions: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """Peak signal-to-noise ratio of each image, at most PSNR_CAP, averaged over images."""
    errors = squared_error_per_image(images, reconstructions)
    decibels = -10 * np.log10(np.maximum(errors, 10 ** (-PSNR_CAP / 10)))
    return {"psnr": float(decibels.mean())}


def structural_similarity_per_image(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """SSIM index of each image (Wang et al. 2004, eq. 13), averaged over windows and channels, intensities in [0, 1].

    As in the authors' code, weighted variances are not corrected for bias, and only windows that lie wholly within the
    image count; libraries that pad the borders and average over them too give other values.

    Args:
        images: uint8 [N, C, H, W].
        reconstructions: float [N, C, H, W] in [0, 1].

    Returns:
        float64 [N], in [-1, 1]; 1 for equal images.

    Raises:
        ValueError: the shapes differ.
        Unmeasurable: reconstructions are not finite, or images are smaller than the window.
    """
    from scipy.ndimage import gaussian_filter

    _require_pairs(images, reconstructions)
    height, width = images.shape[2:]
    size = 2 * WINDOW_RADIUS + 1
    if min(height, width) < size:
        raise Unmeasurable(f"images are {height} × {width} pixels, the window of SSIM is {size} × {size}")
    inner = slice(WINDOW_RADIUS, -WINDOW_RADIUS)

    def window_mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, WINDOW_SIGMA, radius=WINDOW_RADIUS, axes=(2, 3))[:, :, inner, inner]

    luminance_constant, contrast_constant = SSIM_CONSTANTS
    similarities = np.empty(len(images))
    for start in range(0, len(images), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        x, y = images[chunk] / 255.0, reconstructions[chunk].astype(np.float64)
        mean_x, mean_y = window_mean(x), window_mean(y)
        covariance = window_mean(x * y) - mean_x * mean_y
        variances = window_mean(x * x + y * y) - mean_x**2 - mean_y**2
        luminance = (2 * mean_x * mean_y + luminance_constant) / (mean_x**2 + mean_y**2 + luminance_constant)
        structure = (2 * covariance + contrast_constant) / (variances + contrast_constant)
        similarities[chunk] = (luminance * structure).mean(axis=(1, 2, 3))
    return similarities


@metric(
    table="reconstruction",
    source="structural similarity: Wang et al. 2004, Image Quality Assessment, IEEE TIP 13(4)",
    outputs={"ssim": Output("max", "-1 to 1", "likeness of local brightness, contrast and structure; 1 where equal")},
    protocol={
        "made_from": MADE_FROM["reconstructions"],
        "window": "Gaussian, 11 × 11, sigma 1.5, within the image",
        "constants": "K1 = 0.01, K2 = 0.03, range 1",
        "average": "over windows and channels, then images",
    },
)
def ssim(images: np.ndarray, reconstructions: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
    """Structural similarity; see `structural_similarity_per_image`."""
    return {"ssim": float(structural_similarity_per_image(images, reconstructions).mean())}


def _require_pairs(images: np.ndarray, reconstructions: np.ndarray) -> None:
    if images.shape != reconstructions.shape:
        raise ValueError(f"images are {images.shape}, reconstructions {reconstructions.shape}")
    require_finite(reconstructions=reconstructions)
