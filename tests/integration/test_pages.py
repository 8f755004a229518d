"""The pages of every server, in a real browser: they show themselves, and ask only this machine for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]
#: Hosts that Chromium itself asks, whatever the page.
ITS_OWN = {
    "accounts.google.com",
    "clients2.google.com",
    "content-autofill.googleapis.com",  # on pages with a field to fill in
    "optimizationguide-pa.googleapis.com",
    "safebrowsing.googleapis.com",
    "update.googleapis.com",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[ThreadingHTTPServer]:
    """A proxy that refuses and notes every request; Chromium sends it whatever is not for loopback."""

    class Refuse(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            self.close_connection = True
            if self.raw_requestline and self.parse_request():
                noted.append(self.path)
                self.send_error(502)

    noted: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    server.noted = noted  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def visit(url: str, proxy: ThreadingHTTPServer, folder: Path, seconds: int = 15) -> tuple[str, set[str]]:
    """The page's text after 15 seconds of its own time (0: once it is loaded), and the hosts outside that it asked."""
    noted: list[str] = proxy.noted  # type: ignore[attr-defined]
    noted.clear()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync", f"--user-data-dir={folder}"]
    options += [f"--proxy-server=127.0.0.1:{proxy.server_port}", "--dump-dom"]
    options += [f"--virtual-time-budget={1000 * seconds}"] if seconds else []
    done = subprocess.run([str(CHROMIUM), *options, url], capture_output=True, text=True, timeout=120, check=True)
    text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", done.stdout, flags=re.DOTALL)
    return text, {re.sub(r"^\w+://", "", path).split("/")[0].split(":")[0] for path in noted} - ITS_OWN


def test_a_page_that_asks_elsewhere_is_noticed(proxy: ThreadingHTTPServer, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<img src="http://one.example/x.png"><script>fetch("https://two.example/")</script>shown')
    text, asked = visit(page.as_uri(), proxy, tmp_path / "browser")
    assert "shown" in text and asked == {"one.example", "two.example"}


@pytest.mark.parametrize(
    ("server", "path", "shows"),
    [
        ("prefect", "/dashboard", "Flow Runs"),
        ("mlflow", "/", "Experiments"),
        ("evidently", "/", "Projects"),
        ("ray_dashboard", "/", "Cluster"),
        ("serve", "/docs", "The models served here"),
        ("serve", "/models/flight_delay/docs", "predict"),
        ("serve_stats", "/stats", "Statistics Report"),
    ],
)
def test_a_servers_page_asks_only_this_machine(headrace, lifecycle, proxy, tmp_path, server, path, shows) -> None:
    seconds = 0 if server == "serve_stats" else 15  # that page loads itself again every second, and so never ends
    text, asked = "", set[str]()
    for attempt in range(3):  # a page's own time does not wait for a server that is busy
        if shows not in text:
            text, outside = visit(headrace.settings.url(server) + path, proxy, tmp_path / f"browser{attempt}", seconds)
            asked |= outside
    assert shows in text
    assert "collects usage data" not in text
    assert asked == set()


def test_the_report_asks_nobody(lifecycle, proxy, tmp_path: Path) -> None:
    text, asked = visit(Path(lifecycle["report"]).as_uri(), proxy, tmp_path / "browser")
    assert "flight_delay" in text and asked == set()
