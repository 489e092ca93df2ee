"""The folder of a report: written afresh beside the earlier one's files, which it then replaces."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import UserError

MANIFEST = "files.txt"
"""Names every file of the report, so that the next report knows which ones are its own to remove."""
ENTRANCE = "index.html"


class ReportError(UserError):
    """The report cannot be written; the message says where and what to do."""


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A fresh folder whose files take their places in `out` when the block ends without an error.

    Files of the earlier report that the new one does not have are removed; files that no report wrote are left alone.
    Raises ReportError where the disk refuses.
    """
    fresh = out / f".unfinished-{os.getpid()}"
    try:
        fresh.mkdir(parents=True)
        yield fresh
        _take_places(fresh, out)
    except OSError as error:
        raise ReportError(
            f"the report cannot be written to {out}: {error.strerror or error}; choose another folder with --out"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _take_places(fresh: Path, out: Path) -> None:
    files = sorted(path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file())
    # The page one enters by comes last: whoever enters finds what it leads to.
    files.sort(key=lambda name: name == ENTRANCE)
    earlier = _earlier(out)
    # What is there when a write is cut short is known to the next report as its own.
    (out / MANIFEST).write_text("\n".join([*earlier, *files]) + "\n", encoding="utf-8")
    for folder in {(out / name).parent for name in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        os.replace(fresh / name, out / name)
    gone = set(earlier) - set(files)
    for name in gone:
        (out / name).unlink(missing_ok=True)
    emptied = {folder for name in gone for folder in Path(name).parents} - {Path()}
    for folder in sorted(emptied, reverse=True):
        with suppress(OSError):  # not empty: the report's own, or somebody's files
            (out / folder).rmdir()
    (out / MANIFEST).write_text("\n".join(files) + "\n", encoding="utf-8")


def _earlier(out: Path) -> list[str]:
    """The files of the earlier report that are there; whatever the list says, none outside of `out`, and no folders."""
    try:
        names = (out / MANIFEST).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    root = out.resolve()
    return [
        name
        for name in names
        if ".." not in Path(name).parts
        and (out / name).is_file()
        and (out / name).parent.resolve().is_relative_to(root)
    ]
