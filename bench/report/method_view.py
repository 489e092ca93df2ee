"""A method as its page shows it: what it is, its hyperparameters, and all it did in every sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.excerpts import of_method
from bench.report.leaderboards import Board
from bench.report.lines import Run, panel
from bench.report.records import Setting, option_text
from bench.report.sweep_view import FAILURES, Line, SweepView, as_lines

PANELS = 24
"""Panels of training curves of a sweep."""


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter over all sweeps. default: None where every setting changed it. values: those that were run."""

    name: str
    default: str | None
    values: list[str]

    @property
    def others(self) -> list[str]:
        return [value for value in self.values if value != self.default]


@dataclass
class InSweep:
    """What a method did in a sweep. failed: how many trials did not end ok; failures are the first of them."""

    view: SweepView
    boards: list[Board]
    panels: list[str]
    failures: list[Line]
    failed: int


@dataclass
class MethodView:
    """A method with everything of it."""

    name: str
    about: Mapping[str, Any]
    hyperparameters: list[Hyperparameter]
    sweeps: list[InSweep]

    @property
    def is_reference(self) -> bool:
        return self.about.get("family") == "reference"

    @classmethod
    def of(cls, name: str, views: Sequence[SweepView], runs: Mapping[str, list[Run]], color: str) -> MethodView:
        """runs: the curves of each trial."""
        here = [view for view in views if name in view.methods]
        settings = [s for view in here for s in view.section.settings.values() if s.method == name]
        about = next((setting.about for setting in settings if setting.about), {})
        return cls(name, about, _hyperparameters(settings), [_in_sweep(name, view, runs, color) for view in here])


def _hyperparameters(settings: Sequence[Setting]) -> list[Hyperparameter]:
    """A value that a setting did not change is the default: rows know which ones were changed, and to what."""
    values: dict[str, dict[str, None]] = {}
    defaults: dict[str, str] = {}
    for setting in settings:
        changed = setting.about.get("changed")
        for name, value in json.loads(setting.params).items():
            text = option_text(value)
            values.setdefault(name, {})[text] = None
            if changed is not None and name not in changed:
                defaults.setdefault(name, text)
    return [Hyperparameter(name, defaults.get(name), list(found)) for name, found in values.items()]


def _in_sweep(name: str, view: SweepView, runs: Mapping[str, list[Run]], color: str) -> InSweep:
    boards = [board for board in (of_method(board, name) for board in view.boards) if board]
    trials = view.section.trials[view.section.trials["method"] == name]
    drawn = trials[trials["trial_id"].isin(list(runs))]
    panels = []
    for _, group in list(drawn.groupby(["label", "where"], sort=False))[:PANELS]:
        trial = group.iloc[0]
        first = runs[trial["trial_id"]][0]
        same = [run for t in group["trial_id"] for run in runs[t] if (run.stage, run.name) == (first.stage, first.name)]
        words = [trial["label"].removeprefix(name).strip(), trial["where"].removeprefix(trial["dataset"]).strip()]
        panels.append(panel(same, ", ".join([*filter(None, words), first.title]), color))
    failed = view.failed[view.failed["method"] == name]
    return InSweep(view, boards, panels, as_lines(failed.head(FAILURES)), len(failed))
