"""Densities fitted to codes after training, for methods without a prior of their own, or to mend one's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Density = Literal["prior", "gaussian", "gaussian-mixture"]

COMPONENTS: dict[Density, int] = {"gaussian": 1, "gaussian-mixture": 10}
"""Gaussians in each, as in arXiv 1903.12436."""


class FittedMixture(nn.Module):
    """A mixture of Gaussians with full covariances, by expectation maximization; N(0, I) until it is fitted.

    Args:
        dim: length d of a code.
        num_components: of the mixture; one is a Gaussian.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, dim: int, num_components: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((num_components,), 1 / num_components))
        self.register_buffer("means", torch.zeros(num_components, dim))
        self.register_buffer("factors", torch.eye(dim).repeat(num_components, 1, 1))

    def fit(self, codes: Tensor) -> None:
        """Fits to codes [N, d], see `fit_mixture`."""
        mixture = fit_mixture(codes, len(self.weights), "full")
        self.weights.copy_(torch.from_numpy(mixture.weights_))
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.factors.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def forward(self, count: int) -> Tensor:
        """-> [count, d], draws."""
        members = torch.multinomial(self.weights, count, replacement=True)
        draws = torch.randn(count, self.means.shape[1], device=self.means.device)
        # A component at a time: a factor for every draw would take count · d² numbers.
        for component, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            chosen = members == component
            draws[chosen] = mean + draws[chosen] @ factor.T
        return draws


def fit_mixture(codes: Tensor, num_components: int, covariance: Literal["full", "diag"]) -> GaussianMixture:
    """A mixture of Gaussians fitted to codes [N, d] in float64, from k-means seeded by torch's generator.

    One start, at most 2,000 iterations and a tolerance of 1e-3, as in the code of arXiv 1903.12436. Raises ValueError
    for fewer codes than components, or codes that are not finite.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(
        num_components, covariance_type=covariance, max_iter=2000, random_state=int(torch.randint(2**31, ()))
    )
    # Threads add up in whatever order, and the last digit of a sum may decide which way k-means goes.
    with threadpool_limits(limits=1):
        return mixture.fit(codes.double().cpu().numpy())
