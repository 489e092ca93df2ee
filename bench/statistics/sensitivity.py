"""How much the hyperparameters of a method matter, from the settings of a sweep, within one column of a leaderboard.

Frames: values, one line a (`setting`, `seed`) with its `value`; options, one line a `setting` with a column for each
hyperparameter that varies. Lines without a value are passed over.
"""

from __future__ import annotations

import math

import pandas as pd

SEEDS, INTERACTIONS = "seeds", "interactions"


def marginal_means(values: pd.DataFrame, options: pd.DataFrame) -> pd.DataFrame:
    """The mean over all settings with the same choice of a hyperparameter, each setting counting once.

    Where not all combinations were run, choices are compared on different settings, and `balanced` is False.

    Returns:
        One line a (hyperparameter, choice), in the order of appearance: option, choice, mean, n_settings, balanced.
    """
    means = values.groupby("setting", sort=False)["value"].mean().dropna().rename("mean").reset_index()
    table = options.merge(means, on="setting")
    names = _names(options)
    frames = [
        table.groupby(name, sort=False)["mean"]
        .agg(mean="mean", n_settings="size")
        .rename_axis("choice")
        .reset_index()
        .assign(option=name, balanced=_balanced(table, names))
        for name in names
    ]
    columns = ["option", "choice", "mean", "n_settings", "balanced"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def variance_shares(values: pd.DataFrame, options: pd.DataFrame) -> pd.DataFrame:
    """What the variance of all runs comes from: each hyperparameter by itself, interactions, and seeds.

    The main effect of a hyperparameter is the variance between its choices' means (the first order of the functional
    analysis of variance: Hutter et al. 2014, An efficient approach for assessing hyperparameter importance). Means
    over few seeds differ by chance too: with the variance within settings, s², over all runs, (choices − 1) s² is taken
    off its sum of squares and counted to the seeds (epsilon squared: Kelley 1935, An unbiased correlation ratio
    measure), and what would become negative is 0. So a hyperparameter that does nothing has a share of 0 but for luck.

    Returns:
        One line a hyperparameter, then "interactions" and "seeds": source, share (0 to 1). With one seed a setting
        nothing is known of seeds: their share is NaN, and chance stands in the others. Where not all combinations were
        run equally often, main effects overlap, and the share of interactions is NaN. Without any variance all are NaN.
    """
    runs = options.merge(values.dropna(subset=["value"]), on="setting")
    names = _names(options)
    deviations = runs["value"] - runs["value"].mean()
    total = float((deviations**2).sum())
    inside = float(((runs["value"] - runs.groupby("setting")["value"].transform("mean")) ** 2).sum())
    settings = runs["setting"].nunique()
    freedom = len(runs) - settings
    noise = inside / freedom if freedom else 0.0
    shares = {}
    for name in names:
        of_choices = deviations.groupby(runs[name]).transform("mean")
        shares[name] = max(float((of_choices**2).sum()) - (runs[name].nunique() - 1) * noise, 0.0)
    seeds = min(inside + max(settings - 1, 0) * noise, total)
    balanced = _balanced(runs, names)
    shares[INTERACTIONS] = max(total - seeds - sum(shares.values()), 0.0) if balanced else math.nan
    shares[SEEDS] = seeds if freedom else math.nan
    of_total = [share / total if total else math.nan for share in shares.values()]
    return pd.DataFrame({"source": list(shares), "share": of_total})


def _names(options: pd.DataFrame) -> list[str]:
    return [str(name) for name in options.columns if name != "setting"]


def _balanced(table: pd.DataFrame, names: list[str]) -> bool:
    """Whether every combination of choices has equally many lines."""
    counts = table.groupby(names).size() if names else table.groupby("setting").size()
    return len(counts) == math.prod(table[name].nunique() for name in names) and counts.nunique() == 1
