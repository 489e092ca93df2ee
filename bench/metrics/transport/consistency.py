"""What an optimal map and its inverse fulfil whatever the target: they undo each other, and the map is monotone."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import Output, Unmeasurable, metric
from bench.metrics.ranks import order_by_norm
from bench.metrics.transport.truth import mean_square

CHUNK_PAIRS = 1024
"""Pairs whose differences are held at once."""


@metric(
    table="transport",
    source="cycle consistency: Korotin et al. 2021, arXiv 1909.13082",
    outputs={"cycle-error": Output("min", "%", "squared error of going there and back, as a share of source variance")},
    protocol={"variance": "trace of the covariance of the source"},
)
def cycle_error(
    source: np.ndarray, cycled: np.ndarray, source_variance: float, *, num_samples: int = 4096
) -> dict[str, float]:
    """100 · E‖T̂⁻¹(T̂(x)) - x‖² / Var(P)."""
    return {"cycle-error": 100 * mean_square(cycled - source) / source_variance}


@metric(
    table="transport",
    source="monotonicity of gradients of convex functions: Brenier 1991",
    outputs={
        "monotonicity-violations": Output("min", "%", "share of pairs of points that the map moves past each other")
    },
)
def monotonicity_violations(
    source: np.ndarray,
    pushed: np.ndarray,
    rng: np.random.Generator,
    *,
    pairs: int = 100_000,
    num_samples: int = 4096,
) -> dict[str, float]:
    """Share in percent of random pairs with ⟨T̂(x) - T̂(y), x - y⟩ < 0: none for a gradient of a convex function.

    Raises Unmeasurable with fewer than two points, or no pairs.
    """
    if min(len(source), pairs + 1) < 2:
        raise Unmeasurable(f"there are {len(source)} points and {pairs} pairs of them; monotonicity is about pairs")
    order = order_by_norm(source)
    first = rng.integers(len(source), size=pairs)
    second = (first + rng.integers(1, len(source), size=pairs)) % len(source)
    violations = 0
    for start in range(0, pairs, CHUNK_PAIRS):
        left, right = (order[ends[start : start + CHUNK_PAIRS]] for ends in (first, second))
        products = np.einsum("nd,nd->n", pushed[left] - pushed[right], source[left] - source[right])
        violations += int((products < 0).sum())
    return {"monotonicity-violations": 100 * violations / pairs}
