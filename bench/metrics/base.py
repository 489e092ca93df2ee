"""What a metric is, and the registry that finds them.

A metric is a pure function from arrays to floats. Its positional parameters name the arrays it needs, its
keyword-only parameters are its options (as they may be set in sweeps.toml), so its signature is its schema:

    @metric(table="reconstruction", source="...", outputs={"mse": Output("min", "squared intensity", "...")})
    def mse(images, reconstructions, *, num_samples: int = 10_000):
        return {"mse": float(...)}

A function that serves several metrics is registered once for each, with `arrays` saying what its parameters stand
for: metric(name="kid-generation", arrays={"features": "samples/inception-v3"}, ...)(kernel_distance).

Arrays a metric may name (N evaluation items of the split at hand, all on the CPU, in an order that means nothing):

    autoencoding  images           uint8   [N, C, H, W]
                  labels           int64   [N]
                  factors          int64   [N, F]
                  codes            float32 [N, d], the codes used in evaluation (posterior means)
                  drawn_codes      float32 [N, d], one draw of each posterior; equal to codes where it is a point
                  posterior_means, posterior_log_variances   float32 [N, d], of Gaussian posteriors
                  rates            float64 [N], KL(q(z|x) ‖ p(z)) in nats
                  distortions      float64 [N], −E log p(x|z) in nats under the likelihood the option of that name says
                  scores           float64 [N], how unlike its training images the model itself finds each, upwards
                  components       int64   [N], the model's own mixture component
                  reconstructions  float32 [N, C, H, W] in [0, 1]
                  interpolations   float32 [N, C, H, W] in [0, 1], decoded midway between two random images' codes
                  prior_codes      float32 [M, d]
                  samples          float32 [M, C, H, W] in [0, 1], decoded draws of the prior
                  train_…          any of these for the training split, `num_train` of them
                  outlier_…        any of these for another dataset, which the option `outliers` names
                  …/EXTRACTOR      float32 [N, D], features of images by a network of `bench.metrics.extractors`
                  …/statistics     mean and covariance of features, see `bench.metrics.generation.frechet`
    transport     source, target   float64 [N, D]
                  pushed           float64 [N, D], the method's map of source
                  pulled           float64 [N, D], the method's inverse map of target
                  cycled           float64 [N, D], its inverse map of pushed
                  true_pushed      float64 [N, D], the optimal map of source
                  recovered        float64 [N, D], the method's inverse map of true_pushed: source, if it is right
                  source_variance, target_variance   float, traces of the covariances
                  labeled_source, labeled_pushed, source_labels   float64 [N, D] and int64 [N], all of the split
                  labeled_target, target_labels      float64 [M, D] and int64 [M], all of the training split
                  modes            float64 [K, D], centers of the target's equally likely modes
                  mode_deviation   float, the standard deviation of a mode in any direction
    any           rng              numpy Generator, derived from seed, dataset and metric
                  threads          int, the cores the trial has

`num_samples`, where a metric has it, is the number of evaluation items handed to it (fewer where the split has fewer,
except `samples` and `prior_codes`, of which M = num_samples are always drawn). Every array of a split is made once,
however many metrics and numbers of samples ask for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from bench.options import Option, options_of, positional_names

TABLES = ("reconstruction", "generation", "disentanglement", "clustering", "transport", "latent")
ARRAYS = {
    "autoencoding": (
        *("images", "labels", "factors", "codes", "drawn_codes", "posterior_means", "posterior_log_variances"),
        *("rates", "distortions", "scores", "components", "reconstructions", "interpolations"),
        *("prior_codes", "samples"),
    ),
    "transport": (
        *("source", "target", "pushed", "pulled", "cycled", "true_pushed", "recovered"),
        *("source_variance", "target_variance", "modes", "mode_deviation"),
        *("labeled_source", "labeled_pushed", "source_labels", "labeled_target", "target_labels"),
    ),
}
"""The arrays a method and a dataset of each kind give, as described above, without prefixes and paths."""
CONTEXT = ("rng", "threads")
"""Parameters that are no arrays: the harness supplies them whatever the dataset and the method."""
REQUIREMENTS = {
    "labels": "class labels",
    "factors": "ground-truth factors",
    "posterior_means": "a Gaussian posterior",
    "posterior_log_variances": "a Gaussian posterior",
    "rates": "an evidence bound",
    "distortions": "an evidence bound",
    "scores": "an outlier score of the method's own",
    "components": "a mixture of the method's own",
    "true_pushed": "the true map",
    "recovered": "the true map and an inverse map",
    "pulled": "an inverse map",
    "cycled": "an inverse map",
    "labeled_pushed": "class labels",
    "labeled_source": "class labels",
    "labeled_target": "class labels",
    "source_labels": "class labels",
    "target_labels": "class labels",
    "modes": "known modes",
    "mode_deviation": "known modes",
}
"""What not every dataset or method has, by the array that takes it."""


class Unmeasurable(Exception):
    """The metric has no value here; the message becomes the row's `reason`.

    Raised where none of a metric's outputs has a value; where some have, it stands in place of those that have not.
    """


Compute = Callable[..., Mapping[str, Any]]
"""-> for each output a float, or an Unmeasurable; across seeds, a list of them, one a model."""
Derive = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Output:
    """One number a metric yields: which way is better (None: neither), its unit or range, its meaning in one line."""

    direction: Literal["min", "max"] | None
    unit: str
    meaning: str


@dataclass(frozen=True)
class Metric:
    """A registered metric; see the module's docstring.

    parameters: what each positional parameter stands for: an array, or one of CONTEXT.
    protocol: facts of the measurement beyond the options (extractor, weights, estimator), which decide what it may
    be compared with; a mapping, or a function from the options to one.
    across_seeds: its arrays are lists, one entry a seed of one setting, and its values too.
    """

    name: str
    table: str
    version: int
    source: str
    outputs: Mapping[str, Output]
    compute: Compute
    parameters: Mapping[str, str]
    options: Mapping[str, Option]
    protocol: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]
    across_seeds: bool = False

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of the arrays it needs, with prefixes and paths."""
        return tuple(name for name in self.parameters.values() if name not in CONTEXT)

    @property
    def bases(self) -> set[str]:
        """The names of the arrays it needs, without prefixes and paths."""
        return {base_array(name) for name in self.arrays}

    @property
    def requirements(self) -> list[str]:
        """What it needs that not every dataset or method has, in words."""
        words = dict.fromkeys(REQUIREMENTS[base] for base in sorted(self.bases) if base in REQUIREMENTS)
        return [word for word in words if not any(word in other for other in words if other != word)]

    def protocol_for(self, options: Mapping[str, Any]) -> dict[str, Any]:
        facts = self.protocol(options) if callable(self.protocol) else self.protocol
        return {**options, **facts}


_REGISTRY: dict[str, Metric] = {}
DERIVED: dict[str, Derive] = {}
"""What the last part of an array's path may be, beside extractors: a function of the array before it."""


def base_array(name: str) -> str:
    """ "train_images/inception-v3" -> "images"."""
    return name.partition("/")[0].removeprefix("train_").removeprefix("outlier_")


def metric(
    *,
    table: str,
    source: str,
    outputs: Mapping[str, Output],
    name: str | None = None,
    version: int = 1,
    arrays: Mapping[str, str] | None = None,
    protocol: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    across_seeds: bool = False,
) -> Callable[[Compute], Compute]:
    """Registers a function as a metric, under `name` or its own name with hyphens."""

    def register(compute: Compute) -> Compute:
        key = name or compute.__name__.replace("_", "-")
        if key in _REGISTRY:
            raise ValueError(
                f"two metrics are named {key!r}: {_REGISTRY[key].compute.__module__}, {compute.__module__}"
            )
        if table not in TABLES:
            raise ValueError(f"metric {key!r}: no table {table!r}; tables are {', '.join(TABLES)}")
        named = positional_names(compute)
        if across_seeds and set(named) & set(CONTEXT):
            raise ValueError(f"metric {key!r}: across seeds there are arrays only, no {' and '.join(CONTEXT)}")
        unknown = set(arrays or {}) - set(named)
        if unknown:
            raise ValueError(f"metric {key!r}: {', '.join(sorted(unknown))} in arrays is no positional parameter")
        _REGISTRY[key] = Metric(
            name=key,
            table=table,
            version=version,
            source=source,
            outputs=dict(outputs),
            compute=compute,
            parameters={parameter: (arrays or {}).get(parameter, parameter) for parameter in named},
            options=options_of(compute),
            protocol=protocol or {},
            across_seeds=across_seeds,
        )
        return compute

    return register


def derived(name: str) -> Callable[[Derive], Derive]:
    """Registers a function of one array as the last part of a path: "samples/inception-v3/statistics"."""

    def register(function: Derive) -> Derive:
        DERIVED[name] = function
        return function

    return register


@cache
def _import_families() -> None:
    package = importlib.import_module("bench.metrics")
    for module in pkgutil.walk_packages(package.__path__, "bench.metrics."):
        importlib.import_module(module.name)


def all_metrics() -> dict[str, Metric]:
    """Every metric by name; heavy dependencies are imported by the metrics themselves, when they compute."""
    _import_families()
    return dict(sorted(_REGISTRY.items()))
