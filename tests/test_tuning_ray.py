"""A search through Ray Tune: one trial at a time it is the search in this process, and a dead worker harms no other."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from ray import tune
from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from bench import ray_trials
from bench.ray_session import RaySessionError
from bench.storage.store import StoreError
from bench.sweeps import load_sweeps
from bench.tuning import tuning_ray
from bench.tuning.search import Search, SearchTrial, searches_of
from bench.tuning.search_records import read_searches
from bench.tuning.searcher import Searcher
from bench.tuning.tuning import tune_sweeps

ROOT = Path(__file__).parent.parent
SWEEPS = """
[sweep.digits]
kind = "autoencoding"
metrics = ["mse"]
batch_size = 32
steps = 32
splits = ["validation", "test"]
datasets.digits = {}
methods.ae = { width = 4 }
[sweep.digits.tuning]
metric = "mse"
trials = 6
methods.ae = { lr = { distribution = "log-uniform", low = 1e-4, high = 1e-1 }, latent_dim = [2, 4, 8] }

[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 16
steps = 20
splits = ["validation", "test"]
datasets.gaussians = {}
methods."tests.faulty:Dies" = {}
[sweep.pairs.tuning]
metric = "l2-uvp"
trials = 2
methods."tests.faulty:Dies" = { lr = [0.01, 0.1] }
"""


def test_ray_gives_the_search_of_this_process(sweeps_file: Callable[[str], Path], tmp_path: Path) -> None:
    path = sweeps_file(SWEEPS)
    command = [sys.executable, "-m", "bench", "tune", str(path), "--max-concurrent", "1", "--results", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert process.returncode == 1, process.stderr  # since of one search all trials died
    assert "Traceback" not in process.stdout + process.stderr
    dead = read_searches(tmp_path, "pairs", "quick")
    assert list(dead["state"]) == ["lost", "lost"]

    here = tmp_path / "here"
    console = Console(file=io.StringIO())
    tune_sweeps(path, results=here, executor="inline", only=["digits"], console=console)
    ours, theirs = (
        read_searches(root, "digits", "quick").drop(columns=["seconds", "started_at", "git_sha"])
        for root in (here, tmp_path)
    )
    pd.testing.assert_frame_equal(ours, theirs)
    assert {"completed", "stopped"} == set(theirs["state"])


def a_search(sweeps_file: Callable[[str], Path]) -> Search:
    search, *_ = [search for sweep in load_sweeps(sweeps_file(SWEEPS), "quick") for search in searches_of(sweep)]
    return search


@pytest.mark.parametrize("full", [True, False])
def test_what_ends_a_search_is_said_without_the_trace_of_tune(
    sweeps_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    class Tuner:
        def __init__(self, trainable: Any, tune_config: Any, run_config: Any) -> None:
            self.link = tune_config.search_alg.link

        def fit(self) -> None:
            try:
                self.link.ended(SearchTrial(0, {}))
            except StoreError as error:
                raise tune.TuneError(f"Traceback\n  File\n{error}") from error
            raise tune.TuneError("Traceback\n  File\nthe raylet died")

    def record(trial: SearchTrial) -> None:
        if full:
            raise StoreError("make room there")

    monkeypatch.setattr(tuning_ray.tune, "Tuner", Tuner)
    monkeypatch.setattr(tuning_ray, "nodes", lambda: {"here": {"CPU": 1.0}})
    search = a_search(sweeps_file)
    expected = (
        (StoreError, "^make room there$") if full else (RaySessionError, r"\(the raylet died\); the same command")
    )
    with pytest.raises(expected[0], match=expected[1]):
        tuning_ray.search_with_ray(search, Searcher(search), tmp_path, record, None)


def test_a_search_whose_last_node_goes_ends_and_only_what_it_stopped_itself_counts_as_stopped(
    sweeps_file: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [{"here": {"CPU": 1.0}}]

    class Tuner:
        """Begins five trials, reaches a milestone with three, and then their node goes; tells of it what Tune does."""

        def __init__(self, trainable: Any, tune_config: Any, run_config: Any) -> None:
            self.suggestions, self.halving = tune_config.search_alg, tune_config.scheduler
            self.stop = run_config.stop

        def fit(self) -> None:
            names = ["one", "two", "three", "four", "five"]
            for name in names:
                self.suggestions.suggest(name)
            reached = {}
            for name, value in zip(names, [0.1, 0.2, 0.3], strict=False):
                reached[name] = {"rung": 0, "step": 2, "value": value, "reason": None, "seconds": 0.1}
                decided = self.halving.on_trial_result(None, SimpleNamespace(trial_id=name), reached[name])
                if decided == TrialScheduler.STOP:
                    self.suggestions.on_trial_complete(name, reached[name])
            assert not self.stop.stop_all()
            nodes[0] = {"other": {"CPU": 0.0}}
            self.suggestions.on_trial_complete("one", reached["one"], error=True)
            self.suggestions.on_trial_complete("four", {"state": "completed", "error": None})
            assert self.stop.stop_all()  # and of "five", which still ran, it says nothing

    monkeypatch.setattr(tuning_ray.tune, "Tuner", Tuner)
    monkeypatch.setattr(ray_trials, "LOOK_SECONDS", 0.0)
    for module in (tuning_ray, ray_trials):
        monkeypatch.setattr(module, "nodes", lambda: nodes[0])
    ended: list[SearchTrial] = []
    search = a_search(sweeps_file)
    with pytest.raises(tuning_ray.UnplaceableError, match=r"the same command goes on .* asks for 1 CPU"):
        tuning_ray.search_with_ray(search, Searcher(search), tmp_path, ended.append, None)
    assert [(trial.number, trial.state, trial.error) for trial in ended] == [
        (1, "stopped", None),
        (2, "stopped", None),
        (0, "lost", "its process died, twice"),
        (3, "completed", None),
        (4, "lost", "no node was left that could take it"),
    ]
