"""A stop in good order leaves the last state in the history, however long the time between two snapshots is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw
import pytest

from tests.integration.feed_rig import fill_json
from tests.integration.nats_server import NatsServer, add_stream, publish
from tests.integration.service import Service

pytestmark = pytest.mark.integration


async def test_the_last_price_before_a_stop_is_in_the_history(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        opening = {"balances": {"USDT": "10000"}}
        service = Service(tmp_path, server.url, [{"name": "main", "exchange": "none", "opening": opening}])
        service.document["history"] = {"snapshot_interval": "1h"}
        client = await server.connect()
        await add_stream(client.jetstream())
        await asyncio.to_thread(service.start)
        try:
            await publish(client, [fill_json(1, quantity="1")])
            await asyncio.to_thread(service.wait_until, lambda: service.fill_count() == 1, "fed")
            for price in ("50100", "50200"):
                mark = f'{{"symbol":"BTCUSDT","price":"{price}","timestamp":"2027-11-22T12:00:01.000Z"}}'
                await publish(client, [mark.encode()], "trading.prices")
            await asyncio.to_thread(
                service.wait_until, lambda: service.get("/api/pnl")[1]["equity"] == "10200", "valued"
            )
        finally:
            began = time.monotonic()
            code = await asyncio.to_thread(service.stop)
            took = time.monotonic() - began
            await client.close()

    assert (code, took < 5) == (0, True)
    history = apsw.Connection(str(tmp_path / "data" / "history.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    last = "SELECT equity, unrealized_pnl FROM pnl_snapshots WHERE symbol IS {} ORDER BY id DESC LIMIT 1"
    assert history.execute(last.format("NULL")).fetchone() == ("10200", "200")
    assert history.execute(last.format("'BTCUSDT'")).fetchone() == (None, "200")
    history.close()
