"""The arrays metrics are computed from, made once and only when a metric asks: codes, samples, pushed points, …

Names and shapes are those of `bench.metrics.base`. An array is made chunk by chunk, and whatever is random in a chunk
comes from a stream of its own, derived from the trial's seed and dataset (not the method, so that all methods are
measured on the same draws). So the first 1,000 samples are the same whether 1,000 or 50,000 are asked for, and asking
for more makes only what is missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.environment import generator, numpy_generator, seed_torch
from bench.metrics.base import DERIVED, Unmeasurable
from bench.metrics.extractors import EXTRACTORS, extract_features, remembered_features
from datasets.base import ImageSplit, PairDataset
from methods.base import Autoencoder, TransportMap, Unsupported

POINTS_AT_ONCE = 1024
IMAGES_AT_ONCE = 32
"""What goes through a transport map at once: images take gigabytes in convolutional potentials."""


@dataclass
class _Series:
    """The chunks made of an array so far, and the array they made up when it was last asked for."""

    chunks: list[np.ndarray] = field(default_factory=list)
    joined: np.ndarray | None = None

    def join(self) -> None:
        """Makes `joined` of all chunks, which become views of it one by one: nothing is held twice."""
        first = self.chunks[0]
        joined = np.empty((sum(map(len, self.chunks)), *first.shape[1:]), first.dtype)
        end = 0
        for position, chunk in enumerate(self.chunks):
            start, end = end, end + len(chunk)
            joined[start:end] = chunk
            self.chunks[position] = joined[start:end]
        joined.setflags(write=False)  # it is handed to one metric after another
        self.joined = joined


class Evidence:
    """Arrays by name. `axes` derive the random streams of one split's evaluation.

    Subclasses have a function of each array's name, which makes one chunk of it: `size` items, fewer where the data
    end. Its keyword-only parameters are options of the metric that asks.
    """

    size: int
    """Items of a chunk, which go through the method at once."""

    def __init__(self, device: torch.device, axes: Mapping[str, Any]) -> None:
        self.device = device
        self.axes = axes
        self._made: dict[Any, _Series] = {}
        self._derived: dict[Any, Any] = {}

    def get(self, name: str, count: int | None, options: Mapping[str, Any] | None = None) -> Any:
        """The first `count` items of an array (for None, as many as there are images), or what derives from them.

        Raises Unmeasurable where the dataset or the method does not give it, or gives values that are not finite.
        """
        options = options or {}
        head, _, last = name.rpartition("/")
        if last not in DERIVED:
            return self._array(name, self.length(name, count), options)
        kinds = {key: value for key, value in options.items() if not key.startswith("num_")}
        key = (name, self.length(head, count), *sorted(kinds.items()))
        if key not in self._derived:
            self._derived[key] = DERIVED[last](self.get(head, count, options))
        return self._derived[key]

    def length(self, name: str, count: int | None) -> int:
        """How many items `get` gives."""
        raise NotImplementedError

    def _maker(self, name: str) -> Callable[..., np.ndarray]:
        """The function that makes a chunk of an array."""
        return getattr(self, name)

    def _array(self, name: str, count: int, options: Mapping[str, Any]) -> np.ndarray:
        series = self._series(name, max(1, -(-count // self.size)), options)
        if series.joined is None or len(series.joined) < count:
            series.join()
        assert series.joined is not None
        return series.joined[:count]

    def _chunk(self, name: str, chunk: int) -> np.ndarray:
        """One chunk of an array, for making another array from it."""
        return self._series(name, chunk + 1, {}).chunks[chunk]

    def _series(self, name: str, chunks: int, options: Mapping[str, Any]) -> _Series:
        """What has been made of an array, at least so many chunks of it."""
        make = self._maker(name)
        taken = {key: value for key, value in options.items() if key in inspect.signature(make).parameters}
        series = self._made.setdefault((name, *sorted(taken.items())), _Series())
        while len(series.chunks) < chunks:
            try:
                made = make(len(series.chunks), **taken)
            except Unsupported as error:
                raise Unmeasurable(str(error)) from error
            if made.dtype.kind == "f" and not np.isfinite(made).all():
                raise Unmeasurable(f"{name} has values that are not finite")
            series.chunks.append(made)
        return series

    def _apply(self, function: Callable[[Tensor], Any], array: np.ndarray, name: str, chunk: int) -> Any:
        """A method's function of a chunk, on the device, without gradients; its random stream is `name`'s."""
        points = torch.from_numpy(np.array(array)).to(self.device)
        seed_torch("evaluation", array=name, chunk=chunk, **self.axes)
        with torch.no_grad():
            return function(points)


class ImageEvidence(Evidence):
    """What an autoencoder makes of one split of an image dataset.

    Args:
        method, split: under evaluation.
        train: the training split, for arrays named train_….
        find_images: the images of another dataset by name, for arrays named outlier_….
        cache: the data folder, where features of a dataset's images are kept.
    """

    size = 250

    def __init__(
        self,
        method: Autoencoder,
        split: ImageSplit,
        device: torch.device,
        axes: Mapping[str, Any],
        *,
        train: ImageSplit,
        find_images: Callable[[str], ImageSplit],
        cache: Path,
    ) -> None:
        super().__init__(device, axes)
        self.method = method
        self.split = split
        self.shape = method.image_shape
        self.train = train
        self.find_images = find_images
        self.cache = cache
        self._others: dict[str, ImageEvidence] = {}

    def get(self, name: str, count: int | None, options: Mapping[str, Any] | None = None) -> Any:
        for prefix in ("train_", "outlier_"):
            if name.startswith(prefix):
                return self._other(prefix, options or {}).get(name.removeprefix(prefix), count, options)
        return super().get(name, count, options)

    def length(self, name: str, count: int | None) -> int:
        available = len(self.split.images)
        if count is None:
            return available
        return count if name.partition("/")[0] in ("prior_codes", "samples") else min(count, available)

    def images(self, chunk: int) -> np.ndarray:
        return like(np.asarray(self.split.images[self._range(chunk)]), self.shape)

    def labels(self, chunk: int) -> np.ndarray:
        if self.split.labels is None:
            raise Unmeasurable("the dataset has no labels")
        return np.asarray(self.split.labels[self._range(chunk)])

    def factors(self, chunk: int) -> np.ndarray:
        if self.split.factors is None:
            raise Unmeasurable("the dataset has no ground-truth factors")
        return np.asarray(self.split.factors[self._range(chunk)])

    def codes(self, chunk: int) -> np.ndarray:
        return self._of_images(self.method.encode, "codes", chunk).cpu().numpy()

    def drawn_codes(self, chunk: int) -> np.ndarray:
        return self._of_images(self.method.draw_codes, "drawn_codes", chunk).cpu().numpy()

    def posteriors(self, chunk: int) -> np.ndarray:
        """[N, 2, d]: means, log-variances."""
        return torch.stack(self._of_images(self.method.posterior, "posteriors", chunk), dim=1).cpu().numpy()

    def posterior_means(self, chunk: int) -> np.ndarray:
        return self._chunk("posteriors", chunk)[:, 0]

    def posterior_log_variances(self, chunk: int) -> np.ndarray:
        return self._chunk("posteriors", chunk)[:, 1]

    def bounds(self, chunk: int) -> np.ndarray:
        """[N, 2]: rates, distortions."""
        return torch.stack(self._of_images(self.method.rate_distortion, "bounds", chunk), dim=1).double().cpu().numpy()

    def rates(self, chunk: int) -> np.ndarray:
        return self._chunk("bounds", chunk)[:, 0]

    def distortions(self, chunk: int, *, likelihood: str) -> np.ndarray:
        distortions = self._chunk("bounds", chunk)[:, 1]
        if self.method.likelihood != likelihood:
            raise Unmeasurable(f"the method's likelihood is {self.method.likelihood}, asked for is {likelihood}")
        return distortions

    def scores(self, chunk: int) -> np.ndarray:
        return self._of_images(self.method.score, "scores", chunk).double().cpu().numpy()

    def components(self, chunk: int) -> np.ndarray:
        return self._of_images(self.method.components, "components", chunk).cpu().numpy()

    def reconstructions(self, chunk: int) -> np.ndarray:
        return self._decode(self._chunk("codes", chunk), "reconstructions", chunk)

    def interpolations(self, chunk: int) -> np.ndarray:
        """Midway on the great circle between an image's code and a random other's, nearly as in arXiv 1903.12436.

        Codes of that paper have nearly one length; see `midpoints` for others.
        """
        codes = self._chunk("codes", chunk)
        rng = numpy_generator("interpolation", chunk=chunk, **self.axes)
        partners = self.split.images[rng.integers(len(self.split.images), size=len(codes))]
        others = self._apply(lambda images: self.method.encode(images.float() / 255), partners, "partners", chunk)
        return self._decode(midpoints(codes, others.cpu().numpy()), "interpolations", chunk)

    def prior_codes(self, chunk: int) -> np.ndarray:
        seed_torch("evaluation", array="prior_codes", chunk=chunk, **self.axes)
        with torch.no_grad():
            return self.method.sample_prior(self.size).cpu().numpy()

    def samples(self, chunk: int) -> np.ndarray:
        return self._decode(self._chunk("prior_codes", chunk), "samples", chunk)

    def _maker(self, name: str) -> Callable[..., np.ndarray]:
        """Of "samples/EXTRACTOR", a function that makes features; those of a dataset's images are kept on disk."""
        head, _, last = name.rpartition("/")
        if not head:
            return super()._maker(name)
        extractor = EXTRACTORS[last]

        def features(chunk: int) -> np.ndarray:
            images = self._chunk(head, chunk)
            if head == "images":
                return remembered_features(extractor, images, self.device, self.cache)
            return extract_features(extractor, images, self.device)

        return features

    def _range(self, chunk: int) -> slice:
        return slice(chunk * self.size, (chunk + 1) * self.size)

    def _of_images(self, function: Callable[[Tensor], Any], name: str, chunk: int) -> Any:
        return self._apply(lambda images: function(images.float() / 255), self._chunk("images", chunk), name, chunk)

    def _decode(self, codes: np.ndarray, name: str, chunk: int) -> np.ndarray:
        return self._apply(self.method.decode, codes, name, chunk).cpu().numpy()

    def _other(self, prefix: str, options: Mapping[str, Any]) -> ImageEvidence:
        """The evidence of other images: the training split's, or those of the dataset that `outliers` names."""
        name = "train" if prefix == "train_" else options["outliers"]
        if name not in self._others:
            split = self.train if prefix == "train_" else self.find_images(name)
            self._others[name] = ImageEvidence(
                self.method,
                split,
                self.device,
                {**self.axes, "images": name},
                train=self.train,
                find_images=self.find_images,
                cache=self.cache,
            )
        return self._others[name]


class PairEvidence(Evidence):
    """What a transport map makes of fresh points of a pair of distributions."""

    def __init__(
        self, method: TransportMap, dataset: PairDataset, device: torch.device, axes: Mapping[str, Any]
    ) -> None:
        super().__init__(device, axes)
        self.method = method
        self.dataset = dataset
        self.size = IMAGES_AT_ONCE if dataset.image_shape else POINTS_AT_ONCE

    def get(self, name: str, count: int | None, options: Mapping[str, Any] | None = None) -> Any:
        if name in ("source_variance", "target_variance"):
            return getattr(self.dataset, name)
        if name == "modes":
            return self.dataset.modes()[0].double().numpy()
        if name == "mode_deviation":
            return self.dataset.modes()[1]
        return super().get(name, count, options)

    def length(self, name: str, count: int | None) -> int:
        if name in ("labeled_source", "labeled_pushed", "source_labels"):
            return len(self._labeled_source[1])
        if name in ("labeled_target", "target_labels"):
            return len(self._labeled_target[1])
        return self.size if count is None else count

    def source(self, chunk: int) -> np.ndarray:
        stream = generator("evaluation-source", chunk=chunk, **self.axes)
        return self.dataset.source(self.size, stream, self.axes["split"]).double().numpy()

    def target(self, chunk: int) -> np.ndarray:
        stream = generator("evaluation-target", chunk=chunk, **self.axes)
        return self.dataset.target(self.size, stream, self.axes["split"]).double().numpy()

    def pushed(self, chunk: int) -> np.ndarray:
        return self._map(self.method.push, "source", "pushed", chunk)

    def pulled(self, chunk: int) -> np.ndarray:
        return self._map(self.method.pull, "target", "pulled", chunk)

    def cycled(self, chunk: int) -> np.ndarray:
        return self._map(self.method.pull, "pushed", "cycled", chunk)

    def true_pushed(self, chunk: int) -> np.ndarray:
        return self.dataset.true_map(self._points("source", chunk)).double().numpy()

    def recovered(self, chunk: int) -> np.ndarray:
        return self._map(self.method.pull, "true_pushed", "recovered", chunk)

    def labeled_source(self, chunk: int) -> np.ndarray:
        return self._labeled_source[0][self._range(chunk)].double().numpy()

    def labeled_pushed(self, chunk: int) -> np.ndarray:
        return self._map(self.method.push, "labeled_source", "labeled_pushed", chunk)

    def source_labels(self, chunk: int) -> np.ndarray:
        return self._labeled_source[1][self._range(chunk)].numpy()

    def labeled_target(self, chunk: int) -> np.ndarray:
        return self._labeled_target[0][self._range(chunk)].double().numpy()

    def target_labels(self, chunk: int) -> np.ndarray:
        return self._labeled_target[1][self._range(chunk)].numpy()

    @cached_property
    def _labeled_source(self) -> tuple[Tensor, Tensor]:
        """Of the split at hand."""
        return self.dataset.labeled_source(self.axes["split"])

    @cached_property
    def _labeled_target(self) -> tuple[Tensor, Tensor]:
        """Of the training split: what a classifier of the target would have been fitted on."""
        return self.dataset.labeled_target("train")

    def _range(self, chunk: int) -> slice:
        return slice(chunk * self.size, (chunk + 1) * self.size)

    def _map(self, function: Callable[[Tensor], Tensor], side: str, name: str, chunk: int) -> np.ndarray:
        return self._apply(function, self._points(side, chunk).numpy(), name, chunk).double().cpu().numpy()

    def _points(self, side: str, chunk: int) -> Tensor:
        return torch.from_numpy(self._chunk(side, chunk)).float()


def like(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Images uint8 [N, c, h, w] at another shape [N, C, H, W]: bilinear, antialiased, grey by luma or repeated."""
    channels, *size = shape
    if images.shape[1:] == tuple(shape):
        return images
    resized = F.interpolate(torch.from_numpy(np.array(images)).float(), size=size, mode="bilinear", antialias=True)
    if channels == 1 and images.shape[1] == 3:
        resized = (resized * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
    return resized.expand(-1, channels, -1, -1).round().clamp(0, 255).to(torch.uint8).numpy()


def midpoints(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Midway between rows of two arrays [N, d]: in the middle of their directions' arc on the sphere, of mean length.

    Straight midway where directions are opposite, or a code is 0; never longer than the longer of the two. For codes of
    equal length this is spherical interpolation (Shoemake 1985) at ½. That of raw vectors, (a + b) / (2 cos(θ/2)) with
    θ the angle between them, grows without bound for unequal lengths as directions become opposite, which in few
    dimensions they often are.
    """
    lengths, other_lengths = (np.linalg.norm(ends, axis=1, keepdims=True) for ends in (codes, others))
    apart = (lengths > 0) & (other_lengths > 0)
    units, other_units = (
        np.divide(ends, length, out=np.zeros_like(ends), where=apart)
        for ends, length in ((codes, lengths), (others, other_lengths))
    )
    sums = units + other_units
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    mean_lengths = (lengths + other_lengths) / 2
    # A sum of opposite directions is rounding: its own direction means nothing.
    return np.divide(sums * mean_lengths, norms, out=(codes + others) / 2, where=norms > 1e-4)
