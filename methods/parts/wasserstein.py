"""The Wasserstein autoencoder (arXiv 1711.01558) but for its divergence, which WAE-MMD and WAE-GAN add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from methods.base import Losses, Unsupported
from methods.parts.autoencoding import NetworkAutoencoder, gather
from methods.parts.divergences import moment_mismatch
from methods.parts.optimization import Plateau, Schedule, adam, decay, set_learning_rate, update
from methods.parts.priors import FIXED_PRIORS, NormalPrior, PriorName

PosteriorFamily = Literal["deterministic", "gaussian", "additive-noise"]
Cost = Literal["l2sq", "l2", "l1"]

COSTS: dict[Cost, tuple[float, Callable[[Tensor], Tensor]]] = {
    "l2sq": (0.05, lambda errors: errors.square().sum(dim=1)),
    "l2": (0.2, lambda errors: (errors.square().sum(dim=1) + 1e-8).sqrt()),
    "l1": (0.02, lambda errors: errors.abs().sum(dim=1)),
}
"""The authors' weight w of a cost, and the cost: errors [B, pixels] -> [B]."""

PRETRAINING_STEPS = 200
PRETRAINING_TARGET = 0.1
ADAM_BETAS = (0.5, 0.999)


class WassersteinAutoencoder(NetworkAutoencoder):
    """Minimizes w · cost(x, x̂) + λ · divergence(codes, prior), on images in [0, 1]; subclasses give `divergence`.

    Before, the encoder alone is pretrained to match the prior's mean and covariance: at most 200 steps, until the
    mismatch is under 0.1. Defaults are MNIST's. Two priors' scales enter otherwise than in the authors' code, where all
    is published at 1: there codes go to the unit sphere or [−1, 1]^latent_dim even where the prior lies elsewhere.
    """

    family = "WAE"

    penalty: float = 10.0
    """λ; the authors' code has 100 for CelebA."""
    cost: Cost = "l2sq"
    """Of an image: "l2sq", the paper's ‖x − x̂‖²; "l2", ‖x − x̂‖; or "l1", the sum of absolute differences."""
    reconstruction_weight: float | None = None
    """w; None for the authors': 0.05 for "l2sq", 0.2 for "l2", 0.02 for "l1". They have MNIST in [0, 1], but CelebA in
    [−1, 1]: here, where all images are in [0, 1], its cost is theirs at 0.2, 0.4 or 0.04."""
    prior: PriorName = "normal"
    """"normal" N(0, I); "sphere", onto which codes are normalized; or "uniform" on [−1, 1]^latent_dim, into which codes
    go by tanh."""
    prior_scale: float = 1.0
    """The prior's draws are multiplied by it, and so are projected codes: σ of the normal prior, the sphere's radius,
    half the side of the cube."""
    posterior_family: PosteriorFamily = "deterministic"
    """"deterministic", the paper's; "gaussian", with log-variances clipped to ±50 and means as codes in evaluation; or
    "additive-noise", the authors' later code: truncated normal noise on the training images (which the logit at the
    entrance of network "conv" magnifies)."""
    noise_std: float = 0.01
    """Standard deviation of the additive noise, truncated at two; 0.01 for CelebA in [−1, 1] is 0.005 here."""
    schedule: Schedule = "steps"
    """Of the learning rates, see `methods.parts.optimization.decay`."""
    init_std: float | None = None
    """Weights start as draws of N(0, init_std²), biases as 0; None for torch's initialization. The authors' code has
    0.01, and cuts off those of the encoder's convolutions at two standard deviations."""
    pretraining_batch: int = 1000
    """Images in a step of the pretraining; 0 leaves it out."""
    lr: float = 1e-3

    def setup(self) -> None:
        self.encoder_outputs = 2 if self.posterior_family == "gaussian" else 1
        super().setup()
        self.draw_weights(self)
        self.code_prior = FIXED_PRIORS[self.prior](self.latent_dim, self.prior_scale)
        self.plateau = Plateau()
        self.optimizer = adam(self.parameters(), lr=self.lr, betas=ADAM_BETAS)

    def draw_weights(self, network: nn.Module) -> None:
        """Draws the weights that `network` starts from, unless they are to be torch's; batch norm's stay 1."""
        if self.init_std is None:
            return
        for name, values in network.named_parameters():
            if values.ndim > 1:
                nn.init.normal_(values, std=self.init_std)
            elif name.endswith("bias"):
                nn.init.zeros_(values)

    def encode(self, images: Tensor) -> Tensor:
        return self.code_prior.project(self.encoder(images)[:, : self.latent_dim])

    def draw_prior(self, count: int) -> Tensor:
        return self.code_prior(count, self.device)

    def draw_codes(self, images: Tensor) -> Tensor:
        """Codes as training sees them: draws, where the posterior is random."""
        if self.posterior_family == "additive-noise":
            limit = 2 * self.noise_std
            images = images + nn.init.trunc_normal_(torch.empty_like(images), std=self.noise_std, a=-limit, b=limit)
        outputs = self.encoder(images)
        if self.posterior_family == "gaussian":
            mean, variance = _mean_and_variance(outputs)
            outputs = mean + variance.sqrt() * torch.randn_like(mean)
        return self.code_prior.project(outputs)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.posterior_family != "gaussian":
            raise Unsupported(f'{self.name} has a Gaussian posterior only with posterior_family = "gaussian"')
        if not isinstance(self.code_prior, NormalPrior):
            raise Unsupported(f"{self.name} carries its Gaussian draws over into the prior's support")
        mean, variance = _mean_and_variance(self.encoder(images))
        return mean, variance.log()

    def divergence(self, codes: Tensor, noise: Tensor) -> Tensor:
        """How far the aggregate posterior is from the prior, from a sample [B, latent_dim] of each."""
        raise NotImplementedError

    def prepare(self, batches: Iterator[Tensor]) -> Iterator[Losses]:
        if not self.pretraining_batch:
            return
        optimizer = adam(self.encoder.parameters(), lr=self.lr, betas=ADAM_BETAS)
        for _ in range(PRETRAINING_STEPS):
            images = gather(batches, self.pretraining_batch)
            loss = moment_mismatch(self.draw_codes(images), self.draw_prior(len(images)))
            update(optimizer, loss)
            yield {"moment_mismatch": loss}
            if loss.item() < PRETRAINING_TARGET:
                return

    def objective(self, images: Tensor) -> Losses:
        codes = self.draw_codes(images)
        weight, cost = COSTS[self.cost]
        if self.reconstruction_weight is not None:
            weight = self.reconstruction_weight
        reconstruction = weight * cost((images - self.decoder(codes)).flatten(start_dim=1)).mean()
        divergence = self.divergence(codes, self.draw_prior(len(codes)))
        loss = reconstruction + self.penalty * divergence
        return {"loss": loss, "reconstruction": reconstruction, "divergence": divergence}

    def before_update(self) -> None:
        set_learning_rate(self.optimizer, self.lr * self.decay())

    def after_update(self, losses: Losses) -> None:
        super().after_update(losses)
        if self.schedule == "plateau":
            self.plateau.observe(losses["loss"].item(), max(self.steps_per_epoch, 1))

    def decay(self) -> float:
        """The factor of the learning rates at the coming step."""
        if self.schedule == "plateau":
            return self.plateau.factor
        per_epoch = max(self.steps_per_epoch, 1)
        return decay(self.schedule, self.steps_done // per_epoch, self.planned_steps / per_epoch)


def _mean_and_variance(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Of a Gaussian posterior, [B, latent_dim] each, from the encoder's outputs [B, 2 · latent_dim]."""
    mean, log_variance = outputs.chunk(2, dim=1)
    return mean, 1e-8 + log_variance.clamp(-50, 50).exp()
