"""The value of every metric on the made-up world, on record: a change of value is a change of version.

python -m tests.golden_values records new metrics and new versions. It refuses a new value under an old version: rows of
both would be pooled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.metrics.base import Metric, Unmeasurable, all_metrics
from tests.metric_scenarios import evaluate, models, small_options, world

RECORDS = Path(__file__).parent / "golden" / "metrics.json"
TOLERANCE = 1e-6
"""Relative; sums in another order, on another kind of CPU, differ by less."""

Record = dict[str, Any]


def load() -> dict[str, Record]:
    return json.loads(RECORDS.read_text()) if RECORDS.exists() else {}


def measure(metric: Metric) -> Record:
    """Version and values of a metric on a world of middling quality; the reason where there is no value."""
    values = evaluate(metric, models(0.6) if metric.across_seeds else world(0.6), small_options(metric))
    shown = {name: str(v) if isinstance(v, Unmeasurable) else float(v) for name, v in sorted(values.items())}
    return {"version": metric.version, "values": shown}


def differences(recorded: Record, found: Record) -> list[str]:
    """What differs in the values of two records, in words."""
    words = []
    for name in sorted({*recorded["values"], *found["values"]}):
        old, new = recorded["values"].get(name), found["values"].get(name)
        numbers = isinstance(old, float) and isinstance(new, float)
        same = abs(old - new) <= TOLERANCE * max(abs(old), abs(new), 1e-3) if numbers else old == new
        if not same:
            words.append(f"{name} was {old}, is {new}")
    return words


def main() -> int:
    """Writes the record; returns 1, and writes nothing, if a value changed under its version."""
    old = load()
    new = {name: measure(metric) for name, metric in all_metrics().items()}
    refused = [
        f"{name}, version {new[name]['version']}: {', '.join(changed)}; raise its version"
        for name, record in old.items()
        if name in new and record["version"] == new[name]["version"] and (changed := differences(record, new[name]))
    ]
    if refused:
        print("\n".join(refused), file=sys.stderr)
        return 1
    RECORDS.parent.mkdir(exist_ok=True)
    RECORDS.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
