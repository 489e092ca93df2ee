"""sweeps.toml -> sweeps -> trials, and everything that can be said against a sweeps.toml before anything runs."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.about import describe
from bench.errors import UserError
from bench.grid import LONGEST, expand, shown
from bench.identity import NAME, Budget, Resources, Setting, Trial, canonical_json, table_keys
from bench.metrics.base import ARRAYS, REQUIREMENTS, Metric, all_metrics
from bench.options import Option, fits, nearest, options_of
from bench.published import load_published
from bench.registry import KINDS, UnknownNameError, find_dataset, find_method, kind_of, part_versions
from bench.tuning_table import Tuning, read_tuning
from datasets.base import SPLITS, Dataset, ImageDataset, PairDataset

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
    "splits": list,
    "resources": dict,
    "timeout": float,
    "tuning": dict,
}
BUDGET = ("steps", "epochs", "batch_size", "patience")
"""What a method's table may state beside hyperparameters, for a method that is trained otherwise than the others."""
MOST_TRIALS = 100_000
"""Of one sweep: more are a slip of a grid or of seeds, and would take hours to be listed."""
MOST_TOLD = 20
"""Mistakes in a message."""
DEEPEST = 20
"""Levels of tables and lists within each other."""
REQUIRED = ("kind", "datasets", "methods", "metrics", "batch_size")


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with a sweeps.toml."""

    sweep: str
    key: str
    message: str

    def __str__(self) -> str:
        where = f"sweep {_cut(self.sweep)}, {_cut(self.key)}" if self.sweep else _cut(self.key)
        return f"{where}: {' '.join(self.message.split())}"


class SweepsError(UserError):
    """A sweeps.toml that cannot be run, with every mistake in it."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.path, self.mistakes = path, list(mistakes)
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        lines = [f"  {mistake}" for mistake in mistakes[:MOST_TOLD]]
        lines += [f"  … and {len(mistakes) - MOST_TOLD} more"] if len(mistakes) > MOST_TOLD else []
        super().__init__("\n".join([f"{path}: {count}, nothing was run", *lines]))


@dataclass(frozen=True)
class Sweep:
    """A named comparison at one scale: every dataset × method × seed. Each dataset has those metrics that it allows."""

    name: str
    scale: str
    kind: str
    title: str
    optional: bool
    published: tuple[str, ...]
    datasets: tuple[tuple[Setting, tuple[Setting, ...]], ...]
    methods: tuple[tuple[Setting, Budget], ...]
    seeds: tuple[int, ...]
    splits: tuple[str, ...]
    resources: Resources
    timeout: float | None
    tuning: Tuning | None = None
    winners: tuple[tuple[Setting, Setting, Budget], ...] = ()
    """Dataset, method and budget of what searches chose; see `bench.tuning.with_winners`."""

    def trials(self, seeds: Sequence[int] | None = None) -> list[Trial]:
        """The sweep's trials, in the order of the file; `seeds` replaces the sweep's own.

        The order of metrics is the reader's, so reports have it from `about`, and the identity does not.
        """
        metrics_of = {canonical_json(dataset.to_json("options")): metrics for dataset, metrics in self.datasets}
        stated = [(dataset, *method) for (dataset, _), method in itertools.product(self.datasets, self.methods)]
        return [
            Trial(
                kind=self.kind,
                dataset=dataset,
                method=method,
                seed=seed,
                budget=budget,
                metrics=tuple(sorted(metrics, key=lambda metric: (metric.name, canonical_json(dict(metric.options))))),
                splits=self.splits,
                sweep=self.name,
                scale=self.scale,
                title=self.title,
                published=self.published,
                resources=self.resources,
                timeout=self.timeout,
                about=describe(dataset, method, metrics),
            )
            for dataset, method, budget in (*stated, *self.winners)
            for metrics in [metrics_of[canonical_json(dataset.to_json("options"))]]
            for seed in (self.seeds if seeds is None else seeds)
        ]


def load_sweeps(path: Path, scale: str) -> list[Sweep]:
    """The sweeps of a file at a scale.

    Raises SweepsError with all the mistakes of the file, at either scale: one found only when the other scale is run,
    after a week, would be found too late.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if _nests_deeper(document, DEEPEST):
            raise RecursionError
    except OSError as error:
        raise SweepsError(path, [Mistake("", "file", f"cannot be read: {error.strerror or error}")]) from error
    except RecursionError as error:
        raise SweepsError(
            path, [Mistake("", "file", f"nests tables or lists in more than {DEEPEST} levels")]
        ) from error
    except ValueError as error:  # also what tomllib lets through: texts that are not UTF-8, numbers too long to read
        raise SweepsError(path, [Mistake("", "file", f"is not TOML: {error}")]) from error

    mistakes: list[Mistake] = []
    for key in document.keys() - {"sweep"}:
        mistakes.append(Mistake("", key, f"unknown key: {nearest(key, ['sweep'])}; sweeps are named [sweep.NAME]"))
    tables = document.get("sweep", {})
    if not isinstance(tables, dict) or not tables:
        mistakes.append(Mistake("", "sweep", "the file names no sweep; begin one with [sweep.NAME]"))
        tables = {}
    sweeps: dict[str, list[Sweep]] = {name: [] for name in SCALES}
    for name, table in tables.items():
        found: dict[Mistake, None] = {}
        for at in SCALES:
            reader = _Reader(name, at, table)
            sweep = reader.read()
            found |= reader.mistakes
            if sweep is not None:
                sweeps[at].append(sweep)
        mistakes += found
    if mistakes:
        raise SweepsError(path, mistakes)
    return sweeps[scale]


@dataclass
class _Reader:
    """Reads one sweep at one scale, noting mistakes as it goes."""

    name: str
    scale: str
    raw: Any
    mistakes: dict[Mistake, None] = field(default_factory=dict)

    def wrong(self, key: str, message: str) -> None:
        self.mistakes[Mistake(self.name, key, message)] = None

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
        seeds = self._seeds(table.get("seeds", 1))
        resources = self._resources(table.get("resources", {}))
        splits = self._splits(table.get("splits", ["test"]))
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
        count = len(datasets) * len(methods) * len(seeds)
        if count > MOST_TRIALS:
            self.wrong(
                "seeds", f"datasets, methods and seeds make {count:,} trials; at most {MOST_TRIALS:,} are planned"
            )
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

    def _seeds(self, given: Any) -> tuple[int, ...]:
        if isinstance(given, int):
            if not 1 <= given <= MOST_TRIALS:
                self.wrong(
                    "seeds",
                    f"must be a number of at least 1 and at most {MOST_TRIALS:,}, or a list of seeds, not {given}",
                )
                return ()
            return tuple(range(given))
        if (
            not given
            or not all(fits(seed, int) and 0 <= seed < 2**63 for seed in given)
            or len(set(given)) < len(given)
        ):
            self.wrong("seeds", f"must be a number, or a list of different whole numbers from 0, not {shown(given)}")
            return ()
        return tuple(given)

    def _budget(self, key: str, table: Mapping[str, Any], own: Mapping[str, Any], kind: str) -> Budget:
        """The sweep's budget, with what a method's table at `key` says of its own over it."""
        for name, value in own.items():
            if not fits(value, KEYS[name]):
                self.wrong(f"{key}.{name}", f"must be {_type_words(KEYS[name])}, not {shown(value)}")
        merged = _merge(_without_other_unit(table, own), _sound(own))
        steps, epochs, batch_size, patience = (merged.get(name) for name in BUDGET)
        if (steps is None) == (epochs is None):
            self.wrong(f"{self.scale}.steps", "state the budget as one of steps and epochs")
        if epochs is not None and kind == "transport":
            self.wrong(f"{self.scale}.epochs", "samplers have no epochs; state steps")
        if patience is not None and kind == "transport":
            self.wrong(f"{self.scale}.patience", "samplers have no epochs to be patient for; leave it out")
        for name in BUDGET:
            value = merged.get(name)
            if value is not None and value <= 0:
                self.wrong(f"{key}.{name}" if name in own else name, f"must be above 0, not {value}")
        return Budget(steps, None if epochs is None else float(epochs), batch_size or 1, patience)

    def _resources(self, given: Mapping[str, Any]) -> Resources | None:
        schema = {
            "cpus": Option("cpus", int, 1),
            "gpus": Option("gpus", float, 0.0),
            "memory_gb": Option("memory_gb", float | None, None),
        }
        custom = self._custom(given.get("custom", {}))
        plain = {name: value for name, value in given.items() if name != "custom"}
        filled = expand("resources", plain, schema, "resource", self.wrong)
        if len(filled) != 1:
            return None
        cpus, gpus, memory_gb = (filled[0][name] for name in schema)
        if cpus < 1:
            self.wrong("resources.cpus", f"must be at least 1, not {cpus}")
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            self.wrong("resources.gpus", f"must be 0, a fraction of one GPU, or a whole number of them, not {gpus:g}")
        if memory_gb is not None and memory_gb <= 0:
            self.wrong("resources.memory_gb", f"must be a number of gigabytes above 0, not {memory_gb:g}")
        return Resources(cpus, gpus, memory_gb, custom)

    def _custom(self, given: Any) -> dict[str, float]:
        """Resources that only the nodes of a cluster know, as { a100 = 1 }."""
        key = "resources.custom"
        if not isinstance(given, dict):
            self.wrong(key, f"must be a table, such as {{ a100 = 1 }}, not {shown(given)}")
            return {}
        for name, amount in given.items():
            if not NAME.fullmatch(name) or name.lower() in ("cpu", "gpu", "memory", "object_store_memory"):
                self.wrong(f"{key}.{name}", "must be a plain name that is not Ray's own, such as a100")
            elif not fits(amount, float) or not 0 < amount < 1e6 or (amount > 1 and amount != int(amount)):
                self.wrong(f"{key}.{name}", f"must be a fraction up to 1 or a whole number, not {shown(amount)}")
        return {name: float(amount) for name, amount in given.items() if fits(amount, float)}

    def _published(self, names: Sequence[str]) -> None:
        published = load_published()
        known = set(published["paper"] + "/" + published["table"])
        for name in names:
            if name not in known:
                self.wrong("published", f'no published table "{name}": {nearest(str(name), known)}')

    def _splits(self, given: Sequence[Any]) -> tuple[str, ...]:
        for name in given:
            if name not in SPLITS:
                self.wrong("splits", f'no split "{name}": {nearest(str(name), SPLITS)}')
        if not given or len(set(given)) < len(given):
            self.wrong("splits", "must name one or more different splits")
        return tuple(given)


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


def _nests_deeper(table: Mapping[str, Any], levels: int) -> bool:
    """Whether tables and lists lie within each other in more levels than these; without recursion."""
    inner: list[Any] = [table]
    for _ in range(levels):
        inner = [value for outer in inner for value in (outer.values() if isinstance(outer, dict) else outer)]
        inner = [value for value in inner if isinstance(value, dict | list)]
    return bool(inner)


def _cut(name: str) -> str:
    """A name as it stands in a message: on one line, and not for pages."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"


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
