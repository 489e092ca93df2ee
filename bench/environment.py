"""Seeds, determinism and provenance: what makes a number one that can be had again."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import inspect
import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

# Read by cuBLAS when it starts; without it torch's deterministic mode refuses matrix products on CUDA.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Read by torch's compiler when it is imported, which takes a second and which most trials do without.
os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h: bytes of free memory, or of one allocation, from which on they are the system's."""


def derive_seed(stream: str, **axes: Any) -> int:
    """A seed in [0, 2^63) for the random stream of a name, by hashing it and its axes.

    Streams of different names or axes are independent, and none depends on what ran before it: adding a method or
    a dataset changes nobody else's numbers.
    """
    text = json.dumps([stream, axes], sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_torch(stream: str, **axes: Any) -> None:
    """Starts torch's global generators, CPU and CUDA, on a derived stream."""
    torch.manual_seed(derive_seed(stream, **axes))


def generator(stream: str, **axes: Any) -> torch.Generator:
    """A CPU generator of its own on a derived stream."""
    return torch.Generator().manual_seed(derive_seed(stream, **axes))


def numpy_generator(stream: str, **axes: Any) -> np.random.Generator:
    """A NumPy generator on a derived stream."""
    return np.random.default_rng(derive_seed(stream, **axes))


@contextlib.contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Pins whatever numbers could depend on: thread counts, default dtype, deterministic kernels, full float32.

    Float sums depend on the number of threads, so a trial's is set from its own resources, wherever it runs. Reused
    worker processes may come with anything set: everything is set here, nothing assumed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    # use_deterministic_algorithms(True, warn_only=True), without its import of torch's compiler to set that too.
    torch.set_deterministic_debug_mode("warn")
    # Else every output that an operation is about to write would be filled before: 2% of a convolutional update.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # its module is a class
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with threadpool_limits(limits=threads), keeping_freed_memory():
            yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Within its block glibc keeps what is freed for what is allocated next; after it, it gives it back to the system.

    Otherwise it gives large blocks back at once, and every update of a model gets the same pages anew, page by page: 4%
    of its time for a convolutional network, 10% for a pack. Where there is no glibc, nothing happens.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(M_MMAP_THRESHOLD, 2**28)
    libc.mallopt(M_TRIM_THRESHOLD, 2**30)
    before = _resident()
    try:
        yield
    finally:
        if _resident() > before + 2**26:  # to look for less takes longer than a small trial
            libc.malloc_trim(0)


def _resident() -> int:
    """Bytes of this process in memory, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of peak memory; see `peak_memory`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark on Linux


def peak_memory(device: torch.device) -> int | None:
    """Bytes at the peak since `reset_peak_memory`: allocated on a CUDA device, resident on Linux, else None."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def provenance(device: torch.device) -> dict[str, Any]:
    """The provenance columns of a row: code, versions, machine."""
    sha, dirty = git_state()
    return {
        "git_sha": sha,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "ray": _version("ray"),
        "packages": _packages_hash(),
        # On CUDA some kernels have no deterministic form and only warn, so nothing is promised there.
        "deterministic": device.type == "cpu" and torch.are_deterministic_algorithms_enabled(),
    }


def code_and_machine(method: type, device: torch.device) -> dict[str, str | None]:
    """What numbers may depend on beside the trial: hash of the code, versions, processor or GPU."""
    known = provenance(device)
    names = ("python", "torch", "cuda", "device_name", "packages")
    return {"code": _code_hash(inspect.getfile(method)), **{name: known[name] for name in names}}


@cache
def _code_hash(method_file: str) -> str:
    """SHA-256 of the files that train and measure, and of the method's own, wherever that is. Commits say less: there
    may be none, and files may differ from them."""
    root = Path(__file__).resolve().parent.parent
    folders = ("bench/checkpointing", "bench/metrics", "methods", "datasets")
    files = {path for folder in folders for path in root.glob(f"{folder}/**/*.py")}
    digest = hashlib.sha256()
    for path in sorted({*files, *root.glob("bench/*.py"), Path(method_file).resolve()}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def git_state() -> tuple[str | None, bool | None]:
    """Commit and whether files differ from it; None for code that is not a checkout.

    Code shipped to a cluster is none: its environment says from which it was (`bench.ray_session`).
    """
    if sha := os.environ.get("BENCH_GIT_SHA"):
        return sha, bool(os.environ.get("BENCH_GIT_DIRTY"))
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


@cache
def _packages_hash() -> str:
    """SHA-256 of every installed distribution and version: equal hashes, equal environments.

    What a package has inside itself, as Ray has once it is imported, is a part of it, and counts for none.
    """
    own = Path(sysconfig.get_path("purelib"))
    path = [entry for entry in sys.path if own not in Path(entry).parents]
    installed = sorted({f"{d.metadata['Name']}=={d.version}".lower() for d in distributions(path=path)})
    return hashlib.sha256("\n".join(installed).encode()).hexdigest()


@cache
def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
