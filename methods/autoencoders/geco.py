"""Generalized ELBO with constrained optimization (Rezende & Viola 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from methods.autoencoders.vae import VAE
from methods.base import Losses, Unsupported
from methods.parts.autoencoding import squared_error

FIRST_MULTIPLIER_STEP = 200
LARGEST_FALL, LARGEST_RISE = math.log(0.9), math.log(1.05)


class GECO(VAE):
    """Minimizes KL(q(z | x) ‖ N(0, I)) such that E‖x − x̂‖² ≤ κ² (arXiv 1810.00597, algorithm 1).

    Encoder and decoder descend KL + λ (‖x − x̂‖² − κ²); the Lagrange multiplier λ, from 1 on, is multiplied by the
    exponential of the constraint's moving average. The paper leaves the multiplier's pace open: as in the GWAE paper's
    code, it changes by −10 to +5 percent at a time, and not before 200 updates. The constraint is on squared errors
    whatever the likelihood, which only the evidence bound follows.
    """

    name = "geco"
    paper = "Rezende & Viola 2018, arXiv:1810.00597"
    summary = "VAE that compresses as far as a given reconstruction error allows."

    tolerance: float = 10.0
    """κ, the root of the squared error allowed to an image of all its pixels; GWAE's, for CelebA at 64 pixels."""
    momentum: float = 0.99
    """Of the constraint's moving average."""
    multiplier_every: int = 100
    """Updates of encoder and decoder for one of λ. Where it is well below the average's memory, 1 / (1 − momentum)
    updates, λ overshoots and the error swings around κ² instead of settling."""

    def setup(self) -> None:
        super().setup()
        self.log_multiplier = nn.Buffer(torch.zeros(()))
        self.average_constraint = nn.Buffer(torch.zeros(()))

    def objective(self, images: Tensor) -> Losses:
        if not self.training:
            raise Unsupported("geco cannot be stopped by its objective, as λ changes it: leave patience out")
        codes, mean, log_variance = self.infer(images)
        constraint = squared_error(images, self.decoder(codes)) - self.tolerance**2
        regularizer = self.regularizer(codes, mean, log_variance)
        loss = self.log_multiplier.exp() * constraint + regularizer
        return {"loss": loss, "constraint": constraint, "regularizer": regularizer}

    def train_step(self, images: Tensor) -> Losses:
        momentum = self.momentum if self.steps_done else 0.0
        losses = super().train_step(images)
        self.average_constraint.lerp_(losses["constraint"].detach(), 1 - momentum)
        if self.steps_done > FIRST_MULTIPLIER_STEP and self.steps_done % self.multiplier_every == 0:
            self.log_multiplier.add_(self.average_constraint.clamp(LARGEST_FALL, LARGEST_RISE))
        return {**losses, "multiplier": self.log_multiplier.exp()}
