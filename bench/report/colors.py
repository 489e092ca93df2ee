"""One color a method, the same in the whole report: a hue a family from Okabe and Ito's palette, shades within it."""

from __future__ import annotations

from collections.abc import Iterable

HUES = {
    "AE": "#CC79A7",
    "VAE": "#0072B2",
    "WAE": "#E69F00",
    "GW": "#009E73",
    "OT map": "#D55E00",
    "reference": "#8C8C8C",
}
OTHER_HUE = "#56B4E9"
SHADES = (0.0, 0.4, -0.3, 0.6, -0.45, 0.2)
"""Towards white where positive, towards black where negative, for the methods of a family in turn."""


def method_colors(methods: Iterable[tuple[str, str]]) -> dict[str, str]:
    """method -> "#rrggbb", from (method, family) pairs."""
    colors: dict[str, str] = {}
    taken: dict[str, int] = {}
    for method, family in sorted(set(methods), key=lambda pair: (pair[1], pair[0])):
        position = taken.get(family, 0)
        taken[family] = position + 1
        colors[method] = _shade(HUES.get(family, OTHER_HUE), SHADES[position % len(SHADES)])
    return colors


def _shade(color: str, amount: float) -> str:
    target = 255 if amount > 0 else 0
    channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (target - c) * abs(amount)):02x}" for c in channels)
