"""Published numbers: reading results/published/*.csv, and saying whether one may be compared with ours.

The format is described in results/published/README.md. A row's columns that also exist among our own rows (dataset,
dataset_options, method, params, metric, split, n_samples, value) mean the same there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.options import nearest

STATUSES = ("yes-primary", "yes-secondary", "yes-reimpl", "recomputed", "plot-read")
BOUNDS = ("", "<", ">", "~")


PUBLISHED = Path(__file__).resolve().parent.parent / "results" / "published"
"""The checked-in folder."""


class PublishedError(UserError):
    """A file of published numbers that cannot be used; the message lists file, line, column and what was expected."""


@dataclass(frozen=True)
class Comparison:
    """Whether a published number may be compared with one of ours: `differences` is field of the protocol -> how."""

    differences: Mapping[str, str]

    @property
    def comparable(self) -> bool:
        return not self.differences

    @property
    def reason(self) -> str:
        """All differences in words; empty where there are none."""
        return "; ".join(self.differences.values())


def _anything(text: str) -> str:
    return text


def _required(text: str) -> str:
    if not text.strip():
        raise ValueError("a text")
    return text


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError("a number or nothing") from None


def _count(text: str) -> int | None:
    if text and not text.isdecimal():
        raise ValueError("a whole number or nothing")
    return int(text) if text else None


def _json_object(text: str) -> str:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ValueError('a JSON object such as {"dim": 8}')
    return text


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(repr(choice) for choice in choices))
        return text

    return read


READERS: dict[str, Callable[[str], Any]] = {
    "paper": _required,
    "title": _required,
    "arxiv": _anything,
    "table": _required,
    "dataset": _required,
    "dataset_options": _json_object,
    "method": _anything,
    "params": _json_object,
    "metric": _required,
    "value": _number,
    "bound": _one_of(BOUNDS),
    "uncertainty": _number,
    "runs": _count,
    "n_samples": _count,
    "steps": _count,
    "resolution": _anything,
    "latent_dim": _count,
    "split": _anything,
    "feature_extractor": _anything,
    "protocol": _anything,
    "departure": _anything,
    "source": _required,
    "status": _one_of(STATUSES),
    "note": _anything,
    "paper_published": _required,
    "table_published": _required,
    "dataset_published": _required,
    "method_published": _required,
    "metric_published": _required,
    "value_published": _required,
    "uncertainty_published": _anything,
    "n_samples_published": _anything,
    "resolution_published": _anything,
    "latent_dim_published": _anything,
    "split_published": _anything,
    "feature_extractor_published": _anything,
}
UNSTATED = {
    "split": "the paper's split is not stated",
    "feature_extractor": "the paper's feature extractor is not stated",
    "n_samples": "the paper's number of samples is not stated",
}
DTYPES = {_number: "float64", _count: "Int64"}


def load_published(folder: Path | str = PUBLISHED) -> pd.DataFrame:
    """Every number under a folder of CSV files, one a row, with the columns of READERS.

    A folder that does not exist holds no numbers. Raises PublishedError with every mistake in the files.
    """
    rows: list[dict[str, Any]] = []
    mistakes: list[str] = []
    for path in sorted(Path(folder).glob("*.csv")):
        found, wrong = _read_file(path)
        rows += found
        mistakes += wrong
    if mistakes:
        raise PublishedError("\n".join(mistakes))
    frame = pd.DataFrame(rows, columns=list(READERS))
    return frame.astype({name: DTYPES[reader] for name, reader in READERS.items() if reader in DTYPES})


def published_table(published: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """The rows of tables named "paper/table", table by table; empty where there are none."""
    names = published["paper"] + "/" + published["table"]
    return pd.concat([published.iloc[:0], *(published[names == key] for key in keys)])


def find_table(published: pd.DataFrame, key: str) -> pd.DataFrame:
    """The rows of a table named "paper/table"; raises PublishedError where there is none, with the nearest name."""
    table = published_table(published, key)
    if table.empty:
        known = set(published["paper"] + "/" + published["table"])
        raise PublishedError(f'no published table "{key}": {nearest(key, known)}; `list published` has them all')
    return table


def printed(row: Mapping[str, Any]) -> str:
    """The number as the table has it, with its ±."""
    uncertainty = "" if pd.isna(row["uncertainty"]) else f" ± {row['uncertainty']:g}"
    return f"{row['value_published']}{uncertainty}"


def published_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows one by one, as the functions below take them."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def is_of(published: Mapping[str, Any], method: str, params: Mapping[str, Any]) -> bool:
    """Whether a published number is of this method with these hyperparameters, of which its table may fix some."""
    return published["method"] == method and not _params(published, params)


def comparison(published: Mapping[str, Any], row: Mapping[str, Any], trial: Mapping[str, Any]) -> Comparison:
    """Whether a published number and one of our rows were measured alike, as far as the paper states it.

    Args:
        published: a row of `load_published`.
        row: one of our rows (columns of the store), ok, with its value.
        trial: the record of its trial: `scale`, and under `spec` the budget and the method's params.
    """
    params = trial["spec"]["method"]["params"]
    fields = {
        "value": _no_number(published),
        "training": _scale(published, trial),
        "dataset": _dataset(published, row),
        "metric": _metric(published, row),
        "hyperparameters": _params(published, params),
        "latent_dim": _latent_dim(published, params),
        "split": _split(published, row),
        "feature_extractor": _extractor(published, row),
        "n_samples": _sample_count(published, row),
        "departure": _departure(published),
    }
    return Comparison({name: reason for name, reason in fields.items() if reason})


def never_comparable(published: Mapping[str, Any]) -> dict[str, str]:
    """Field -> why, of what no run of ours could mend: the table prints no number, is silent, or does otherwise."""
    fields = {
        "value": _no_number(published),
        "split": "" if published["split"] else UNSTATED["split"],
        "feature_extractor": "" if published["feature_extractor"] else UNSTATED["feature_extractor"],
        "n_samples": UNSTATED["n_samples"] if pd.isna(published["n_samples"]) else "",
        "departure": _departure(published),
    }
    return {name: reason for name, reason in fields.items() if reason}


def spread(published: pd.DataFrame, dataset: str, metric: str, method: str, params: Mapping[str, Any]) -> str:
    """How far papers differ about one method's nominal number, in words; empty where fewer than two measured it.

    All numbers of the method with these hyperparameters are taken, whatever their protocols: where the protocol is not
    pinned, that is how much a difference from one of them means. Numbers that a paper quotes are not its own.
    """
    alike = published["dataset"].eq(dataset) & published["metric"].eq(metric) & published["bound"].eq("")
    rows = published_rows(published[alike & published["value"].notna()])
    own = [row for row in rows if row["status"] != "yes-secondary" and is_of(row, method, params)]
    values = [(row["paper"], row["value"]) for row in own]
    papers = len({paper for paper, _ in values})
    if papers < 2:
        return ""
    low, high = min(value for _, value in values), max(value for _, value in values)
    return f"{papers} papers report {low:g} to {high:g}"


def _read_file(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            mistakes = [f"{path}, line 1: the column {name!r} is missing" for name in READERS if name not in header]
            mistakes += [f"{path}, line 1: unknown column {name!r}" for name in header if name not in READERS]
            if mistakes:
                return [], mistakes
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if len(cells) != len(header):
                    mistakes.append(f"{where}: {len(cells)} cells, expected {len(header)}")
                    continue
                row: dict[str, Any] = {}
                for name, text in zip(header, cells, strict=True):
                    try:
                        row[name] = READERS[name](text)
                    except ValueError as error:
                        mistakes.append(f"{where}, column {name}: expected {error}, found {text!r}")
                if row.get("paper", path.stem) != path.stem:
                    mistakes.append(f"{where}, column paper: expected the name of the file, found {row['paper']!r}")
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [], [f"{path}: cannot be read as CSV in UTF-8 ({error})"]
    return rows, mistakes


def _no_number(published: Mapping[str, Any]) -> str:
    return f"the table prints “{published['value_published']}”, no number" if pd.isna(published["value"]) else ""


def _scale(published: Mapping[str, Any], trial: Mapping[str, Any]) -> str:
    ours, theirs = trial["spec"]["budget"]["steps"], published["steps"]
    differ = ours is not None and not pd.isna(theirs) and ours != theirs
    steps = f"{ours:,} of the paper's {theirs:,} steps" if differ else ""
    if trial["scale"] != "paper":
        return f"{trial['scale']} scale: " + (steps or "not the paper's settings")
    return steps


def _dataset(published: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    if published["dataset"] != row["dataset"]:
        return f"dataset {published['dataset_published']}, ours {row['dataset']}"
    options = json.loads(row["dataset_options"])
    wanted = json.loads(published["dataset_options"])
    return _differences(wanted, options, "the dataset's ")


def _metric(published: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    same = published["metric"] == row["metric"]
    return "" if same else f"metric “{published['metric_published']}”, ours {row['metric']}"


def _params(published: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    return _differences(json.loads(published["params"]), params, "")


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], whose: str) -> str:
    return "; ".join(
        f"{whose}{name} {value}, ours {ours.get(name, 'has no such setting')}"
        for name, value in theirs.items()
        if ours.get(name) != value
    )


def _latent_dim(published: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    theirs, ours = published["latent_dim"], params.get("latent_dim")
    differ = not pd.isna(theirs) and ours is not None and ours != theirs
    return f"latent dimension {theirs}, ours {ours}" if differ else ""


def _split(published: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    if not published["split"]:
        return UNSTATED["split"]
    return "" if published["split"] == row["split"] else f"split {published['split']}, ours {row['split']}"


def _extractor(published: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    theirs, ours = published["feature_extractor"], json.loads(row["protocol"]).get("extractor", "none")
    if not theirs:
        return UNSTATED["feature_extractor"]
    return "" if theirs == ours else f"features {theirs}, ours {ours}"


def _sample_count(published: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    theirs = published["n_samples"]
    if pd.isna(theirs):
        return UNSTATED["n_samples"]
    if pd.isna(row["n_samples"]):
        return f"{theirs:,} samples, ours without any"
    return "" if theirs == row["n_samples"] else f"{theirs:,} samples, ours {int(row['n_samples']):,}"


def _departure(published: Mapping[str, Any]) -> str:
    return f"theirs is {published['departure']}" if published["departure"] else ""
