"""Gradients of what a method minimizes against those of its formula."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


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
