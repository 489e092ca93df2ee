"""The sliced-Wasserstein autoencoder (arXiv 1804.01947)."""

from __future__ import annotations

from torch import Tensor, optim
from torch.nn import functional as F

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.divergences import sliced_wasserstein
from methods.parts.networks import ImageShape, Network
from methods.parts.optimization import update
from methods.parts.priors import FIXED_PRIORS, PriorName


class SWAE(NetworkAutoencoder):
    """Draws the codes to the prior in sliced Wasserstein distance, which needs no adversary and no kernel.

    As in the authors' MNIST code: cross-entropy plus absolute error, both means over pixels, plus `penalty` times the
    squared sliced distance, by RMSprop at Keras' settings. Their code lets the penalty grow by a tenth an epoch from
    the twelfth of 30 on, which is left out here; their priors are two-dimensional, hence the normal default.

    Args:
        penalty: weight of the sliced distance.
        num_projections: directions drawn anew for each batch.
        prior: "normal" N(0, I), "sphere" or "uniform" on [−1, 1]^latent_dim. Nothing confines the codes to it.
        latent_dim: length of a code.
        network: the family of networks, see `methods.parts.networks`.
        width: number of base filters.
        batch_norm: whether the networks have batch norm.
        lr: of RMSprop.
    """

    name = "swae"
    paper = "Kolouri et al. 2018, arXiv:1804.01947"
    summary = "Autoencoder with a sliced Wasserstein penalty between codes and prior."
    family = "WAE"

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        penalty: float = 10.0,
        num_projections: int = 50,
        prior: PriorName = "normal",
        latent_dim: int = 64,
        network: Network = "conv",
        width: int = 32,
        batch_norm: bool = False,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(image_shape, latent_dim=latent_dim, network=network, width=width, batch_norm=batch_norm)
        self.penalty = penalty
        self.num_projections = num_projections
        self.prior = FIXED_PRIORS[prior](latent_dim)
        self.optimizer = optim.RMSprop(self.parameters(), lr=lr, alpha=0.9, eps=1e-7)

    def sample_prior(self, count: int) -> Tensor:
        return self.prior(count, self.device)

    def train_step(self, images: Tensor) -> Losses:
        codes = self.encoder(images)
        outputs = self.decoder(codes)
        reconstruction = F.binary_cross_entropy(outputs, images) + F.l1_loss(outputs, images)
        divergence = sliced_wasserstein(codes, self.sample_prior(len(codes)), self.num_projections)
        loss = reconstruction + self.penalty * divergence
        update(self.optimizer, loss)
        return {"loss": loss, "reconstruction": reconstruction, "divergence": divergence}
