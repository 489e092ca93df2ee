"""The page in a real browser: charts are drawn, nothing errs, nothing is wider than a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any, ClassVar

import pytest

from bench.report import write_report
from tests import report_fixture as fixture

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

WATCH = """<script>
window.errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
console.error = (...words) => errors.push(words.join(" "));
</script>"""

PROBE = """<script>
(async () => {
  const wait = (condition, left = 900) => new Promise((done) => {
    const look = () => (condition() || !left--) ? done() : setTimeout(look, 50);
    look();
  });
  const all = (selector) => [...document.querySelectorAll(selector)];
  await wait(() => document.documentElement.dataset.charts === "drawn");
  const root = document.documentElement;
  const found = {
    width: innerWidth,
    overflow: root.scrollWidth - root.clientWidth,
    plots: all(".plot[data-spec]").length,
    seen: all(".plot[data-spec]").filter((plot) => !plot.closest("details:not([open])")).length,
    drawn: all(".plot[data-spec] svg").length,
    marks: all(".plot[data-spec] svg path").length,
    ink: getComputedStyle(document.body).color,
  };
  for (const more of all("details.more")) more.open = true;
  await wait(() => all(".plot[data-spec] svg").length === found.plots);
  found.drawnAfterwards = all(".plot[data-spec] svg").length;

  const table = document.querySelector("table.sortable");
  const names = () => [...table.tBodies].map((body) => body.dataset.name);
  const button = table.querySelectorAll("button.sort")[1];
  button.click();
  found.ascending = names();
  button.click();
  found.descending = names();
  found.aria = button.closest("th").getAttribute("aria-sort");

  const filter = document.getElementById("filter");
  filter.value = "LSOT";
  filter.dispatchEvent(new Event("input"));
  found.filtered = [...table.tBodies].filter((body) => !body.hidden).map((body) => body.dataset.name);
  filter.value = "";
  filter.dispatchEvent(new Event("input"));

  document.querySelector(".legend button").click();
  found.pressed = all('.legend button[aria-pressed="true"]').length;

  const trial = document.querySelector(".trial[data-curves]");
  location.hash = trial.id;
  await wait(() => trial.querySelector(".curves svg"));
  found.unfolded = trial.open && trial.closest("details.trials").open;
  found.errors = errors;
  await fetch("/answer", { method: "POST", body: JSON.stringify(found) });
})();
</script>"""

FRAME = '<!doctype html><body><iframe src="probed.html" style="width:{width}px;height:900px;border:0"></iframe>'


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what is posted to it."""

    answers: ClassVar[Queue[str]] = Queue()

    def do_POST(self) -> None:
        self.answers.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    trials = [*fixture.gaussians(), *fixture.toy2d()[:6], *fixture.mnist()[:9]]
    fixture.write(root / "results", trials)
    return write_report(root / "results", root / "reports")


def browse(page: Path, width: int, *options: str) -> dict[str, Any]:
    """Opens the page in a frame of a width and returns what the probe saw.

    The frame is there because the browser's own window cannot be as narrow as a phone. The policy that keeps the page
    from any connection is loosened for the probe's answer.
    """
    html = page.read_text().replace("default-src 'none'", "default-src 'none'; connect-src 'self'")
    body, end, rest = html.replace("<head>", "<head>" + WATCH, 1).rpartition("</body>")
    html = body + PROBE + end + rest
    (page.parent / "probed.html").write_text(html)
    (page.parent / "frame.html").write_text(FRAME.format(width=width))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(page.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/frame.html"
    profile = page.parent / f"profile-{width}-{len(options)}"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", *options]
    command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            return dict(json.loads(Handler.answers.get(timeout=120)))
        finally:
            browser.terminate()
            server.shutdown()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_at_phone_and_desktop_width(page: Path, width: int):
    found = browse(page, width)
    assert found["errors"] == []
    assert found["width"] == width
    assert found["overflow"] <= 0
    assert found["plots"] > 8
    assert found["drawn"] == found["seen"] < found["plots"]  # folded charts wait until they are asked for
    assert found["drawnAfterwards"] == found["plots"]
    assert found["marks"] > 10 * found["drawn"]
    assert found["ascending"][0] == "linear"  # the smallest UVP of the fixture
    assert found["descending"] == found["ascending"][::-1]
    assert found["aria"] == "descending"
    assert found["filtered"]
    assert all(name.startswith("lsot") for name in found["filtered"])
    assert found["pressed"] >= 1
    assert found["unfolded"]


def test_the_page_follows_the_reader_s_dark_setting(page: Path):
    light = browse(page, 800)["ink"]
    dark = browse(page, 800, "--force-dark-mode", "--blink-settings=preferredColorScheme=0")["ink"]
    channels = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (light, dark)]
    assert channels[0] < 200 < channels[1]
