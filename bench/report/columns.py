"""The columns of leaderboards: which numbers stand under one heading, and how they were measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.formatting import unit
from bench.report.records import Section, differing, option_text
from bench.statistics.leaderboards import BOARD

TABLE_TITLES = {"latent": "Latent fit"}
"""Titles of tables where the name with a capital is not enough."""
DATASET = ["dataset", "dataset_options"]


@dataclass
class Column:
    """A column of a board: one BOARD key. `detail` tells apart columns of the same heading, else it is empty."""

    key: tuple[Any, ...]
    heading: str
    direction: str
    detail: str = ""
    has_published: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        return dict(zip(BOARD, self.key, strict=True))

    @property
    def metric(self) -> str:
        return str(self.facts["metric"])

    @property
    def dataset(self) -> tuple[str, str]:
        """(dataset, dataset_options)"""
        return self.facts["dataset"], self.facts["dataset_options"]

    @property
    def arrow(self) -> str:
        return {"min": "↓", "max": "↑"}.get(self.direction, "")

    @property
    def better(self) -> str:
        return {"min": "lower is better", "max": "higher is better"}.get(self.direction, "")


def board_keys(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The BOARD key of each line of a frame, with None for what is missing, so that keys can be compared."""
    objects = frame[BOARD].astype(object)
    return list(objects.where(objects.notna(), None).itertuples(index=False, name=None))


def layout(section: Section) -> Iterable[tuple[str, str, list[Column], str]]:
    """(slug, title, columns, what varies along them) of each board.

    One dataset gives a board a table with metrics as columns; several give a board a metric with datasets as columns.
    """
    columns = _columns(section)
    if len(section.datasets) > 1:
        axis = dataset_headings(section)[0]
        for metric, about in section.outputs.items():
            chosen = [column for column in columns if column.metric == metric]
            if chosen:
                named = f"{metric} ({unit(about['unit'])})" if unit(about["unit"]) else metric
                yield metric, f"{named} {chosen[0].arrow}", _told_apart(chosen), axis
        return
    for table in dict.fromkeys(about["table"] for about in section.outputs.values()):
        chosen = [column for column in columns if section.outputs[column.metric]["table"] == table]
        if chosen:
            yield table, TABLE_TITLES.get(table, table.capitalize()), _told_apart(chosen), ""


def dataset_headings(section: Section) -> tuple[str, list[str]]:
    """What varies along a grid of datasets, and a heading for each: ("dim", ["2", "4"]) or ("", ["a", "b"])."""
    options = [json.loads(text) for text in section.datasets["dataset_options"]]
    names = list(section.datasets["dataset"])
    varying = differing(options)
    if len(set(names)) == 1 and len(varying) == 1:
        return varying[0], [option_text(chosen.get(varying[0])) for chosen in options]
    told = [[f"{key}={option_text(chosen[key])}" for key in varying if key in chosen] for chosen in options]
    return "", [" ".join([name, *more]) for name, more in zip(names, told, strict=True)]


def meaning(column: Column, section: Section) -> str:
    """What a column's numbers are, in words."""
    about = section.outputs[column.metric]
    scale = f"{'unit' if unit(about['unit']) else 'range'} {about['unit']}" if about["unit"] else ""
    return "; ".join(filter(None, [about["meaning"], column.better, scale]))


def measurement(column: Column, section: Section) -> str:
    """How a column's numbers were measured, in words."""
    return told_protocol(column.facts, section.outputs[column.metric]["source"])


def told_protocol(facts: Mapping[str, Any], source: str) -> str:
    """How a number was measured, in words, from its n_samples, split, protocol and metric_version."""
    parts = [f"{int(facts['n_samples']):,} samples of the {facts['split']} split"] if facts["n_samples"] else []
    for name, value in json.loads(facts["protocol"] or "{}").items():
        text = ", ".join(map(option_text, value)) if isinstance(value, list) else option_text(value)
        if (name, value) != ("num_samples", facts["n_samples"]):  # said already
            parts.append(f"{name.replace('_', ' ')} {text[:16] if name.endswith('sha256') else text}")
    parts += [f"version {int(facts['metric_version'])}"] if facts["metric_version"] else []
    return "; ".join([*parts, *([str(source)] if source else [])])


def _columns(section: Section) -> list[Column]:
    """A column for each key with a value; where a metric has none on a dataset, one for its reasons."""
    rows = section.rows
    quantity = [*DATASET, "metric"]
    with_value, without = rows[rows["value"].notna()], rows[rows["value"].isna()].drop_duplicates(quantity)
    valued = set(with_value[quantity].itertuples(index=False, name=None))
    lonely = [key not in valued for key in without[quantity].itertuples(index=False, name=None)]
    keys = dict.fromkeys([*board_keys(with_value), *board_keys(without.loc[lonely])])

    datasets: list[tuple[str, str]] = list(section.datasets.itertuples(index=False, name=None))
    headings = dict(zip(datasets, dataset_headings(section)[1], strict=True))
    columns = []
    for key in keys:
        column = Column(key, "", "")
        column.heading = headings[column.dataset] if len(datasets) > 1 else column.metric
        column.direction = section.outputs[column.metric]["direction"]
        columns.append(column)
    metrics, order = list(section.outputs), _by_number(datasets, headings)
    measured = with_value.groupby("metric")["label"].nunique()
    # A metric that only a few methods have should not decide the order of all.
    few = {metric: 0 < 2 * measured.get(metric, 0) < measured.max() for metric in metrics}
    return sorted(
        columns, key=lambda c: (few[c.metric], metrics.index(c.metric), order.index(c.dataset), _protocol_numbers(c))
    )


def _protocol_numbers(column: Column) -> list[float]:
    """The numbers of a column's protocol: what tells apart those of a metric that was asked for with several."""
    protocol = json.loads(column.facts["protocol"] or "{}")
    return [value for _, value in sorted(protocol.items()) if isinstance(value, int | float)]


def _by_number(datasets: list[tuple[str, str]], headings: Mapping[tuple[str, str], str]) -> list[tuple[str, str]]:
    """Datasets in the order of their headings where these are numbers, else as planned."""
    try:
        return sorted(datasets, key=lambda dataset: float(headings[dataset]))
    except ValueError:
        return datasets


def _told_apart(columns: list[Column]) -> list[Column]:
    """The columns; those that share a heading get the facts in which they differ as `detail`."""
    for heading in {column.heading for column in columns}:
        same = [column for column in columns if column.heading == heading]
        facts = [{**column.facts, **json.loads(column.facts["protocol"] or "{}")} for column in same]
        for fact in facts:
            del fact["protocol"]
        if all(fact.get("num_samples", fact["n_samples"]) == fact["n_samples"] for fact in facts):
            for fact in facts:
                fact.pop("num_samples", None)  # n_samples says it
        names = differing(facts)
        for column, fact in zip(same, facts, strict=True):
            column.detail = ", ".join(
                f"{name.replace('_', ' ')} {option_text(fact[name])}" for name in names if name in fact
            )
    return columns
