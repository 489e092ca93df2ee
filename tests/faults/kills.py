"""Kills a sweep at random, again and again, and looks what came of it; Linux only.

    python -m tests.faults.kills --kills 200 --trials 50

Driver, a worker or the raylet gets SIGKILL or SIGINT, mostly at a random moment while a trial trains that has made
updates since the kill before, and `run` is started again until every trial is ok. A signal that a process ignores or
blocks, as Ray's do with SIGINT, is sent and told apart; SIGKILL follows it. Who is killed, how and when is drawn from
--seed; what that meets depends on the machine. Exit status 0 says: that many kills before the sweep was done, one ok
row file a trial, no finished trial begun again, values, curves and weights those of an undisturbed inline run, bit by
bit, no traceback printed, no run that hung, no process left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
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
from typing import Any

import numpy as np

from bench.storage.store import Store
from tests.faults.paced import LOG, Attempt, Log
from tests.faults.processes import Process, adopt_orphans, below, bury, end_all

ROOT = Path(__file__).parent.parent.parent
HUNG_SECONDS = 120.0
"""Without a sign of life after which a run counts as hung."""
GRACE_SECONDS = 20.0
"""For a killed process to end; a driver that is interrupted ends Ray and writes rows first."""
STEP_SECONDS = 0.05
CHECKPOINT_SECONDS = 0.5
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
    "driver": lambda command: "-m bench run" in command and "--executor ray" in command,
    "worker": lambda command: command.startswith("ray::ImplicitFunc"),
    "raylet": lambda command: command.split(" ")[0].endswith("/raylet"),
}
SHARES = (0.2, 0.65, 0.15)
"""Of the kills, by target: a run survives those of its workers, and each start takes seconds."""
SIGNALS = (signal.SIGKILL, signal.SIGINT)
AT_START, AT_END = 0.15, 0.05
"""Of the kills that find no trial in training, those that do not wait for one; of the others, those that wait for the
end of a training."""
START_SECONDS, END_SECONDS = 8.0, 0.5
"""Within which such kills come: a run and Ray take as long to start, evaluation and rows to follow a training."""
SPARE = 0.1
"""Of all updates, those that are left for after the last kill."""


@dataclass
class Faults:
    """What was done, and what went wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Sweep:
    """A sweep in a folder, and the log of what ran."""

    def __init__(self, folder: Path, trials: int, seconds: float, long_seconds: float) -> None:
        self.folder, self.trials = folder, trials
        self.store = Store(folder / "results")
        self.log = Log(folder / "results.log")
        self.log.path.touch()
        self.output = folder / "results.output"
        numbers = list(range(trials))
        short, long = numbers[: trials - trials // 10], numbers[trials - trials // 10 :]
        steps, long_steps = round(seconds / STEP_SECONDS), round(long_seconds / STEP_SECONDS)
        self.updates = len(short) * steps + len(long) * long_steps
        text = SWEEPS.format(steps=steps, long_steps=long_steps, short=short, long=long)
        (folder / "sweeps.toml").write_text(text if long else re.sub(r".*long.*\n|.*number = \[\],.*\n", "", text))

    def start(self, executor: str, results: Path) -> subprocess.Popen[str]:
        """Starts `run`, with its log and its output beside the results."""
        environment = os.environ | {"RAY_TMPDIR": str(self.folder), "TMPDIR": str(self.folder)}
        environment[LOG] = f"{results}.log"
        command = [sys.executable, "-m", "bench", "run", str(self.folder / "sweeps.toml")]
        command += ["--results", str(results), "--data", str(self.folder / "data"), "--executor", executor]
        command += ["--checkpoint-seconds", str(CHECKPOINT_SECONDS)]
        # A shell's background jobs ignore Ctrl-C, and hand that down: a run started at a prompt does not.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with open(f"{results}.output", "a") as output:
                return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, text=True)
        finally:
            signal.signal(signal.SIGINT, before)

    def done(self) -> set[int]:
        """Numbers of the trials with an ok row."""
        rows = self.store.read().rows
        return {_number(text) for text in rows[rows["status"] == "ok"]["params"].unique()}

    def training(self, since: float = 0.0) -> list[Attempt]:
        """The attempts that train, of those that have made updates since then."""
        self.log.read()
        return [a for a in self.log.under_way() if a.read > since and not a.ended and Path(f"/proc/{a.pid}").exists()]

    def seconds_left(self) -> float:
        """Of training, of all trials together, but for what is spared."""
        reached: dict[int, int] = {}
        for attempt in self.log.read():
            reached[attempt.number] = max(reached.get(attempt.number, 0), (attempt.start or 0) + attempt.updates)
        return max(0.0, STEP_SECONDS * ((1 - SPARE) * self.updates - sum(reached.values())))


def kill_until_done(sweep: Sweep, kills: int, generator: np.random.Generator) -> Faults:
    """Starts `run` again and again, killing, until every trial is ok; after so many kills it is left in peace."""
    faults = Faults()
    for attempt in range(10 * kills + 10):
        done, begun = sweep.done(), len(sweep.log.read())
        if len(done) == sweep.trials:
            if faults.kills.total() < kills:
                faults.wrong.append(f"the sweep was done after {faults.kills.total()} of {kills} kills")
            return faults
        print(f"{faults.kills.total()} kills, {len(done)} of {sweep.trials} ok", file=sys.stderr, flush=True)
        driver = sweep.start("ray", sweep.store.root)
        _Run(sweep, driver, faults, generator).disturb(kills)
        faults.exits[driver.returncode] += 1
        if again := sorted(done & {each.number for each in sweep.log.read()[begun:]}):
            faults.wrong.append(f"attempt {attempt} began trials that were ok: {again}")
        bury()
    faults.wrong.append(f"after {attempt + 1} attempts only {len(done)} of {sweep.trials} trials are ok")
    return faults


@dataclass
class _Run:
    """A run under way. killed: the time of the last kill."""

    sweep: Sweep
    driver: subprocess.Popen[str]
    faults: Faults
    generator: np.random.Generator
    killed: float = field(default_factory=time.monotonic)

    def disturb(self, kills: int) -> None:
        """Kills until there are so many kills, and waits until the run ends, by itself or not."""
        while self.driver.poll() is None:
            left = kills - self.faults.kills.total()
            if left <= 0:
                self.wait()
                return
            target = str(self.generator.choice(list(TARGETS), p=SHARES))
            number = signal.Signals(self.generator.choice(SIGNALS))
            pids = self.await_moment(left)
            found: list[Process] = []
            while not found and self.driver.poll() is None:
                found = [each for each in below(os.getpid()) if TARGETS[target](each.command)]
                self.wait(seconds=0.0 if found else 0.1)
            if found and self.driver.poll() is None:
                rather = [each for each in found if each.pid in pids] or found
                self.kill(target, rather[self.generator.integers(len(rather))], number)

    def await_moment(self, left: int) -> set[int]:
        """Waits until a kill is due, of so many that are left; returns the workers that it should rather meet."""
        log = self.sweep.log
        kind, pause = self.generator.random(2)
        if kind < AT_START and not self.sweep.training():
            self.wait(seconds=pause * START_SECONDS)
            return set()
        if kind > 1 - AT_END:
            before = [attempt for attempt in log.read() if attempt.ended]
            self.wait(lambda: sum(attempt.ended for attempt in log.read()) > len(before))
            self.wait(seconds=pause * END_SECONDS)
            return {attempt.pid for attempt in log.read() if attempt.ended and attempt not in before}
        self.wait(lambda: self.sweep.training(self.killed))
        self.wait(seconds=pause * self.sweep.seconds_left() / left)
        self.wait(lambda: self.sweep.training(self.killed))
        return {attempt.pid for attempt in self.sweep.training(self.killed)}

    def kill(self, target: str, process: Process, number: signal.Signals) -> None:
        """Sends a signal, and SIGKILL after one that does not come through; notes what it met and what came of it."""
        met = self.meets({process.pid} if target == "worker" else None)
        with contextlib.suppress(ProcessLookupError):
            if process.is_alive() and not process.gets(number):
                os.kill(process.pid, number)
                self.faults.ignored[f"{target} {number.name}"] += 1
                number = signal.SIGKILL
            os.kill(process.pid, number)
            self.killed = time.monotonic()
            name = f"{target} {number.name}"
            self.faults.kills[name] += 1
            self.faults.met[met] += 1
            self.wait(lambda: not process.is_alive(), GRACE_SECONDS)
            self.faults.survived[name] += process.is_alive()

    def meets(self, pids: set[int] | None) -> str:
        """What the workers, or all, are doing; the foremost."""
        training = self.sweep.training(self.killed)
        if any(pids is None or attempt.pid in pids for attempt in training):
            return "training"
        ended = [a for a in self.sweep.log.under_way() if a.ended and Path(f"/proc/{a.pid}").exists()]
        return "end" if any(pids is None or attempt.pid in pids for attempt in ended) else "start"

    def wait(self, until: Callable[[], object] = lambda: False, seconds: float = np.inf) -> None:
        """Waits until something is so, for so long or until the run has ended; kills one that hangs."""
        start = since = time.monotonic()
        seen = -1
        while self.driver.poll() is None and time.monotonic() - start < seconds and not until():
            size = sum(path.stat().st_size for path in (self.sweep.log.path, self.sweep.output))
            if size != seen:
                seen, since = size, time.monotonic()
            elif time.monotonic() - since > HUNG_SECONDS:
                self.faults.wrong.append(f"a run hung for {HUNG_SECONDS:g} s after {self.faults.kills.total()} kills")
                self.driver.kill()
                self.driver.wait()
            time.sleep(0.05)


def _number(params: str) -> int:
    """Of the trial with these hyperparameters, as JSON."""
    return int(json.loads(params)["number"])


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


def check_resumed(sweep: Sweep) -> list[str]:
    """Where rows tell of fewer attempts that they go on from than the log does.

    Where attempts follow each other, each checkpoint that was gone on from, told by its step, is by one attempt more.
    Attempts that went on after the training are not in the log, so rows may tell of more.
    """
    rows = sweep.store.read().rows.drop_duplicates("trial_id")
    wrong = []
    for number, resumed in zip(rows["params"].map(_number), rows["resumed"], strict=True):
        steps: set[int] = set()
        for attempt in sweep.log.read():
            if attempt.number == number and attempt.start is not None:
                steps = steps | {attempt.start} if attempt.start else set()
        if resumed < len(steps) and number not in sweep.log.overlapping:
            wrong.append(f"trial {number} went on from the steps {sorted(steps)}, and its rows say resumed = {resumed}")
    return wrong


def describe(sweep: Sweep, faults: Faults) -> str:
    """What was done, counted."""
    attempts = sweep.log.read()
    resumptions = [attempt.start for attempt in attempts if attempt.start]
    made = sum(attempt.updates for attempt in attempts)
    hidden = [path for path in sweep.store.root.rglob(".*") if path.suffix == ".tmp" or path.is_dir()]
    statuses = Counter(sweep.store.read().rows.drop_duplicates("trial_id")["status"])
    ends = Counter(Counter(attempt.number for attempt in attempts if attempt.ended).values())
    lines = [
        f"{faults.kills.total()} kills: {_counts(faults.kills)}",
        f"they met: {_counts(faults.met)}",
        f"did not end within {GRACE_SECONDS:g} s: {_counts(+faults.survived)}",
        f"{faults.ignored.total()} signals ignored or blocked, each followed by SIGKILL: {_counts(faults.ignored)}",
        f"{faults.exits.total()} runs, by exit status: {_counts(faults.exits)}",
        f"{len(attempts)} beginnings of {sweep.trials} trials, {sum(a.updates > 0 for a in attempts)} of which trained",
        f"{len(resumptions)} resumptions from checkpoints, which saved {sum(resumptions)} updates",
        f"{made} updates made, {made - sweep.updates} of them again",
        f"trials by how often they were trained to the end: {_counts(ends)}",
        f"trials by status: {_counts(statuses)}; {len(hidden)} temporary files left in results",
    ]
    return "\n".join(lines)


def _counts(counter: Counter[Any]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in sorted(counter.items())) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a trial")
    parser.add_argument("--long-seconds", type=float, default=20.0, help="length of every tenth trial")
    options = parser.parse_args()
    adopt_orphans()
    started = time.monotonic()
    # Sockets of Ray's lie below, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="kills-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        sweep = Sweep(Path(folder), options.trials, options.seconds, options.long_seconds)
        undisturbed = Path(folder) / "undisturbed"
        calm = sweep.start("inline", undisturbed)  # beside the others, which are no less random for it
        faults = kill_until_done(sweep, options.kills, np.random.default_rng(options.seed))
        calm.wait()
        left = end_all(grace=30.0)
        faults.wrong += [f"still running 30 s later: {process.command}" for process in left]
        faults.wrong += compare(sweep, undisturbed) + check_resumed(sweep)
        output = sweep.output.read_text()
        if "Traceback" in output:
            at = output.index("Traceback")
            faults.wrong.append(
                f"{output.count('Traceback')} tracebacks, such as:\n{output[max(0, at - 500) : at + 3000]}"
            )
        print(f"seed {options.seed}, {(time.monotonic() - started) / 60:.1f} minutes")
        print(describe(sweep, faults))
        for sentence in faults.wrong:
            print(f"WRONG: {sentence}")
    return 1 if faults.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
