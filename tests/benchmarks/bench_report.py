"""Seconds to build the report on 10,000 trials of 30 methods with 20 metrics, and until its pages can be used.

Writing the results takes minutes; they are made up, see synthetic_results.py. Two cores are kept busy.

python -m pytest tests/benchmarks/bench_report.py --benchmark-enable
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.report import write_report
from tests.benchmarks.synthetic_results import write_results
from tests.chromium import CHROMIUM, Chromium


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    assert write_results(root) == 10_000
    return root


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


def test_the_report_is_built(benchmark: BenchmarkFixture, results: Path, report: Path) -> None:
    benchmark.pedantic(write_report, (results, report), rounds=1)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("page", ["index.html", "trials.html", "sweeps/factors-paper.html", "methods/vae-1.html"])
def test_a_page_is_opened(benchmark: BenchmarkFixture, results: Path, report: Path, tmp_path: Path, page: str) -> None:
    if not (report / page).is_file():
        write_report(results, report)
    browser = Chromium(tmp_path)
    browser.look(1440)
    try:
        benchmark.pedantic(browser.open, ((report / page).as_uri(),), rounds=3)
    finally:
        browser.close()
