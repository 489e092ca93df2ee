"""What there is, in words: the methods, datasets and metrics of the code, sweeps and published tables.

Importing them takes seconds; `bench.listing` remembers what came of it. Imports stand inside, so that each list imports
no more than it is of.
"""

from __future__ import annotations

from pathlib import Path

from bench.listing import Listing


def catalog(what: str, sweeps: Path) -> Listing:
    """The "methods", "datasets", "metrics", "sweeps" (of a file) or "published" tables.

    Raises UserError for mistakes in the file.
    """
    match what:
        case "methods":
            return _methods()
        case "sweeps":
            return _sweeps(sweeps)
        case "published":
            return _published()
        case "datasets":
            return _datasets()
        case _:
            return _metrics()


def _methods() -> Listing:
    from bench.options import options_of
    from bench.registry import all_methods, kind_of, plug_ins

    lines = []
    for name, cls in all_methods().items():
        options = ", ".join(f"{o.name}={o.default}" for o in options_of(cls).values())
        lines.append([name, kind_of(cls), cls.summary, cls.paper, options])
    for name, entry in plug_ins().items():
        lines.append([name, "", f"a plug-in, {entry.value}, which is imported when a sweep names it", "", ""])
    return Listing(["method", "kind", "summary", "paper", "hyperparameters"], lines)


def _datasets() -> Listing:
    from bench.dataset_docs import datasets_page

    return Listing(page=datasets_page())


def _metrics() -> Listing:
    from bench.metric_docs import metrics_page

    return Listing(page=metrics_page())


def _sweeps(path: Path) -> Listing:
    from bench.registry import is_plug_in
    from bench.sweeps import SCALES, load_sweeps

    scales = [load_sweeps(path, scale) for scale in SCALES]
    lines = []
    for at_scales in zip(*scales, strict=True):
        sweep = at_scales[0]
        counts = [str(len(s.trials())) for s in at_scales]
        lines.append([sweep.name, sweep.kind, sweep.title, "no" if sweep.optional else "yes", *counts])
    own = not any(is_plug_in(method.name) for sweeps in scales for sweep in sweeps for method, _ in sweep.methods)
    heading = ["sweep", "kind", "title", "default run", *(f"trials at {scale}" for scale in SCALES)]
    return Listing(heading, lines, lasts=own)


def _published() -> Listing:
    """Every published table, with how much of it is of methods and metrics of ours."""
    from bench.published import load_published
    from bench.words import listed

    lines = []
    for (paper, name), rows in load_published().groupby(["paper", "table"], sort=True):
        texts = (listed(sorted(set(rows[column]))) for column in ("dataset_published", "metric_published"))
        ours = str(int((rows["method"] != "").sum()))
        lines.append([f"{paper}/{name}", str(len(rows)), ours, rows["title"].iloc[0], *texts])
    return Listing(["paper/table", "numbers", "of ours", "title", "datasets", "metrics"], lines)
