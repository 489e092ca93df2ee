"""Random kills of the driver, of workers and of the raylet: see `tests.faults.kills`, which also runs by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
A_FEW = ["--kills", "2", "--trials", "2", "--seconds", "4", "--seed", "42"]
"""A worker and then the driver, each seconds after a first checkpoint."""
MANY = ["--kills", "200", "--trials", "50"]


@pytest.mark.parametrize("options", [A_FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["a few", "two hundred"])
def test_a_sweep_that_is_killed_again_and_again_ends_as_an_undisturbed_one(options: list[str]) -> None:
    command = [sys.executable, "-m", "tests.faults.kills", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^[1-9]\d* resumptions", done.stdout, re.MULTILINE), done.stdout
