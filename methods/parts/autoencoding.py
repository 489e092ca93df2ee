"""What autoencoders share: an encoder and a decoder of `networks`, and Gaussian posteriors."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base import Autoencoder
from methods.parts.networks import ImageShape, Network, build_decoder, build_encoder


class NetworkAutoencoder(Autoencoder):
    """An encoder, a decoder, and N(0, I) as the prior.

    Args:
        network: the family of networks, see `methods.parts.networks`.
        width: number of base filters.
        batch_norm: whether the networks have batch norm.
        encoder_outputs: numbers the encoder gives for each dimension of the code.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        latent_dim: int,
        network: Network,
        width: int,
        batch_norm: bool,
        encoder_outputs: int = 1,
    ) -> None:
        super().__init__(image_shape, latent_dim=latent_dim)
        outputs = encoder_outputs * latent_dim
        self.encoder = build_encoder(network, image_shape, outputs, width=width, batch_norm=batch_norm)
        self.decoder = build_decoder(network, image_shape, latent_dim, width=width, batch_norm=batch_norm)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decoder(codes)

    def sample_prior(self, count: int) -> Tensor:
        return torch.randn(count, self.latent_dim, device=self.device)


class GaussianAutoencoder(NetworkAutoencoder):
    """The encoder gives mean and log-variance of a Gaussian posterior with diagonal covariance; codes are means."""

    def __init__(
        self, image_shape: ImageShape, *, latent_dim: int, network: Network, width: int, batch_norm: bool
    ) -> None:
        super().__init__(
            image_shape, latent_dim=latent_dim, network=network, width=width, batch_norm=batch_norm, encoder_outputs=2
        )

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def encode(self, images: Tensor) -> Tensor:
        return self.posterior(images)[0]

    def draw_codes(self, images: Tensor) -> Tensor:
        return draw_gaussian(*self.posterior(images))


def draw_gaussian(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A draw of N(mean, diag(exp(log_variance))) through which gradients flow (reparameterization)."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def squared_error(images: Tensor, reconstructions: Tensor) -> Tensor:
    """‖x − x̂‖², summed over an image and averaged over the batch [B, C, H, W]."""
    return squared_errors(images, reconstructions).mean()


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """‖x − x̂‖² of each image, [B, C, H, W] -> [B]."""
    return (images - reconstructions).square().flatten(start_dim=1).sum(dim=1)
