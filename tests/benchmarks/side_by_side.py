"""Two loops that do the same work, timed in turns in one process, so that whatever else the machine does slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.clocks import all_done

Loop = Callable[[int], object]
"""`loop(steps)` makes that many updates."""

ROUNDS = 9
ROUND_SECONDS = 0.2


def race(benchmark: BenchmarkFixture, ours: Loop, theirs: Loop, *, steps: int | None = None) -> None:
    """Times rounds of both, and notes both speeds and their ratio with its spread in the benchmark's `extra_info`.

    Args:
        ours, theirs: called once before the clock runs, for as many steps as in a round.
        steps: in a round; None for as many of ours as take about `ROUND_SECONDS`.
    """
    ours(3)
    if steps is None:
        steps = max(1, round(ROUND_SECONDS / seconds(ours, 3)))
    ours(steps)
    theirs(steps)
    rounds: list[tuple[float, float]] = []

    def one_round() -> None:
        """In the other order every other time."""
        if len(rounds) % 2:
            ours_took, theirs_took = seconds(ours, steps), seconds(theirs, steps)
        else:
            theirs_took, ours_took = seconds(theirs, steps), seconds(ours, steps)
        rounds.append((ours_took, theirs_took))

    benchmark.pedantic(one_round, rounds=ROUNDS)
    low, middle, high = statistics.quantiles([theirs_took / ours_took for ours_took, theirs_took in rounds], n=4)
    benchmark.extra_info |= {
        "steps_a_second": 1 / statistics.median(ours_took for ours_took, _ in rounds),
        "peer_steps_a_second": 1 / statistics.median(theirs_took for _, theirs_took in rounds),
        "times_as_fast": middle,
        "quartiles": [low, high],
    }
    print(f"{benchmark.name}: {middle:.2f} times as fast, quartiles {low:.2f} and {high:.2f}")


def seconds(loop: Loop, steps: int) -> float:
    """A step, of wall time."""
    all_done()
    started = time.perf_counter()
    loop(steps)
    all_done()
    return (time.perf_counter() - started) / steps
