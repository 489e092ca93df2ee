"""The search for a method's setting on a dataset: what is searched, and what its trials are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from bench.about import describe
from bench.identity import Setting, Trial, canonical_json
from bench.options import options_of, typed
from bench.registry import find_method
from bench.sweeps import Sweep
from bench.tuning.tuning_table import SEARCH_SEED, Domain, Tuning

REDUCTION = 4
"""Of the trials that reach a milestone about one in so many goes on, with so many times the budget; ASHA's η."""
RUNGS = 3
"""Milestones of a trial: at 1/16 and 1/4 of its updates, and at its end."""


@dataclass(frozen=True)
class Milestone:
    """The metric on the validation split at a rung, 0 to RUNGS − 1, of a trial's training.

    value: None where it cannot be measured, for this `reason`. seconds: since training began.
    """

    rung: int
    step: int
    value: float | None
    reason: str | None
    seconds: float


@dataclass
class SearchTrial:
    """A trial of a search.

    chosen: the hyperparameters that were searched. state: "completed", "stopped" by ASHA, or as of rows without "ok";
    empty while it runs.
    """

    number: int
    chosen: Mapping[str, Any]
    milestones: list[Milestone] = field(default_factory=list)
    state: str = ""
    error: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def value(self) -> float | None:
        """The metric at the end of training; None where it did not come to that."""
        final = [milestone.value for milestone in self.milestones if milestone.rung == RUNGS - 1]
        return final[0] if final and self.state == "completed" else None


@dataclass(frozen=True)
class Search:
    """What is searched.

    trial: with the hyperparameters that stay as they are. own: of the sweep's own settings, those hyperparameters that
    are searched; what of it is in the space is tried first.
    """

    trial: Trial
    space: Mapping[str, Domain]
    tuning: Tuning
    own: tuple[Mapping[str, Any], ...]

    @cached_property
    def id(self) -> str:
        """64 hexadecimal digits: SHA-256 of what decides its trials, but not of their number."""
        identity = {
            "trial": self.trial.spec,
            "space": {name: domain.to_json() for name, domain in self.space.items()},
            "output": self.tuning.output,
            "search": self.tuning.search,
            "scheduler": self.tuning.scheduler,
            "own": [dict(chosen) for chosen in self.own],
        }
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()

    @property
    def label(self) -> str:
        return f"{self.trial.sweep}/{self.trial.method.name}/{self.trial.dataset.name}"

    def setting(self, chosen: Mapping[str, Any]) -> Setting:
        """The method with these values of the hyperparameters that are searched."""
        schema = options_of(find_method(self.trial.method.name))
        return replace(self.trial.method, options=typed({**self.trial.method.options, **chosen}, schema))

    def candidate(self, chosen: Mapping[str, Any]) -> Trial:
        """The trial with these values of the hyperparameters that are searched."""
        method = self.setting(chosen)
        return replace(self.trial, method=method, about=describe(self.trial.dataset, method, self.trial.metrics))


def searches_of(sweep: Sweep) -> list[Search]:
    """The searches that a sweep states: one a method and dataset."""
    tuning = sweep.tuning
    if tuning is None:
        return []
    searches = []
    for name, space in tuning.spaces.items():
        own = [(setting, budget) for setting, budget in sweep.methods if setting.name == name]
        setting, budget = own[0]
        fixed = {option: value for option, value in setting.options.items() if option not in space}
        chosen = [{option: other.options[option] for option in space} for other, _ in own]
        for dataset, _ in sweep.datasets:
            trial = Trial(
                kind=sweep.kind,
                dataset=dataset,
                method=replace(setting, options=fixed),
                seed=SEARCH_SEED,
                budget=budget,
                metrics=(tuning.metric,),
                splits=("validation",),
                sweep=sweep.name,
                scale=sweep.scale,
                title=sweep.title,
                resources=sweep.resources,
                timeout=sweep.timeout,
            )
            within = [values for values in chosen if all(values[option] in space[option] for option in space)]
            searches.append(Search(trial, space, tuning, tuple(within)))
    return searches
