"""All that can run on a GPU runs on one that is pretended: see `tests.pretend_gpu`, and what runs in there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(torch.backends.cuda.is_built(), reason="a torch that is built for CUDA cannot pretend")
def test_what_runs_on_a_gpu_runs_on_a_pretended_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.pretend_gpu", "-p", "no:cacheprovider"]
    command += ["tests/on_pretended_gpu.py", f"--basetemp={tmp_path / 'pytest'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
