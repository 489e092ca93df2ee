"""How sharp images are: the variance of their edges, as the Laplace filter finds them.

Blurred images have weak edges and a small variance, noise has a large one: good images are as sharp as the dataset's
own, which `sharpness-data` measures, and not sharper.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.checks import require_finite
from bench.metrics.generation.judged import MADE_FROM

LUMA = np.array([0.2989, 0.5870, 0.1140])
"""Weights of red, green and blue in the grey level."""

_CHUNK = 256  # images at a time: bounds the memory of arrays in float64


def sharpness_per_image(pictures: np.ndarray) -> np.ndarray:
    """Variance over pixels of each image, made grey and filtered by [[0, 1, 0], [1, -4, 1], [0, 1, 0]].

    Only pixels with four neighbors count. Intensities are in [0, 1]; in [-1, 1] values would be four times as large.

    Args:
        pictures: uint8, or float in [0, 1], [N, C, H, W], C one or three.

    Returns:
        float64 [N], at most 16.

    Raises:
        Unmeasurable: values that are not finite, or fewer than three pixels a side.
    """
    require_finite(pictures=pictures)
    height, width = pictures.shape[2:]
    if min(height, width) < 3:
        raise Unmeasurable(f"images are {height} × {width} pixels, the Laplace filter is 3 × 3")
    scale = 255.0 if pictures.dtype == np.uint8 else 1.0
    sharpness = np.empty(len(pictures))
    for start in range(0, len(pictures), _CHUNK):
        chunk = pictures[start : start + _CHUNK] / np.float64(scale)
        grey = chunk[:, 0] if chunk.shape[1] == 1 else np.einsum("nchw,c->nhw", chunk, LUMA)
        vertical = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1]
        horizontal = grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        sharpness[start : start + _CHUNK] = (vertical + horizontal - 4 * grey[:, 1:-1, 1:-1]).var(axis=(1, 2))
    return sharpness


def _sharpness_of(name: str, array: str, what: str) -> None:
    """Registers the sharpness of an array of images as a metric."""

    def sharpness(pictures: np.ndarray, *, num_samples: int = 10_000) -> dict[str, float]:
        """See `sharpness_per_image`."""
        values = sharpness_per_image(pictures)
        return {name: float(values.mean()), f"{name}-minimum": float(values.min())}

    direction: Literal["max"] | None = None if array == "images" else "max"  # the dataset's own are a yardstick
    metric(
        name=name,
        table="reconstruction" if array == "reconstructions" else "generation",
        source="Tolstikhin et al. 2018, arXiv 1711.01558; filter and grey levels as their code",
        outputs={
            name: Output(
                direction, "squared intensity", f"variance of {what} after a Laplace filter; best near sharpness-data"
            ),
            f"{name}-minimum": Output(direction, "squared intensity", f"the same of the blurriest of {what}"),
        },
        arrays={"pictures": array},
        protocol={
            "made_from": MADE_FROM.get(array, "the dataset itself"),
            "filter": "[[0, 1, 0], [1, -4, 1], [0, 1, 0]], within the image",
            "grey": "0.2989 R + 0.5870 G + 0.1140 B",
            "intensity_range": [0, 1],
        },
    )(sharpness)


for _name, _array, _what in (
    ("sharpness-generation", "samples", "generated images"),
    ("sharpness-reconstruction", "reconstructions", "reconstructions"),
    ("sharpness-interpolation", "interpolations", "images decoded between two codes"),
    ("sharpness-data", "images", "the dataset's own images"),
):
    _sharpness_of(_name, _array, _what)
