"""One real run through Ray Tune: the same numbers as in this process, and a dead worker harms only its own trial."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bench.driver import run_sweeps

ROOT = Path(__file__).parent.parent
SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 32
steps = 10
datasets.gaussians = { dim = 4 }
methods.w2gn = { pretrain_steps = 20 }
methods.linear = {}
methods."tests.faulty:Dies" = {}
methods."tests.faulty:Raises" = {}

[sweep.digits]
kind = "autoencoding"
metrics = ["mse", "kmeans", "linear-probe", "gaussian-mixture", "knn-probe", "active-units"]
batch_size = 32
steps = 10
seeds = 2
datasets.digits = {}
methods.vae = { latent_dim = 4 }
"""


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def ray_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "sweeps.toml").write_text(SWEEPS)
    return folder, bench("run", str(folder / "sweeps.toml"), "--results", str(folder / "results"), "--executor", "ray")


def test_every_planned_trial_has_its_row_and_the_exit_status_tells(
    ray_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, process = ray_run
    frame = pd.read_parquet(folder / "results" / "rows").drop_duplicates("trial_id").set_index(["method", "seed"])
    assert frame["status"].to_dict() == {
        ("w2gn", 0): "ok",
        ("linear", 0): "ok",
        ("tests.faulty:Dies", 0): "lost",
        ("tests.faulty:Raises", 0): "failed",
        ("vae", 0): "ok",
        ("vae", 1): "ok",
    }
    assert process.returncode == 1, process.stderr


def test_output_is_ours_alone(ray_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, process = ray_run
    assert "Traceback" not in process.stdout + process.stderr
    assert "raylet" not in process.stdout + process.stderr
    assert "6/6" in process.stdout


def test_inline_gives_bitwise_the_same_numbers(
    ray_run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = ray_run
    only = ["pairs/w2gn", "pairs/linear", "digits"]
    run_sweeps(folder / "sweeps.toml", results=tmp_path, executor="inline", only=only)
    ours, theirs = pd.read_parquet(tmp_path / "rows"), pd.read_parquet(folder / "results" / "rows")
    merged = ours.merge(theirs, on=["trial_id", "metric"])
    assert len(merged) == len(ours)
    assert ours["trial_id"].nunique() == 4
    assert (merged["value_x"] == merged["value_y"]).all()
    assert (merged["threads_x"] == merged["threads_y"]).all()


def test_running_again_through_ray_runs_only_the_lost_one(
    ray_run: tuple[Path, subprocess.CompletedProcess[str]], sweeps_file: Callable[[str], Path]
) -> None:
    folder, _ = ray_run
    plan = bench("run", str(folder / "sweeps.toml"), "--results", str(folder / "results"), "--dry-run").stdout
    assert "6 trials, 5 done, 1 to run" in plan
