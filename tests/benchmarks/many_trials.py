"""What a sweep of many trivial trials costs through Ray: seconds a trial, first to last, and the driver's memory.

    python tests/benchmarks/many_trials.py --trials 10000

Overhead is what a CPU spends on a trial beyond what the trial takes by itself, inline.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))  # for workers

from bench.driver import run_sweeps  # noqa: E402

SWEEPS = """
[sweep.trivial]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 1
steps = 1
datasets.gaussians = {}
methods.identity = {}
"""


def finished(results: Path) -> np.ndarray:
    """Seconds from the start of the clock at which each trial's rows were written, in order."""
    return np.sort([path.stat().st_mtime for path in (results / "rows").rglob("*.parquet")])


def run(folder: Path, name: str, trials: int, executor: str) -> np.ndarray:
    """Runs so many trials; returns when each was finished, in seconds."""
    with (folder / f"{name}.log").open("w") as log:
        status = run_sweeps(
            folder / "sweeps.toml",
            seeds=trials,
            executor=executor,
            results=folder / name,
            data=folder / "data",
            console=Console(file=log, width=200),
        )
    if status:
        raise SystemExit((folder / f"{name}.log").read_text())
    return finished(folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--group", type=int, default=1000, help="trials a line of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "sweeps.toml").write_text(SWEEPS)
        alone = np.diff(run(folder, "inline", 200, "inline")).mean()
        before, started = _peak(), time.time()
        ends = run(folder, "ray", options.trials, "ray")
        total = time.time() - started
    cpus = os.cpu_count() or 1
    print(f"{alone * 1000:.1f} ms a trial by itself; {cpus} CPUs")
    print("  trials   ms a trial   ms of overhead")
    # The first trial's end stands for the start: Ray has started by then.
    for first in range(0, len(ends) - 1, options.group):
        group = ends[first : first + options.group + 1]
        wall = (group[-1] - group[0]) / (len(group) - 1)
        print(f"{first + len(group) - 1:8d} {wall * 1000:12.1f} {(cpus * wall - alone) * 1000:16.1f}")
    print(
        f"all in {total:.0f} s; {ends[0] - started:.0f} s to the first, "
        f"{started + total - ends[-1]:.0f} s after the last"
    )
    print(f"driver's peak memory: {before / 2**20:.0f} MiB before Ray, {_peak() / 2**20:.0f} MiB in the end")


def _peak() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
