"""Nothing connects to anything but this machine, except for data sets and weights that a user asked for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

SWEEPS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp", "energy-distance"]
published = "w2gn/gaussians"
batch_size = 16
seeds = 2
steps = 2
datasets.gaussians = { dim = 2 }
methods.w2gn = { hidden = [4, 4], pretrain_steps = 2 }
methods.identity = {}

[sweep.images]
kind = "autoencoding"
metrics = ["mse", "kmeans"]
batch_size = 16
steps = 2
datasets.digits = {}
methods.ae = { latent_dim = 2, width = 2 }
"""
LOCAL = ("127.0.0.1", "::1", "localhost")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Addresses and names elsewhere that something asked for; it got none."""
    found: list[object] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in LOCAL:
            found.append(address)
            raise OSError("no network")
        connect(self, address)

    def guarded_names(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in LOCAL:
            found.append(host)
            raise socket.gaierror("no network")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_names)
    return found


def test_runs_reports_and_lists_ask_nobody(
    asked: list[object], sweeps_file: Callable[[str], Path], tmp_path: Path
) -> None:
    results = ["--results", str(tmp_path / "results")]
    path = sweeps_file(SWEEPS)
    assert main(["run", str(path), "--executor", "inline", *results]) == 0
    trial_id = next((tmp_path / "results" / "rows" / "pairs").glob("*.parquet")).stem
    for line in (
        ["report", *results, "--out", str(tmp_path / "reports")],
        ["show", trial_id, *results],
        ["show", "w2gn/gaussians"],
        ["verify", trial_id, "--executor", "inline", *results],
        ["merge", str(tmp_path / "results"), "--out", str(tmp_path / "merged")],
        ["doctor", *results],
        *(["list", what] for what in ("methods", "datasets", "metrics", "published")),
        ["list", "sweeps", "--sweeps", str(path)],
    ):
        assert main(line) == 0, line
    assert asked == []


def test_the_guard_sees_who_asks(asked: list[object]) -> None:
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("example.invalid", 80), timeout=1)
    assert len(asked) == 2


def test_nobody_joins_our_ray_without_its_token_and_it_does_not_report_its_use() -> None:
    """It listens on all addresses of the machine; whoever joins it runs programs here."""
    stranger = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)"
    program = (
        "import os, subprocess, sys, ray\n"
        "from bench.ray_session import ray_session\n"
        "with ray_session(None):\n"
        "    address = ray.get_runtime_context().gcs_address\n"
        "    calm = {k: v for k, v in os.environ.items() if not k.startswith('RAY_')}\n"
        "    told = dict(RAY_AUTH_MODE='disabled'), dict(RAY_AUTH_MODE='token', RAY_AUTH_TOKEN='0' * 64), {}\n"
        f"    asked = [sys.executable, '-c', {stranger!r}, address]\n"
        "    strangers = [subprocess.Popen(asked, env=calm | each, stderr=subprocess.DEVNULL) for each in told]\n"
        "    assert all([each.wait() for each in strangers])\n"
        "    # Also where the environment says nothing of it, Ray's use is not reported; and Ray reads what we set.\n"
        "    from ray._common.usage import usage_lib\n"
        "    assert not usage_lib.usage_stats_enabled()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
