"""What changed between two sets of results: of their trials, and of the cells of their leaderboards.

Numbers are compared only within one BOARD key. What is measured otherwise now (by another version of the metric,
another protocol, with another number of samples) is said to be so, with what differs, and is not compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.statistics.leaderboards import BOARD, distinguishable, leaderboard

SECTION = ["sweep", "scale"]
TRIAL = [*SECTION, "setting", "dataset", "dataset_options", "seed"]
CELL = [*SECTION, *BOARD, "setting"]
QUANTITY = [*SECTION, "setting", "dataset", "dataset_options", "split", "metric"]
"""What a cell is of, however it was measured."""
FACTS = ["direction", "mean", "half_width", "n_ok", "rank"]
NUMBERS = ["dataset_version", "metric_version", "n_samples"]
"""The columns of BOARD that hold numbers."""
SAME, CHANGED, ADDED, REMOVED, OTHERWISE = "same", "changed", "added", "removed", "measured otherwise"


def trial_changes(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """One line a trial of either set, those of the new one first.

    Args:
        old, new: TRIAL, one line each, and at least one column more, the same in both, that may change.

    Returns:
        TRIAL, each other column with `new_` and `old_` before its name (missing where there is no such trial), and
        change: "added", "removed", "changed" where any of them differs, or "same".
    """
    facts = [name for name in new.columns if name not in TRIAL]
    merged = _merged(old, new, TRIAL, facts)
    pairs = [(merged[f"old_{name}"], merged[f"new_{name}"]) for name in facts]
    differs = pd.concat([(one != other) & ~(one.isna() & other.isna()) for one, other in pairs], axis=1).any(axis=1)
    merged["change"] = merged["change"].mask((merged["change"] == SAME) & differs, CHANGED)
    return merged


def cell_changes(
    old_rows: pd.DataFrame, old_planned: pd.DataFrame, new_rows: pd.DataFrame, new_planned: pd.DataFrame
) -> pd.DataFrame:
    """One line a cell of the leaderboards of either set, those of the new one first.

    Args:
        old_rows, old_planned, new_rows, new_planned: as `leaderboard` takes them, with SECTION: of any number of
            sweeps and scales, each of which has its own ranks. A `setting` has the same name in both sets.

    Returns:
        CELL, change, differs, direction, mean, half_width, n_ok and rank with `new_` and with `old_` before them,
        difference (new less old) and told_apart.

        change: "same" where the values of all seeds are the same, bit for bit; "changed" where they are not; "added"
        and "removed"; "measured otherwise" where one quantity stands in the two sets under two BOARD keys: then CELL
        has the new one, and `differs` says what it was. difference and told_apart are missing but for "changed";
        told_apart is `leaderboards.distinguishable`, which pairs the seeds where both sets have the same ones.
    """
    merged = _merged(_cells(old_rows, old_planned), _cells(new_rows, new_planned), CELL, FACTS)
    merged["difference"] = float("nan")
    merged["told_apart"] = pd.array([pd.NA] * len(merged), dtype="boolean")
    values = _values(old_rows, new_rows)
    equal = values["old"].eq(values["new"]).groupby(level=CELL, dropna=False).all()
    equal = merged[CELL].merge(equal.rename("equal").reset_index(), on=CELL, how="left")["equal"]
    changed = merged.index[(merged["change"] == SAME) & ~equal.astype(bool)]
    merged.loc[changed, "change"] = CHANGED
    merged.loc[changed, "difference"] = merged["new_mean"] - merged["old_mean"]
    merged.loc[changed, "told_apart"] = pd.array(_told_apart(merged.loc[changed, CELL], values), dtype="boolean")
    return _with_measured_otherwise(merged)


def _merged(old: pd.DataFrame, new: pd.DataFrame, key: list[str], facts: list[str]) -> pd.DataFrame:
    """The lines of both, each fact twice, with `change` as far as it follows from which set a line is in."""
    theirs = new[[*key, *facts]].rename(columns={name: f"new_{name}" for name in facts})
    ours = old[[*key, *facts]].rename(columns={name: f"old_{name}" for name in facts})
    kept = theirs.merge(ours, on=key, how="left", indicator="change")
    gone = ours.merge(new[key], on=key, how="left", indicator="change")
    gone = gone[gone["change"] == "left_only"].assign(change="gone")
    words = {"both": SAME, "left_only": ADDED, "gone": REMOVED}
    merged = pd.concat([kept.astype({"change": str}), gone], ignore_index=True)
    return merged.assign(change=merged["change"].map(words))


def _cells(rows: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """CELL and FACTS of the leaderboards of all sweeps and scales."""
    boards = [pd.DataFrame(columns=[*CELL, *FACTS])]
    for key, mine in rows.groupby(SECTION, sort=False):
        sweep, scale = map(str, key)
        here = planned[(planned["sweep"] == sweep) & (planned["scale"] == scale)]
        boards.append(leaderboard(mine, here).assign(sweep=sweep, scale=scale))
    cells = pd.concat([board for board in boards if len(board)] or boards, ignore_index=True)[[*CELL, *FACTS]]
    return cells.astype(dict.fromkeys(NUMBERS, float))


def _values(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The values of both sets in the columns `old` and `new`, indexed by CELL and seed."""
    key = [*CELL, "seed"]
    measured = [rows[rows["value"].notna()].astype(dict.fromkeys(NUMBERS, float)) for rows in (old, new)]
    one, other = (
        rows[[*key, "value"]].rename(columns={"value": name})
        for rows, name in zip(measured, ("old", "new"), strict=True)
    )
    return one.merge(other, on=key, how="outer").set_index(key)


def _told_apart(cells: pd.DataFrame, values: pd.DataFrame) -> list[bool]:
    numbered = cells.assign(place=range(len(cells)))
    samples = values.reset_index().merge(numbered, on=CELL).set_index("seed")
    places = samples.groupby("place").indices
    found = []
    for place in range(len(cells)):
        seeds = samples.iloc[places[place]]
        found.append(distinguishable(seeds["new"].dropna(), seeds["old"].dropna()))
    return found


def _with_measured_otherwise(merged: pd.DataFrame) -> pd.DataFrame:
    """Cells added and removed of one quantity become one line. Of several, the first goes with the first."""
    merged["differs"] = ""
    gone, fresh = (merged[merged["change"] == change] for change in (REMOVED, ADDED))
    gone, fresh = (
        frame.assign(place=frame.index, number=frame.groupby(QUANTITY, dropna=False).cumcount())
        for frame in (gone, fresh)
    )
    pairs = fresh.merge(gone, on=[*QUANTITY, "number"], suffixes=("", "_gone"))
    for name in (f"old_{fact}" for fact in FACTS):
        merged.loc[pairs["place"], name] = pairs[f"{name}_gone"].to_numpy()
    merged.loc[pairs["place"], "differs"] = [_differences(pair) for pair in pairs.to_dict("records")]
    merged.loc[pairs["place"], "change"] = OTHERWISE
    return merged.drop(index=list(pairs["place_gone"])).reset_index(drop=True)


def _differences(pair: Mapping[Any, Any]) -> str:
    """What differs between the BOARD keys of a pair, in words: "metric version 1 → 2, bins 10 → 20"."""
    names = [name for name in BOARD if name not in QUANTITY]
    old, new = ({name: pair[f"{name}{suffix}"] for name in names} for suffix in ("_gone", ""))
    for facts in (old, new):
        facts.update(json.loads(facts.pop("protocol") or "{}"))
    told = []
    for name in dict.fromkeys([*old, *new]):
        one, other = old.get(name, "none"), new.get(name, "none")
        if one != other and not (pd.isna(one) and pd.isna(other)):
            told.append(f"{name.replace('_', ' ')} {_text(one)} → {_text(other)}")
    return ", ".join(told)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
