"""Small images that an autoencoder can learn, and training as the harness does it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from methods.base import Autoencoder

SHAPE = (1, 8, 8)


def digits(count: int = 32) -> Tensor:
    """Blurred bars at random places, [count, 1, 8, 8]: something an autoencoder can learn."""
    generator = torch.Generator().manual_seed(0)
    place = 7 * torch.rand(count, 2, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    squared = (rows - place[:, 0, None, None]) ** 2 + 0.2 * (columns - place[:, 1, None, None]) ** 2
    return torch.exp(-squared / 2)[:, None]


def trained(model: Autoencoder, steps: int, images: Tensor | None = None) -> Any:
    """Trained as the harness does: seeded, prepared, trained, finished."""
    model.planned_steps, model.steps_per_epoch = steps, 2
    torch.manual_seed(1)
    model.train()
    images = digits() if images is None else images
    for _ in model.prepare(repeat(images)) or ():
        pass
    for _ in range(steps):
        model.train_step(images)
    for _ in model.finish(repeat(images)) or ():
        pass
    return model.eval()


def moved_by(act: Callable[[], object], model: Autoencoder) -> set[str]:
    """Parts of the model whose parameters `act` changes."""
    before = {name: p.clone() for name, p in model.named_parameters()}
    act()
    return {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
