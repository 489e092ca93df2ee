"""Made-up arrays of every name a metric may ask for, good or bad, whole or degenerate, and the metrics' values on them.

A small world: factors of variation, codes that are a noisy function of them, images that are another, a prior, and a
model that reconstructs and generates well (quality 1) or badly (quality 0).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import numpy as np
import torch

from bench.metrics.base import CONTEXT, DERIVED, Metric, Unmeasurable

COUNT = 400
"""Items of the world."""
BLOCKS = (100, 200)
"""Numbers of items for metrics whose cost grows with the square."""
SIZES = (3, 2, 2)
"""Values of each factor."""
LATENTS = 4
SIDE = 16
FEATURES = 24

World = dict[str, Any]


def world(quality: float = 1.0, *, count: int = COUNT, seed: int = 0) -> World:
    """Every array by name, with prefixes and without paths; `seed` is the model's, the data are always the same."""
    rng = np.random.default_rng(seed)
    made: World = {}
    for prefix in ("", "train_", "outlier_"):
        made |= {prefix + name: array for name, array in _images_and_codes(rng, quality, count, prefix).items()}
    made |= _maps(rng, quality, count)
    return made


def _images_and_codes(rng: np.random.Generator, quality: float, count: int, prefix: str) -> World:
    data = np.random.default_rng([ord(letter) for letter in prefix])
    factors = np.stack([data.integers(0, size, count) for size in SIZES], axis=1)
    images = _render(factors, data)
    if prefix == "outlier_":
        images = data.integers(0, 256, images.shape, dtype=np.uint8)
    noise = 1 - quality
    aligned = np.zeros((count, LATENTS))
    aligned[:, : len(SIZES)] = factors - (np.array(SIZES) - 1) / 2
    aligned[:, len(SIZES)] = rng.standard_normal(count)
    mix = np.linalg.qr(np.random.default_rng(7).standard_normal((LATENTS, LATENTS)))[0]
    codes = quality * aligned + noise * (0.3 * aligned @ mix + 2 * rng.standard_normal(aligned.shape))
    codes += 0.05 * rng.standard_normal(codes.shape)
    if prefix == "outlier_":
        codes = codes + 4 * quality
    codes = codes.astype(np.float32)
    log_variances = (-4 + 4 * noise + 0.1 * rng.standard_normal(codes.shape)).astype(np.float32)
    drawn = codes + np.exp(log_variances / 2) * rng.standard_normal(codes.shape).astype(np.float32)
    novelty = 3.0 if prefix == "outlier_" else 0.0
    floats = images / 255

    def corrupted(scale: float) -> np.ndarray:
        return (floats + scale * rng.standard_normal(images.shape)).clip(0, 1).astype(np.float32)

    samples = _render(np.stack([rng.integers(0, size, count) for size in SIZES], axis=1), rng) / 255
    drawn_samples = (samples + 0.5 * noise * rng.standard_normal(samples.shape)).clip(0, 1).astype(np.float32)
    spread = drawn.std(axis=0)
    return {
        "images": images,
        "labels": factors[:, 0],
        "factors": factors,
        "codes": codes,
        "drawn_codes": drawn,
        "posterior_means": codes,
        "posterior_log_variances": log_variances,
        "rates": rng.gamma(4.0, 1 + noise, count),
        "distortions": rng.gamma(9.0, 5 + 20 * noise, count),
        "scores": rng.standard_normal(count) + quality * novelty,
        "components": np.where(rng.random(count) < quality, factors[:, 0], rng.integers(0, SIZES[0], count)),
        "reconstructions": corrupted(0.02 + 0.3 * noise),
        "interpolations": corrupted(0.05 + 0.4 * noise),
        "prior_codes": (drawn[rng.permutation(count)] + noise * (2 + spread)).astype(np.float32),
        "samples": drawn_samples,
    }


def _render(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images uint8 [N, 1, 16, 16] of a bright square, whose place and brightness are the factors, on faint noise."""
    images = rng.integers(0, 30, (len(factors), 1, SIDE, SIDE))
    for image, (place, height, light) in zip(images, factors, strict=True):
        image[0, 2 + 6 * height : 7 + 6 * height, 1 + 5 * place : 5 + 5 * place] += 110 + 90 * light
    return images.clip(0, 255).astype(np.uint8)


def _maps(rng: np.random.Generator, quality: float, count: int) -> World:
    """Source N(0, I), target N(1, 4 I) in the plane: T*(x) = 2x + 1. Classes are quadrants, modes in their middles."""
    source, noise = rng.standard_normal((count, 2)), 1 - quality
    target = 2 * rng.standard_normal((count, 2)) + 1

    def blurred(points: np.ndarray) -> np.ndarray:
        return points + (0.01 + 3 * noise) * rng.standard_normal(points.shape)

    def quadrants(points: np.ndarray) -> np.ndarray:
        return (points > 0) @ np.array([1, 2])

    pushed = blurred(2 * source + 1)
    return {
        "source": source,
        "target": target,
        "pushed": pushed,
        "pulled": blurred((target - 1) / 2),
        "cycled": blurred((pushed - 1) / 2),
        "true_pushed": 2 * source + 1,
        "recovered": blurred(source),
        "source_variance": 2.0,
        "target_variance": 8.0,
        "labeled_source": source,
        "labeled_pushed": pushed,
        "source_labels": quadrants(source),
        "labeled_target": target,
        "target_labels": quadrants(target - 1),
        "modes": 1 + 2 * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]),
        "mode_deviation": 0.42,
    }


def small_options(metric: Metric) -> dict[str, Any]:
    """Its defaults, but for numbers of items, which are so small that every metric takes a moment."""
    options = {name: option.default for name, option in metric.options.items()}
    if "num_test" in options:
        return {**options, "num_train": 90, "num_test": 60}
    count = {"gromov-wasserstein": BLOCKS[0], "latent-sinkhorn": BLOCKS[1]}.get(metric.name, COUNT)
    return {**options, **{name: count for name in options if name.startswith("num_")}}


def evaluate(metric: Metric, arrays: World, options: Mapping[str, Any], *, seed: int = 0) -> dict[str, Any]:
    """The metric's outputs; Unmeasurable stands for those without a value. A warning is an error."""
    with warnings.catch_warnings(), mock.patch("bench.metrics.lpips._load", return_value=_perceptual_stand_in):
        warnings.simplefilter("error")
        try:
            given = {
                parameter: _given(metric, name, arrays, options, seed) for parameter, name in metric.parameters.items()
            }
            found = dict(metric.compute(**given, **options))
        except Unmeasurable as error:
            return dict.fromkeys(metric.outputs, error)
    if metric.across_seeds:
        found = {name: float(np.mean(values)) for name, values in found.items()}
    return found


def _given(metric: Metric, name: str, arrays: World, options: Mapping[str, Any], seed: int) -> Any:
    """What a parameter gets: for a metric across seeds a list, one array a model."""
    if name in CONTEXT:
        return {"rng": np.random.default_rng(seed), "threads": 1}[name]
    if metric.across_seeds:
        return [_resolve(name, model, options) for model in arrays["models"]]
    return _resolve(name, arrays, options)


def _resolve(name: str, arrays: World, options: Mapping[str, Any]) -> Any:
    head, _, last = name.rpartition("/")
    if last == "logits":
        return _resolve(head, arrays, options) @ np.random.default_rng(4).standard_normal((FEATURES, 6))
    if last in DERIVED:
        return DERIVED[last](_resolve(head, arrays, options))
    if head:
        return _features(_resolve(head, arrays, options))
    array = arrays[name]
    if not isinstance(array, np.ndarray):
        return array
    shared = array[: options.get("num_train" if name.startswith("train_") else "num_samples")]
    shared.setflags(write=False)  # as evidence hands it out
    return shared


def _features(images: np.ndarray) -> np.ndarray:
    """Stand-ins for a network's: random projections, rectified."""
    floats = images / 255 if images.dtype == np.uint8 else images
    flat = floats.reshape(len(images), -1)
    weights = np.random.default_rng(3).standard_normal((flat.shape[1], FEATURES)) / 8
    return np.maximum(flat @ weights, 0).astype(np.float32)


def models(quality: float) -> World:
    """What metrics across seeds get: the worlds of three models of the same data."""
    return {"models": [world(quality, seed=seed) for seed in range(3)]}


def _perceptual_stand_in(images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """In place of LPIPS's network, whose weights are a download."""
    return (images - others).abs().mean(dim=(1, 2, 3))


def reordered(arrays: World, seed: int = 1) -> World:
    """The same items in another order, arrays of one kind of item jointly; the first of BLOCKS stay the first."""
    rng = np.random.default_rng(seed)
    orders: dict[str, np.ndarray] = {}

    def shuffled(name: str, array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        kind = {"prior_codes": "free", "samples": "free", "modes": "modes"}.get(name, "")
        group = next((p for p in ("train_", "outlier_") if name.startswith(p)), "") + kind
        if group not in orders:
            blocks = np.split(np.arange(len(array)), BLOCKS)
            orders[group] = np.concatenate([rng.permutation(block) for block in blocks])
        return array[orders[group]]

    return {name: shuffled(name, array) for name, array in arrays.items()}


CODE_ARRAYS = ("codes", "drawn_codes", "posterior_means", "posterior_log_variances", "prior_codes")


def with_codes(arrays: World, change: Callable[[np.ndarray, str], np.ndarray]) -> World:
    """The world with every array of codes changed; `change` gets the array and its name without prefix."""
    changed = dict(arrays)
    for name, array in arrays.items():
        base = name.removeprefix("train_").removeprefix("outlier_")
        if base in CODE_ARRAYS:
            changed[name] = change(array, base)
    return changed
