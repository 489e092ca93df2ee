"""The σ-VAE (Rybkin et al. 2021): a decoder of calibrated variance."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.autoencoders.vae import VAE
from methods.parts.autoencoding import squared_errors

LEAST_LOG_SIGMA = -6.0


class SigmaVAE(VAE):
    """A VAE with p(x | z) = N(x̂, σ² I), one σ for all pixels: no weight of the KL is left to tune.

    Minimizes E[‖x − x̂‖² / (2 σ²) + D log σ] + KL(q(z | x) ‖ N(0, I)). In training, the optimal σ² is the
    batch's mean squared error, and the gradient flows through it, as in the authors' code, which also keeps log σ
    softly above −6. In evaluation it is the last training batch's here, lest a likelihood depend on what else is in the
    batch; theirs is the batch's own there too. In the GWAE paper's code σ is computed and then left out of the loss:
    its σ-VAE is a VAE of unit variance.

    Raises:
        ValueError: a likelihood other than the Gaussian.
    """

    name = "sigma-vae"
    paper = "Rybkin et al. 2021, arXiv:2006.13202"
    summary = "VAE whose Gaussian decoder has the variance that suits its errors best."

    sigma: Literal["optimal", "learned"] = "optimal"
    """"optimal", in closed form; or "learned", with the networks, from 1 on."""

    def setup(self) -> None:
        if self.likelihood != "gaussian":
            raise ValueError(f'{self.name} is about the Gaussian\'s variance: leave likelihood at "gaussian"')
        super().setup()

    def make_networks(self) -> None:
        super().make_networks()
        self.log_sigma = nn.Parameter(torch.zeros(()), requires_grad=self.sigma == "learned")

    def distortion(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """With σ as it is kept; in training mode the batch's optimal one, which is kept then, as batch norm's moments
        are."""
        errors = squared_errors(images, reconstructions)
        pixels = math.prod(self.image_shape)
        log_sigma: Tensor = self.log_sigma
        if self.training and self.sigma == "optimal":
            log_sigma = 0.5 * (errors.mean() / pixels).log()
            self.log_sigma.copy_(log_sigma.detach())
        log_sigma = LEAST_LOG_SIGMA + F.softplus(log_sigma - LEAST_LOG_SIGMA)
        return 0.5 * errors / (2 * log_sigma).exp() + pixels * log_sigma
