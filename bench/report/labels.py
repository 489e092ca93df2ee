"""Where direct labels go so that they do not lie on one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

SIDES = {"right": ("left", 8, 0), "left": ("right", -8, 0), "above": ("center", 0, -11), "below": ("center", 0, 12)}
"""Where a label may stand by its point: text alignment and offsets in pixels."""
LINE = 12.0
"""Height of a label in pixels."""

Box = tuple[float, float, float, float]


def spread_apart(values: Sequence[float], low: float, high: float, log: bool, gap: float) -> list[float]:
    """Values moved as little as it takes to stand `gap` apart; the gap is a fraction of the axis from low to high.

    Neighbors that are too close are merged into a block about their mean, as in isotonic regression.
    """
    place = math.log if log else float
    start, length = place(low), (place(high) - place(low)) or 1.0
    wanted = [(place(value) - start) / length for value in values]
    order = sorted(range(len(values)), key=lambda index: wanted[index])
    blocks: list[list[int]] = []
    for index in order:
        blocks.append([index])
        while len(blocks) > 1 and _bottom(blocks[-1], wanted, gap) < _top(blocks[-2], wanted, gap) + gap:
            last = blocks.pop()
            blocks[-1] += last
    placed = [0.0] * len(values)
    for block in blocks:
        for position, index in enumerate(block):
            placed[index] = _bottom(block, wanted, gap) + position * gap
    scaled = [start + at * length for at in placed]
    return [math.exp(at) for at in scaled] if log else scaled


def label_sides(
    x: Sequence[float], y: Sequence[float], texts: Sequence[str], size: tuple[float, float], character: float
) -> list[str]:
    """A side of SIDES for each point's label, greedily the one that overlaps least with points and earlier labels.

    x and y are on the unit interval; size is the plot's (width, height) in pixels.
    """
    width, height = size
    points = [(px * width, (1 - py) * height) for px, py in zip(x, y, strict=True)]
    taken: list[Box] = [(px - 5, py - 5, px + 5, py + 5) for px, py in points]
    sides = []
    for (px, py), text in zip(points, texts, strict=True):
        boxes = {side: _label_box(px, py, side, character * len(text)) for side in SIDES}
        costs = {
            side: sum(_overlap(box, other) for other in taken) + _outside(box, width) for side, box in boxes.items()
        }
        best = min(SIDES, key=lambda side: costs[side])
        sides.append(best)
        taken.append(boxes[best])
    return sides


def _bottom(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    return sum(wanted[index] for index in block) / len(block) - gap * (len(block) - 1) / 2


def _top(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    return _bottom(block, wanted, gap) + gap * (len(block) - 1)


def _label_box(x: float, y: float, side: str, length: float) -> Box:
    align, dx, dy = SIDES[side]
    left = x + dx - {"left": 0, "center": length / 2, "right": length}[align]
    return left, y + dy - LINE / 2, left + length, y + dy + LINE / 2


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)


def _outside(box: Box, width: float) -> float:
    return LINE * (max(-box[0], 0.0) + max(box[2] - width, 0.0))
