"""A killed trial goes on from its checkpoint, and ends with the numbers of one that was never killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bench.checkpointing.checkpoints
from bench.cli import main
from bench.identity import Trial
from bench.outcomes import Outcome
from bench.storage.store import Store
from bench.sweeps import load_sweeps
from bench.trial import run_trial
from methods.base import Losses
from tests.faulty import Shift

ROOT = Path(__file__).parent.parent
SWEEPS = """
[sweep.images]
kind = "autoencoding"
metrics = ["mse", "latent-sliced-w2"]
batch_size = 64
epochs = 4
seeds = 1
patience = 3
datasets.digits = {}
methods.wae-mmd = { width = 4, latent_dim = 4, network = "mlp", pretraining_batch = 100, density = "gaussian" }

[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 32
steps = 60
seeds = 1
datasets.gaussians = { dim = 3 }
methods.mm = { inner_steps = 2, pretrain_steps = 20 }
methods.amortized-conjugate = { pretrain_steps = 20, batch_size_pretrain = 32 }
methods."tests.faulty:Shift" = {}
methods."tests.faulty:Prepares" = {}
methods."tests.faulty:Iterates" = {}
"""


@pytest.fixture
def trials(sweeps_file: Callable[[str], Path]) -> dict[str, Trial]:
    """One of each method, by its name."""
    return {trial.method.name: trial for sweep in load_sweeps(sweeps_file(SWEEPS), "quick") for trial in sweep.trials()}


class Killed(BaseException):
    """In place of a signal: the trial can do nothing about it."""


def numbers(store: Store, trial: Trial) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, torch.Tensor]]:
    """Metric values, curves without their times, and weights."""
    rows = pd.DataFrame(store.trial_rows(trial.sweep, trial.id))[["status", "metric", "value", "reason", "steps"]]
    curves = store.read_curves([trial.id])[["stage", "step", "name", "value"]]
    return rows, curves, load_file(store.artifacts_path(trial.id) / "weights.safetensors")


def assert_same_numbers(one: Store, other: Store, trial: Trial) -> None:
    (rows, curves, weights), (other_rows, other_curves, other_weights) = numbers(one, trial), numbers(other, trial)
    pd.testing.assert_frame_equal(rows, other_rows, check_exact=True)
    pd.testing.assert_frame_equal(curves, other_curves, check_exact=True)
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


def run(trial: Trial, folder: Path, seconds: float = 1e-9, stop: tuple[str, int] | None = None) -> Outcome | None:
    """Runs a trial, with a checkpoint after every update; killed when it reports a stage and step, if any."""

    def report(stage: str, step: int, planned: int | None, loss: float) -> None:
        if (stage, step) == stop:
            raise Killed

    try:
        return run_trial(trial, Store(folder), Path(os.environ["BENCH_DATA"]), report, seconds)
    except Killed:
        return None


@pytest.mark.parametrize(
    ("method", "stops"),
    [
        ("wae-mmd", [("train", 1), ("train", 37), ("validation", 2)]),
        ("mm", [("prepare", 5), ("train", 1), ("train", 31)]),
        ("amortized-conjugate", [("train", 30), ("train", 31), ("train", 60)]),
        ("tests.faulty:Shift", [("train", 59)]),
        ("tests.faulty:Prepares", [("prepare", 2), ("train", 7), ("train", 50)]),
    ],
)
def test_a_trial_killed_again_and_again_ends_as_an_undisturbed_one(
    trials: dict[str, Trial], tmp_path: Path, method: str, stops: list[tuple[str, int]]
) -> None:
    trial = trials[method]
    for stop in stops:
        assert run(trial, tmp_path / "killed", stop=stop) is None, "it was to be killed"
    assert run(trial, tmp_path / "killed") == Outcome("ok")
    assert run(trial, tmp_path / "whole", seconds=0) == Outcome("ok")
    assert_same_numbers(Store(tmp_path / "killed"), Store(tmp_path / "whole"), trial)


def test_what_was_trained_is_not_trained_again(
    trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, made = trials["tests.faulty:Shift"], []
    really = Shift.train_step

    def counted(self: Shift, *points: torch.Tensor) -> Losses:
        made.append(1)
        return really(self, *points)

    monkeypatch.setattr(Shift, "train_step", counted)
    run(trial, tmp_path, stop=("train", 41))
    assert len(made) == 41
    run(trial, tmp_path)
    assert len(made) == 61  # the 41st was not saved yet


def test_a_trial_killed_in_its_evaluation_is_evaluated_only(
    trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trials["mm"]

    def killed(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("bench.trial.measure", killed)
        run(trial, tmp_path / "killed")
    stages = []
    outcome = run_trial(
        trial,
        Store(tmp_path / "killed"),
        Path(os.environ["BENCH_DATA"]),
        lambda stage, *_: stages.append(stage),
        1e-9,
    )
    assert outcome.status == "ok"
    assert stages == []
    run(trial, tmp_path / "whole", seconds=0)
    assert_same_numbers(Store(tmp_path / "killed"), Store(tmp_path / "whole"), trial)


def test_seconds_of_the_attempt_gone_on_from_count(trials: dict[str, Trial], tmp_path: Path) -> None:
    trial, store = trials["tests.faulty:Shift"], Store(tmp_path)
    run(trial, tmp_path, stop=("train", 30))
    path = store.checkpoint_path(trial.sweep, trial.id)
    rewrite(path, lambda header: header | {"seconds": 1000.0, "peak_memory_bytes": 2**50})
    run(trial, tmp_path)
    row = store.trial_rows(trial.sweep, trial.id)[0]
    assert 1000 < row["train_seconds"] < 1100
    assert row["peak_memory_bytes"] == 2**50
    seconds = store.read_curves([trial.id]).set_index("step")["seconds"]
    assert seconds[29] < 1000 < seconds[31]


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Changes the header of a checkpoint, with the digest that belongs to it."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["header"])
    tensors = load_file(path)
    text = json.dumps(change(header))
    save_file(tensors, path, {"header": text, "sha256": bench.checkpointing.checkpoints._digest(text, tensors)})


def test_a_trial_with_its_rows_has_no_checkpoint_left(trials: dict[str, Trial], tmp_path: Path) -> None:
    trial = trials["tests.faulty:Shift"]
    run(trial, tmp_path, stop=("train", 30))
    folder = tmp_path / "checkpoints" / trial.sweep
    (folder / f".{trial.id}.safetensors.4711.tmp").write_text("half")
    assert [path.name for path in sorted(folder.iterdir())][-1] == f"{trial.id}.safetensors"
    run(trial, tmp_path)
    assert list(folder.iterdir()) == []


def test_short_trials_write_none_and_0_seconds_are_never(
    trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bench.checkpointing.checkpoints.Checkpoint._write", lambda *_: pytest.fail("a checkpoint was written")
    )
    for seconds in (bench.checkpointing.checkpoints.CHECKPOINT_SECONDS, 0):
        assert run(trials["tests.faulty:Shift"], tmp_path, seconds) == Outcome("ok")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_text("no checkpoint at all"), "damaged"),
        (flip_a_bit, "damaged"),
        (lambda path: rewrite(path, lambda header: {}), "damaged"),
        (lambda path: rewrite(path, lambda h: h | {"origin": h["origin"] | {"code": "other"}}), "another code"),
        (lambda path: rewrite(path, lambda h: h | {"origin": h["origin"] | {"trial": "other"}}), "another trial"),
        (lambda path: rewrite(path, lambda h: h | {"origin": h["origin"] | {"device": "cuda"}}), "another device"),
        (
            lambda path: rewrite(path, lambda h: json.loads(json.dumps(h).replace("faulty.Shift", "faulty.Gone"))),
            "not fit",
        ),
    ],
    ids=["truncated", "empty", "foreign", "flipped", "without header", "code", "trial", "device", "content"],
)
def test_a_checkpoint_that_cannot_be_gone_on_from_is_named_and_the_trial_begins_anew(
    trials: dict[str, Trial], tmp_path: Path, spoil: Callable[[Path], None], word: str
) -> None:
    trial = trials["tests.faulty:Shift"]
    run(trial, tmp_path / "killed", stop=("train", 30))
    spoil(Store(tmp_path / "killed").checkpoint_path(trial.sweep, trial.id))
    with pytest.warns(UserWarning, match=word):
        assert run(trial, tmp_path / "killed") == Outcome("ok")
    run(trial, tmp_path / "whole", seconds=0)
    assert_same_numbers(Store(tmp_path / "killed"), Store(tmp_path / "whole"), trial)


def test_a_run_by_force_does_not_go_on_from_before_the_rows_it_replaces(
    trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, steps = trials["tests.faulty:Shift"], []
    with monkeypatch.context() as patched:
        patched.setattr("bench.trial.remove_checkpoint", lambda *_: None)  # killed between the two
        run(trial, tmp_path)
    assert Store(tmp_path).checkpoint_path(trial.sweep, trial.id).exists()
    run_trial(
        trial,
        Store(tmp_path),
        Path(os.environ["BENCH_DATA"]),
        lambda stage, step, *_: steps.append(step),
        1e-9,
    )
    assert steps[0] == 1


def test_a_method_that_cannot_be_saved_runs_without_checkpoints_and_says_why(
    trials: dict[str, Trial], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=r"no checkpoints: state\['method'\].factors is a builtins.list_iterator"):
        assert run(trials["tests.faulty:Iterates"], tmp_path) == Outcome("ok")


@pytest.mark.parametrize("fault", ["full", "scarce", "too large"])
def test_a_checkpoint_that_cannot_be_written_is_one_warning_and_costs_nothing_else(
    trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    trial = trials["tests.faulty:Shift"]
    if fault == "full":

        def full(*arguments: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("bench.checkpointing.checkpoints.save_file", full)
    elif fault == "scarce":
        usage = SimpleNamespace(free=1000)
        monkeypatch.setattr("bench.checkpointing.checkpoints.shutil.disk_usage", lambda path: usage)
    else:
        monkeypatch.setattr("bench.checkpointing.checkpoints.LARGEST_BYTES", 100)
    with pytest.warns(UserWarning, match="no checkpoint could be written") as warned:
        assert run(trial, tmp_path) == Outcome("ok")
    assert len([w for w in warned if "checkpoint" in str(w.message)]) == 1
    assert not list(tmp_path.glob("checkpoints/**/*.*"))


@pytest.mark.parametrize(
    ("sweep", "method", "option"),
    [
        ("images", "wae-mmd", "methods.wae-mmd = { width = 8, latent_dim = 4, pretraining_batch = 100 }"),
        ("pairs", "amortized-conjugate", "methods.amortized-conjugate = { pretrain_steps = 20 }"),
    ],
)
def test_a_process_killed_by_the_kernel_goes_on_bitwise(
    sweeps_file: Callable[[str], Path], tmp_path: Path, sweep: str, method: str, option: str
) -> None:
    """SIGKILL in the middle of training, twice; early stopping of an autoencoder, a schedule of a map."""
    kind = {
        "images": 'kind = "autoencoding"\nmetrics = ["mse"]\nepochs = 6\npatience = 4\ndatasets.digits = {}',
        "pairs": 'kind = "transport"\nmetrics = ["l2-uvp"]\nsteps = 200\ndatasets.gaussians = { dim = 3 }',
    }[sweep]
    path = sweeps_file(f"[sweep.{sweep}]\n{kind}\nbatch_size = 32\nseeds = 1\n{option}\n")
    (trial,) = load_sweeps(path, "quick")[0].trials()

    def arguments(folder: Path, seconds: float) -> list[str]:
        where = ["--results", str(folder), "--executor", "inline"]
        return ["run", str(path), *where, "--checkpoint-seconds", str(seconds)]

    killed, whole = Store(tmp_path / "killed"), Store(tmp_path / "whole")
    checkpoint, written = killed.checkpoint_path(trial.sweep, trial.id), 0
    for _ in range(2):
        command = [sys.executable, "-m", "bench", *arguments(killed.root, 0.05)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns <= written:
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        written = checkpoint.stat().st_mtime_ns
    assert killed.status(trial.sweep, trial.id) is None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*begins anew")
        assert main(arguments(killed.root, 60)) == 0
    assert killed.trial_rows(trial.sweep, trial.id)[0]["resumed"] == 2
    assert main(arguments(whole.root, 0)) == 0
    assert_same_numbers(killed, whole, trial)
