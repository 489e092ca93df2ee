"""What was planned and what came of it, a section a (sweep, scale): the frames all tables and charts are made from."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.identity import table_keys
from bench.storage.reading import Results

MISSING = "not run yet"
TABLES = ("transport", "generation", "disentanglement", "clustering", "reconstruction", "latent")
"""In the order readers ask for them."""
COST = ["steps", "train_seconds", "eval_seconds", "peak_memory_bytes", "parameters", "device", "threads", "resumed"]
COST += ["packed", "compiled", "precision"]
PROVENANCE = ["git_sha", "git_dirty", "python", "torch", "cuda", "device", "device_name", "ray", "packages"]
PROVENANCE += ["threads", "deterministic"]
HASHES, HASH_LENGTH = ("git_sha", "packages"), 10
"""Those of PROVENANCE that are hashes, and how many characters of them are shown."""
OUTCOME = list(dict.fromkeys(["status", "error_type", "error", "started_at", *COST, *PROVENANCE]))


@dataclass(frozen=True)
class Setting:
    """A line of a leaderboard: a method with its hyperparameters and budget (both JSON), over datasets and seeds."""

    key: str
    method: str
    label: str
    params: str
    budget: str
    about: Mapping[str, Any]

    @property
    def family(self) -> str:
        return str(self.about.get("family", ""))

    @property
    def is_reference(self) -> bool:
        return self.family == "reference"


@dataclass
class Section:
    """One sweep at one scale.

    trials: one line a trial: trial_id, setting, label, method, dataset, dataset_options, seed, status (`MISSING`
        without rows), error_type, error, ranked, where (the dataset in words), COST and PROVENANCE.
    rows: the store's rows of these trials that carry a metric, with `setting` and `label`.
    settings: by key, in the order planned.
    outputs: metric name -> table, direction, unit, meaning, source, in the order they were asked for.
    records: trial_id -> the trial as planned in this sweep.
    superseded: trials with rows that are no longer planned.
    """

    sweep: str
    scale: str
    trials: pd.DataFrame
    rows: pd.DataFrame
    settings: dict[str, Setting]
    outputs: dict[str, dict[str, Any]]
    records: dict[str, dict[str, Any]]
    superseded: int

    @property
    def slug(self) -> str:
        return f"{self.sweep}-{self.scale}"

    @property
    def kind(self) -> str:
        return str(self._first["spec"]["kind"])

    @property
    def title(self) -> str:
        return str(self._first.get("title") or self.sweep)

    @property
    def published(self) -> tuple[str, ...]:
        """The published tables that the sweep names."""
        return next((table_keys(r["published"]) for r in self.records.values() if r["published"]), ())

    @property
    def datasets(self) -> pd.DataFrame:
        """The distinct (dataset, dataset_options), in the order planned."""
        return self.trials[["dataset", "dataset_options"]].drop_duplicates(ignore_index=True)

    @property
    def _first(self) -> dict[str, Any]:
        return next(iter(self.records.values()))


def sections(results: Results, quoted: Mapping[str, int]) -> list[Section]:
    """A section for each sweep and scale that has a plan or rows: transport first, then by name, paper before quick.

    quoted: how often papers quote a metric, by name; within a table those quoted most come first.
    """
    rows = results.rows
    keys = set(results.plans) | set(zip(rows["sweep"], rows["scale"], strict=True))
    made = []
    for sweep, scale in sorted(keys, key=lambda key: (key[0], key[1] != "paper")):
        # A trial that is the same at both scales ran once, and its rows name one of them.
        plan = results.plans.get((sweep, scale), {})
        planned_here = rows["trial_id"].isin(list(plan))
        mine = rows[(rows["sweep"] == sweep) & ((rows["scale"] == scale) | planned_here)]
        with_rows = list(dict.fromkeys(mine["trial_id"]))
        ids = list(plan) or with_rows
        if not ids:
            continue
        superseded = len(set(with_rows) - set(ids))
        mine = mine[mine["trial_id"].isin(ids)]
        records = {trial_id: results.trials[sweep, trial_id] for trial_id in ids if (sweep, trial_id) in results.trials}
        made.append(_section(sweep, scale, ids, mine, {**records, **plan}, superseded, quoted))
    return sorted(made, key=lambda section: section.kind != "transport")


def option_text(value: Any) -> str:
    """A setting's value as people write it: 128×128 for a list, 0.0003 for a float, none for null."""
    if isinstance(value, list | tuple):
        return "×".join(option_text(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def differing(mappings: list[dict[str, Any]]) -> list[str]:
    """Keys whose values are not the same in all mappings, in order of appearance."""
    names = dict.fromkeys(name for mapping in mappings for name in mapping)
    return [name for name in names if len({json.dumps(mapping.get(name, "")) for mapping in mappings}) > 1]


def _section(
    sweep: str,
    scale: str,
    ids: list[str],
    rows: pd.DataFrame,
    records: Mapping[str, dict[str, Any]],
    superseded: int,
    quoted: Mapping[str, int],
) -> Section:
    found = {str(row["trial_id"]): row for row in rows.drop_duplicates("trial_id").to_dict("records")}
    known = {t: records[t] if t in records else _record(t, found[t]) for t in ids}
    settings = _settings(list(known.values()))
    lines = []
    for trial_id, record in known.items():
        spec = record["spec"]
        setting = settings[_setting_key(spec)]
        line = {
            "trial_id": trial_id,
            "setting": setting.key,
            "label": setting.label,
            "method": setting.method,
            "ranked": not setting.is_reference,
            "dataset": spec["dataset"]["name"],
            "dataset_options": json.dumps(spec["dataset"]["options"], sort_keys=True),
            "seed": spec["seed"],
        }
        outcome = found.get(trial_id, {"status": MISSING})
        lines.append({**line, **{name: outcome.get(name) for name in OUTCOME}})
    trials = pd.DataFrame(lines)
    trials["where"] = _where(trials)
    metrics = rows[rows["metric"].notna()]
    joined = metrics.drop(columns=["dataset", "dataset_options"]).merge(
        trials[["trial_id", "setting", "label", "dataset", "dataset_options"]], on="trial_id"
    )
    return Section(sweep, scale, trials, joined, settings, _outputs(known, metrics, quoted), known, superseded)


def _where(trials: pd.DataFrame) -> list[str]:
    """The dataset of each trial in words: its name and those options in which the section's datasets differ."""
    options = [json.loads(text) for text in trials["dataset_options"]]
    names = differing(options)
    return [
        " ".join([dataset, *(f"{name}={option_text(chosen[name])}" for name in names if name in chosen)])
        for dataset, chosen in zip(trials["dataset"], options, strict=True)
    ]


def _setting_key(spec: Mapping[str, Any]) -> str:
    return json.dumps([spec["method"], spec["budget"]], sort_keys=True)


def _settings(records: list[dict[str, Any]]) -> dict[str, Setting]:
    """Settings by key; those of one method are told apart by the hyperparameters (and budgets) in which they differ."""
    by_method: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        by_method.setdefault(record["spec"]["method"]["name"], {}).setdefault(_setting_key(record["spec"]), record)
    labels = {}
    for method, found in by_method.items():
        described = {
            key: {
                **record["spec"]["method"]["params"],
                **record["spec"]["budget"],
                "version": record["spec"]["method"]["version"],
            }
            for key, record in found.items()
        }
        names = differing(list(described.values()))
        for key, values in described.items():
            told = [f"{name}={option_text(values[name])}" for name in names if name in values]
            labels[key] = " ".join([method, *told])
    settings = {}
    for found in by_method.values():
        for key, record in found.items():
            spec = record["spec"]
            params, budget = (json.dumps(part, sort_keys=True) for part in (spec["method"]["params"], spec["budget"]))
            about = record.get("about", {}).get("method", {})
            settings[key] = Setting(key, spec["method"]["name"], labels[key], params, budget, about)
    return settings


def _outputs(
    records: Mapping[str, dict[str, Any]], rows: pd.DataFrame, quoted: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """What is known of each metric, by table, then by how often it is quoted, then as asked for and as in the rows."""
    about: dict[str, dict[str, Any]] = {}
    asked: dict[str, int] = {}
    for record in records.values():
        about.update(record.get("about", {}).get("metrics", {}))
        for metric in record["spec"]["metrics"]:
            asked.setdefault(metric["name"], len(asked))
    for row in rows.drop_duplicates("metric").to_dict("records"):
        fallback = {"metric": row["metric"], "unit": "", "meaning": "", "source": ""}
        about.setdefault(row["metric"], {**fallback, "table": row["table"], "direction": row["direction"]})
    appearance = {name: position for position, name in enumerate(dict.fromkeys(rows["metric"]))}
    last = len(appearance)

    def place(name: str) -> tuple[int, int, int, int, str]:
        table, metric = about[name]["table"], about[name]["metric"]
        first = TABLES.index(table) if table in TABLES else len(TABLES)
        return first, -quoted.get(name, 0), asked.get(metric, last), appearance.get(name, last), name

    return {name: about[name] for name in sorted(about, key=place)}


def _record(trial_id: str, row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """The trial as far as its rows tell, for row files that came without their record."""
    return {
        "trial_id": trial_id,
        "sweep": row["sweep"],
        "scale": row["scale"],
        "published": None,
        "spec": {
            "kind": row["kind"],
            "dataset": {
                "name": row["dataset"],
                "options": json.loads(row["dataset_options"]),
                "version": int(row["dataset_version"]),
            },
            "method": {
                "name": row["method"],
                "params": json.loads(row["params"]),
                "version": int(row["method_version"]),
            },
            "seed": int(row["seed"]),
            "budget": {"steps": None, "epochs": None, "batch_size": None},
            "metrics": [],
            "splits": [],
        },
        "about": {},
    }
