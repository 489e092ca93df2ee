"""Runs command lines of the harness one after another, for tests that outlive a crash of native code in one.

    python -m tests.faults.command_lines LINES.json ANSWERS.json

LINES.json: a list of lists of arguments. ANSWERS.json: as many lists of status, output, messages and traceback, written
after each, so that what is missing is what the process died in.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cli import main

PATIENCE = 600


@dataclass(frozen=True)
class Answer:
    """What a command line came to. traceback: of an exception that nobody caught, else empty."""

    status: int | None
    output: str
    messages: str
    traceback: str


def run_command_lines(lines: Sequence[Sequence[str]], folder: Path) -> list[Answer]:
    """The answers to command lines run in another process; raises AssertionError where that process dies."""
    asked, answered = folder / "lines.json", folder / "answers.json"
    asked.write_text(json.dumps(lines))
    answered.write_text("[]")
    command = [sys.executable, "-X", "faulthandler", "-m", __name__, str(asked), str(answered)]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, errors="replace", timeout=PATIENCE
    )
    answers = [Answer(*told) for told in json.loads(answered.read_text())]
    if len(answers) < len(lines):
        raise AssertionError(f"{lines[len(answers)]} ended with {ended.returncode}: {ended.stderr[-3000:]}")
    return answers


def _answer(line: list[str]) -> Answer:
    output, messages = io.StringIO(), io.StringIO()
    status, trace = None, ""
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages):
        try:
            status = main(line)
        except BaseException:
            trace = traceback.format_exc()
    return Answer(status, output.getvalue(), messages.getvalue(), trace)


if __name__ == "__main__":
    answers: list[list[str | int | None]] = []
    for line in json.loads(Path(sys.argv[1]).read_text()):
        answer = _answer(line)
        answers.append([answer.status, answer.output, answer.messages, answer.traceback])
        Path(sys.argv[2]).write_text(json.dumps(answers))
