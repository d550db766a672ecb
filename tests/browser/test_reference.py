"""The page at /docs, in a real browser: what the OpenAPI document says, as people read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.chromium import looking_at
from tests.integration.trading_desk import trading_desk

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


async def test_names_in_descriptions_are_code_and_no_markdown_is_left(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk, looking_at(f"{desk.doors.http_url}/docs") as page:
        await expect(page.locator("#Problem")).to_be_visible()

        assert "`" not in await page.locator("main").inner_text()
        await expect(page.locator("p code", has_text="unpriced")).to_have_count(1)
        await expect(page.locator("td code", has_text="BTCUSDT:-10%,5%")).to_have_count(1)
