"""Random kills of the driver, of workers and of the raylet: see `tests.faults.kills`, which also runs by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("kills", "trials"), [(2, 3), pytest.param(200, 50, marks=pytest.mark.slow)], ids=["a few", "two hundred"]
)
def test_a_sweep_that_is_killed_again_and_again_ends_as_an_undisturbed_one(kills: int, trials: int) -> None:
    command = [sys.executable, "-m", "tests.faults.kills", "--kills", str(kills), "--trials", str(trials)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
