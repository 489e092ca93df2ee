"""A trial as its page shows it, and all trials as a list a browser can search."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.commands import results_option, run_again
from bench.report.columns import DATASET, told_protocol
from bench.report.lines import Run, panel
from bench.report.pictures import Picture
from bench.report.records import PROVENANCE, Section, option_text
from bench.report.sweep_view import Line, SweepView, as_lines, budget_text

MEASURED = ["trial_id", "metric", "table", "split", "value", "n_samples", "protocol", "metric_version", "reason"]


@dataclass
class TrialView:
    """A trial with everything of it.

    line: its line among the section's trials. sections: those it stands in; rows are those of the first. environment:
    (name, value) of what is known of it. siblings: the same with other seeds. command: runs it again.
    """

    line: Line
    record: Mapping[str, Any]
    sections: list[Section]
    rows: list[Line]
    environment: list[tuple[str, Any]]
    siblings: list[Line]
    panels: list[str]
    pictures: list[Picture]
    command: str

    @property
    def changed(self) -> Mapping[str, Any]:
        return dict(self.record.get("about", {}).get("method", {}).get("changed", {}))

    @property
    def settings(self) -> dict[str, str]:
        return {name: option_text(value) for name, value in self.record["spec"]["method"]["params"].items()}

    @property
    def dataset_settings(self) -> dict[str, str]:
        return {name: option_text(value) for name, value in self.record["spec"]["dataset"]["options"].items()}

    @property
    def budget(self) -> str:
        return budget_text(self.record["spec"]["budget"])


def trial_views(
    found: Sequence[Section],
    runs: Mapping[str, list[Run]],
    pictures: Mapping[str, list[Picture]],
    colors: Mapping[str, str],
    results: Path,
) -> Iterator[TrialView]:
    """Each trial of these results once, with all sections it stands in. runs, pictures: of those that have any."""
    places: dict[str, list[Section]] = {}
    for section in found:
        for trial_id in section.records:
            places.setdefault(trial_id, []).append(section)
    told: dict[tuple[Any, ...], str] = {}
    where = results_option(results)
    for section in found:
        measured = _by_trial(as_lines(section.rows[MEASURED]))
        trials = as_lines(section.trials)
        seeds: dict[tuple[Any, ...], list[Line]] = {}
        for line in trials:
            seeds.setdefault((line["setting"], *(line[name] for name in DATASET)), []).append(line)
        for line in trials:
            trial_id = line["trial_id"]
            if places[trial_id][0] is not section:
                continue  # it has its page already
            rows = measured.get(trial_id, [])
            for row in rows:
                key = (row["metric"], row["n_samples"], row["split"], row["protocol"], row["metric_version"])
                if key not in told:
                    told[key] = told_protocol(row, section.outputs[row["metric"]]["source"])
                row["how"] = told[key]
            same = seeds[(line["setting"], *(line[name] for name in DATASET))]
            yield TrialView(
                line,
                section.records[trial_id],
                places[trial_id],
                rows,
                [(name, line[name]) for name in PROVENANCE if line[name] is not None],
                [other for other in same if other["trial_id"] != trial_id],
                [panel([run], run.title, colors[line["method"]]) for run in runs.get(trial_id, [])],
                pictures.get(trial_id, []),
                run_again(trial_id, section.scale, where),
            )


def listing(views: Sequence[SweepView], addresses: Mapping[str, str]) -> str:
    """All trials as a script that sets `trials`: lists of texts, and lines that refer to them by number.

    A line is [id, setting, method, dataset, sweep, seed, status, seconds of training, address where it is not the id].
    """
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    lines = []
    for view in views:
        sweep = number(f"{view.section.sweep}-{view.section.scale}")
        columns = ("trial_id", "label", "method", "where", "seed", "status", "train_seconds")
        for trial_id, label, method, where, seed, status, seconds in view.section.trials[[*columns]].itertuples(
            index=False, name=None
        ):
            took = None if seconds is None or seconds != seconds else float(f"{seconds:.3g}")
            line = [trial_id, number(label), number(method), number(where), sweep, int(seed), number(status), took]
            address = addresses[trial_id]
            lines.append(line if address == f"trials/{trial_id}.html" else [*line, address])
    data = {"texts": list(texts), "lines": lines}
    return f"const trials = {json.dumps(data, separators=(',', ':'), ensure_ascii=True, allow_nan=False)};\n"


def _by_trial(lines: Sequence[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line["trial_id"], []).append(line)
    return found
