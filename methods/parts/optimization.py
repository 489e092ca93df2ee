"""One update of an optimizer, and schedules of learning rates."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, optim

Schedule = Literal["constant", "steps", "smooth"]

STEPS = ((30, 2.0), (50, 5.0), (100, 10.0))
"""(epoch, divisor): from that epoch on, the learning rate is divided once more."""


def update(optimizer: optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of `loss`, in the optimizer's parameters."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def decay(schedule: Schedule, epoch: int, epochs: float) -> float:
    """Factor of the learning rate in an epoch, counted from 0, of the WAE authors' schedules (arXiv 1711.01558).

    "steps" halves after 30 epochs, divides by 5 after 50 and by 10 after 100 ("manual" in their code, for MNIST);
    "smooth" falls to a hundredth over all `epochs`, an epoch at a time ("manual_smooth", for CelebA).
    """
    if schedule == "steps":
        factor = 1.0
        for start, divisor in STEPS:
            factor /= divisor if epoch >= start else 1.0
        return factor
    if schedule == "smooth":
        return 0.01 ** ((epoch + 1) / max(epochs, epoch + 1))
    return 1.0


def cosine_decay(step: int, steps: int, floor: float) -> float:
    """Factor of the learning rate at a step, counted from 0: half a cosine from 1 down to `floor` after all `steps`."""
    share = min(step / steps, 1.0) if steps else 0.0
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))


def set_learning_rate(optimizer: optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
