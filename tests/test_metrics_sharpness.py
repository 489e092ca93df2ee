"""Sharpness: values of images whose edges are known, and the filter pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.base import Unmeasurable, all_metrics
from bench.metrics.generation.sharpness import sharpness_per_image


def naive_sharpness(image: np.ndarray) -> float:
    """Of one image [C, H, W] in [0, 1], pixel by pixel."""
    grey = image[0] if len(image) == 1 else 0.2989 * image[0] + 0.5870 * image[1] + 0.1140 * image[2]
    filtered = []
    for row in range(1, grey.shape[0] - 1):
        for column in range(1, grey.shape[1] - 1):
            neighbors = grey[row - 1, column] + grey[row + 1, column] + grey[row, column - 1] + grey[row, column + 1]
            filtered.append(neighbors - 4 * grey[row, column])
    return float(np.mean(np.square(filtered)) - np.mean(filtered) ** 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_variance_of_the_filtered_image(channels: int) -> None:
    images = np.random.default_rng(0).random((4, channels, 9, 7), dtype=np.float32)
    expected = [naive_sharpness(image.astype(np.float64)) for image in images]
    assert sharpness_per_image(images) == pytest.approx(expected, rel=1e-9)


def test_bytes_count_as_intensities_from_0_to_1() -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 3, 9, 9), dtype=np.uint8)
    assert sharpness_per_image(images) == pytest.approx(sharpness_per_image(images / 255))


def test_flat_images_and_even_slopes_have_no_edges() -> None:
    slope = np.linspace(0, 1, 8, dtype=np.float32) * np.ones((1, 1, 8, 1), dtype=np.float32)
    assert sharpness_per_image(np.full((1, 1, 8, 8), 0.3, dtype=np.float32)) == pytest.approx([0], abs=1e-12)
    assert sharpness_per_image(slope) == pytest.approx([0], abs=1e-12)


def test_a_checkerboard_is_the_sharpest() -> None:
    board = (np.indices((10, 10)).sum(axis=0) % 2).astype(np.uint8) * 255
    assert sharpness_per_image(board[None, None]) == pytest.approx([16])  # ±4, half of each


def test_the_border_has_no_say() -> None:
    """An image that is bright in a corner only, which no pixel with four neighbors touches."""
    image = np.zeros((1, 1, 6, 6), dtype=np.uint8)
    image[0, 0, 0, 0] = 255
    assert sharpness_per_image(image) == 0


def test_blur_softens() -> None:
    from scipy.ndimage import gaussian_filter

    images = np.random.default_rng(2).random((10, 1, 32, 32))
    blurred = gaussian_filter(images, 1.0, axes=(2, 3))
    assert (sharpness_per_image(blurred) < 0.1 * sharpness_per_image(images)).all()


@pytest.mark.parametrize("what", ["generation", "reconstruction", "interpolation", "data"])
def test_mean_and_minimum_over_all_images(what: str) -> None:
    images = np.random.default_rng(3).random((600, 1, 8, 8)).astype(np.float32)
    images[577] *= 0.01
    values = sharpness_per_image(images)
    measured = all_metrics()[f"sharpness-{what}"].compute(images, num_samples=600)
    assert measured == {f"sharpness-{what}": values.mean(), f"sharpness-{what}-minimum": values[577]}
    assert values[577] == pytest.approx(naive_sharpness(images[577].astype(np.float64)), rel=1e-6)


def test_each_metric_is_of_its_own_images() -> None:
    arrays = {name: metric.arrays for name, metric in all_metrics().items() if name.startswith("sharpness-")}
    assert arrays == {
        "sharpness-generation": ("samples",),
        "sharpness-reconstruction": ("reconstructions",),
        "sharpness-interpolation": ("interpolations",),
        "sharpness-data": ("images",),
    }


def test_images_too_small_for_the_filter_are_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="images are 2 × 5 pixels"):
        sharpness_per_image(np.zeros((1, 1, 2, 5), dtype=np.uint8))


def test_images_with_nan_are_unmeasurable() -> None:
    with pytest.raises(Unmeasurable, match="not finite"):
        sharpness_per_image(np.full((1, 1, 5, 5), np.nan, dtype=np.float32))
