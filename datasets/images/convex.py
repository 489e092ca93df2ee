"""Convex solids that stand on the floor y = 0 around the origin: where rays enter and leave them, and their normals.

Points and directions are float64 [3, …]: x, y and z, with y upwards. A ray is origin + t · direction for all t.
Everything is computed element by element, by +, -, ×, ÷ and √, which are the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

Interval = tuple[np.ndarray, np.ndarray]
"""The t at which rays enter and leave, each […]; rays that miss enter later than they leave, or at once."""


class Solid(Protocol):
    def meet(self, origin: np.ndarray, direction: np.ndarray) -> Interval:
        """Where the rays are inside."""

    def normal(self, point: np.ndarray) -> np.ndarray:
        """Unit vectors [3, …] that point outwards, for points of the surface."""


@dataclass(frozen=True)
class Cube:
    side: float

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> Interval:
        half = self.side / 2
        x, y, z = zip(origin, direction, strict=True)
        return _common(_slab(*x, -half, half), _slab(*y, 0, self.side), _slab(*z, -half, half))

    def normal(self, point: np.ndarray) -> np.ndarray:
        x, y, z = point
        centered = np.stack([x, y - self.side / 2, z])
        axes = np.arange(3).reshape(3, *[1] * x.ndim)
        return np.where(np.abs(centered).argmax(axis=0) == axes, np.sign(centered), 0)


@dataclass(frozen=True)
class Cylinder:
    radius: float
    height: float

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> Interval:
        tube = _round(origin[::2], direction[::2], self.radius)
        return _common(tube, _slab(origin[1], direction[1], 0, self.height))

    def normal(self, point: np.ndarray) -> np.ndarray:
        """Points of the bottom, which nothing sees, count as points of the side."""
        x, y, z = point
        across = np.sqrt(x * x + z * z)
        top = self.height - y < self.radius - across
        return np.where(top, np.stack([0 * x, 0 * y + 1, 0 * z]), np.stack([x / across, 0 * y, z / across]))


@dataclass(frozen=True)
class Capsule:
    """Upright, with half a ball on either end; a ball where the height is twice the radius."""

    radius: float
    height: float

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> Interval:
        low, high = self.radius, self.height - self.radius
        tube = _round(origin[::2], direction[::2], self.radius)
        pieces = [_common(tube, _slab(origin[1], direction[1], low, high))]
        for center in (low, high):
            pieces.append(_round(np.stack([origin[0], origin[1] - center, origin[2]]), direction, self.radius))
        met = [enter < leave for enter, leave in pieces]
        enters = [np.where(here, enter, np.inf) for here, (enter, _) in zip(met, pieces, strict=True)]
        leaves = [np.where(here, leave, -np.inf) for here, (_, leave) in zip(met, pieces, strict=True)]
        return np.minimum.reduce(enters), np.maximum.reduce(leaves)

    def normal(self, point: np.ndarray) -> np.ndarray:
        x, y, z = point
        middle = np.clip(y, self.radius, self.height - self.radius)
        return np.stack([x, y - middle, z]) / self.radius


def _slab(origin: np.ndarray, direction: np.ndarray, low: float, high: float) -> Interval:
    """Between two planes, by the coordinate in which they differ."""
    first, second = (low - origin) / direction, (high - origin) / direction
    return np.minimum(first, second), np.maximum(first, second)


def _round(origin: np.ndarray, direction: np.ndarray, radius: float) -> Interval:
    """In a ball around 0, or with two coordinates in an endless tube."""
    square = sum(d * d for d in direction)
    middle = -sum(o * d for o, d in zip(origin, direction, strict=True)) / square
    nearest = sum(p * p for p in origin + middle * direction)
    half = np.sqrt(np.maximum(0, radius * radius - nearest) / square)
    return middle - half, middle + half


def _common(*intervals: Interval) -> Interval:
    enters, leaves = zip(*intervals, strict=True)
    return np.maximum.reduce(enters), np.minimum.reduce(leaves)
