"""The page: what the template shows, and how it is put together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report import formatting
from bench.report.charts import Chart
from bench.report.columns import DATASET, meaning, measurement
from bench.report.exports import file_name
from bench.report.figures import thinned
from bench.report.formatting import count, duration, listed, memory, plural
from bench.report.leaderboards import Board
from bench.report.pictures import Picture
from bench.report.records import MISSING, PROVENANCE, Section, option_text

HERE = Path(__file__).parent
RUN = "python -m bench run sweeps.toml"
FOLDED = ("isometry.parquet", "interpolations.png", "neighbors.png", "traversals.png")
"""Pictures a section shows only when unfolded: every autoencoder has them, and they take space."""


@dataclass
class SectionView:
    """A section with everything made of it.

    pictures: trial_id -> its pictures. shown: the trial_ids pictured in the section itself.
    """

    section: Section
    boards: list[Board]
    charts: list[Chart]
    pictures: Mapping[str, list[Picture]]
    published: pd.DataFrame
    shown: list[str] = field(init=False)

    def __post_init__(self) -> None:
        trials = self.section.trials[self.section.trials["trial_id"].isin(self.pictures)]
        first = trials.drop_duplicates(["setting", *DATASET])
        self.shown = list(first["trial_id"])

    @property
    def anchor(self) -> str:
        return f"sweep-{self.section.slug}"

    @property
    def counts(self) -> dict[str, int]:
        """Status -> number of trials, ok first."""
        found = self.section.trials["status"].value_counts().to_dict()
        return {"ok": int(found.pop("ok", 0)), **{str(status): int(number) for status, number in found.items()}}

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(setting.method for setting in self.section.settings.values()))

    @property
    def protocol(self) -> str:
        """How the trials were run, in words."""
        section, specs = self.section, [record["spec"] for record in self.section.records.values()]
        budgets = list(dict.fromkeys(_budget(spec["budget"]) for spec in specs))
        datasets = list(dict.fromkeys(spec["dataset"]["name"] for spec in specs))
        abouts = {spec["dataset"]["name"]: record for spec, record in zip(specs, section.records.values(), strict=True)}
        summaries = [_with_summary(name, abouts[name].get("about", {}).get("dataset", {})) for name in datasets]
        seeds = sorted({spec["seed"] for spec in specs})
        splits = list(dict.fromkeys(split for spec in specs for split in spec["splits"]))
        settings = plural(len(section.settings), "setting")
        # A list of many says less than that they differ; every trial states its own.
        training = listed(budgets) if len(budgets) <= 3 else f"{len(budgets)} different budgets"
        text = f"{settings} of {plural(len(self.methods), 'method')} on {listed(summaries)}, trained for {training}"
        text += f" with {'seeds' if len(seeds) > 1 else 'seed'} {listed([str(seed) for seed in seeds])}"
        return f"{text}; scored on the {listed(splits)} split." if splits else f"{text}."

    @property
    def outcome(self) -> str:
        """How the trials ended, in words."""
        counts = dict(self.counts)
        ok, total = counts.pop("ok"), len(self.section.trials)
        rest = "".join(f", {number} {status}" for status, number in counts.items())
        text = f"{ok} of {plural(total, 'trial')} ended ok{rest}."
        if self.section.superseded:
            text += f" Rows of {plural(self.section.superseded, 'trial')} with settings no longer planned are left out."
        return text

    @property
    def failures(self) -> list[dict[str, Any]]:
        trials = self.section.trials
        return _lines(trials[~trials["status"].isin(["ok", MISSING])])

    @property
    def published_note(self) -> str:
        section = self.section
        if not section.published:
            return "No published table is named for this sweep."
        if self.published.empty:
            return f"No numbers are on record for the published table {section.published}."
        if not any(column.has_published for board in self.boards for column in board.columns):
            datasets = listed(list(self.published["dataset_published"].unique()))
            table = f"The published table {section.published} ({datasets})"
            return f"{table} has no number for a dataset and metric shown here."
        return f"Published values are of {section.published}."

    @property
    def published_lines(self) -> list[dict[str, Any]]:
        return _lines(self.published)

    def notes(self, board: Board) -> list[tuple[dict[str, str], str]]:
        """(name -> meaning, how they were measured) of a board's columns, those measured alike together."""
        groups: dict[str, dict[str, str]] = {}
        for column in board.columns:
            name = column.metric if board.is_grid else " ".join(filter(None, [column.heading, column.detail]))
            groups.setdefault(measurement(column, self.section), {})[name] = meaning(column, self.section)
        return [(meanings, how) for how, meanings in groups.items()]

    def exports(self, board: Board) -> list[tuple[str, str]]:
        """(name, relative link) of a board's files beside the page."""
        names = {"md": "Markdown", "csv": "CSV", "tex": "LaTeX"}
        return [(name, f"tables/{file_name(board.slug)}.{suffix}") for suffix, name in names.items()]

    def chart_exports(self, chart: Chart) -> list[tuple[str, str]]:
        return [(suffix.upper(), f"charts/{file_name(chart.slug)}.{suffix}") for suffix in ("svg", "png")]

    def galleries(self) -> list[tuple[str, bool, list[tuple[Picture, dict[str, Any]]]]]:
        """(caption, folded, [(picture, trial)]) of each kind of picture, of one seed a setting and dataset."""
        kinds: dict[str, list[tuple[Picture, dict[str, Any]]]] = {}
        for trial in _lines(self.section.trials):
            for picture in self.pictures.get(trial["trial_id"], []) if trial["trial_id"] in self.shown else []:
                kinds.setdefault(picture.name, []).append((picture, trial))
        return [(pairs[0][0].caption, name in FOLDED, pairs) for name, pairs in kinds.items()]

    def costs(self) -> list[dict[str, str]]:
        """A line a setting; ranges where datasets differ."""
        lines = []
        for setting in self.section.settings.values():
            ended = self.section.trials[self.section.trials["setting"] == setting.key]
            ended = ended[ended["status"] == "ok"]
            if len(ended):
                lines.append(
                    {
                        "label": setting.label,
                        "method": setting.method,
                        "parameters": _span(ended["parameters"], count),
                        "steps": _span(ended["steps"], count),
                        "train": _span(ended["train_seconds"], duration),
                        "train_sort": str(ended["train_seconds"].mean()),
                        "eval": _span(ended["eval_seconds"], duration),
                        "memory": _span(ended["peak_memory_bytes"], memory),
                        "device": listed(list(ended["device"].dropna().unique())),
                    }
                )
        return lines

    def trials(self, environments: Mapping[tuple[Any, ...], int]) -> list[dict[str, Any]]:
        """Everything about each trial, for its own section."""
        rows = _grouped(self.section.rows, ["trial_id"])
        seeds = _grouped(self.section.trials, ["setting", *DATASET])
        lines = []
        for line in _lines(self.section.trials):
            mine = rows.get((line["trial_id"],), [])
            others = seeds[line["setting"], line["dataset"], line["dataset_options"]]
            siblings = [other for other in others if other["trial_id"] != line["trial_id"]]
            lines.append(self._trial(line, mine, siblings, environments.get(_environment(line))))
        return lines

    def _trial(
        self, line: dict[str, Any], rows: list[dict[str, Any]], siblings: list[dict[str, Any]], environment: int | None
    ) -> dict[str, Any]:
        section = self.section
        record = section.records[line["trial_id"]]
        spec = record["spec"]
        return {
            **line,
            "method_settings": {k: option_text(v) for k, v in spec["method"]["params"].items()},
            "changed": record.get("about", {}).get("method", {}).get("changed", {}),
            "dataset_settings": {k: option_text(v) for k, v in spec["dataset"]["options"].items()},
            "budget": _budget(spec["budget"]),
            "resources": {k: option_text(v) for k, v in record.get("resources", {}).items()},
            "siblings": siblings,
            "rows": rows,
            "environment": environment,
            "command": f"{RUN} --scale {section.scale} --only {line['trial_id'][:16]} --force",
            "pictures": [] if line["trial_id"] in self.shown else self.pictures.get(line["trial_id"], []),
            "pictured_above": line["trial_id"] in self.shown,
        }


def environments(views: list[SectionView]) -> dict[tuple[Any, ...], int]:
    """The distinct machines and versions trials ran with, numbered from 1."""
    found: dict[tuple[Any, ...], int] = {}
    for view in views:
        for line in _lines(view.section.trials):
            if line["status"] != MISSING:
                found.setdefault(_environment(line), len(found) + 1)
    return found


def render(
    views: list[SectionView], colors: Mapping[str, str], curves: pd.DataFrame, results_dir: Path, problems: list[str]
) -> str:
    """The page as HTML. curves: columns of the store's curves."""
    template = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    ).get_template("page.html")
    numbered = environments(views)
    settings = {setting.method: setting for view in views for setting in view.section.settings.values()}
    page_problems = list(problems)
    return template.render(
        views=views,
        colors=colors,
        methods=dict(sorted(settings.items(), key=lambda item: (item[1].is_reference, item[1].family, item[0]))),
        environments=numbered,
        environment_names=PROVENANCE,
        specs={chart.slug: Markup(embedded(chart.spec)) for view in views for chart in view.charts},
        curves=Markup(embedded(_curves_by_trial(curves))),
        has_curves=set(curves["trial_id"]),
        results_dir=results_dir,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        bundle=Markup(_bundle(page_problems)) if any(view.charts for view in views) else Markup(""),
        problems=page_problems,
        format=formatting,
        MISSING=MISSING,
    )


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True, default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _bundle(problems: list[str]) -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    try:
        return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    except Exception as error:  # the tables are worth more than the charts
        problems.append(f"the charts cannot be shown, Vega's bundle could not be made: {error}")
        return ""


def _curves_by_trial(curves: pd.DataFrame) -> dict[str, dict[str, list[list[float]]]]:
    """trial_id -> "stage, name" -> [steps, values], thinned to what a small chart can show."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    for key, line in curves.dropna(subset=["value"]).groupby(["trial_id", "stage", "name"], sort=False):
        trial_id, stage, name = (str(part) for part in key)
        points = thinned(list(zip(line["step"].tolist(), line["value"].tolist(), strict=True)), 80)
        finite = [(step, float(f"{value:.4g}")) for step, value in points if abs(value) < float("inf")]
        found.setdefault(trial_id, {})[f"{stage}, {name}"] = [[s for s, _ in finite], [v for _, v in finite]]
    return found


def _budget(budget: Mapping[str, Any]) -> str:
    parts = [plural(budget["steps"], "update")] if budget.get("steps") is not None else []
    parts += [f"{budget['epochs']:g} epochs"] if budget.get("epochs") is not None else []
    length = listed(parts) or "an unknown budget"
    if budget.get("patience") is not None:
        length = f"at most {length}, ended by {plural(budget['patience'], 'epoch')} without a better validation loss,"
    return f"{length} of batch size {budget['batch_size']:,}" if budget.get("batch_size") else length


def _with_summary(name: str, about: Mapping[str, Any]) -> str:
    return f"{name} ({about['summary']})" if about.get("summary") else name


def _span(values: pd.Series, show: Any) -> str:
    known = values.dropna().astype(float)
    if known.empty:
        return formatting.ABSENT
    low, high = show(known.min()), show(known.max())
    return low if low == high else f"{low} – {high}"


def _environment(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(None if pd.isna(line[name]) else line[name] for name in PROVENANCE)


def _grouped(frame: pd.DataFrame, names: list[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in _lines(frame):
        groups.setdefault(tuple(line[name] for name in names), []).append(line)
    return groups


def _lines(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(name): None if value is None or value is pd.NaT or value != value else value
            for name, value in line.items()
        }
        for line in frame.astype(object).to_dict("records")
    ]
