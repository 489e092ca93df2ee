"""The searches of a sweep as its page shows them: what was tried, and what it came to on the validation split."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd

from bench.report import formatting
from bench.report.records import Section, option_text
from bench.statistics.searches import search_trials
from bench.words import listed, plural

ARROWS = {"min": "↓", "max": "↑"}


@dataclass(frozen=True)
class SearchLine:
    """A trial of a search. step, value: of its last milestone, as texts."""

    number: int
    setting: str
    ended: str
    step: str
    value: str
    won: bool


@dataclass(frozen=True)
class SearchView:
    """The search for a method's setting on a dataset. lines: the trials trained longest first, of these the best."""

    method: str
    where: str
    metric: str
    arrow: str
    how: str
    lines: list[SearchLine]

    @property
    def outcome(self) -> str:
        """In words, with the setting that won."""
        best = next((f"; best {line.setting or 'as it is'}, {line.value}" for line in self.lines if line.won), "")
        return f"{self.method} on {self.where}: {plural(len(self.lines), 'trial')}{best}"


def search_views(section: Section, lines: pd.DataFrame) -> list[SearchView]:
    """The searches for methods of a section. lines: of `bench.tuning.search_records`, its sweep's at its scale."""
    methods = {setting.method for setting in section.settings.values()}
    words = section.trials.drop_duplicates(["dataset", "dataset_options"]).set_index(["dataset", "dataset_options"])
    views = []
    for _, trials in search_trials(lines[lines["method"].isin(methods)]).groupby("search", sort=False):
        first = trials.iloc[0]
        place = (first["dataset"], first["dataset_options"])
        where = str(words["where"][place]) if place in words.index else first["dataset"]
        how = listed([first["algorithm"], *(["stopped by ASHA"] if first["scheduler"] == "asha" else [])])
        lines_of = [_line(trial) for _, trial in _sorted(trials).iterrows()]
        arrow = ARROWS.get(first["direction"], "")
        views.append(SearchView(first["method"], where, first["metric"], arrow, how, lines_of))
    order = {method: place for place, method in enumerate(setting.method for setting in section.settings.values())}
    return sorted(views, key=lambda view: (order[view.method], view.where))


def _sorted(trials: pd.DataFrame) -> pd.DataFrame:
    scores = trials["value"].where(trials["direction"] == "min", -trials["value"])
    keyed = trials.assign(score=scores, completed=trials["state"] == "completed")
    return keyed.sort_values(["completed", "step", "score", "number"], ascending=[False, False, True, True])


def _line(trial: pd.Series) -> SearchLine:
    chosen = json.loads(trial["chosen"])
    step, value = trial["step"], trial["value"]
    return SearchLine(
        number=int(trial["number"]),
        setting=", ".join(f"{name} = {option_text(value)}" for name, value in chosen.items()),
        ended=trial["state"],
        step=formatting.ABSENT if pd.isna(step) else formatting.count(step),
        value=formatting.ABSENT if pd.isna(value) else formatting.number(value),
        won=bool(trial["won"]),
    )
