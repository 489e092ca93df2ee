"""What the searcher proposes and stops, without any training."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.sweeps import load_sweeps
from bench.tuning.search import RUNGS, Milestone, Search, SearchTrial, searches_of
from bench.tuning.searcher import Searcher

SWEEP = """
[sweep.digits]
kind = "autoencoding"
metrics = ["mse"]
batch_size = 32
steps = 64
splits = ["validation", "test"]
datasets.digits = {}
methods.wae-mmd = {}
[sweep.digits.tuning]
metric = "mse"
trials = 40
methods.wae-mmd = { lr = { distribution = "log-uniform", low = 1e-5, high = 1 }, kernel = ["imq", "rbf"] }
"""


@pytest.fixture
def search(sweeps_file: Callable[[str], Path]) -> Search:
    return searches_of(load_sweeps(sweeps_file(SWEEP), "quick")[0])[0]


def loss(trial: SearchTrial, rung: int) -> float:
    """Least at lr = 0.01 and the kernel rbf; falls with training."""
    lr, kernel = trial.chosen["lr"], trial.chosen["kernel"]
    return abs(math.log10(lr) + 2) + (kernel == "imq") + 1 / (1 + rung)


def conduct(searcher: Searcher, count: int = 1000) -> list[SearchTrial]:
    """Runs up to so many trials, one after another."""
    ended: list[SearchTrial] = []
    while len(ended) < count and (trial := searcher.next()) is not None:
        state = "completed"
        for rung in range(RUNGS):
            if searcher.reached(trial.number, Milestone(rung, 4 * 4**rung, loss(trial, rung), None, 1.0)):
                state = "stopped"
                break
        ended.append(searcher.ended(trial.number, state))
    return ended


def test_the_sweeps_own_setting_is_tried_first_and_every_trial_once(search: Search) -> None:
    ended = conduct(Searcher(search))
    assert [trial.number for trial in ended] == list(range(40))
    assert dict(ended[0].chosen) == dict(search.own[0])
    assert all(1e-5 <= trial.chosen["lr"] <= 1 for trial in ended)


def test_halving_lets_about_a_quarter_pass_each_rung(sweeps_file: Callable[[str], Path]) -> None:
    text = SWEEP.replace("trials = 40", 'trials = 160\nsearch = "random"')
    ended = conduct(Searcher(searches_of(load_sweeps(sweeps_file(text), "quick")[0])[0]))
    reached = [sum(len(trial.milestones) > rung for trial in ended) for rung in range(RUNGS)]
    # Rounded down; but the first of all goes on, and every best so far.
    assert reached[0] == 160
    assert 30 <= reached[1] <= 50
    assert 7 <= reached[2] <= 15
    best = min(ended, key=lambda trial: loss(trial, 0))
    assert best.state == "completed"


def test_a_search_finds_the_best_setting(search: Search) -> None:
    best = min(conduct(Searcher(search)), key=lambda trial: trial.value or math.inf)
    assert best.chosen["kernel"] == "rbf"
    assert 0.009 < best.chosen["lr"] < 0.011


@pytest.mark.parametrize("killed_after", [1, 7, 25])
def test_a_killed_search_goes_on_as_if_undisturbed(search: Search, killed_after: int) -> None:
    undisturbed = conduct(Searcher(search))
    first = Searcher(search)
    ended = conduct(first, killed_after)
    first.next()  # under way as it was killed, and lost
    rest = conduct(Searcher(search, reversed(ended)))
    assert [(t.number, dict(t.chosen), t.state) for t in (*ended, *rest)] == [
        (t.number, dict(t.chosen), t.state) for t in undisturbed
    ]


def test_what_diverged_or_failed_or_gave_no_value_stops_no_search(search: Search) -> None:
    searcher = Searcher(search)
    for state in ("diverged", "failed", "lost", "timeout"):
        trial = searcher.next()
        assert trial is not None
        assert not searcher.reached(trial.number, Milestone(0, 4, None, "not measurable", 1.0))
        assert searcher.ended(trial.number, state, "why").value is None
    assert len(conduct(searcher)) == 36


def test_a_trial_that_begins_again_reports_its_milestones_again(search: Search) -> None:
    searcher = Searcher(search)
    trial = searcher.next()
    assert trial is not None
    for _ in range(2):
        assert not searcher.reached(trial.number, Milestone(0, 4, 1.0, None, 1.0))
    assert len(trial.milestones) == 1


def test_without_a_scheduler_none_is_stopped(sweeps_file: Callable[[str], Path]) -> None:
    text = SWEEP.replace("trials = 40", 'trials = 12\nscheduler = "none"\nsearch = "random"')
    search = searches_of(load_sweeps(sweeps_file(text), "quick")[0])[0]
    assert {trial.state for trial in conduct(Searcher(search))} == {"completed"}
