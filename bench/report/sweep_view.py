"""A section as its page and the overview show it: in words, and in lists that a reader can take in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from bench.report import formatting
from bench.report.charts import Chart
from bench.report.columns import DATASET, meaning, measurement
from bench.report.comparisons import Comparisons
from bench.report.exports import file_name
from bench.report.formatting import count, duration, memory
from bench.report.leaderboards import Board
from bench.report.pictures import Picture
from bench.report.records import MISSING, PROVENANCE, Section
from bench.report.search_view import SearchView
from bench.words import listed, plural

Line = dict[str, Any]
"""A line of a frame by column; None where nothing is known."""
FOLDED = ("isometry.parquet", "interpolations.png", "neighbors.png", "traversals.png")
"""Pictures a page shows only when unfolded: every autoencoder has them, and they take space."""
GALLERY = 24
"""Pictures of a kind on a page; the methods' pages have more, the trials' pages have all."""
FAILURES = 20
"""Failed trials in a table; the list of all trials has the rest."""

COSTS: dict[str, Callable[[float | None], str]] = {
    "train_seconds": duration,
    "eval_seconds": duration,
    "steps": count,
    "parameters": count,
    "peak_memory_bytes": memory,
}
"""What a trial costs, and how it is said."""


@dataclass(frozen=True)
class Cost:
    """What a setting's trials cost. cells: (text, what the column is sorted by) of each of COSTS."""

    label: str
    method: str
    cells: list[tuple[str, float | str]]
    device: str


@dataclass
class SweepView:
    """A section with everything made of it.

    across: comparisons over its datasets and metrics. pictures: trial_id -> its pictures, of the whole report.
    """

    section: Section
    boards: list[Board]
    charts: list[Chart]
    across: Comparisons
    pictures: Mapping[str, list[Picture]]
    published: pd.DataFrame
    searches: list[SearchView]

    @property
    def counts(self) -> dict[str, int]:
        """Status -> number of trials, ok first."""
        found = self.section.trials["status"].value_counts().to_dict()
        return {"ok": int(found.pop("ok", 0)), **{str(status): int(number) for status, number in found.items()}}

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(setting.method for setting in self.section.settings.values()))

    @property
    def protocol(self) -> str:
        """How the trials were run, in words."""
        section, specs = self.section, [record["spec"] for record in self.section.records.values()]
        budgets = list(dict.fromkeys(budget_text(spec["budget"]) for spec in specs))
        abouts = {r["spec"]["dataset"]["name"]: r.get("about", {}).get("dataset", {}) for r in section.records.values()}
        summaries = [_with_summary(name, about) for name, about in abouts.items()]
        seeds = sorted({spec["seed"] for spec in specs})
        splits = list(dict.fromkeys(split for spec in specs for split in spec["splits"]))
        settings = plural(len(section.settings), "setting")
        # A list of many says less than that they differ; every trial states its own.
        training = listed(budgets) if len(budgets) <= 3 else f"{len(budgets)} different budgets"
        text = f"{settings} of {plural(len(self.methods), 'method')} on {listed(summaries)}, trained for {training}"
        text += f" with {'seeds' if len(seeds) > 1 else 'seed'} {listed([str(seed) for seed in seeds])}"
        return f"{text}; scored on the {listed(splits)} split." if splits else f"{text}."

    @property
    def outcome(self) -> str:
        """How the trials ended, in words."""
        counts = dict(self.counts)
        ok, total = counts.pop("ok"), len(self.section.trials)
        rest = "".join(f", {number:,} {status}" for status, number in counts.items())
        text = f"{ok:,} of {plural(total, 'trial')} ended ok{rest}."
        if self.section.superseded:
            text += f" Rows of {plural(self.section.superseded, 'trial')} with settings no longer planned are left out."
        return text

    @property
    def all_charts(self) -> list[Chart]:
        return [*self.across.charts, *self.charts]

    @cached_property
    def tuned(self) -> list[Line]:
        """Each method at its defaults beside its best setting: the lines of `across.tuned`, means as texts too."""
        lines = as_lines(self.across.tuned)
        for line in lines:
            for name in ("default", "tuned"):
                mean = line[f"{name}_mean"]
                half_width = line[f"{name}_half_width"]
                line[f"{name}_text"] = formatting.ABSENT if mean is None else formatting.measurement(mean, half_width)
        return lines

    @cached_property
    def failed(self) -> pd.DataFrame:
        trials = self.section.trials
        return trials[~trials["status"].isin(["ok", MISSING])]

    @property
    def failures(self) -> list[Line]:
        return as_lines(self.failed.head(FAILURES))

    @property
    def failed_methods(self) -> str:
        """What failed, in a line: the methods that had failures, those with most of them first."""
        failed = self.failed["method"].value_counts(sort=True)
        return listed([f"{method} ({number})" for method, number in failed.items()], limit=6)

    @property
    def published_note(self) -> str:
        section = self.section
        if not section.published:
            return "No published table is named for this sweep."
        if self.published.empty:
            return f"No numbers are on record for the published table {listed(list(section.published))}."
        if not any(column.has_published for board in self.boards for column in board.columns):
            datasets = listed(list(self.published["dataset_published"].unique()))
            table = f"The published table {listed(list(section.published))} ({datasets})"
            return f"{table} has no number for a dataset and metric shown here."
        return f"Published values are of {listed(list(section.published))}."

    @property
    def papers(self) -> list[str]:
        """The published tables of the sweep that are on record, and so have a page."""
        on_record = set(self.published["paper"] + "/" + self.published["table"])
        return [key for key in self.section.published if key in on_record]

    def notes(self, board: Board) -> list[tuple[dict[str, str], str]]:
        """(name -> meaning, how they were measured) of a board's columns, those measured alike together."""
        groups: dict[str, dict[str, str]] = {}
        for column in board.columns:
            name = column.metric if board.is_grid else " ".join(filter(None, [column.heading, column.detail]))
            how = measurement(column, self.section)
            groups.setdefault(how, {})[name] = meaning(column, self.section)
        return [(meanings, how) for how, meanings in groups.items()]

    def exports(self, board: Board) -> list[tuple[str, str]]:
        """(name, address) of a board's files."""
        names = {"md": "Markdown", "csv": "CSV", "tex": "LaTeX"}
        return [(name, f"tables/{file_name(board.slug)}.{suffix}") for suffix, name in names.items()]

    def chart_exports(self, chart: Chart) -> list[tuple[str, str]]:
        return [(suffix.upper(), f"charts/{file_name(chart.slug)}.{suffix}") for suffix in ("svg", "png", "pdf")]

    def galleries(self, method: str | None = None) -> list[tuple[str, bool, list[tuple[Picture, Line]]]]:
        """(caption, folded, [(picture, trial)]) of each kind of picture, of one seed a setting and dataset."""
        trials = self.section.trials[self.section.trials["trial_id"].isin(list(self.pictures))]
        trials = trials[trials["method"] == method] if method else trials
        kinds: dict[str, list[tuple[Picture, Line]]] = {}
        for trial in as_lines(trials.drop_duplicates(["setting", *DATASET])):
            for picture in self.pictures[trial["trial_id"]]:
                kinds.setdefault(picture.name, []).append((picture, trial))
        return [(pairs[0][0].caption, name in FOLDED, pairs[:GALLERY]) for name, pairs in kinds.items()]

    def costs(self) -> list[Cost]:
        """A line a setting; ranges where datasets differ."""
        ended = dict(list(self.section.trials[self.section.trials["status"] == "ok"].groupby("setting", sort=False)))
        return [
            Cost(
                setting.label,
                setting.method,
                [(_span(ended[key][name], show), _mean(ended[key][name])) for name, show in COSTS.items()],
                listed(list(ended[key]["device"].dropna().unique())),
            )
            for key, setting in self.section.settings.items()
            if key in ended
        ]

    def environments(self) -> list[tuple[tuple[Any, ...], int]]:
        """(values of PROVENANCE, number of trials) of the machines and versions its trials ran with, most first."""
        run = self.section.trials[self.section.trials["status"] != MISSING]
        counted = run[PROVENANCE].astype(object).where(run[PROVENANCE].notna(), None).value_counts(dropna=False)
        return [(tuple(values), int(number)) for values, number in counted.items() if isinstance(values, tuple)]


def budget_text(budget: Mapping[str, Any]) -> str:
    """How long a trial trains, in words."""
    parts = [plural(budget["steps"], "update")] if budget.get("steps") is not None else []
    parts += [f"{budget['epochs']:g} epochs"] if budget.get("epochs") is not None else []
    length = listed(parts) or "an unknown budget"
    if budget.get("patience") is not None:
        length = f"at most {length}, ended by {plural(budget['patience'], 'epoch')} without a better validation loss,"
    return f"{length} of batch size {budget['batch_size']:,}" if budget.get("batch_size") else length


def as_lines(frame: pd.DataFrame) -> list[Line]:
    """The lines of a frame, with None for what is missing."""
    objects = frame.astype(object)
    lines = objects.where(objects.notna(), None).to_dict("records")
    return [{str(name): value for name, value in line.items()} for line in lines]


def _with_summary(name: str, about: Mapping[str, Any]) -> str:
    return f"{name} ({about['summary']})" if about.get("summary") else name


def _mean(values: pd.Series) -> float | str:
    """What a column is sorted by; empty where nothing is known."""
    mean = values.astype(float).mean()
    return "" if math.isnan(mean) else mean


def _span(values: pd.Series, show: Callable[[float | None], str]) -> str:
    known = values.dropna().astype(float)
    if known.empty:
        return formatting.ABSENT
    low, high = show(known.min()), show(known.max())
    return low if low == high else f"{low} – {high}"
