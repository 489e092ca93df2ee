"""Training curves as small drawings that need no script: one panel a loss, a line a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import cast

import numpy as np
import pandas as pd

from bench.report.drawings import Axis

WIDTH, HEIGHT = 160, 84
"""Of the field of a panel in pixels; within it, places are whole numbers of tenths of a pixel."""
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 18, 20
POINTS = 80
"""Of a line, at most."""


@dataclass(frozen=True)
class Run:
    """One curve of a trial: its stage ("train" where not said otherwise), its name, steps and finite values."""

    stage: str
    name: str
    steps: np.ndarray
    values: np.ndarray

    @property
    def title(self) -> str:
        return self.name if self.stage == "train" else f"{self.name}, {self.stage}"


def runs_by_trial(curves: pd.DataFrame) -> dict[str, list[Run]]:
    """trial_id -> its curves, those of training first, thinned to what a small panel can show.

    curves: columns of the store's curves. What was recorded twice under one step, by two sweeps, is taken once.
    """
    known = curves[np.isfinite(curves["value"].astype(float))]
    known = known.drop_duplicates(["trial_id", "stage", "name", "step"], ignore_index=True)
    steps, values = known["step"].to_numpy(), known["value"].to_numpy(float)
    found: dict[str, list[Run]] = {}
    for key, places in known.groupby(["trial_id", "stage", "name"], sort=False).indices.items():
        trial_id, stage, name = cast(tuple[str, str, str], key)
        kept = places[np.linspace(0, len(places) - 1, min(len(places), POINTS)).round().astype(int)]
        found.setdefault(trial_id, []).append(Run(stage, name, steps[kept], values[kept]))
    for runs in found.values():
        runs.sort(key=lambda run: run.stage != "train")
    return found


def panel(runs: Sequence[Run], title: str, color: str) -> str:
    """Runs over their updates as SVG, on axes around all of them; what they come to stands in its label."""
    low, high = (float(choose([choose(run.values) for run in runs])) for choose in (min, max))
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    y = Axis("", low - margin, high + margin)
    first, last = (float(choose([choose(run.steps) for run in runs])) for choose in (min, max))
    length = (last - first) or 1.0
    paths = "".join(_path((run.steps - first) / length, (run.values - y.low) / (y.high - y.low)) for run in runs)
    texts = [f'<text x="0" y="-6" class="title">{escape(title)}</text>']
    for at, text in y.ticks:
        texts.append(f'<text x="-5" y="{(1 - at) * HEIGHT + 3.5:.1f}" text-anchor="end">{text}</text>')
        texts.append(f'<path class="grid" d="M0 {(1 - at) * HEIGHT:.1f}h{WIDTH}"/>')
    texts.append(f'<text x="0" y="{HEIGHT + 14}">{first:,.0f}</text>')
    if last > first:
        texts.append(f'<text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end">{last:,.0f}</text>')
    ends = ", ".join(f"{run.values[-1]:.3g}" for run in runs)
    label = f"{title}: from {runs[0].values[0]:.3g} to {ends} after {last:,.0f} updates"
    size = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM)
    return (
        f'<svg class="lines" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}"'
        f' viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" height="{size[1]}">'
        f'<g transform="translate({LEFT} {TOP})">{"".join(texts)}'
        f'<g transform="scale(.1)" fill="none" stroke="{color}">{paths}</g></g></svg>'
    )


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """A line through points on the unit square; a lone point as a dot."""
    across = np.rint(x * 10 * WIDTH).astype(int).tolist()
    down = np.rint((1 - y) * 10 * HEIGHT).astype(int).tolist()
    line = "L".join(f"{left} {top}" for left, top in zip(across, down, strict=True))
    return f'<path d="M{line}{"h0" if len(across) == 1 else ""}"/>'
