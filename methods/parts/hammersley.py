"""Low-discrepancy points on the sphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.priors import SpherePrior


class HammersleyPrior(SpherePrior):
    """Hammersley points on the sphere of radius `scale`, for the Sinkhorn autoencoder (arXiv 1810.01118).

    Each call gives a point set of its own, more even than as many independent draws, in random order. The first
    coordinate of a Hammersley point is its rank, (i + ½) / count, the others are those of a Halton sequence, here with
    randomly permuted digits: without, few points in the large bases of high dimensions lie on a line. Normal quantiles
    and normalization take the cube to the sphere.
    """

    def forward(self, count: int, device: torch.device) -> Tensor:
        from scipy.stats import qmc

        cube = (torch.arange(count)[:, None] + 0.5) / count
        if self.dim > 1:
            seed = int(torch.randint(2**31, ()))
            halton = qmc.Halton(self.dim - 1, seed=seed).random(count)
            cube = torch.cat([cube, torch.from_numpy(halton).to(cube)], dim=1)
        # float32 rounds to 0 and 1, whose quantiles are infinite.
        normal = torch.special.ndtri(cube.clamp(1e-6, 1 - 1e-6))
        return self.scale * F.normalize(normal[torch.randperm(count)]).to(device)
