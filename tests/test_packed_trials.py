"""Whole trials of a pack: each has its row, curves and weights as if it had run alone; a pack that fails is undone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bench.identity import Trial
from bench.outcomes import Outcome
from bench.packed_trials import run_pack
from bench.storage.store import Store
from bench.sweeps import load_sweeps
from bench.trial import run_trial
from tests.packable import Affine

ROOT = Path(__file__).parent.parent
PAIRS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 32
steps = 40
seeds = 3
datasets.gaussians = { dim = 2 }
"""
IMAGES = """
[sweep.images]
kind = "autoencoding"
metrics = ["mse", "latent-sliced-w2"]
batch_size = 32
steps = 20
seeds = 3
datasets.digits = {}
"""
VAE = 'methods.vae = { network = "mlp", width = 4, latent_dim = 4, density = "gaussian" }\n'
W2GN = "methods.w2gn = { hidden = [8, 8], pretrain_steps = 10 }\n"
PARTED = 'methods."tests.packable:{}" = {{ luck = {} }}\n'
Plan = Callable[[str], list[Trial]]


class Killed(BaseException):
    """In place of a signal: nobody can do anything about it."""


@pytest.fixture
def plan(sweeps_file: Callable[[str], Path]) -> Plan:
    return lambda text: [trial for sweep in load_sweeps(sweeps_file(text), "quick") for trial in sweep.trials()]


def packed(
    trials: list[Trial], folder: Path, seconds: float = 0, stop: Callable[[str, int, int], bool] | None = None
) -> tuple[list[Outcome] | None, list[str]]:
    """Outcomes and notes; None where it was killed, as it is where `stop(trial's place, stage, step)` says so."""
    notes: list[str] = []

    def report(at: int) -> Callable[[str, int, int | None, float], None]:
        def tell(stage: str, step: int, planned: int | None, loss: float) -> None:
            if stop and stop(stage, step, at):
                raise Killed

        return tell

    data = Path(os.environ["BENCH_DATA"])
    try:
        reports = [report(at) for at in range(len(trials))]
        return run_pack(trials, Store(folder), data, reports, notes.append, seconds), notes
    except Killed:
        return None, notes


def alone(trials: list[Trial], folder: Path) -> list[Outcome]:
    data = Path(os.environ["BENCH_DATA"])
    return [run_trial(trial, Store(folder), data, lambda *_: None, 0) for trial in trials]


def rows_of(folder: Path, trial: Trial) -> pd.DataFrame:
    return pd.DataFrame(Store(folder).trial_rows(trial.sweep, trial.id))


def assert_same_numbers(one: Path, other: Path, trials: list[Trial], rtol: float = 0.0) -> None:
    """Rows, curves and weights: bitwise, or but for a relative difference."""
    for trial in trials:
        columns = ["trial_id", "seed", "status", "metric", "value", "reason", "n_samples", "protocol", "steps"]
        rows, others = rows_of(one, trial)[columns], rows_of(other, trial)[columns]
        pd.testing.assert_frame_equal(rows, others, check_exact=not rtol, rtol=rtol or 1)
        if set(rows["status"]) == {"ok"}:
            weights, theirs = (
                load_file(Store(f).artifacts_path(trial.id) / "weights.safetensors") for f in (one, other)
            )
            torch.testing.assert_close(weights, theirs, rtol=rtol, atol=rtol)
        curves, those = (Store(folder).read_curves([trial.id]).drop(columns="seconds") for folder in (one, other))
        pd.testing.assert_frame_equal(curves, those, check_exact=not rtol, rtol=rtol or 1, atol=rtol)


@pytest.mark.parametrize("text", [PAIRS + W2GN, IMAGES + VAE], ids=["w2gn", "vae"])
def test_each_trial_of_a_pack_leaves_what_it_leaves_alone(plan: Plan, tmp_path: Path, text: str) -> None:
    trials = plan(text)
    outcomes, notes = packed(trials, tmp_path / "packed")
    assert outcomes == [Outcome("ok")] * 3
    assert notes == []
    alone(trials, tmp_path / "alone")
    assert_same_numbers(tmp_path / "packed", tmp_path / "alone", trials, rtol=1e-3)
    values = {rows_of(tmp_path / "packed", trial)["value"][0] for trial in trials}
    assert len(values) == 3, "each has its own"


def test_rows_say_how_they_came_about(plan: Plan, tmp_path: Path) -> None:
    trials = plan(PAIRS + W2GN)
    packed(trials, tmp_path / "packed")
    packed(trials[:1], tmp_path / "one")
    said = ["packed", "compiled", "precision"]
    for trial in trials:
        assert rows_of(tmp_path / "packed", trial)[said].iloc[0].tolist() == [3, False, "float32"]
    assert rows_of(tmp_path / "one", trials[0])[said].iloc[0].tolist() == [1, False, "float32"]


def test_seconds_of_training_are_shares(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials, clock = plan(PAIRS + 'methods."tests.packable:Affine" = {}\n'), [0.0]
    really = Affine.objective

    def timed(self: Affine, *points: torch.Tensor) -> Any:
        clock[0] += 3.0
        return really(self, *points)

    monkeypatch.setattr(Affine, "objective", timed)
    monkeypatch.setattr("bench.training.time.perf_counter", lambda: clock[0])
    packed(trials, tmp_path)
    seconds = [rows_of(tmp_path, trial)["train_seconds"][0] for trial in trials]
    # Before the first update each model's objective is calculated alone; then there is one calculation an update.
    assert seconds == pytest.approx([(3 + 40) * 3.0 / 3] * 3)
    curve = Store(tmp_path).read_curves([trials[1].id])["seconds"]
    assert curve.is_monotonic_increasing
    assert curve.iloc[-1] == pytest.approx(seconds[1])


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("Branches", "RuntimeError: vmap"),
        ("DrawsMasks", "PackError: its objective draws random numbers in a way that cannot be packed"),
        ("DrawsMore", "DrawError: its objective does not draw the same random numbers"),
        ("Mixes", "PackError: its losses are"),
        ("Counts", "PackError: its models differ in called"),
    ],
)
def test_a_pack_that_cannot_be_says_why_and_its_trials_end_as_they_do_alone(
    plan: Plan, tmp_path: Path, method: str, reason: str
) -> None:
    trials = plan(PAIRS + f'methods."tests.packable:{method}" = {{}}\n')
    outcomes, notes = packed(trials, tmp_path / "packed")
    assert outcomes == [Outcome("ok")] * 3
    (note,) = notes
    assert note.startswith(f"3 trials of pairs that were packed run one by one: {reason}")
    assert "\n" not in note
    alone(trials, tmp_path / "alone")
    assert_same_numbers(tmp_path / "packed", tmp_path / "alone", trials)
    assert {rows_of(tmp_path / "packed", trial)["packed"][0] for trial in trials} == {1}


@pytest.fixture
def luck(plan: Plan, tmp_path: Path) -> float:
    """What the fate of one of three seeds is below."""
    trials = plan(PAIRS + 'methods."tests.packable:Affine" = {}\n')
    alone(trials, tmp_path / "fates")
    fates = sorted(
        load_file(Store(tmp_path / "fates").artifacts_path(trial.id) / "weights.safetensors")["fate"].item()
        for trial in trials
    )
    return (fates[0] + fates[1]) / 2


def test_a_seed_that_diverges_does_so_by_itself(plan: Plan, tmp_path: Path, luck: float) -> None:
    trials = plan(PAIRS + PARTED.format("TurnsNaN", luck))
    outcomes, notes = packed(trials, tmp_path / "packed")
    assert outcomes is not None
    assert sorted(outcome.status for outcome in outcomes) == ["diverged", "ok", "ok"]
    assert notes == [
        "3 trials of pairs that were packed run one by one: DivergedError: loss is nan at step 10 of train"
    ]
    assert alone(trials, tmp_path / "alone") == outcomes
    assert_same_numbers(tmp_path / "packed", tmp_path / "alone", trials)


def test_an_evaluation_that_fails_is_one_trials_own(plan: Plan, tmp_path: Path, luck: float) -> None:
    trials = plan(PAIRS + PARTED.format("Unmeasurable", luck))
    outcomes, notes = packed(trials, tmp_path)
    assert outcomes is not None
    assert notes == []
    assert sorted((o.status, o.error_type) for o in outcomes if o.error_type) == [("failed", "RuntimeError")]
    for trial, outcome in zip(trials, outcomes, strict=True):
        row = rows_of(tmp_path, trial).iloc[0]
        assert (row["status"], row["packed"], row["steps"]) == (outcome.status, 3, 40)


def test_a_time_limit_is_of_each_trials_share(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    really = Affine.objective

    def timed(self: Affine, *points: torch.Tensor) -> Any:
        clock[0] += 3.0
        return really(self, *points)

    monkeypatch.setattr(Affine, "objective", timed)
    monkeypatch.setattr("bench.training.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("bench.limits.POLL_SECONDS", 1e9)  # the clock here is no real one
    text = 'methods."tests.packable:Affine" = {}\n'
    outcomes, notes = packed(plan(PAIRS + "timeout = 60\n" + text), tmp_path / "enough")
    assert (outcomes, notes) == ([Outcome("ok")] * 3, [])
    outcomes, (note,) = packed(plan(PAIRS + "timeout = 30\n" + text), tmp_path / "short")
    assert outcomes is not None
    assert {outcome.status for outcome in outcomes} == {"timeout"}
    assert "TimedOutError" in note


def in_training(step: int, of: int = 0) -> Callable[[str, int, int], bool]:
    return lambda stage, at, trial: (stage, at, trial) == ("train", step, of)


@pytest.mark.parametrize("text", [PAIRS + W2GN, IMAGES + VAE], ids=["w2gn", "vae"])
def test_a_pack_killed_again_and_again_ends_bitwise_as_an_undisturbed_one(
    plan: Plan, tmp_path: Path, text: str
) -> None:
    trials, killed, begun = plan(text), tmp_path / "killed", []
    for step in (1, 7, 15):
        outcomes, _ = packed(trials, killed, 1e-9, in_training(step, of=2))
        assert outcomes is None

    def note(stage: str, step: int, trial: int) -> bool:
        begun.append((stage, step))
        return False

    outcomes, notes = packed(trials, killed, 1e-9, note)
    assert (outcomes, notes) == ([Outcome("ok")] * 3, [])
    assert begun[0] == ("train", 15)
    packed(trials, tmp_path / "whole")
    assert_same_numbers(killed, tmp_path / "whole", trials)
    assert {rows_of(killed, trial)["resumed"][0] for trial in trials} == {3}
    assert not list(killed.glob("checkpoints/**/*.safetensors"))


def test_a_pack_killed_between_two_checkpoints_goes_on_one_by_one(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.checkpointing.checkpoints import Checkpoint

    trials, written, really = plan(IMAGES + VAE), [], Checkpoint._write

    def killed(self: Checkpoint, position: Any, snapshot: Any) -> None:
        written.append(position.step)
        if len(written) == 8:
            raise Killed
        really(self, position, snapshot)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "_write", killed)
        assert packed(trials, tmp_path / "killed", 1e-9)[0] is None
    assert written[-3:] == [1, 2, 2], "of three trials one is a step ahead"
    outcomes, notes = packed(trials, tmp_path / "killed", 1e-9)
    assert (outcomes, notes) == ([Outcome("ok")] * 3, [])
    alone(trials, tmp_path / "alone")
    assert_same_numbers(tmp_path / "killed", tmp_path / "alone", trials, rtol=5e-3)


def test_a_pack_killed_in_its_evaluations_still_ends(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.trial

    trials, measured, really = plan(PAIRS + W2GN), [], bench.trial.measure

    def killed(*arguments: Any) -> Any:
        measured.append(1)
        if len(measured) == 2:
            raise Killed
        return really(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("bench.trial.measure", killed)
        assert packed(trials, tmp_path / "killed", 1e-9)[0] is None
    store = Store(tmp_path / "killed")
    assert [store.status(trial.sweep, trial.id) for trial in trials] == ["ok", None, None]
    outcomes, notes = packed(trials[1:], tmp_path / "killed", 1e-9)
    assert (outcomes, notes) == ([Outcome("ok")] * 2, [])
    alone(trials, tmp_path / "alone")
    assert_same_numbers(tmp_path / "killed", tmp_path / "alone", trials, rtol=1e-3)


def test_a_pack_that_fails_after_a_kill_begins_anew(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, fault = plan(PAIRS + 'methods."tests.packable:Recovers" = {}\n'), tmp_path / "fault"
    packed(trials, tmp_path / "killed", 1e-9, in_training(20))
    fault.touch()
    monkeypatch.setenv("BENCH_TEST_FAULT", str(fault))
    with pytest.warns(UserWarning, match="written with another pack"):
        outcomes, (note,) = packed(trials, tmp_path / "killed", 1e-9)
    assert outcomes is not None
    assert {(outcome.status, outcome.error_type) for outcome in outcomes} == {("failed", "RuntimeError")}
    assert "RuntimeError: the fault is there" in note
    assert {rows_of(tmp_path / "killed", trial)["resumed"][0] for trial in trials} == {0}


def test_bfloat16_is_recorded_and_gives_other_numbers_that_are_close(plan: Plan, tmp_path: Path) -> None:
    text = IMAGES + VAE
    exact = plan(text)
    rough = plan(text.replace("steps = 20", 'steps = 20\nprecision = "bfloat16"'))
    alone(exact[:1], tmp_path)
    outcomes, notes = packed(rough, tmp_path)
    assert (outcomes, notes) == ([Outcome("ok")] * 3, [])
    one, other = rows_of(tmp_path, exact[0]), rows_of(tmp_path, rough[0])
    assert other["precision"].unique().tolist() == ["bfloat16"]
    (mse,), (rough_mse,) = (rows[rows["metric"] == "mse"]["value"].tolist() for rows in (one, other))
    assert rough_mse != mse
    assert rough_mse == pytest.approx(mse, rel=0.05)


@pytest.fixture(scope="module")
def ray_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "sweeps.toml").write_text(
        PAIRS
        + "pack = 3\n"
        + W2GN
        + 'methods."tests.packable:DrawsMasks" = {}\nmethods."tests.packable:DiesInPacks" = {}\n'
    )
    command = [sys.executable, "-m", "bench", "run", "sweeps.toml", "--results", "results", "--executor", "ray"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder, ran.stdout


def test_through_ray_packs_give_the_numbers_that_they_give_here(ray_run: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = ray_run
    trials = [t for t in load_sweeps(folder / "sweeps.toml", "quick")[0].trials() if t.method.name == "w2gn"]
    packed(trials, tmp_path)
    assert_same_numbers(folder / "results", tmp_path, trials)
    assert {rows_of(folder / "results", trial)["packed"][0] for trial in trials} == {3}


def test_through_ray_packs_that_fail_or_die_run_one_by_one_and_say_so(ray_run: tuple[Path, str]) -> None:
    folder, printed = ray_run
    words = " ".join(printed.split())
    assert "3 trials of pairs that were packed run one by one: PackError" in words
    assert "3 trials of pairs run one by one: their process died, packed" in words
    rows = pd.read_parquet(folder / "results" / "rows").drop_duplicates("trial_id")
    assert set(rows["status"]) == {"ok"}
    assert rows.groupby("method")["packed"].unique().map(list).to_dict() == {
        "w2gn": [3],
        "tests.packable:DrawsMasks": [1],
        "tests.packable:DiesInPacks": [1],
    }
