"""The command line: help worth reading, exit statuses, and listings without running anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.driver import run_sweeps

ROOT = Path(__file__).parent.parent
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
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


VERBS = ["run", "reproduce", "prepare", "report", "list", "show", "verify", "check"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out) > 200


def test_help_of_run_states_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "130  interrupted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("methods", ["w2gn", "arXiv 1909.13082", "gwae", "latent_dim"]),
        ("datasets", ["gaussians", "mnist-5k", "sprites", "CC BY"]),
        ("metrics", ["l2-uvp", "dci-completeness", "fd-efficientnet-lite0-generation", "lower", "higher"]),
        ("published", ["w2gn/gaussians", "wae/"]),
        ("sweeps", ["Two small pairs"]),
    ],
)
def test_lists_say_what_there_is(
    what: str, expected: list[str], sweeps_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", what, "--sweeps", str(sweeps_file(SWEEPS))]) == 0
    printed = capsys.readouterr().out
    for fragment in expected:
        assert fragment in printed


def test_show_tells_everything_of_a_trial(
    sweeps_file: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sweeps(sweeps_file(SWEEPS), results=tmp_path, executor="inline")
    (trial,) = [path.stem for path in (tmp_path / "rows").rglob("*.parquet")]
    capsys.readouterr()
    assert main(["show", trial[:8], "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    again = f"--only {trial[:16]} --force --results {tmp_path}"
    for fragment in (trial, "identity", "l2-uvp", "4096", "git_sha", again):
        assert fragment in printed


def test_show_tells_everything_of_a_published_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "w2gn/gaussians"]) == 0
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if "| LSOT (Large-scale OT) | Gaussian pair D=8 |" in line)
    for fragment in (
        "| 7.5 |",
        "| lsot map=barycentric |",
        "| gaussians dim=8 |",
        "| l2-uvp |",
        "| test |",
        "| 1,024 |",
    ):
        assert fragment in line
    assert "theirs is trained with settings that are published nowhere" in printed
    assert main(["show", "w2gn/gausians"]) == 2
    assert 'did you mean "w2gn/gaussians"' in capsys.readouterr().err


def test_an_unknown_trial_is_an_error_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "0123abcd", "--results", str(tmp_path)]) == 2
    assert 'no trial "0123abcd"' in capsys.readouterr().err


def test_a_filter_that_matches_nothing_is_an_error_with_near_matches(
    sweeps_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(sweeps_file(SWEEPS)), "--only", "pears"]) == 2
    assert 'did you mean "pairs"?' in capsys.readouterr().err


def test_a_results_folder_that_cannot_be_written_is_an_error_before_the_run(
    sweeps_file: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["run", str(sweeps_file(SWEEPS)), "--results", str(tmp_path / "file"), "--executor", "inline"]) == 2
    assert "choose another with --results" in capsys.readouterr().err


def test_check_prints_its_verdicts_and_fails_an_unsound_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "constant"]) == 0
    assert "state saved and loaded" in capsys.readouterr().out
    assert main(["check", "tests.faulty:TurnsNaN"]) == 1
    assert "the loss loss is nan" in capsys.readouterr().out
    assert main(["check", "constnt"]) == 2


def test_report_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from bench.cli import main\n"
        f"status = main(['report', '--results', {str(tmp_path)!r}, '--out', {str(tmp_path / 'out')!r}])\n"
        "sys.exit(3 if 'torch' in sys.modules else status)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "index.html").exists()
