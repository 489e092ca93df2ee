"""Seconds of transport metrics of 4,096 points in 64 dimensions, each beside a reference implementation, one thread.

Both compute in float64. Metrics that are one mean of squares, the share of pairs moved past each other and mode
coverage have no reference beside them.

python -m pytest tests/benchmarks/bench_transport.py --benchmark-enable
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.spatial.distance import cdist, pdist

from bench.metrics.sliced import random_directions
from bench.metrics.transport.consistency import monotonicity_violations
from bench.metrics.transport.samples import bw_uvp, energy_distance, mode_coverage, one_nn_accuracy, sliced_w2_forward
from bench.metrics.transport.truth import cosine, l2_uvp

COUNT, DIM, DIRECTIONS = 4096, 64, 1000


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, DIM))


@pytest.fixture(scope="module")
def pushed() -> np.ndarray:
    return 0.8 * np.random.default_rng(1).standard_normal((COUNT, DIM)) + 0.3


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((COUNT, DIM))


def timed(benchmark: BenchmarkFixture, function: Callable[..., Any], *arguments: Any) -> None:
    benchmark.pedantic(function, arguments, rounds=3, warmup_rounds=1)


def test_l2_uvp(benchmark: BenchmarkFixture, pushed: np.ndarray, target: np.ndarray) -> None:
    timed(benchmark, l2_uvp, pushed, target, float(DIM))


def test_cosine(benchmark: BenchmarkFixture, source: np.ndarray, pushed: np.ndarray, target: np.ndarray) -> None:
    timed(benchmark, cosine, source, pushed, target)


@pytest.mark.benchmark(group="energy distance")
@pytest.mark.parametrize("who", ["ours", "SciPy's distances"])
def test_energy_distance(benchmark: BenchmarkFixture, pushed: np.ndarray, target: np.ndarray, who: str) -> None:
    def by_scipy() -> float:
        return 2 * cdist(pushed, target).mean() - pdist(pushed).mean() - pdist(target).mean()

    if who == "ours":
        return timed(benchmark, energy_distance, pushed, target)
    return timed(benchmark, by_scipy)


@pytest.mark.benchmark(group=f"sliced W2, {DIRECTIONS:,} directions")
@pytest.mark.parametrize("who", ["ours", "POT"])
def test_sliced_w2(benchmark: BenchmarkFixture, pushed: np.ndarray, target: np.ndarray, who: str) -> None:
    import ot

    rng = np.random.default_rng(0)
    if who == "ours":
        return timed(benchmark, sliced_w2_forward, pushed, target, rng)
    directions = random_directions(DIM, DIRECTIONS, rng)
    return timed(benchmark, lambda: ot.sliced_wasserstein_distance(pushed, target, projections=directions))


@pytest.mark.benchmark(group="Bures-Wasserstein")
@pytest.mark.parametrize("who", ["ours", "POT"])
def test_bw_uvp(benchmark: BenchmarkFixture, pushed: np.ndarray, target: np.ndarray, who: str) -> None:
    import ot

    def by_pot() -> float:
        moments = [pushed.mean(axis=0), target.mean(axis=0), np.cov(pushed.T), np.cov(target.T)]
        return ot.gaussian.bures_wasserstein_distance(*moments)

    if who == "ours":
        return timed(benchmark, bw_uvp, pushed, target, float(DIM))
    return timed(benchmark, by_pot)


def test_one_nn_accuracy(benchmark: BenchmarkFixture, pushed: np.ndarray, target: np.ndarray) -> None:
    labels = np.random.default_rng(3).integers(0, 10, COUNT)
    timed(benchmark, one_nn_accuracy, pushed, labels, target, labels)


def test_monotonicity_violations(benchmark: BenchmarkFixture, source: np.ndarray, pushed: np.ndarray) -> None:
    timed(benchmark, monotonicity_violations, source, pushed, np.random.default_rng(0))


def test_mode_coverage(benchmark: BenchmarkFixture, pushed: np.ndarray, target: np.ndarray) -> None:
    timed(benchmark, mode_coverage, pushed, target[:100], 1.0)
