"""A site from the small store, served under its policy, and a headless Chromium that reports what goes wrong."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from analysis.publish.publish import publish_site
from analysis.publish.server import site_server
from tests.analysis.axes import axes_rows
from tests.analysis.made_gpu_run import made_gpu_rows
from tests.analysis.sites import small_rows, write_store

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PATIENCE_S = 20


@dataclass(frozen=True)
class Browser:
    """A browser on the site."""

    driver: webdriver.Chrome
    root: str

    def open(self, address: str, *, scheme: str = "light", width: int = 1280, height: int = 900) -> None:
        """Open a page afresh on a screen of that width and with that preferred colour scheme."""
        self.screen(width, height)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.driver.get(self.root + "404.html")
        self.run("localStorage.clear(); sessionStorage.clear()")
        self.forget()
        self.driver.get(self.root + address)

    def screen(self, width: int, height: int) -> None:
        """Take a screen of that size; below 500 pixels a phone's."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str) -> Any:
        """Return what a script returns as soon as that is true."""
        return WebDriverWait(self.driver, PATIENCE_S, 0.1).until(lambda _: self.run(script), script)

    def choose_scheme(self, scheme: str) -> None:
        """Press the button for the next colour scheme until it is that one."""
        wanted = {"light": "default", "dark": "slate"}[scheme]
        for _ in range(3):
            self.run("document.querySelector('label.md-header__button[for^=__palette]:not([hidden])').click()")
            if self.run("return document.body.dataset.mdColorScheme") == wanted:
                return
        raise AssertionError(f"no press of the button gave {scheme}")

    def drawn(self) -> list[dict[str, Any]]:
        """Return every figure's chart once all have been scrolled to and drawn."""
        self.wait("return document.querySelectorAll('figure.vl').length")
        count = self.run("return document.querySelectorAll('figure.vl').length")
        for place in range(count):
            self.run("document.querySelectorAll('figure.vl')[arguments[0]].scrollIntoView()", place)
            self.wait(f"return document.querySelectorAll('figure.vl')[{place}].dataset.state")
        found: list[dict[str, Any]] = self.run(FIGURES)
        return found

    def complaints(self) -> list[str]:
        """Return what the console was told since the page was opened."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def hosts(self) -> set[str]:
        """Return every host that was asked for anything since the page was opened."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")}

    def forget(self) -> None:
        """Forget what was complained of and asked for so far."""
        self.complaints()
        self.hosts()


FIGURES = """
return [...document.querySelectorAll('figure.vl')].map((figure) => {
  const svg = figure.querySelector('.vl-live svg');
  const box = svg ? svg.getBoundingClientRect() : { width: 0, height: 0 };
  const still = figure.querySelector('.vl-still');
  return {
    spec: figure.dataset.spec, state: figure.dataset.state, scheme: figure.dataset.scheme,
    width: box.width, height: box.height, page: figure.clientWidth,
    marks: svg ? svg.querySelectorAll('path, rect, text').length : 0,
    still: still ? getComputedStyle(still).display : '',
    words: svg ? [...svg.querySelectorAll('text')].map((text) => getComputedStyle(text).fill)[0] : '',
    label: figure.querySelector('[aria-roledescription=visualization]')?.getAttribute('aria-label'),
  };
});
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the small store's site."""
    work = tmp_path_factory.mktemp("browser")
    store = write_store(work / "store", [*small_rows(), *axes_rows(), *made_gpu_rows()[1:]])
    return publish_site(store, work / "site", work=work, strict=True).parent


@pytest.fixture(scope="session")
def root(site: Path) -> Iterator[str]:
    """Return the address under which the site is served."""
    with site_server(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Return a headless Chromium with a profile of its own."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield made
    made.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome, root: str) -> Browser:
    """Return the browser on the served site."""
    return Browser(driver, root)
