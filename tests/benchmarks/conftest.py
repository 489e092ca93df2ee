"""Where benchmarks run: on one thread, unless they start more, with memory as in a trial, and on which device; what is
saved.

With `BENCH_DEVICE=cuda` training is measured on a GPU, its numbers as in a trial: float32 without TF32, by
deterministic kernels where there are any; for peers too. Saved is what comparisons of runs and `table.py` need: not who
ran them where, nor every single round.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

os.environ["OMP_NUM_THREADS"] = "1"  # read by libraries that are loaded later, and by threads that start later

STATS = ["min", "max", "mean", "stddev", "median", "q1", "q3", "iqr", "outliers", "ops", "rounds", "iterations"]


@pytest.fixture(scope="session")
def device() -> torch.device:
    """What training is measured on: `BENCH_DEVICE`, "cpu" without it."""
    import torch

    name = os.environ.get("BENCH_DEVICE", "cpu")
    if name not in ("cpu", "cuda"):
        pytest.fail(f"BENCH_DEVICE is {name}: it must be cpu or cuda", pytrace=False)
    if name == "cuda" and not torch.cuda.is_available():
        pytest.fail(
            f"BENCH_DEVICE is cuda, and torch {torch.__version__} sees no GPU: see whether nvidia-smi shows one and "
            "whether this torch is a build for CUDA, or unset BENCH_DEVICE to measure the CPU",
            pytrace=False,
        )
    return torch.device(name)


@pytest.fixture
def cpu(device: torch.device) -> torch.device:
    if device.type != "cpu":
        pytest.skip("measured on a CPU alone")
    return device


@pytest.fixture
def gpu(device: torch.device) -> torch.device:
    if device.type != "cuda":
        pytest.skip("measured on a GPU alone: BENCH_DEVICE=cuda")
    return device


@pytest.fixture(autouse=True)
def as_in_a_trial(device: torch.device) -> Iterator[None]:
    """Limits BLAS, OpenMP and torch, in case they were loaded before. Peers gain from kept memory as ours do."""
    import torch
    from threadpoolctl import threadpool_limits

    from bench.environment import keeping_freed_memory, reproducible

    if device.type == "cuda":
        with reproducible(1):
            yield
        return
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
    if os.environ.get("BENCH_DEVICE") == "cuda" and torch.cuda.is_available():
        named |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    machine_info.clear()
    machine_info.update(named)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Also takes over from this machine's run before what was not measured again, so that its last run has all that is
    known."""
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
    machine_info = output_json["machine_info"]
    saved = [run for _, run in config.pluginmanager.getplugin("pytest-benchmark").storage.load()]
    for last in [run for run in saved if run["machine_info"] == machine_info][-1:]:
        measured = {each["fullname"]: each for each in last["benchmarks"]} | measured
    output_json.clear()
    output_json.update(machine_info=machine_info, benchmarks=list(measured.values()))


def rounded(value: Any) -> Any:
    """Floating-point numbers in it to five significant digits."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
