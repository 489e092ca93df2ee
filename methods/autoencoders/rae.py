"""Regularized autoencoders (arXiv 1903.12436)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from methods.base import Losses
from methods.parts.autoencoding import NetworkAutoencoder
from methods.parts.densities import Density

Regularizer = Literal["l2", "gradient-penalty", "spectral", "none"]


class RAE(NetworkAutoencoder):
    """A deterministic autoencoder with small codes and a smooth decoder; samples are of a density fitted afterwards.

    Minimizes the mean squared error over pixels + w_z · mean(z²) + w_d · a regularizer of the decoder, as in the
    authors' code: means over a code's dimensions and over pixels, where the paper has ‖x − x̂‖² and ½‖z‖².
    Their learning rate is halved when the validation loss stalls, which is left out.
    """

    name = "rae"
    paper = "Ghosh et al. 2020, arXiv:1903.12436"
    summary = "Deterministic autoencoder with a regularized decoder; samples from a mixture fitted to its codes."
    family = "AE"

    regularizer: Regularizer = "l2"
    """Of the decoder. "l2": the sum of its squared weights (biases and batch norm apart; the authors leave out the
    first, dense layer as well). "gradient-penalty": the mean square of ∂(Σ x̂²)/∂z, as in the authors' code, where the
    paper has the Jacobian ‖∇ D(z)‖². "spectral": layers of spectral norm 1, the encoder's too as in the authors'
    settings, and no term. Or "none"."""
    code_weight: float = 1e-4
    """w_z. The authors' for MNIST, CIFAR-10 and CelebA: "l2" 1e-4, 1e-3, 1e-4; "gradient-penalty" 1e-4, 9e-4, 1e-4;
    "spectral" 9e-3, 3e-2, 2.4e-3; "none" 5e-4, 1e-2, 1e-4."""
    decoder_weight: float = 1e-7
    """w_d. The authors' for MNIST, CIFAR-10 and CelebA: "l2" 1e-7, 1e-6, 1e-7; "gradient-penalty" 5e-8, 0, 1e-7."""
    latent_dim: int = 16
    lr: float = 5e-4
    """Learning rate; 1e-3 for CelebA."""
    density: Density = "gaussian-mixture"

    def make_networks(self) -> None:
        super().make_networks()
        if self.regularizer == "spectral":
            for layer in [*self.encoder.modules(), *self.decoder.modules()]:
                if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    spectral_norm(layer)

    def objective(self, images: Tensor) -> Losses:
        codes = self.encoder(images)
        reconstructions = self.decoder(codes)
        losses = {
            "reconstruction": F.mse_loss(reconstructions, images),
            "codes": codes.square().mean(),
        }
        loss = losses["reconstruction"] + self.code_weight * losses["codes"]
        if self.regularizer in _PENALTIES:
            losses["decoder"] = _PENALTIES[self.regularizer](self.decoder, codes, reconstructions)
            loss = loss + self.decoder_weight * losses["decoder"]
        return {"loss": loss, **losses}


def sum_of_squared_weights(decoder: nn.Module, codes: Tensor, reconstructions: Tensor) -> Tensor:
    """Σ w² over the matrices and kernels of the decoder."""
    return torch.stack([w.square().sum() for w in decoder.parameters() if w.ndim > 1]).sum()


def mean_squared_gradient(decoder: nn.Module, codes: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean over codes [B, d] and their entries of (∂ Σ x̂² / ∂z)²."""
    (gradients,) = torch.autograd.grad(reconstructions.square().sum(), codes, create_graph=True)
    return gradients.square().mean()


_PENALTIES = {"l2": sum_of_squared_weights, "gradient-penalty": mean_squared_gradient}
