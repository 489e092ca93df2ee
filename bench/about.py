"""What reports say of a trial, taken along as plain JSON so that they need import no method, dataset or metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.identity import Setting
from bench.metrics.base import all_metrics
from bench.options import Option, options_of
from bench.registry import find_dataset, find_method


def describe(dataset: Setting, method: Setting, metrics: Iterable[Setting]) -> dict[str, Any]:
    """Family and paper of the method, licence of the dataset, meaning of the metrics, options off their defaults."""
    dataset_class, method_class = find_dataset(dataset.name), find_method(method.name)
    outputs = {}
    for setting in metrics:
        metric = all_metrics()[setting.name]
        for name, output in metric.outputs.items():
            outputs[name] = {
                "metric": setting.name,
                "table": metric.table,
                "direction": output.direction,
                "unit": output.unit,
                "meaning": output.meaning,
                "source": metric.source,
            }
    return {
        "method": {
            "family": method_class.family,
            "paper": method_class.paper,
            "summary": method_class.summary,
            "changed": _changed(method, options_of(method_class)),
        },
        "dataset": {
            "summary": dataset_class.summary,
            "license": dataset_class.license,
            "citation": dataset_class.citation,
            "changed": _changed(dataset, options_of(dataset_class)),
        },
        "metrics": outputs,
    }


def _changed(setting: Setting, schema: Mapping[str, Option]) -> dict[str, Any]:
    return {name: value for name, value in setting.options.items() if value != schema[name].default}
