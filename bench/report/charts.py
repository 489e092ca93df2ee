"""Charts: data frames in, Altair charts out. Ours filled and in the method's color, published values hollow and grey.

Every chart has a parameter `picked`, the method to bring out, which the page sets in all charts at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from bench.report.formatting import unit
from bench.report.labels import SIDES, label_sides, spread_apart

PUBLISHED = "#888888"
WIDTH, HEIGHT = 572, 330
PANEL_WIDTH, LINE_HEIGHT = 364, 20
LABEL_SIZE = 11
CHARACTER = 6.2
"""Pixels a character of a label takes, about."""


@dataclass(frozen=True)
class Axis:
    """What an axis shows: its title says metric, unit and which way is better; `ticks` fixes where its labels stand."""

    title: str
    log: bool = False
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart with its place (slug, for file names), its title and a caption; `folded` away until it is asked for."""

    slug: str
    title: str
    caption: str
    spec: dict[str, Any]
    folded: bool = False

    @property
    def height(self) -> int:
        """Pixels the page keeps free for it until it is drawn, so that nothing moves."""
        return int(self.spec.get("height", 130))

    @classmethod
    def of(cls, slug: str, title: str, caption: str, chart: alt.TopLevelMixin) -> Chart:
        """Compiled to Vega-Lite; Altair's limit of 5,000 rows is for notebooks and does not hold here."""
        with alt.data_transformers.enable("default", max_rows=None):
            return cls(slug, title, caption, chart.to_dict(validate=False))


def metric_axis(metric: str, about: Mapping[str, Any], values: Sequence[float]) -> Axis:
    """Logarithmic where the values are positive and span more than a factor of 4."""
    better = {"min": "lower is better", "max": "higher is better"}.get(about["direction"], "")
    name = ", ".join(filter(None, [metric, unit(about["unit"])]))
    title = f"{name} ({better})" if name and better else name or better
    if len(values) and min(values) > 0 and max(values) > 4 * min(values):
        return log_axis(title, values)
    return Axis(title)


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis labeled at powers of ten, and where these are few at twice and five times them too."""
    low, high = math.log10(min(values)), math.log10(max(values))
    factors = (1,) if high - low > 2 else (1, 2, 5)
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)
    return Axis(title, log=True, ticks=tuple(float(f"{factor}e{decade}") for decade in decades for factor in factors))


def seeds_by_setting(
    points: pd.DataFrame, means: pd.DataFrame, axis: Axis, colors: Mapping[str, str]
) -> alt.LayerChart:
    """A line a setting: every seed a faint dot, mean and interval over it, the published value a hollow diamond.

    points: label, method, seed, value. means: label, method, mean, low, high (NaN for one seed), published (NaN where
    there is none), printed; in the order of the lines.
    """
    labels = alt.Axis(labelLimit=190, ticks=False, domain=False, grid=True)
    y = alt.Y("label:N", sort=list(means["label"]), title=None, axis=labels)
    color = color_channel(colors)
    intervals, known = _intervals(means, points, axis), means.dropna(subset=["published"])
    layers: list[Any] = [
        alt.Chart(points)
        .mark_circle(size=30)
        .encode(
            x=x_channel("value", axis), y=y, color=color, opacity=picked(0.4), tooltip=tooltip("label", "seed", "value")
        ),
        alt.Chart(intervals)
        .mark_rule(strokeWidth=2)
        .encode(x=x_channel("low", axis), x2="high:Q", y=y, color=color, opacity=picked()),
        alt.Chart(means)
        .mark_tick(thickness=2.5, size=13)
        .encode(x=x_channel("mean", axis), y=y, color=color, opacity=picked(), tooltip=tooltip("label", "mean")),
        alt.Chart(known)
        .mark_point(shape="diamond", size=60, filled=False, color=PUBLISHED)
        .encode(x=x_channel("published", axis), y=y, tooltip=tooltip("label", "printed")),
    ]
    return finished(layers, PANEL_WIDTH, LINE_HEIGHT * len(means) + 45)


def against_option(
    points: pd.DataFrame,
    means: pd.DataFrame,
    published: pd.DataFrame,
    x_axis: Axis,
    y_axis: Axis,
    colors: Mapping[str, str],
) -> alt.LayerChart:
    """A line a setting over a numeric option, with every seed; published curves dashed, hollow and grey.

    points: label, method, seed, x, value. means: label, method, x, mean, low, high. published: label, method, x,
    value, printed. Lines are labeled at their right ends.
    """
    color = color_channel(colors)
    intervals = _intervals(means, points, y_axis)
    layers: list[Any] = [
        alt.Chart(means)
        .mark_line(strokeWidth=1.8)
        .encode(x=x_channel("x", x_axis), y=y_channel("mean", y_axis), color=color, detail="label:N", opacity=picked()),
        alt.Chart(intervals)
        .mark_rule(strokeWidth=1.5)
        .encode(x=x_channel("x", x_axis), y=y_channel("low", y_axis), y2="high:Q", color=color, opacity=picked(0.8)),
        alt.Chart(points)
        .mark_circle(size=26)
        .encode(
            x=x_channel("x", x_axis),
            y=y_channel("value", y_axis),
            color=color,
            opacity=picked(0.45),
            tooltip=tooltip("label", "seed", "x", "value"),
        ),
        alt.Chart(published)
        .mark_line(strokeDash=[2, 3], strokeWidth=1.2, color=PUBLISHED)
        .encode(x=x_channel("x", x_axis), y=y_channel("value", y_axis), detail="label:N", opacity=picked()),
        alt.Chart(published)
        .mark_point(size=45, strokeWidth=1.2, filled=False, color=PUBLISHED)
        .encode(
            x=x_channel("x", x_axis),
            y=y_channel("value", y_axis),
            opacity=picked(),
            tooltip=tooltip("label", "x", "printed"),
        ),
    ]
    ends = pd.concat([_right_ends(means, "mean"), _right_ends(published, "value")])
    low, high = _range([points["value"], published["value"], intervals["low"], intervals["high"]])
    ends["at"] = spread_apart(list(ends["end"]), low, high, y_axis.log, gap=1.15 * LABEL_SIZE / (HEIGHT - 60))
    ends["x"] = ends["x"].max()
    layers.append(
        alt.Chart(ends)
        .mark_text(align="left", dx=8, fontSize=LABEL_SIZE)
        .encode(
            x=x_channel("x", x_axis),
            y=y_channel("at", y_axis),
            text="label:N",
            opacity=picked(),
        )
    )
    return finished(layers, WIDTH, HEIGHT)


def scatter(
    means: pd.DataFrame, x_axis: Axis, y_axis: Axis, colors: Mapping[str, str], front: Sequence[str] = ()
) -> alt.LayerChart:
    """Mean against mean, a point a setting with its name beside it; a line in steps through those on a front.

    means: label, method, x, y. front: labels.
    """
    color = color_channel(colors)
    position = {"x": x_channel("x", x_axis), "y": y_channel("y", y_axis)}
    layers: list[Any] = [
        alt.Chart(means[means["label"].isin(front)])
        .mark_line(interpolate="step-after", strokeWidth=1, opacity=0.6, color=PUBLISHED)
        .encode(**position),
        alt.Chart(means)
        .mark_circle(size=70)
        .encode(**position, color=color, opacity=picked(), tooltip=tooltip("label", "x", "y")),
    ]
    size = (WIDTH - 70, HEIGHT - 50)
    sides = label_sides(
        _unit(means["x"], x_axis.log), _unit(means["y"], y_axis.log), list(means["label"]), size, CHARACTER
    )
    for side, (align, dx, dy) in SIDES.items():
        here = means[[chosen == side for chosen in sides]]
        if len(here):
            chart: Any = alt.Chart(here)
            mark = chart.mark_text(align=align, dx=dx, dy=dy, fontSize=LABEL_SIZE)
            layers.append(mark.encode(**position, text="label:N", opacity=picked()))
    return finished(layers, WIDTH, HEIGHT)


def training_curves(curves: pd.DataFrame, colors: Mapping[str, str]) -> alt.FacetChart:
    """Small multiples, one a setting: its first loss over steps, a line a run.

    curves: panel, method, run, step, value; panels in the order of their first line.
    """
    line = (
        alt.Chart(curves)
        .mark_line(strokeWidth=1.2)
        .encode(
            x=alt.X("step:Q", title=None, axis=alt.Axis(tickCount=3, format=",d", grid=False)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=3, format=",.3~g")),
            detail="run:N",
            color=color_channel(colors),
            opacity=picked(0.8),
            tooltip=tooltip("panel", "run", "step", "value"),
        )
        .properties(width=165, height=90)
    )
    header = alt.Header(
        labelFontSize=LABEL_SIZE, labelFontWeight="normal", labelLimit=190, title=None, labelAnchor="start"
    )
    panels = alt.Facet("panel:N", sort=list(dict.fromkeys(curves["panel"])), header=header)
    faceted = line.facet(facet=panels, columns=4, spacing=18).resolve_scale(x="independent", y="independent")
    return faceted.add_params(alt.param(name="picked", value=""))


def finished(layers: Sequence[Any], width: float, height: float) -> alt.LayerChart:
    """The layers that have data, with the parameter, on a total size that includes axes and labels."""
    layered: Any = alt.layer(*(layer for layer in layers if len(layer.data)))
    return layered.add_params(alt.param(name="picked", value="")).properties(
        width=width,
        height=height,
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        padding={"left": 4, "top": 8, "bottom": 4, "right": 8},
    )


def x_channel(field: str, axis: Axis) -> alt.X:
    """A quantity across, without grid lines."""
    return alt.X(field, type="quantitative", title=axis.title, scale=_scale(axis), axis=_ticks(axis, grid=False))


def y_channel(field: str, axis: Axis) -> alt.Y:
    """A quantity upwards, with grid lines."""
    return alt.Y(field, type="quantitative", title=axis.title, scale=_scale(axis), axis=_ticks(axis, grid=True))


def _scale(axis: Axis) -> alt.Scale:
    return alt.Scale(type="log", nice=False, padding=8) if axis.log else alt.Scale(zero=False, padding=8)


def _ticks(axis: Axis, *, grid: bool) -> alt.Axis:
    if axis.ticks:
        return alt.Axis(grid=grid, labelOverlap=True, values=list(axis.ticks), format="~g")
    return alt.Axis(grid=grid, labelOverlap=True, tickCount=4)


def color_channel(colors: Mapping[str, str]) -> alt.Color:
    """The color of the field `method`, without legend."""
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    return alt.Color("method:N", legend=None, scale=scale)


def picked(opacity: float = 1.0) -> Any:
    """Full strength for the picked method, and for all while none is picked."""
    return alt.condition("picked == '' || datum.method == picked", alt.value(opacity), alt.value(0.08))


def _intervals(means: pd.DataFrame, points: pd.DataFrame, axis: Axis) -> pd.DataFrame:
    """The lines that have an interval, cut a quarter of the points' range beyond them.

    With two seeds an interval can be many times as wide as everything else, and would hide it.
    """
    low, high = float(points["value"].min()), float(points["value"].max())
    if axis.log:
        margin = (high / low) ** 0.25
        low, high = low / margin, high * margin
    else:
        margin = (high - low) / 4
        low, high = low - margin, high + margin
    known = means.dropna(subset=["low"])
    return known.assign(low=known["low"].clip(low, high), high=known["high"].clip(low, high))


def tooltip(*fields: str) -> list[alt.Tooltip]:
    """What hovering shows: names as they are, numbers to four digits."""
    texts = ("label", "panel", "run", "printed")
    return [
        alt.Tooltip(field, type="nominal") if field in texts else alt.Tooltip(field, type="quantitative", format=".4~g")
        for field in fields
    ]


def _right_ends(lines: pd.DataFrame, field: str) -> pd.DataFrame:
    """The last point of each line: label, method, x, end."""
    last = lines.sort_values("x", kind="stable").drop_duplicates("label", keep="last")
    return last.rename(columns={field: "end"})[["label", "method", "x", "end"]]


def _range(columns: Sequence[pd.Series]) -> tuple[float, float]:
    values = pd.concat(columns).dropna().astype(float)
    return float(values.min()), float(values.max())


def _unit(values: pd.Series, log: bool) -> list[float]:
    """Values on the unit interval, as the axis will place them."""
    placed = [math.log(value) if log else float(value) for value in values]
    low, high = min(placed), max(placed)
    return [(value - low) / ((high - low) or 1) for value in placed]
