"""The report: one self-contained page of leaderboards, charts, pictures and trials, with exports beside it.

Reads rows and published numbers only; needs neither torch nor the methods.
"""

from __future__ import annotations

from pathlib import Path

from bench.published import PUBLISHED, PublishedError, load_published, published_table
from bench.report.colors import method_colors
from bench.report.exports import export_charts, export_tables, write_atomically
from bench.report.figures import figures
from bench.report.leaderboards import boards
from bench.report.page import SectionView, render
from bench.report.pictures import pictures
from bench.report.records import sections
from bench.store import Store


def write_report(results_dir: Path, out_dir: Path) -> Path:
    """Writes index.html, tables/ and charts/ under `out_dir` from what lies under `results_dir`; returns the page.

    Published numbers are those of `results_dir`/published where there is such a folder, else those of the repository.
    Files that cannot be read or written are named on the page.
    """
    store = Store(results_dir)
    results = store.read()
    problems = list(results.problems)
    own = store.root / "published"
    try:
        published = load_published(own if own.is_dir() else PUBLISHED)
    except PublishedError as error:
        problems += str(error).splitlines()
        published = load_published(store.root / "no published numbers")

    quoted = {str(metric): int(number) for metric, number in published["metric"].value_counts().items()}
    found = sections(results, quoted)
    colors = method_colors(
        (setting.method, setting.family) for section in found for setting in section.settings.values()
    )
    planned = [trial_id for section in found for trial_id in section.trials["trial_id"]]
    curves = store.read_curves(planned)
    views = []
    for section in found:
        images = {}
        for trial_id, method in zip(section.trials["trial_id"], section.trials["method"], strict=True):
            seen, unreadable = pictures(store.artifacts(trial_id), colors[method])
            images.update({trial_id: seen} if seen else {})
            problems += unreadable
        tables = boards(section, published)
        charts = figures(section, tables, curves[curves["trial_id"].isin(section.trials["trial_id"])], colors)
        problems += export_tables(tables, Path(out_dir)) + export_charts(charts, Path(out_dir))
        views.append(SectionView(section, tables, charts, images, published_table(published, section.published or "")))

    page = Path(out_dir) / "index.html"
    write_atomically(page, render(views, colors, curves, store.root, problems).encode())
    return page
