"""Pages in headless Chromium, driven by Playwright; skipped where either is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
NARROW, WIDE = (400, 800), (1600, 1000)  # pixels: a telephone, a screen


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser, one for all tests of a process."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright from PyPI")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs a browser, and there is no chromium")
    with (
        api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=ARGUMENTS) as found,
    ):
        yield found


@pytest.fixture
def vega() -> None:
    """The library of charts in pages."""
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")


@contextmanager
def watched(
    browser: Browser, site: str, size: tuple[int, int] = WIDE, dark: bool = False
) -> Iterator[Page]:
    """Make a page; fail at its end on an error of a script, or a request for anything else.

    Args:
        browser: the browser.
        site: how the addresses begin that the page may request.
        size: width and height of the window in pixels.
        dark: whether the system prefers dark.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
    )
    page = context.new_page()
    faults: list[str] = []
    own = ("data:", site)
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(own) else faults.append(r.url))
    try:
        yield page
        assert faults == []
    finally:
        context.close()


@contextmanager
def opened(
    browser: Browser, address: str | Path, size: tuple[int, int] = WIDE, dark: bool = False
) -> Iterator[Page]:
    """Open a page that is whole by itself, as `watched`, and wait until its charts are drawn.

    `address` is that of the page, or its file.
    """
    address = address.resolve().as_uri() if isinstance(address, Path) else address
    with watched(browser, address.partition("#")[0], size, dark) as page:
        page.goto(address)
        if page.evaluate("() => 'drawn' in window"):
            page.evaluate("() => window.drawn")
        yield page


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("() => document.documentElement.scrollWidth - innerWidth"))
