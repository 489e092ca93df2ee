"""From a metric and the arrays it needs to its rows: one an output, with its value or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.environment import numpy_generator
from bench.evidence import Evidence
from bench.identity import Setting, canonical_json
from bench.metrics.base import CONTEXT, Metric, Unmeasurable, all_metrics, base_array
from bench.options import typed
from bench.registry import find_dataset

Values = Mapping[str, float | Unmeasurable]
"""Of each output of a metric its value, or why there is none."""


def measure(setting: Setting, evidence: Evidence, threads: int, kept: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The metric columns of a metric's rows.

    A metric across seeds has none yet: its arrays go to `kept`, by `array_key`, for when the other seeds are there.
    """
    metric = all_metrics()[setting.name]
    options = typed(setting.options, metric.options)
    split = evidence.axes["split"]
    context: dict[str, Any] = {
        "rng": numpy_generator("metric", metric=metric.name, **evidence.axes),
        "threads": threads,
    }
    try:
        arguments: dict[str, Any] = {
            parameter: context[name] if name in CONTEXT else evidence.get(name, _count(name, options), options)
            for parameter, name in metric.parameters.items()
        }
        if metric.across_seeds:
            kept |= {array_key(setting, split, parameter): array for parameter, array in arguments.items()}
            return []
        values: Values = dict(metric.compute(**arguments, **options))
    except Exception as error:
        values = dict.fromkeys(metric.outputs, no_value(error))
    return metric_rows(
        metric, options, values, split, _items_used(metric, options, evidence), **_facts(metric, options, evidence)
    )


def metric_rows(
    metric: Metric, options: Mapping[str, Any], values: Values, split: str, n_samples: int | None, **facts: Any
) -> list[dict[str, Any]]:
    """The metric columns of the rows of given values; `facts` are of the protocol, beyond what the metric says."""
    rows = []
    for name, output in metric.outputs.items():
        value, reason = _value(values.get(name, Unmeasurable("the metric gave no value")))
        rows.append(
            {
                "table": metric.table,
                "metric": name,
                "split": split,
                "value": value,
                "direction": output.direction,
                "n_samples": n_samples,
                "protocol": canonical_json({**metric.protocol_for(options), **facts}),
                "metric_version": metric.version,
                "reason": reason,
            }
        )
    return rows


def no_value(error: Exception) -> Unmeasurable:
    """What an exception means for a metric that raised it: one that fails must not cost the trial its other numbers."""
    if isinstance(error, Unmeasurable):
        return error
    return Unmeasurable(f"the metric failed: {type(error).__name__}: {error}")


def array_key(setting: Setting, split: str, parameter: str) -> str:
    """What an array kept for a metric across seeds is called."""
    return canonical_json([setting.name, dict(setting.options), split, parameter])


def _value(given: Any) -> tuple[float | None, str | None]:
    """A row's value and reason, one of them None."""
    if isinstance(given, Unmeasurable):
        return None, str(given)
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    return (value, None) if math.isfinite(value) else (None, f"the metric gave {given}")


def _facts(metric: Metric, options: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    """What of a measurement is known only when it is done."""
    facts: dict[str, Any] = {}
    if "images" in metric.bases and "samples" in metric.bases:
        facts["reference_images"] = evidence.length("images", options.get("num_samples"))
    if "outliers" in options:
        facts["outliers_version"] = find_dataset(options["outliers"]).version
    return facts


def _count(array: str, options: Mapping[str, Any]) -> int | None:
    """How many items of an array the options ask for; None for all there are."""
    return options.get("num_train" if array.startswith("train_") else "num_samples")


def _items_used(metric: Metric, options: Mapping[str, Any], evidence: Evidence) -> int | None:
    """How many items of the evaluated split a metric uses: those its options named num_* ask for, or all there are.

    Of a metric of generated samples these are the samples; its protocol tells of the images they are compared with.
    """
    own = [name for name in metric.arrays if not name.startswith(("train_", "outlier_"))]
    if not own:
        return None
    counted = {name: value for name, value in options.items() if name.startswith("num_")}
    if len(own) < len(metric.arrays):
        counted.pop("num_train", None)  # of the training split
    first = next((name for name in own if base_array(name) == "samples"), own[0])
    return evidence.length(first, sum(counted.values()) or None)
