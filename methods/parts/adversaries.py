"""Losses of adversaries: discriminators of codes (binary cross-entropy) and Wasserstein critics."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(prior_logits: Tensor, code_logits: Tensor) -> Tensor:
    """Binary cross-entropy of telling draws of the prior (label 1) from codes (label 0)."""
    return F.softplus(-prior_logits).mean() + F.softplus(code_logits).mean()


def non_saturating_loss(code_logits: Tensor) -> Tensor:
    """What the encoder minimizes: the cross-entropy of its codes being taken for draws of the prior."""
    return F.softplus(-code_logits).mean()


def gradient_penalty(critic: Callable[..., Tensor], real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
    """Mean of (‖∇ critic‖ − 1)² at random points between `real` and `fake` (arXiv 1704.00028, eq. 3).

    The critic may take several arguments [B, ...]: each item is interpolated with one weight for all of them, and the
    gradient is with respect to all of them together. Both sides are detached.
    """
    count = len(real[0])
    weight = torch.rand(count, device=real[0].device)
    between = []
    for one, other in zip(real, fake, strict=True):
        w = weight.view(count, *[1] * (one.ndim - 1))
        between.append((w * one + (1 - w) * other).detach().requires_grad_())
    gradients = torch.autograd.grad(critic(*between).sum(), between, create_graph=True)
    norms = torch.cat([gradient.flatten(start_dim=1) for gradient in gradients], dim=1).norm(dim=1)
    return (norms - 1).square().mean()
