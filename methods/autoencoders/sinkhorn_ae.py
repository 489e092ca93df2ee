"""The Sinkhorn autoencoder (arXiv 1810.01118)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder, squared_error
from methods.parts.divergences import sinkhorn_divergence
from methods.parts.hammersley import HammersleyPrior
from methods.parts.priors import FixedPrior, NormalPrior, SpherePrior

SinkhornPrior = Literal["normal", "sphere", "hammersley"]
PRIORS: dict[SinkhornPrior, type[FixedPrior]] = {
    "normal": NormalPrior,
    "sphere": SpherePrior,
    "hammersley": HammersleyPrior,
}


class SinkhornAE(NetworkAutoencoder):
    """Minimizes ‖x − x̂‖² + β S(codes, prior), S the sharp Sinkhorn divergence with squared Euclidean cost.

    The paper's algorithm 2: gradients flow through the Sinkhorn iterations. Defaults are those of its sphere, on which
    it reports its best samples; with a normal prior in many dimensions its codes shrink (appendix F).
    """

    name = "sinkhorn-ae"
    paper = "Patrini et al. 2019, arXiv:1810.01118"
    summary = "Autoencoder with a Sinkhorn divergence between codes and prior."
    packs = False  # iterates until its marginals fit
    family = "WAE"

    prior: SinkhornPrior = "sphere"
    """"normal" N(0, I); "sphere", onto which codes are normalized; or "hammersley", the same with evenly spread points
    in place of independent draws."""
    penalty: float = 100.0
    """β."""
    epsilon: float = 0.1
    """ε, the entropic regularization; the paper has 10 for the normal prior."""
    iterations: int = 50
    """Sinkhorn iterations for each of the divergence's three terms."""
    batch_norm: bool = False
    lr: float = 1e-3

    def setup(self) -> None:
        super().setup()
        self.code_prior = PRIORS[self.prior](self.latent_dim)

    def encode(self, images: Tensor) -> Tensor:
        return self.code_prior.project(self.encoder(images))

    def draw_prior(self, count: int) -> Tensor:
        return self.code_prior(count, self.device)

    def objective(self, images: Tensor) -> Losses:
        codes = self.encode(images)
        reconstruction = squared_error(images, self.decoder(codes))
        divergence = sinkhorn_divergence(codes, self.draw_prior(len(codes)), self.epsilon, self.iterations)
        loss = reconstruction + self.penalty * divergence
        return {"loss": loss, "reconstruction": reconstruction, "divergence": divergence}
