"""What a metric is, and the registry that finds them.

A metric is a pure function from arrays to floats. Its positional parameters name the arrays it needs, its
keyword-only parameters are its options (as they may be set in sweeps.toml), so its signature is its schema:

    @metric(table="reconstruction", source="...", outputs={"mse": Output("min", "squared intensity", "...")})
    def mse(images, reconstructions, *, num_samples: int = 10_000):
        return {"mse": float(...)}

Arrays a metric may name (N evaluation items of the split at hand, all on the CPU):

    autoencoding  images           uint8   [N, C, H, W]
                  reconstructions  float32 [N, C, H, W] in [0, 1]
                  samples          float32 [M, C, H, W] in [0, 1], decoded draws of the prior
                  codes            float32 [N, d]
                  prior_codes      float32 [M, d]
                  labels           int64   [N]
                  factors          int64   [N, F]
                  components       int64   [N], the model's own mixture component
    transport     source, target   float64 [N, D]
                  pushed           float64 [N, D], the method's map of source
                  true_pushed      float64 [N, D], the optimal map of source
                  pulled           float64 [N, D], the method's inverse map of target
                  true_pulled      float64 [N, D]
                  source_variance, target_variance   float, traces of the covariances
    any           rng              numpy Generator, derived from seed, dataset and metric
                  device           torch.device of the trial
                  cache            Path of a folder for statistics, keyed by content

`num_samples`, where a metric has it, is the number of evaluation items handed to it (fewer where the split has fewer,
except `samples` and `prior_codes`, of which M = num_samples are always drawn).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from bench.options import Option, options_of, positional_names

TABLES = ("reconstruction", "generation", "disentanglement", "clustering", "transport", "latent")
ARRAYS = {
    "autoencoding": (
        *("images", "reconstructions", "samples", "codes", "prior_codes", "labels", "factors", "components"),
    ),
    "transport": (
        *("source", "target", "pushed", "true_pushed", "pulled", "true_pulled"),
        *("source_variance", "target_variance"),
    ),
}
"""The arrays a method and a dataset of each kind give, as described above."""
CONTEXT = ("rng", "device", "cache")
"""Parameters that are no arrays: the harness supplies them whatever the dataset and the method."""


Compute = Callable[..., dict[str, float]]


class Unmeasurable(Exception):
    """The metric has no value here; the message becomes the row's `reason`."""


@dataclass(frozen=True)
class Output:
    """One number a metric yields: which way is better, its unit or range, its meaning in one line."""

    direction: Literal["min", "max"]
    unit: str
    meaning: str


@dataclass(frozen=True)
class Metric:
    """A registered metric; see the module's docstring.

    protocol: facts of the measurement beyond the options (extractor, weights, estimator), which decide what it may
    be compared with; a mapping, or a function from the options to one.
    """

    name: str
    table: str
    version: int
    source: str
    outputs: Mapping[str, Output]
    compute: Compute
    needs: tuple[str, ...]
    options: Mapping[str, Option]
    protocol: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]

    def protocol_for(self, options: Mapping[str, Any]) -> dict[str, Any]:
        facts = self.protocol(options) if callable(self.protocol) else self.protocol
        return {**options, **facts}


_REGISTRY: dict[str, Metric] = {}


def metric(
    *,
    table: str,
    source: str,
    outputs: Mapping[str, Output],
    name: str | None = None,
    version: int = 1,
    protocol: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> Callable[[Compute], Compute]:
    """Registers a function as a metric, under `name` or its own name with hyphens."""

    def register(compute: Compute) -> Compute:
        key = name or compute.__name__.replace("_", "-")
        if key in _REGISTRY and _REGISTRY[key].compute.__module__ != compute.__module__:
            raise ValueError(
                f"two metrics are named {key!r}: {_REGISTRY[key].compute.__module__}, {compute.__module__}"
            )
        if table not in TABLES:
            raise ValueError(f"metric {key!r}: no table {table!r}; tables are {', '.join(TABLES)}")
        _REGISTRY[key] = Metric(
            name=key,
            table=table,
            version=version,
            source=source,
            outputs=dict(outputs),
            compute=compute,
            needs=positional_names(compute),
            options=options_of(compute),
            protocol=protocol or {},
        )
        return compute

    return register


@cache
def _import_families() -> None:
    package = importlib.import_module("bench.metrics")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"bench.metrics.{module.name}")


def all_metrics() -> dict[str, Metric]:
    """Every metric by name; heavy dependencies are imported by the metrics themselves, when they compute."""
    _import_families()
    return dict(sorted(_REGISTRY.items()))
