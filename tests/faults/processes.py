"""The processes below this one, also those whose parents died; Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Process:
    """A process as /proc has it.

    started: in clock ticks since the machine's start; with the pid, it tells one process from all others.
    """

    pid: int
    parent: int
    started: int
    command: str

    def is_alive(self) -> bool:
        with contextlib.suppress(OSError):
            state, *fields = _stat(self.pid)
            return state not in "ZX" and int(fields[18]) == self.started
        return False

    def gets(self, number: signal.Signals) -> bool:
        """Whether a signal comes through to it, rather than being ignored by it or blocked by all of its threads."""
        blocked = []
        for path in Path(f"/proc/{self.pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):
                masks = dict(re.findall(r"^(Sig\w+):\s*(\w+)$", path.read_text(), re.MULTILINE))
                ignored, held = (int(masks[name], 16) >> (number - 1) & 1 for name in ("SigIgn", "SigBlk"))
                blocked.append(ignored or held)
        return not all(blocked)


def adopt_orphans() -> None:
    """From now on a process below this one whose parent dies becomes a child of this one, so that none gets away."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def below(pid: int) -> list[Process]:
    """All living processes below a process, parents first."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, *fields = _stat(int(entry.name))
            if state not in "ZX":
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                process = Process(int(entry.name), int(parent), int(fields[17]), command)
                children.setdefault(int(parent), []).append(process)
    found, waiting = [], [pid]
    while waiting:
        for process in children.get(waiting.pop(0), []):
            found.append(process)
            waiting.append(process.pid)
    return found


def _stat(pid: int) -> list[str]:
    """State, parent and so on, see proc_pid_stat(5). Raises OSError where there is no such process."""
    # pid (name) state parent …; a name may contain anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def end_all(grace: float) -> list[Process]:
    """Gives all processes below this one so many seconds to end, then kills them; returns those it had to kill."""
    deadline = time.monotonic() + grace
    while below(os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.1)
        bury()
    left = below(os.getpid())
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.1 if left else 0)
    bury()
    return left


def bury() -> None:
    """Takes dead children off the process table."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
