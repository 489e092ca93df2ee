"""A published table's page: each of its numbers beside ours, with a verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.published import published_rows, published_table
from bench.report.formatting import measurement, number
from bench.report.records import Section
from bench.statistics.reproduction import reproduction
from bench.words import plural

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")


@dataclass(frozen=True)
class PaperLine:
    """A number of the table as texts; `trial` is the id of one of ours, or empty. note: number of the reason below.

    order: what the columns of numbers are sorted by, where it is not the text: column -> number, or "" for none.
    """

    dataset: str
    method: str
    metric: str
    published: str
    ours: str
    trial: str
    mean: str
    seeds: str
    difference: str
    predicted: str
    verdict: str
    note: int
    order: Mapping[str, float | str]

    @classmethod
    def of(cls, line: Mapping[str, Any], notes: dict[str, int]) -> PaperLine:
        """Of a line of `reproduction`; a reason that is not among the notes yet is added to them."""
        half_width = None if pd.isna(line["half_width"]) else line["half_width"]
        fields = f" ({line['fields']})" if line["fields"] else ""
        printed = NUMBER.search(line["published"])  # the limit of a bound
        values = {"published": float(printed[0]) if printed else math.nan, "predicted": line["low"]}
        values |= {name: line[name] for name in ("mean", "difference")}
        return cls(
            **{name: line[name] for name in ("dataset", "method", "metric", "published", "ours", "trial")},
            mean="" if pd.isna(line["mean"]) else measurement(line["mean"], half_width),
            seeds="" if pd.isna(line["seeds"]) else str(int(line["seeds"])),
            difference="" if pd.isna(line["difference"]) else number(line["difference"], signed=True),
            predicted="" if pd.isna(line["low"]) else f"{number(line['low'])} to {number(line['high'])}",
            verdict=f"{line['verdict']}{fields}",
            note=notes.setdefault("; ".join(filter(None, [line["reason"], line["spread"]])), len(notes) + 1),
            order={name: "" if pd.isna(value) else float(value) for name, value in values.items()},
        )


@dataclass(frozen=True)
class PaperView:
    """A published table beside the trials of one scale of the sweeps that name it.

    heading: title and arXiv number of the paper. table: what it calls the table. summary: how many numbers it has, and
    how often each verdict was given, in words. notes: the verdicts' reasons by their numbers. protocols: how the paper
    measured, and where that was read.
    """

    key: str
    heading: str
    table: str
    scale: str
    sections: tuple[Section, ...]
    lines: tuple[PaperLine, ...]
    notes: Mapping[str, int]
    summary: str
    protocols: tuple[str, ...]

    @property
    def slug(self) -> str:
        return paper_slug(self.key, self.scale)

    @property
    def metrics(self) -> int:
        """How many metrics the table has."""
        return len({line.metric for line in self.lines})

    @property
    def told_apart(self) -> set[str]:
        """Settings of ours of which several stand beside the same numbers."""
        settings: dict[tuple[str, ...], set[str]] = {}
        for line in self.lines:
            settings.setdefault((line.method, line.dataset, line.metric), set()).add(line.ours)
        return set().union(*(found for found in settings.values() if len(found) > 1))

    @classmethod
    def of(
        cls, key: str, scale: str, sections: Sequence[Section], published: pd.DataFrame, rows: pd.DataFrame
    ) -> PaperView:
        """sections: those of the scale that name the table. rows: the store's, of their and other trials."""
        table = published_table(published, key)
        records = list({id_: record for section in sections for id_, record in section.records.items()}.values())
        found = reproduction(table, published, records, rows)
        notes: dict[str, int] = {}
        lines = tuple(PaperLine.of(line, notes) for line in published_rows(found))
        counts = found["verdict"].value_counts()
        first = table.iloc[0]
        arxiv = f", arXiv {first['arxiv']}" if first["arxiv"] else ""
        return cls(
            key=key,
            heading=f"{first['title']}{arxiv}",
            table=first["table_published"],
            scale=scale,
            sections=tuple(sections),
            lines=lines,
            notes=notes,
            summary=f"{counted(len(table), len(lines))}: "
            + ", ".join(f"{many} {word}" for word, many in counts.items()),
            protocols=tuple(dict.fromkeys(_protocol(row) for row in published_rows(table))),
        )


def counted(numbers: int, comparisons: int) -> str:
    """How much a table has: a number may stand beside several settings of ours."""
    told = plural(numbers, "number")
    return told if comparisons == numbers else f"{told} in {comparisons:,} comparisons"


def paper_slug(key: str, scale: str) -> str:
    """What a table's page at a scale is called."""
    return f"{key}-{scale}"


def paper_views(sections: Sequence[Section], published: pd.DataFrame, rows: pd.DataFrame) -> list[PaperView]:
    """A page for each table that is on record and named by a sweep, at each scale at which one is planned."""
    named: dict[tuple[str, str], list[Section]] = {}
    for section in sections:
        for key in section.published:
            named.setdefault((key, section.scale), []).append(section)
    return [
        PaperView.of(key, scale, mine, published, rows)
        for (key, scale), mine in sorted(named.items(), key=lambda item: item[0])
        if len(published_table(published, key))
    ]


def _protocol(row: Mapping[str, Any]) -> str:
    departure = f"theirs is {row['departure']}" if row["departure"] else ""
    return "; ".join(filter(None, [row["protocol"], departure, row["note"], f"{row['source']} ({row['status']})"]))
