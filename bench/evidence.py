"""The arrays metrics are computed from, made once and only when a metric asks: codes, samples, pushed points, …

Names and shapes are those of `bench.metrics.base`. Randomness comes from streams of the trial's seed and dataset, not
of the method, so that all methods are measured on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.environment import generator, seed_torch
from bench.metrics.base import Unmeasurable
from datasets.base import ImageSplit, PairDataset
from methods.base import Autoencoder, TransportMap, Unsupported

CHUNK = 250
"""Images or points a forward pass: bounds memory, and changes no value beyond rounding."""


class Evidence:
    """Arrays by name. `axes` derive the random streams of one split's evaluation."""

    def __init__(self, device: torch.device, axes: dict[str, Any]) -> None:
        self.device = device
        self.axes = axes
        self._made: dict[tuple[str, int | None], Any] = {}

    def get(self, name: str, count: int | None) -> Any:
        """The array of a name, of `count` items (all there are, for None).

        Raises Unmeasurable where the dataset or the method does not give it, or gives values that are not finite.
        """
        if (name, count) not in self._made:
            make: Callable[[int | None], Any] = getattr(self, name)
            seed_torch("evaluation", array=name, **self.axes)
            try:
                made = make(count)
            except Unsupported as error:
                raise Unmeasurable(str(error)) from error
            if isinstance(made, np.ndarray) and made.dtype.kind == "f" and not np.isfinite(made).all():
                raise Unmeasurable(f"{name} has values that are not finite")
            self._made[name, count] = made
        return self._made[name, count]

    def _map(self, function: Callable[[Tensor], Tensor], array: np.ndarray) -> np.ndarray:
        """Applies a method's function to an array in chunks, on the device, without gradients."""
        with torch.no_grad():
            chunks = [
                function(torch.from_numpy(np.array(array[start : start + CHUNK])).to(self.device)).cpu()
                for start in range(0, len(array), CHUNK)
            ]
        return torch.cat(chunks).numpy()


class ImageEvidence(Evidence):
    """What an autoencoder makes of one split of an image dataset."""

    def __init__(self, method: Autoencoder, split: ImageSplit, device: torch.device, axes: dict[str, Any]) -> None:
        super().__init__(device, axes)
        self.method = method
        self.split = split

    def images(self, count: int | None) -> np.ndarray:
        return np.asarray(self.split.images[:count])

    def codes(self, count: int | None) -> np.ndarray:
        return self._map(lambda images: self.method.encode(images.float() / 255), self.images(count))

    def reconstructions(self, count: int | None) -> np.ndarray:
        return self._map(self.method.decode, self.get("codes", count))

    def prior_codes(self, count: int | None) -> np.ndarray:
        with torch.no_grad():
            return self.method.sample_prior(len(self.split.images) if count is None else count).cpu().numpy()

    def samples(self, count: int | None) -> np.ndarray:
        return self._map(self.method.decode, self.get("prior_codes", count))

    def components(self, count: int | None) -> np.ndarray:
        return self._map(lambda images: self.method.components(images.float() / 255), self.images(count))

    def labels(self, count: int | None) -> np.ndarray:
        if self.split.labels is None:
            raise Unmeasurable("the dataset has no labels")
        return np.asarray(self.split.labels[:count])

    def factors(self, count: int | None) -> np.ndarray:
        if self.split.factors is None:
            raise Unmeasurable("the dataset has no ground-truth factors")
        return np.asarray(self.split.factors[:count])


class PairEvidence(Evidence):
    """What a transport map makes of fresh points of a pair of distributions."""

    def __init__(self, method: TransportMap, dataset: PairDataset, device: torch.device, axes: dict[str, Any]) -> None:
        super().__init__(device, axes)
        self.method = method
        self.dataset = dataset

    def source(self, count: int) -> np.ndarray:
        return self.dataset.source(count, generator("evaluation-source", **self.axes)).double().numpy()

    def target(self, count: int) -> np.ndarray:
        return self.dataset.target(count, generator("evaluation-target", **self.axes)).double().numpy()

    def pushed(self, count: int) -> np.ndarray:
        return self._map(self.method.push, self._points("source", count).numpy()).astype(np.float64)

    def pulled(self, count: int) -> np.ndarray:
        return self._map(self.method.pull, self._points("target", count).numpy()).astype(np.float64)

    def true_pushed(self, count: int) -> np.ndarray:
        return self.dataset.true_map(self._points("source", count)).double().numpy()

    def true_pulled(self, count: int) -> np.ndarray:
        return self.dataset.true_inverse(self._points("target", count)).double().numpy()

    def source_variance(self, count: int) -> float:
        return self.dataset.source_variance

    def target_variance(self, count: int) -> float:
        return self.dataset.target_variance

    def _points(self, side: str, count: int) -> Tensor:
        return torch.from_numpy(self.get(side, count)).float()
