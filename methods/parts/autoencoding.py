"""What autoencoders share: how they are declared, an encoder and a decoder of `networks`, and Gaussian posteriors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import dataclass_transform

import torch
from torch import Tensor, nn, optim

from methods.base import Autoencoder, Losses
from methods.parts.densities import COMPONENTS, Density, FittedMixture
from methods.parts.networks import ImageShape, Network, build_decoder, build_encoder
from methods.parts.optimization import adam


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class DeclaredAutoencoder(Autoencoder):
    """An autoencoder that is declared as dataclasses are. Not subclassed directly.

    An annotated attribute of the class with a default is a hyperparameter: a keyword-only argument of the constructor,
    which is generated. A subclass has its parent's too, and changes a default by stating it again. Whatever is made
    from them is made in `setup`, which calls its parent's first.

    Raises:
        ValueError: an integer among them is below 1; numbers of steps may be 0, and those of pretraining.
    """

    def __init_subclass__(cls) -> None:
        dataclass(eq=False, repr=False, kw_only=True)(cls)

    def __post_init__(self) -> None:
        super().__init__(self.image_shape, latent_dim=self.latent_dim)
        declared = [field.name for field in fields(self)]  # type: ignore[arg-type]  # subclasses are dataclasses
        for name in declared:
            value = getattr(self, name)
            least = 0 if name.endswith("_steps") or name.startswith("pretraining") else 1
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise ValueError(f"{self.name}: {name} is {value}; it must be at least {least}")
        self.setup()
        made = {*self._modules, *self._parameters, *self._buffers}
        for name in declared:
            if name in made:
                raise TypeError(f"{self.name}: {name} is a hyperparameter; name the part made from it otherwise")

    def setup(self) -> None:
        """Makes networks and optimizers."""
        raise NotImplementedError


class NetworkAutoencoder(DeclaredAutoencoder):
    """An encoder, a decoder, N(0, I) as the prior, and Adam. Subclasses give `objective`.

    Where more than encoder and decoder is trained, `setup` is extended, and where the rest has losses of its own,
    `train_step`; where these two are others,
    `make_networks` is overridden.
    """

    image_shape: ImageShape = field(kw_only=False)
    latent_dim: int = 64
    """Length of a code."""
    network: Network = "conv"
    """The family of networks, see `methods.parts.networks`."""
    width: int = 32
    """Number of base filters."""
    batch_norm: bool = True
    """Whether encoder and decoder have batch norm."""
    lr: float = 1e-4
    """Learning rate of encoder and decoder."""
    density: Density = "prior"
    """What samples are decoded from: the method's own "prior", or a density fitted to the training images' codes after
    training: a "gaussian" or a "gaussian-mixture" of 10, with full covariances (arXiv 1903.12436)."""

    encoder_outputs = 1  # numbers the encoder gives for each dimension of the code

    def setup(self) -> None:
        self.make_networks()
        self.optimizer: optim.Optimizer = adam(self.parameters(), lr=self.lr)
        self.steps_done = 0
        if self.density != "prior":
            self.fitted_density = FittedMixture(self.latent_dim, COMPONENTS[self.density])

    def make_networks(self) -> None:
        """Makes `encoder` and `decoder`; what else is made here is trained with them."""
        outputs = self.encoder_outputs * self.latent_dim
        shape, width, batch_norm = self.image_shape, self.width, self.batch_norm
        self.encoder: nn.Module = build_encoder(self.network, shape, outputs, width=width, batch_norm=batch_norm)
        self.decoder: nn.Module = build_decoder(
            self.network, shape, self.latent_dim, width=width, batch_norm=batch_norm
        )

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decoder(codes)

    def draw_prior(self, count: int) -> Tensor:
        """-> [count, latent_dim], draws of the prior that training refers to."""
        return torch.randn(count, self.latent_dim, device=self.device)

    def sample_prior(self, count: int) -> Tensor:
        return self.draw_prior(count) if self.density == "prior" else self.fitted_density(count)

    @property
    def optimizers(self) -> Sequence[optim.Optimizer]:
        return [self.optimizer]

    def after_update(self, losses: Losses) -> None:
        self.steps_done += 1

    def finish(self, batches: Iterator[Tensor]) -> Iterator[Losses] | None:
        if self.density != "prior":
            self.fitted_density.fit(encode_epoch(self, batches))
        return None


class GaussianAutoencoder(NetworkAutoencoder):
    """The encoder gives mean and log-variance of a Gaussian posterior with diagonal covariance; codes are means."""

    encoder_outputs = 2

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def encode(self, images: Tensor) -> Tensor:
        return self.posterior(images)[0]

    def draw_codes(self, images: Tensor) -> Tensor:
        return draw_gaussian(*self.posterior(images))


def encode_epoch(autoencoder: Autoencoder, batches: Iterator[Tensor]) -> Tensor:
    """Codes [N, latent_dim] of one pass over the training images, in eval mode."""
    return over_epoch(autoencoder, autoencoder.encode, batches)


@torch.no_grad()
def over_epoch(autoencoder: Autoencoder, function: Callable[[Tensor], Tensor], batches: Iterator[Tensor]) -> Tensor:
    """What a function of images [B, C, H, W] gives on one pass over the training images, in eval mode: [N, ...]."""
    training = autoencoder.training
    autoencoder.eval()
    outputs = [function(images) for images in islice(batches, max(autoencoder.steps_per_epoch, 1))]
    autoencoder.train(training)
    return torch.cat(outputs)


def gather(batches: Iterator[Tensor], count: int) -> Tensor:
    """The next `count` images, [count, C, H, W], of as many batches as it takes."""
    images = next(batches)
    while len(images) < count:
        images = torch.cat([images, next(batches)])
    return images[:count]


def draw_gaussian(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A draw of N(mean, diag(exp(log_variance))) through which gradients flow (reparameterization)."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def squared_error(images: Tensor, reconstructions: Tensor) -> Tensor:
    """‖x − x̂‖², summed over an image and averaged over the batch [B, C, H, W]."""
    return squared_errors(images, reconstructions).mean()


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """‖x − x̂‖² of each image, [B, C, H, W] -> [B]."""
    return (images - reconstructions).square().flatten(start_dim=1).sum(dim=1)
