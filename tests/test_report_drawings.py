"""Points and matrices as SVG, and metrics drawn over a number of their protocol."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from bench.published import load_published
from bench.report.charts import Chart
from bench.report.colors import method_colors
from bench.report.drawings import LABEL_COLORS, Axis, causal_mask, isometry, latent_plane, transport
from bench.report.figures import figures
from bench.report.leaderboards import boards
from bench.report.pictures import pictures
from bench.report.records import sections
from tests import report_fixture as fixture

SVG = "{http://www.w3.org/2000/svg}"
GREEN = "#009E73"


def plane(labels: list[str]) -> pd.DataFrame:
    """Two draws of the prior and a code of each label, on a diagonal."""
    steps = [k / len(labels) for k in range(len(labels))]
    draws = pd.DataFrame({"set": "draws of the prior", "label": "", "dimension 1": [0.0, 1], "dimension 2": [0.0, 1]})
    codes = {"set": "codes of images", "label": labels, "dimension 1": steps, "dimension 2": steps}
    return pd.concat([draws, pd.DataFrame(codes)], ignore_index=True)


def paths(svg: str) -> list[tuple[str, list[tuple[int, int]]]]:
    """(color, dots) of each path, in document order."""
    found = ElementTree.fromstring(svg).iter(f"{SVG}path")
    dots = [[(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h0", path.get("d", ""))] for path in found]
    return list(
        zip([path.get("stroke", "") for path in ElementTree.fromstring(svg).iter(f"{SVG}path")], dots, strict=True)
    )


def words(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_ticks_are_round_numbers_at_their_places():
    assert Axis("", 0, 10).ticks == [(0.0, "0"), (0.5, "5"), (1.0, "10")]
    assert [text for _, text in Axis("", -2.6, 2.6).ticks] == ["−2", "0", "2"]
    for high in (1e-9, 0.37, 1.0, 4.1, 1234.5, 2 * 999.9999999999999):
        assert 2 <= len(Axis("", 0, high).ticks) <= 5


def test_codes_take_the_color_of_their_class_and_draws_the_method_s():
    svg = latent_plane(plane(["0", "1", "1", "10"]), GREEN, "latent")
    drawn = paths(svg)
    assert drawn[0][0] == GREEN
    assert {color: len(dots) for color, dots in drawn[1:]} == dict(zip(LABEL_COLORS, (1, 2, 1), strict=False))
    assert {"draws of the prior", "codes of images", "dimension 1", "dimension 2"} <= set(words(svg))
    assert any(text.replace(" ", "") == "class●0●1●10" for text in words(svg))


def test_upwards_is_upwards_and_units_are_equal():
    points = plane(["0"] * 3)
    points["dimension 2"] /= 2
    (x0, y0), (x1, y1) = paths(latent_plane(points, GREEN, ""))[0][1]
    assert x1 > x0
    assert y1 < y0
    assert x1 - x0 == pytest.approx(2 * (y0 - y1), abs=2)


def test_more_classes_than_colors_all_take_the_method_s():
    svg = latent_plane(plane([str(k) for k in range(11)]), GREEN, "")
    assert {color for color, _ in paths(svg)} == {GREEN}
    assert "●" not in svg


def test_codes_that_are_all_the_same_are_drawn():
    points = plane(["", ""])
    points[["dimension 1", "dimension 2"]] = 0.5
    assert [len(dots) for _, dots in paths(latent_plane(points, GREEN, ""))] == [2, 2]


@pytest.mark.parametrize("draw", [latent_plane, isometry])
def test_a_point_at_infinity_is_left_out_and_loses_no_other(draw: Callable[[pd.DataFrame, str, str], str]):
    points = plane(["", "", ""])
    far = points.copy()
    far.loc[len(far)] = ["codes of images", "", math.inf, 0.0]
    assert draw(far, GREEN, "") == draw(points, GREEN, "")
    with pytest.raises(ValueError, match="no finite points"):
        draw(far.tail(1), GREEN, "")


def test_distances_are_drawn_from_0_on_axes_that_the_panels_share():
    table = pd.DataFrame({"set": ["data", "data", "prior"], "Δz": [0.0, 10, 5], "Δx": [0.0, 100, 50]})
    (_, data), (_, prior) = paths(isometry(table, GREEN, ""))
    assert data[0] == (0, 2000)
    assert prior[0] == pytest.approx((data[1][0] / 2, 1000 + data[1][1] / 2), abs=1)


def test_a_heat_map_has_its_cause_across_and_its_effect_down():
    cells = pd.DataFrame({"effect": [1, 1, 2, 2], "cause": [1, 2, 1, 2], "strength": [0.0, 0.0, 0.75, 1.0]})
    svg = causal_mask(cells, GREEN, "")
    found = [(p.get("fill-opacity"), p.get("d")) for p in ElementTree.fromstring(svg).iter(f"{SVG}path")]
    assert found == [("0.75", "M0 1000h1000v1000h-1000z"), ("1", "M1000 1000h1000v1000h-1000z")]


def test_names_in_a_table_cannot_leave_their_element():
    points = plane([fixture.HOSTILE, "1"]).rename(columns={"dimension 1": fixture.HOSTILE})
    svg = latent_plane(points.replace("codes of images", fixture.HOSTILE), GREEN, fixture.HOSTILE)
    assert "<script" not in svg
    assert fixture.HOSTILE in words(svg)


def test_transport_without_target_says_so():
    with pytest.raises(ValueError, match="no points of the target"):
        transport(pd.DataFrame({"set": ["source"], "x": [0.0], "y": [0.0]}), GREEN, "")


def test_a_damaged_table_is_named_and_loses_nothing(tmp_path: Path):
    plane(["0", "1"]).to_parquet(tmp_path / "latent.parquet")
    (tmp_path / "causal-mask.parquet").write_bytes(b"PAR1 no")
    pd.DataFrame({"set": ["data"], "only": [1.0]}).to_parquet(tmp_path / "isometry.parquet")
    pd.DataFrame({"set": [], "x": [], "y": []}).to_parquet(tmp_path / "transport.parquet")
    seen, problems = pictures({path.name: path for path in tmp_path.iterdir()}, GREEN, tmp_path / "shown")
    assert [picture.name for picture in seen] == ["latent.parquet"]
    assert [problem.partition(": cannot be drawn")[0] for problem in problems] == [
        str(tmp_path / name) for name in ("causal-mask.parquet", "isometry.parquet", "transport.parquet")
    ]


def clustered(folder: Path, protocols: list[tuple[int, int]]) -> tuple[list[str], list[Chart]]:
    """Columns and charts of k-means accuracy, 1 / clusters, with these numbers of clusters and initializations."""
    trials = [t for t in fixture.mnist() if t.method in ("vae", "ae")]
    store = fixture.write(folder, trials, pictures=False)
    for trial in trials:
        rows = trial.rows()
        base = next(row for row in rows if row["metric"] == "kmeans-accuracy")
        for clusters, initializations in protocols:
            asked = {"clusters": clusters, "initializations": initializations, "num_samples": trial.n_samples}
            rows.append({**base, "value": 1 / clusters, "protocol": json.dumps(asked)})
        store.write_rows([row for row in rows if row is not base], trial.record)
    (section,) = sections(store.read(), {})
    tables = boards(section, load_published(folder / "none"))
    colors = method_colors((s.method, s.family) for s in section.settings.values())
    charts = figures(section, tables, store.read_curves([]), colors)
    board = next(table for table in tables if table.title == "Clustering")
    return (
        [column.detail for column in board.columns if column.metric == "kmeans-accuracy"],
        [chart for chart in charts if chart.title.startswith("kmeans-accuracy")],
    )


def values(chart: Chart) -> set[tuple[str, float, float]]:
    points = [row for data in chart.spec["datasets"].values() for row in data if "seed" in row]
    return {(row["label"], row["x"], row["value"]) for row in points}


def test_a_metric_asked_for_with_three_numbers_of_clusters_is_a_curve_over_them(tmp_path: Path):
    columns, (curve,) = clustered(tmp_path, [(20, 10), (5, 10), (10, 10)])
    assert columns == ["clusters 5", "clusters 10", "clusters 20"]
    assert curve.title == "kmeans-accuracy against clusters"
    assert values(curve) == {(method, clusters, 1 / clusters) for method in ("vae", "ae") for clusters in (5, 10, 20)}


def test_curves_that_share_a_column_are_both_drawn(tmp_path: Path):
    _, charts = clustered(tmp_path, [(5, 1), (10, 1), (20, 1), (5, 3), (5, 10)])
    drawn = {chart.title: {x for _, x, _ in values(chart)} for chart in charts}
    assert drawn == {
        "kmeans-accuracy against clusters": {5, 10, 20},
        "kmeans-accuracy against initializations": {1, 3, 10},
    }
