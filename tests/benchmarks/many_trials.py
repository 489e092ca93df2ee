"""What a sweep of many trivial trials costs through Ray: seconds a trial, first to last, and the driver's memory.

    python tests/benchmarks/many_trials.py --trials 10000

Overhead is what a CPU spends on a trial beyond what the trial takes by itself, inline.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = """
[sweep.trivial]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 1
steps = 1
datasets.gaussians = {}
methods.identity = {}
"""
WATCH_SECONDS = 0.5


def run(folder: Path, name: str, trials: int, executor: str) -> tuple[np.ndarray, np.ndarray]:
    """Runs so many trials by a command line of its own.

    Returns:
        Seconds from its start at which each trial's rows were written, in order, and last its end: [trials + 1].
        Seconds and the MiB that its first process had then, every WATCH_SECONDS: [times, 2].
    """
    (folder / "sweeps.toml").write_text(SWEEPS)
    options = f"--seeds {trials} --executor {executor} --results {folder / name} --data {folder / 'data'}"
    command = [sys.executable, "-m", "bench", "run", str(folder / "sweeps.toml"), *options.split()]
    memory = []
    started = time.time()
    with (folder / f"{name}.log").open("w") as log:
        driver = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        while driver.poll() is None:
            if pages := Path(f"/proc/{driver.pid}/statm").read_text().split()[1:2]:
                memory.append((time.time() - started, int(pages[0]) * os.sysconf("SC_PAGE_SIZE") / 2**20))
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(WATCH_SECONDS)
        ended = time.time()
    if driver.returncode:
        raise SystemExit((folder / f"{name}.log").read_text())
    rows = [path.stat().st_mtime for path in (folder / name / "rows").rglob("*.parquet")]
    return np.array([*sorted(rows), ended]) - started, np.array(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--group", type=int, default=1000, help="trials a line of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        (*inline, _), _ = run(Path(scratch), "inline", 200, "inline")
        (*ends, total), memory = run(Path(scratch), "ray", options.trials, "ray")
    alone, cpus = np.diff(inline).mean(), os.cpu_count() or 1
    print(f"{alone * 1000:.1f} ms a trial by itself; {cpus} CPUs")
    print("  trials   ms a trial   ms of overhead   MiB of the driver")
    # The first trial's end stands for the start: Ray has started by then.
    for first in range(0, len(ends) - 1, options.group):
        group = ends[first : first + options.group + 1]
        wall = (group[-1] - group[0]) / (len(group) - 1)
        resident = memory[memory[:, 0] <= group[-1], 1][-1]
        overhead = cpus * wall - alone
        print(f"{first + len(group) - 1:8d} {wall * 1000:12.1f} {overhead * 1000:16.1f} {resident:19.0f}")
    print(f"all in {total:.1f} s: {ends[0]:.1f} s to the first, {total - ends[-1]:.1f} s after the last")
    print(f"{total - alone * options.trials / cpus:.1f} s beyond what the trials take by themselves")
    print(f"{memory[:, 1].max():.0f} MiB of the driver at most")


if __name__ == "__main__":
    main()
