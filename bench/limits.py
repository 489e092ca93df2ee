"""Limits of a trial that no method can step over unseen: wall time and main memory, watched from a thread.

What is over a limit is raised as LimitError in the thread that runs the trial, between two instructions of Python. So
an update, a stage, a metric or a `time.sleep` in pieces is stopped wherever it is; a single call into a library that
does not return (an exact solver on a huge problem, a deadlock in a driver) is stopped only when it has returned.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch

POLL_SECONDS = 0.2
AGAIN_SECONDS = 5.0
"""After which an error is raised again: where it arrives in a `__del__` or a callback, Python passes it to nobody."""
OWN_MEMORY = re.compile(r"^(?:RssAnon|RssShmem):\s+(\d+) kB$", re.MULTILINE)
ASKED = re.compile(r"(?:ried|nable) to allocate ([\d.]+ \w+)")
FREE = re.compile(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")
"""What torch and NumPy say of an allocation that failed."""


class LimitError(BaseException):
    """A limit of the trial was passed. No Exception, so that methods and metrics that catch those let it through."""


class Limits:
    """While its block runs, raises LimitError there once a limit is passed; `passed` then says which, and by how much.

    Args:
        seconds: of the trial so far.
        timeout: most seconds, or None.
        memory_gb: most main memory of the process in 10⁹ bytes, or None. It is what is resident but for mapped files,
            such as datasets, whose memory the system takes back when it is short. Watched on Linux only.
    """

    def __init__(self, seconds: Callable[[], float], timeout: float | None, memory_gb: float | None) -> None:
        self.seconds, self.timeout = seconds, timeout
        self.memory_bytes = None if memory_gb is None or own_memory() is None else memory_gb * 1e9
        self.passed: tuple[str, str, str] | None = None
        """Status, type and message of the error."""
        self.lock = threading.Lock()

    def __enter__(self) -> Limits:
        self.watched, self.ended, self.passed = threading.get_ident(), threading.Event(), None
        if self.timeout is not None or self.memory_bytes is not None:
            threading.Thread(target=self._watch, args=(self.ended,), name="limits", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while True:
            try:
                with self.lock:
                    self.ended.set()
                    _raise_in(self.watched, None)  # what has been raised and not yet arrived must not arrive later
                return
            except LimitError:  # it has arrived here, maybe before the watching ended
                continue

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(AGAIN_SECONDS if self.passed else POLL_SECONDS):
            self.passed = self.passed or self._find_passed()
            with self.lock:
                if self.passed is not None and not ended.is_set():
                    _raise_in(self.watched, LimitError)

    def _find_passed(self) -> tuple[str, str, str] | None:
        if self.timeout is not None and self.seconds() > self.timeout:
            return "timeout", "TimedOut", f"stopped after the time limit of {self.timeout:g} s"
        used = own_memory() if self.memory_bytes is not None else None
        if used is not None and self.memory_bytes is not None and used > self.memory_bytes:
            return (
                "failed",
                "OutOfMemory",
                f"its process held {used / 1e9:.2f} GB of memory, and its limit is {self.memory_bytes / 1e9:g} GB: "
                "raise memory_gb in the sweep's resources, or lower batch_size",
            )
        return None


def own_memory() -> int | None:
    """Bytes of main memory that this process alone holds: resident, but not of files. None where that is not known."""
    try:
        found = OWN_MEMORY.findall(Path("/proc/self/status").read_text())
    except OSError:
        return None
    return sum(map(int, found)) * 1024 if found else None


def describe_out_of_memory(error: Exception) -> str | None:
    """What to say of an error where it is one of memory, of a GPU or the machine; None where it is not."""
    asked = ASKED.search(str(error))
    wanted = f"asked for {asked[1]}" if asked else "asked for more"
    if isinstance(error, torch.OutOfMemoryError):
        free = FREE.search(str(error))
        left = f", where {free[2]} of {free[1]} were free" if free else ""
        return (
            f"{wanted} of GPU memory{left}: lower batch_size, or have fewer trials share a GPU by a larger gpus in the "
            "sweep's resources"
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: " in str(error):
        return f"{wanted} of main memory, which there was not: lower batch_size, or run fewer trials at once"
    return None


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raises an error in a thread at its next instruction; None takes back one that has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
