"""Chromium as it is installed here, headless, and the page in it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--enable-precise-memory-info")  # fmt: skip
LAPTOP = (1440, 900)

expect.set_options(timeout=20_000)  # on a busy machine; what is not there then will not be


def program() -> str:
    """Return where Chromium is; skip where there is none."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs Chromium: none of {', '.join(PROGRAMS)} is installed (apt-get install chromium)")
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser for the length of the block."""
    path = program()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(QUIET))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking_at(url: str, *, size: tuple[int, int] = LAPTOP) -> AsyncIterator[Page]:
    """Open a page in a browser of its own; what the page complains about fails the test."""
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": size[0], "height": size[1]})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda told: complaints.append(told.text) if "Content Security Policy" in told.text else None
        )
        await page.goto(url)
        yield page
        assert complaints == []
