"""A sweep, as its table says, and the trials it stands for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from bench.about import describe
from bench.identity import Budget, Resources, Setting, Trial, canonical_json
from bench.tuning.tuning_table import Tuning


@dataclass(frozen=True)
class Sweep:
    """A named comparison at one scale: every dataset × method × seed. Each dataset has those metrics that it allows."""

    name: str
    scale: str
    kind: str
    title: str
    optional: bool
    published: tuple[str, ...]
    datasets: tuple[tuple[Setting, tuple[Setting, ...]], ...]
    methods: tuple[tuple[Setting, Budget], ...]
    seeds: tuple[int, ...]
    splits: tuple[str, ...]
    resources: Resources
    timeout: float | None
    compile: bool = False
    pack: int | None = None
    tuning: Tuning | None = None
    winners: tuple[tuple[Setting, Setting, Budget], ...] = ()
    """Dataset, method and budget of what searches chose; see `bench.tuning.tuned`."""

    def trials(self, seeds: Sequence[int] | None = None) -> list[Trial]:
        """The sweep's trials, in the order of the file; `seeds` replaces the sweep's own.

        The order of metrics is the reader's, so reports have it from `about`, and the identity does not.
        """
        metrics_of = {canonical_json(dataset.to_json("options")): metrics for dataset, metrics in self.datasets}
        stated = [(dataset, *method) for (dataset, _), method in itertools.product(self.datasets, self.methods)]
        return [
            Trial(
                kind=self.kind,
                dataset=dataset,
                method=method,
                seed=seed,
                budget=budget,
                metrics=tuple(sorted(metrics, key=lambda metric: (metric.name, canonical_json(dict(metric.options))))),
                splits=self.splits,
                sweep=self.name,
                scale=self.scale,
                title=self.title,
                published=self.published,
                resources=self.resources,
                timeout=self.timeout,
                compile=self.compile,
                pack=self.pack,
                about=describe(dataset, method, metrics),
            )
            for dataset, method, budget in (*stated, *self.winners)
            for metrics in [metrics_of[canonical_json(dataset.to_json("options"))]]
            for seed in (self.seeds if seeds is None else seeds)
        ]
