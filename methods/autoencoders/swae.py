"""The sliced-Wasserstein autoencoder (arXiv 1804.01947)."""

from __future__ import annotations

from torch import Tensor, optim
from torch.nn import functional as F

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.divergences import sliced_wasserstein
from methods.parts.priors import FIXED_PRIORS, PriorName

EPOCHS, GROWTH_START = 30, 10


class SWAE(NetworkAutoencoder):
    """Draws the codes to the prior in sliced Wasserstein distance, which needs no adversary and no kernel.

    As in the authors' MNIST code: cross-entropy plus absolute error, both means over pixels, plus a penalty times the
    squared sliced distance, by RMSprop at Keras' settings. The penalty grows from the twelfth of their 30 epochs on;
    here an epoch of that schedule is a thirtieth of training, however long. Their priors are two-dimensional, hence the
    normal default.
    """

    name = "swae"
    version = 2
    paper = "Kolouri et al. 2018, arXiv:1804.01947"
    summary = "Autoencoder with a sliced Wasserstein penalty between codes and prior."
    family = "WAE"

    penalty: float = 10.0
    """Weight of the sliced distance at the start."""
    penalty_growth: float = 1.1
    """Its factor from one epoch to the next once it grows; 1 leaves it as it is."""
    num_projections: int = 50
    """Directions drawn anew for each batch."""
    prior: PriorName = "normal"
    """"normal" N(0, I), "sphere" or "uniform" on [−1, 1]^latent_dim. Nothing confines the codes to it."""
    batch_norm: bool = False
    lr: float = 1e-3

    def setup(self) -> None:
        super().setup()
        self.code_prior = FIXED_PRIORS[self.prior](self.latent_dim)
        self.optimizer = optim.RMSprop(self.parameters(), lr=self.lr, alpha=0.9, eps=1e-7)

    def draw_prior(self, count: int) -> Tensor:
        return self.code_prior(count, self.device)

    def current_penalty(self) -> float:
        """Weight of the sliced distance at the coming step; the last outside training, so that losses compare for
        early stopping."""
        epoch = EPOCHS * self.steps_done // max(self.planned_steps, 1) if self.training else EPOCHS
        return self.penalty * self.penalty_growth ** max(min(epoch, EPOCHS - 1) - GROWTH_START, 0)

    def objective(self, images: Tensor) -> Losses:
        codes = self.encoder(images)
        outputs = self.decoder(codes)
        reconstruction = F.binary_cross_entropy(outputs, images) + F.l1_loss(outputs, images)
        divergence = sliced_wasserstein(codes, self.draw_prior(len(codes)), self.num_projections)
        loss = reconstruction + self.current_penalty() * divergence
        return {"loss": loss, "reconstruction": reconstruction, "divergence": divergence}
