"""An account that has traded before it is monitored, on an exchange and on a stream that remember: counted once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from account_monitor.ledger.account import USD_ASSETS, Account
from account_monitor.ledger.events import Anchor, Claim, Fill, Opening
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import time_text
from account_monitor.stores.journal_reader import open_reader
from exchange_simulator.positions import Trade
from tests.integration.market import Market, books, monitored, open_for_business
from tests.integration.nats_server import NatsServer, add_stream, publish
from tests.integration.service import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]

D = Decimal
HOUR_MS = 3_600_000
SUBJECT = "trading.fills.main"


def told(trade: Trade, own_id: str | None = None) -> bytes:
    """Return a trade as an order-execution service publishes it, under the venue's id or its own."""
    price, quantity, fee, realized = (
        to_text(D(number) / 10**8) for number in (trade.price, trade.quantity, trade.fee, trade.realized)
    )
    fields = {
        "id": own_id or str(trade.id), "account": "main", "symbol": trade.symbol, "side": trade.side,
        "quantity": quantity, "price": price, "fee": fee, "fee_currency": trade.fee_asset,
        "position_side": trade.position_side, "order_id": str(trade.order_id), "maker": trade.maker,
        "realized_pnl": realized, "timestamp": time_text(trade.at_ms),
    }  # fmt: skip
    return json.dumps(fields).encode()


def in_two_tongues(trades: Sequence[Trade]) -> list[bytes]:
    """Return them as published: every third under an id of the publisher's own."""
    return [told(trade, f"bot-{number}" if number % 3 == 2 else None) for number, trade in enumerate(trades)]


def trade_for_a_while(here: Market) -> None:
    """Leave a long that is partly sold, a short that is partly bought back, and a third symbol flat."""
    for symbol, side, quantity in (
        ("BTCUSDT", "BUY", "0.3"), ("SOLUSDT", "SELL", "90"), ("ETHUSDT", "BUY", "8"),
        ("BTCUSDT", "SELL", "0.1"), ("SOLUSDT", "BUY", "40"), ("ETHUSDT", "SELL", "8"),
    ):  # fmt: skip
        here.order(symbol, side, quantity)


def since(theirs: dict[str, dict[str, D]], before: dict[str, dict[str, D]]) -> dict[str, dict[str, D]]:
    """Return the exchange's books with results counted from `before`, when the account was adopted."""
    counted = {
        name: {key: amount - before[name].get(key, D(0)) for key, amount in theirs[name].items()}
        for name in ("realized", "fees")
    }
    return theirs | {name: {key: amount for key, amount in book.items() if amount} for name, book in counted.items()}


async def ours(service: Service) -> dict[str, dict[str, D]]:
    return books(await asyncio.to_thread(service.account))


async def equal(service: Service, here: Market, before: dict[str, dict[str, D]], seconds: float = 30.0) -> None:
    """Wait until the books are equal. Raises: AssertionError with both."""
    deadline = asyncio.get_running_loop().time() + seconds
    while (held := await ours(service)) != (stated := since(here.books(), before)):
        assert asyncio.get_running_loop().time() < deadline, (held, stated)
        await asyncio.sleep(0.1)


async def shown(service: Service, count: int) -> list[dict[str, Any]]:
    """Return the fills that are shown, once they are so many."""
    fills: list[dict[str, Any]] = []

    def are_shown() -> bool:
        fills[:] = service.get("/api/fills?limit=1000")[1]["fills"]
        return len(fills) >= count

    await asyncio.to_thread(service.wait_until, are_shown, f"{count} fills shown", 20)
    return fills


def folded(service: Service) -> list[tuple[str, Any, str]]:
    """Return (source, event, outcome) of everything that is journaled, by folding it."""
    with open_reader(service.folder / "data" / "main.journal") as reader:
        account = Account(reader, usd_assets=USD_ASSETS)
        return [
            (entry.source, entry.event, account.apply(entry.seq, entry.event).outcome) for entry in reader.entries()
        ]


@asynccontextmanager
async def stream_of_fills(folder: Path) -> AsyncIterator[tuple[NatsServer, Client]]:
    with NatsServer(folder / "nats") as server:
        client = await server.connect()
        await add_stream(client.jetstream(), "FILLS", SUBJECT)
        yield server, client
        await client.close()


async def test_a_stream_full_of_what_the_account_holds_already_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Market(2, funding_interval_ms=8 * HOUR_MS)
    trade_for_a_while(here)
    past, before = here.trades, here.books()
    assert before["positions"] == {"BTCUSDT": D("0.2"), "SOLUSDT": D("-50")}
    async with stream_of_fills(tmp_path) as (server, client), open_for_business(here):
        await publish(client, in_two_tongues(past), SUBJECT)
        async with monitored(tmp_path, here, monkeypatch, nats_url=server.url) as service:
            assert await ours(service) == since(here.books(), before)
            old = [trade for number, trade in enumerate(past) if number % 3 != 2]
            fills = await shown(service, len(old))
            assert await ours(service) == since(here.books(), before)

            assert {fill["id"] for fill in fills} == {str(trade.id) for trade in old}
            # The last fill that the adoption contains is asked for once more: whoever is first tells of it.
            assert {fill["source"] for fill in fills} <= {"nats:FILLS", "exchange:trades"}
            told = [(event, outcome) for _, event, outcome in folded(service) if isinstance(event, Fill | Claim)]
            assert {outcome for _, outcome in told} == {"contained"}
            claims = [event for event, _ in told if isinstance(event, Claim)]
            assert len(claims) == len(past) - len(old)
            assert "UNEXPECTED_FILL" not in service.log_file.read_text()


async def test_what_was_adopted_stays_adopted_through_kill_9_and_whatever_is_traded_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Market(2, funding_interval_ms=8 * HOUR_MS)
    trade_for_a_while(here)
    before = here.books()
    published = 0
    async with stream_of_fills(tmp_path) as (server, client), open_for_business(here):

        async def tell() -> None:
            nonlocal published
            trades = sorted(here.trades, key=lambda trade: (trade.at_ms, trade.id))
            await publish(client, [told(trade) for trade in trades[published:]], SUBJECT)
            published = len(trades)

        await tell()
        async with monitored(tmp_path, here, monkeypatch, nats_url=server.url) as service:
            await asyncio.to_thread(service.kill)  # the stream may not be read yet
            await asyncio.to_thread(service.start)
            assert await ours(service) == since(here.books(), before)
            trade_for_a_while(here)  # while it is alive,
            await tell()
            await equal(service, here, before)
            await asyncio.to_thread(service.kill)
            trade_for_a_while(here)  # and while it is dead
            await tell()
            await asyncio.to_thread(service.start)
            await equal(service, here, before)

            assert len(await shown(service, published)) == published
            await equal(service, here, before)
            assert sum(type(event) is Opening for _, event, _ in folded(service)) == 1


async def test_a_position_older_than_any_history_is_adopted_with_the_exchange_s_quantity_and_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Market(2, funding_interval_ms=8 * HOUR_MS)
    trade_for_a_while(here)
    ancient = here.trades
    here.account.trades.clear()  # of a year ago: the exchange holds the position, and has nothing to tell of it
    here.account.incomes.clear()
    before = here.books()
    prices = {key: D(text) for key, text in here.venue.books(here.account)["entry_prices"].items()}
    async with stream_of_fills(tmp_path) as (server, client), open_for_business(here):
        await publish(client, in_two_tongues(ancient), SUBJECT)
        async with monitored(tmp_path, here, monkeypatch, nats_url=server.url) as service:
            [opening] = [event for _, event, _ in folded(service) if type(event) is Opening]
            anchors: dict[str, Anchor] = {anchor.key: anchor for anchor in opening.positions}
            assert {key: anchor.quantity for key, anchor in anchors.items()} == before["positions"]
            assert all(anchor.last_trade_id is None for anchor in anchors.values())
            for key, anchor in anchors.items():  # the exchange rounds the entry price to 9 decimals
                assert abs(anchor.cost - anchor.quantity * prices[key]) < D("0.000001")
            await shown(service, len(ancient) - len(ancient) // 3)
            assert await ours(service) == since(here.books(), before)

            here.order("BTCUSDT", "SELL", "0.2")  # all of it: what it cost is realized as the exchange does
            here.order("SOLUSDT", "BUY", "20")
            await equal(service, here, before)
