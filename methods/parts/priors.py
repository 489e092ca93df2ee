"""Priors on codes: fixed ones, and ones that are learned.

A prior is a module: `prior(count, device)` -> codes [count, dim].
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Gumbel
from torch.nn import functional as F

PriorName = Literal["normal", "sphere", "uniform"]


class FixedPrior(nn.Module):
    """A prior without parameters: a standard one times `scale`. Not used directly."""

    def __init__(self, dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.dim = dim
        self.scale = scale

    def forward(self, count: int, device: torch.device) -> Tensor:
        """-> [count, dim]"""
        raise NotImplementedError

    def project(self, codes: Tensor) -> Tensor:
        """Brings an encoder's outputs [B, dim] into the prior's support."""
        return codes

    def squared_spread(self) -> float:
        """The order of E‖z − z'‖², which sets the scale of WAE's kernels.

        The WAE authors let the prior's scale into the normal one's alone.
        """
        raise NotImplementedError


class NormalPrior(FixedPrior):
    """N(0, scale² I)."""

    def forward(self, count: int, device: torch.device) -> Tensor:
        return self.scale * torch.randn(count, self.dim, device=device)

    def squared_spread(self) -> float:
        return 2 * self.dim * self.scale**2


class SpherePrior(FixedPrior):
    """Uniform on the sphere of radius `scale`."""

    def forward(self, count: int, device: torch.device) -> Tensor:
        return self.scale * F.normalize(torch.randn(count, self.dim, device=device))

    def project(self, codes: Tensor) -> Tensor:
        return self.scale * F.normalize(codes)

    def squared_spread(self) -> float:
        return 2.0


class UniformPrior(FixedPrior):
    """Uniform on [−scale, scale]^dim."""

    def forward(self, count: int, device: torch.device) -> Tensor:
        return self.scale * (2 * torch.rand(count, self.dim, device=device) - 1)

    def project(self, codes: Tensor) -> Tensor:
        return self.scale * codes.tanh()

    def squared_spread(self) -> float:
        """As the WAE authors have it, up to the constant 2/3."""
        return float(self.dim)


FIXED_PRIORS: dict[PriorName, type[FixedPrior]] = {
    "normal": NormalPrior,
    "sphere": SpherePrior,
    "uniform": UniformPrior,
}


class LeakySiLU(nn.Module):
    """(1 − a) · SiLU(x) + a · x with a = 0.2."""

    slope: ClassVar[float] = 0.2

    def forward(self, x: Tensor) -> Tensor:
        return (1 - self.slope) * F.silu(x) + self.slope * x


class NeuralPrior(nn.Module):
    """The push-forward of N(0, I) by a learned network, standardized (arXiv 2209.07007, "NP").

    Three hidden layers of 4·dim units, then batch norm without scale and shift: each batch of samples has mean 0 and
    variance 1 in every dimension. In eval mode the running moments stand in for the batch's.
    """

    momentum: ClassVar[float] = 0.5

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.network = nn.Sequential(
            *self.layer(dim, 4 * dim),
            LeakySiLU(),
            *self.layer(4 * dim, 4 * dim),
            LeakySiLU(),
            *self.layer(4 * dim, 4 * dim),
            LeakySiLU(),
            *self.layer(4 * dim, dim),
            nn.BatchNorm1d(dim, momentum=self.momentum, affine=False),
        )

    def layer(self, inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs)]

    def forward(self, count: int, device: torch.device) -> Tensor:
        return self.network(torch.randn(count, self.dim, device=device))


class FactorizedNeuralPrior(NeuralPrior):
    """As `NeuralPrior`, one network of its own a dimension, so that dimensions are independent ("FNP").

    Grouped convolutions of width 1 are the independent networks, four hidden units a dimension in each layer.
    """

    def layer(self, inputs: int, outputs: int) -> list[nn.Module]:
        grouped = nn.Conv1d(inputs, outputs, kernel_size=1, groups=self.dim)
        return [nn.Unflatten(1, (inputs, 1)), grouped, nn.Flatten()]


class GaussianMixturePrior(nn.Module):
    """A mixture of Gaussians with learned means and full covariances, standardized ("GMP" of arXiv 2209.07007).

    Component k is μ_k + ε S_k with ε ~ N(0, I) a row, hence of covariance S_kᵀ S_k. Membership is drawn by the
    Gumbel-max trick, which has no gradient: the weights stay what their initialization made them, as in the authors'
    code. The sample is standardized as in `NeuralPrior`. The product ε S_k is the paper's; the authors' code multiplies
    elementwise and sums, which leaves every component a diagonal covariance, and its published rows are of that.
    """

    def __init__(self, dim: int, num_components: int) -> None:
        super().__init__()
        if num_components < 2:
            raise ValueError(f"a mixture needs at least 2 components, not {num_components}")
        self.dim = dim
        self.means = nn.Parameter(torch.randn(num_components, dim))
        self.factors = nn.Parameter(torch.eye(dim) + 0.01 * torch.randn(num_components, dim, dim))
        self.logits = nn.Parameter(torch.randn(num_components))
        self.batch_norm = nn.BatchNorm1d(dim, affine=False, momentum=NeuralPrior.momentum)

    def forward(self, count: int, device: torch.device) -> Tensor:
        scores = self.logits.expand(count, -1)
        members = (scores + draw_gumbel(scores)).argmax(dim=1)
        noise = torch.randn(count, 1, self.dim, device=device)
        return self.batch_norm(self.means[members] + (noise @ self.factors[members]).squeeze(1))

    def component_codes(self, count: int) -> Tensor:
        """-> [components, count, dim]: draws of each, standardized as the mixture is; for evaluation."""
        points = (
            self.means[:, None] + torch.randn(len(self.means), count, self.dim, device=self.means.device) @ self.factors
        )
        return self.batch_norm(points.flatten(end_dim=1)).view_as(points)

    def log_responsibilities(self, codes: Tensor) -> Tensor:
        """log p(component | code), [B, dim] -> [B, components], by Bayes' rule.

        Codes are standardized samples; the running moments of the batch norm lead back to the mixture's own space.
        """
        variance, mean = self.batch_norm.running_var, self.batch_norm.running_mean
        assert variance is not None
        assert mean is not None
        points = codes * (variance + self.batch_norm.eps).sqrt() + mean
        # ε of each point under each component: (x − μ_k) S_k⁻¹.
        noise = torch.linalg.solve(self.factors, (points - self.means[:, None, :]), left=False)
        log_density = -0.5 * noise.square().sum(dim=2) - torch.linalg.slogdet(self.factors).logabsdet[:, None]
        return (self.logits[:, None] + log_density).log_softmax(dim=0).T


class VectorQuantizedPrior(nn.Module):
    """The nearest of learned vectors to a draw of N(0, I) ("VQ" of the code of arXiv 2209.07007); not standardized."""

    def __init__(self, dim: int, num_embeddings: int) -> None:
        super().__init__()
        self.dim = dim
        self.embeddings = nn.Parameter(torch.randn(num_embeddings, dim))

    def forward(self, count: int, device: torch.device) -> Tensor:
        noise = torch.randn(count, self.dim, device=device)
        return self.embeddings[torch.cdist(noise, self.embeddings).argmin(dim=1)]


def draw_gumbel(like: Tensor) -> Tensor:
    """Draws of the standard Gumbel distribution, of the same shape."""
    # Validation would wait for a GPU at every draw.
    return Gumbel(torch.zeros_like(like), torch.ones_like(like), validate_args=False).sample()
