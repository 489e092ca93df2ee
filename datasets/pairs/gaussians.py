"""Two Gaussians in D dimensions whose optimal map is known in closed form.

The pair of Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082), as their code draws it,
rotations included: at D = 1024 it has the squared distance ½W₂² = 180.04935 that they report.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from datasets.base import PairDataset

SEED = 0xC0FFEE


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

    @cached_property
    def source_factor(self) -> np.ndarray:
        """W_X, float64 [D, D]."""
        return self._rotations[1] * self.scales

    @cached_property
    def target_factor(self) -> np.ndarray:
        """W_Y, float64 [D, D]."""
        return self._rotations[0] * self.scales

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return torch.randn(count, self.dim, generator=generator) @ self._sampling_matrices[0]

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return torch.randn(count, self.dim, generator=generator) @ self._sampling_matrices[1]

    def true_map(self, points: Tensor) -> Tensor:
        return _apply(self._map_matrix, points)

    @cached_property
    def _rotations(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the target and of the source: the order in which the authors draw them."""
        rng = np.random.RandomState(SEED)
        return _random_rotation(self.dim, rng), _random_rotation(self.dim, rng)

    @cached_property
    def _sampling_matrices(self) -> tuple[Tensor, Tensor]:
        """W_Xᵀ and W_Yᵀ in single precision."""
        return torch.from_numpy(self.source_factor.T).float(), torch.from_numpy(self.target_factor.T).float()

    @cached_property
    def _map_matrix(self) -> Tensor:
        """A = Σ_X^{-1/2} (Σ_X^{1/2} Σ_Y Σ_X^{1/2})^{1/2} Σ_X^{-1/2}, float64 [D, D]."""
        rotation = self._rotations[1]
        root = (rotation * self.scales) @ rotation.T
        inverse_root = (rotation / self.scales) @ rotation.T
        # The squares of these singular values are the eigenvalues of Σ_X^{1/2} Σ_Y Σ_X^{1/2}.
        axes, lengths, _ = np.linalg.svd(root @ self.target_factor)
        return torch.from_numpy(inverse_root @ (axes * lengths) @ axes.T @ inverse_root)


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Multiplies in double precision; the result has the points' type and device."""
    return (points.double() @ matrix.to(points.device).T).to(points.dtype)


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
    product, _, info = lapack.dorgqr(reflectors, coefficients)
    if info != 0:
        raise RuntimeError(f"gaussians: LAPACK's dorgqr failed with code {info}")
    return product * np.cumprod(-signs)
