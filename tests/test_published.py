"""The published numbers that are checked in, the errors of bad files, and which comparisons are fair."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.options import fits, options_of
from bench.published import (
    READERS,
    PublishedError,
    comparison,
    is_of,
    load_published,
    published_rows,
    published_table,
    spread,
)
from bench.registry import all_datasets, all_methods, find_method

FOLDER = Path(__file__).parent.parent / "results" / "published"
GOOD = {
    **dict.fromkeys(READERS, ""),
    "paper": "some",
    "title": "Some Paper",
    "table": "table-1",
    "dataset": "gaussians",
    "dataset_options": '{"dim": 8}',
    "params": "{}",
    "metric": "l2-uvp",
    "value": "3.7",
    "source": "the paper",
    "status": "yes-primary",
    **{f"{name}_published": "text" for name in ("paper", "table", "dataset", "method", "metric", "value")},
}


def write(folder: Path, *rows: dict[str, str], name: str = "some", columns: list[str] | None = None) -> Path:
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns or list(READERS), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return load_published(FOLDER)


def test_all_626_transcribed_cells_are_there(published: pd.DataFrame):
    twins = [name for name in published if name.endswith("_published")]
    cells = published.groupby([*twins, "protocol", "source", "note"], dropna=False).size()
    assert len(cells) == 626
    assert len(published) == 685  # 59 cells held two numbers


def test_the_gaussian_table_reads_as_printed(published: pd.DataFrame):
    table = published_table(published, "w2gn/gaussians")
    lsot = table[(table["method"] == "lsot")].set_index("dataset_options")
    assert (lsot.loc['{"dim": 2}', "bound"], lsot.loc['{"dim": 2}', "value"]) == ("<", 1)
    assert lsot.loc['{"dim": 128}', "value"] == 46.9
    assert (lsot.loc['{"dim": 4096}', "bound"], lsot.loc['{"dim": 4096}', "value"]) == (">", 50)
    w2gn = table[(table["method_published"] == "W2GN") & (table["metric"] == "l2-uvp")]
    assert sorted(json.loads(text)["dim"] for text in w2gn["dataset_options"]) == [2**k for k in range(1, 13)]
    assert (w2gn["steps"] == 5001).all()


def test_two_numbers_in_a_cell_are_two_rows(published: pd.DataFrame):
    both = published[published["value_published"] == "~1.3 / ~1.5"].set_index("metric")
    assert both["value"].to_dict() == {"l2-uvp": 1.3, "l2-uvp-inverse": 1.5}
    assert (both["bound"] == "~").all()


def test_a_table_names_each_quantity_of_a_method_once(published: pd.DataFrame):
    ours = published[published["method"] != ""]
    key = ["paper", "table", "dataset", "dataset_options", "method_published", "params", "metric", "split", "note"]
    assert not ours.duplicated(key).any()


def test_what_is_said_to_be_ours_is(published: pd.DataFrame):
    methods, datasets = all_methods(), all_datasets()
    for row in published_rows(published):
        if row["method"]:
            options = options_of(methods[row["method"]])
            for name, value in json.loads(row["params"]).items():
                assert fits(value, options[name].type), row
        if row["dataset"] in datasets:
            assert json.loads(row["dataset_options"]).keys() <= options_of(datasets[row["dataset"]]).keys(), row


def test_fid_over_other_features_is_not_entered_as_fid(published: pd.DataFrame):
    assert set(published.loc[published["metric"] == "fid-generation", "feature_extractor"]) <= {
        "inception-v3-compat",
        "",
    }
    mnist = published[(published["paper"] == "sinkhorn-ae") & (published["dataset"] == "mnist")]
    assert not mnist["metric"].str.startswith("fid").any()


def test_no_folder_holds_no_numbers(tmp_path: Path):
    frame = load_published(tmp_path / "nowhere")
    assert frame.empty
    assert list(frame.columns) == list(READERS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": "3,7"}, "line 3, column value: expected a number or nothing, found '3,7'"),
        ({"n_samples": "10k"}, "line 3, column n_samples: expected a whole number or nothing, found '10k'"),
        ({"bound": "<="}, "line 3, column bound: expected one of '', '<', '>', '~', found '<='"),
        ({"status": "yes"}, "line 3, column status: expected one of 'yes-primary'"),
        ({"dataset_options": "dim=8"}, "line 3, column dataset_options: expected a JSON object"),
        ({"source": ""}, "line 3, column source: expected a text, found ''"),
        ({"paper": "other"}, "line 3, column paper: expected the name of the file, found 'other'"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, changed: dict[str, str], message: str):
    path = write(tmp_path, GOOD, {**GOOD, **changed})
    with pytest.raises(PublishedError) as caught:
        load_published(tmp_path)
    assert str(caught.value).startswith(f"{path}, {message}")


def test_all_mistakes_come_at_once(tmp_path: Path):
    write(tmp_path, {**GOOD, "value": "x", "status": "?"})
    write(tmp_path, {**GOOD, "paper": "more", "bound": "!"}, name="more")
    with pytest.raises(PublishedError) as caught:
        load_published(tmp_path)
    assert len(str(caught.value).splitlines()) == 3


def test_missing_unknown_and_short_columns_are_named(tmp_path: Path):
    write(tmp_path, GOOD, columns=[name for name in READERS if name != "status"])
    (tmp_path / "short.csv").write_text(",".join(READERS) + "\nshort,Title\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PublishedError) as caught:
        load_published(tmp_path)
    assert "some.csv, line 1: the column 'status' is missing" in str(caught.value)
    assert f"short.csv, line 2: 2 cells, expected {len(READERS)}" in str(caught.value)
    assert "binary.csv: cannot be read as CSV in UTF-8" in str(caught.value)


ROW = {
    "dataset": "gaussians",
    "dataset_options": '{"dim": 8, "seed": 1}',
    "metric": "l2-uvp",
    "split": "test",
    "protocol": "{}",
    "n_samples": 1024,
}


def trial(scale: str = "paper", steps: int | None = 5001, **params: Any) -> dict[str, Any]:
    return {"scale": scale, "spec": {"budget": {"steps": steps}, "method": {"params": params}}}


@pytest.fixture(scope="module")
def w2gn(published: pd.DataFrame) -> dict[str, Any]:
    table = published_table(published, "w2gn/gaussians")
    return table[(table["method"] == "w2gn") & (table["dataset_options"] == '{"dim": 8}')].iloc[0].to_dict()


def test_the_same_protocol_is_comparable(w2gn: dict[str, Any]):
    assert comparison(w2gn, ROW, trial()).comparable


@pytest.mark.parametrize(
    ("row", "record", "field", "reason"),
    [
        ({}, trial("quick", 1000), "training", "quick scale: 1,000 of the paper's 5,001 steps"),
        ({}, trial("quick"), "training", "quick scale: not the paper's settings"),
        ({}, trial(steps=10), "training", "10 of the paper's 5,001 steps"),
        ({"dataset": "toy2d"}, trial(), "dataset", "dataset Gaussian pair D=8, ours toy2d"),
        ({"dataset_options": '{"dim": 4}'}, trial(), "dataset", "the dataset's dim 8, ours 4"),
        ({"metric": "cosine"}, trial(), "metric", "metric “UVP % (lower better)”, ours cosine"),
        ({"split": "validation"}, trial(), "split", "split test, ours validation"),
        ({"n_samples": 4096}, trial(), "n_samples", "1,024 samples, ours 4,096"),
        ({"protocol": '{"extractor": "x"}'}, trial(), "feature_extractor", "features none, ours x"),
    ],
)
def test_what_differs_is_said(
    w2gn: dict[str, Any], row: dict[str, Any], record: dict[str, Any], field: str, reason: str
):
    found = comparison(w2gn, {**ROW, **row}, record)
    assert found.differences == {field: reason}


def test_what_is_not_stated_is_not_comparable(w2gn: dict[str, Any]):
    silent = {**w2gn, "split": "", "n_samples": pd.NA, "feature_extractor": "", "value": float("nan")}
    found = comparison(silent, ROW, trial())
    assert not found.comparable
    for word in ("no number", "split is not stated", "extractor is not stated", "samples is not stated"):
        assert word in found.reason


def test_hyperparameters_the_table_fixes_must_agree(w2gn: dict[str, Any]):
    fixed = {**w2gn, "params": '{"beta": 0.1}', "latent_dim": 64}
    assert comparison(fixed, ROW, trial(beta=0.1, latent_dim=64)).comparable
    assert (
        comparison(fixed, ROW, trial(beta=4.0, latent_dim=8)).reason
        == "beta 0.1, ours 4.0; latent dimension 64, ours 8"
    )
    assert comparison(fixed, ROW, trial(latent_dim=64)).reason == "beta 0.1, ours has no such setting"


def test_the_spread_over_papers_is_that_of_the_transcription(published: pd.DataFrame):
    wae = {"kernel": "imq", "prior": "normal", "density": "prior"}
    found = spread(published, "celeba", "fid-generation", "wae-mmd", wae)
    assert found == "6 papers report 51.29 to 62.9"
    assert spread(published, "gaussians", "l2-uvp", "w2gn", {}) == ""  # one paper


def test_the_settings_of_w2gn_s_lsot_are_unknown_and_so_it_is_not_compared(published: pd.DataFrame):
    table = published_table(published, "w2gn/gaussians")
    lsot = table[(table["method"] == "lsot") & (table["dataset_options"] == '{"dim": 8}')].iloc[0].to_dict()
    found = comparison(lsot, ROW, trial(map="barycentric"))
    assert found.differences == {"departure": "theirs is trained with settings that are published nowhere"}


# The W2 benchmark


def ours(dim: int, **facts: Any) -> dict[str, Any]:
    """A row of ours under the protocol of its table."""
    return {**ROW, "dataset": "w2-benchmark", "dataset_options": json.dumps({"dim": dim}), "n_samples": 4096, **facts}


BEST = "theirs is the best checkpoint by the reported metric"


@pytest.mark.parametrize(
    ("method", "params", "printed", "reason"),
    [
        ("mm", {"reverse": False}, "MM", BEST),
        ("mm", {"reverse": True}, "MM:R", BEST),
        ("mm-v1", {}, "MMv1", BEST),
        ("mm-v2", {"reverse": False}, "MMv2", BEST),
        ("mm-v2", {"reverse": True}, "MMv2:R", BEST),
        ("mm-b", {}, "MM-B", ""),
        ("qc", {}, "QC", ""),
        ("lsot", {"map": "gradient"}, "LS", ""),
        ("w2gn", {"reverse": False}, "W2 (=W2GN)", BEST),
        ("w2gn", {"reverse": True}, "W2:R", BEST),
        ("linear", {}, "L (linear baseline)", ""),
        ("identity", {}, "ID (identity baseline)", ""),
        ("constant", {}, "C (constant baseline)", ""),
    ],
)
def test_each_solver_of_the_w2_benchmark_has_its_own_row(
    published: pd.DataFrame, method: str, params: dict[str, Any], printed: str, reason: str
):
    table = published_table(published, "w2-benchmark/hd-pairs").to_dict("records")
    settings = {**{name: option.default for name, option in options_of(find_method(method)).items()}, **params}
    found = [row for row in table if is_of(row, method, settings)]
    assert [row["method_published"] for row in found] == [printed] * 8
    assert [json.loads(row["dataset_options"])["dim"] for row in found] == [2**k for k in range(1, 9)]
    steps = None if pd.isna(found[3]["steps"]) else found[3]["steps"]
    assert comparison(found[3], ours(16), trial(steps=steps, **params)).reason == reason


def test_a_solver_that_diverged_is_said_to_have(published: pd.DataFrame):
    table = published_table(published, "w2-benchmark/hd-pairs")
    diverged = table[table["value"].isna()]
    assert [*zip(diverged["method_published"], diverged["dataset_options"], strict=True)] == [
        ("MM:R", '{"dim": 128}'),
        ("MM:R", '{"dim": 256}'),
    ]
    reason = comparison(diverged.iloc[0].to_dict(), ours(128), trial(steps=50_001, reverse=True)).reason
    assert reason.startswith("the table prints “div”, no number")
    late = table[(table["method_published"] == "MM") & (table["dataset_options"] == '{"dim": 128}')].iloc[0].to_dict()
    reason = comparison(late, ours(128), trial(steps=50_001, reverse=False)).reason
    assert reason == f"{BEST}, of a run marked as diverging"


def test_the_domain_adaptation_of_w2gn_is_measured_as_ours_but_under_another_classifier(published: pd.DataFrame):
    table = published_table(published, "w2gn/domain-adaptation")
    row = table[(table["method"] == "identity")].iloc[0].to_dict()
    same = {
        **ROW,
        "dataset": "domain-adaptation",
        "dataset_options": '{"source": "usps", "steps": 2340, "target": "mnist"}',
        "metric": "one-nn-accuracy",
        "n_samples": 2007,
    }
    reason = "theirs is under another LeNet (augmented training), with 60,000 reference digits"
    assert comparison(row, same, trial(steps=None)).reason == reason
    plan = table[table["method"] == "discrete-ot"].iloc[0].to_dict()
    found = comparison(plan, same, trial(steps=None, regularization="exact"))
    assert found.reason.startswith("theirs is a plan fitted on the test points")
