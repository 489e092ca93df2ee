"""The map to one point, as a reference: its L2-UVP is 100 % where the point is the target's mean."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base import Sampler, Shape, TransportMap
from methods.transport.linear import sample_mean


class Constant(TransportMap):
    """push(x) = E[Y] and pull(y) = E[X], means of samples.

    Args:
        shape: dimension D of the points, or the shape of the images they are.
        num_samples: points of each distribution that the means are taken over.
    """

    name = "constant"
    paper = "reference row of Korotin et al. 2021, arXiv 2106.01954"
    summary = "sends every point to the target's mean"
    family = "reference"
    trains = False
    source_mean: Tensor
    target_mean: Tensor

    def __init__(self, shape: Shape, *, num_samples: int = 100_000) -> None:
        super().__init__(shape)
        if num_samples < 1:
            raise ValueError(f"constant: num_samples is {num_samples}; a mean needs at least one point")
        self.num_samples = num_samples
        self.register_buffer("source_mean", torch.zeros(self.dim))
        self.register_buffer("target_mean", torch.zeros(self.dim))

    def push(self, points: Tensor) -> Tensor:
        return self.target_mean.expand_as(points)

    def pull(self, points: Tensor) -> Tensor:
        return self.source_mean.expand_as(points)

    def prepare(self, source: Sampler, target: Sampler) -> None:
        self.source_mean.copy_(sample_mean(source, self.num_samples))
        self.target_mean.copy_(sample_mean(target, self.num_samples))
