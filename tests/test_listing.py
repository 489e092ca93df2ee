"""`python -m bench list`: at once when it was listed before, and never out of date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import remembered
from bench.cli import main
from datasets.root import data_root

ROOT = Path(__file__).parent.parent
HEAVY = {"numpy", "pandas", "pyarrow", "ray", "scipy", "sklearn", "torch"}
LISTS = ["methods", "datasets", "metrics", "sweeps", "published"]
SWEEPS = """
[sweep.pairs]
kind = "transport"
title = "Two small pairs"
metrics = ["l2-uvp"]
batch_size = 8
steps = 2
datasets.gaussians = {}
methods.identity = {}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data folder in which nothing is remembered, and lines long enough for all."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "300")


def imported_by(*arguments: str) -> set[str]:
    """The top-level modules that a command line imports."""
    program = (
        "import sys\n"
        "from bench.cli import main\n"
        "try:\n"
        f"    main({list(arguments)!r})\n"
        "finally:\n"
        "    print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def listed(what: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["list", what, *arguments]) == 0
    return capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    assert not imported_by("--help") & HEAVY


def test_published_tables_are_listed_without_torch_the_first_time() -> None:
    assert not imported_by("list", "published") & {"ray", "torch"}


@pytest.mark.parametrize("what", LISTS)
def test_a_second_list_is_the_first_and_imports_nothing_heavy(
    what: str, sweeps_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--sweeps", str(sweeps_file(SWEEPS))]
    first = listed(what, capsys, *arguments)
    assert not imported_by("list", what, *arguments) & HEAVY
    monkeypatch.setattr("bench.catalog.catalog", None)
    assert listed(what, capsys, *arguments) == first


def test_sweeps_are_listed_as_the_file_says_now(
    sweeps_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweeps_file(SWEEPS)
    assert "Two small pairs" in listed("sweeps", capsys, "--sweeps", str(path))
    sweeps_file(SWEEPS.replace("Two small pairs", "One pair"))
    assert "One pair" in listed("sweeps", capsys, "--sweeps", str(path))
    sweeps_file(SWEEPS.replace("gaussians", "gausians"))
    assert main(["list", "sweeps", "--sweeps", str(path)]) == 2
    sweeps_file(SWEEPS)
    assert "Two small pairs" in listed("sweeps", capsys, "--sweeps", str(path))


def test_sweeps_of_plug_ins_are_never_remembered(
    sweeps_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweeps_file(SWEEPS.replace("methods.identity", 'methods."tests.faulty:TurnsNaN"'))
    assert "Two small pairs" in listed("sweeps", capsys, "--sweeps", str(path))
    assert not (data_root() / "listings").exists()


@pytest.mark.parametrize("damage", ["", "[]", '{"made_from": ', "\x00"])
def test_what_was_remembered_and_is_damaged_is_made_anew(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = listed("published", capsys)
    (data_root() / "listings" / "published.json").write_text(damage)
    assert listed("published", capsys) == first


def test_a_data_folder_that_cannot_be_written_stops_no_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("a file in the way")
    assert "w2gn/gaussians" in listed("published", capsys)


def test_other_code_has_another_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "ROOT", tmp_path)
    module, beside = tmp_path / "methods" / "parts" / "network.py", tmp_path / "sweeps.toml"
    module.parent.mkdir(parents=True)
    module.write_text("width = 64")
    found = [remembered.fingerprint(), remembered.fingerprint([beside])]
    module.touch()
    assert remembered.fingerprint() == found[0], "only its time is another"
    for path, text in [(module, "width = 32"), (module.with_name("another.py"), "width = 64"), (beside, "seeds = 1")]:
        path.write_text(text)
        found.append(remembered.fingerprint([beside]))
    module.unlink()
    found.append(remembered.fingerprint([beside]))
    assert len(set(found)) == len(found)


def test_what_is_remembered_of_other_code_is_not_recalled() -> None:
    remembered.remember("methods", "made from this", {"lines": []})
    assert remembered.recall("methods", "made from this") == {"lines": []}
    assert remembered.recall("methods", "made from that") is None
    assert remembered.recall("datasets", "made from this") is None
