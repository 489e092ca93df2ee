"""Which setting each rule chooses, and what is said of it."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from bench.statistics.tuning import default_and_tuned, selected

FACTS = {"dataset": "mnist", "dataset_options": "{}", "dataset_version": 1, "metric": "fid", "metric_version": 1}

SETTINGS = pd.DataFrame(
    [
        {"setting": "vae", "method": "vae", "is_default": True},
        *({"setting": f"wae-{k}", "method": "wae", "is_default": k == 1} for k in range(3)),
    ]
)


def cells(test: dict[str, float], validation: dict[str, float] | None = None, **changed: object) -> pd.DataFrame:
    lines = [
        {
            **FACTS,
            "protocol": f'{{"bins": 20, "reference_images": {count}}}',
            "split": split,
            "n_samples": count,
            "setting": setting,
            "mean": mean,
            "half_width": 0.1,
            "n_ok": 3,
            "complete": True,
            "direction": "min",
            **changed,
        }
        for split, means, count in (("test", test, 1000), ("validation", validation or {}, 500))
        for setting, mean in means.items()
    ]
    return pd.DataFrame(lines)


TEST = {"vae": 7.0, "wae-0": 3.0, "wae-1": 5.0, "wae-2": 4.0}
VALIDATION = {"vae": 7.1, "wae-0": 4.5, "wae-1": 5.2, "wae-2": 4.1}


@pytest.mark.parametrize(("rule", "setting", "mean"), [("default", 1, 5.0), ("validation", 2, 4.0), ("oracle", 0, 3.0)])
def test_each_rule_chooses_its_setting_and_reports_the_test_split(rule: str, setting: int, mean: float):
    line = selected(cells(TEST, VALIDATION), SETTINGS, rule).set_index("method").loc["wae"]
    assert (line["setting"], line["mean"], line["n_tied"]) == (f"wae-{setting}", mean, 0)
    assert line["n_compared"] == (1 if rule == "default" else 3)


def test_higher_is_better_where_the_metric_says_so():
    found = selected(cells(TEST, VALIDATION, direction="max"), SETTINGS, "validation").set_index("method")
    assert found.loc["wae", "setting"] == "wae-1"


def test_default_and_tuned_stand_side_by_side_for_methods_with_a_choice():
    found = default_and_tuned(cells(TEST, VALIDATION), SETTINGS)
    assert found["method"].tolist() == ["wae"]
    line = found.iloc[0]
    assert (line["default"], line["default_mean"], line["tuned"], line["tuned_mean"]) == ("wae-1", 5.0, "wae-2", 4.0)
    assert (line["rule"], line["n_compared"], line["n_left_out"]) == ("validation", 3, 0)


def test_without_the_validation_split_the_choice_is_called_an_oracle_s():
    found = default_and_tuned(cells(TEST), SETTINGS)
    assert found[["rule", "tuned"]].to_numpy().tolist() == [["oracle", "wae-0"]]
    assert selected(cells(TEST), SETTINGS, "validation").empty


def test_incomplete_settings_are_left_out_and_counted():
    frame = cells(TEST, VALIDATION)
    failed = (frame["setting"] == "wae-2") & (frame["split"] == "test")
    line = default_and_tuned(frame.assign(complete=~failed), SETTINGS).iloc[0]
    assert (line["tuned"], line["n_compared"], line["n_left_out"]) == ("wae-0", 2, 1)


def test_an_incomplete_default_is_missing_beside_the_tuned():
    frame = cells(TEST, VALIDATION)
    line = default_and_tuned(frame.assign(complete=frame["setting"] != "wae-1"), SETTINGS).iloc[0]
    assert (line["tuned"], line["n_left_out"]) == ("wae-2", 1)
    assert pd.isna(line["default"])
    assert math.isnan(line["default_mean"])


def test_ties_go_to_the_setting_planned_first_and_are_counted():
    line = default_and_tuned(cells(TEST, dict.fromkeys(VALIDATION, 4.0)), SETTINGS).iloc[0]
    assert (line["tuned"], line["n_tied"]) == ("wae-0", 2)


def test_two_settings_at_the_defaults_are_no_default():
    both = SETTINGS.assign(is_default=True)
    assert selected(cells(TEST), both, "default")["method"].tolist() == ["vae"]


def test_metrics_and_protocols_choose_by_themselves_and_those_without_direction_not_at_all():
    frame = pd.concat(
        [
            cells(TEST),
            cells({"wae-0": 2.0, "wae-2": 1.0}, metric="mse"),
            cells({"wae-0": 2.0, "wae-1": 1.0}, protocol='{"bins": 30}'),
            cells({"wae-0": 2.0, "wae-1": 1.0}, metric="dim", direction=None),
        ]
    )
    found = default_and_tuned(frame, SETTINGS)
    assert sorted(zip(found["metric"], found["tuned"], strict=True)) == [
        ("fid", "wae-0"),
        ("fid", "wae-1"),
        ("mse", "wae-2"),
    ]


def test_no_cells_make_no_choice_and_unknown_rules_are_an_error():
    assert default_and_tuned(cells(TEST).iloc[:0], SETTINGS).empty
    with pytest.raises(ValueError, match="no rule best-of-all"):
        selected(cells(TEST), SETTINGS, "best-of-all")


def test_settings_are_compared_on_one_number_of_samples():
    small, large = cells(TEST), cells({"wae-0": 8.0}).assign(n_samples=9000)
    found = selected(pd.concat([small, large]), SETTINGS, "oracle").set_index("method")
    assert (found.loc["wae", "setting"], found.loc["wae", "mean"]) == ("wae-0", 3.0)  # not 8.0, which wae-0 alone has
    assert found.loc["wae", "n_compared"] == 3
