"""One update of an optimizer, and schedules of learning rates."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, optim
from torch.optim.optimizer import ParamsT

Schedule = Literal["constant", "steps", "smooth", "plateau"]

STEPS = ((30, 2.0), (50, 5.0), (100, 10.0))
"""(epoch, divisor): from that epoch on, the learning rate is divided once more."""


def adam(
    parameters: ParamsT,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
) -> optim.Adam:
    """torch's Adam, all of a parameter's update in one pass instead of one for each operation.

    On a CPU it takes for granted that a gradient's strides are its parameter's, as `backward` leaves them.
    """
    return optim.Adam(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, fused=True)


def update(optimizer: optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of `loss`, in the optimizer's parameters."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def decay(schedule: Schedule, epoch: int, epochs: float) -> float:
    """Factor of the learning rate in an epoch, counted from 0, of the WAE authors' schedules (arXiv 1711.01558).

    "steps" halves after 30 epochs, divides by 5 after 50 and by 10 after 100 ("manual" in their code, for MNIST);
    "smooth" falls to a hundredth over all `epochs`, an epoch at a time ("manual_smooth", for CelebA). "plateau" goes
    by the losses instead, see `Plateau`.
    """
    if schedule == "steps":
        factor = 1.0
        for start, divisor in STEPS:
            factor /= divisor if epoch >= start else 1.0
        return factor
    if schedule == "smooth":
        return 0.01 ** ((epoch + 1) / max(epochs, epoch + 1))
    return 1.0


class Plateau:
    """The WAE authors' "plateau": `factor` is divided by 1.4 where the loss has stopped to improve, down to 1e-6.

    From epoch 30 on, a step counts as waiting unless its loss is below all those of the 20 epochs before it; more than
    10 epochs of steps that wait in a row are a plateau, and the count begins anew.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.waiting = 0
        self.factor = 1.0

    def observe(self, loss: float, steps_per_epoch: int) -> None:
        """Takes the loss of a step, after it."""
        if len(self.losses) >= 30 * steps_per_epoch:
            self.waiting = 0 if loss < min(self.losses[-20 * steps_per_epoch :]) else self.waiting + 1
            if self.waiting > 10 * steps_per_epoch:
                self.factor = max(self.factor / 1.4, 1e-6)
                self.waiting = 0
        self.losses.append(loss)


def cosine_decay(step: int, steps: int, floor: float) -> float:
    """Factor of the learning rate at a step, counted from 0: half a cosine from 1 down to `floor` after all `steps`."""
    share = min(step / steps, 1.0) if steps else 0.0
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))


def set_learning_rate(optimizer: optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
