"""Progress of a run: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.identity import Trial
from bench.outcomes import Outcome

LINE_SECONDS = 30.0
"""Between two plain lines on trials that run long."""


class RunDisplay:
    """Shows trials as they start, advance and end; a context manager around the run."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.outcomes: dict[Trial, Outcome] = {}
        self.since: dict[Trial, float] = {}
        self.tasks: dict[Trial, TaskID] = {}
        self.last_line = time.monotonic()
        self.reader_left = False
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.overall = self.live.add_task("[bold]trials", total=total, note="")

    def __enter__(self) -> RunDisplay:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def started(self, trial: Trial) -> None:
        if trial in self.tasks:  # a second start, after its process died
            self.live.remove_task(self.tasks[trial])
        self.since[trial] = time.monotonic()
        self.tasks[trial] = self.live.add_task(f"  {escape(trial.label)}", total=None, note="starting")
        self._note()

    def advanced(self, trial: Trial, stage: str, step: int, planned: int | None, loss: float) -> None:
        if trial in self.tasks:
            note = escape(stage) if math.isnan(loss) else f"{stage}, loss {loss:.4g}"
            self.live.update(self.tasks[trial], completed=step, total=planned, note=note)
        if not self.console.is_terminal and time.monotonic() - self.last_line > LINE_SECONDS:
            of = f" of {planned}" if planned else ""
            self._line(f"{trial.label}: {stage}" + ("" if math.isnan(loss) else f" step {step}{of}, loss {loss:.4g}"))

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        if trial in self.outcomes:
            return
        self.outcomes[trial] = outcome
        if trial in self.tasks:
            self.live.remove_task(self.tasks.pop(trial))
        self.live.update(self.overall, completed=len(self.outcomes))
        self._note()
        took = f" {time.monotonic() - self.since[trial]:.0f} s" if trial in self.since else ""
        error = f": {outcome.error_type}: {outcome.error}" if outcome.error else ""
        if not self.console.is_terminal:
            self._line(f"[{len(self.outcomes)}/{self.total}] {outcome.status} {trial.label}{took}{error}")
        elif outcome.status != "ok":
            self.live.console.print(f"{outcome.status} {trial.label}{error}", markup=False, style="red")

    def noted(self, text: str) -> None:
        """Prints what concerns the run as a whole."""
        self._line(text)

    def _note(self) -> None:
        counts = Counter(outcome.status for outcome in self.outcomes.values())
        failed = sum(count for status, count in counts.items() if status != "ok")
        self.live.update(self.overall, note=f"{len(self.tasks)} running, {failed} failed")

    def _line(self, text: str) -> None:
        self.last_line = time.monotonic()
        if self.reader_left:
            return
        try:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        except SystemExit:  # what rich makes of a broken pipe; the trials go on without a reader
            self.reader_left = True
