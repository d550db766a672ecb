"""The dashboard in a real browser, on the service as users run it, against the simulated exchange."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, WebSocketRoute, expect

from tests.browser.chromium import looking_at
from tests.integration.market import Market, market, monitored, open_for_business
from tests.integration.service import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(180)]

AXE = Path(__file__).resolve().parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
MAX_PAGE_BYTES = 300_000
ONE_LINE_HEIGHT = 60
HOSTILE = "<img src=x onerror=entered=1>"
# What a reader would have to scroll sideways for: all that no scrolling box of the page holds, and boxes that scroll
# although only those of tables may.
BEYOND_THE_EDGE = """() => [...document.querySelectorAll("body *")].filter(each => {
  const isWide = each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX !== "visible";
  if (isWide && !each.matches(".scroll, .skip")) return true;
  return each.getBoundingClientRect().right > window.innerWidth + 0.5 && !each.parentElement.closest(".scroll");
}).map(each => `${each.tagName} ${each.getAttribute("class")} ${each.textContent.slice(0, 40)}`)"""


def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.http_port}/"


async def text_of(page: Page, selector: str) -> str:
    """Return what a reader sees there, in the signs that programs write."""
    text = await page.locator(selector).first.inner_text()
    return text.replace("\u202f", "").replace("−", "-").strip()


async def at_rest(service: Service, page: Page) -> dict[str, Any]:
    """Open the page anew until it begins with the sequence that REST tells; return what REST says of the account.

    The page shows the sequence of the last message; entries that show nowhere, such as those of prices, have none.
    """
    async with asyncio.timeout(30):
        while True:
            await page.reload()
            await expect(page.locator("[data-place]")).not_to_be_empty()
            account = await asyncio.to_thread(service.account)
            if await text_of(page, "[data-place]") == f"{account['epoch']}:{account['seq']}":
                return account


async def test_the_figures_on_the_page_are_those_of_the_api_at_the_same_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Market(2, funding_interval_ms=8 * 3_600_000)
    here.venue.moving = False  # prices rest, so that nothing changes while it is compared
    async with open_for_business(here), monitored(tmp_path, here, monkeypatch) as service:
        for symbol, quantity in (("BTCUSDT", "0.125"), ("ETHUSDT", "2.5"), ("DOGEUSDT", "12345")):
            here.order(symbol, "BUY", quantity)
        async with looking_at(address(service)) as page:
            await expect(page.locator("tr[data-key]")).to_have_count(3)
            account = await at_rest(service, page)
            for key, position in account["positions"].items():
                assert await text_of(page, f"tr[data-key='{key}'] [data-field=quantity]") == position["quantity"]
            for asset, balance in account["balances"].items():
                assert await text_of(page, f"tr[data-asset='{asset}'] [data-field=total]") == balance["total"]
            fill_count = sum(position["fill_count"] for position in account["positions"].values())
            await expect(page.locator("tr[data-fill]")).to_have_count(fill_count)


async def test_the_page_comes_back_after_the_service_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(2) as here, monitored(tmp_path, here, monkeypatch) as service:
        here.order("BTCUSDT", "BUY", "0.5")
        async with looking_at(address(service)) as page:
            await expect(page.locator("tr[data-key=BTCUSDT] [data-field=quantity]")).to_have_text("0.5")
            await asyncio.to_thread(service.kill)
            await expect(page.locator(".pill.bad", has_text="disconnected")).to_be_visible()
            here.order("BTCUSDT", "BUY", "0.25")
            await asyncio.to_thread(service.start)
            await expect(page.locator("tr[data-key=BTCUSDT] [data-field=quantity]")).to_have_text(
                "0.75", timeout=20_000
            )
            await expect(page.locator(".pill", has_text="live")).to_be_visible()


async def test_an_alert_is_shown_and_can_be_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alerts = {"thresholds": {"min_balance": "2000000"}}
    async with market(2) as here, monitored(tmp_path, here, monkeypatch, alerts=alerts) as service:
        async with looking_at(address(service)) as page:
            alert = page.locator("li[data-alert]", has_text="low balance")
            await alert.get_by_role("button", name="Acknowledge").click()
            await expect(alert.get_by_label("Your name")).to_be_focused()
            await alert.get_by_label("Your name").fill(HOSTILE)
            await page.route("**/ack?**", answer_as_if_not_copied)
            await alert.get_by_role("button", name="I look after it").click()
            await expect(alert).to_contain_text(f"{HOSTILE} looks after it")  # as text, not as a page
            await expect(alert).to_contain_text("not copied yet <b>")
            await expect(alert).to_be_focused()
            assert await page.evaluate("window.entered") is None
        told = (await asyncio.to_thread(service.get, "/api/alerts?type=LOW_BALANCE"))[1]["alerts"]
        assert [each["acked_by"] for each in told] == [HOSTILE]


async def answer_as_if_not_copied(route: Route) -> None:
    """Answer as where processes share the accounts, and the history is away."""
    answer = await route.fetch()
    await route.fulfill(response=answer, status=202, json={**await answer.json(), "pending": "not copied yet <b>"})


async def test_what_cannot_be_read_or_drawn_leaves_the_rest_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(2) as here, monitored(tmp_path, here, monkeypatch) as service:
        here.order("BTCUSDT", "BUY", "0.5")
        async with looking_at("about:blank") as page:
            garbling = Garbling()
            await page.route_web_socket(re.compile(r"/ws\?"), garbling.stand_between)
            await page.goto(address(service))
            await expect(page.locator("[data-figure=Equity]")).to_have_text("—")
            await expect(page.locator("#positions [role=alert]")).to_contain_text("This part cannot be drawn")
            await expect(page.locator("tr[data-asset=USDT]")).to_be_visible()
            garbling.is_on = False
            await expect(page.locator("tr[data-key=BTCUSDT] [data-field=quantity]")).to_have_text("0.5", timeout=20_000)
            await expect(page.locator("[data-figure=Equity]")).not_to_have_text("—")


async def test_old_figures_are_not_live_until_the_account_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        market(2) as here,
        monitored(tmp_path, here, monkeypatch) as service,
        looking_at("about:blank", size=(320, 844)) as page,
    ):
        stream = Folding()
        await page.route_web_socket(re.compile(r"/ws\?"), stream.stand_between)
        await page.route("**/api/accounts", stream.tell_accounts)
        await page.goto(address(service))
        await expect(page.locator(".pill", has_text="live")).to_be_visible()
        await stream.restart()
        await expect(page.locator(".pill.warn", has_text="main is being folded, figures are ")).to_be_visible()
        await expect(page.locator("main.old")).to_have_count(1)
        assert await page.evaluate(BEYOND_THE_EDGE) == []
        stream.end()
        await expect(page.locator(".pill", has_text="live")).to_be_visible()
        await expect(page.locator("main.old")).to_have_count(0)
        await page.unroute_all(behavior="ignoreErrors")  # a question may be on its way


class Folding:
    """Stands between the service and the page, and tells of no account while it is on, as after a restart."""

    def __init__(self) -> None:
        self.is_on = False
        self._page_side: WebSocketRoute | None = None
        self._withheld: list[str] = []

    def stand_between(self, page_side: WebSocketRoute) -> None:
        """Connect the page to the service, and withhold what is of an account."""
        self._page_side, self._withheld = page_side, []
        page_side.connect_to_server().on_message(lambda text: self._tell(page_side, str(text)))

    def _tell(self, page_side: WebSocketRoute, text: str) -> None:
        if page_side is not self._page_side:
            return  # of a connection that was cut
        if self.is_on and json.loads(text)["account"] is not None:
            self._withheld.append(text)
        else:
            page_side.send(text)

    async def tell_accounts(self, route: Route) -> None:
        """Answer which accounts there are."""
        answer = await route.fetch()
        told = await answer.json()
        await route.fulfill(
            response=answer, json=[{**each, "status": "folding"} for each in told] if self.is_on else told
        )

    async def restart(self) -> None:
        """Cut the connection, and tell the next one of no account."""
        assert self._page_side is not None
        self.is_on = True
        await self._page_side.close()

    def end(self) -> None:
        """Tell what was withheld."""
        assert self._page_side is not None
        self.is_on = False
        for text in self._withheld:
            self._page_side.send(text)


class Garbling:
    """Stands between the stream and the page: an equity that is no decimal, and positions in no state."""

    def __init__(self) -> None:
        self.is_on = True

    def stand_between(self, page_side: WebSocketRoute) -> None:
        """Connect the page to the service, and change what it is told."""
        service_side = page_side.connect_to_server()
        service_side.on_message(lambda text: page_side.send(self.changed(str(text))))

    def changed(self, text: str) -> str:
        """Return the message as the page gets it."""
        message = json.loads(text)
        if not self.is_on:
            return text
        if message["type"] == "snapshot":
            message["data"]["pnl"]["equity"] = "1E+5"
            for position in message["data"]["positions"].values():
                position["state"] = None
        elif message["type"] == "pnl_update":
            message["data"]["equity"] = "1E+5"
        elif message["type"] == "position_update":
            message["data"]["state"] = None
        return json.dumps(message)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_serious(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theme: str) -> None:
    alerts = {"thresholds": {"min_balance": "2000000"}}
    async with market(2) as here, monitored(tmp_path, here, monkeypatch, alerts=alerts) as service:
        await here.trade(40)
        async with looking_at(address(service)) as page:
            await page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            await expect(page.locator("li[data-alert]").first).to_be_visible()
            await expect(page.locator("tr[data-fill]").first).to_be_visible()
            await page.wait_for_timeout(1_500)  # what has just arrived is tinted for a moment
            await page.evaluate(AXE.read_text())
            found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
            assert serious == [], json.dumps(serious, indent=1)[:3000]


async def test_hours_of_updates_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many fills as many a desk sees in eight hours, in seconds."""
    async with (
        market(1) as here,
        monitored(tmp_path, here, monkeypatch) as service,
        looking_at(address(service)) as page,
    ):
        await here.trade(1_500)  # fills the tables and the recent past
        before = await used(page)
        await here.trade(4_500)
        after = await used(page)
    assert after["JSHeapUsedSize"] < 1.3 * before["JSHeapUsedSize"] + 2_000_000, (before, after)
    assert after["Nodes"] < 1.5 * before["Nodes"] + 500, (before, after)


async def used(page: Page) -> dict[str, float]:
    """Return what the page holds once its garbage is collected."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    await session.send("HeapProfiler.collectGarbage")
    told = await session.send("Performance.getMetrics")
    return {each["name"]: each["value"] for each in told["metrics"]}


async def test_the_page_is_light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        market(2) as here,
        monitored(tmp_path, here, monkeypatch) as service,
        looking_at(address(service)) as page,
    ):
        await page.wait_for_load_state("load")
        sent = await page.evaluate("performance.getEntries().map(each => [each.name, each.encodedBodySize ?? 0])")
    sizes = {name: size for name, size in sent if "/api/" not in name and size}
    assert len(sizes) >= 3, sent
    assert sum(sizes.values()) < MAX_PAGE_BYTES, sizes


@pytest.mark.parametrize("width", [390, 320])
async def test_the_reader_of_a_phone_scrolls_one_way_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    async with market(2) as here, monitored(tmp_path, here, monkeypatch) as service:
        await here.trade(20)
        async with looking_at(address(service), size=(width, 844)) as page:
            # What is asked for, rather than pushed, is drawn last.
            for late in ("tr[data-key]", "#why tfoot", "#whatif tbody", "#reconciliation .standing"):
                await expect(page.locator(late).first).to_be_visible()
            for font in ("", "DejaVu Sans Mono", "serif"):  # fonts differ in width from machine to machine
                await page.evaluate("font => { document.body.style.fontFamily = font }", font)
                assert await page.evaluate(BEYOND_THE_EDGE) == []


async def test_a_phone_shows_what_matters_and_who_holds_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = {"thresholds": {"min_balance": "2000000"}}  # so that it is degraded

    async def with_one_elsewhere(route: Route) -> None:
        answer = await route.fetch()
        away = {"account": "gamma", "status": "held_elsewhere", "member": "replica-a"}
        await route.fulfill(response=answer, json=[*await answer.json(), away])

    async with market(2) as here, monitored(tmp_path, here, monkeypatch, alerts=alerts) as service:
        here.order("BTCUSDT", "BUY", "0.5")
        async with looking_at("about:blank", size=(390, 844)) as page:
            await page.route("**/api/accounts", with_one_elsewhere)
            await page.goto(address(service))
            await expect(page.locator("[data-left-out]")).to_have_text(
                "Not in these figures: gamma, held by replica-a. Ask there."
            )
            await expect(page.locator(".top .pill.warn")).to_have_text(re.compile(r"^degraded \d/\d+$"))
            header = await page.locator("header.top").bounding_box()
            assert header is not None
            assert header["height"] < ONE_LINE_HEIGHT
            for name in ("Unrealized", "To liquidation"):
                cell = await page.locator(f"tr[data-key=BTCUSDT] [data-name='{name}']").bounding_box()
                assert cell is not None
                assert cell["x"] + cell["width"] <= 390


async def test_a_service_that_hangs_is_not_shown_as_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        market(2) as here,
        monitored(tmp_path, here, monkeypatch) as service,
        looking_at(address(service)) as page,
    ):
        await expect(page.locator(".pill", has_text="live")).to_be_visible()
        assert service.process is not None
        service.process.send_signal(signal.SIGSTOP)
        try:
            # Since it was heard last, and not since that was noticed.
            told = page.locator(".pill.bad", has_text=re.compile(r"^disconnected for [1-9]\d* s, figures are old$"))
            await expect(told).to_be_visible(timeout=15_000)
            await expect(page.locator("main.old")).to_have_count(1)
        finally:
            service.process.send_signal(signal.SIGCONT)
        await expect(page.locator(".pill", has_text="live")).to_be_visible(timeout=30_000)
        await expect(page.locator("main.old")).to_have_count(0)


async def test_the_page_asks_for_a_token_and_says_why_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens.json"
    auth, alerts = {"tokens_file": str(tokens)}, {"thresholds": {"min_balance": "2000000"}}
    async with market(2) as here, monitored(tmp_path, here, monkeypatch, auth=auth, alerts=alerts) as service:
        made = await asyncio.to_thread(
            service.command, "token", "create", "--name", "desk", "--scope", "read", "--config",
            str(service.config_file)
        )  # fmt: skip
        async with looking_at(address(service)) as page:
            await enter(page, "für")
            await expect(page.get_by_role("alert")).to_contain_text("no token")
            await enter(page, "am_0000_00000000000000000000000000000000000000000000")
            await expect(page.get_by_role("alert")).to_contain_text("Refused")
            await enter(page, f"Bearer {made.stdout.strip()}")
            await expect(page.locator("tr[data-asset=USDT]")).to_be_visible(timeout=15_000)
            await expect(page.locator("li[data-alert]").first).to_contain_text("low balance")
            async with page.expect_response("**/api/accounts"):  # which tells that this token may read only
                pass
            await expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_label("Token")).to_be_visible()


async def enter(page: Page, token: str) -> None:
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Open").click()
