"""Files from elsewhere: downloads whole, broken off and resumed, wrong, or placed by hand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from datasets.base import DataError, RemoteFile
from datasets.downloads import MissingFileError, fetch, local, unfinished

CONTENT = bytes(range(256)) * 5000  # more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `pages` (path -> status, body, announced length); counts requests. Sends parts where `ranges` is set."""

    ranges = True
    skipped = 0
    """By how much it says to begin later than it was asked to."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes, int]] = {}
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def offer(self, body: bytes, status: int = 200, length: int | None = None) -> str:
        """-> the address at which `body` is now."""
        path = f"/{len(self.pages)}"
        self.pages[path] = (status, body, len(body) if length is None else length)
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.requests.append(asked)
        status, body, length = self.server.pages[self.path]
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status, body, length = (206, body[start:], length - start) if start < len(body) else (416, b"", 0)
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start + self.server.skipped}-{start + length - 1}/*")
        if body.lstrip().startswith(b"<html"):
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def assert_says_how_to_place_it(error: BaseException, file: RemoteFile, root: Path) -> None:
    for fact in (file.url, file.sha256, str(root / "files"), f'"{file.name}"'):
        assert fact in str(error)


def assert_nothing_is_left(root: Path) -> None:
    assert [path.name for path in (root / "files").iterdir() if not path.name.endswith(".lock")] == []


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", server.offer(CONTENT), SHA256)
    for _ in range(2):
        path = fetch(file, tmp_path)
        assert path == tmp_path / "files" / "digits.bin"
        assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_two_who_want_a_file_at_once_download_it_once(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", server.offer(CONTENT), SHA256)
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(file, tmp_path), range(2)))
    assert paths == [tmp_path / "files" / "digits.bin"] * 2
    assert len(server.requests) == 1


def test_a_file_placed_by_hand_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "digits.bin").write_bytes(CONTENT)
    fetch(RemoteFile("digits.bin", "http://127.0.0.1:1/digits.bin", SHA256), tmp_path)


def test_another_file_placed_by_hand_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    placed = tmp_path / "files" / "digits.bin"
    placed.write_bytes(b"other")
    file = RemoteFile("digits.bin", "http://127.0.0.1:1/digits.bin", SHA256)
    with pytest.raises(DataError, match=f"has SHA-256 {hashlib.sha256(b'other').hexdigest()}") as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)
    assert placed.read_bytes() == b"other"


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        # What `git hash-object` and `md5sum` print for "hello" with and without the end of its line.
        ("git_blob", "ce013625030ba8dba906f756967f9e9ca394464a", "git blob b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"),
        ("md5", "b1946ac92492d2347c6235b4d2611184", "MD5 5d41402abc4b2a76b9719d911017c592"),
    ],
)
def test_a_file_can_be_verified_where_no_sha256_is_known(kind: str, right: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    placed = tmp_path / "files" / "greeting"
    placed.write_bytes(b"hello\n")
    file = RemoteFile("greeting", "http://127.0.0.1:1/greeting", **{kind: right})
    assert fetch(file, tmp_path) == placed
    placed.write_bytes(b"hello")
    with pytest.raises(DataError, match=f"has {wrong}: delete it"):
        fetch(file, tmp_path)


@pytest.mark.parametrize("checksums", [{}, {"sha256": "00", "md5": "00"}])
def test_a_file_has_one_checksum(checksums: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one of them"):
        RemoteFile("greeting", "http://127.0.0.1:1/greeting", **checksums)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/digits.bin", "no-such-scheme://here", "digits.bin"])
def test_an_address_that_cannot_be_reached_is_named(url: str, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", url, SHA256)
    with pytest.raises(DataError, match=r"cannot download digits\.bin: ") as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b"gone", "Not Found"),
        (200, b"other", f"5 bytes with SHA-256 {hashlib.sha256(b'other').hexdigest()} arrived"),
        (200, b"\n<!DOCTYPE html><title>Sign in</title>", "a web page arrived instead of the file"),
        (200, b"\xef\xbb\xbf<HTML lang=en>", "a web page arrived instead of the file"),
    ],
    ids=["missing", "another file", "web page", "web page with a byte-order mark"],
)
def test_a_download_that_is_not_the_file_is_refused(
    status: int, body: bytes, message: str, server: Server, tmp_path: Path
) -> None:
    file = RemoteFile("digits.bin", server.offer(body, status), SHA256)
    with pytest.raises(DataError, match=message) as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)
    assert_nothing_is_left(tmp_path)


@pytest.mark.parametrize("ranges", [True, False], ids=["from where it stopped", "from the beginning"])
def test_a_download_that_broke_off_is_finished_by_the_next(ranges: bool, server: Server, tmp_path: Path) -> None:
    url = server.offer(CONTENT[:1_200_000], length=len(CONTENT))
    file = RemoteFile("digits.bin", url, SHA256)
    with pytest.raises(DataError, match=r"broke off after 1,200,000 of 1,280,000 bytes, .* goes on") as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)
    server.pages["/0"] = (200, CONTENT, len(CONTENT))
    server.ranges = ranges
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["", "bytes=1200000-"]


def test_a_web_page_does_not_take_the_place_of_what_had_arrived(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", server.offer(CONTENT[:1_200_000], length=len(CONTENT)), SHA256)
    with pytest.raises(DataError, match="broke off"):
        fetch(file, tmp_path)
    server.ranges = False
    page = b"<html>quota exceeded</html>"
    server.pages["/0"] = (200, page, len(page))
    with pytest.raises(DataError, match="a web page arrived instead of the file"):
        fetch(file, tmp_path)
    server.ranges = True
    server.pages["/0"] = (200, CONTENT, len(CONTENT))
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["", "bytes=1200000-", "bytes=1200000-"]


def test_another_part_than_asked_for_is_not_appended(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", server.offer(CONTENT[:1_200_000], length=len(CONTENT)), SHA256)
    with pytest.raises(DataError, match="broke off"):
        fetch(file, tmp_path)
    server.pages["/0"] = (200, CONTENT, len(CONTENT))
    server.skipped = 10
    with pytest.raises(DataError, match="another part of it was sent than asked for"):
        fetch(file, tmp_path)
    server.skipped = 0
    assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "files" / "digits.bin").mkdir(parents=True)
    file = RemoteFile("digits.bin", "http://127.0.0.1:1/digits.bin", SHA256)
    with pytest.raises(DataError, match=r"cannot read .*digits\.bin: Is a directory") as raised:
        fetch(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)


def test_a_download_killed_before_it_was_renamed_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    unfinished(tmp_path / "files" / "digits.bin").write_bytes(CONTENT)
    assert fetch(RemoteFile("digits.bin", server.offer(CONTENT), SHA256), tmp_path).read_bytes() == CONTENT


def test_the_beginning_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    unfinished(tmp_path / "files" / "digits.bin").write_bytes(b"other")
    file = RemoteFile("digits.bin", server.offer(CONTENT), SHA256)
    with pytest.raises(DataError, match=r"1,280,000 bytes with SHA-256 .* arrived"):
        fetch(file, tmp_path)
    assert_nothing_is_left(tmp_path)
    assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_a_file_that_must_be_there_is_not_downloaded(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("digits.bin", server.offer(CONTENT), SHA256)
    with pytest.raises(MissingFileError, match=r"digits\.bin is not in .*files\. To place it by hand, get ") as raised:
        local(file, tmp_path)
    assert_says_how_to_place_it(raised.value, file, tmp_path)
    assert server.requests == []
    assert fetch(file, tmp_path) == local(file, tmp_path)


def test_a_file_that_looks_like_a_web_page_is_accepted_if_it_is_the_file(server: Server, tmp_path: Path) -> None:
    page = b"<html>data</html>"
    fetch(RemoteFile("page.html", server.offer(page), hashlib.sha256(page).hexdigest()), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_during_a_download_is_no_network_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    unfinished(tmp_path / "files" / "digits.bin").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"cannot write .*digits\.bin: No space left on device\. Set BENCH_DATA"):
        fetch(RemoteFile("digits.bin", server.offer(CONTENT), SHA256), tmp_path)
    assert not (tmp_path / "files" / "digits.bin").exists()
