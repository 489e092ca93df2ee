"""Files from elsewhere: downloaded once, or placed by hand, and checked by their hashes.

    <root>/files/<file>                    what datasets need

A download is written beside its place and takes it when it is whole. One that breaks off is kept and goes on from there
the next time, so that gigabytes are not fetched twice.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from datasets.base import DataError, RemoteFile

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60
WEB_PAGE = "a web page arrived instead of the file (a login, a quota, or a page that has moved)"
MOVE_ELSEWHERE = "Set BENCH_DATA to a folder that can be written and has room."

GetFile = Callable[[RemoteFile, Path], Path]
"""`local` or `fetch`: the path of a file under a root."""


class MissingFileError(DataError):
    """A file that would have to be downloaded."""


def local(file: RemoteFile, root: Path) -> Path:
    """The path of a file with the right checksum, where it is there already.

    Raises:
        MissingFileError: it is not.
        DataError: another file is.
    """
    path = root / "files" / file.name
    if not path.exists():
        raise MissingFileError(f"{file.name} is not in {path.parent}. {by_hand(file, root)}")
    try:
        found = _checksum(path, file)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}. {by_hand(file, root)}") from error
    if found != file.checksum:
        raise DataError(f"{path} has {found}: delete it to download it again. {by_hand(file, root)}")
    return path


def fetch(file: RemoteFile, root: Path) -> Path:
    """The path of a file with the right checksum: the one that is there, else downloaded.

    Raises:
        DataError: the address cannot be reached, or what is there or arrives is another file.
    """
    path = root / "files" / file.name
    if not path.exists():
        with locked(path):
            if not path.exists():  # another process may have fetched it while this one waited
                _download(file, root)
                return path
    return local(file, root)


def by_hand(file: RemoteFile, root: Path) -> str:
    """How to place a file without `fetch`, in a sentence."""
    return (
        f"To place it by hand, get {file.url} ({file.checksum}) "
        f'and put it in the folder {root / "files"} under the name "{file.name}".'
    )


def unfinished(path: Path) -> Path:
    """Where this machine writes what is to become `path`: where locks do not reach other machines that share a folder,
    each writes its own."""
    return path.with_name(f".{path.name}.{platform.node()}.unfinished")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the operating system frees the lock of a process that dies."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the file system refuses into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}. {MOVE_ELSEWHERE}") from error


def _download(file: RemoteFile, root: Path) -> None:
    path = root / "files" / file.name
    part = unfinished(path)
    with writing(path):
        _receive(file, root, part)
        if (found := _checksum(part, file)) != file.checksum:
            what = WEB_PAGE if _is_web_page(part) else f"{part.stat().st_size:,} bytes with {found} arrived"
            part.unlink()
            raise DataError(f"cannot download {file.name}: {what}. {by_hand(file, root)}")
        part.replace(path)


def _receive(file: RemoteFile, root: Path, part: Path) -> None:
    """Appends to `part` what is missing of the file; begins anew where the server does not send parts of a file."""
    here = part.stat().st_size if part.exists() else 0
    with _answer(file, root, here) as response:
        if response is None:
            return
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {here}-")
        if here and not resumed and response.headers.get_content_type() == "text/html":
            raise DataError(f"cannot download {file.name}: {WEB_PAGE}. {by_hand(file, root)}")  # and keep what is here
        if response.status == 206 and not resumed:
            raise DataError(f"cannot download {file.name}: another part of it was sent than asked for; delete {part}")
        length = response.headers.get("Content-Length")
        total = int(length) + here * resumed if length else file.size or None
        with part.open("ab" if resumed else "wb") as out, _progress(file, total, here * resumed) as advance:
            while chunk := _read(response, file, root):
                out.write(chunk)
                advance(len(chunk))
    if total is not None and (arrived := part.stat().st_size) < total:
        raise DataError(
            f"cannot download {file.name}: the connection broke off after {arrived:,} of {total:,} bytes, from where "
            f"the next attempt goes on. {by_hand(file, root)}"
        )


@contextmanager
def _answer(file: RemoteFile, root: Path, here: int) -> Iterator[HTTPResponse | None]:
    """What the address answers when asked for the file from byte `here` on; None where it has no more."""
    headers = {"User-Agent": "ot-bench", **({"Range": f"bytes={here}-"} if here else {})}
    with _unreachable(file, root):
        try:
            request = urllib.request.Request(file.url, headers=headers)
            response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
        except HTTPError as error:
            if error.code != 416 or not here:
                raise
            response = None
    if response is None:
        yield None
        return
    with response:
        yield response


def _read(response: HTTPResponse, file: RemoteFile, root: Path) -> bytes:
    with _unreachable(file, root):
        return response.read(CHUNK)


@contextmanager
def _unreachable(file: RemoteFile, root: Path) -> Iterator[None]:
    """Turns what the network refuses into a DataError."""
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"cannot download {file.name}: {reason}. {by_hand(file, root)}") from error


@contextmanager
def _progress(file: RemoteFile, total: int | None, here: int) -> Iterator[Callable[[int], None]]:
    """Shows on standard error what has arrived: a bar on a terminal, elsewhere a line at the start."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    terminal = sys.stderr.isatty()
    if not terminal:
        size = f", {total:,} bytes" if total else ""
        print(f"downloading {file.url}{size}{f' from byte {here:,} on' if here else ''}", file=sys.stderr)
    with Progress(*columns, console=Console(stderr=True), disable=not terminal) as progress:
        task = progress.add_task(file.name, total=total, completed=here)
        yield lambda count: progress.advance(task, count)


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def _checksum(path: Path, file: RemoteFile) -> str:
    """What `file.checksum` should be, of what is at `path`."""
    with path.open("rb") as stream:
        if file.sha256:
            return f"SHA-256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"
        if file.md5:
            return f"MD5 {hashlib.file_digest(stream, 'md5').hexdigest()}"
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
        return f"git blob {digest.hexdigest()}"
