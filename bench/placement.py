"""Which trials fit the machines there are: what trials ask for beside what nodes have, by Ray's names for both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from bench.identity import Resources

Node = Mapping[str, float]
"""What a machine has in all: "CPU", "GPU", "memory" (bytes; left out where it is unknown) and custom resources."""


def request(resources: Resources) -> dict[str, float]:
    """What a trial asks for, by Ray's names."""
    memory = {} if resources.memory_gb is None else {"memory": resources.memory_gb * 1e9}
    return {"CPU": resources.cpus, "GPU": resources.gpus, **memory, **resources.custom}


def fits(resources: Resources, nodes: Iterable[Node]) -> bool:
    """Whether one of the nodes, all of it free, has what a trial asks for: no trial runs on two nodes."""
    asked = request(resources)
    return any(all(amount <= _has(node, name) for name, amount in asked.items()) for node in nodes)


def misfit(sweep: str, resources: Resources, nodes: Iterable[Node]) -> str:
    """Says why a trial of a sweep does not fit, with what the nodes have of what it asks for."""
    asked = request(resources)
    there = sorted({_in_words({name: _has(node, name) for name in asked}) for node in nodes}) or ["none"]
    return (
        f"sweep {sweep} asks for {_in_words(asked)} a trial, and no machine has that; there are: {'; '.join(there)}. "
        "Change its resources, or run it where they are"
    )


def _has(node: Node, name: str) -> float:
    return node.get(name, math.inf if name == "memory" else 0.0)


def _in_words(amounts: Mapping[str, float]) -> str:
    parts = []
    for name, amount in amounts.items():
        if name == "memory":
            parts.append("unknown memory" if math.isinf(amount) else f"{amount / 1e9:.3g} GB memory")
        else:
            plural = "s" if name in ("CPU", "GPU") and amount != 1 else ""
            parts.append(f"{amount:g} {name}{plural}")
    return ", ".join(parts)
