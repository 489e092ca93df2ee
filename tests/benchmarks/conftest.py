"""Every benchmark runs on one thread, unless it starts more itself, and with memory as in a trial; what is saved.

Saved is what their comparison and `table.py` need: not who ran them where, nor every single round.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # read by libraries that are loaded later, and by threads that start later

STATS = ["min", "max", "mean", "stddev", "median", "q1", "q3", "iqr", "outliers", "ops", "rounds", "iterations"]


@pytest.fixture(autouse=True)
def as_in_a_trial() -> Iterator[None]:
    """Limits BLAS, OpenMP and torch, in case they were loaded before. Peers gain from kept memory as ours do."""
    import torch
    from threadpoolctl import threadpool_limits

    from bench.environment import keeping_freed_memory

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1), keeping_freed_memory():
        yield
    torch.set_num_threads(before)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    import torch

    cpu = machine_info["cpu"]
    named = {
        "processor": cpu.get("brand_raw", machine_info["machine"]),
        "cores": cpu["count"],
        "system": machine_info["system"],
        "python": machine_info["python_version"],
        "torch": torch.__version__,
    }
    machine_info.clear()
    machine_info.update(named)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Also takes over from the run before what was not measured again, so that the last run has all that is known."""
    commit = output_json["commit_info"]["id"][:12] + "+" * output_json["commit_info"]["dirty"]
    measured = {
        each["fullname"]: {
            "group": each["group"],
            "name": each["name"],
            "fullname": each["fullname"],
            "commit": commit,
            "extra_info": rounded(each["extra_info"]),
            "stats": {name: rounded(each["stats"][name]) for name in STATS},
        }
        for each in output_json["benchmarks"]
    }
    for _, last in list(config.pluginmanager.getplugin("pytest-benchmark").storage.load())[-1:]:
        if last["machine_info"] == output_json["machine_info"]:
            measured = {each["fullname"]: each for each in last["benchmarks"]} | measured
    machine_info = output_json["machine_info"]
    output_json.clear()
    output_json.update(machine_info=machine_info, benchmarks=list(measured.values()))


def rounded(value: Any) -> Any:
    """Floating-point numbers in it to five significant digits."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
