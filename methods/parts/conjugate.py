"""Convex conjugates of learned potentials, point by point: f*(y) = max_x ⟨x, y⟩ - f(x) and where it is attained.

The solver is L-BFGS with an Armijo line search, as of Amos, "On amortizing convex optimal transport" (2023, arXiv
2210.12153), for all points at once: each has its own history, step lengths and end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Values [B] and gradients [B, D] of one function at points [B, D]."""

SUFFICIENT_DECREASE = 1e-4
SHORTEST, LONGEST = 0.1, 0.7
"""Bounds of the factor by which a step that does not descend is shortened."""
ROUNDING = 32
"""Multiple of the machine's precision within which two values do not tell which is lower."""


@dataclass(frozen=True)
class LBFGS:
    """How far and how carefully conjugates are solved.

    tolerance: a point is done once the largest entry of ∇f(x) - y is below this.
    max_iterations: directions taken at most; a point that is not done by then is left where it is.
    max_backtracks: how often a step may be shortened by a third; a point that still does not descend is left.
    history: number of past steps that make up the approximate Hessian.
    """

    tolerance: float = 1e-3
    max_iterations: int = 100
    max_backtracks: int = 30
    history: int = 10


@torch.no_grad()
def conjugate_points(function: Function, slopes: Tensor, start: Tensor, settings: LBFGS) -> tuple[Tensor, int]:
    """argmax_x ⟨x, y⟩ - f(x) for every row y of `slopes` [B, D], from `start` [B, D]: local where f is not convex.

    Returns the points [B, D] and the number of iterations of the one that took longest.
    """
    solution = start.clone()
    open_rows = torch.arange(len(start), device=start.device)
    points = start
    values, gradients = _shifted(function, slopes, points)
    memory: list[tuple[Tensor, Tensor, Tensor]] = []
    iteration = 0
    while True:
        unfinished = gradients.abs().amax(dim=1) > settings.tolerance  # False as well where it is not a number
        if not unfinished.all():
            solution[open_rows] = points
            left = unfinished.nonzero().squeeze(1)  # once: each use of a mask as an index waits for a GPU
            open_rows, slopes, points = open_rows[left], slopes[left], points[left]
            values, gradients = values[left], gradients[left]
            memory = [(steps[left], bends[left], rhos[left]) for steps, bends, rhos in memory]
        if len(open_rows) == 0 or iteration == settings.max_iterations:
            solution[open_rows] = points
            return solution, iteration
        iteration += 1

        directions = -_inverse_hessian_product(memory, gradients)
        steps, new_values, new_gradients, moved = _descend(
            function, slopes, points, values, gradients, directions, settings.max_backtracks
        )
        bends = new_gradients - gradients
        curvatures = (steps * bends).sum(dim=1)
        # Where the curvature is not positive, the pair would spoil the approximation; at rho 0 it has no say.
        sound = curvatures > torch.finfo(curvatures.dtype).eps * bends.square().sum(dim=1)
        rhos = torch.where(sound, 1 / curvatures, 0.0)
        memory = [*memory[-(settings.history - 1) :], (steps, bends, rhos)]
        points, values, gradients = points + steps, new_values, new_gradients
        if not moved.all():  # no descent left along the direction: their points stay
            gradients = torch.where(moved[:, None], gradients, 0.0)


def _shifted(function: Function, slopes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) - ⟨x, y⟩ and its gradient."""
    values, gradients = function(points)
    return values - (points * slopes).sum(dim=1), gradients - slopes


def _inverse_hessian_product(memory: list[tuple[Tensor, Tensor, Tensor]], gradients: Tensor) -> Tensor:
    """H g by the two-loop recursion, [B, D]."""
    product = gradients
    weights = []
    for steps, bends, rhos in reversed(memory):
        weight = rhos * (steps * product).sum(dim=1)
        product = product - weight[:, None] * bends
        weights.append(weight)
    scale = torch.ones_like(gradients[:, 0])
    for _, bends, rhos in memory:
        scale = torch.where(rhos > 0, 1 / (rhos * bends.square().sum(dim=1)), scale)
    product = scale[:, None] * product
    for (steps, bends, rhos), weight in zip(memory, reversed(weights), strict=True):
        product = product + (weight - rhos * (bends * product).sum(dim=1))[:, None] * steps
    return product


def _descend(
    function: Function,
    slopes: Tensor,
    points: Tensor,
    values: Tensor,
    gradients: Tensor,
    directions: Tensor,
    max_backtracks: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Steps along the directions, of length 1 or else as short as it takes to decrease the value enough.

    Near the optimum, where a decrease drowns in rounding, the derivative decides instead: it must not be steeper up
    than it was down (approximate Wolfe conditions of Hager and Zhang 2005).

    Returns steps [B, D], values [B] and gradients [B, D] there, and which points have moved [B].
    """
    descents = (gradients * directions).sum(dim=1)
    slack = ROUNDING * torch.finfo(values.dtype).eps * values.abs()

    def accepted(rows: Tensor, lengths: Tensor, trial_values: Tensor, ends: Tensor) -> Tensor:
        rise = trial_values - values[rows]
        return (rise <= SUFFICIENT_DECREASE * lengths * descents[rows]) | (
            (rise <= slack[rows]) & (ends <= -(1 - 2 * SUFFICIENT_DECREASE) * descents[rows])
        )

    steps = directions
    new_values, new_gradients = _shifted(function, slopes, points + steps)
    rows = torch.arange(len(points), device=points.device)
    lengths = torch.ones_like(values)
    ends = (new_gradients * directions).sum(dim=1)
    moved = accepted(rows, lengths, new_values, ends)
    for _ in range(max_backtracks):
        rows = (~moved).nonzero().squeeze(1)
        if len(rows) == 0:
            break
        # Where the derivative along the direction, were it linear, would vanish.
        shares = torch.where(ends[rows] > 0, descents[rows] / (descents[rows] - ends[rows]), 0.5)
        shorter = lengths[rows] * shares.clamp(SHORTEST, LONGEST)
        trial_steps = shorter[:, None] * directions[rows]
        trial_values, trial_gradients = _shifted(function, slopes[rows], points[rows] + trial_steps)
        trial_ends = (trial_gradients * directions[rows]).sum(dim=1)
        lengths[rows], ends[rows], moved[rows] = shorter, trial_ends, accepted(rows, shorter, trial_values, trial_ends)
        steps = steps.index_copy(0, rows, trial_steps)
        new_values[rows], new_gradients[rows] = trial_values, trial_gradients
    steps = torch.where(moved[:, None], steps, 0.0)
    return steps, torch.where(moved, new_values, values), torch.where(moved[:, None], new_gradients, gradients), moved
