"""`python -m bench prepare`: what is built, what is said, what is checked; and trials whose data are not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from bench import preparation
from bench.cli import main
from bench.dataset_docs import datasets_page
from datasets.base import RemoteFile
from datasets.images.usps import Usps

SWEEPS = """
[sweep.small]
kind = "autoencoding"
batch_size = 64
steps = 2
datasets.digits = {}
datasets.usps = {}
methods.ae = { latent_dim = 4, width = 4, network = "mlp" }
metrics.outlier-auc-gaussian = { outliers = "mnist-5k", num_train = 100, num_samples = 20 }
"""
PAIRS = """
[sweep.pairs]
kind = "transport"
metrics = ["l2-uvp"]
batch_size = 16
steps = 1
datasets.gaussians = { dim = [2, 4] }
methods.linear = {}
"""


@pytest.fixture
def sweeps(tmp_path: Path) -> Path:
    path = tmp_path / "sweeps.toml"
    path.write_text(SWEEPS)
    return path


@pytest.fixture
def no_usps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens where its files should come from."""
    monkeypatch.setattr(Usps, "files", (RemoteFile("usps.bz2", "http://127.0.0.1:1/usps.bz2", md5="0" * 32),))


def test_datasets_are_built_and_their_places_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(tmp_path / "data")
    assert main(["prepare", "digits", "toy2d", "--data", data]) == 0
    digits, toy2d, summary = capsys.readouterr().out.splitlines()
    assert digits.startswith("digits: ready after ")
    (entry,) = [path for path in (tmp_path / "data" / "datasets" / "digits").iterdir() if path.is_dir()]
    assert digits.endswith(f" kB in {entry}")
    assert toy2d == "toy2d: ready, made anew by every trial"
    assert summary == f"2 of 2 datasets ready in {tmp_path / 'data'}"


def test_one_that_cannot_be_had_does_not_stop_the_others(
    no_usps: None, sweeps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prepare", "--sweep", "small", "--sweeps", str(sweeps), "--data", str(tmp_path / "data")]
    assert main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["digits", "mnist-5k", "usps"]
    assert lines[2].startswith("usps: cannot download usps.bz2: ")
    assert str(tmp_path / "data" / "files") in lines[2]
    assert lines[3].startswith("2 of 3 datasets ready")


def test_datasets_of_a_sweep_have_its_options_at_its_scale(
    no_usps: None, sweeps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps.write_text(f"{SWEEPS}\n[sweep.small.paper]\ndatasets.sprites = {{ size = 32, train = 100 }}\n")
    main(["prepare", "--sweep", "small", "--sweeps", str(sweeps), "--scale", "paper", "--data", str(tmp_path)])
    assert {line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:-1]} == {
        "digits",
        "usps",
        "mnist-5k",  # for outliers
        "sprites size=32 train=100",
    }


def test_verification_builds_nothing_and_finds_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prepare", "digits", "--data", str(tmp_path)]
    assert main([*arguments, "--verify"]) == 1
    assert "is missing or incomplete" in capsys.readouterr().out
    assert not (tmp_path / "datasets").exists()
    main(arguments)
    assert main([*arguments, "--verify"]) == 0
    assert "digits: as it was built" in capsys.readouterr().out
    (array,) = tmp_path.glob("datasets/digits/*/test-images.npy")
    with array.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x77")
    assert main([*arguments, "--verify"]) == 1
    assert "digits: test-images in" in capsys.readouterr().out


def test_verification_finds_another_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(
        f"{label} " + " ".join(f"{i}:0.5" for i in range(1, 257)) + "\n" for label in range(1, 11) for _ in range(10)
    )
    (tmp_path / "files").mkdir()
    files = []
    for name in ("usps.bz2", "usps.t.bz2"):
        import bz2

        content = bz2.compress(lines.encode())
        (tmp_path / "files" / name).write_bytes(content)
        files.append(RemoteFile(name, f"http://127.0.0.1:1/{name}", hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(Usps, "files", tuple(files))
    arguments = ["prepare", "usps", "--data", str(tmp_path)]
    assert main(arguments) == 0
    assert main([*arguments, "--verify"]) == 0
    (tmp_path / "files" / "usps.bz2").write_bytes(b"other")
    assert main([*arguments, "--verify"]) == 1
    assert "usps.bz2 has SHA-256" in capsys.readouterr().out


def test_names_that_are_none_are_mistakes(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare"]) == 2
    assert "say what to prepare" in capsys.readouterr().err
    assert main(["prepare", "digit"]) == 2
    assert 'no dataset "digit"' in capsys.readouterr().err
    assert main(["prepare", "--sweep", "smal", "--sweeps", str(sweeps)]) == 2
    assert 'has no sweep "smal"' in capsys.readouterr().err


def test_a_trial_without_its_data_ends_at_once_and_says_what_to_run(
    no_usps: None, sweeps: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    arguments = ["run", str(sweeps), "--executor", "inline", "--results", str(results), "--only", "small/*/usps"]
    assert main([*arguments, "--data", str(tmp_path / "data")]) == 1
    (row,) = pd.read_parquet(results / "rows").to_dict("records")
    assert (row["status"], row["error_type"]) == ("failed", "MissingFile")
    assert row["error"].startswith(f"Run `python -m bench prepare --sweep small --data {tmp_path / 'data'}` ")
    assert "then this with --retry-failed. usps.bz2 is not in " in row["error"]
    assert "http://127.0.0.1:1/usps.bz2" in row["error"]
    assert row["train_seconds"] is None or pd.isna(row["train_seconds"])


def test_a_trial_without_its_outliers_ends_at_once_too(no_usps: None, tmp_path: Path) -> None:
    path, results, data = tmp_path / "sweeps.toml", tmp_path / "results", tmp_path / "my data"
    path.write_text(SWEEPS.replace("datasets.usps = {}", "").replace("mnist-5k", "usps"))
    assert main(["run", str(path), "--executor", "inline", "--results", str(results), "--data", str(data)]) == 1
    (row,) = pd.read_parquet(results / "rows").to_dict("records")
    assert (row["status"], row["error_type"]) == ("failed", "MissingFile")
    assert f"--sweep small --data '{data}'`" in row["error"]
    assert pd.isna(row["train_seconds"])


def test_all_are_all_that_need_no_folder_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepared: list[str] = []

    def note(wanted: tuple[str, object], *_: object) -> bool:
        prepared.append(wanted[0])
        return True

    monkeypatch.setattr(preparation, "_prepare_one", note)
    assert main(["prepare", "--all", "--data", str(tmp_path)]) == 0
    assert {"mnist", "celeba", "gaussians", "w2-benchmark"} < set(prepared)
    assert "image-folder" not in prepared


def test_the_page_of_datasets_is_up_to_date() -> None:
    page = Path(__file__).parent.parent / "docs" / "datasets.md"
    assert page.read_text(encoding="utf-8") == datasets_page(), "python -m bench list datasets > docs/datasets.md"


def test_with_prepare_a_dataset_that_cannot_be_built_stops_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweeps.toml").write_text(PAIRS)
    build = preparation._build

    def sometimes(wanted: preparation.Wanted, root: Path) -> object:
        if wanted[1]["dim"] == 2:
            raise RuntimeError("no such cube")
        return build(wanted, root)

    monkeypatch.setattr(preparation, "_build", sometimes)
    command = ["run", str(tmp_path / "sweeps.toml"), "--prepare", "--executor", "inline"]
    assert main([*command, "--results", str(tmp_path / "results")]) == 0  # they do without what was to be built
    assert "gaussians could not be prepared: no such cube" in capsys.readouterr().out
    assert pd.read_parquet(tmp_path / "results" / "rows")["status"].tolist() == ["ok", "ok"]
