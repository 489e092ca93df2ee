"""Seconds of a whole command that runs a sweep of trivial trials, by each executor.

    python -m pytest tests/benchmarks/bench_overhead.py --benchmark-enable

The difference between two lengths, over that of their trials, is what one more trial costs; the rest is start and end.
`many_trials.py` says how that goes on for thousands.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.many_trials import run


@pytest.mark.parametrize("trials", [1, 101])
@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_sweep(benchmark: BenchmarkFixture, tmp_path: Path, executor: str, trials: int) -> None:
    names = (f"results-{number}" for number in range(100))
    benchmark.pedantic(lambda: run(tmp_path, next(names), trials, executor), rounds=3, warmup_rounds=1)
