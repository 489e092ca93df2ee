"""Small drawings as SVG: points in panels side by side, and a matrix as a heat map.

Frames, ticks and words take the page's colors, light or dark; points and cells take the method's, or their label's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

SIDE = 200
"""Side of a panel in pixels; within it, places are whole numbers of tenths of a pixel."""
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 20, 36
LEGEND = 20
LABEL_COLORS = (
    *("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f"),
    *("#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac"),
)
"""Tableau 10."""
LEVELS = 20
"""Opacities that a heat map tells apart."""

Ticks = list[tuple[float, str]]
"""Places on the unit interval, and what stands there."""


@dataclass(frozen=True)
class Axis:
    """From what value to what, upwards or to the right."""

    title: str
    low: float
    high: float

    def place(self, values: pd.Series) -> pd.Series:
        """Values on the unit interval, as far as they are within the axis."""
        return (values - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> Ticks:
        """Two to five round numbers."""
        half = (self.high - self.low) / 2
        magnitude = 10.0 ** math.floor(math.log10(half))
        step = next((factor for factor in (5, 2) if factor * magnitude <= half), 1) * magnitude
        values = [k * step for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [((value - self.low) / (self.high - self.low), f"{value:.6g}".replace("-", "−")) for value in values]


def transport(points: pd.DataFrame, color: str, title: str) -> str:
    """Points of a map in one panel: set ("source", "target" and "pushed"), x, y.

    Raises ValueError where there are none of the target, which the panel is laid around.
    """
    sets = {str(name): frame[["x", "y"]].astype(float).dropna() for name, frame in points.groupby("set")}
    reference = sets.get("target")
    if reference is None or reference.empty:
        raise ValueError("there are no points of the target")
    x, y = _square(reference["x"], reference["y"], reach=1.25)
    paths = [
        _dots(sets[name], x, y, f' class="{name}"' + (f' stroke="{color}"' if name == "pushed" else ""))
        for name in ("source", "target", "pushed")
        if name in sets
    ]
    return _svg("points", SIDE, SIDE, title, _field(paths))


def latent_plane(points: pd.DataFrame, color: str, title: str) -> str:
    """A panel a set, on the same axes of equal units: set, label, and two coordinates, whose columns name the axes."""
    first, second = _coordinates(points)
    finite = _finite(points, first, second)
    return _panels(finite, *_square(finite[first], finite[second], reach=1.05), color, title)


def isometry(points: pd.DataFrame, color: str, title: str) -> str:
    """A panel a set, on the same axes from 0: set, and two distances, whose columns name the axes."""
    first, second = _coordinates(points)
    finite = _finite(points, first, second)
    x, y = (Axis(name, 0, max(1.05 * _quantile(finite[name], 0.995), 1e-9)) for name in (first, second))
    return _panels(finite, x, y, color, title)


def causal_mask(cells: pd.DataFrame, color: str, title: str) -> str:
    """A heat map: row `effect` and column `cause`, from 1, `strength` from 0, nothing drawn, to 1, full color."""
    size = int(cells[["effect", "cause"]].max().max())
    edge = 10 * SIDE / size
    levels = (cells["strength"].clip(0, 1) * LEVELS).round().astype(int)
    paths = []
    for level, group in cells.groupby(levels):
        if level:
            squares = "".join(
                f"M{(cause - 1) * edge:.0f} {(effect - 1) * edge:.0f}h{edge:.0f}v{edge:.0f}h{-edge:.0f}z"
                for effect, cause in group[["effect", "cause"]].itertuples(index=False)
            )
            paths.append(f'<path class="cell" fill="{color}" fill-opacity="{level / LEVELS:g}" d="{squares}"/>')
    numbers = range(1, size + 1, math.ceil(size / 8))
    across = [((number - 0.5) / size, str(number)) for number in numbers]
    down = [(1 - at, text) for at, text in across]
    body = _panel(0, "", _field(paths), ("cause, dimension", across), ("effect, dimension", down))
    return _svg("panels", LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM, title, body)


def _panels(points: pd.DataFrame, x: Axis, y: Axis, color: str, title: str) -> str:
    labels = sorted(set(points.get("label", pd.Series(dtype=str))) - {""}, key=lambda label: (len(label), label))
    colors = dict(zip(labels, LABEL_COLORS, strict=False)) if len(labels) <= len(LABEL_COLORS) else {}
    body = []
    for position, (name, frame) in enumerate(points.groupby("set", sort=False)):
        of = frame["label"].map(colors).fillna(color) if colors else pd.Series(color, frame.index)
        paths = [_dots(group[[x.title, y.title]], x, y, f' stroke="{stroke}"') for stroke, group in frame.groupby(of)]
        named = (y.title if position == 0 else "", y.ticks if position == 0 else [])
        body.append(_panel(position * (SIDE + RIGHT), str(name), _field(paths), (x.title, x.ticks), named))
    width = LEFT + len(body) * (SIDE + RIGHT)
    height = TOP + SIDE + BOTTOM
    if colors:
        keys = "".join(f'<tspan fill="{c}" dx="5">●</tspan> {escape(label)}' for label, c in colors.items())
        body.append(f'<text x="{LEFT - 5}" y="{height + LEGEND - 8}">class{keys}</text>')
    return _svg("panels", width, height + LEGEND * bool(colors), title, "".join(body))


def _panel(shift: int, name: str, field: str, x: tuple[str, Ticks], y: tuple[str, Ticks]) -> str:
    """A framed field with its name above, and the titles and ticks of its axes."""
    texts = [f'<text x="0" y="-7">{escape(name)}</text>']
    for at, text in x[1]:
        texts.append(f'<text x="{at * SIDE:.1f}" y="{SIDE + 13}" text-anchor="middle">{text}</text>')
    for at, text in y[1]:
        texts.append(f'<text x="-5" y="{(1 - at) * SIDE + 3.5:.1f}" text-anchor="end">{text}</text>')
    texts.append(f'<text x="{SIDE / 2:g}" y="{SIDE + 28}" text-anchor="middle">{escape(x[0])}</text>')
    upwards = f'transform="translate(-34 {SIDE / 2:g}) rotate(-90)"'
    texts.append(f'<text {upwards} text-anchor="middle">{escape(y[0])}</text>')
    frame = f'<rect width="{SIDE}" height="{SIDE}"/>'
    return f'<g transform="translate({LEFT + shift} {TOP})">{frame}{field}{"".join(texts)}</g>'


def _field(paths: Sequence[str]) -> str:
    """Paths in tenths of a pixel, cut at the edges of the panel."""
    return f'<svg width="{SIDE}" height="{SIDE}" viewBox="0 0 {10 * SIDE} {10 * SIDE}">{"".join(paths)}</svg>'


def _dots(points: pd.DataFrame, x: Axis, y: Axis, attributes: str) -> str:
    """Two columns of points as one path; those beyond the axes are left out."""
    placed = np.stack([x.place(points.iloc[:, 0]), 1 - y.place(points.iloc[:, 1])], axis=1)
    inside = placed[((placed >= 0) & (placed <= 1)).all(axis=1)]
    dots = "".join(f"M{across} {down}h0" for across, down in np.rint(inside * 10 * SIDE).astype(int))
    return f'<path{attributes} d="{dots}"/>'


def _square(x: pd.Series, y: pd.Series, reach: float) -> tuple[Axis, Axis]:
    """Axes of one unit around nearly all points: `reach` times as far from their center as the farthest of these."""
    ends = [(_quantile(values, 0.002), _quantile(values, 0.998)) for values in (x, y)]
    half = reach * max(max((high - low) / 2 for low, high in ends), 1e-9)
    centers = [(low + high) / 2 for low, high in ends]
    first, second = (
        Axis(str(values.name), center - half, center + half) for values, center in zip((x, y), centers, strict=True)
    )
    return first, second


def _finite(points: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The points with two finite coordinates. Raises ValueError where there are none."""
    finite = points.loc[np.isfinite(points[[first, second]].to_numpy(float)).all(axis=1)]
    if finite.empty:
        raise ValueError("there are no finite points")
    return finite


def _quantile(values: pd.Series, at: float) -> float:
    return float(values.astype(float).quantile(at))


def _coordinates(points: pd.DataFrame) -> tuple[str, str]:
    """The two columns that are neither set nor label."""
    first, second = (str(name) for name in points.columns if name not in ("set", "label"))
    return first, second


def _svg(kind: str, width: int, height: int, title: str, body: str) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg class="{kind}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" {size}>'
    return f"{head}{body}</svg>"
