"""Seconds of the metrics of images pixel by pixel, each beside its reference on the same images, one thread.

python -m pytest tests/benchmarks/bench_images.py --benchmark-enable
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.nn import functional as F

from bench.metrics.base import Unmeasurable
from bench.metrics.generation.memorization import memorization
from bench.metrics.generation.sharpness import sharpness_per_image
from bench.metrics.lpips import lpips
from bench.metrics.reconstruction import mse, psnr, ssim
from bench.torchvision_compat import import_torchvision

COUNT = 10_000


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def decoded(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(images.shape, dtype=np.float32)
    return (images / np.float32(255) + np.float32(0.1) * noise).clip(0, 1)


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_reconstruction(
    benchmark: BenchmarkFixture, metric: Callable[..., Any], images: np.ndarray, decoded: np.ndarray
) -> None:
    benchmark.pedantic(metric, (images, decoded), rounds=3, warmup_rounds=1)


def test_ssim_of_torchmetrics(benchmark: BenchmarkFixture, images: np.ndarray, decoded: np.ndarray) -> None:
    import_torchvision()
    from torchmetrics.functional.image import structural_similarity_index_measure

    def reference() -> None:
        for start in range(0, COUNT, 256):
            x, y = torch.from_numpy(images[start : start + 256]) / 255, torch.from_numpy(decoded[start : start + 256])
            structural_similarity_index_measure(y, x, data_range=1.0)

    benchmark.pedantic(reference, rounds=3, warmup_rounds=1)


def test_lpips_of_20_images(benchmark: BenchmarkFixture, images: np.ndarray, decoded: np.ndarray) -> None:
    try:
        benchmark.pedantic(lpips, (images[:20], decoded[:20]), rounds=3, warmup_rounds=1)
    except Unmeasurable as error:
        pytest.skip(str(error))  # it names the weights that are missing, and where they are looked for


def test_sharpness(benchmark: BenchmarkFixture, decoded: np.ndarray) -> None:
    benchmark.pedantic(sharpness_per_image, (decoded,), rounds=3, warmup_rounds=1)


def test_sharpness_by_convolution(benchmark: BenchmarkFixture, decoded: np.ndarray) -> None:
    """The steps of the WAE authors' code, in torch."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    luma = torch.tensor([0.2989, 0.5870, 0.1140])[:, None, None]

    def reference() -> None:
        for start in range(0, COUNT, 256):
            grey = (torch.from_numpy(decoded[start : start + 256]) * luma).sum(dim=1, keepdim=True)
            F.conv2d(grey, kernel).var(dim=(1, 2, 3), correction=0)

    benchmark.pedantic(reference, rounds=3, warmup_rounds=1)


def test_memorization(benchmark: BenchmarkFixture, images: np.ndarray, decoded: np.ndarray) -> None:
    benchmark.pedantic(memorization, (decoded[:1000], images[1000:], images[:1000]), rounds=3, warmup_rounds=1)


def test_memorization_by_the_authors_steps(
    benchmark: BenchmarkFixture, images: np.ndarray, decoded: np.ndarray
) -> None:
    from scipy.stats import mannwhitneyu
    from sklearn.neighbors import NearestNeighbors

    def reference() -> None:
        flat = [points.reshape(len(points), -1) for points in (decoded[:1000], images[1000:], images[:1000])]
        samples, train, held_out = flat[0], flat[1] / np.float32(255), flat[2] / np.float32(255)
        search = NearestNeighbors(n_neighbors=1).fit(train)
        distances = [search.kneighbors(points)[0] for points in (samples, held_out)]
        mannwhitneyu(*distances, alternative="less")

    benchmark.pedantic(reference, rounds=3, warmup_rounds=1)
