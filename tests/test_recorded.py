"""Every trial on record tells the command that runs it again, whatever sweeps.toml plans by now."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.commands import results_option, run_again
from bench.storage.store import Store
from methods.transport.identity import Identity

PAIRS = """
[sweep.{name}]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 16
steps = {steps}
datasets.gaussians = {{}}
methods.identity = {{}}
"""
SweepsFile = Callable[[str], Path]


@pytest.fixture
def results(sweeps_file: SweepsFile, tmp_path: Path) -> Path:
    """Seeds 0 and 1 of a sweep that has seed 0 alone, in a folder whose name a shell would take apart."""
    folder = tmp_path / "its results"
    arguments = ["--executor", "inline", "--seeds", "2", "--results", str(folder)]
    assert main(["run", str(sweeps_file(PAIRS.format(name="pairs", steps=5))), *arguments]) == 0
    return folder


def again(trial_id: str, results: Path, sweeps: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """The exit status of the command that `show` tells, with another file of sweeps, in this process."""
    capsys.readouterr()
    assert main(["show", trial_id[:10], "--results", str(results)]) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("again with"))
    verb = told.partition("python -m bench ")[2].replace("sweeps.toml", shlex.quote(str(sweeps)))
    return main([*shlex.split(verb), "--executor", "inline"])


@pytest.mark.parametrize(("name", "steps"), [("pairs", 5), ("pairs", 6), ("others", 6)])
def test_the_command_that_show_tells_runs_that_trial_again_and_no_other(
    name: str, steps: int, results: Path, sweeps_file: SweepsFile, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(results)
    sweeps = sweeps_file(PAIRS.format(name=name, steps=steps))
    trials = [trial_id for _, trial_id in store.read().trials]
    plan = store.read().planned
    assert len(trials) == 2
    for trial_id in trials:
        before = {each: store.stamp("pairs", each) for each in trials}
        assert again(trial_id, results, sweeps, capsys) == 0
        changed = [each for each in trials if store.stamp("pairs", each) != before[each]]
        assert changed == [trial_id]
    assert store.read().planned == plan


def test_a_trial_of_code_that_is_no_more_does_not_run_again(
    results: Path, sweeps_file: SweepsFile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Identity, "version", Identity.version + 1)
    ((_, trial_id), _) = Store(results).read().trials
    assert again(trial_id, results, sweeps_file(PAIRS.format(name="pairs", steps=5)), capsys) == 2
    error = capsys.readouterr().err
    assert f"{trial_id[:16]} is on record in {results} and cannot run again: method identity was version" in error


def test_an_id_that_is_not_on_record_matches_nothing(
    results: Path, sweeps_file: SweepsFile, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps = str(sweeps_file(PAIRS.format(name="pairs", steps=5)))
    assert main(["run", sweeps, "--only", "0123456789", "--results", str(results)]) == 2
    assert '--only "0123456789" matches no trial' in capsys.readouterr().err
    known = Store(results).read().trials
    (trial_id,) = [trial_id for (_, trial_id), trial in known.items() if trial["spec"]["seed"] == 1]
    assert main(["run", sweeps, "--only", trial_id, "--results", str(results)]) == 0
    assert main(["run", sweeps, "--only", trial_id, "--scale", "paper", "--results", str(results)]) == 2


def test_commands_name_the_folder_of_results_unless_it_is_the_default(tmp_path: Path) -> None:
    assert results_option(Path("results")) == results_option(Path.cwd() / "results") == ""
    assert results_option(Path("two words")) == " --results 'two words'"
    command = run_again("0123456789abcdef" * 4, "paper", results_option(Path("there")))
    assert command == "python -m bench run sweeps.toml --scale paper --only 0123456789abcdef --force --results there"
