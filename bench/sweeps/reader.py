"""One sweep's table at one scale, read; every mistake in it noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bench.grid import expand, shown
from bench.identity import NAME, PRECISIONS, Budget, Setting, canonical_json, table_keys
from bench.metrics.base import ARRAYS, REQUIREMENTS, Metric, all_metrics
from bench.options import fits, nearest, options_of
from bench.published import load_published
from bench.registry import KINDS, UnknownNameError, find_dataset, find_method, kind_of, part_versions
from bench.sweeps.conditions import MOST_TRIALS, read_resources, read_seeds, read_splits
from bench.sweeps.sweep import Sweep
from bench.tuning.tuning_table import read_tuning
from datasets.base import Dataset, ImageDataset, PairDataset

SCALES = ("quick", "paper")

# What a sweep may state, with the type it must have. Whatever stands here may also stand under a scale.
KEYS: dict[str, Any] = {
    "kind": str,
    "title": str,
    "optional": bool,
    "published": str | list,
    "datasets": dict,
    "methods": dict,
    "shared": dict,
    "metrics": list | dict,
    "seeds": int | list,
    "steps": int,
    "epochs": float,
    "batch_size": int,
    "patience": int,
    "precision": str,
    "splits": list,
    "resources": dict,
    "timeout": float,
    "compile": bool,
    "pack": int,
    "tuning": dict,
}
BUDGET = ("steps", "epochs", "batch_size", "patience", "precision")
"""What a method's table may state beside hyperparameters, for a method that is trained otherwise than the others."""
REQUIRED = ("kind", "datasets", "methods", "metrics", "batch_size")


def read_sweep(name: str, scale: str, raw: Any) -> tuple[Sweep | None, dict[tuple[str, str], None]]:
    """The sweep of a table, None where there are mistakes; and these, as keys with sentences, each once."""
    reader = _Reader(name, scale, raw)
    return reader.read(), reader.mistakes


@dataclass
class _Reader:
    """Reads one sweep at one scale, noting mistakes as it goes."""

    name: str
    scale: str
    raw: Any
    mistakes: dict[tuple[str, str], None] = field(default_factory=dict)

    def wrong(self, key: str, message: str) -> None:
        self.mistakes[key, message] = None

    def read(self) -> Sweep | None:
        """The sweep, or None where there are mistakes."""
        if not isinstance(self.raw, dict):
            self.wrong("sweep", "must be a table, [sweep.NAME]")
            return None
        if not NAME.fullmatch(self.name):
            self.wrong("name", "must be of letters, digits, - and _, since folders are named after it")
        table = self._merged()
        kind = table.get("kind")
        if "kind" in table and kind not in KINDS:
            self.wrong("kind", f'no kind "{kind}": {nearest(str(kind), KINDS)}')
            return None
        if kind is None:
            self.wrong("kind", f"missing; it is one of {', '.join(KINDS)}")
            return None
        for key in REQUIRED:
            if key not in table:
                self.wrong(key, "missing")
        datasets, instances = self._datasets(table.get("datasets", {}), kind)
        methods = self._methods(table, kind)
        metrics = self._metrics(table.get("metrics", []), kind, instances)
        seeds = read_seeds(table.get("seeds", 1), self.wrong)
        resources = read_resources(table.get("resources", {}), self.wrong)
        splits = read_splits(table.get("splits", ["test"]), self.wrong)
        self._published(table_keys(table.get("published")))
        measured = tuple(
            (setting, tuple(m for m in metrics if not _lacking(all_metrics()[m.name], instance)))
            for setting, instance in zip(datasets, instances, strict=True)
        )
        tuning = (
            read_tuning(table["tuning"], measured, methods, splits, seeds, self.wrong) if "tuning" in table else None
        )
        timeout = table.get("timeout")
        if timeout is not None and timeout <= 0:
            self.wrong("timeout", f"must be a number of seconds above 0, not {timeout}")
        pack = table.get("pack")
        if pack is not None and pack <= 0:
            self.wrong("pack", f"must be a number of trials of at least 1, not {pack}")
        count = len(datasets) * len(methods) * len(seeds)
        if count > MOST_TRIALS:
            self.wrong(
                "seeds", f"datasets, methods and seeds make {count:,} trials; at most {MOST_TRIALS:,} are planned"
            )
        if resources is not None and not resources.gpus and any(budget.precision == "tf32" for _, budget in methods):
            self.wrong("precision", '"tf32" is of GPUs; state resources = { gpus = 1 }, or another precision')
        if self.mistakes or resources is None:
            return None
        return Sweep(
            name=self.name,
            scale=self.scale,
            kind=kind,
            title=table.get("title", self.name),
            optional=table.get("optional", False),
            published=table_keys(table.get("published")),
            datasets=measured,
            methods=tuple(methods),
            seeds=seeds,
            splits=splits,
            resources=resources,
            timeout=None if timeout is None else float(timeout),
            compile=table.get("compile", False),
            pack=pack,
            tuning=tuning,
        )

    def _merged(self) -> dict[str, Any]:
        """The sweep's own keys with those of the scale over them; tables merge, everything else is replaced."""
        base = {key: value for key, value in self.raw.items() if key not in SCALES}
        over = self.raw.get(self.scale, {})
        if not isinstance(over, dict):
            self.wrong(self.scale, "must be a table")
            over = {}
        tables = {"": base, **{f"{at}.": self.raw[at] for at in SCALES if isinstance(self.raw.get(at), dict)}}
        for prefix, table in tables.items():
            for key, value in table.items():
                if key not in KEYS:
                    self.wrong(prefix + key, f"unknown key: {nearest(key, [*KEYS, *SCALES])}")
                elif not fits(value, KEYS[key]):
                    self.wrong(prefix + key, f"must be {_type_words(KEYS[key])}, not {shown(value)}")
        base, over = _sound(base), _sound(over)
        return _merge(_without_other_unit(base, over), over)

    def _datasets(self, table: Mapping[str, Any], kind: str) -> tuple[list[Setting], list[Dataset]]:
        settings, instances = [], []
        for name, given in table.items():
            key = f"datasets.{name}"
            try:
                cls = find_dataset(name)
            except UnknownNameError as error:
                self.wrong(key, str(error))
                continue
            if kind_of(cls) != kind:
                self.wrong(key, f"is a dataset for {kind_of(cls)}, and this sweep is of kind {kind}")
                continue
            for options in expand(key, given, options_of(cls), "dataset option", self.wrong):
                try:
                    dataset = cls(**options)
                    parts = part_versions(dataset.parts) if isinstance(dataset, PairDataset) else {}
                except (ValueError, TypeError, UnknownNameError) as error:
                    self.wrong(key, str(error))
                    continue
                instances.append(dataset)
                settings.append(Setting(name, options, cls.version, parts))
        if not table:
            self.wrong("datasets", "names no dataset")
        return settings, instances

    def _methods(self, table: Mapping[str, Any], kind: str) -> list[tuple[Setting, Budget]]:
        shared = table.get("shared", {})
        settings: list[tuple[Setting, Budget]] = []
        for name, given in table.get("methods", {}).items():
            key, before = f"methods.{name}", len(settings)
            try:
                cls = find_method(name)
            except UnknownNameError as error:
                self.wrong(key, str(error))
                continue
            if kind_of(cls) != kind:
                self.wrong(key, f"is a method for {kind_of(cls)}, and this sweep is of kind {kind}")
                continue
            schema = options_of(cls)
            for option in shared.keys() - schema.keys():
                self.wrong(f"shared.{option}", f"{name} has no such hyperparameter: {nearest(option, schema)}")
            common = {option: value for option, value in shared.items() if option in schema}
            # One table, or a list of tables where not every combination of a grid is wanted.
            for alternative in given if isinstance(given, list) and given else [given]:
                if not isinstance(alternative, dict):
                    self.wrong(key, f"must be a table of hyperparameters, not {shown(alternative)}")
                    continue
                own = {k: value for k, value in alternative.items() if k in BUDGET and k not in schema}
                params = {k: value for k, value in alternative.items() if k not in own}
                budget = self._budget(key, table, own, kind)
                for options in expand(key, {**common, **params}, schema, "hyperparameter", self.wrong):
                    settings.append((Setting(name, options, cls.version), budget))
            of_method = settings[before:]
            texts = {canonical_json([setting.to_json("params"), budget.to_json()]) for setting, budget in of_method}
            if len(texts) < len(of_method):
                self.wrong(key, "two of its settings are the same")
        if not table.get("methods"):
            self.wrong("methods", "names no method")
        return settings

    def _metrics(self, given: Any, kind: str, datasets: Sequence[Dataset]) -> list[Setting]:
        names_only = isinstance(given, list) and all(isinstance(name, str) for name in given)
        table = {name: {} for name in given} if names_only else given
        if not isinstance(table, dict):
            self.wrong("metrics", "must be a list of names, or a table: metrics.dci = { num_train = 1000 }")
            return []
        settings = []
        for name, options in table.items():
            key = f"metrics.{name}"
            metric = all_metrics().get(name)
            if metric is None:
                self.wrong(key, f'no metric "{name}": {nearest(name, all_metrics())}')
                continue
            foreign = metric.bases - set(ARRAYS[kind])
            if foreign:
                self.wrong(key, f"measures {' and '.join(sorted(foreign))}, which no {kind} method gives")
                continue
            lacking = [_lacking(metric, dataset) for dataset in datasets]
            if lacking and all(lacking):
                names = " and ".join(dict.fromkeys(dataset.name for dataset in datasets))
                self.wrong(key, f"needs {lacking[0]}, which the dataset {names} has not")
            for filled in expand(key, options, dict(metric.options), "metric option", self.wrong):
                for option, value in filled.items():
                    if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                        self.wrong(f"{key}.{option}", f"must be above 0, not {value}")
                if "outliers" in filled:
                    self._outliers(f"{key}.outliers", filled["outliers"], datasets)
                settings.append(Setting(name, filled, metric.version))
        if not table:
            self.wrong("metrics", "names no metric")
        return settings

    def _outliers(self, key: str, name: str, datasets: Iterable[Dataset]) -> None:
        try:
            if kind_of(find_dataset(name)) != "autoencoding":
                self.wrong(key, f"{name} has no images")
            if name in {dataset.name for dataset in datasets}:
                self.wrong(key, f"{name} is the dataset evaluated, which has no outliers to itself; name another")
        except UnknownNameError as error:
            self.wrong(key, str(error))

    def _budget(self, key: str, table: Mapping[str, Any], own: Mapping[str, Any], kind: str) -> Budget:
        """The sweep's budget, with what a method's table at `key` says of its own over it."""
        for name, value in own.items():
            if not fits(value, KEYS[name]):
                self.wrong(f"{key}.{name}", f"must be {_type_words(KEYS[name])}, not {shown(value)}")
        merged = _merge(_without_other_unit(table, own), _sound(own))
        steps, epochs, batch_size, patience, precision = (merged.get(name) for name in BUDGET)
        if (steps is None) == (epochs is None):
            self.wrong(f"{self.scale}.steps", "state the budget as one of steps and epochs")
        if epochs is not None and kind == "transport":
            self.wrong(f"{self.scale}.epochs", "samplers have no epochs; state steps")
        if patience is not None and kind == "transport":
            self.wrong(f"{self.scale}.patience", "samplers have no epochs to be patient for; leave it out")
        for name in BUDGET:
            value = merged.get(name)
            if isinstance(value, int | float) and value <= 0:
                self.wrong(f"{key}.{name}" if name in own else name, f"must be above 0, not {value}")
        if precision is not None and precision not in PRECISIONS:
            at = f"{key}.precision" if "precision" in own else "precision"
            self.wrong(at, f'no precision "{precision}": {nearest(precision, PRECISIONS)}')
        epochs = None if epochs is None else float(epochs)
        return Budget(steps, epochs, batch_size or 1, patience, precision or PRECISIONS[0])

    def _published(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in (known := _published_tables()):
                self.wrong("published", f'no published table "{name}": {nearest(str(name), known)}')


@cache
def _published_tables() -> set[str]:
    """Their keys; sweeps are many, and reading the tables takes long."""
    published = load_published()
    return set(published["paper"] + "/" + published["table"])


def _lacking(metric: Metric, dataset: Dataset) -> str | None:
    """What of a metric's needs a dataset cannot give, in words."""
    lacking: set[str] = set()
    if isinstance(dataset, ImageDataset):
        lacking |= set() if dataset.num_classes else {"labels"}
        lacking |= set() if dataset.factors else {"factors"}
    if isinstance(dataset, PairDataset):
        lacking |= set() if dataset.has_true_map else {"true_pushed", "recovered"}
        lacking |= set() if dataset.has_labels else {"labeled_pushed", "source_labels", "target_labels"}
        lacking |= set() if dataset.has_modes else {"modes"}
    return next((REQUIREMENTS[base] for base in sorted(metric.bases & lacking)), None)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        # A distribution is a value that happens to be written as a table: it is replaced whole.
        merged[key] = _merge(merged[key], value) if both and "distribution" not in value else value
    return merged


def _without_other_unit(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` without its budget where `over` counts in the other unit: that replaces the budget, and adds none."""
    replaced = {"steps": "epochs", "epochs": "steps"}
    gone = {replaced[unit] for unit in over.keys() & replaced.keys()} - over.keys()
    return {key: value for key, value in base.items() if key not in gone}


def _sound(table: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that exist with values of their type; the others were noted as mistakes."""
    return {key: value for key, value in table.items() if key in KEYS and fits(value, KEYS[key])}


def _type_words(annotation: Any) -> str:
    words: dict[Any, str] = {
        str: "a text",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        dict: "a table",
    }
    words |= {list: "a list", list | dict: "a list or a table", int | list: "a whole number or a list"}
    words |= {str | list: "a text or a list"}
    return words[annotation]
