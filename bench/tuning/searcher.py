"""The searcher, which says what a search tries next and what it stops.

One searcher serves every executor: Optuna proposes settings, and stops trials by asynchronous successive halving (ASHA,
Li et al. 2020, arXiv 1810.05934). What it proposes is a function of the search and of the trials that have ended and
the milestones reached so far, in their order, and of nothing else: one trial at a time gives the same search anywhere,
also one that was killed and went on. Several at a time end in an order of their own, and so give another search.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from bench.environment import derive_seed
from bench.identity import canonical_json
from bench.tuning.search import REDUCTION, RUNGS, Milestone, Search, SearchTrial
from bench.tuning.tuning_table import Domain


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
        if any(known.rung == milestone.rung for known in trial.milestones):
            return False  # its process died, and it began again
        trial.milestones.append(milestone)
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
