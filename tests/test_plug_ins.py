"""Code from outside the repository runs where the user names it, and nowhere else: results may come from anyone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cli import main
from bench.registry import find_method, plug_ins
from bench.storage.store import Store

PLUG_IN = """
from pathlib import Path
from methods.transport.identity import Identity

Path(__file__).with_name("imported").touch()

class Elsewhere(Identity):
    name = "elsewhere"
"""
SWEEP = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 16
steps = 1
datasets.gaussians = {{ dim = 2 }}
methods."{method}" = {{}}
"""


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package is installed that offers the method "elsewhere"; this file is there once its code has run."""
    site = tmp_path / "site"
    metadata = site / "elsewhere-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "elsewhere_package.py").write_text(PLUG_IN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[bench.methods]\nelsewhere = elsewhere_package:Elsewhere\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "elsewhere_package", raising=False)
    plug_ins.cache_clear()
    yield site / "imported"
    plug_ins.cache_clear()
    sys.modules.pop("elsewhere_package", None)


@pytest.fixture(params=["elsewhere", "elsewhere_package:Elsewhere"])
def results(
    request: pytest.FixtureRequest, imported: Path, tmp_path: Path, sweeps_file: Callable[[str], Path]
) -> tuple[Path, str, Path]:
    """Results of a trial of the plug-in, the name it has there, and a sweeps.toml without it; forgotten since."""
    folder, name = tmp_path / "results", request.param
    path = sweeps_file(SWEEP.format(method=name))
    assert main(["run", str(path), "--executor", "inline", "--results", str(folder)]) == 0
    assert imported.exists()
    path.write_text(SWEEP.format(method="identity"))
    imported.unlink()
    del sys.modules["elsewhere_package"]
    return folder, name, path


def only_id(folder: Path) -> str:
    ((_, trial_id),) = Store(folder).read().trials
    return trial_id


def test_an_installed_plug_in_is_listed_and_not_imported(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods"]) == 0
    assert "elsewhere" in capsys.readouterr().out
    assert not imported.exists()
    assert find_method("elsewhere").name == "elsewhere"
    assert imported.exists()


def test_what_reads_results_imports_no_method_that_they_name(
    results: tuple[Path, str, Path], imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, path = results
    trial_id = only_id(folder)
    assert main(["show", trial_id, "--results", str(folder)]) == 0
    assert main(["report", "--results", str(folder), "--out", str(tmp_path / "reports")]) == 0
    assert main(["merge", str(folder), "--out", str(tmp_path / "merged")]) == 0
    assert main(["run", str(path), "--dry-run", "--results", str(folder)]) == 0
    assert main(["verify", trial_id, "--executor", "inline", "--results", str(folder)]) == 1
    assert "is a plug-in, imported only if sweeps.toml names it" in capsys.readouterr().out
    again = ["run", str(path), "--only", trial_id[:16], "--executor", "inline", "--results", str(folder)]
    assert main(again) == 2
    assert "is a plug-in, imported only if sweeps.toml names it" in capsys.readouterr().err
    assert not imported.exists()


def test_a_recorded_plug_in_runs_when_it_is_named(results: tuple[Path, str, Path], imported: Path) -> None:
    folder, name, path = results
    trial_id = only_id(folder)
    verify = ["verify", trial_id, "--executor", "inline", "--results", str(folder)]
    assert main([*verify, "--plug-in", name]) == 0
    assert imported.exists()
    path.write_text(SWEEP.format(method=name))
    run = ["run", str(path), "--only", trial_id[:16], "--force", "--executor", "inline", "--results", str(folder)]
    assert main(run) == 0


def test_a_module_that_ends_the_program_is_a_mistake_with_its_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sweeps_file: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a_program.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    path = sweeps_file(SWEEP.format(method="a_program:Method"))
    assert main(["run", str(path), "--dry-run", "--results", str(tmp_path / "results")]) == 2
    assert "sweep pairs, methods.a_program:Method" in capsys.readouterr().err
