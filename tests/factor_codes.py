"""Factors of variation and codes of them, for tests of disentanglement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits


def factor_grid(*sizes: int, repeats: int = 1) -> np.ndarray:
    """Every combination of factor values equally often, so that factors are exactly independent: int64 [N, F]."""
    return np.tile(np.indices(sizes).reshape(len(sizes), -1).T, (repeats, 1))


def random_factors(count: int, *sizes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, sizes, (count, len(sizes)))


def linear_mix(factors: np.ndarray, latents: int) -> np.ndarray:
    """Codes that are random linear mixtures of the factors, with a little noise."""
    rng = np.random.default_rng(1)
    mixed = factors @ rng.standard_normal((factors.shape[1], latents))
    return (mixed + 0.1 * rng.standard_normal(mixed.shape)).astype(np.float32)


def threads_during(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, run: Callable[[], Any]) -> set[int]:
    """Numbers of threads that libraries of linear algebra have in each call of a function while `run` runs, of two."""
    function = getattr(owner, name)
    seen: set[int] = set()

    def spied(*arguments: Any, **options: Any) -> Any:
        seen.update(pool["num_threads"] for pool in threadpool_info())
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, spied)
    with threadpool_limits(2):
        run()
    return seen
