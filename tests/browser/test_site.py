"""What a reader meets: charts that are drawn, in both colour schemes, on a phone too, without anyone else's help."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import Browser

pytestmark = pytest.mark.browser

WITH_CHARTS = (
    "workloads/mnist_mlp.html",
    "workloads/mnist_lenet.html",
    "workloads/mnist_cnn.html",
    "runs/python_jax-jit-3.html",
    "runs/made-gpu-run.html",
)
WITHOUT_CHARTS = (
    "runs/index.html",
    "gate.html",
    "studies.html",
    "environments.html",
    "data.html",
    "explanation/method.html",
    "reference/runner-contract.html",
)
PHONE, DESKTOP = 390, 1280


SCREENS = [("light", PHONE), ("dark", DESKTOP)]
ALL_SCREENS = [*SCREENS, ("dark", PHONE), ("light", DESKTOP)]


@pytest.mark.parametrize(
    ("address", "scheme", "width"),
    [
        *(("index.html", *screen) for screen in ALL_SCREENS),
        *((address, *screen) for address in WITH_CHARTS for screen in SCREENS),
    ],
)
def test_charts_are_drawn_on_every_screen_in_every_scheme(
    browser: Browser, address: str, scheme: str, width: int
) -> None:
    """As wide as the page, with marks on them, and in place of the still pictures."""
    browser.open(address, scheme=scheme, width=width)

    for figure in browser.drawn():
        assert figure["state"] == "drawn", figure
        assert figure["scheme"] == scheme
        assert 0.9 * figure["page"] <= figure["width"] <= figure["page"] + 1, figure
        assert figure["height"] > 60
        assert figure["marks"] > 5
        assert figure["still"] == "none"
    assert_well_behaved(browser, width)


@pytest.mark.parametrize("address", WITHOUT_CHARTS)
def test_pages_of_text_and_tables_behave(browser: Browser, address: str) -> None:
    """On a phone wide tables scroll by themselves."""
    browser.open(address, scheme="dark", width=PHONE)

    browser.wait("return document.readyState === 'complete'")
    assert_well_behaved(browser, PHONE)


def assert_well_behaved(browser: Browser, width: int) -> None:
    """Nothing sticks out of the page, the console is silent, no other host is asked."""
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    assert browser.hosts() == {urlsplit(browser.root).netloc}


def test_a_chart_says_in_words_what_it_shows(browser: Browser) -> None:
    """Whoever cannot see the drawing hears the same as whoever reads the still picture's text."""
    browser.open("index.html")

    [figure] = browser.drawn()
    assert "Forest plot against python_pytorch" in figure["label"]
    assert browser.run("return document.querySelector('.vl-still img').alt") == figure["label"]


def test_changing_the_colour_scheme_draws_the_charts_again(browser: Browser) -> None:
    """In the other theme, and back."""
    browser.open("index.html")
    [light] = browser.drawn()

    browser.choose_scheme("dark")
    browser.wait("return document.querySelector('figure.vl').dataset.scheme === 'dark'")
    [dark] = browser.drawn()
    browser.choose_scheme("light")
    browser.wait("return document.querySelector('figure.vl').dataset.scheme === 'light'")

    assert light["words"] != dark["words"]
    assert browser.run("return document.querySelectorAll('figure.vl .vl-live svg.marks').length") == 1
    assert browser.complaints() == []


def test_links_and_back_go_from_page_to_page_without_a_reload(browser: Browser) -> None:
    """Charts are drawn on each page that is come to, and again after going back."""
    browser.open("index.html")
    browser.drawn()
    browser.run("window.sameDocument = true")

    browser.run("document.querySelector('a[href$=\"workloads/mnist_mlp.html\"]').click()")
    browser.wait("return location.pathname.endsWith('mnist_mlp.html') && document.title.startsWith('mnist_mlp')")
    there = browser.drawn()
    browser.run("history.back()")
    browser.wait("return location.pathname.endsWith('index.html') && document.title.startsWith('Results')")
    back = browser.drawn()

    assert browser.run("return window.sameDocument") is True
    assert len(there) > 3
    assert all(figure["state"] == "drawn" and figure["width"] > 300 for figure in [*there, *back])
    assert browser.complaints() == []


def test_a_chart_that_nobody_scrolls_to_is_not_drawn(browser: Browser) -> None:
    """A page of many charts opens as fast as one of few; the still picture waits in its place."""
    browser.open("workloads/mnist_mlp.html", height=300)
    browser.wait("return document.readyState === 'complete'")

    last = browser.run("const all = document.querySelectorAll('figure.vl'); return all[all.length - 1].dataset.state")
    assert last is None


def test_a_page_without_charts_does_not_load_what_draws_them(browser: Browser) -> None:
    """The library is large."""
    browser.open("gate.html")
    browser.wait("return document.readyState === 'complete'")

    loaded = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert not [name for name in loaded if name.endswith("vega.js")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opened_from_a_folder_a_page_shows_its_still_pictures(browser: Browser, site: Path, scheme: str) -> None:
    """Without a server scripts may read nothing; the pictures of the scheme are there all the same."""
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.screen(DESKTOP, 900)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.driver.get((site / "index.html").as_uri())
    browser.run("document.querySelector('figure.vl').scrollIntoView()")
    shown = browser.wait(
        "const seen = [...document.querySelectorAll('.vl-still img')].filter((img) => img.clientWidth > 300);"
        "const whole = seen.length && seen.every((img) => img.complete && img.naturalWidth);"
        "return whole ? seen.map((img) => img.src) : null"
    )
    browser.forget()

    assert [source.rpartition(".svg")[0].rpartition(".")[2] for source in shown] == [scheme]


def test_a_chart_whose_data_cannot_be_had_leaves_its_picture(browser: Browser) -> None:
    """A broken download costs the tooltips, not the result."""
    browser.open("gate.html")
    browser.run(
        "const figure = document.createElement('figure'); figure.className = 'vl';"
        "figure.dataset.spec = 'assets/charts/none.json'; figure.innerHTML = '<div class=\"vl-still\">picture</div>';"
        "document.querySelector('article').prepend(figure); document$.next(document)"
    )
    browser.wait("return document.querySelector('figure.vl').dataset.state === 'still'")

    assert browser.run("return document.querySelector('.vl-still').offsetHeight") > 0
    browser.forget()


def test_the_site_can_be_searched(browser: Browser) -> None:
    """The index is the site's own, and run pages are not in it."""
    browser.open("index.html")
    browser.run("document.querySelector('[data-md-component=search-query]').focus()")
    browser.run(
        "const box = document.querySelector('[data-md-component=search-query]'); box.value = 'dead heat';"
        "box.dispatchEvent(new KeyboardEvent('keyup', { key: 't' })); box.dispatchEvent(new Event('input'))"
    )
    found = browser.wait(
        "const links = [...document.querySelectorAll('.md-search-result__link')].map((link) => link.href);"
        "return links.length ? links : null"
    )

    assert any("explanation/verdicts" in link for link in found)
    assert not any("/runs/" in link for link in found)
