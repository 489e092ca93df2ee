"""The report of a sweep that was tuned: the search on its page, and the winner beside the default."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from bench.report import write_report
from bench.tuning.tuning import tune_sweeps

SWEEP = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 64
steps = 48
seeds = 2
splits = ["validation", "test"]
datasets.gaussians = {}
methods.lsot = { lr = 1e-5 }
[sweep.pairs.tuning]
metric = "l2-uvp"
trials = 5
methods.lsot = { lr = { distribution = "log-uniform", low = 1e-5, high = 1e-2 } }
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "sweeps.toml").write_text(SWEEP)
    console = Console(file=io.StringIO())
    status = tune_sweeps(folder / "sweeps.toml", results=folder / "results", executor="inline", console=console)
    assert status == 0
    return folder / "results"


def page(results: Path, out: Path) -> str:
    write_report(results, out)
    (path,) = (out / "sweeps").glob("pairs-quick*")
    return path.read_text(encoding="utf-8")


def test_the_search_is_shown_with_its_winner_and_the_default_beside_the_tuned(results: Path, tmp_path: Path) -> None:
    html = page(results, tmp_path)
    (section,) = re.findall(r'<section aria-labelledby="search">.*?</section>', html, flags=re.DOTALL)
    assert "5 trials; best lr = " in section
    assert section.count("<b>won</b>") == 1
    assert section.count('<th scope="row">') == 5
    assert "are compared with nothing" in section
    assert "Default and tuned settings" in html
    assert "Validation: the setting of the best mean on the validation split" in html


def test_texts_in_records_of_a_search_are_text_and_foreign_files_are_passed_over(results: Path, tmp_path: Path) -> None:
    files = sorted((results / "tuning").rglob("*.parquet"))
    table = pq.read_table(files[0])
    at = table.column_names.index("chosen")
    hostile = ['{"<script>alert(1)</script>": "</details>"}'] * len(table)
    pq.write_table(table.set_column(at, "chosen", pa.array(hostile)), files[0])
    for name, column, value in (("none", "number", None), ("list", "chosen", "[1]"), ("text", "chosen", "{")):
        at = table.column_names.index(column)
        kind = table.schema.field(column).type
        foreign = table.set_column(at, column, pa.array([value] * len(table), kind))
        pq.write_table(foreign, files[0].with_name(f"{name}.parquet"))
    html = page(results, tmp_path)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert html.count("5 trials; best lr = ") + html.count("5 trials; best &lt;script") == 1
