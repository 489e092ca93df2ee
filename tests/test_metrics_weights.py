"""Where a file of weights comes from: a server is a folder here."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path
from unittest import mock

import pytest

from bench.metrics import weights
from bench.metrics.base import Unmeasurable
from bench.metrics.extractors import InceptionV3, TorchvisionInceptionV3

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("BENCH_TEST_WEIGHTS", raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


def locate(server: Path) -> Path:
    return weights.locate((server / "net.pth").as_uri(), SHA256, "BENCH_TEST_WEIGHTS")


def test_are_downloaded_into_the_cache_of_torch_hub(tmp_path: Path, hub: Path) -> None:
    (tmp_path / "net.pth").write_bytes(CONTENT)
    assert locate(tmp_path) == hub / "net.pth"
    assert [path.read_bytes() for path in hub.iterdir()] == [CONTENT]


def test_at_hand_are_not_downloaded(tmp_path: Path, hub: Path) -> None:
    hub.mkdir(parents=True)
    (hub / "net.pth").write_bytes(CONTENT)
    assert locate(tmp_path / "no such server") == hub / "net.pth"


def test_named_by_the_environment_come_first(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "mine.pth"
    given.write_bytes(CONTENT)
    monkeypatch.setenv("BENCH_TEST_WEIGHTS", str(given))
    assert locate(tmp_path / "no such server") == given
    assert not hub.exists()


def test_named_by_the_environment_but_missing_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_TEST_WEIGHTS", str(tmp_path / "gone.pth"))
    with pytest.raises(Unmeasurable, match=r"cannot be read from .*gone\.pth: No such file"):
        locate(tmp_path)


def test_damaged_in_the_cache_are_an_error(tmp_path: Path, hub: Path) -> None:
    hub.mkdir(parents=True)
    (hub / "net.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(Unmeasurable, match=r"net\.pth \(6,999 bytes\) is not the file expected"):
        locate(tmp_path)


def test_that_arrive_as_a_web_page_are_not_kept(tmp_path: Path, hub: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(Unmeasurable, match=r"what came from .*net\.pth is not the file expected"):
        locate(tmp_path)
    assert list(hub.iterdir()) == []


def test_that_cannot_be_reached_are_asked_for_once_a_process(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = mock.Mock(side_effect=urllib.error.URLError("no network"))
    monkeypatch.setattr(weights.urllib.request, "urlopen", attempt)
    for _ in range(3):
        with pytest.raises(Unmeasurable) as caught:
            locate(tmp_path)
    assert attempt.call_count == 1
    for part in ("no network", (tmp_path / "net.pth").as_uri(), SHA256, str(hub), "BENCH_TEST_WEIGHTS"):
        assert part in str(caught.value)


@pytest.mark.parametrize("extractor", [InceptionV3(), TorchvisionInceptionV3()])
def test_published_under_a_name_begin_with_the_digits_in_it(extractor: InceptionV3 | TorchvisionInceptionV3) -> None:
    assert extractor.URL.endswith(f"-{extractor.weights_sha256[:8]}.pth")
    assert len(extractor.weights_sha256) == 64
