"""`compile = true`: updates whose objective is compiled, and seen to have the method's derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from methods.base import Losses

DIFFERENCE = 0.05
"""Of all derivatives, relative: above it they are wrong. Rounding makes 1e-7, in bfloat16 1e-2; a compiler's error,
0.1."""


class CompileError(Exception):
    """The compiled objective has other derivatives than the method's own."""


def compiled_step(method: Any) -> Callable[..., Losses]:
    """A method's `train_step`, with `objective` compiled (`torch.compile`); what is random stays what it is.

    On a GPU, what is compiled is recorded as CUDA graphs: one launch in place of one for each kernel.

    Raises CompileError at the first update, before a parameter has changed, where the compiler got derivatives wrong.
    """
    graphs = any(parameter.is_cuda for parameter in method.parameters())
    objective = torch.compile(method.objective, options={"fallback_random": True, "triton.cudagraphs": graphs})
    seen = False

    def update(*batch: Tensor) -> Losses:
        nonlocal seen
        if not seen:
            _require_same_derivatives(method, objective, batch)
            seen = True
        torch.compiler.cudagraph_mark_step_begin()  # losses and gradients of the update before are no longer needed
        vars(method)["objective"] = objective  # only while an update is made: a checkpoint could not hold it
        try:
            return method.train_step(*batch)
        finally:
            del vars(method)["objective"]

    return update


def _require_same_derivatives(method: Any, compiled: Callable[..., Losses], batch: tuple[Tensor, ...]) -> None:
    expected = _derivatives(method, method.objective, batch)
    found = _derivatives(method, compiled, batch)
    length = torch.linalg.vector_norm(expected)
    difference = torch.linalg.vector_norm(found - expected)
    if not length.isfinite():
        return  # training itself will say so
    if not difference <= DIFFERENCE * length:  # nor where the compiled ones are not finite
        raise CompileError(
            f"the compiled objective's derivatives differ from the method's own by {difference / length:.2g} of their "
            f"length: torch {torch.__version__} compiles {method.name} wrongly; train it without compile = true"
        )


def _derivatives(method: Any, objective: Callable[..., Losses], batch: tuple[Tensor, ...]) -> Tensor:
    """Of the objective by all parameters, in one vector; random streams and buffers are left as they were."""
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    buffers = [(buffer, buffer.clone()) for buffer in method.buffers()]
    with torch.random.fork_rng({parameter.device for parameter in parameters if parameter.is_cuda}):
        loss = next(iter(objective(*batch).values()))
        by = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    for buffer, before in buffers:
        buffer.copy_(before)
    return torch.cat([derivative.flatten() for derivative in by])
