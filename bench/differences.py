"""Two runs of one trial: in which numbers, losses and circumstances they differ. Needs no torch.

Numbers are compared bit by bit, as float64; times and memory are not compared. Data frames in, data frames out, and
two functions that put these into words for a terminal.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

MEASUREMENT = ["metric", "split", "n_samples", "protocol"]
POINT = ["stage", "step", "name"]
ENVIRONMENT = ["git_sha", "git_dirty", "python", "torch", "cuda", "device", "device_name", "threads", "deterministic"]
ENVIRONMENT += ["ray", "packages", "packed", "compiled"]
SHOWN = 10
"""Lines at most of the differing numbers of a trial on a terminal."""


def number_differences(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The numbers of a trial in two runs of it, those that differ most first.

    Args:
        first, second: rows of the trial, columns of `bench.storage.schema.ROW_SCHEMA`; those without a metric are
            passed over.

    Returns:
        A line a measurement of either run: MEASUREMENT, first and second (the values; null where there is none), same
        (bit by bit, or null in both), absolute (|second - first|), relative (absolute / |first|, infinite where first
        is 0); the last two are null where only one run has a value, and such lines lead.
    """
    texts = {"metric": object, "split": object, "protocol": object}  # pandas cannot merge empty columns of Arrow's
    runs = [frame.loc[frame["metric"].notna(), [*MEASUREMENT, "value"]].astype(texts) for frame in (first, second)]
    named = [run.rename(columns={"value": name}) for run, name in zip(runs, ("first", "second"), strict=True)]
    joined = named[0].merge(named[1], on=MEASUREMENT, how="outer", indicator=True)
    joined["same"] = _same(joined["first"], joined["second"]) & (joined.pop("_merge") == "both")
    joined["absolute"] = (joined["second"] - joined["first"]).abs()
    joined["relative"] = (joined["absolute"] / joined["first"].abs()).where(joined["absolute"] != 0, joined["absolute"])
    order = ["same", "relative", "absolute", *MEASUREMENT]
    ascending = [True, False, False, *[True] * len(MEASUREMENT)]
    return joined.sort_values(order, ascending=ascending, na_position="first", ignore_index=True)


def curve_differences(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The points at which the training curves of two runs of a trial differ, in the order of training.

    Args:
        first, second: points of the trial, columns of `bench.storage.schema.CURVE_SCHEMA`, in the order they were
            recorded.

    Returns:
        POINT, first and second (the values; null where there is none).
    """
    texts = {"stage": object, "name": object}
    runs = [frame[[*POINT, "value"]].astype(texts).reset_index(drop=True) for frame in (first, second)]
    joined = runs[0].reset_index().merge(runs[1].reset_index(), on=POINT, how="outer", indicator=True)
    joined = joined.rename(columns={"value_x": "first", "value_y": "second"})
    differing = joined[~_same(joined["first"], joined["second"]) | (joined["_merge"] != "both")]
    place = differing["index_x"].fillna(differing["index_y"])
    return differing.loc[place.sort_values(kind="stable").index, [*POINT, "first", "second"]].reset_index(drop=True)


def environment_differences(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The circumstances in which two runs of a trial differ: name (of ENVIRONMENT), first and second.

    Args:
        first, second: rows of the trial, at least one each; all of a trial's rows say the same of these.
    """
    lines = pd.DataFrame({"first": first[ENVIRONMENT].iloc[0], "second": second[ENVIRONMENT].iloc[0]}, dtype=object)
    lines = lines.rename_axis("name").reset_index()
    same = (lines["first"] == lines["second"]) | (lines["first"].isna() & lines["second"].isna())
    return lines[~same].reset_index(drop=True)


def worst_numbers(numbers: pd.DataFrame, first: str, second: str) -> str:
    """Of what `number_differences` gives, the lines that differ most; first and second say what the runs are called."""
    different = numbers.loc[~numbers["same"], ["metric", "split", "first", "second", "absolute", "relative"]]
    digits = {"first": "{:.17g}".format, "second": "{:.17g}".format}
    digits |= {"absolute": "{:.3g}".format, "relative": "{:.3g}".format}
    shown = different.head(SHOWN)
    header = ["metric", "split", first, second, "absolute", "relative"]
    text = shown.to_string(header=header, index=False, formatters=digits, na_rep="none")
    return f"{text}\n… and {len(different) - SHOWN} more" if len(different) > SHOWN else text


def in_words(environment: pd.DataFrame) -> str:
    """What `environment_differences` gives in a line, hashes by their first digits."""
    lines = environment.fillna("unknown").astype(str).itertuples(index=False)
    return ", ".join(f"{name} {_shortened(first)} → {_shortened(second)}" for name, first, second in lines)


def _shortened(text: str) -> str:
    return text[:12] if len(text) >= 40 and " " not in text else text


def _same(first: pd.Series, second: pd.Series) -> pd.Series:
    """Whether values are the same bit by bit; null is the same as null."""
    bits = [series.to_numpy(np.float64).view(np.int64) for series in (first, second)]
    return pd.Series(bits[0] == bits[1], first.index) | (first.isna() & second.isna())
