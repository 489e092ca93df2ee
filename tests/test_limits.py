"""Limits of time and memory end a trial wherever it is, and its row says which was passed, and by how much."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import limits as limits_module
from bench.identity import Resources, Trial
from bench.limits import LimitError, Limits, describe_out_of_memory, own_memory
from bench.storage.store import Store
from bench.sweeps import load_sweeps
from bench.training import EXPLODED, DivergedError, Watch
from bench.trial import run_trial
from methods.base import Losses, Sampler
from tests.faulty import Shift

SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 8
steps = 300
seeds = 1
datasets.gaussians = {}
methods."tests.faulty:Shift" = {}
"""
CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 12.31 GiB is "
    "free. Including non-PyTorch memory, this process has 66.83 GiB memory in use."
)


@pytest.fixture
def trial(sweeps_file: Callable[[str], Path]) -> Trial:
    (trial,) = load_sweeps(sweeps_file(SWEEPS), "quick")[0].trials()
    return trial


def row_of(trial: Trial, folder: Path) -> dict[str, Any]:
    """The row that running it leaves."""
    run_trial(trial, Store(folder), Path(os.environ["BENCH_DATA"]), lambda *_: None)
    (row,) = Store(folder).trial_rows(trial.sweep, trial.id)
    return row


def dawdle() -> None:
    for _ in range(3000):  # half a minute, but for the limit
        time.sleep(0.01)


def slow_step(self: Shift, source: torch.Tensor, target: torch.Tensor) -> Losses:
    dawdle()
    raise AssertionError("the limit should have stopped it")


def slow_preparation(self: Shift, source: Sampler, target: Sampler) -> Iterator[Losses]:
    dawdle()
    yield {}


@pytest.mark.parametrize(
    ("name", "slow"),
    [
        ("train_step", slow_step),
        ("prepare", slow_preparation),
        ("finish", slow_preparation),
        ("push", lambda self, points: dawdle()),
    ],
    ids=["an update", "prepare", "finish", "evaluation"],
)
def test_the_time_limit_stops_whatever_a_trial_is_at(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, slow: Any
) -> None:
    if name == "push":
        monkeypatch.setattr(Shift, "train_step", lambda self, source, target: {"loss": torch.zeros(())})
    monkeypatch.setattr(Shift, name, slow)
    row = row_of(replace(trial, timeout=1.0), tmp_path)
    assert (row["status"], row["error_type"]) == ("timeout", "TimedOut")
    assert row["error"] == "stopped after the time limit of 1 s"


def test_a_method_that_catches_every_exception_is_stopped_too(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stubborn(self: Shift, source: torch.Tensor, target: torch.Tensor) -> Losses:
        try:
            dawdle()
        except Exception:
            pytest.fail("the limit was caught")
        return {}

    monkeypatch.setattr(Shift, "train_step", stubborn)
    assert row_of(replace(trial, timeout=0.5), tmp_path)["status"] == "timeout"


@pytest.mark.skipif(own_memory() is None, reason="memory is watched on Linux only")
def test_the_memory_limit_stops_a_trial_and_says_how_much_it_used(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def hoard(self: Shift, source: torch.Tensor, target: torch.Tensor) -> Losses:
        kept.append(torch.ones(2_500_000))  # 10 MB
        time.sleep(0.01)
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(Shift, "train_step", hoard)
    held = own_memory()
    assert held is not None
    limit = round(held / 1e9 + 0.1, 2)
    row = row_of(replace(trial, resources=Resources(memory_gb=limit)), tmp_path)
    assert (row["status"], row["error_type"]) == ("failed", "OutOfMemory")
    assert f"its limit is {limit:g} GB" in row["error"]
    assert "raise memory_gb" in row["error"]
    assert len(kept) < 300


def test_a_trial_below_its_limits_is_ok(trial: Trial, tmp_path: Path) -> None:
    assert row_of(replace(trial, timeout=300.0, resources=Resources(memory_gb=1000.0)), tmp_path)["status"] == "ok"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_limit_that_is_passed_where_python_loses_errors_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dawdles:
        def __del__(self) -> None:
            arrived.append("before")
            dawdle()
            arrived.append("never")

    monkeypatch.setattr("bench.limits.AGAIN_SECONDS", 0.2)
    arrived: list[str] = []
    with Limits(lambda: 10.0, timeout=1.0, memory_gb=None):
        Dawdles()
        arrived.append("after")
        with pytest.raises(LimitError):
            dawdle()
    assert arrived == ["before", "after"]


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "limits"]


def test_a_limit_that_is_found_passed_as_its_block_ends_is_raised_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.limits.POLL_SECONDS", 0.0)
    looks, has_ended = threading.Event(), threading.Event()

    def seconds() -> float:
        looks.set()
        has_ended.wait(10)
        return 10.0

    with Limits(seconds, timeout=1.0, memory_gb=None) as limits:
        looks.wait(10)
    (watcher,) = watchers()
    has_ended.set()
    watcher.join(10)
    assert limits.passed is not None
    assert not watcher.is_alive()


def test_a_limit_that_is_raised_as_its_block_ends_is_raised_but_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.limits.POLL_SECONDS", 0.0)
    monkeypatch.setattr("bench.limits.AGAIN_SECONDS", 0.01)
    raises, really = threading.Event(), limits_module._raise_in

    def raise_in(thread: int, error: type[BaseException] | None) -> None:
        if error is not None:
            raises.set()
            time.sleep(0.2)  # in which the block comes to its end, and waits for its lock
        really(thread, error)

    monkeypatch.setattr(limits_module, "_raise_in", raise_in)
    for _ in range(3):
        raises.clear()
        with Limits(lambda: 10.0, timeout=1.0, memory_gb=None) as limits:
            raises.wait(10)
        assert limits.passed is not None
        for watcher in watchers():
            watcher.join(10)
        assert not watchers()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError(CUDA), "asked for 20.00 GiB of GPU memory, where 12.31 GiB of 79.15 GiB were free"),
        (torch.OutOfMemoryError("out of memory"), "asked for more of GPU memory: lower batch_size"),
        (MemoryError("Unable to allocate 71.1 PiB for an array"), "asked for 71.1 PiB of main memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes."), "400 bytes"),
    ],
)
def test_running_out_of_memory_says_how_much_was_asked(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def greedy(self: Shift, source: torch.Tensor, target: torch.Tensor) -> Losses:
        raise error

    monkeypatch.setattr(Shift, "train_step", greedy)
    row = row_of(trial, tmp_path)
    assert (row["status"], row["error_type"]) == ("failed", "OutOfMemory")
    assert said in row["error"]
    assert "batch_size" in row["error"]


def test_other_errors_are_not_taken_for_memory() -> None:
    assert describe_out_of_memory(RuntimeError("the matrix is singular")) is None


@pytest.mark.parametrize("loss", [2 * EXPLODED, -2 * EXPLODED])
def test_a_loss_that_explodes_is_a_divergence(loss: float) -> None:
    with pytest.raises(DivergedError, match=r"critic is -?\de\+18 at step 3 of train"):
        Watch(lambda *_: None).record("train", 3, 10, {"loss": torch.tensor(0.0), "critic": torch.tensor(loss)})


def test_large_losses_of_either_sign_are_none() -> None:
    Watch(lambda *_: None).record("train", 3, 10, {"critic": torch.tensor(-1e12), "loss": torch.tensor(1e15)})


def test_a_parameter_that_is_not_finite_is_a_divergence_though_the_loss_is(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(self: Shift, source: torch.Tensor, target: torch.Tensor) -> Losses:
        self.offset.data[1] = float("nan")
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(Shift, "train_step", spoil)
    row = row_of(trial, tmp_path)
    assert (row["status"], row["error"]) == ("diverged", "the parameter offset is not finite after step 1 of train")
