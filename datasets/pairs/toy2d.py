"""Planar targets reached from a standard normal: mixtures of Gaussians and the Swiss roll.

The toy experiments of Korotin et al., "Wasserstein-2 Generative Networks" (2021, arXiv 1909.13082). Their code
whitens each target by moments estimated on 100,000 points; here the moments are exact.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from datasets.base import PairDataset

RADIUS = 12.0
"""Of the circle of eight centers; every component of a mixture has standard deviation 1."""
GRID_STEP = 9.0
GRID_SIDES = {"25-gaussians": 5, "49-gaussians": 7, "100-gaussians": 10}
ROLL_NOISE = 0.8
ROLL_SCALE = 1 / 7.5


class Toy2D(PairDataset):
    """Source N(0, I); target `shape`, whitened to zero mean and unit covariance.

    Args:
        shape: "8-gaussians" on a circle of radius 12, n × n Gaussians on a grid of step 9, or "swiss-roll": the roll
            (t cos t, t sin t) with t uniform on [1.5π, 4.5π] and noise 0.8, divided by 7.5.
    """

    name = "toy2d"
    summary = "a standard normal to Gaussian mixtures or the Swiss roll in the plane"
    license = "none needed: generated"
    citation = "Korotin et al. 2021, Wasserstein-2 Generative Networks, arXiv 1909.13082"
    url = "https://github.com/iamalexkorotin/Wasserstein2GenerativeNetworks"
    dim = 2
    source_variance = 2.0
    target_variance = 2.0

    def __init__(
        self,
        *,
        shape: Literal["8-gaussians", "25-gaussians", "49-gaussians", "100-gaussians", "swiss-roll"] = "8-gaussians",
    ) -> None:
        self.shape = shape
        self.has_modes = shape != "swiss-roll"
        self.centers: Tensor | None = None
        if shape == "swiss-roll":
            mean, covariance = _swiss_roll_moments()
        else:
            centers = _circle_centers() if shape == "8-gaussians" else _grid_centers(GRID_SIDES[shape])
            mean, covariance = centers.mean(axis=0), np.cov(centers.T, bias=True) + np.eye(2)
            self.centers = torch.from_numpy(centers).float()
        variances, axes = np.linalg.eigh(covariance)
        self.mean = torch.from_numpy(mean).float()
        self.whitening = torch.from_numpy((axes / np.sqrt(variances)) @ axes.T).float()

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return torch.randn(count, 2, generator=generator)

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return self._whitened(self._raw_target(count, generator))

    def modes(self) -> tuple[Tensor, float]:
        """The circle and the grids vary alike in all directions, so whitening is a multiple of the identity."""
        if self.centers is None:
            raise ValueError("toy2d: the Swiss roll has no modes")
        return self._whitened(self.centers), float(self.whitening[0, 0])

    def _whitened(self, points: Tensor) -> Tensor:
        return (points - self.mean) @ self.whitening

    def _raw_target(self, count: int, generator: torch.Generator) -> Tensor:
        """Target points before whitening, [count, 2]."""
        noise = torch.randn(count, 2, generator=generator)
        if self.centers is None:
            angle = 1.5 * math.pi * (1 + 2 * torch.rand(count, generator=generator))
            roll = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1)
            return ROLL_SCALE * (roll + ROLL_NOISE * noise)
        return self.centers[torch.randint(len(self.centers), (count,), generator=generator)] + noise


def _circle_centers() -> np.ndarray:
    """Eight points on a circle, float64 [8, 2]."""
    angles = np.arange(8) * np.pi / 4
    return RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _grid_centers(side: int) -> np.ndarray:
    """A square grid around the origin, float64 [side², 2]."""
    line = GRID_STEP * (np.arange(side) - (side - 1) / 2)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def _swiss_roll_moments() -> tuple[np.ndarray, np.ndarray]:
    """Mean [2] and covariance [2, 2] of the scaled roll: integrals of t cos t, t² cos² t, … over [1.5π, 4.5π]."""
    mean = np.array([2.0, 2 / (3 * np.pi)])
    second = np.array([[39 * np.pi**2 / 8 - 0.25, 1.5 * np.pi], [1.5 * np.pi, 39 * np.pi**2 / 8 + 0.25]])
    covariance = second - np.outer(mean, mean) + ROLL_NOISE**2 * np.eye(2)
    return ROLL_SCALE * mean, ROLL_SCALE**2 * covariance
