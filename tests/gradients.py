"""Gradients of what a method minimizes against those of its formula."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def assert_same_gradients(
    found: Tensor, expected: Tensor, inputs: Iterable[Tensor], *, rtol: float = 1e-3, atol: float = 1e-4
) -> None:
    """In all inputs; those that have no part in a scalar have gradient 0."""
    points = list(inputs)
    ours, theirs = (
        torch.autograd.grad(value, points, retain_graph=True, allow_unused=True, materialize_grads=True)
        for value in (found, expected)
    )
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    """Mean over logits of one label, 0 or 1."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def gradients(loss: Tensor, module: nn.Module) -> list[Tensor]:
    """Of every parameter of the module."""
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True))


def found_gradients(module: nn.Module) -> list[Tensor]:
    """Those that a method's own update left behind."""
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
