"""What a trial is, and its id: the SHA-256 of what decides its numbers, and of nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What a sweep may be called: files and folders are named after it."""
PRECISIONS = ("float32", "tf32", "bfloat16")
"""The default first; TF32 is of NVIDIA's GPUs, and torch's own default for their convolutions. float16 would need its
losses scaled, which methods with several losses do each in its own way."""


@dataclass(frozen=True)
class Setting:
    """A dataset, method or metric with every option filled in.

    parts: versions of what a dataset is made from, by name.
    """

    name: str
    options: Mapping[str, Any]
    version: int
    parts: Mapping[str, int] = field(default_factory=dict)

    def to_json(self, options_key: str) -> dict[str, Any]:
        parts = {"parts": dict(self.parts)} if self.parts else {}
        return {"name": self.name, options_key: dict(self.options), "version": self.version, **parts}


@dataclass(frozen=True)
class Budget:
    """How long a method trains: `steps` updates or `epochs` passes (the other is None), of `batch_size` each.

    patience: epochs without a better validation loss after which training ends before that; None trains to the end.
    precision: of matrix products and convolutions in training, see PRECISIONS; parameters and evaluation are float32.
    """

    steps: int | None
    epochs: float | None
    batch_size: int
    patience: int | None = None
    precision: str = PRECISIONS[0]

    def to_json(self) -> dict[str, Any]:
        patience = {"patience": self.patience} if self.patience is not None else {}
        precision = {"precision": self.precision} if self.precision != PRECISIONS[0] else {}
        return {"steps": self.steps, "epochs": self.epochs, "batch_size": self.batch_size, **patience, **precision}


@dataclass(frozen=True)
class Resources:
    """What a trial occupies: CPU cores (which are also its threads) and GPUs, in fractions where several share one.

    memory_gb: main memory that it may take, in 10⁹ bytes, see `bench.limits`; None for no limit.
    custom: how much of what a Ray cluster's nodes were started with (`ray start --resources`), by its name there.
    """

    cpus: int = 1
    gpus: float = 0.0
    memory_gb: float | None = None
    custom: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One run: its identity (kind … splits), and how and for what it is run (the rest).

    compile: whether to compile the objective (`torch.compile`) of methods that leave `train_step` as it is; numbers
    then agree but for rounding. pack: most trials that train as one model; None leaves that to `bench.packs`.
    about: what reports say of it without importing anything: family and paper of the method, licence of the dataset,
    meaning of the metrics.
    """

    kind: str
    dataset: Setting
    method: Setting
    seed: int
    budget: Budget
    metrics: tuple[Setting, ...]
    splits: tuple[str, ...]
    sweep: str
    scale: str
    title: str = ""
    published: tuple[str, ...] = ()
    resources: Resources = Resources()
    timeout: float | None = None
    compile: bool = False
    pack: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __hash__(self) -> int:
        return hash((self.sweep, self.scale, self.id))

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The identity as plain JSON: all defaults filled in, with versions; no paths, no time, no resources."""
        return {
            "kind": self.kind,
            "dataset": self.dataset.to_json("options"),
            "method": self.method.to_json("params"),
            "seed": self.seed,
            "budget": self.budget.to_json(),
            "metrics": [metric.to_json("options") for metric in self.metrics],
            "splits": list(self.splits),
        }

    @cached_property
    def id(self) -> str:
        """64 hexadecimal digits: SHA-256 of the canonical JSON of `spec`."""
        return spec_id(self.spec)

    @property
    def outliers(self) -> list[str]:
        """Datasets whose test images its metrics take for outliers."""
        return sorted({str(metric.options["outliers"]) for metric in self.metrics if "outliers" in metric.options})

    @property
    def label(self) -> str:
        """For people: sweep, method, dataset, seed, and what the options change."""
        changed = {
            **self.about.get("dataset", {}).get("changed", {}),
            **self.about.get("method", {}).get("changed", {}),
        }
        options = "".join(f" {name}={_short(value)}" for name, value in changed.items())
        return f"{self.sweep}/{self.method.name}/{self.dataset.name}{options} seed={self.seed}"

    def to_record(self) -> dict[str, Any]:
        """Plain JSON from which `from_record` makes the trial again: what workers, plans and row files hold."""
        return {
            "trial_id": self.id,
            "sweep": self.sweep,
            "scale": self.scale,
            "title": self.title,
            "published": list(self.published),
            "resources": asdict(self.resources),
            "timeout": self.timeout,
            "compile": self.compile,
            "pack": self.pack,
            "spec": self.spec,
            "about": dict(self.about),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Trial:
        spec = record["spec"]
        return cls(
            kind=spec["kind"],
            dataset=Setting(
                spec["dataset"]["name"],
                spec["dataset"]["options"],
                spec["dataset"]["version"],
                spec["dataset"].get("parts", {}),
            ),
            method=Setting(spec["method"]["name"], spec["method"]["params"], spec["method"]["version"]),
            seed=spec["seed"],
            budget=Budget(**spec["budget"]),
            metrics=tuple(Setting(m["name"], m["options"], m["version"]) for m in spec["metrics"]),
            splits=tuple(spec["splits"]),
            sweep=record["sweep"],
            scale=record["scale"],
            title=record["title"],
            published=table_keys(record["published"]),
            resources=Resources(**record["resources"]),
            timeout=record["timeout"],
            compile=record.get("compile", False),  # records from before these two lack them
            pack=record.get("pack"),
            about=record["about"],
        )


def table_keys(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The tables that a sweep or a trial's record names under `published`: none, one or several."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def spec_id(spec: Mapping[str, Any]) -> str:
    """The id of the trial with this `spec`."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """One text for one value: keys sorted, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _short(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
