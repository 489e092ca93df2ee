"""Which comparisons a section gets, and that they say what its rows say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from bench.published import load_published
from bench.report.charts import Chart
from bench.report.colors import method_colors
from bench.report.comparisons import Comparisons, comparisons
from bench.report.leaderboards import boards
from bench.report.records import Section, sections
from bench.report.sensitivities import settings_frame
from tests import report_fixture as fixture

DATASETS = ("mnist", "celeba", "cifar10", "svhn")
Report = tuple[Section, Comparisons]
LEVELS = {"gwae": 10.0, "vae": 20.0, "ae": 30.0, "untrained": 900.0}


class OnBothSplits(fixture.Trial):
    """A trial that is scored on the validation split too, where all numbers are a little larger."""

    def rows(self) -> list[dict[str, Any]]:
        rows = super().rows()
        measured = [row for row in rows if row["status"] == "ok"]
        return [*rows, *({**row, "split": "validation", "value": 1.01 * row["value"]} for row in measured)]


def trials(
    *, seeds: int = 3, datasets: tuple[str, ...] = DATASETS, betas: tuple[float, ...] = (1, 4, 16)
) -> list[fixture.Trial]:
    """Methods whose FID keeps their order on all datasets, and beta-VAE, which is best at beta = 16, by default 4."""
    settings: list[tuple[str, Mapping[str, Any], float]] = [(method, {}, level) for method, level in LEVELS.items()]
    settings += [("beta-vae", {"beta": beta}, 28 - beta / 2) for beta in betas]
    return [
        OnBothSplits(
            "images",
            method,
            dataset,
            seed,
            {"fid-generation": level * (k + 1) + 0.1 * (seed - k), "mse": level / 100 + 0.001 * seed},
            params=params,
            changed={name: value for name, value in params.items() if value != 4},
            seconds=level,
        )
        for method, params, level in settings
        for k, dataset in enumerate(datasets)
        for seed in range(seeds)
    ]


def section_of(root: Path, written: list[fixture.Trial]) -> Section:
    (section,) = sections(fixture.write(root, written, pictures=False).read(), {})
    return section


def compared(root: Path, written: list[fixture.Trial]) -> Report:
    section = section_of(root, written)
    colors = method_colors((setting.method, setting.family) for setting in section.settings.values())
    return section, comparisons(section, boards(section, load_published(root / "none")), colors)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return compared(tmp_path_factory.mktemp("several"), trials())


def kinds(found: Comparisons) -> list[str]:
    return [chart.slug.removeprefix("images-quick-") for chart in found.charts]


def chart(found: Comparisons, ending: str) -> Chart:
    return next(each for each in found.charts if each.slug.endswith(ending))


def data(found: Chart) -> list[dict[str, Any]]:
    return [line for lines in found.spec["datasets"].values() for line in lines]


def test_several_datasets_are_compared_in_full_by_the_first_metric_and_in_brief_by_those_of_other_tables(
    several: Report,
):
    _, found = several
    first = [f"fid-generation-{kind}" for kind in ("ranks", "iqm", "improvement", "profile", "time")]
    assert kinds(found) == [*first, "mse-ranks", "mse-iqm", "sensitivity"]
    assert [each.folded for each in found.charts] == [False, False, False, True, False, True, True, False]


def test_every_chart_can_be_drawn(several: Report):
    for each in several[1].charts:
        svg = vl_convert.vegalite_to_svg(json.dumps(each.spec))
        assert "<path" in svg
        assert "NaN" not in svg


def test_ranks_are_those_of_the_means_without_references_and_by_settings_at_their_defaults(several: Report):
    lines = {
        line["label"]: line["average_rank"]
        for line in data(chart(several[1], "generation-ranks"))
        if "average_rank" in line
    }
    assert lines == {"gwae": 1, "vae": 2, "beta-vae": 3, "ae": 4}
    assert chart(several[1], "generation-ranks").caption.endswith("the one at its defaults is compared.")
    assert "critical difference is 2.3" in chart(several[1], "generation-ranks").caption  # 2.569 √(4·5 / (6·4))


def test_scores_run_from_the_worst_to_the_best_and_the_best_improves_on_all(several: Report):
    means = {line["label"]: line["estimate"] for line in data(chart(several[1], "generation-iqm"))}
    assert means["gwae"] == pytest.approx(1, abs=0.02)
    assert means["ae"] == pytest.approx(0, abs=0.02)
    improvement = chart(several[1], "improvement")
    assert {line["label"]: line["estimate"] for line in data(improvement) if "label" in line} == dict.fromkeys(
        ("vae", "beta-vae", "ae"), 1
    )
    assert improvement.title.startswith("gwae against each of the others")


def test_intervals_say_how_far_they_can_be_trusted_with_few_seeds(several: Report):
    assert (
        "With 3 seeds, such intervals covered the truth in 83 to 97% of simulations."
        in chart(several[1], "iqm").caption
    )


def test_the_front_of_time_and_score_is_marked(several: Report):
    # gwae takes the least time and has the best score: it is the front by itself.
    lines = json.dumps(chart(several[1], "time").spec["layer"][0])
    assert "step-after" in lines
    marked = next(iter(chart(several[1], "time").spec["datasets"].values()))
    assert [line["label"] for line in marked] == ["gwae"]


def test_the_same_results_give_the_same_charts(several: Report, tmp_path: Path):
    _, again = compared(tmp_path, trials())
    assert [each.spec for each in again.charts] == [each.spec for each in several[1].charts]


def test_default_and_tuned_stand_side_by_side_in_the_order_of_metrics_and_datasets(several: Report):
    tuned = several[1].tuned
    assert tuned["metric"].tolist() == ["fid-generation"] * 4 + ["mse"] * 4
    assert tuned["where"].tolist() == [*DATASETS] * 2
    line = tuned.iloc[0]
    assert (line["method"], line["rule"], line["default"], line["tuned"]) == (
        "beta-vae",
        "validation",
        "beta=4",
        "beta=16",
    )
    assert (line["default_mean"], line["tuned_mean"]) == pytest.approx((26.1, 20.1))
    assert (line["n_compared"], line["n_left_out"], line["n_tied"]) == (3, 0, 0)


def test_sensitivity_shows_each_choice_and_its_share_of_the_variance(several: Report):
    found = chart(several[1], "sensitivity")
    panels = {line["panel"] for line in data(found)}
    assert len(panels) == 1
    assert next(iter(panels)).startswith("beta-vae: beta (")
    of_choices = {line["choice"]: line["mean"] for line in data(found) if line["of"] == "choice"}
    assert list(of_choices) == ["1", "4", "16"]
    assert of_choices == pytest.approx({"1": 0, "4": 0.2, "16": 1}, abs=1e-6)


def test_a_setting_that_failed_somewhere_is_left_out_and_said(tmp_path: Path):
    written = trials()
    next(t for t in written if (t.method, t.dataset, t.seed) == ("ae", "svhn", 1)).status = "failed"
    _, found = compared(tmp_path, written)
    assert "Left out, as not measured throughout: ae." in chart(found, "generation-ranks").caption


def test_one_dataset_has_differences_from_the_best_seed_by_seed(tmp_path: Path):
    _, found = compared(tmp_path, trials(datasets=("mnist",), betas=(4,)))
    assert kinds(found) == ["fid-generation-differences"]
    assert {line["label"]: line["estimate"] for line in data(found.charts[0]) if "label" in line} == pytest.approx(
        {"vae": 10, "beta-vae": 16, "ae": 20}
    )
    assert "gwae has a better mean than what lies right of the line" in found.charts[0].caption
    assert "all 6 pairs of settings, it differs at 5% from each." in found.charts[0].caption
    assert found.tuned.empty


def test_one_seed_has_ranks_and_no_intervals(tmp_path: Path):
    _, found = compared(tmp_path, trials(seeds=1, betas=(4,)))
    assert kinds(found) == ["fid-generation-ranks", "fid-generation-time", "mse-ranks"]


def test_references_alone_and_failures_alone_compare_nothing(tmp_path: Path):
    for name, left in (("references", ["untrained"]), ("one", ["gwae"])):
        _, found = compared(tmp_path / name, [trial for trial in trials() if trial.method in left])
        assert found.charts == []
        assert found.tuned.empty
        assert "default_mean" in found.tuned


def test_default_sweeps_as_they_come_are_compared_without_a_word_of_trouble(tmp_path: Path):
    written, missing = fixture.default_sweeps()
    results = fixture.write(tmp_path, written, planned_only=missing, pictures=False).read()
    for section in sections(results, {}):
        colors = method_colors((setting.method, setting.family) for setting in section.settings.values())
        found = comparisons(section, boards(section, load_published(tmp_path / "none")), colors)
        assert len({each.slug for each in found.charts}) == len(found.charts)
        for each in found.charts:
            json.dumps(each.spec, allow_nan=False)
            assert "untrained" not in json.dumps(each.spec)


def test_settings_are_at_their_defaults_where_the_record_says_so(tmp_path: Path):
    section = section_of(tmp_path, trials(seeds=1, datasets=("mnist",)))
    settings = settings_frame(section).set_index("label")
    assert settings["is_default"].to_dict() == {
        "gwae": True,
        "vae": True,
        "ae": True,
        "beta-vae beta=1": False,
        "beta-vae beta=4": True,
        "beta-vae beta=16": False,
    }
    assert settings.loc["beta-vae beta=16", "varied"] == {"beta": 16}
    for key, setting in section.settings.items():
        section.settings[key] = replace(setting, about={})  # a record that does not say
    assert not settings_frame(section)["is_default"].any()
