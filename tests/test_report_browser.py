"""The report in a real browser, from the disk: what a reader does there works, nothing errs, nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.report import write_report
from tests import report_fixture as fixture
from tests.chromium import CHROMIUM, Chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PAGES = ("index.html", "sweeps/gaussians-quick.html", "methods/lsot.html", "trials.html")
NAMES = "[...document.querySelector('table.sortable').tBodies].filter((b) => !b.hidden).map((b) => b.dataset.name)"
FOUND = "[...document.querySelectorAll('#found tr')].map((row) => row.cells[0].textContent)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    # A loss a line of a leaderboard: more lines than are seen at once.
    grid = [fixture.Trial("grid", "vae", "sprites", 0, {"mig": k / 100}, params={"k": k}) for k in range(120)]
    fixture.write(root / "results", [*fixture.gaussians(), *fixture.mnist()[:9], *grid])
    return write_report(root / "results", root / "reports").parent


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(autouse=True)
def nothing_errs_and_nothing_is_asked_for(browser: Chromium) -> Iterator[None]:
    """Whatever a test does on a page."""
    browser.look(1280)
    yield
    assert browser.errors == []
    assert not [address for address in browser.requests if not address.startswith(("file:", "about:", "data:"))]


def all_pages(report: Path) -> list[str]:
    trial = max((report / "trials").iterdir(), key=lambda path: path.stat().st_size)
    return [(report / name).as_uri() for name in PAGES] + [trial.as_uri()]


def test_no_page_is_wider_than_a_phone_and_all_follow_the_reader_s_dark_setting(browser: Chromium, report: Path):
    for address in all_pages(report):
        inks = []
        for dark in (False, True):
            browser.look(390, dark=dark)
            browser.open(address)
            assert browser.run("document.documentElement.scrollWidth") == 390, address
            inks.append(sum(map(int, re.findall(r"\d+", browser.run("getComputedStyle(document.body).color"))[:3])))
            assert browser.errors == []
        assert inks[0] < 200 < inks[1]


def test_a_leaderboard_is_sorted_and_filtered(browser: Chromium, report: Path):
    browser.open((report / "sweeps" / "gaussians-quick.html").as_uri())
    button = "document.querySelectorAll('table.sortable')[0].querySelectorAll('button.sort')[1]"
    browser.run(f"{button}.click()")
    ascending = browser.run(NAMES)
    assert ascending[0] == "linear"  # the smallest UVP of the fixture
    assert browser.run(f"{button}.closest('th').getAttribute('aria-sort')") == "ascending"
    browser.run(f"{button}.click()")
    assert browser.run(NAMES) == ascending[::-1]
    browser.run("filter.value = 'LSOT'; filter.dispatchEvent(new Event('input'))")
    assert set(browser.run(NAMES)) == {"lsot epsilon=0.01", "lsot epsilon=0.1"}


def test_numbers_are_sorted_as_numbers_whatever_their_digits_and_units(browser: Chromium, report: Path):
    first = "document.querySelectorAll('table.sortable')"
    texts = "[...{}.tBodies].map((body) => body.rows[0].cells[{}].textContent)"
    browser.open((report / "papers" / "w2gn-gaussians-quick.html").as_uri())
    browser.run(f"{first}[0].querySelectorAll('button.sort')[4].click()")
    ours = [text.split(" ±")[0] for text in browser.run(texts.format(f"{first}[0]", 4)) if text]
    assert len(ours) > 10
    assert ours == sorted(ours, key=float)
    assert ours != sorted(ours)
    browser.open((report / "sweeps" / "gaussians-quick.html").as_uri())
    cost = "document.querySelector('#cost ~ .scroll table')"
    browser.run(f"{cost}.querySelectorAll('button.sort')[1].click()")  # some end in seconds, some in minutes
    assert browser.run(texts.format(cost, 1)) == ["4 s – 35 s"] * 3 + ["4.5 s – 51 s"] + ["5 s – 1.1 min"] * 2


def test_the_rest_of_a_long_leaderboard_comes_when_asked_for(browser: Chromium, report: Path):
    browser.open((report / "sweeps" / "grid-quick.html").as_uri())
    assert len(browser.run(NAMES)) == 30
    browser.run("document.querySelector('button.all').click()")
    assert len(browser.run(NAMES)) == 120
    browser.open((report / "sweeps" / "grid-quick.html").as_uri())
    browser.run("document.querySelectorAll('button.sort')[1].click()")
    assert browser.run(NAMES)[:2] == ["vae k=0", "vae k=1"]  # all are sorted, not only the leading ones


def test_charts_are_drawn_as_they_come_into_view_and_in_the_reader_s_colors(browser: Chromium, report: Path):
    browser.open((report / "sweeps" / "gaussians-quick.html").as_uri())
    plots = browser.run("document.querySelectorAll('.plot').length")
    assert plots > 2
    assert browser.run("document.querySelectorAll('.plot svg').length") < plots
    for number in range(plots):
        plot = f"document.querySelectorAll('.plot')[{number}]"
        browser.run(f"{plot}.closest('details')?.setAttribute('open', ''); {plot}.scrollIntoView()")
        browser.wait(f"{plot}.querySelector('svg path')")
    browser.run("document.querySelector('.legend button').click()")
    assert browser.run("document.querySelectorAll('.legend button[aria-pressed=true]').length") == 1
    label = "getComputedStyle(document.querySelector('.plot svg .role-axis-label text')).fill"
    light = browser.run(label)
    browser.look(1280, dark=True)
    browser.wait(f"{label} !== {light!r}")


def test_what_is_printed_is_whole(browser: Chromium, report: Path):
    browser.open((report / "sweeps" / "grid-quick.html").as_uri())
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert len(browser.run(NAMES)) == 120
    stand_in = "document.querySelector('.plot:empty + img.undrawn')"  # of a chart that never came into view
    assert browser.run(f"getComputedStyle({stand_in}).display") == "none"
    browser.run(f"{stand_in}.loading = 'eager'; {stand_in}.style.display = 'block'")
    browser.wait(f"{stand_in}.naturalWidth > 0")


def test_trials_are_searched_and_filtered_and_the_search_is_in_the_address(browser: Chromium, report: Path):
    address = (report / "trials.html").as_uri()
    browser.open(address)
    assert len(browser.run(FOUND)) == 100  # a page of them
    browser.run("document.getElementById('after').click()")
    assert "Page 2 of" in browser.run("document.getElementById('where').textContent")
    browser.run(
        "q = document.querySelector('[name=q]'); q.value = 'lsot dim=64'; q.form.dispatchEvent(new Event('input'))"
    )
    assert browser.run("location.hash") == "#q=lsot+dim%3D64"
    assert set(browser.run(FOUND)) == {"lsot epsilon=0.01", "lsot epsilon=0.1"}
    browser.open(f"{address}#sweep=gaussians-quick&status=not+ok")
    assert browser.run(FOUND) == ["lsot epsilon=0.1"]
    browser.open(f"{address}#sweep=grid-quick&sort=-setting")
    assert browser.run(FOUND)[:2] == ["vae k=119", "vae k=118"]
    identity = browser.run("trials.lines[5][0]")
    browser.open(f"{address}#q={identity[:12]}")
    browser.run("document.querySelector('#found a').click()")
    browser.wait(f"location.href.endsWith('{identity}.html') && document.readyState === 'complete'")


def test_a_leaderboard_s_number_opens_its_trial_with_curves_and_pictures(browser: Chromium, report: Path):
    browser.open((report / "sweeps" / "mnist-quick.html").as_uri())
    browser.run("document.querySelector('.board td a').click()")
    browser.wait("location.pathname.includes('/trials/') && document.readyState === 'complete'")
    assert browser.run("document.querySelectorAll('svg.lines path').length") > 3
    browser.wait("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert browser.run("document.images.length") == 3
