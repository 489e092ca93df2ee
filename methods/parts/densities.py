"""Densities fitted to codes after training, for methods without a prior of their own, or to mend one's."""

from __future__ import annotations

from typing import Literal

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

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
        """Fits to codes [N, d]; starts from k-means seeded by torch's generator.

        Raises ValueError for fewer codes than components.
        """
        seed = int(torch.randint(2**31, ()))
        mixture = GaussianMixture(len(self.weights), max_iter=2000, random_state=seed).fit(codes.double().cpu().numpy())
        self.weights.copy_(torch.from_numpy(mixture.weights_))
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.factors.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def forward(self, count: int) -> Tensor:
        """-> [count, d], draws."""
        members = torch.multinomial(self.weights, count, replacement=True)
        noise = torch.randn(count, self.means.shape[1], 1, device=self.means.device)
        return self.means[members] + (self.factors[members] @ noise).squeeze(2)
