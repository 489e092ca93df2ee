"""A search through Ray Tune: our searcher, as Tune's searcher and its scheduler, says what to try and what to stop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RayError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher as TuneSearcher

from bench.errors import UserError
from bench.identity import Trial
from bench.placement import fits, misfit, request
from bench.ray_session import RaySessionError
from bench.ray_trials import NoNode, nodes
from bench.storage.store import StoreError
from bench.tuning.search import Milestone, Search, SearchTrial
from bench.tuning.search_trial import run_search_trial
from bench.tuning.searcher import Searcher
from datasets.cache import data_root


class UnplaceableError(UserError):
    """A search asks for more than the machines have; its trials would wait for ever."""


def search_with_ray(
    search: Search,
    searcher: Searcher,
    data: Path,
    ended: Callable[[SearchTrial], None],
    max_concurrent: int | None,
) -> None:
    """Runs the trials that the searcher proposes, in a Ray that has been started.

    data: the data folder; where it is the default one, each node of a cluster uses the folder that is its own.
    ended: is told of each as it ends. max_concurrent: trials at a time; None for as many as fit.

    Raises UnplaceableError where not one fits, or none any more, RaySessionError where Ray gives up, and what `ended`
    does.
    """
    refused: list[StoreError] = []

    def record(trial: SearchTrial) -> None:
        try:
            ended(trial)
        except StoreError as error:
            refused.append(error)
            raise  # Tune makes another error of it

    asked, there = search.trial.resources, nodes().values()
    if not fits(asked, there):
        raise UnplaceableError(misfit(search.trial.sweep, asked, there))
    stopper = NoNode(lambda: [asked])
    link = _Link(search, searcher, record, None if data == data_root().resolve() else str(data))
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(_worker, tune.PlacementGroupFactory([request(asked)])),
            tune_config=tune.TuneConfig(
                search_alg=_Suggestions(link),
                scheduler=_Halving(link),
                num_samples=len(searcher.waiting),
                max_concurrent_trials=max_concurrent,
                reuse_actors=not asked.gpus,
            ),
            run_config=tune.RunConfig(
                name="bench",
                storage_path=scratch,
                verbose=0,
                stop=stopper,
                # Trials catch their own errors: what is left to retry is a process that died.
                failure_config=tune.FailureConfig(max_failures=1),
            ),
        )
        try:
            tuner.fit()
        except (RayError, tune.TuneError) as error:
            if refused:
                raise refused[0] from error
            reason = (str(error).splitlines() or [type(error).__name__])[-1]
            raise RaySessionError(f"Ray gives up on the search ({reason}); the same command goes on") from error
    if stopper.ended:
        for number in link.numbers.values():  # of which Tune says nothing
            ended(searcher.ended(number, "lost", "no node was left that could take it"))
        why = misfit(search.trial.sweep, asked, nodes().values())
        raise UnplaceableError(f"the search waits for a node, and the same command goes on with it: {why}")


def _worker(config: dict[str, Any]) -> dict[str, Any]:
    """Runs one trial of a search in a process of Ray's, which Tune ends at a milestone where it is to stop."""

    def reached(milestone: Milestone) -> bool:
        tune.report(asdict(milestone))
        return False

    trial = Trial.from_record(config["run"])
    data = Path(config["data"]) if config["data"] else data_root().resolve()
    outcome = run_search_trial(trial, config["output"], data, reached)
    return {"state": outcome.status, "error": outcome.error}


class _Link:
    """What Tune's searcher and its scheduler share: which of its trials is which of ours, and which are stopped."""

    def __init__(
        self, search: Search, searcher: Searcher, ended: Callable[[SearchTrial], None], data: str | None
    ) -> None:
        self.search, self.searcher, self.ended, self.data = search, searcher, ended, data
        self.numbers: dict[str, int] = {}
        self.stopped: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()  # Tune saves what it runs with; ours goes on from its own records


class _Suggestions(TuneSearcher):
    def __init__(self, link: _Link) -> None:
        super().__init__()
        self.link = link

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        trial = self.link.searcher.next()
        if trial is None:
            return None
        self.link.numbers[trial_id] = trial.number
        search = self.link.search
        run = search.candidate(trial.chosen).to_record()
        return {"run": run, "output": search.tuning.output, "data": self.link.data}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self.link.numbers.pop(trial_id, None)
        if number is None:
            return  # it was never begun
        if trial_id in self.link.stopped:
            trial = self.link.searcher.ended(number, "stopped")
        elif result and "state" in result and not error:
            trial = self.link.searcher.ended(number, result["state"], result["error"])
        else:
            trial = self.link.searcher.ended(number, "lost", "its process died, twice")
        self.link.ended(trial)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: trials on record are what a search goes on from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as nothing is saved."""


class _Halving(FIFOScheduler):
    def __init__(self, link: _Link) -> None:
        super().__init__()
        self.link = link

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "rung" not in result:
            return TrialScheduler.CONTINUE
        milestone = Milestone(**{field.name: result[field.name] for field in fields(Milestone)})
        stops = self.link.searcher.reached(self.link.numbers[trial.trial_id], milestone)
        if not stops:
            return TrialScheduler.CONTINUE
        self.link.stopped.add(trial.trial_id)
        return TrialScheduler.STOP
