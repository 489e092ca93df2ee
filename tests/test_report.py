"""The report on recorded rows: what stands on the page, and what it links to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench.report import write_report
from bench.report.folder import ReportError
from bench.report.records import MISSING, sections
from bench.report.site import embedded
from bench.storage.store import Store
from tests import report_fixture as fixture
from tests.report_pages import Elements, entrance, read_pages, section_of, sections_under

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    trials, missing = fixture.default_sweeps()
    return fixture.write(
        tmp_path_factory.mktemp("results"), [*trials, *fixture.gaussians("paper", 5001, 3)], planned_only=missing
    )


@pytest.fixture(scope="module")
def page(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(store.root, tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def pages(page: Path) -> dict[str, Elements]:
    """Every page by its address in the report."""
    return read_pages(page)


# The pages


def test_the_report_imports_no_torch_and_nothing_that_needs_it(store: Store, tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from bench.report import write_report;"
        f"write_report(Path({str(store.root / 'nothing')!r}), Path({str(tmp_path)!r}));"
        "print([name for name in ('torch', 'methods', 'datasets.base', 'bench.metrics', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_there_is_a_page_a_sweep_a_method_and_a_trial(pages: dict[str, Elements], store: Store):
    trials = {t for section in sections_under(store.root) for t in section.records}
    methods = {s.method for section in sections_under(store.root) for s in section.settings.values()}
    assert {address for address in pages if address.startswith("trials/")} == {f"trials/{t}.html" for t in trials}
    assert {address for address in pages if address.startswith("methods/")} == {f"methods/{m}.html" for m in methods}
    assert len([address for address in pages if address.startswith("sweeps/")]) == 5
    assert {"index.html", "trials.html"} <= set(pages)


def test_every_address_on_a_page_exists(pages: dict[str, Elements], page: Path):
    ids = {address: [found["id"] for found in seen.attributes if "id" in found] for address, seen in pages.items()}
    wrong = []
    for address, seen in pages.items():
        assert len(ids[address]) == len(set(ids[address])), address
        for link in {found[name] or "" for found in seen.attributes for name in ("href", "src") if name in found}:
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(address), path)) if path else address
            exists = (page.parent / target).is_file()
            if not exists or (anchor and target != "trials.html" and anchor not in ids[target]):
                wrong.append((address, link))
    assert wrong == []


def test_every_number_leads_to_a_trial_with_its_settings_and_its_command(
    page: Path, pages: dict[str, Elements], store: Store
):
    for sweep in ("gaussians", "mnist"):
        for trial_id in section_of(store, sweep).trials["trial_id"]:
            text = pages[f"trials/{trial_id}.html"].text
            assert f"--scale quick --only {trial_id[:16]} --force --results {store.root}" in text
            assert trial_id in text
    boards = (page.parent / "sweeps" / "gaussians-quick.html").read_text().partition('id="across"')[0]
    cells = re.findall(r'<td[^>]* data-sort="[\d.e-]+">(.*?)</td>', boards, re.DOTALL)
    measured = [cell for cell in cells if "±" in cell]
    assert len(measured) > 50
    assert all('<a href="../trials/' in cell for cell in measured)


def test_a_trial_says_how_each_of_its_numbers_was_measured(pages: dict[str, Elements], store: Store):
    trials = section_of(store, "mnist").trials
    text = pages[f"trials/{trials.loc[trials['label'] == 'vae', 'trial_id'].iloc[0]}.html"].text
    assert re.search(
        r"fd-efficientnet-lite0-generation 8\d\.\d+ 1,000 samples of the test split; extractor efficientnet", text
    )
    assert "fid-generation — the weights pt_inception-2015-12-05-6726825d.pth cannot be fetched: no network." in text
    assert "loss: from" in " ".join(
        found.get("aria-label") or "" for found in pages[f"trials/{trials['trial_id'].iloc[0]}.html"].attributes
    )


def test_a_method_has_its_settings_and_all_its_results_with_rank_and_verdict(pages: dict[str, Elements]):
    text = pages["methods/lsot.html"].text
    assert "Author et al. 2020" in text
    assert re.search(r"epsilon 0\.01 0\.1", text)
    assert text.count("l2-uvp (%)") >= 2
    assert "rank 2 of 3" in text
    assert "published: not comparable" in text
    assert "the loss became NaN at step 37" in text
    assert "energy-distance" in text
    assert "w2gn" not in text.replace("w2gn/", "")


def test_a_published_table_says_how_many_numbers_it_has_and_which_setting_of_ours_stands_beside_each(
    pages: dict[str, Elements],
):
    text = pages["papers/w2gn-gaussians-quick.html"].text
    assert "26 numbers in 32 comparisons" in text
    assert text.count("LSOT (Large-scale OT) lsot map=barycentric epsilon=0.1 ") == 6


def test_nothing_is_loaded_from_elsewhere(pages: dict[str, Elements]):
    for address, seen in pages.items():
        names = ("src", "srcset", "data", "href", "action")
        sources = [found[name] or "" for found in seen.attributes for name in names if name in found]
        assert not [source for source in sources if re.match(r"[a-z]+:|//", source)], address
        assert not [found for found in seen.attributes if any(name.startswith("on") for name in found)], address
        policy = next(found["content"] or "" for found in seen.attributes if "http-equiv" in found)
        assert policy.startswith("default-src 'none'; ")
        assert not re.search(r"https?:|\*|unsafe-inline'[^;]*script", policy)


def test_hostile_text_is_text(page: Path, pages: dict[str, Elements]):
    failed = [address for address, seen in pages.items() if fixture.HOSTILE in seen.text]
    assert {address.partition("/")[0] for address in failed} == {"sweeps", "methods", "trials"}
    assert not any('<script>alert("x")' in path.read_text() for path in page.parent.rglob("*.html"))


def test_hostile_names_stay_in_the_report_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(fixture.FAMILIES, "../../up/<b>", "VAE")
    monkeypatch.setitem(fixture.FAMILIES, "../UP/<b>", "VAE")
    trials = [replace(t, sweep="../out") for t in fixture.sprites()[:2]]
    trials += [replace(fixture.sprites()[4], sweep="s", method=name) for name in ("../../up/<b>", "../UP/<b>")]
    plan = {trial.id: trial.record for trial in trials[2:]}
    store = Store(tmp_path / "results")
    for trial in trials[2:]:
        store.write_rows(trial.rows(), trial.record)
    store.write_plan("s", "quick", plan, extend=False)
    store.write_plan("id", "quick", {"../../../evil": trials[2].record}, extend=False)
    store.write_plan("record", "quick", {trials[0].id: trials[0].record}, extend=False)
    page = write_report(tmp_path / "results", tmp_path / "here" / "reports")
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"results", "here"}
    assert {path.name for path in (page.parent / "methods").iterdir()} == {"up-b.html", "UP-b-2.html"}
    assert "&lt;b&gt;" in (page.parent / "methods" / "up-b.html").read_text()
    assert page.read_text().count("not a readable plan (not all that it lists are trials)") == 2


def test_no_text_can_end_a_script_element():
    text = embedded({"name": "</script><script>alert(1)</script><!-- &"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><script>alert(1)</script><!-- &"}


def test_each_sweep_says_how_it_was_run_and_how_it_ended(pages: dict[str, Elements]):
    for text in (pages["index.html"].text, pages["sweeps/mnist-quick.html"].text):
        assert "trained for 1,000 updates of batch size 256 with seeds 0, 1 and 2; scored on the test split." in text
        assert "32 of 36 trials ended ok, 3 not run yet, 1 failed." in text
    assert "107 of 108 trials ended ok, 1 diverged." in pages["index.html"].text


def test_what_failed_is_said_in_a_line_and_listed_with_its_error(pages: dict[str, Elements]):
    assert "Not ok: lsot (1)." in pages["index.html"].text
    assert "diverged RuntimeError the loss became NaN at step 37" in pages["sweeps/gaussians-quick.html"].text


def test_reasons_stand_in_footnotes(pages: dict[str, Elements]):
    text = pages["sweeps/mnist-quick.html"].text
    assert "the weights pt_inception-2015-12-05-6726825d.pth cannot be fetched: no network" in text
    assert "the method has no mixture of its own" in text


def test_default_and_tuned_results_stand_side_by_side_with_their_rule(pages: dict[str, Elements]):
    text = pages["sweeps/mnist-quick.html"].text
    assert "Oracle: the setting of the best mean on the test split itself: an upper bound, not a result." in text
    assert re.search(r"wae-mmd mse mnist-5k — 0\.0\d+ ± 0\.0\d+ kernel=imq 2 oracle", text)


def test_pictures_are_files_and_nothing_but_pixels(page: Path, store: Store):
    found = list((page.parent / "pictures").rglob("*.png"))
    autoencoders = [
        t for s in ("mnist", "sprites") for t in section_of(store, s).trials.query("status == 'ok'")["trial_id"]
    ]
    assert len(found) == 3 * len(autoencoders)
    with Image.open(found[0]) as image:
        assert image.info == {}
    drawings = (page.parent / "sweeps" / "toy2d-quick.html").read_text().count('<svg class="points"')
    assert drawings == 12


def test_charts_are_data_on_the_page_and_vega_is_there_once(page: Path):
    html = "".join(path.read_text() for path in (page.parent / "sweeps").iterdir())
    specs = re.findall(r'<script type="application/json" id="spec-[^"]+">(.*?)</script>', html, re.DOTALL)
    assert len(specs) > 20
    assert all(json.loads(spec)["$schema"].startswith("https://vega.github.io/schema/vega-lite") for spec in specs)
    assert [path.name for path in page.parent.rglob("*") if path.is_file() and b"vegaEmbed=" in path.read_bytes()] == [
        "vega.js"
    ]


def test_a_long_leaderboard_shows_its_leading_lines_and_keeps_the_rest_for_who_asks(tmp_path: Path):
    trials = [replace(t, params={"k": k}) for t in fixture.sprites()[:1] for k in range(50)]
    fixture.write(tmp_path, trials, pictures=False)
    page = write_report(tmp_path, tmp_path / "reports")
    html = (page.parent / "sweeps" / "sprites-quick.html").read_text()
    first, _, rest = html.partition("<template>")
    rest = rest.partition("</template>")[0]
    assert (first.count("<tbody data-name"), rest.count("<tbody data-name")) == (30, 20)
    assert "Show all 50 lines" in html
    assert page.read_text().count("<tbody data-name") == 10


def test_the_list_of_trials_has_each_with_its_address(page: Path, store: Store):
    text = (page.parent / "data" / "trials.js").read_text()
    data = json.loads(text.removeprefix("const trials = ").removesuffix(";\n"))
    lines = {line[0]: line for line in data["lines"]}
    section = section_of(store, "gaussians", "paper")
    for trial in section.trials.to_dict("records"):
        _, setting, method, dataset, sweep, seed, status, _ = lines[trial["trial_id"]]
        assert [data["texts"][k] for k in (setting, method, dataset, sweep, status)] == [
            *(trial["label"], trial["method"], trial["where"], "gaussians-paper", trial["status"])
        ]
        assert seed == trial["seed"]


def test_a_trial_of_more_points_than_altair_allows_is_drawn(tmp_path: Path):
    trials = [replace(fixture.mnist()[0], seed=seed) for seed in range(150)]
    fixture.write(tmp_path, trials, pictures=False)
    assert "could not be written" not in write_report(tmp_path, tmp_path / "reports").read_text()


# The folder


def test_pages_of_trials_that_are_gone_do_not_linger_and_files_of_others_stay(tmp_path: Path):
    trials = fixture.sprites()
    store = fixture.write(tmp_path / "results", trials)
    out = tmp_path / "reports"
    write_report(store.root, out)
    others = [out / "mine.txt", out / "trials" / "notes.html"]
    for other in others:
        other.write_text("somebody's")
    gone = out / "trials" / f"{trials[0].id}.html"
    assert gone.is_file()
    shutil.rmtree(store.root)
    fixture.write(store.root, trials[1:], pictures=False)
    write_report(store.root, out)
    assert not gone.exists()
    assert not (out / "pictures").exists()
    assert (out / "trials" / f"{trials[1].id}.html").is_file()
    assert all(other.read_text() == "somebody's" for other in others)


def test_a_report_that_breaks_off_leaves_the_earlier_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = fixture.write(tmp_path / "results", fixture.sprites(), pictures=False)
    out = tmp_path / "reports"
    write_report(store.root, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr("bench.report.listing", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(store.root, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_nothing_outside_of_the_folder_is_removed_whatever_its_list_says(tmp_path: Path):
    (tmp_path / "precious.txt").write_text("mine")
    out = tmp_path / "reports"
    out.mkdir()
    (out / "files.txt").write_text(f"../precious.txt\n{tmp_path}/precious.txt\n")
    write_report(tmp_path / "nothing", out)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"cannot be written to .*file: .*--out"):
        write_report(tmp_path / "nothing", tmp_path / "file")


# What was planned


def test_rows_of_settings_no_longer_planned_are_left_out_and_counted(tmp_path: Path):
    store = fixture.write(tmp_path, fixture.sprites(), pictures=False)
    old = replace(fixture.sprites()[0], steps=7)
    store.write_rows(old.rows(), old.record)
    section = section_of(store, "sprites")
    assert old.id not in set(section.trials["trial_id"])
    assert section.superseded == 1
    assert "Rows of 1 trial with settings no longer planned are left out." in entrance(tmp_path).text


def test_a_plan_without_rows_is_not_run_yet(tmp_path: Path):
    store = fixture.write(tmp_path, [], planned_only=fixture.sprites())
    assert set(section_of(store, "sprites").trials["status"]) == {MISSING}
    text = entrance(tmp_path).text
    assert "0 of 8 trials ended ok, 8 not run yet." in text
    assert "Nothing has been measured yet." in text


def test_a_trial_in_two_sweeps_has_one_page_that_names_both(tmp_path: Path):
    trial = fixture.sprites()[0]
    records = {sweep: {**trial.record, "sweep": sweep, "title": f"Title of {sweep}"} for sweep in ("first", "second")}
    store = Store(tmp_path)
    for sweep, record in records.items():
        store.write_rows(replace(trial, sweep=sweep).rows(), record)
        store.write_plan(sweep, "quick", {trial.id: record}, extend=False)
        store.write_curves(sweep, trial.id, fixture.curves(trial))
    found = sections(store.read(), {})
    assert [section.title for section in found] == ["Title of first", "Title of second"]
    pages = read_pages(write_report(tmp_path, tmp_path / "reports"))
    text = pages[f"trials/{trial.id}.html"].text
    assert "Title of first, quick ; Title of second, quick" in text
    (lines,) = [path.read_text() for path in (tmp_path / "reports" / "trials").iterdir()]
    assert lines.count('<svg class="lines"') == 3  # one of each loss, though two sweeps recorded them
