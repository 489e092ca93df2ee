"""What the disentanglement metrics share: drawing points, the conditions on them, and disent's private formulas."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from bench.metrics.base import Unmeasurable
from bench.metrics.checks import require_finite
from bench.torchvision_compat import import_torchvision

DRAWN = "drawn from the split without replacement"
"""How `choose` takes the points, as metrics say it in their protocol under `points`."""


def choose(available: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `count` of the points, without replacement, in random order.

    The numbers of points decide the values of these metrics, so a split that has too few is no reason to use fewer.

    Returns:
        int64 [count].

    Raises:
        Unmeasurable: fewer points than asked for.
    """
    if available < count:
        raise Unmeasurable(f"the split has {available:,} points, {count:,} were asked for")
    return rng.permutation(available)[:count]


def draw(codes: np.ndarray, factors: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The codes and factors of `count` points, see `choose`.

    Args:
        codes: [N, d]; returned in float64, since bins of a narrow range have no distinct edges in float32.
        factors: [N, F].

    Returns:
        float64 [count, d] and [count, F].

    Raises:
        Unmeasurable: fewer points than asked for, or codes that are not finite.
    """
    require_finite(codes=codes)
    chosen = choose(len(codes), count, rng)
    return codes[chosen].astype(np.float64), factors[chosen]


def require_varying(factors: np.ndarray) -> None:
    """Raises Unmeasurable naming the first factor of [N, F] that has a single value."""
    constant = np.flatnonzero((factors == factors[:1]).all(axis=0))
    if len(constant):
        raise Unmeasurable(
            f"factor {constant[0]} (of 0 to {factors.shape[1] - 1}) has a single value in the {len(factors):,} points"
        )


def import_disent(module: str) -> ModuleType:
    """A module of disent.metrics; its import warns about a compiler that the metrics do not use."""
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"disent.metrics.{module}")


@contextmanager
def global_numpy_seeded_from(rng: np.random.Generator) -> Iterator[None]:
    """NumPy's global generator seeded by a draw of `rng`, and as it was afterwards: for libraries that use it."""
    state = np.random.get_state()
    np.random.seed(rng.integers(2**32))
    try:
        yield
    finally:
        np.random.set_state(state)
