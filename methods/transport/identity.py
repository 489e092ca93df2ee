"""The identity map, as a reference: what a method scores that does nothing."""

from __future__ import annotations

from torch import Tensor

from methods.base import TransportMap


class Identity(TransportMap):
    """push(x) = x and pull(y) = y."""

    name = "identity"
    paper = "reference row of Korotin et al. 2021, arXiv 2106.01954"
    summary = "leaves every point where it is"
    family = "reference"
    trains = False

    def push(self, points: Tensor) -> Tensor:
        return points

    def pull(self, points: Tensor) -> Tensor:
        return points
