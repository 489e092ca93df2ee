"""Divergences between distributions, from samples or in closed form, as training losses.

Samples are codes [n, d]; every function returns a scalar tensor but where it says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
"""A radial kernel: squared distances -> kernel values, elementwise."""

KernelName = Literal["imq", "rbf"]

IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) ‖ N(0, I)) of each row, [B, d] -> [B]."""
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖² of [n, d] and [m, d] -> [n, m], never below 0."""
    products = x @ y.T
    return ((x**2).sum(dim=1)[:, None] + (y**2).sum(dim=1)[None, :] - 2 * products).clamp(min=0)


def imq_kernel(base_scale: float) -> Kernel:
    """Σ_s C_s / (C_s + r²) over C_s = s · base_scale, s in IMQ_SCALES: inverse multiquadratics (arXiv 1711.01558)."""

    def kernel(squared: Tensor) -> Tensor:
        return torch.stack([s * base_scale / (s * base_scale + squared) for s in IMQ_SCALES]).sum(dim=0)

    return kernel


def rbf_kernel(squared_bandwidth: Tensor | float) -> Kernel:
    """exp(−r² / (2 · squared_bandwidth))."""
    return lambda squared: torch.exp(-squared / (2 * squared_bandwidth))


def infovae_kernel(dim: int) -> Kernel:
    """exp(−mean((z − z')²) / dim) of codes of `dim` dimensions: of the code of arXiv 1706.02262, and of GWAE's."""
    return rbf_kernel(0.5 * dim**2)


def median_bandwidth(codes: Tensor, noise: Tensor) -> Tensor:
    """σ² of the RBF kernel by the WAE authors' heuristic, for two samples of the same size n.

    The median of the squared distances between the samples, plus that among the codes. Either is the
    (n² − n)/2-th largest of n² entries, and the gradient flows through it, as in their code.
    """
    rank = len(codes) * (len(codes) - 1) // 2
    tables = squared_distances(codes, noise), squared_distances(codes, codes)
    return torch.stack([table.flatten().topk(rank).values[-1] for table in tables]).sum()


def mmd(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy; its mean is 0 for equal laws, so it may be negative.

    The U-statistic of Gretton et al. 2012, eq. 3: pairs of a point with itself are left out within the samples, and
    kept between them, as in the WAE authors' code. Needs at least two points on either side.
    """

    def within(points: Tensor) -> Tensor:
        n = len(points)
        values = kernel(squared_distances(points, points))
        return (values.sum() - values.diagonal().sum()) / (n * (n - 1))

    return within(x) + within(y) - 2 * kernel(squared_distances(x, y)).mean()


def biased_mmd(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """Squared maximum mean discrepancy of two samples [n, d], every pair counted: never below 0 (the V-statistic)."""
    within = kernel(squared_distances(x, x)).mean() + kernel(squared_distances(y, y)).mean()
    return within - 2 * kernel(squared_distances(x, y)).mean()


def sliced_wasserstein(x: Tensor, y: Tensor, num_projections: int) -> Tensor:
    """Monte-Carlo estimate of the squared sliced 2-Wasserstein distance of two samples of the same size [n, d].

    Mean over random directions, uniform on the sphere, of the one-dimensional W₂², which sorting solves
    (arXiv 1804.01947).
    """
    directions = torch.randn(x.shape[1], num_projections, device=x.device)
    directions = directions / directions.norm(dim=0)
    return ((x @ directions).sort(dim=0).values - (y @ directions).sort(dim=0).values).square().mean()


def sinkhorn_divergence(x: Tensor, y: Tensor, epsilon: float, iterations: int) -> Tensor:
    """S(x, y) − ½ (S(x, x) + S(y, y)) of samples [n, d] and [m, d], S = ⟨plan, ‖x_i − y_j‖²⟩ (arXiv 1810.01118).

    Its "sharp" form, eq. 12. The plans are those of entropic transport, after a fixed number of iterations, through all
    of which gradients flow. Their entropies are left out of S, as POT leaves them out of `sinkhorn2` and of
    `empirical_sinkhorn_divergence`; the Sinkhorn divergence of arXiv 1810.08278 has them. All tend to W₂² for ε to 0.
    Unlike POT's divergence, this is not clipped at 0, where the gradient would vanish: without entropies, or before it
    converged, it may be negative. The paper rounds the plans to exact marginals; here those of y, or of the second
    argument, are missed by what the iterations leave.
    """
    import ot

    def cost(left: Tensor, right: Tensor) -> Tensor:
        costs = squared_distances(left, right)
        return ot.sinkhorn2([], [], costs, epsilon, method="sinkhorn_log", numItermax=iterations, stopThr=0, warn=False)

    return cost(x, y) - 0.5 * (cost(x, x) + cost(y, y))


def silverman_bandwidth(count: int) -> float:
    """Variance of the Gaussian that smooths a one-dimensional sample of unit variance: (4 / 3n)^(2/5)."""
    return (4 / (3 * count)) ** 0.4


def cramer_wold_to_standard_normal(codes: Tensor) -> Tensor:
    """Squared Cramér–Wold distance of codes [n, d] to N(0, I) (arXiv 1805.09235).

    Mean over directions of the squared L₂ distance of the two projected densities, both smoothed by a Gaussian of
    Silverman's variance γ. In closed form up to φ, see `_mean_over_directions`.
    """
    count, dim = codes.shape
    gamma = silverman_bandwidth(count)

    def kernel(squared: Tensor, variance: float) -> Tensor:
        """∫ of N(⟨v, x⟩; 0, 2 · variance) over directions v, for ‖x‖² = squared."""
        return _mean_over_directions(squared / (4 * variance), dim) / math.sqrt(4 * math.pi * variance)

    norms = codes.square().sum(dim=1)
    within = kernel(squared_distances(codes, codes), gamma).mean()
    return within + 1 / math.sqrt(4 * math.pi * (1 + gamma)) - 2 * kernel(norms, gamma + 0.5).mean()


def _mean_over_directions(s: Tensor, dim: int) -> Tensor:
    """φ(s) = mean of exp(−s v₁²) over v uniform on the unit sphere of R^dim.

    Exact for dim 1 and 2; above, the paper's asymptotic form, off by at most 13 % of φ in 3 dimensions, 3 % in 8 and
    1 % in 20. The authors' code has it from 8 dimensions on (20, before) and refuses those between.
    """
    if dim == 1:
        return torch.exp(-s)
    if dim == 2:
        return torch.special.i0e(s / 2)
    return (1 + 4 * s / (2 * dim - 3)).rsqrt()


def covariance(codes: Tensor, *, correction: int = 1) -> Tensor:
    """[n, d] -> [d, d], a sum over n − `correction`. torch.cov is the same, but waits for a GPU."""
    centered = (codes - codes.mean(dim=0)).T
    return centered @ centered.T / (len(codes) - correction)


def moment_mismatch(codes: Tensor, noise: Tensor) -> Tensor:
    """Mean squared difference of the means, plus that of the covariances: what WAE's encoder is pretrained on."""
    means = (codes.mean(dim=0) - noise.mean(dim=0)).square().mean()
    return means + (covariance(codes) - covariance(noise)).square().mean()


def gromov_wasserstein(codes: Tensor, images: Tensor, coefficient: Tensor) -> Tensor:
    """Mean over pairs of |a · ‖z_i − z_j‖ / s − ‖x_i − x_j‖|, the distortion of the decoder (arXiv 2209.07007).

    Args:
        codes: z [B, d]; s is the mean over dimensions of their standard deviation.
        images: x [B, ...], what the codes decode to.
        coefficient: a, a scalar; the unit of length of the latent space.
    """
    scale = codes.std(dim=0).mean().clamp(min=1e-8)
    return (pairwise_distances(codes) * (coefficient / scale) - pairwise_distances(images)).abs().mean()


def pairwise_distances(points: Tensor) -> Tensor:
    """Euclidean distances [B, ...] -> [B, B]; exactly 0, with a gradient of 0, on the diagonal."""
    flat = points.flatten(start_dim=1)
    return torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
