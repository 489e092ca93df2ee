"""The Cramér–Wold autoencoder (arXiv 1805.09235)."""

from __future__ import annotations

from torch import Tensor

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder, squared_error
from methods.parts.divergences import cramer_wold_to_standard_normal

FLOOR = 1e-7  # under the logarithm, as in the authors' later code


class CWAE(NetworkAutoencoder):
    """Minimizes ‖x − x̂‖² + λ log d²(codes, N(0, I)), d the Cramér–Wold distance: no samples of the prior, no adversary.

    As in the authors' code, where the logarithm makes λ = 1 do for MNIST and CIFAR-10, as the divergence's scale falls
    out. The distance is the mathematical one; the authors' code leaves out its factor 1 / (2 √π), hence the log is
    theirs up to a constant.
    """

    name = "cwae"
    paper = "Knop et al. 2018, arXiv:1805.09235"
    summary = "Autoencoder with the closed-form Cramér–Wold distance between codes and N(0, I)."
    family = "WAE"

    penalty: float = 1.0
    """λ; 10 for Fashion-MNIST and 5 for CelebA in the authors' later code."""
    batch_norm: bool = False
    lr: float = 1e-3
    """Learning rate; 5e-4 for CelebA."""

    def objective(self, images: Tensor) -> Losses:
        codes = self.encoder(images)
        reconstruction = squared_error(images, self.decoder(codes))
        divergence = cramer_wold_to_standard_normal(codes)
        loss = reconstruction + self.penalty * (divergence + FLOOR).log()
        return {"loss": loss, "reconstruction": reconstruction, "divergence": divergence}
