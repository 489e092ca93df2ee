"""Under what conditions the trials of a sweep run: seeds, splits and resources, read from its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.grid import expand, shown
from bench.identity import NAME, Resources
from bench.options import Option, fits, nearest
from datasets.base import SPLITS

MOST_TRIALS = 100_000
"""Of one sweep: more are a slip of a grid or of seeds, and would take hours to be listed."""

Wrong = Callable[[str, str], None]
"""Takes what is wrong: the key, and a sentence."""


def read_seeds(given: Any, wrong: Wrong) -> tuple[int, ...]:
    if isinstance(given, int):
        if not 1 <= given <= MOST_TRIALS:
            wrong(
                "seeds",
                f"must be a number of at least 1 and at most {MOST_TRIALS:,}, or a list of seeds, not {given}",
            )
            return ()
        return tuple(range(given))
    if not given or not all(fits(seed, int) and 0 <= seed < 2**63 for seed in given) or len(set(given)) < len(given):
        wrong("seeds", f"must be a number, or a list of different whole numbers from 0, not {shown(given)}")
        return ()
    return tuple(given)


def read_resources(given: Mapping[str, Any], wrong: Wrong) -> Resources | None:
    schema = {
        "cpus": Option("cpus", int, 1),
        "gpus": Option("gpus", float, 0.0),
        "memory_gb": Option("memory_gb", float | None, None),
    }
    custom = _read_custom(given.get("custom", {}), wrong)
    plain = {name: value for name, value in given.items() if name != "custom"}
    filled = expand("resources", plain, schema, "resource", wrong)
    if len(filled) > 1:
        wrong("resources", f"stands for {len(filled)} settings, and a sweep has one: state one value of each")
    if len(filled) != 1:
        return None
    cpus, gpus, memory_gb = (filled[0][name] for name in schema)
    if cpus < 1:
        wrong("resources.cpus", f"must be at least 1, not {cpus}")
    if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
        wrong("resources.gpus", f"must be 0, a fraction of one GPU, or a whole number of them, not {gpus:g}")
    if memory_gb is not None and memory_gb <= 0:
        wrong("resources.memory_gb", f"must be a number of gigabytes above 0, not {memory_gb:g}")
    return Resources(cpus, gpus, memory_gb, custom)


def _read_custom(given: Any, wrong: Wrong) -> dict[str, float]:
    """Resources that only the nodes of a cluster know, as { a100 = 1 }."""
    key = "resources.custom"
    if not isinstance(given, dict):
        wrong(key, f"must be a table, such as {{ a100 = 1 }}, not {shown(given)}")
        return {}
    for name, amount in given.items():
        if not NAME.fullmatch(name) or name.lower() in ("cpu", "gpu", "memory", "object_store_memory"):
            wrong(f"{key}.{name}", "must be a plain name that is not Ray's own, such as a100")
        elif not fits(amount, float) or not 0 < amount < 1e6 or (amount > 1 and amount != int(amount)):
            wrong(f"{key}.{name}", f"must be a fraction up to 1 or a whole number, not {shown(amount)}")
    return {name: float(amount) for name, amount in given.items() if fits(amount, float)}


def read_splits(given: Sequence[Any], wrong: Wrong) -> tuple[str, ...]:
    for name in given:
        if name not in SPLITS:
            wrong("splits", f'no split "{name}": {nearest(str(name), SPLITS)}')
    if not given or len(set(given)) < len(given):
        wrong("splits", "must name one or more different splits")
    return tuple(given)
