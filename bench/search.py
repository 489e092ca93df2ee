"""The search for a method's setting on a dataset: what is searched, and the searcher that says what to try and stop.

One searcher serves every executor: Optuna proposes settings, and stops trials by asynchronous successive halving (ASHA,
Li et al. 2020, arXiv 1810.05934). What it proposes is a function of the search and of the trials that have ended and
the milestones reached so far, in their order, and of nothing else: one trial at a time gives the same search anywhere,
also one that was killed and went on. Several at a time end in an order of their own, and so give another search.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from bench.about import describe
from bench.environment import derive_seed
from bench.identity import Setting, Trial, canonical_json
from bench.options import options_of, typed
from bench.registry import find_method
from bench.sweeps import Sweep
from bench.tuning_table import SEARCH_SEED, Domain, Tuning

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


class Searcher:
    """Proposes the trials of a search that have not ended yet, and says which of those under way to stop.

    ended: trials of earlier runs of the search, which are not run again.
    """

    def __init__(self, search: Search, ended: Iterable[SearchTrial] = ()) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.search = search
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
        self._study = optuna.create_study(
            direction="minimize" if search.tuning.direction == "min" else "maximize",
            pruner=halving if search.tuning.scheduler == "asha" else optuna.pruners.NopPruner(),
        )
        self._distributions = {name: _distribution(domain) for name, domain in search.space.items()}
        self._asked: dict[int, optuna.Trial] = {}
        self._running: dict[int, SearchTrial] = {}
        done = sorted(ended, key=lambda trial: trial.number)
        for trial in done:
            self._study.enqueue_trial(self._encoded(trial.chosen))
            self._ask(trial.number)
            for milestone in trial.milestones:
                self.reached(trial.number, milestone)
            self.ended(trial.number, trial.state, trial.error)
        self.waiting = sorted(set(range(search.tuning.trials)) - {trial.number for trial in done})

    def next(self) -> SearchTrial | None:
        """The next trial to run; None where all have been proposed."""
        if not self.waiting:
            return None
        number = self.waiting.pop(0)
        if number < len(self.search.own):
            self._study.enqueue_trial(self._encoded(self.search.own[number]))
        return self._ask(number)

    def reached(self, number: int, milestone: Milestone) -> bool:
        """Takes a milestone of a trial; returns whether the trial is to be stopped."""
        trial = self._running[number]
        trial.milestones = [known for known in trial.milestones if known.rung != milestone.rung] + [milestone]
        if milestone.value is None or milestone.rung == RUNGS - 1:
            return False
        self._asked[number].report(milestone.value, REDUCTION**milestone.rung)
        return self._asked[number].should_prune()

    def ended(self, number: int, state: str, error: str | None = None) -> SearchTrial:
        """Takes the end of a trial; returns it."""
        trial, asked = self._running.pop(number), self._asked.pop(number)
        trial.state, trial.error = state, error
        if trial.value is not None:
            self._study.tell(asked, trial.value)
        else:
            # To Optuna a pruned trial is one to keep away from, and divergence is a reason for that. A failed one it
            # forgets: it may have failed for its machine.
            pruned = state in ("stopped", "diverged")
            self._study.tell(asked, state=TrialState.PRUNED if pruned else TrialState.FAIL)
        return trial

    def _ask(self, number: int) -> SearchTrial:
        # A stream a trial: what was asked before a search was killed does not matter for what is asked after.
        search = self.search
        seed = derive_seed("search", search=search.id, number=number) % 2**32
        random = search.tuning.search == "random"
        self._study.sampler = optuna.samplers.RandomSampler(seed) if random else optuna.samplers.TPESampler(seed=seed)
        asked = self._study.ask(self._distributions)
        chosen = {
            name: json.loads(value) if search.space[name].choices else value for name, value in asked.params.items()
        }
        options = search.setting(chosen).options
        self._asked[number] = asked
        self._running[number] = SearchTrial(number, {name: options[name] for name in search.space})
        return self._running[number]

    def _encoded(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """As Optuna knows it: it takes choices that are texts, and lists are none."""
        return {
            name: canonical_json(value) if self.search.space[name].choices else value for name, value in chosen.items()
        }


def _distribution(domain: Domain) -> BaseDistribution:
    if domain.choices:
        return CategoricalDistribution([canonical_json(choice) for choice in domain.choices])
    if domain.distribution == "integer":
        return IntDistribution(int(domain.low), int(domain.high))
    return FloatDistribution(domain.low, domain.high, log=domain.distribution == "log-uniform")
