"""The evidence lower bound: its parts add up, and are those of a model whose likelihood is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.metrics.base import Unmeasurable
from bench.metrics.latent.evidence_bound import elbo


def test_the_bound_is_minus_the_sum_of_its_means() -> None:
    assert elbo(np.array([1.0, 3]), np.array([10.0, 20])) == {"elbo": -17, "rate": 2, "distortion": 15}


def test_num_samples_bounds_the_images() -> None:
    assert elbo(np.array([1.0, 3]), np.array([10.0, 20]), num_samples=1)["elbo"] == -11


def test_the_bound_of_an_exact_posterior_is_the_log_likelihood() -> None:
    """x = z + noise in one dimension: p(x) = N(0, 2), q(z | x) = p(z | x) = N(x / 2, 1/2)."""
    rng = np.random.default_rng(0)
    x = math.sqrt(2) * rng.standard_normal(200_000)
    z = x / 2 + math.sqrt(0.5) * rng.standard_normal(len(x))
    rates = 0.5 * ((x / 2) ** 2 + 0.5 - math.log(0.5) - 1)
    distortions = -stats.norm(z, 1).logpdf(x)
    expected = stats.norm(0, math.sqrt(2)).logpdf(x).mean()
    assert elbo(rates, distortions, num_samples=len(x))["elbo"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("part", [0, 1])
def test_values_that_are_not_finite_have_no_bound(part: int) -> None:
    parts = [np.ones(3), np.ones(3)]
    parts[part][1] = np.nan
    with pytest.raises(Unmeasurable, match=("rates", "distortions")[part]):
        elbo(*parts)
