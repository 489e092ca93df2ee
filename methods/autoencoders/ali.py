"""Adversarially learned inference (arXiv 1606.00704)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from methods.base import Losses, Unsupported
from methods.parts.adversaries import discriminator_loss
from methods.parts.autoencoding import GaussianAutoencoder
from methods.parts.joint_adversary import JointAdversary


class ALI(JointAdversary, GaussianAutoencoder):
    """Makes the joint laws of (x, encode(x)) and (decode(z), z) alike, by a discriminator of pairs alone.

    With logit D of the former, the discriminator minimizes E softplus(−D(x, ẑ)) + E softplus(D(x̃, z)), encoder and
    decoder E softplus(D(x, ẑ)) + E softplus(−D(x̃, z)) (algorithm 1 and section 2.3): ẑ is a draw of the Gaussian
    posterior, x̃ the decoding of a draw z of N(0, I). Nothing compares an image with its own reconstruction, which is
    alike in what it shows, not pixel by pixel: a digit comes back in another hand, and the squared error may be above
    that of the mean image.

    Images are decoded without noise, as in the authors' code, so that there is no p(x | z) to tell; their discriminator
    has batch norm too, and by data set other kernels.
    """

    name = "ali"
    paper = "Dumoulin et al. 2017, arXiv:1606.00704"
    summary = "Adversarially learned inference (BiGAN): a discriminator of pairs (image, code), no reconstruction loss."
    family = "VAE"
    check_params: ClassVar[Mapping[str, Any]] = {"width": 8, "lr": 1e-3, "adversary_lr": 1e-3}

    posterior_family: Literal["gaussian", "deterministic"] = "gaussian"
    """"deterministic" where ẑ is the code itself: the same objective as a BiGAN's (arXiv 1605.09782)."""
    adversary_dropout: float = 0.2
    """Share of the inputs of every layer of the discriminator that is left out in training."""

    def setup(self) -> None:
        self.encoder_outputs = 2 if self.posterior_family == "gaussian" else 1
        super().setup()

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)[:, : self.latent_dim]

    def draw_codes(self, images: Tensor) -> Tensor:
        return self.encode(images) if self.posterior_family == "deterministic" else super().draw_codes(images)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.posterior_family != "gaussian":
            raise Unsupported(f'{self.name} has a Gaussian posterior only with posterior_family = "gaussian"')
        return super().posterior(images)

    def pairs(self, images: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Images and draws of their posteriors; decodings and the draws of the prior they are of."""
        prior_codes = self.draw_prior(len(images))
        return (images, self.draw_codes(images)), (self.decoder(prior_codes), prior_codes)

    def objective(self, images: Tensor) -> Losses:
        data_logits, sample_logits = self.adversary.compare(*self.pairs(images))
        return {
            "loss": discriminator_loss(sample_logits, data_logits),
            "discriminator": discriminator_loss(data_logits, sample_logits),
        }

    def train_step(self, images: Tensor) -> Losses:
        """Both losses are of the same pairs, as in the authors' code."""
        losses = self.objective(images)
        own, adversaries = (
            [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for optimizer in (self.optimizer, self.adversary_optimizer)
        )
        self.zero_grad()
        losses["loss"].backward(inputs=own, retain_graph=True)
        losses["discriminator"].backward(inputs=adversaries)
        self.optimizer.step()
        self.adversary_optimizer.step()
        self.steps_done += 1
        return losses
