"""Batch norm of posteriors."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn


class PosteriorNorm(nn.Module):
    """Shifts and scales Gaussian posteriors so that their mixture over a batch is standardized ("latent_bn" of GWAE).

    mean ← (mean − m) / s and log-variance ← log-variance − log s² with m the mean of means and s² the mean of variances
    plus the variance of means, dimension by dimension: of the batch in training, where gradients flow through them;
    running averages of m and log s² in evaluation (code of arXiv 2209.07007).
    """

    momentum: ClassVar[float] = 0.5
    running_mean: Tensor
    running_log_variance: Tensor
    num_batches: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_log_variance", torch.zeros(dim))
        self.register_buffer("num_batches", torch.tensor(0))

    def forward(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of posteriors, [B, dim] both before and after; at least two in training."""
        if self.training:
            center = mean.mean(dim=0)
            within = log_variance.logsumexp(dim=0) - math.log(len(log_variance))
            between = mean.var(dim=0).clamp(min=1e-10).log()
            log_scale = torch.logaddexp(within, between)
            self._track(center.detach(), log_scale.detach())
        else:
            center, log_scale = self.running_mean, self.running_log_variance
        return (mean - center) * (-0.5 * log_scale).exp(), log_variance - log_scale

    def _track(self, center: Tensor, log_scale: Tensor) -> None:
        """Moves the running averages; the first batch sets them."""
        weight = torch.where(self.num_batches == 0, 1.0, self.momentum)
        self.running_mean.lerp_(center, weight)
        self.running_log_variance.lerp_(log_scale, weight)
        self.num_batches += 1
