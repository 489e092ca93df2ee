"""Charts that compare settings over several tasks: data frames in, Altair charts out, in the style of `charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from bench.report.charts import (
    LABEL_SIZE,
    LINE_HEIGHT,
    PANEL_WIDTH,
    PUBLISHED,
    color_channel,
    finished,
    picked,
    tooltip,
)


def rank_diagram(
    ranks: pd.DataFrame, by_task: pd.DataFrame, groups: Sequence[Sequence[str]], colors: Mapping[str, str]
) -> alt.LayerChart:
    """A line a setting: its rank on each task a faint dot, the average over it; bars join what cannot be told apart.

    ranks: label, method, average_rank, best first. by_task: label, method, task, rank. groups: labels.
    """
    count = len(ranks)
    title = "rank (lower is better)"
    y = _lines(ranks)
    color = color_channel(colors)
    joined = pd.DataFrame(
        [
            {"label": label, "group": number, "at": count + 0.45 + 0.55 * lane}
            for number, (lane, group) in enumerate(zip(_lanes(groups, list(ranks["label"])), groups, strict=True))
            for label in group
        ],
        columns=["label", "group", "at"],
    )
    right = float(joined["at"].max()) if len(joined) else float(count)
    x = {
        name: alt.X(
            f"{name}:Q",
            title=title,
            scale=alt.Scale(domain=[1, right], nice=False, zero=False, padding=8),
            axis=alt.Axis(values=list(range(1, count + 1)), grid=False, format="~g"),
        )
        for name in ("average_rank", "rank", "at")
    }
    layers: list[Any] = [
        alt.Chart(by_task)
        .mark_circle(size=30)
        .encode(
            x=x["rank"],
            y=y,
            color=color,
            opacity=picked(0.3),
            tooltip=[alt.Tooltip("task:N"), *tooltip("label", "rank")],
        ),
        alt.Chart(ranks)
        .mark_tick(thickness=2.5, size=13)
        .encode(x=x["average_rank"], y=y, color=color, opacity=picked(), tooltip=tooltip("label", "average_rank")),
        alt.Chart(joined)
        .mark_line(strokeWidth=3, strokeCap="round", color=PUBLISHED)
        .encode(x=x["at"], y=y, detail="group:N"),
    ]
    return finished(layers, PANEL_WIDTH, LINE_HEIGHT * count + 45)


def estimates(
    frame: pd.DataFrame,
    x_title: str,
    colors: Mapping[str, str],
    even: float | None = None,
    domain: tuple[float, float] | None = None,
) -> alt.LayerChart:
    """A line a setting: an estimate and its interval.

    frame: label, method, estimate, low, high (NaN where there is no interval), in the order of the lines. even: where a
    vertical line says that neither of two is ahead. domain: of the axis, else that of the estimates.
    """
    y = _lines(frame)
    color = color_channel(colors)
    scale = alt.Scale(domain=domain) if domain else alt.Scale(zero=False, padding=8)
    x = {
        name: alt.X(f"{name}:Q", title=x_title, scale=scale, axis=alt.Axis(grid=False, tickCount=5))
        for name in ("estimate", "low")
    }
    layers: list[Any] = [
        alt.Chart(pd.DataFrame({"estimate": [] if even is None else [even]}))
        .mark_rule(strokeDash=[2, 3], color=PUBLISHED)
        .encode(x=x["estimate"]),
        alt.Chart(frame.dropna(subset=["low"]))
        .mark_rule(strokeWidth=2)
        .encode(x=x["low"], x2="high:Q", y=y, color=color, opacity=picked()),
        alt.Chart(frame)
        .mark_circle(size=60)
        .encode(
            x=x["estimate"], y=y, color=color, opacity=picked(), tooltip=tooltip("label", "estimate", "low", "high")
        ),
    ]
    return finished(layers, PANEL_WIDTH, LINE_HEIGHT * len(frame) + 45)


def profiles(frame: pd.DataFrame, colors: Mapping[str, str]) -> alt.FacetChart:
    """Small multiples, one a setting: its curve with its band, over the curves of all in grey.

    frame: label, method, threshold, share, low, high (NaN where there is no interval); panels in the order of their
    first line.
    """
    labels = list(dict.fromkeys(frame["label"]))
    frame = frame.round(4)
    own = frame.assign(panel=frame["label"], of="own")
    curves = frame[["label", "threshold", "share"]]
    others = pd.concat([curves.assign(panel=label, of="all") for label in labels])
    share = alt.Axis(tickCount=3, format="~g")
    x = alt.X("threshold:Q", title=None, axis=alt.Axis(tickCount=3, format="~g", grid=False))
    y = {name: alt.Y(f"{name}:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=share) for name in ("share", "low")}
    base: Any = alt.Chart().encode(x=x)
    mine = base.transform_filter("datum.of == 'own'")
    color = color_channel(colors)
    layers = [
        base.transform_filter("datum.of == 'all'")
        .mark_line(strokeWidth=0.8, color=PUBLISHED, opacity=0.5)
        .encode(y=y["share"], detail="label:N"),
        mine.mark_area().encode(y=y["low"], y2="high:Q", color=color, opacity=picked(0.2)),
        mine.mark_line(strokeWidth=1.8).encode(
            y=y["share"], color=color, opacity=picked(), tooltip=tooltip("label", "threshold", "share")
        ),
    ]
    return _panels(layers, pd.concat([others, own]), labels)


def choices(settings: pd.DataFrame, marginal: pd.DataFrame, colors: Mapping[str, str]) -> alt.FacetChart:
    """Small multiples, one a (method, hyperparameter): every setting a faint dot, the mean of each choice a tick.

    settings: panel, method, label, choice, mean; panels in the order of their first line. marginal: panel, method,
    choice, mean; choices in the order of their first line. All panels have the same vertical scale, so that one sees
    what matters most.
    """
    order = list(dict.fromkeys(marginal["choice"]))
    room = max(160 // int(marginal["panel"].value_counts().max()), 30)
    axis = alt.Axis(labelAngle=0, labelLimit=room, labelOverlap="greedy", ticks=False)
    x = alt.X("choice:N", sort=order, title=None, axis=axis)
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=3, format=",.3~g"))
    base: Any = alt.Chart().encode(x=x, y=y, color=color_channel(colors))
    layers = [
        base.transform_filter("datum.of == 'setting'")
        .mark_circle(size=26)
        .encode(opacity=picked(0.4), tooltip=tooltip("label", "mean")),
        base.transform_filter("datum.of == 'choice'").mark_tick(thickness=2.5, size=18).encode(opacity=picked()),
    ]
    everything = pd.concat([settings.assign(of="setting"), marginal.assign(of="choice")], ignore_index=True)
    return _panels(layers, everything, list(dict.fromkeys(settings["panel"]))).resolve_scale(x="independent")


def _panels(layers: Sequence[Any], data: pd.DataFrame, order: Sequence[str]) -> Any:
    header = alt.Header(
        labelFontSize=LABEL_SIZE, labelFontWeight="normal", labelLimit=190, title=None, labelAnchor="start"
    )
    layered: Any = alt.layer(*layers, data=data).properties(width=165, height=90)
    faceted = layered.facet(facet=alt.Facet("panel:N", sort=list(order), header=header), columns=3, spacing=18)
    return faceted.add_params(alt.param(name="picked", value=""))


def _lines(frame: pd.DataFrame) -> alt.Y:
    labels = alt.Axis(labelLimit=190, ticks=False, domain=False, grid=True)
    return alt.Y("label:N", sort=list(frame["label"]), title=None, axis=labels)


def _lanes(groups: Sequence[Sequence[str]], order: Sequence[str]) -> list[int]:
    """A lane for each group, so that groups in one lane do not touch; groups are runs of `order`, by their start."""
    ends: list[int] = []
    chosen = []
    for group in groups:
        start, end = order.index(group[0]), order.index(group[-1])
        lane = next((number for number, last in enumerate(ends) if last < start), len(ends))
        ends[lane : lane + 1] = [end]
        chosen.append(lane)
    return chosen
