"""The VAE with a learned similarity (arXiv 1512.09300)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from methods.base import Losses
from methods.parts.adversaries import ImageDiscriminator
from methods.parts.autoencoding import GaussianAutoencoder, draw_gaussian, squared_error
from methods.parts.divergences import kl_to_standard_normal

EQUILIBRIUM, MARGIN = 0.68, 0.35  # in all of the authors' experiments
RMSPROP_DECAY = 0.9


class VAEGAN(GaussianAutoencoder):
    """A VAE whose reconstructions are compared in the features f of a discriminator D of images, which it is to fool.

    With S = ½‖f(x) − f(x̂)‖² and G = −log D(x) − log(1 − D(decode(z))), z a draw of N(0, I), and maybe −log(1 − D(x̂))
    (see `judge_reconstructions`), each part minimizes its own (algorithm 1): the encoder KL(q(z | x) ‖ N(0, I)) + S,
    the decoder γ S − G, the discriminator G. All are updated at once, but that the discriminator or the decoder waits
    while it is too strong (see `balanced`), as in the authors' code. The objective that is watched is the encoder's
    plus the decoder's.

    No p(x | z) of images is modeled. In the authors' code the discriminator's G, not the decoder's, is half as large,
    which RMSprop does not notice. The GWAE paper's baseline takes S over all layers and adds the pixels' ½‖x − x̂‖², and
    its optimizers are Adams.
    """

    name = "vae-gan"
    paper = "Larsen et al. 2016, arXiv:1512.09300"
    summary = "VAE that compares images by a discriminator's features, and whose decoder is to fool it."
    family = "VAE"
    check_params: ClassVar[Mapping[str, Any]] = {"width": 8, "adversary_width": 4, "lr": 1e-3}

    similarity_weight: float = 1e-6
    """γ, of S for the decoder; 1e-6 in the authors' CelebA, 1e-5 in their CIFAR-10, 1 in the GWAE paper's baseline."""
    judge_reconstructions: bool = False
    """Whether G has −log(1 − D(x̂)), as in algorithm 1 and the GWAE paper's baseline; not so in the authors' code."""
    balanced: bool = True
    """Whether the discriminator waits while its cross-entropy on real or on generated images is below 0.68 − 0.35, the
    decoder while one is above 0.68 + 0.35; never both. Off in the GWAE paper's baseline."""
    adversary_width: int = 32
    """Filters of the discriminator's first convolution, see `methods.parts.adversaries.ImageDiscriminator`."""
    adversary_lr: float = 3e-4
    """Of the discriminator's RMSprop; 1e-3 in the GWAE paper's baseline."""
    lr: float = 3e-4
    """Of the encoder's and the decoder's RMSprop; 1e-4 in the GWAE paper's baseline."""

    def setup(self) -> None:
        super().setup()
        self.optimizer = optim.RMSprop(self.parameters(), lr=self.lr, alpha=RMSPROP_DECAY)
        self.discriminator = ImageDiscriminator(self.image_shape, self.adversary_width)
        self.adversary_optimizer = optim.RMSprop(
            self.discriminator.parameters(), lr=self.adversary_lr, alpha=RMSPROP_DECAY
        )

    def objective(self, images: Tensor) -> Losses:
        count = len(images)
        mean, log_variance = self.posterior(images)
        codes = draw_gaussian(mean, log_variance)
        generated = self.decoder(torch.cat([codes, self.draw_prior(count)]))
        features, logits = self.discriminator(torch.cat([images, generated]))

        divergence = kl_to_standard_normal(mean, log_variance).mean()
        similarity = 0.5 * squared_error(features[:count], features[count : 2 * count])
        judged = logits[count:].view(2, count)[0 if self.judge_reconstructions else 1 :]  # the last are of draws
        real_cost, generated_cost = F.softplus(-logits[:count]).mean(), F.softplus(judged).mean()
        discriminator = real_cost + len(judged) * generated_cost
        encoder, decoder = divergence + similarity, self.similarity_weight * similarity - discriminator
        return {
            "loss": encoder + decoder,
            "encoder": encoder,
            "decoder": decoder,
            "discriminator": discriminator,
            "similarity": similarity,
            "real_cost": real_cost,
            "generated_cost": generated_cost,
        }

    def train_step(self, images: Tensor) -> Losses:
        losses = self.objective(images)
        decoder_learns, discriminator_learns = self.who_learns(losses["real_cost"], losses["generated_cost"])
        learning: list[tuple[nn.Module, Tensor]] = [(self.encoder, losses["encoder"])]
        learning += [(self.decoder, losses["decoder"])] if decoder_learns else []
        learning += [(self.discriminator, losses["discriminator"])] if discriminator_learns else []
        self.zero_grad()
        for part, loss in learning:
            loss.backward(inputs=list(part.parameters()), retain_graph=True)
        # Parameters without a gradient are left as they are.
        self.optimizer.step()
        self.adversary_optimizer.step()
        self.steps_done += 1
        return losses

    def who_learns(self, real_cost: Tensor, generated_cost: Tensor) -> tuple[bool, bool]:
        """Whether the decoder and the discriminator are updated, by the cross-entropies of the discriminator."""
        if not self.balanced:
            return True, True
        costs = torch.stack([real_cost, generated_cost]).tolist()  # at once: each read waits for a GPU
        too_strong = min(costs) < EQUILIBRIUM - MARGIN
        too_weak = max(costs) > EQUILIBRIUM + MARGIN
        return too_strong or not too_weak, too_weak or not too_strong
