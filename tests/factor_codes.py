"""Factors of variation and codes of them, for tests of disentanglement."""

from __future__ import annotations

import numpy as np


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
