"""The report: a folder of pages of leaderboards, charts, pictures and trials, with exports beside them.

Reads rows and published numbers only; needs neither torch nor the methods.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from bench.published import PUBLISHED, PublishedError, load_published, published_table
from bench.report.addresses import Addresses
from bench.report.changes import Changes
from bench.report.charts import Chart
from bench.report.colors import method_colors
from bench.report.comparisons import comparisons
from bench.report.exports import export_chart, export_tables
from bench.report.figures import figures
from bench.report.files import without_formulas
from bench.report.folder import ENTRANCE, replacing
from bench.report.leaderboards import boards
from bench.report.lines import Run, runs_by_trial
from bench.report.method_view import MethodView
from bench.report.paper_view import PaperView, paper_views
from bench.report.pictures import Picture, pictures
from bench.report.records import Section, sections
from bench.report.search_view import search_views
from bench.report.site import Site
from bench.report.soundness import sound
from bench.report.sweep_view import SweepView
from bench.report.trial_view import MEASURED, listing, trial_views
from bench.storage.store import Store
from bench.tuning.search_records import read_searches

LARGE = 1_000
"""Files of rows from which on another process helps."""
PYTHON_TEXTS = ("mode.string_storage", "python")
"""An option of pandas, and its value."""


def write_report(results_dir: Path, out_dir: Path, changes: Changes | None = None) -> Path:
    """Writes the report on what lies under `results_dir` to `out_dir`; returns the page one enters by.

    With `changes`, of these results since others, it has a page of them.
    Published numbers are those of `results_dir`/published where there is such a folder, else those of the repository.
    Files that cannot be read or exported are named on that page. Raises ReportError where `out_dir` refuses.
    """
    store, out = Store(results_dir), Path(out_dir)
    # Frames are cut up and turned into lines all the time: as Python's own, their texts take half the time of Arrow's.
    with pd.option_context(*PYTHON_TEXTS), _uncollected(), replacing(out) as folder, _helper(store) as helper:
        results = sound(store.read())
        problems = list(results.problems)
        published = _published(store, problems)
        of_ours = published.loc[published["departure"] == "", "metric"]
        quoted = {str(metric): int(number) for metric, number in of_ours.value_counts().items()}
        found = sections(results, quoted)
        colors = method_colors(
            (setting.method, setting.family) for section in found for setting in section.settings.values()
        )
        to = Addresses.of(found)
        seen = _pictures(store, found, colors, to, folder, problems)
        curves = store.read_curves()
        runs = runs_by_trial(curves)
        site = Site(folder, to, colors, store.root, changed=changes is not None)
        measured = [replace(section, rows=section.rows[MEASURED]) for section in found]  # all that these pages show
        writing = helper.submit(_write_trials, site, measured, runs, seen)
        views, drawn = [], []
        for section in found:
            searches = read_searches(store.root, section.sweep, section.scale)
            views.append(_view(section, published, curves, colors, seen, searches))
            drawn += [(chart, helper.submit(export_chart, chart, folder)) for chart in views[-1].all_charts]
        papers = paper_views(found, published, results.rows)
        if changes is not None:
            site.write("changes.html", "changes.html", changes=changes)
            site.write_text("changes.csv", without_formulas(changes.cells).to_csv(index=False))
        problems += export_tables([(view.section, view.boards) for view in views], folder)
        _write_pages(site, views, papers, runs)
        problems += site.write_assets() + _drawn(drawn, folder)
        writing.result()
        site.write("index.html", "index.html", views=views, papers=papers, problems=problems)
    return out / ENTRANCE


def _helper(store: Store) -> Executor:
    """What writes the pages of trials and draws the charts that are exported, beside the rest.

    For a large report it is another process, which takes seconds to start; a thread would wait for the interpreter's
    lock. It starts afresh: vl_convert's engine does not survive a fork.
    """
    if len(list((store.root / "rows").glob("*/*"))) < LARGE:
        return ThreadPoolExecutor(1)
    helper = ProcessPoolExecutor(1, get_context("spawn"))
    helper.submit(_start_helper)
    return helper


def _start_helper() -> None:
    """Sets a helping process up as `write_report` does its own."""
    pd.set_option(*PYTHON_TEXTS)
    gc.disable()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, which walks the records of all trials again and again and finds next to nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _published(store: Store, problems: list[str]) -> pd.DataFrame:
    own = store.root / "published"
    try:
        return load_published(own if own.is_dir() else PUBLISHED)
    except PublishedError as error:
        problems += str(error).splitlines()
        return load_published(store.root / "no published numbers")


def _pictures(
    store: Store,
    found: Sequence[Section],
    colors: Mapping[str, str],
    to: Addresses,
    folder: Path,
    problems: list[str],
) -> dict[str, list[Picture]]:
    """trial_id -> its pictures, of the trials that have any; image grids are written to the report's folder."""
    methods = {
        trial_id: record["spec"]["method"]["name"] for section in found for trial_id, record in section.records.items()
    }

    def of_trial(trial_id: str) -> tuple[list[Picture], list[str]]:
        return pictures(store.artifacts(trial_id), colors[methods[trial_id]], folder / to.pictures[trial_id])

    with ThreadPoolExecutor() as threads:  # images are written outside of Python's lock
        found_by_trial = dict(zip(methods, threads.map(of_trial, methods), strict=True))
    problems += [problem for _, unreadable in found_by_trial.values() for problem in unreadable]
    return {trial_id: seen for trial_id, (seen, _) in found_by_trial.items() if seen}


def _view(
    section: Section,
    published: pd.DataFrame,
    curves: pd.DataFrame,
    colors: Mapping[str, str],
    seen: Mapping[str, list[Picture]],
    searches: pd.DataFrame,
) -> SweepView:
    tables = boards(section, published)
    mine = curves[curves["trial_id"].isin(section.trials["trial_id"])]
    charts, across = figures(section, tables, mine, colors), comparisons(section, tables, colors)
    quoted = published_table(published, *section.published)
    return SweepView(section, tables, charts, across, seen, quoted, search_views(section, searches))


def _write_trials(
    site: Site,
    found: Sequence[Section],
    runs: Mapping[str, list[Run]],
    seen: Mapping[str, list[Picture]],
) -> None:
    """The pages of the trials. runs: the curves of each; seen: the pictures of those that have any."""
    for trial in trial_views(found, runs, seen, site.colors, site.results):
        site.write(site.to.trials[trial.line["trial_id"]], "trial.html", trial=trial)


def _drawn(drawn: Sequence[tuple[Chart, Future[list[str]]]], folder: Path) -> list[str]:
    """Waits for the charts, and from the last one on draws what the helper has not begun; what went wrong."""
    problems = [
        export_chart(chart, folder) if waiting.cancel() else waiting.result() for chart, waiting in reversed(drawn)
    ]
    return list(chain.from_iterable(reversed(problems)))


def _write_pages(
    site: Site, views: Sequence[SweepView], papers: Sequence[PaperView], runs: Mapping[str, list[Run]]
) -> None:
    """All pages but those of trials, and the one one enters by. runs: the curves of each trial."""
    to, colors = site.to, site.colors
    for view in views:
        site.write(to.sweeps[view.section.slug], "sweep.html", view=view, charted=bool(view.all_charts))
    for paper in papers:
        site.write(to.papers[paper.slug], "paper.html", paper=paper)
    for name, address in to.methods.items():
        site.write(address, "method.html", method=MethodView.of(name, views, runs, colors[name]))
    site.write("trials.html", "trials.html", views=views, methods=sorted(to.methods))
    site.write_text("data/trials.js", listing(views, to.trials))
