"""Mix3toMix10, the pairs of the Wasserstein-2 benchmark: a mixture of Gaussians pushed forward by a known optimal map.

Korotin et al., "Do Neural Optimal Transport Solvers Work? A Continuous Wasserstein-2 Benchmark" (2021, arXiv
2106.01954), and their code. The map is the gradient of a sum of two input-convex networks that they trained towards
mixtures of ten Gaussians and published.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.base import DataError, PairDataset, RemoteFile, Supplies

COMPONENTS = 3
DEVIATION = 0.4
"""Standard deviation of every coordinate within a component of the source, before standardization."""
STRONG_CONVEXITY = 1e-2
MOMENT_SAMPLES = 2**17
CHUNK = 4096
"""Points mapped at once, which bounds memory."""
FOLDER = "https://raw.githubusercontent.com/iamalexkorotin/Wasserstein2Benchmark/main/benchmarks/Mix3toMix10"
SHA256 = {
    2: (
        "12fbf72953af1371002cb4a0b67757bd63b335e923fc5f7d4076fbeb81ee72b5",
        "28d161bf7b352d678fb77f512b51266574da06455d3eabf9173695813efc1716",
    ),
    4: (
        "edbe9ff24297c685d070811930f2d17b63f0fd299cba0f792617798211e1bbc2",
        "ec2a061e00be682b5212cfd9801d6d874768bd8b7ba3c2a80e2dc48d5a473425",
    ),
    8: (
        "0ace0d609d39eac0cbbb0f1e26ca1cd2329a8c48da7122f3118389755ca5be16",
        "f2ef690cf8f9c3c9aed9c15471a64c8dc9da68f5d565b1c091d8f2e7caec5cb5",
    ),
    16: (
        "d50a23710ca3b71a01007cd53c6b578de087c9879e0506866bac9196357e1891",
        "722088932a1a0dbbf9cc1e90a6b9d86df0536f4520caf205b33161c74c0dd574",
    ),
    32: (
        "d843897886c9346c3a0d14c2a0824f5b235ca4cf7932dda77a8c8f5c1a3fc201",
        "34e8fed6bc0c7cfc54fa607b2bfb17118b70a1c135be486f55299299062f767f",
    ),
    64: (
        "ea8778313115151315cdc4a60198fea41e18800295559391c97e9a49b5b8f56c",
        "2bbc6d8e5c7f29a6e188e23ea10b811e1b07b1bd0f355cc8916356eed2e7428b",
    ),
    128: (
        "69146834f2b33b6f05accbc7d4d49ef43e9517f38d5a7ab71c50a936c0c613ab",
        "d03ed8ab9b8bab886ecc7d69e1dba1173b154f4eae9378a295a7cbbc93d52321",
    ),
}
"""Of the files {dim}_v1.pt and {dim}_v2.pt."""
GIT_BLOBS = {256: ("2c660c94439ea86a2ef56f09d0b0c79a78276ba0", "fdb31a331d448bd5dcf909dabc8175de1ff4bfe4")}
"""Of those whose SHA-256 is not known: their identifiers in the authors' repository."""
DIMENSIONS = (*SHA256, *GIT_BLOBS)


class W2Benchmark(PairDataset):
    """P: three Gaussians, drawn as the authors seed them. Q: P pushed forward by T* = (∇ψ₁ + ∇ψ₂ - shift) · scale.

    Shift and scale give Q zero mean and total variance D. The authors estimate them on 2^14 points; here it is 2^17
    points from a stream of their own, the same whenever the pair is built.

    The potentials are the authors' files `benchmarks/Mix3toMix10/{dim}_v1.pt` and `{dim}_v2.pt`.

    Args:
        dim: dimension D: 2, 4, 8, 16, 32, 64, 128 or 256.
    """

    name = "w2-benchmark"
    summary = "a mixture of 3 Gaussians to its image under a known gradient of convex networks"
    license = "MIT"
    citation = "Korotin et al. 2021, Do Neural Optimal Transport Solvers Work?, arXiv 2106.01954"
    url = "https://github.com/iamalexkorotin/Wasserstein2Benchmark"
    has_true_map = True

    def __init__(self, *, dim: int = 2) -> None:
        if dim not in DIMENSIONS:
            raise ValueError(f"w2-benchmark: dim is {dim}; there are pairs for {', '.join(map(str, DIMENSIONS))}")
        self.dim = dim
        self.files = tuple(
            RemoteFile(
                f"{self.name}-{dim}_{version}.pt",
                f"{FOLDER}/{dim}_{version}.pt",
                sha256=SHA256[dim][number] if dim in SHA256 else "",
                git_blob=GIT_BLOBS[dim][number] if dim in GIT_BLOBS else "",
            )
            for number, version in enumerate(("v1", "v2"))
        )
        self.centers, self.factors = (torch.from_numpy(array) for array in _mixture(dim))
        spread = self.centers.square().sum(dim=1) + self.factors.square().sum(dim=(1, 2))
        self.source_variance = float(spread.double().mean())
        self.target_variance = float(dim)

    def build(self, supplies: Supplies) -> dict[str, np.ndarray]:
        """The weights of both potentials, stacked, and `shift` [D] and `scale` [] of their gradient.

        Raises:
            DataError: a file cannot be had, or holds something else than the authors' networks.
        """
        first, second = (_load_potential(supplies.file(file), self.dim) for file in self.files)
        self._weights = {name: torch.stack([first[name], second[name]]) for name in first}
        mean, variance = self._moments()
        arrays = {name: weight.numpy() for name, weight in self._weights.items()}
        return {**arrays, "shift": mean, "scale": np.sqrt(self.dim / variance)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        tensors = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()}
        self._shift, self._scale = tensors.pop("shift"), tensors.pop("scale")
        self._weights = tensors

    def source(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        component = torch.randint(COMPONENTS, (count,), generator=generator)
        points = torch.randn(count, self.dim, generator=generator)
        for number, (center, factor) in enumerate(zip(self.centers, self.factors, strict=True)):
            chosen = component == number
            points[chosen] = points[chosen] @ factor.T + center
        return points

    def target(self, count: int, generator: torch.Generator, split: str = "train") -> Tensor:
        return self.true_map(self.source(count, generator))

    def true_map(self, points: Tensor) -> Tensor:
        gradient = torch.cat([self._gradient(chunk) for chunk in points.split(CHUNK)])
        return (gradient - self._shift.to(points)) * self._scale.to(points)

    def _gradient(self, points: Tensor) -> Tensor:
        """∇ψ₁ + ∇ψ₂ at points [B, D]; arrays of both networks are [2, B, width].

        ψ(x) = w·h₃ + m/2 ‖x‖² with h₁ = q₁(x), h₂ = CELU(W₂h₁ + q₂(x)), h₃ = CELU(W₃h₂ + q₃(x)) and
        q(x) = (Ax)² + Bx + b, whose A, B and b are stacked over the layers.
        """
        square, slope, bias, second, third, last = (
            self._weights[name].to(points) for name in ("square", "linear", "bias", "second", "third", "last")
        )
        projections = points @ square.mT
        quadratics = projections.square() + points @ slope.mT + bias.unsqueeze(1)
        first_skip, second_skip, third_skip = quadratics.split(_widths(self.dim), dim=2)
        second_layer = first_skip @ second.mT + second_skip
        third_layer = torch.celu(second_layer) @ third.mT + third_skip
        third_signal = last.unsqueeze(1) * _celu_slope(third_layer)  # ∂ψ/∂q₃, then ∂ψ/∂q₂ and ∂ψ/∂q₁
        second_signal = third_signal @ third * _celu_slope(second_layer)
        signals = torch.cat([second_signal @ second, second_signal, third_signal], dim=2)
        gradients = (2 * projections * signals) @ square + signals @ slope
        return gradients.sum(dim=0) + 2 * STRONG_CONVEXITY * points

    def _moments(self) -> tuple[np.ndarray, float]:
        """Mean [D] and total variance of the push-forward of P by ∇ψ₁ + ∇ψ₂, estimated on MOMENT_SAMPLES points."""
        generator = torch.Generator().manual_seed(0)
        total, squares = torch.zeros(self.dim, dtype=torch.float64), 0.0
        for _ in range(MOMENT_SAMPLES // CHUNK):
            pushed = self._gradient(self.source(CHUNK, generator)).double()
            total += pushed.sum(dim=0)
            squares += float(pushed.square().sum())
        mean = (total / MOMENT_SAMPLES).numpy()
        return mean, squares / MOMENT_SAMPLES - float(mean @ mean)


def _mixture(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Centers [3, D] and factors [3, D, D] of the source: x = center + factor · N(0, I), with total variance D.

    The draws are the authors', who seed NumPy's global generator with 0: in every coordinate the centers are a
    permutation of -1, 0, 1, and the rows of a factor are random directions.
    """
    rng = np.random.RandomState(0)
    order = np.stack([rng.choice(COMPONENTS, COMPONENTS, replace=False) for _ in range(dim)], axis=1)
    centers = order.astype(np.float32) - (COMPONENTS - 1) / 2
    factors = rng.normal(size=(COMPONENTS, dim, dim)).astype(np.float32)
    factors *= DEVIATION / np.linalg.norm(factors, axis=2, keepdims=True)
    deviation = np.sqrt(np.square(centers).sum(axis=1).mean() / dim + DEVIATION**2)
    return (centers / deviation).astype(np.float32), (factors / deviation).astype(np.float32)


def _widths(dim: int) -> list[int]:
    """Of the three hidden layers."""
    return [max(2 * dim, 64), max(2 * dim, 64), max(dim, 32)]


def _celu_slope(values: Tensor) -> Tensor:
    return values.clamp(max=0).exp()


def _load_potential(path: Path, dim: int) -> dict[str, Tensor]:
    """One network's weights, with A [Σ width, D], B [Σ width, D] and b [Σ width] stacked over the layers.

    Raises:
        DataError: `path` holds something else than a network of that dimension.
    """
    first, second, third = widths = _widths(dim)
    shapes: dict[str, tuple[int, ...]] = {
        "convex_layers.0.weight": (second, first),
        "convex_layers.1.weight": (third, second),
        "final_layer.weight": (1, third),
    }
    for layer, width in enumerate(widths):
        shapes[f"quadratic_layers.{layer}.quadratic_decomposed"] = (dim, 1, width)
        shapes[f"quadratic_layers.{layer}.weight"] = (width, dim)
        shapes[f"quadratic_layers.{layer}.bias"] = (width,)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    except (OSError, RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is no PyTorch state dict: {error}. Delete it to download it again.") from error
    if found != shapes:
        wrong = sorted((name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name)), key=str)
        raise DataError(
            f"{path} holds another network than the potentials of dimension {dim}: "
            f"{wrong[0]} is {found.get(wrong[0], 'absent')} and should be {shapes.get(wrong[0], 'absent')}. "
            "Delete it to download it again."
        )
    layers = [f"quadratic_layers.{layer}" for layer in range(len(widths))]
    return {
        "square": torch.cat([state[f"{layer}.quadratic_decomposed"][:, 0].T for layer in layers]),
        "linear": torch.cat([state[f"{layer}.weight"] for layer in layers]),
        "bias": torch.cat([state[f"{layer}.bias"] for layer in layers]),
        "second": state["convex_layers.0.weight"],
        "third": state["convex_layers.1.weight"],
        "last": state["final_layer.weight"][0],
    }
