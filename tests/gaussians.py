"""Gaussian posteriors and their divergences as torch.distributions have them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence


def standard_normal(dim: int) -> Independent:
    return Independent(Normal(torch.zeros(dim), torch.ones(dim)), 1)


def posterior_of(mean: Tensor, log_variance: Tensor) -> Independent:
    return Independent(Normal(mean, (0.5 * log_variance).exp()), 1)


def normal_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of each row's posterior to N(0, I), [B, d] both -> [B]."""
    return kl_divergence(posterior_of(mean, log_variance), standard_normal(mean.shape[1]))
