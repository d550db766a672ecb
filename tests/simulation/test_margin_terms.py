"""The terms of margins, against the simulated exchange in virtual time: heard, asked for, and kept when refused."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from account_monitor.feeds.binance.transport import HttpReply
from account_monitor.ledger.events import MarkPrice
from account_monitor.monitor.views import View
from exchange_simulator.money import trimmed
from tests.simulation.desk_in_memory import DeskInMemory
from tests.simulation.virtual_time import run_virtual

D = Decimal


def run(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)


def buy(desk: DeskInMemory, symbol: str = "BTCUSDT", quantity: str = "0.5", side: str = "BUY") -> None:
    desk.venue.place_order(desk.account, {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity})


async def known(desk: DeskInMemory, holds: Callable[[View], bool] = lambda view: True, **more: Any) -> View:
    """Wait until the margins are known, at the venue's own marks, and something holds of them."""
    for symbol, market in desk.venue.markets.items():
        desk.monitor.mark(MarkPrice(symbol, D(trimmed(market.mark)), desk.venue.now()))
    await desk.until(
        lambda: desk.monitor.view.margin.is_known and holds(desk.monitor.view), what="the margins are as expected",
        **more,
    )  # fmt: skip
    return desk.monitor.view


def asked(desk: DeskInMemory, path: str) -> int:
    return sum(each == path for _, _, each, _ in desk.transport.requests)


class Lying:
    """Answers a path with something else than the exchange says."""

    def __init__(self, desk: DeskInMemory, path: str, body: bytes) -> None:
        self._request = desk.transport.request
        self._path, self._body = path, body
        self.is_lying = True
        desk.transport.request = self.request  # type: ignore[method-assign]

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        reply = await self._request(method, url, headers=headers, timeout_seconds=timeout_seconds)
        return reply._replace(body=self._body) if self._path in url and self.is_lying else reply


def test_our_figures_are_the_exchanges_own_and_stand_beside_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            buy(desk)
            buy(desk, "ETHUSDT", "3", "SELL")
            view = await known(desk, lambda view: len(view.liquidations()) == 1)
            venue_maintenance = view.margin.maintenance_margin
            view = await known(
                desk, lambda view: view.margin.venue is not None and view.margin.venue.maintenance_margin > 0
            )

            assert view.margin.venue is not None
            assert view.margin.venue.maintenance_margin == venue_maintenance
            assert view.margin.venue.available == view.margin.available
            assert view.margin.venue.margin_balance == view.margin.assets["USDT"].balance
            assert view.positions["BTCUSDT"].leverage == 20
            assert asked(desk, "/fapi/v1/leverageBracket") == 1

    run(scenario())


def test_the_stream_tells_of_leverage_margin_type_and_isolated_wallets(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=2)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.venue.set_leverage(desk.account, {"symbol": "BTCUSDT", "leverage": "10"})
            desk.venue.set_margin_type(desk.account, {"symbol": "BTCUSDT", "marginType": "ISOLATED"})
            buy(desk)

            view = await known(desk, lambda view: "BTCUSDT" in view.positions, seconds=2.0)
            before = view.liquidations()["BTCUSDT"].price

            assert view.positions["BTCUSDT"].is_isolated
            assert view.positions["BTCUSDT"].leverage == 10
            assert [pool.name for pool in view.pools()] == ["BTCUSDT"]

            added = {"symbol": "BTCUSDT", "amount": "1000", "type": "1"}
            desk.venue.change_position_margin(desk.account, added)
            view = await known(desk, lambda view: view.liquidations()["BTCUSDT"].price != before, seconds=2.0)

            assert before - view.liquidations()["BTCUSDT"].price > 1_900  # 1,000 more behind half a coin

    run(scenario())


def test_no_view_shows_an_isolated_position_without_its_wallet(tmp_path: Path) -> None:
    """A fill and the wallet that it brings are shown at once: no ratio jumps for a moment, and nothing alarms."""

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=3)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.venue.set_margin_type(desk.account, {"symbol": "BTCUSDT", "marginType": "ISOLATED"})
            buy(desk)
            await known(desk)
            seen: list[Decimal | None] = []
            desk.monitor.observers.append(lambda view, change: seen.append(view.margin.ratio))
            for _ in range(4):
                buy(desk, quantity="2")
                await known(desk)
                await desk.until(lambda: not desk.difference())

            assert None not in seen
            assert max(ratio for ratio in seen if ratio is not None) < D("0.1")  # 0.4 to 1 % of what 20 times is 5 %

    run(scenario())


def test_multi_assets_mode_is_heard_and_its_rates_are_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=4)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            buy(desk)
            await known(desk)
            assert asked(desk, "/fapi/v1/assetIndex") == 0

            desk.venue.set_multi_assets(desk.account, {"multiAssetsMargin": "true"})
            view = await known(desk, lambda view: [pool.name for pool in view.pools()] == ["USD"], seconds=10.0)

            assert view.margin.terms is not None
            assert view.margin.terms.rates["BNB"].bid < view.margin.terms.rates["BNB"].mid

    run(scenario())


def test_what_cannot_be_read_leaves_the_last_good_terms_and_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=5)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            buy(desk)
            good = (await known(desk)).margin.terms
            lying = Lying(desk, "/fapi/v1/leverageBracket", b'[{"symbol":"BTCUSDT","brackets":[]}]')

            await desk.until(lambda: desk.feed.terms_problem is not None, seconds=4_000.0, what="asked again")

            assert "brackets of BTCUSDT were an empty list" in (desk.feed.terms_problem or "")
            assert desk.monitor.view.margin.terms == good
            assert desk.monitor.view.margin.is_known
            assert desk.feed.problem is None  # the account is compared as ever
            lying.is_lying = False
            await desk.until(lambda: desk.feed.terms_problem is None, seconds=60.0, what="read again")

    run(scenario())


def test_a_symbol_that_is_not_named_is_asked_for_once_a_minute(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=6)
        lying = Lying(desk, "/fapi/v1/leverageBracket", b"[]")
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            buy(desk)
            await desk.until(lambda: "BTCUSDT" in desk.monitor.view.positions)
            assert desk.monitor.view.margin.ratio is None
            assert desk.monitor.view.liquidations() == {}
            before = asked(desk, "/fapi/v1/leverageBracket")
            for _ in range(20):
                buy(desk, quantity="0.01")
            lying.is_lying = False

            await known(desk, seconds=70.0)
            assert asked(desk, "/fapi/v1/leverageBracket") <= before + 2

    run(scenario())
