"""One color a method, the same in the whole report: a hue a family from Okabe and Ito's palette, shades within it.

All have a contrast of 3 or more with the dark page, and of 1.89 or more with the white one, on which the palette's own
orange has 2.25: with more of both, six shades could not be told apart. A name stands beside each color.
"""

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
LUMINANCES = tuple(0.185 * (0.55 / 0.185) ** (step / 5) - 0.05 for step in range(6))
"""As WCAG defines it, of a hue's shades: each has 1.24 times the contrast of the one before."""
MUTED = (0.0, 0.5, 0.75)
"""How much grey is in the first six methods of a family, the next six, and the six after these."""


def method_colors(methods: Iterable[tuple[str, str]]) -> dict[str, str]:
    """method -> "#rrggbb", from (method, family) pairs. Colors repeat beyond 18 methods of a family."""
    by_family: dict[str, list[str]] = {}
    for method, family in sorted(set(methods), key=lambda pair: (pair[1], pair[0])):
        by_family.setdefault(family, []).append(method)
    colors: dict[str, str] = {}
    for family, names in by_family.items():
        shades = _shades(HUES.get(family, OTHER_HUE))
        colors |= {name: shades[place % len(shades)] for place, name in enumerate(names)}
    return colors


def luminance(color: str) -> float:
    """WCAG's relative luminance of "#rrggbb"."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colors, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _shades(hue: str) -> list[str]:
    """The hue itself, then the shades farthest from those before, then the same with grey in them."""
    own = luminance(hue)
    rest = sorted(LUMINANCES, key=lambda level: abs(level - own))[1:]  # the hue stands for the one nearest to it
    levels = [own]
    while rest:
        levels.append(max(rest, key=lambda level: min(abs(level - taken) for taken in levels)))
        rest.remove(levels[-1])
    shades = [_shade(hue, level, muted) for muted in MUTED for level in levels]
    return [hue.lower(), *shades[1:]]


def _shade(hue: str, level: float, muted: float) -> str:
    """The hue with so much grey in it, made lighter or darker up to a luminance."""
    gray = sum(_channels(hue)) / 3
    base = [c + (gray - c) * muted for c in _channels(hue)]
    low, high = -1.0, 1.0  # from black to white
    for _ in range(20):
        amount = (low + high) / 2
        color = _hex([c + ((amount > 0) - c) * abs(amount) for c in base])
        low, high = (amount, high) if luminance(color) < level else (low, amount)
    return color


def _channels(color: str) -> list[float]:
    return [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def _hex(channels: Iterable[float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
