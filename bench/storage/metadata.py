"""The JSON of a results folder, read and checked: records of trials, members of a setting, plans.

A results folder may come from anywhere. Files and folders are named after what is read here, so it must not lead out
of the folder. Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.identity import NAME, spec_id

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a file of JSON of another shape raises."""


def trial_record(text: bytes) -> dict[str, Any]:
    """A trial's record, see `Trial.from_record`. Raises ValueError for what is none."""
    record = json.loads(text)
    if not _is_record(record):
        raise ValueError("its record of the trial is not one of ours")
    return record


def members(metadata: Mapping[bytes, bytes] | None) -> dict[str, str] | None:
    """The fingerprints, by trial id, of what a file of rows across seeds was made from; None for a trial's own file.

    Raises ValueError where these are something else.
    """
    if not metadata or b"members" not in metadata:
        return None
    found = json.loads(metadata[b"members"])
    if not isinstance(found, dict) or not all(map(NAME.fullmatch, found)):
        raise ValueError("its members are not trials and their fingerprints")
    return found


def plan_name(sweep: str, scale: str, part: Iterable[str] | None = None) -> str:
    """What the file of a sweep's plan at a scale is called, or of the part of it that has the trials of these ids."""
    digest = "" if part is None else f".{hashlib.sha256(' '.join(sorted(part)).encode()).hexdigest()[:16]}"
    return f"{sweep}-{scale}{digest}.json"


def plan_files(root: Path, of: str = "[!._]*") -> list[Path]:
    """The files of plans in a results folder, parts last. of: "SWEEP-SCALE", for those of one plan."""
    found = {path for suffix in (".json", ".*.json") for path in (root / "plans").glob(of + suffix)}
    return sorted(found, key=lambda path: (path.name.count("."), path.name))


def read_plan(path: Path) -> tuple[tuple[str, str], dict[str, dict[str, Any]]]:
    """(sweep, scale), and the records by id of the trials of a plan, or of a part of one; raises one of UNREADABLE for
    what is none."""
    plan = json.loads(path.read_text())
    sweep, scale, trials = plan["sweep"], plan["scale"], dict(plan["trials"])
    names = plan_name(sweep, scale), plan_name(sweep, scale, trials)
    if not (NAME.fullmatch(sweep) and NAME.fullmatch(scale) and path.name in names):
        raise ValueError("it is not named after its sweep and scale")
    if not all(NAME.fullmatch(trial_id) and _is_record(record) for trial_id, record in trials.items()):
        raise ValueError("not all that it lists are trials")
    return (sweep, scale), trials


def makes_another_id(record: Mapping[str, Any], trial_id: str) -> bool:
    """Whether what a record says was run is another trial than this: a trial's id is a hash of what was run."""
    try:
        return "spec" in record and spec_id(record["spec"]) != trial_id
    except (TypeError, ValueError):
        return True


def _is_record(record: Any) -> bool:
    """Whether it is a table, and files can be named after the sweep and the scale that it states."""
    if not isinstance(record, dict):
        return False
    names = [record[key] for key in ("sweep", "scale") if key in record]
    return all(isinstance(name, str) and NAME.fullmatch(name) for name in names)
