"""The linear map between two distributions: optimal between Gaussians of the same means and covariances.

Its closed form is classical (Dowson and Landau 1982; Knott and Smith 1984).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from methods.base import Sampler, Shape, TransportMap

MOMENT_CHUNK = 4096
"""Points drawn at once for moments, which bounds memory in high dimension."""


class Linear(TransportMap):
    """push(x) = A (x - m_X) + m_Y with A = Σ_X^{-1/2} (Σ_X^{1/2} Σ_Y Σ_X^{1/2})^{1/2} Σ_X^{-1/2}.

    `pull` is the same formula with the roles of X and Y exchanged: the inverse, where both covariances have full rank.
    The error of estimated moments costs at most about 100 · D / num_samples percent of L2-UVP.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        num_samples: points of each distribution that moments are estimated on; more than D of them.
    """

    name = "linear"
    paper = "Knott & Smith 1984; reference row of Korotin et al. 2021, arXiv 2106.01954"
    summary = "optimal map between Gaussians of the same moments, in closed form"
    family = "reference"
    trains = False
    source_mean: Tensor
    target_mean: Tensor
    matrix: Tensor
    inverse_matrix: Tensor

    def __init__(self, shape: Shape, *, num_samples: int = 100_000) -> None:
        super().__init__(shape)
        if num_samples <= self.dim:
            raise ValueError(f"linear: num_samples is {num_samples}; moments in {self.dim} dimensions need more points")
        self.num_samples = num_samples
        self.register_buffer("source_mean", torch.zeros(self.dim))
        self.register_buffer("target_mean", torch.zeros(self.dim))
        self.register_buffer("matrix", torch.eye(self.dim))
        self.register_buffer("inverse_matrix", torch.eye(self.dim))

    def push(self, points: Tensor) -> Tensor:
        return (points - self.source_mean) @ self.matrix.T + self.target_mean

    def pull(self, points: Tensor) -> Tensor:
        return (points - self.target_mean) @ self.inverse_matrix.T + self.source_mean

    def prepare(self, source: Sampler, target: Sampler) -> None:
        source_mean, source_covariance = sample_moments(source, self.num_samples)
        target_mean, target_covariance = sample_moments(target, self.num_samples)
        self.source_mean.copy_(source_mean)
        self.target_mean.copy_(target_mean)
        self.matrix.copy_(gaussian_map(source_covariance, target_covariance))
        self.inverse_matrix.copy_(gaussian_map(target_covariance, source_covariance))


def sample_moments(sampler: Sampler, count: int) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] of `count` >= 2 draws, float64.

    Sums are taken about the mean of the first chunk, so that a mean far from 0 costs no precision.
    """
    chunks = _draws(sampler, count)
    first = next(chunks)
    center = first.mean(dim=0)
    total, scatter = (first - center).sum(dim=0), (first - center).T @ (first - center)
    for points in chunks:
        points -= center
        total += points.sum(dim=0)
        scatter += points.T @ points
    shift = total / count
    return center + shift, (scatter - count * torch.outer(shift, shift)) / (count - 1)


def sample_mean(sampler: Sampler, count: int) -> Tensor:
    """Mean [D] of `count` >= 1 draws, float64."""
    return torch.stack([points.sum(dim=0) for points in _draws(sampler, count)]).sum(dim=0) / count


def _draws(sampler: Sampler, count: int) -> Iterator[Tensor]:
    """`count` points in chunks, float64."""
    for start in range(0, count, MOMENT_CHUNK):
        yield sampler(min(MOMENT_CHUNK, count - start)).double()


def gaussian_map(source_covariance: Tensor, target_covariance: Tensor) -> Tensor:
    """The matrix of the optimal map from N(0, Σ_X) to N(0, Σ_Y); directions in which X has no variance go to 0."""
    variances, axes = torch.linalg.eigh(source_covariance)
    variances = variances.clamp(min=0)
    seen = variances > variances.max() * variances.shape[0] * torch.finfo(variances.dtype).eps
    inverse_root = (axes * torch.where(seen, variances, torch.inf).rsqrt()) @ axes.T
    root = (axes * variances.sqrt()) @ axes.T
    middle_variances, middle_axes = torch.linalg.eigh(root @ target_covariance @ root)
    middle = (middle_axes * middle_variances.clamp(min=0).sqrt()) @ middle_axes.T
    return inverse_root @ middle @ inverse_root
