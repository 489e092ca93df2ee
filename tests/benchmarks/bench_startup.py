"""Seconds until a command line has answered: `--help`, and every `list`, the first time and again.

    python -m pytest tests/benchmarks/bench_startup.py --benchmark-enable

"pass" is what Python itself takes to start here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from datasets.root import data_root

ROOT = Path(__file__).resolve().parents[2]
LISTS = ["methods", "datasets", "metrics", "sweeps", "published"]
ROUNDS = 5


def start(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("arguments", [("-c", "pass"), ("-m", "bench", "--help")], ids=["pass", "help"])
def test_start(benchmark: BenchmarkFixture, arguments: tuple[str, ...]) -> None:
    benchmark.pedantic(start, arguments, rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.parametrize("what", LISTS)
def test_list_again(benchmark: BenchmarkFixture, what: str) -> None:
    benchmark.pedantic(start, ("-m", "bench", "list", what), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.parametrize("what", LISTS)
def test_list_for_the_first_time(benchmark: BenchmarkFixture, what: str) -> None:
    """As after any change of code: what was remembered is gone."""

    def forget() -> None:
        shutil.rmtree(data_root() / "listings", ignore_errors=True)

    benchmark.pedantic(start, ("-m", "bench", "list", what), setup=forget, rounds=2)
