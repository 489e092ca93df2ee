"""Kills a sweep at random, again and again, and looks what came of it; Linux only.

    python -m tests.faults.kills --kills 200 --trials 50

Driver, a worker or the raylet gets SIGKILL or SIGINT at a random moment, and `run` is started again until every trial
is ok. Who is killed, how and when follows from --seed; what that does depends on the machine. Exit status 0 says: one
ok row file a trial, no finished trial begun again, values, curves and weights those of an undisturbed inline run, bit
by bit, no traceback printed, no run that hung, no process left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bench.storage.store import Store
from tests.faults.paced import LOG
from tests.faults.processes import adopt_orphans, below, bury, end_all

ROOT = Path(__file__).parent.parent.parent
HUNG_SECONDS = 120.0
"""Without a sign of life after which a run counts as hung."""
SWEEPS = """
[sweep.paced]
kind = "transport"
metrics = ["l2-uvp", "cosine"]
batch_size = 16
steps = {steps}
datasets.gaussians = {{}}
methods."tests.faults.paced:Paced" = [
    {{ number = {short} }},
    {{ number = {long}, steps = {long_steps} }},
]
"""
TARGETS: dict[str, Callable[[str], bool]] = {
    "driver": lambda command: "-m bench run" in command,
    "worker": lambda command: command.startswith("ray::ImplicitFunc"),
    "raylet": lambda command: command.split(" ")[0].endswith("/raylet"),
}
SHARES = (0.2, 0.6, 0.2)
"""Of the kills, by target: a run survives those of its workers, and each start takes seconds."""
SIGNALS = (signal.SIGKILL, signal.SIGINT)


@dataclass
class Faults:
    """What was done, and what went wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    checkpoints: int = 0
    wrong: list[str] = field(default_factory=list)


class Sweep:
    """A sweep in a folder, and the log of what ran."""

    def __init__(self, folder: Path, trials: int, seconds: float) -> None:
        self.folder, self.trials = folder, trials
        self.log = folder / "log"
        self.log.touch()
        self.store = Store(folder / "results")
        long = trials // 10
        steps = round(seconds / 0.05)
        numbers = {"short": list(range(trials - long)), "long": list(range(trials - long, trials))}
        text = SWEEPS.format(steps=steps, long_steps=10 * steps, **numbers)
        (folder / "sweeps.toml").write_text(text if long else re.sub(r".*long.*\n|.*number = \[\],.*\n", "", text))

    def start(self, executor: str, results: Path) -> subprocess.Popen[str]:
        """Starts `run`, its output going to a file."""
        environment = os.environ | {LOG: str(self.log), "RAY_TMPDIR": str(self.folder), "TMPDIR": str(self.folder)}
        command = [sys.executable, "-m", "bench", "run", str(self.folder / "sweeps.toml")]
        command += ["--results", str(results), "--data", str(self.folder / "data"), "--executor", executor]
        command += ["--checkpoint-seconds", "1"]
        # A shell's background jobs ignore Ctrl-C, and hand that down: a run started at a prompt does not.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with (self.folder / "output").open("a") as output:
                return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, text=True)
        finally:
            signal.signal(signal.SIGINT, before)

    def begun(self) -> list[int]:
        """Numbers of the trials in the order in which they began, each as often as it did."""
        return [int(line.split()[1]) for line in self.log.read_text().splitlines() if line.startswith("begin")]

    def ended(self) -> Counter[str]:
        """How often each trial was trained to its end."""
        return Counter(line for line in self.log.read_text().splitlines() if line.startswith("end"))

    def done(self) -> set[int]:
        """Numbers of the trials with an ok row."""
        rows = self.store.read().rows
        params = rows[rows["status"] == "ok"]["params"].unique()
        return {int(re.findall(r'"number":(\d+)', text)[0]) for text in params}


def kill_until_done(sweep: Sweep, kills: int, generator: np.random.Generator) -> Faults:
    """Starts `run` again and again, killing, until every trial is ok; after so many kills it is left in peace."""
    faults = Faults()
    for attempt in range(10 * kills + 10):
        done, begun = sweep.done(), len(sweep.begun())
        if len(done) == sweep.trials:
            return faults
        faults.checkpoints += len(list(sweep.store.root.glob("checkpoints/*/[!.]*")))
        print(f"{faults.kills.total()} kills, {len(done)} of {sweep.trials} ok", file=sys.stderr, flush=True)
        driver = sweep.start("ray", sweep.store.root)
        _disturb(sweep, driver, kills, faults, generator)
        faults.exits[driver.returncode] += 1
        if again := sorted(done & set(sweep.begun()[begun:])):
            faults.wrong.append(f"attempt {attempt} began trials that were ok: {again}")
        bury()
    faults.wrong.append(f"after {attempt + 1} attempts only {len(done)} of {sweep.trials} trials are ok")
    return faults


def _disturb(
    sweep: Sweep, driver: subprocess.Popen[str], kills: int, faults: Faults, generator: np.random.Generator
) -> None:
    """Kills until the run ends, by itself or not."""
    while driver.poll() is None:
        if faults.kills.total() >= kills:
            _wait(sweep, driver, faults, lambda: False)
            return
        target = str(generator.choice(list(TARGETS), p=SHARES))
        with_signal = signal.Signals(generator.choice(SIGNALS))
        # Some kills meet the start, most running trials: of a sweep that is ahead of the kills any, else fresh ones.
        early = generator.random() < 0.1
        ahead = len(sweep.done()) * kills >= faults.kills.total() * sweep.trials
        pause = generator.random() * (4.0 if early else 0.8 if ahead else 3.0)
        at_start = len(sweep.begun())
        if not (early or ahead):
            _wait(sweep, driver, faults, lambda at_start=at_start: len(sweep.begun()) > at_start)
        moment = time.monotonic() + pause
        _wait(sweep, driver, faults, lambda moment=moment: time.monotonic() >= moment)
        _wait(sweep, driver, faults, lambda target=target: bool(_find(target)))
        found = _find(target)
        if driver.poll() is None and found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(generator.choice(found)), with_signal)
                faults.kills[f"{target} {with_signal.name}"] += 1


def _wait(sweep: Sweep, driver: subprocess.Popen[str], faults: Faults, until: Callable[[], bool]) -> None:
    """Waits until something is so or the run has ended; kills a run that shows no sign of life for long."""
    seen, since = -1, time.monotonic()
    while driver.poll() is None and not until():
        size = sum(path.stat().st_size for path in (sweep.log, sweep.folder / "output"))
        if size != seen:
            seen, since = size, time.monotonic()
        elif time.monotonic() - since > HUNG_SECONDS:
            faults.wrong.append(f"a run hung for {HUNG_SECONDS:g} s after {faults.kills.total()} kills")
            driver.kill()
            driver.wait()
        time.sleep(0.05)


def _find(target: str) -> list[int]:
    return [process.pid for process in below(os.getpid()) if TARGETS[target](process.command)]


def compare(sweep: Sweep, other: Path) -> list[str]:
    """What differs between the sweep's results and those under `other`, in words; nothing, if all is well."""
    wrong = []
    ours, theirs = sweep.store.read(), Store(other).read()
    wrong += ours.problems
    columns = ["trial_id", "status", "metric", "split", "value", "reason", "steps", "protocol"]
    a, b = (read.rows[columns].sort_values(columns[:4]).reset_index(drop=True) for read in (ours, theirs))
    if not a.equals(b):
        wrong.append(f"rows differ:\n{a.compare(b) if a.shape == b.shape else (a.shape, b.shape)}")
    curves = [
        store.read_curves().drop(columns="seconds").sort_values(["trial_id", "stage", "step", "name"], kind="stable")
        for store in (sweep.store, Store(other))
    ]
    if not curves[0].reset_index(drop=True).equals(curves[1].reset_index(drop=True)):
        wrong.append("curves differ")
    for path in sorted((other / "artifacts").glob("*/weights.safetensors")):
        mine = sweep.store.root / path.relative_to(other)
        if not mine.exists() or mine.read_bytes() != path.read_bytes():
            wrong.append(f"weights differ: {path.parent.name}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="length of a trial; every tenth is ten times as long"
    )
    options = parser.parse_args()
    adopt_orphans()
    started = time.monotonic()
    # Sockets of Ray's lie below, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="kills-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        sweep = Sweep(Path(folder), options.trials, options.seconds)
        undisturbed = Path(folder) / "undisturbed"
        calm = sweep.start("inline", undisturbed)
        calm.wait()
        sweep.log.write_text("")
        faults = kill_until_done(sweep, options.kills, np.random.default_rng(options.seed))
        left = end_all(grace=30.0)
        faults.wrong += [f"still running 30 s later: {process.command}" for process in left]
        faults.wrong += compare(sweep, undisturbed)
        output = (Path(folder) / "output").read_text()
        if "Traceback" in output:
            at = output.index("Traceback")
            faults.wrong.append(
                f"{output.count('Traceback')} tracebacks, such as:\n{output[max(0, at - 500) : at + 3000]}"
            )
        hidden = [path for path in sweep.store.root.rglob(".*") if path.suffix == ".tmp" or path.is_dir()]
        often = Counter(sweep.ended().values())
        print(f"{faults.kills.total()} kills, seed {options.seed}, in {(time.monotonic() - started) / 60:.1f} minutes")
        print(pd.Series(faults.kills, dtype=int).sort_index().to_string())
        print(f"{faults.exits.total()} runs, by exit status: {dict(faults.exits)}")
        print(f"{faults.checkpoints} checkpoints found by runs as they started")
        print(f"{len(sweep.begun())} beginnings of {options.trials} trials; trained to the end n times: {dict(often)}")
        print(f"{len(sweep.done())} of {options.trials} trials ok; {len(hidden)} temporary files left in results")
        for sentence in faults.wrong:
            print(f"WRONG: {sentence}")
    return 1 if faults.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
