"""The ladder variational autoencoder (arXiv 1602.02282)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.autoencoders.vae import VAE
from methods.base import Unsupported
from methods.parts.autoencoding import draw_gaussian
from methods.parts.ladder import FeatureLadder, MarkovDecoder, layer_sizes


class LadderVAE(VAE):
    """A VAE with a chain of latent variables z_L → … → z_1 → x, inferred from the top as it is generated.

    Minimizes E[−log p(x | z_1) + β Σ_l KL(q(z_l | x, z_{l+1}) ‖ p(z_l | z_{l+1}))], where β grows from 0 to 1 during
    warm-up. A pass upwards gives a Gaussian for each layer; q(z_l | x, z_{l+1}) is its product with
    p(z_l | z_{l+1}), which weighs their means by their precisions; at the top it is q(z_L | x) itself.

    A code is [u_1, …, u_L] with z_l = μ + σ u_l, where μ and σ are those of p(z_l | z_{l+1}): the same model, whose
    prior of codes is N(0, I). In evaluation every layer is at its mean. As layers depend on each other, the posterior
    of a code is no Gaussian with diagonal covariance, and the rate is that of the layers above as they were drawn.

    Networks give log-variances, the paper's give variances by softplus. The released code of the GWAE paper's baseline
    departs from the paper: it merges variances by the means, decodes draws of p(z_1 | z_2), shares the weights of the
    upper layers, and has the means of z itself as codes, of which the decoder sees the first layer only.
    """

    name = "ladder-vae"
    paper = "Sønderby et al. 2016, arXiv:1602.02282"
    summary = "VAE with a hierarchy of latent variables, inferred from the top by precision-weighted merging."

    num_layers: int = 3
    """L. A layer has half the dimensions of the one below, as in the paper, whose 5 have 64 to 4; the GWAE paper's
    baseline has 3 of one size."""
    warm_up: float = 0.1
    """Share of training in which β grows to 1, linearly: 200 of 2,000 epochs; 0.25 in the GWAE paper's baseline."""
    latent_batch_norm: bool = True
    """Whether means and log-variances of the upward pass have batch norm, as in the GWAE paper's baseline."""
    lr: float = 2e-4
    """As in the authors' code; 1e-4 in the GWAE paper's baseline."""

    def make_networks(self) -> None:
        shape, width, batch_norm = self.image_shape, self.width, self.batch_norm
        sizes = layer_sizes(self.latent_dim, [2**layer for layer in reversed(range(self.num_layers))])
        self.encoder: FeatureLadder = FeatureLadder(
            self.network, shape, self.num_layers, width=width, batch_norm=batch_norm
        )
        self.decoder: MarkovDecoder = MarkovDecoder(self.network, shape, sizes, width=width, batch_norm=batch_norm)
        self.heads = nn.ModuleList(self._head(8 * width, 2 * size) for size in sizes)

    def _head(self, inputs: int, outputs: int) -> nn.Module:
        linear = nn.Linear(inputs, outputs)
        return nn.Sequential(linear, nn.BatchNorm1d(outputs)) if self.latent_batch_norm else linear

    def infer(self, images: Tensor, *, draw: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, and mean and log-variance of each layer's given those above, [B, latent_dim] all three.

        Args:
            images: [B, C, H, W].
            draw: whether codes are draws, or each layer's mean given the means above.
        """
        features = self.encoder(images)
        layers = []
        latent = images.new_empty(0)
        for layer in reversed(range(self.num_layers)):
            mean, log_variance = self.heads[layer](features[layer]).chunk(2, dim=1)
            top = layer == self.num_layers - 1
            if not top:
                prior_mean, prior_log_variance = self.decoder.transition(layer, latent)
                mean, log_variance = merge(mean, log_variance, prior_mean, prior_log_variance)
            code = draw_gaussian(mean, log_variance) if draw else mean
            latent = code if top else prior_mean + (0.5 * prior_log_variance).exp() * code
            layers.append((code, mean, log_variance))
        codes, means, log_variances = (torch.cat(parts, dim=1) for parts in zip(*reversed(layers), strict=True))
        return codes, means, log_variances

    def encode(self, images: Tensor) -> Tensor:
        return self.infer(images, draw=False)[0]

    def draw_codes(self, images: Tensor) -> Tensor:
        return self.infer(images)[0]

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise Unsupported(f"{self.name} has a posterior whose layers depend on each other")

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        return self.beta() * super().regularizer(codes, mean, log_variance)

    def beta(self) -> float:
        """Weight of the KL terms at the coming step; 1 outside training, so that losses compare for early stopping."""
        steps = self.warm_up * self.planned_steps
        return min(self.steps_done / steps, 1.0) if self.training and steps else 1.0


def merge(mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the normalized product of two Gaussians, in units in which the second is N(0, I).

    In its own units the product has precision σ⁻² + σ_p⁻² and the mean of the two weighted by their precisions; these
    are less μ_p, over σ_p. All of one shape.
    """
    log_ratio = prior_log_variance - log_variance
    difference = (mean - prior_mean) * (-0.5 * prior_log_variance).exp()
    return difference * log_ratio.sigmoid(), -F.softplus(log_ratio)
