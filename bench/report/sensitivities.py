"""How a method's results depend on its hyperparameters, from the settings that a section has of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from bench.report.charts import Chart
from bench.report.comparison_charts import choices
from bench.report.records import Section, differing, option_text
from bench.statistics.aggregates import anchors, normalized
from bench.statistics.sensitivity import SEEDS, marginal_means, variance_shares

PANELS = 12
FEWEST = 3
"""Settings of a method that make a chart worth its place."""


class Panel(NamedTuple):
    """A hyperparameter's part of the chart: frames as `choices` takes them, and its share of the variance or -1."""

    settings: pd.DataFrame
    marginal: pd.DataFrame
    share: float


def settings_frame(section: Section) -> pd.DataFrame:
    """The section's settings without references, in the order planned: setting, label, method, is_default, varied.

    varied: hyperparameter (or part of the budget) -> value, of those in which the method's settings differ. A setting
    is at the defaults where its record says what was changed, and that is none of these.
    """
    described: dict[str, dict[str, dict[str, Any]]] = {}
    for setting in section.settings.values():
        if not setting.is_reference:
            options = {**json.loads(setting.params), **json.loads(setting.budget)}
            described.setdefault(setting.method, {})[setting.key] = options
    varying = {method: differing(list(of_method.values())) for method, of_method in described.items()}
    lines = []
    for setting in section.settings.values():
        if setting.is_reference:
            continue
        names, options = varying[setting.method], described[setting.method][setting.key]
        changed = setting.about.get("changed")
        lines.append(
            {
                "setting": setting.key,
                "label": setting.label,
                "method": setting.method,
                "is_default": changed is not None and not set(names) & set(changed),
                "varied": {name: options[name] for name in names if name in options},
            }
        )
    return pd.DataFrame(lines, columns=["setting", "label", "method", "is_default", "varied"])


def sensitivity_chart(
    section: Section, values: pd.DataFrame, settings: pd.DataFrame, metric: str, colors: Mapping[str, str]
) -> list[Chart]:
    """A panel for each hyperparameter that a method was swept over, by one metric; those that matter most.

    values: of that metric's complete cells, a line a (task, setting, seed): task, setting, seed, value, direction.
    settings: as `settings_frame` gives them.
    """
    several = values["task"].nunique() > 1
    panels = []
    for method, of_method in settings.groupby("method", sort=False):
        mine = values[values["setting"].isin(of_method["setting"])]
        panels += _panels(str(method), of_method, _over_tasks(mine) if several else mine, keep_named=several)
    if not panels:
        return []
    panels = sorted(panels, key=lambda panel: -panel.share)[:PANELS]
    marginal = pd.concat([panel.marginal for panel in panels], ignore_index=True)
    marginal = marginal.sort_values("choice", key=lambda column: column.map(_place), kind="stable")
    chart = choices(pd.concat([panel.settings for panel in panels], ignore_index=True), marginal, colors)
    better = {"min": "lower", "max": "higher"}["max" if several else str(values["direction"].iloc[0])]
    caption = f"Dots are settings, ticks the means of those with the same choice; {better} is better. "
    if any(panel.share >= 0 for panel in panels):
        caption += "Percentages: the hyperparameter's own share of the variance of all runs, seeds' noise taken off."
    if several:
        caption += " Scores run from a method's worst setting on a dataset, 0, to its best, 1."
    return [Chart.of(f"{section.slug}-sensitivity", f"Sensitivity to hyperparameters by {metric}", caption, chart)]


def _panels(method: str, settings: pd.DataFrame, runs: pd.DataFrame, *, keep_named: bool) -> list[Panel]:
    """The panels of a method from its runs (setting, seed, value).

    keep_named: also where each setting has a choice of its own that is no number, which the metric's own chart shows.
    """
    options = _options(settings[settings["setting"].isin(runs["setting"])])
    if len(options) < FEWEST:
        return []
    shares = variance_shares(runs, options).set_index("source")["share"]
    of_settings = runs.groupby("setting")["value"].mean()
    labels = settings.set_index("setting")["label"]
    panels = []
    for option, marginal in marginal_means(runs, options).groupby("option", sort=False):
        numeric = all(_place(choice)[0] == 0 for choice in marginal["choice"])
        if len(marginal) == len(options) and not numeric and not keep_named:
            continue
        known = not math.isnan(shares[SEEDS])
        name = f"{method}: {option}" + (f" ({shares[option]:.0%})" if known else "")
        dots = options.set_index("setting")[option].rename("choice").to_frame().assign(label=labels, mean=of_settings)
        of_panel = {"panel": name, "method": method}
        panels.append(Panel(dots.assign(**of_panel), marginal.assign(**of_panel), shares[option] if known else -1.0))
    return panels


def _over_tasks(values: pd.DataFrame) -> pd.DataFrame:
    """Of one method, the mean score over the tasks that all its settings have: setting, seed, value."""
    settings = values.groupby("task")["setting"].transform("nunique")
    scores = normalized(values, anchors(values[settings == values["setting"].nunique()]))
    return scores.groupby(["setting", "seed"], sort=False)["score"].mean().rename("value").reset_index()


def _options(settings: pd.DataFrame) -> pd.DataFrame:
    """A column of texts for each hyperparameter that takes different values, beside `setting`."""
    table = pd.DataFrame(
        [{name: option_text(value) for name, value in varied.items()} for varied in settings["varied"]],
        index=settings.index,
    ).fillna("")
    table = table[[name for name in table.columns if table[name].nunique() > 1]]
    return settings[["setting"]].join(table)


def _place(choice: str) -> tuple[int, float, str]:
    """Numbers before words, by size."""
    try:
        return 0, float(choice), ""
    except ValueError:
        return 1, 0.0, choice
