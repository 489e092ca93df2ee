"""Seconds of each autoencoding metric at the quick scale's sizes, one thread.

python -m pytest benchmarks/bench_metrics.py --benchmark-enable
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.metrics import disentanglement, frechet
from bench.metrics.base import Unmeasurable

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1000, 1, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def decoded(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(images.shape)
    return (images / 255 + 0.1 * noise).clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def factors() -> np.ndarray:
    """The factors of sprites."""
    return np.random.default_rng(0).integers(0, (3, 6, 40, 32, 32), (15_000, 5))


@pytest.fixture(scope="module")
def codes(factors: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (factors @ rng.standard_normal((5, 10)) + rng.standard_normal((15_000, 10))).astype(np.float32)


def test_frechet_efficientnet_first_trial(
    benchmark: BenchmarkFixture, images: np.ndarray, decoded: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Features of the reference images included."""
    benchmark.pedantic(
        frechet.fd_efficientnet_lite0_generation,
        setup=lambda: ((images, decoded, CPU, tmp_path_factory.mktemp("cache")), {}),
        rounds=3,
        warmup_rounds=1,
    )


def test_frechet_efficientnet_later_trials(
    benchmark: BenchmarkFixture, images: np.ndarray, decoded: np.ndarray, tmp_path: Path
) -> None:
    arguments = (images, decoded, CPU, tmp_path)
    benchmark.pedantic(frechet.fd_efficientnet_lite0_generation, arguments, rounds=3, warmup_rounds=1)


def test_frechet_inception_of_20_images(
    benchmark: BenchmarkFixture, images: np.ndarray, decoded: np.ndarray, tmp_path: Path
) -> None:
    try:
        benchmark.pedantic(frechet.fid_generation, (images[:20], decoded[:20], CPU, tmp_path), rounds=1)
    except Unmeasurable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_mig(benchmark: BenchmarkFixture, codes: np.ndarray, factors: np.ndarray, count: int) -> None:
    benchmark.pedantic(
        disentanglement.mig,
        setup=lambda: ((codes, factors, np.random.default_rng(0)), {"num_samples": count}),
        rounds=3,
        warmup_rounds=1,
    )
