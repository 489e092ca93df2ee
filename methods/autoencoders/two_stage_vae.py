"""The two-stage VAE (Dai & Wipf 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from methods.autoencoders.sigma_vae import SigmaVAE
from methods.base import Losses, Unsupported
from methods.parts.autoencoding import draw_gaussian, over_epoch
from methods.parts.divergences import kl_to_standard_normal
from methods.parts.networks import dense_layers
from methods.parts.optimization import adam, set_learning_rate, update
from methods.parts.variational import gaussian_log_density


class SkipMLP(nn.Module):
    """Three hidden layers of ReLU units; the output layer sees the input beside them. [B, d] -> [B, outputs]."""

    def __init__(self, dim: int, outputs: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(*dense_layers([dim, width, width, width], nn.ReLU), nn.ReLU())
        self.output = nn.Linear(dim + width, outputs)

    def forward(self, points: Tensor) -> Tensor:
        return self.output(torch.cat([points, self.hidden(points)], dim=1))


class CodeVAE(nn.Module):
    """The second stage: a VAE of codes [B, d] with as many dimensions u, and one learned variance γ²."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.encoder = SkipMLP(dim, 2 * dim, width)
        self.decoder = SkipMLP(dim, dim, width)
        self.log_gamma = nn.Parameter(torch.zeros(()))

    def forward(self, count: int) -> Tensor:
        """-> [count, d]: draws of N(decoder(u), γ² I), u ~ N(0, I)."""
        noise = torch.randn(count, self.dim, device=self.log_gamma.device)
        return draw_gaussian(self.decoder(noise), 2 * self.log_gamma)

    def negative_bound(self, codes: Tensor) -> Tensor:
        """The negative evidence lower bound of each code at a draw of u, with all constants: [B, d] -> [B]."""
        mean, log_variance = self.encoder(codes).chunk(2, dim=1)
        decoded = self.decoder(draw_gaussian(mean, log_variance))
        log_likelihood = gaussian_log_density(codes, decoded, 2 * self.log_gamma).sum(dim=1)
        return kl_to_standard_normal(mean, log_variance) - log_likelihood


class TwoStageVAE(SigmaVAE):
    """A VAE with learned variance γ² of its decoder, then a second VAE of its codes (arXiv 1903.05789).

    The first is a σ-VAE whose σ is learned. Its codes z fill a distribution that need not be N(0, I), which the second,
    trained afterwards on draws of the training images' posteriors, learns: the model is then u → z → x, where u is
    N(0, I) and the second stage's p(z) takes the place of the first's prior. Codes in evaluation are z, which images
    are reconstructed from. The score is the negative evidence lower bound of the whole, E[−log p(x | z) + log q(z | x)
    − log p(z | u)] + KL(q(u | z) ‖ N(0, I)).

    Learning rates are halved after 3/8 and 6/8 of either stage, as in the authors' settings (400 and 800 epochs). In
    the GWAE paper's code both γ are networks of the code, the stages share the budget evenly, and codes in evaluation
    are the second's.
    """

    name = "two-stage-vae"
    paper = "Dai & Wipf 2019, arXiv:1903.05789"
    summary = "VAE with learned variance; a second VAE learns the distribution of its codes."
    check_params: ClassVar[Mapping[str, Any]] = {"second_width": 64}

    sigma: Literal["optimal", "learned"] = "learned"
    """γ of the first stage, see `SigmaVAE`."""
    second_width: int = 1024
    """Units of a hidden layer of the second stage; 256 in the GWAE paper's code."""
    second_steps: int | None = None
    """Updates of the second stage; None for twice as many as the first took."""

    def setup(self) -> None:
        super().setup()
        self.second_stage = CodeVAE(self.latent_dim, self.second_width)

    def draw_prior(self, count: int) -> Tensor:
        return self.second_stage(count)

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """The first stage's, whose prior is N(0, I)."""
        return kl_to_standard_normal(mean, log_variance).mean()

    def divergences(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """log q(z | x) − log p(z) of each code, where the second stage's bound stands for log p(z)."""
        log_posterior = gaussian_log_density(codes, mean, log_variance).sum(dim=1)
        return log_posterior + self.second_stage.negative_bound(codes)

    def rate_distortion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise Unsupported(f"{self.name} learns the prior of its codes, which is not N(0, I)")

    def before_update(self) -> None:
        set_learning_rate(self.optimizer, self.lr * halvings(self.steps_done, self.planned_steps))

    def finish(self, batches: Iterator[Tensor]) -> Iterator[Losses]:
        yield from self.train_second_stage(batches)
        super().finish(batches)

    def train_second_stage(self, batches: Iterator[Tensor]) -> Iterator[Losses]:
        optimizer = adam(self.second_stage.parameters(), lr=self.lr)
        mean, log_variance = over_epoch(self, self.encoder, batches).chunk(2, dim=1)
        batch_size = len(mean) // max(self.steps_per_epoch, 1)
        steps = 2 * self.steps_done if self.second_steps is None else self.second_steps
        for step in range(steps):
            set_learning_rate(optimizer, self.lr * halvings(step, steps))
            chosen = torch.randint(len(mean), (batch_size,), device=self.device)
            loss = self.second_stage.negative_bound(draw_gaussian(mean[chosen], log_variance[chosen])).mean()
            update(optimizer, loss)
            yield {"second_stage": loss}


def halvings(step: int, steps: int) -> float:
    """Factor of the learning rate at a step, counted from 0: a half after every 3/8 of all `steps`."""
    return 0.5 ** (8 * step // (3 * max(steps, 1)))
