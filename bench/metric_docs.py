"""The page of documentation that says what each metric is: docs/metrics.md, and `python -m bench list metrics`."""

from __future__ import annotations

from itertools import groupby

from bench.metrics.base import TABLES, Metric, all_metrics

PREFACE = """\
# Metrics

Made by `python -m bench list metrics > docs/metrics.md` from what each metric says of itself.

A metric is named in sweeps.toml: `metrics = ["mse"]`, or with options, `metrics.mse = { num_samples = 1000 }`; a list
of values is that many measurements. ↓ means lower is better, ↑ higher, · neither. Options named `num_…` count items of
the evaluated split, some to fit on (`num_train`) and others to test on (`num_test`); probes and whatever else looks at
the training split take `num_train` from there. Values of different options, versions or protocols are never pooled.
"""


def metrics_page() -> str:
    """Markdown: a section a table, and in it an entry a definition, with all the metrics made by it."""
    parts = [PREFACE]
    for table in TABLES:
        parts.append(f"## {table.capitalize() if table != 'latent' else 'Latent fit'}\n")
        mine = sorted((metric for metric in all_metrics().values() if metric.table == table), key=_definition)
        parts += [_entry(list(together)) for _, together in groupby(mine, key=_definition)]
    return "\n".join(parts)


def _definition(metric: Metric) -> tuple[str, str]:
    """Where its function stands: metrics made by one definition share an entry."""
    return metric.compute.__module__, metric.compute.__qualname__


def _entry(metrics: list[Metric]) -> str:
    first = metrics[0]
    lines = [f"### {', '.join(f'`{metric.name}`' for metric in metrics)}\n"]
    for metric in metrics:
        for name, output in metric.outputs.items():
            arrow = {"min": "↓", "max": "↑", None: "·"}[output.direction]
            lines.append(f"- `{name}` {arrow} {output.meaning} ({output.unit})")
    facts = {
        "Needs": " and ".join(first.requirements),
        "Options": ", ".join(f"`{option.name} = {toml(option.default)}`" for option in first.options.values()),
        "Source": "; ".join(dict.fromkeys(metric.source for metric in metrics)),
        "Version": ", ".join(sorted({str(metric.version) for metric in metrics})),
    }
    if first.across_seeds:
        facts["Needs"] = " and ".join([*first.requirements, "two seeds or more"])
    lines += ["", *(f"{key}: {value}  " for key, value in facts.items() if value)]
    return "\n".join(lines).rstrip() + "\n"


def toml(value: object) -> str:
    """A default value as it would stand in sweeps.toml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return "unset" if value is None else str(list(value) if isinstance(value, tuple) else value)
