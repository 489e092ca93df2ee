"""The β-VAE with controlled capacity (Burgess et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from methods.autoencoders.vae import VAE


class AnnealedVAE(VAE):
    """Minimizes E[−log p(x | z)] + γ |KL − C|, where the capacity C grows linearly from 0 (arXiv 1804.03599, eq. 8).

    KL is the batch's mean, as in the equation and in the 2019 study of disentanglement (arXiv 1811.12359); the GWAE
    paper's code takes the absolute value of each image's.
    """

    name = "annealed-vae"
    paper = "Burgess et al. 2018, arXiv:1804.03599"
    summary = "VAE whose KL term is held at a capacity that grows during training."

    gamma: float = 1000.0
    """Weight of the KL's distance to the capacity; 1000 in the paper and in the 2019 study."""
    capacity: float = 25.0
    """The largest C, in nats; 25 in the paper, 5 to 100 in the 2019 study."""
    capacity_steps: int = 100_000
    """Updates until C is the largest; 100,000 of 300,000 in the 2019 study, nine tenths of all in the GWAE paper's
    code."""

    def regularizer(self, codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        return self.gamma * (super().regularizer(codes, mean, log_variance) - self.current_capacity()).abs()

    def current_capacity(self) -> float:
        """C at the coming step; the largest outside training, so that losses compare for early stopping."""
        growing = self.training and self.steps_done < self.capacity_steps
        return self.capacity * (self.steps_done / self.capacity_steps if growing else 1.0)
