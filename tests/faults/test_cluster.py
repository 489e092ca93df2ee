"""A cluster of two Ray nodes on this host: the code comes with the run, and a node may go in the middle of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.ray_session import SETTINGS, ship
from bench.tuning.search_records import read_searches

ROOT = Path(__file__).parent.parent.parent
SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 8
steps = 20
seeds = 6
datasets.gaussians = {}
methods."tests.faulty:Slow" = {}

[sweep.elsewhere]
kind = "transport"
metrics = ["l2-uvp"]
steps = 1
batch_size = 8
seeds = 1
datasets.gaussians = {}
methods.identity = {}
resources = { custom = { a100 = 1 } }
"""

SEARCH = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 8
steps = 20
splits = ["validation", "test"]
datasets.gaussians = {}
methods."tests.faulty:Slow" = {}
resources = { custom = { spot = 1 } }
[sweep.pairs.tuning]
metric = "l2-uvp"
trials = 20
methods."tests.faulty:Slow" = { lr = { distribution = "log-uniform", low = 1e-3, high = 1e-1 } }
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield found
    found.shutdown()


def test_a_sweep_outlives_one_of_two_nodes(cluster: Any, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1)
    (tmp_path / "sweeps.toml").write_text(SWEEPS)
    where = ["--results", str(tmp_path / "results"), "--address", cluster.address]
    command = [sys.executable, "-m", "bench", "run", str(tmp_path / "sweeps.toml"), "--wait", "0", *where]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows = tmp_path / "results" / "rows" / "pairs"
    deadline = time.monotonic() + 200
    while not list(rows.glob("[!.]*.parquet")):
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cluster.remove_node(second, allow_graceful=False)
    printed, _ = run.communicate(timeout=300)
    frame = pd.read_parquet(tmp_path / "results" / "rows").set_index("sweep")
    assert frame.loc["pairs", "status"].tolist() == ["ok"] * 6, printed
    assert frame.loc["pairs", "trial_id"].nunique() == 6
    assert frame.loc["pairs", "git_sha"].notna().all()
    assert frame.loc["elsewhere", "error_type"] == "ResourcesUnavailable"
    assert "asks for 1 CPU, 0 GPUs, 1 a100 a trial, and no machine has that" in frame.loc["elsewhere", "error"]
    assert run.returncode == 1
    assert "Traceback" not in printed


def test_a_search_ends_when_the_last_node_that_could_take_its_trials_goes(cluster: Any, tmp_path: Path) -> None:
    spot = cluster.add_node(num_cpus=1, resources={"spot": 1})
    (tmp_path / "sweeps.toml").write_text(SEARCH)
    where = ["--results", str(tmp_path / "results"), "--address", cluster.address]
    command = [sys.executable, "-m", "bench", "tune", str(tmp_path / "sweeps.toml"), *where]
    search = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 200
    while read_searches(tmp_path / "results", "pairs", "quick").empty:
        assert search.poll() is None, search.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cluster.remove_node(spot, allow_graceful=False)
    printed, _ = search.communicate(timeout=300)
    assert search.returncode == 2, printed
    assert "the same command goes on" in printed
    assert "Traceback" not in printed
    ended = read_searches(tmp_path / "results", "pairs", "quick").drop_duplicates("number")
    assert set(ended.loc[ended["state"] == "lost", "error"]) == {"no node was left that could take it"}
    assert set(ended["state"]) <= {"completed", "stopped", "lost"}
    assert ended["value"].notna().iloc[0]
    assert len(ended) < 20


def test_a_run_that_cannot_join_a_cluster_says_so(tmp_path: Path) -> None:
    (tmp_path / "sweeps.toml").write_text(SWEEPS)
    command = [sys.executable, "-m", "bench", "run", str(tmp_path / "sweeps.toml"), "--address", "127.0.0.1:1"]
    where = ["--results", str(tmp_path / "results")]
    done = subprocess.run([*command, *where], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert "Ray cannot be joined at 127.0.0.1:1" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 2


def test_what_is_shipped_is_the_code_alone(tmp_path: Path) -> None:
    ship(["w2gn", "tests.faulty:Slow"], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"bench", "datasets", "methods", "tests"}
    assert not (tmp_path / "results").exists()
    assert not list(tmp_path.rglob("*.pyc"))
    ours = sum(
        path.stat().st_size
        for name in ("bench", "datasets", "methods")
        for path in (tmp_path / name).rglob("*")
        if path.is_file()
    )
    assert ours < 4_000_000
