"""Seconds of each metric of codes and prior at its default size, beside a reference implementation, one thread.

python -m pytest tests/benchmarks/bench_latent.py --benchmark-enable
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.spatial.distance import pdist, squareform

from bench.metrics.latent.divergences import latent_mmd, latent_sinkhorn, latent_sliced_w2
from bench.metrics.latent.geometry import gromov_wasserstein, isometry_correlation
from bench.metrics.latent.marginals import active_units, latent_ks, latent_normality
from methods.parts.divergences import imq_kernel, mmd

COUNT, LATENTS = 10_000, 64


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, LATENTS)).astype(np.float32)


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return (0.8 * np.random.default_rng(1).standard_normal((COUNT, LATENTS)) + 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def images(codes: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(2).standard_normal((LATENTS, 32 * 32 * 3)) / LATENTS**0.5
    return (255 / (1 + np.exp(-codes[:1000] @ weights))).astype(np.uint8).reshape(-1, 3, 32, 32)


def timed(benchmark: BenchmarkFixture, function: Callable[..., Any], *arguments: Any) -> None:
    benchmark.pedantic(function, arguments, rounds=3, warmup_rounds=1)


def test_mmd(benchmark: BenchmarkFixture, codes: np.ndarray, noise: np.ndarray) -> None:
    timed(benchmark, latent_mmd, codes, noise)


@pytest.mark.benchmark(group="MMD, 2,000 codes")
@pytest.mark.parametrize("who", ["ours", "all pairs at once, as WAE's loss"])
def test_mmd_beside_a_training_loss(
    benchmark: BenchmarkFixture, codes: np.ndarray, noise: np.ndarray, who: str
) -> None:
    if who == "ours":
        return timed(benchmark, latent_mmd, codes[:2000], noise[:2000])
    points = torch.from_numpy(codes[:2000]), torch.from_numpy(noise[:2000])
    return timed(benchmark, mmd, *points, imq_kernel(2.0 * LATENTS))


@pytest.mark.benchmark(group="sliced W2, 10,000 codes, 1,000 directions")
@pytest.mark.parametrize("who", ["ours", "POT"])
def test_sliced_w2(benchmark: BenchmarkFixture, codes: np.ndarray, noise: np.ndarray, who: str) -> None:
    from ot.sliced import sliced_wasserstein_distance

    if who == "ours":
        return timed(benchmark, lambda: latent_sliced_w2(codes, noise, np.random.default_rng(0)))
    first, second = codes.astype(np.float64), noise.astype(np.float64)
    return timed(benchmark, lambda: sliced_wasserstein_distance(first, second, n_projections=1000, seed=0))


@pytest.mark.benchmark(group="Sinkhorn divergence, 1,000 codes")
@pytest.mark.parametrize("who", ["ours", "POT, without the entropies"])
def test_sinkhorn(benchmark: BenchmarkFixture, codes: np.ndarray, noise: np.ndarray, who: str) -> None:
    from ot.bregman import empirical_sinkhorn_divergence

    if who == "ours":
        return timed(benchmark, latent_sinkhorn, codes, noise)
    first, second = codes[:1000].astype(np.float64), noise[:1000].astype(np.float64)
    return timed(
        benchmark,
        lambda: empirical_sinkhorn_divergence(first, second, LATENTS, method="sinkhorn_log", stopThr=1e-5),
    )


@pytest.mark.benchmark(group="Gromov–Wasserstein, 500 codes")
@pytest.mark.parametrize("who", ["ours", "POT, from the same coupling"])
def test_gromov_wasserstein(benchmark: BenchmarkFixture, codes: np.ndarray, images: np.ndarray, who: str) -> None:
    from ot.gromov import gromov_wasserstein2

    def reference() -> None:
        distances = [squareform(pdist(points[:500].reshape(500, -1).astype(np.float64))) for points in (codes, images)]
        gromov_wasserstein2(*(matrix / matrix.mean() for matrix in distances), G0=np.eye(500) / 500)

    return timed(benchmark, (lambda: gromov_wasserstein(codes[:500], images[:500])) if who == "ours" else reference)


def test_isometry_correlation(benchmark: BenchmarkFixture, codes: np.ndarray, images: np.ndarray) -> None:
    timed(benchmark, isometry_correlation, codes[:1000], images)


def test_marginals(benchmark: BenchmarkFixture, codes: np.ndarray, noise: np.ndarray) -> None:
    timed(benchmark, latent_ks, codes, noise)


def test_normality(benchmark: BenchmarkFixture, codes: np.ndarray) -> None:
    timed(benchmark, latent_normality, codes)


def test_active_units(benchmark: BenchmarkFixture, codes: np.ndarray) -> None:
    timed(benchmark, active_units, codes)
