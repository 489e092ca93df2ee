"""Ray, started here or joined where it runs. This file and `bench.execution` are the only ones that import it.

Nodes of a cluster need the installed requirements and nothing else: the code comes with the run, see `ship`.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.environment import git_state
from bench.errors import UserError

PACKAGES = ("bench", "datasets", "methods")
SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed",  # the trial's row says so
    "RAY_prestart_worker_first_driver": "0",  # Tune's workers have an environment of their own, and start anew
    "RAY_memory_monitor_refresh_ms": "0",  # it would end the whole run for one trial's memory
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # rows say what is done; Tune's own record of it would never be read
}


TOKEN = secrets.token_hex(32)
"""Of the instances of our own that this process starts; their workers inherit it."""


class RaySessionError(UserError):
    """Ray does not start or cannot be joined; the message says why and what to do."""


@contextmanager
def ray_session(address: str | None, methods: Iterable[str] = ()) -> Iterator[bool]:
    """Ray within the block: an instance of our own, or with an address the cluster there; left at the end.

    Gives whether it is a cluster that was there before.

    Args:
        address: as of `ray.init`, "auto" or "ray://host:10001" for instance; RAY_ADDRESS stands in for None.
        methods: names of the methods that will run: plug-ins among them ("package.module:Class") are shipped too.

    Raises:
        RaySessionError: Ray is not installed, does not start, or there is no cluster at the address.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    os.environ |= SETTINGS
    if address is None:
        # Ray listens on all of this machine's addresses, and runs whatever is sent to it: only who has our token may.
        os.environ.setdefault("RAY_AUTH_TOKEN", TOKEN)
        if "ray" not in sys.modules:  # once imported, it goes by the mode it found, or asks for tokens by itself
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
        import ray.tune
    except ImportError as error:
        raise RaySessionError(
            f"Ray cannot be imported ({error}); install ray[tune] or use --executor inline"
        ) from error

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    terminate = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(prefix="bench-code-") as folder:
        try:
            if address is None:
                # Few bytes pass between driver and workers; a small store spares machines with little shared memory.
                # Without "local" Ray would join what `ray start` has left on this machine.
                ray.init("local", include_dashboard=False, object_store_memory=150 * 2**20, **quiet)
            else:
                _knock(address)
                ship(methods, Path(folder))
                ray.init(address=address, runtime_env={"working_dir": folder, "env_vars": _told()}, **quiet)
        except Exception as error:  # Ray raises that very class where its processes die as they start
            where = f"cannot be joined at {address}" if address else "does not start"
            raise RaySessionError(f"Ray {where}: {error}; --executor inline runs without it") from error
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # tracebacks of dead workers; again, rows say so
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray has put its own, which leaves without a word
        try:
            yield address is not None
        finally:
            ray.shutdown()


def ship(methods: Iterable[str], folder: Path) -> None:
    """Copies the code that trials of these methods need, and nothing else, into a folder.

    These are our packages, and of plug-ins that are not installed their packages with the modules beside them that
    they have imported. Results, reports, data and the rest of a checkout stay behind.

    Raises ImportError for a plug-in that cannot be imported.
    """
    code = {name: _source(import_module(name)) for name in PACKAGES}
    for method in methods:
        name, is_plugin, _ = method.partition(":")
        if is_plugin:
            import_module(name)
            home = _source(sys.modules[name.partition(".")[0]])
            if home and not {"site-packages", "dist-packages"} & {*home.parts}:
                beside = {top: _source(module) for top, module in [*sys.modules.items()] if "." not in top}
                code |= {top: path for top, path in beside.items() if path and path.parent == home.parent}
    for path in code.values():
        if path and path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(path, folder / path.name, ignore=ignored, dirs_exist_ok=True)
        elif path:
            shutil.copy(path, folder / path.name)


def _source(module: ModuleType) -> Path | None:
    """The folder of a package or the file of a module; None for what has neither."""
    origin = next(iter(getattr(module, "__path__", [])), None) or getattr(module, "__file__", None)
    return Path(origin) if isinstance(origin, str) else None


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at an address with a port: Ray would end this process for it."""
    host, _, port = address.removeprefix("ray://").partition("?")[0].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _told() -> dict[str, str]:
    """Environment variables for the workers of a cluster; of what they run they cannot find out the commit."""
    sha, dirty = git_state()
    return {**SETTINGS, "BENCH_GIT_SHA": sha or "", "BENCH_GIT_DIRTY": "1" if dirty else ""}
