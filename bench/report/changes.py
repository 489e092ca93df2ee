"""What changed between two results folders: for the page `changes.html` and the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from bench.errors import UserError
from bench.printing import print_line, print_table
from bench.report.formatting import ABSENT, measurement, number
from bench.report.records import HASH_LENGTH, HASHES, MISSING, PROVENANCE, Section, option_text, sections
from bench.report.soundness import sound
from bench.statistics.changes import (
    ADDED,
    CELL,
    CHANGED,
    OTHERWISE,
    REMOVED,
    SAME,
    SECTION,
    TRIAL,
    cell_changes,
    trial_changes,
)
from bench.storage.store import Store
from bench.words import listed, plural

PLACE = [name for name in TRIAL if name != "seed"]
VERSIONS = ["method_version", "dataset_version"]
SHOWN_LINES = 300
PRINTED_LINES = 20
CELL_HEADING = ("setting", "sweep", "dataset", "metric", "old", "new", "difference", "verdict", "rank")
TRIAL_HEADING = ("setting", "sweep", "trials", "change")


class ChangesError(UserError):
    """The folder to compare with holds no results; the message says where and what to do."""


@dataclass(frozen=True)
class Line:
    """A line of a table as texts, and the trial it leads to, if any."""

    texts: Sequence[str]
    trial_id: str = ""


@dataclass(frozen=True)
class Changes:
    """What changed since the results under `old`.

    trials, cells: as bench.statistics.changes gives them, with label and where (setting and dataset in words) and
    trial_id. environments: (column of PROVENANCE, what it was, what it is), of those that differ. problems: a sentence
    a file of the old results that could not be read.
    """

    old: Path
    trials: pd.DataFrame
    cells: pd.DataFrame
    environments: list[tuple[str, str, str]]
    problems: list[str]

    @property
    def summary(self) -> list[str]:
        """What changed, counted, and what of the old results is left out; a sentence each."""
        cells, trials = (frame["change"].value_counts().to_dict() for frame in (self.cells, self.trials))
        told = int(self.cells["told_apart"].fillna(False).sum())
        both = cells.get(SAME, 0) + cells.get(CHANGED, 0)
        sentences = [
            f"Of {plural(both, 'number')} in both, {cells.get(SAME, 0):,} are the same bit for bit; "
            f"{cells.get(CHANGED, 0):,} changed, and {told:,} of these can be told apart."
        ]
        if cells.get(OTHERWISE):
            sentences.append(f"{plural(cells[OTHERWISE], 'number')} measured otherwise now, and not compared.")
        if cells.get(ADDED) or cells.get(REMOVED):
            sentences.append(f"{plural(cells.get(ADDED, 0), 'number')} added, {cells.get(REMOVED, 0):,} removed.")
        counted = [f"{trials[change]:,} {change}" for change in (SAME, CHANGED, ADDED, REMOVED) if change in trials]
        return [*sentences, f"Trials: {', '.join(counted) or 'none'}.", *(f"Left out: {p}." for p in self.problems)]

    @property
    def tables(self) -> list[tuple[str, Sequence[str], list[Line]]]:
        """(title, heading, lines) of what there is to show."""
        changed = int((self.cells["change"] == CHANGED).sum())
        most = f", the {SHOWN_LINES} that changed most of {changed:,}" if changed > SHOWN_LINES else ""
        made: list[tuple[str, Sequence[str], list[Line]]] = [
            (f"Numbers that changed{most}", CELL_HEADING, self.changed_cells(SHOWN_LINES)),
            ("Other ranks of the same numbers", CELL_HEADING, self.moved_cells(SHOWN_LINES)),
            ("Measured otherwise", ("metric", "sweep", "numbers", "what differs"), self.otherwise()),
            ("Trials", TRIAL_HEADING, self.trial_lines()),
            ("Environments of the trials", ("", "was", "is"), [Line(texts) for texts in self.environments]),
        ]
        return [table for table in made if table[2]]

    def trial_lines(self) -> list[Line]:
        """Lines under TRIAL_HEADING: the trials of a setting that changed alike, together."""
        lines: dict[tuple[str, str, str], int] = {}
        kinds = self.trials.groupby([*SECTION, "setting"])["change"].nunique()
        for trial in self.trials[self.trials["change"] != SAME].to_dict("records"):
            whole = kinds[trial["sweep"], trial["scale"], trial["setting"]] == 1
            key = (trial["label"], f"{trial['sweep']}, {trial['scale']}", _trial_change(trial, whole=whole))
            lines[key] = lines.get(key, 0) + 1
        return [Line((label, sweep, f"{count:,}", change)) for (label, sweep, change), count in lines.items()]

    def changed_cells(self, limit: int) -> list[Line]:
        """The changed cells, those that changed most for their size first; at most `limit`."""
        changed = self.cells[self.cells["change"] == CHANGED]
        far = changed["difference"].abs() / changed[["old_mean", "new_mean"]].abs().max(axis=1)
        return _cell_lines(changed.loc[far.sort_values(ascending=False, kind="stable").index].head(limit))

    def moved_cells(self, limit: int) -> list[Line]:
        """Cells that are the same and have another rank, because others changed; at most `limit`."""
        moved = self.cells["old_rank"].fillna(0) != self.cells["new_rank"].fillna(0)
        return _cell_lines(self.cells[(self.cells["change"] == SAME) & moved].head(limit))

    def otherwise(self) -> list[Line]:
        """Metric, sweep, how many numbers, and what differs, of what is measured otherwise now."""
        cells = self.cells[self.cells["change"] == OTHERWISE]
        counts = cells.groupby([*SECTION, "metric", "differs"], sort=False).size().reset_index(name="cells")
        return [
            Line((line["metric"], f"{line['sweep']}, {line['scale']}", f"{line['cells']:,}", line["differs"]))
            for line in counts.to_dict("records")
        ]


def compare(old_dir: Path, new_dir: Path) -> Changes:
    """What changed from one results folder to another. Raises ChangesError where the old one holds no results.

    A setting is the same where method, hyperparameters and budget are; its versions may have changed, which is said.
    """
    if not any((Path(old_dir) / part).is_dir() for part in ("rows", "plans")):
        raise ChangesError(
            f"{old_dir} holds no results: it has neither rows/ nor plans/; "
            "name a folder that `run` wrote, with report --compare DIR"
        )
    results = [sound(Store(folder).read()) for folder in (old_dir, new_dir)]
    old, new = (sections(found, {}) for found in results)
    old_trials, new_trials = _trials(old), _trials(new)
    facts = [*TRIAL, "status", *VERSIONS]
    # Without a plan, a folder may hold a trial twice, from before and after one of its versions changed.
    trials = trial_changes(*(trials[facts].drop_duplicates(TRIAL, keep="last") for trials in (old_trials, new_trials)))
    cells = cell_changes(_rows(old), old_trials, _rows(new), new_trials)
    words = pd.concat([new_trials, old_trials])[[*TRIAL, "label", "where", "trial_id"]].drop_duplicates(TRIAL)
    cells = cells.merge(words.sort_values("seed").drop_duplicates(PLACE).drop(columns="seed"), on=PLACE, how="left")
    trials = trials.merge(words, on=TRIAL, how="left")
    return Changes(Path(old_dir), trials, cells, _environments(old_trials, new_trials), results[0].problems)


def print_changes(changes: Changes, console: Console) -> None:
    """The sentences, and the changed cells that matter most."""
    for sentence in changes.summary:
        print_line(console, sentence)
    cells = changes.changed_cells(PRINTED_LINES)
    if cells:
        print_table(console, CELL_HEADING, [cell.texts for cell in cells])
    changed = int((changes.cells["change"] == CHANGED).sum())
    if changed > len(cells):
        print_line(console, f"… and {changed - len(cells):,} more, on the page changes.html")


def _names(section: Section) -> dict[str, str]:
    """Key of a setting -> its name in both sets: without the method's version, unless that is all that differs."""
    bare = {
        key: json.dumps([setting.method, setting.params, setting.budget]) for key, setting in section.settings.items()
    }
    return {key: name if list(bare.values()).count(name) == 1 else key for key, name in bare.items()}


def _trials(found: Sequence[Section]) -> pd.DataFrame:
    columns = [*TRIAL, "status", "ranked", "label", "where", "trial_id", *VERSIONS, *PROVENANCE]
    frames = [pd.DataFrame(columns=columns)]
    for section in found:
        specs = [section.records[trial_id]["spec"] for trial_id in section.trials["trial_id"]]
        versions = {f"{part}_version": [spec[part]["version"] for spec in specs] for part in ("method", "dataset")}
        frame = section.trials.assign(sweep=section.sweep, scale=section.scale, **versions)
        frames.append(frame.assign(setting=frame["setting"].map(_names(section)))[columns])
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _rows(found: Sequence[Section]) -> pd.DataFrame:
    frames = [
        section.rows.assign(
            sweep=section.sweep, scale=section.scale, setting=section.rows["setting"].map(_names(section))
        )
        for section in found
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*CELL, "seed", "value"])


def _environments(old: pd.DataFrame, new: pd.DataFrame) -> list[tuple[str, str, str]]:
    ran = [trials[trials["status"] != MISSING] for trials in (old, new)]
    found = []
    for name in PROVENANCE:
        cut = HASH_LENGTH if name in HASHES else None
        values = [trials[name].dropna().astype(object).unique() for trials in ran]
        was, is_now = (listed(sorted({option_text(value)[:cut] for value in of_side}), limit=4) for of_side in values)
        if was != is_now:
            found.append((name.replace("_", " "), was or ABSENT, is_now or ABSENT))
    return found


def _trial_change(trial: Mapping[Any, Any], *, whole: bool) -> str:
    """What happened to a trial, in words. whole: to all of its setting's."""
    if trial["change"] in (ADDED, REMOVED):
        return f"{trial['change']}{', the whole setting' if whole else ''}"
    facts = [(name, trial[f"old_{name}"], trial[f"new_{name}"]) for name in ("status", *VERSIONS)]
    told = [
        (name.replace("_", " "), option_text(one), option_text(other)) for name, one, other in facts if one != other
    ]
    return ", ".join(f"{name} {one} → {other}" for name, one, other in told)


def _cell_lines(cells: pd.DataFrame) -> list[Line]:
    lines = []
    for cell in cells.to_dict("records"):
        means = [
            measurement(cell[f"{which}_mean"], None if pd.isna(half := cell[f"{which}_half_width"]) else half)
            for which in ("old", "new")
        ]
        ranks = [ABSENT if pd.isna(rank := cell[f"{which}_rank"]) else f"{rank:g}" for which in ("old", "new")]
        difference = ABSENT if pd.isna(cell["difference"]) else number(cell["difference"], signed=True)
        place = (cell["label"], f"{cell['sweep']}, {cell['scale']}", cell["where"], cell["metric"])
        shows = means[0] != means[1]  # the digits are those that the interval supports
        verdict = _verdict(cell) if shows or cell["change"] == SAME else "same to these digits"
        texts = (*place, *means, difference, verdict, " → ".join(dict.fromkeys(ranks)))
        lines.append(Line(texts, cell["trial_id"]))
    return lines


def _verdict(cell: Mapping[Any, Any]) -> str:
    if cell["change"] == SAME:
        return "same"
    if not cell["told_apart"]:
        return "not told apart"
    if cell["new_direction"] not in ("min", "max"):
        return "different"
    return "better" if (cell["difference"] < 0) == (cell["new_direction"] == "min") else "worse"
