"""Terms of variational objectives: total correlation, covariance penalties, mixtures of posteriors.

Posteriors are Gaussians with diagonal covariance, given as mean and log-variance; `codes` are one draw of each, and all
three are [B, d] where nothing else is said.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

AggregateEstimator = Literal["weighted", "stratified", "balanced"]


def gaussian_log_density(codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(codes; mean, exp(log_variance)) of each number by itself; shapes broadcast."""
    return -0.5 * ((codes - mean).square() / log_variance.exp() + log_variance + math.log(2 * math.pi))


def pairwise_log_densities(codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log q(z_i | x_j) of each dimension by itself: codes [B, d] and K posteriors [K, d] -> [B, K, d]."""
    return gaussian_log_density(codes[:, None], mean[None], log_variance[None])


def log_mixture_density(codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log of the evenly weighted mixture of K Gaussians, mean and log_variance [K, d], at codes [B, d] -> [B]."""
    log_densities = pairwise_log_densities(codes, mean, log_variance).sum(dim=2)
    return log_densities.logsumexp(dim=1) - math.log(len(mean))


def aggregate_log_weights(
    estimator: AggregateEstimator, batch_size: int, dataset_size: int, device: torch.device | None = None
) -> Tensor:
    """log W [B, B] such that Σ_j W_ij q(z_i | x_j) estimates the aggregate posterior q(z_i).

    "weighted" has 1 / (N B) throughout: biased, yet enough to train on. The others are unbiased and give 1 / N to the
    image that the code is of, M = B − 1: "stratified" gives (N − M) / (N M) to one other and 1 / M to the rest,
    "balanced" (N − 1) / (N M) to each. The first two are of arXiv 1802.04942, whose code puts the 1 / N in the first
    column rather than on the diagonal; here it stands as in the paper. The third is of arXiv 1804.02086.

    Args:
        estimator: one of the three.
        batch_size: B; the unbiased estimates need at least 2.
        dataset_size: N, the number of training images, at least B.
    """
    if estimator == "weighted":
        return torch.full((batch_size, batch_size), -math.log(batch_size * dataset_size), device=device)
    others = batch_size - 1
    rows = torch.arange(batch_size, device=device)
    if estimator == "stratified":
        weights = torch.full((batch_size, batch_size), 1 / others, device=device)
        weights[rows, (rows + 1) % batch_size] = (dataset_size - others) / (dataset_size * others)
    else:
        weights = torch.full((batch_size, batch_size), (dataset_size - 1) / (dataset_size * others), device=device)
    weights[rows, rows] = 1 / dataset_size
    return weights.log()


def decompose_kl(
    codes: Tensor, mean: Tensor, log_variance: Tensor, log_weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mutual information of image and code, total correlation of the codes, and dimension-wise KL to N(0, I).

    Scalars, estimated at the codes; their sum is the mean of log q(z | x) − log p(z), whose expectation is the KL
    (arXiv 1802.04942, eq. 2). `log_weights` are those of `aggregate_log_weights`.
    """
    zeros = torch.zeros_like(codes)
    log_posterior = gaussian_log_density(codes, mean, log_variance).sum(dim=1)
    log_prior = gaussian_log_density(codes, zeros, zeros).sum(dim=1)
    pairs = pairwise_log_densities(codes, mean, log_variance)
    log_aggregate = (log_weights + pairs.sum(dim=2)).logsumexp(dim=1)
    log_marginals = (log_weights[:, :, None] + pairs).logsumexp(dim=1).sum(dim=1)
    return (
        (log_posterior - log_aggregate).mean(),
        (log_aggregate - log_marginals).mean(),
        (log_marginals - log_prior).mean(),
    )


def correlation_within_groups(
    codes: Tensor, mean: Tensor, log_variance: Tensor, log_weights: Tensor, num_groups: int
) -> Tensor:
    """Sum over groups of dimensions of the total correlation within each, a scalar, estimated as in `decompose_kl`.

    Groups are neighbors, of one length, but that the first have one dimension more where it does not divide.
    """
    code_groups, mean_groups, log_variance_groups = (
        values.tensor_split(num_groups, dim=1) for values in (codes, mean, log_variance)
    )
    groups = zip(code_groups, mean_groups, log_variance_groups, strict=True)
    return torch.stack([decompose_kl(z, m, v, log_weights)[1] for z, m, v in groups]).sum()


def permute_dimensions(codes: Tensor) -> Tensor:
    """Codes whose dimensions are shuffled over the batch, each by itself: draws of the product of the marginals."""
    order = torch.rand_like(codes).argsort(dim=0)
    return codes.gather(0, order)


def covariance_penalties(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Squares of a covariance [d, d] off its diagonal, and of its diagonal's distance to 1, summed: two scalars."""
    diagonal = covariance.diagonal()
    return (covariance - diagonal.diag()).square().sum(), (diagonal - 1).square().sum()
