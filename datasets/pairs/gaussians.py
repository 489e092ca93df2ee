"""Two Gaussians in D dimensions whose optimal map is known in closed form.

The pair of Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082), as their code draws it,
rotations included: at D = 1024 it has the squared distance ½W₂² = 180.04935 that they report.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from datasets.base import PairDataset, Supplies

SEED = 0xC0FFEE
LAPACK_BLOCK = 32
"""Reflections multiplied at once; SciPy's default workspace allows three, which takes four times as long."""


class Gaussians(PairDataset):
    """N(0, W_X W_Xᵀ) and N(0, W_Y W_Yᵀ) with W = rotation · diag(exp(linspace(log ½, log 2, D))).

    Args:
        dim: dimension D >= 2.
    """

    name = "gaussians"
    summary = "two centered Gaussians with random axes; the optimal map is linear and known"
    license = "none needed: generated"
    citation = "Korotin et al. 2021, Wasserstein-2 Generative Networks, arXiv 1909.13082"
    url = "https://github.com/iamalexkorotin/Wasserstein2GenerativeNetworks"
    has_true_map = True

    def __init__(self, *, dim: int = 2) -> None:
        if dim < 2:
            raise ValueError(f"gaussians: dim is {dim}; it must be at least 2")
        self.dim = dim
        self.scales = np.exp(np.linspace(np.log(0.5), np.log(2), dim))
        self.source_variance = self.target_variance = float(np.square(self.scales).sum())

    def build(self, supplies: Supplies) -> dict[str, np.ndarray]:
        """`source_factor` W_X, `target_factor` W_Y and `map`, the matrix of the optimal map; float64 [D, D] each."""
        return _ground_truth(self.scales)

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays

    @property
    def source_factor(self) -> np.ndarray:
        """W_X, float64 [D, D]."""
        return self._arrays["source_factor"]

    @property
    def target_factor(self) -> np.ndarray:
        """W_Y, float64 [D, D]."""
        return self._arrays["target_factor"]

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return torch.randn(count, self.dim, generator=generator) @ self._sampling_matrices[0]

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return torch.randn(count, self.dim, generator=generator) @ self._sampling_matrices[1]

    def true_map(self, points: Tensor) -> Tensor:
        """Multiplies in double precision; the result has the points' type and device."""
        return (points.double() @ self._map_matrix.to(points.device).T).to(points.dtype)

    @cached_property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        """What `load` got; a pair that nobody loaded makes them itself."""
        return _ground_truth(self.scales)

    @cached_property
    def _sampling_matrices(self) -> tuple[Tensor, Tensor]:
        """W_Xᵀ and W_Yᵀ in single precision."""
        source, target = (
            torch.from_numpy(factor.T.astype(np.float32)) for factor in (self.source_factor, self.target_factor)
        )
        return source, target

    @cached_property
    def _map_matrix(self) -> Tensor:
        return torch.from_numpy(np.array(self._arrays["map"]))


def _ground_truth(scales: np.ndarray) -> dict[str, np.ndarray]:
    """Both factors W = rotation · diag(scales) and the optimal map between their Gaussians, as in `Gaussians.build`.

    The map is A = W_X^{-⊤} (W_X^⊤ Σ_Y W_X)^{1/2} W_X^{-1}: symmetric, positive, and A Σ_X A = Σ_Y. One eigenvalue
    problem and four products of D × D matrices, half a minute of one core and 1.4 GB at D = 4096.
    """
    rng = np.random.RandomState(SEED)
    target_factor, source_factor = (_random_rotation(len(scales), rng) * scales for _ in range(2))  # the authors' order
    correlation = target_factor.T @ source_factor
    squares, axes = np.linalg.eigh(correlation.T @ correlation)
    # W_X^{-⊤} = W_X / scales², and half of the square root goes to each side, so that A is symmetric to the last bit.
    half = (source_factor / np.square(scales)) @ (axes * squares**0.25)
    return {"source_factor": source_factor, "target_factor": target_factor, "map": half @ half.T}


def _random_rotation(dim: int, rng: np.random.RandomState) -> np.ndarray:
    """A Haar-distributed orthogonal matrix, [dim, dim], as a product of random Householder reflections.

    Stewart (1980), "The efficient generation of random orthogonal matrices". The draws are those of the SciPy the
    authors used; today's `ortho_group` turns the same seed into other rotations, hence another pair.
    """
    reflectors = np.zeros((dim, dim), order="F")
    coefficients = np.zeros(dim)
    signs = np.zeros(dim)
    for column in range(dim):
        normal = rng.normal(size=dim - column)
        signs[column] = np.sign(normal[0])
        normal[0] += signs[column] * np.linalg.norm(normal)
        reflectors[column:, column] = normal / normal[0]
        coefficients[column] = 2 * normal[0] ** 2 / (normal @ normal)
    product, _, info = lapack.dorgqr(reflectors, coefficients, lwork=LAPACK_BLOCK * dim)
    if info != 0:
        raise RuntimeError(f"gaussians: LAPACK's dorgqr failed with code {info}")
    return product * np.cumprod(-signs)
