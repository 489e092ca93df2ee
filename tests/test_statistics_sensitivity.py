"""What hyperparameters matter, where the answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from bench.statistics.sensitivity import marginal_means, variance_shares


def grid(effect: dict[str, list[float]], seeds: int = 1, noise: float = 0.0, interaction: float = 0.0, luck: int = 0):
    """(values, options) of a full grid whose value is the sum of its choices' effects."""
    rng = np.random.default_rng(luck)
    runs, options = [], []
    for k, choices in enumerate(itertools.product(*(range(len(levels)) for levels in effect.values()))):
        mean = sum(levels[choice] for levels, choice in zip(effect.values(), choices, strict=True))
        mean += interaction * float(np.prod([2 * choice - 1 for choice in choices]))
        options.append({"setting": f"s{k}", **{name: f"{c}" for name, c in zip(effect, choices, strict=True)}})
        runs += [
            {"setting": f"s{k}", "seed": seed, "value": mean + noise * float(rng.normal())} for seed in range(seeds)
        ]
    return pd.DataFrame(runs), pd.DataFrame(options)


def shares(*design: pd.DataFrame) -> dict[str, float]:
    return variance_shares(*design).set_index("source")["share"].to_dict()


def test_without_noise_shares_are_the_variances_of_the_effects():
    # Variances 1 (of ±1), 4 (of ±2) and 0.25 (of ±0.5 by interaction).
    found = shares(*grid({"a": [-1, 1], "b": [-2, 2]}, seeds=2, interaction=0.5))
    assert found == pytest.approx({"a": 1 / 5.25, "b": 4 / 5.25, "interactions": 0.25 / 5.25, "seeds": 0})


def test_a_hyperparameter_that_does_nothing_has_no_share_but_by_luck():
    effect = {"a": [0.0] * 3, "b": [0.0] * 3}
    found = pd.DataFrame([shares(*grid(effect, seeds=3, noise=1, luck=luck)) for luck in range(100)]).mean()
    assert found["a"] < 0.04  # 2/26 = 0.077 without the correction
    assert found["seeds"] > 0.85


def test_shares_recover_effects_under_noise():
    # Population variances: a has 1, the noise of runs 0.25.
    effect = {"a": [-1.0, 1.0], "b": [0.0, 0.0]}
    found = pd.DataFrame([shares(*grid(effect, seeds=3, noise=0.5, luck=luck)) for luck in range(200)]).mean()
    assert found["a"] == pytest.approx(0.8, abs=0.03)
    assert found.sum() == pytest.approx(1, abs=0.02)


def test_one_seed_tells_nothing_of_seeds_and_gaps_nothing_of_interactions():
    values, options = grid({"a": [-1, 1], "b": [-2, 2]})
    assert np.isnan(shares(values, options)["seeds"])
    with_gap = shares(values, options.iloc[1:])
    assert np.isnan(with_gap["interactions"])
    assert 0 <= with_gap["a"] <= 1


def test_no_variance_has_no_shares():
    assert variance_shares(*grid({"a": [0, 0]}, seeds=2))["share"].isna().all()


def test_marginal_means_count_each_setting_once():
    values, options = grid({"a": [0, 10], "b": [1, 3]}, seeds=2)
    once_more = pd.concat([values, values[values["setting"] == "s0"].assign(seed=9)])
    found = marginal_means(once_more, options)
    assert found[["option", "choice", "mean", "n_settings"]].to_numpy().tolist() == [
        ["a", "0", 2, 2],
        ["a", "1", 12, 2],
        ["b", "0", 6, 2],
        ["b", "1", 8, 2],
    ]
    assert found["balanced"].all()
    assert not marginal_means(values, options.iloc[1:])["balanced"].any()
