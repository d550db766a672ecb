"""`trading.alerts`: every transition once, in order, through outages, restarts and kills, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from account_monitor.errors import JournalError
from account_monitor.ledger.alerts import Alert
from account_monitor.monitor.ports import JournalEntry, RemarkKind
from account_monitor.notifiers.nats import ALERTS_PUBLISHED, LOOK_SECONDS, AlertNotifier, Server
from tests.integration.nats_server import NatsServer, add_stream, publish, stored
from tests.integration.service import Service
from tests.integration.trading_desk import TradingDesk, eventually, get, trading_desk

pytestmark = pytest.mark.integration

SUBJECT = "trading.alerts"


def firing(name: str) -> Alert:
    return Alert(name, "STREAM_STALE", name, "WARNING", "FIRING", "silent", 1, 1)


def resolved(name: str) -> Alert:
    return firing(name)._replace(state="RESOLVED", at_ms=2, revision=1)


def transition(message: Msg | RawStreamMsg) -> str:
    """Return the alert and the number of the transition that a message tells of."""
    assert message.headers is not None
    return message.headers["Nats-Msg-Id"].rpartition(":")[0]


class Ear:
    """A service that listens."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []

    async def listen(self, client: Client) -> None:
        async def note(message: Msg) -> None:
            self.messages.append(message)

        await client.subscribe(SUBJECT, cb=note)
        await client.flush()

    @property
    def ids(self) -> list[str]:
        """Return the alert and the number of each transition."""
        return [transition(message) for message in self.messages]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.messages]

    async def until(self, count: int) -> list[str]:
        """Return the ids once there are so many."""
        await eventually(lambda: len(self.messages) >= count, timeout_seconds=10)
        return self.ids


@asynccontextmanager
async def hearing(server: NatsServer) -> AsyncIterator[Ear]:
    client, ear = await server.connect(), Ear()
    try:
        await ear.listen(client)
        yield ear
    finally:
        await client.close()


@asynccontextmanager
async def stream_of_alerts(server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await server.connect()
    try:
        await add_stream(client.jetstream(), "ALERTS", SUBJECT)
        yield client.jetstream()
    finally:
        await client.close()


@asynccontextmanager
async def notifying(
    desk: TradingDesk, server: NatsServer, unrecorded: Callable[[str], list[Alert]] = lambda account: []
) -> AsyncIterator[None]:
    reached = Server((server.url,), reconnect_wait_seconds=0.05)
    notifier = AlertNotifier(desk.desk, reached, SUBJECT, unrecorded=unrecorded)
    task = asyncio.create_task(notifier.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def noted(desk: TradingDesk, account: str = "main") -> int:
    """Return up to where the journal says that alerts were published."""
    position = desk.monitor(account).journal.positions.get(ALERTS_PUBLISHED)
    return 0 if position is None else position.sequence


async def test_every_transition_is_published_in_order_as_rest_shows_it(tmp_path: Path, server: NatsServer) -> None:
    async with trading_desk(tmp_path) as desk, hearing(server) as ear:
        await desk.open()
        await desk.trade(firing("a"))
        async with notifying(desk, server):
            await ear.until(1)
            await desk.trade(firing("b"), resolved("a"))
            assert await ear.until(3) == ["a:0", "b:0", "a:1"]
        listed = await get(desk.doors.http_url + "/api/alerts")

    assert ear.alerts[:0:-1] == listed["alerts"]
    assert [alert["state"] for alert in ear.alerts] == ["FIRING", "FIRING", "RESOLVED"]


async def test_what_was_journaled_while_nats_was_away_is_published_when_it_is_back(
    tmp_path: Path, server: NatsServer
) -> None:
    async with stream_of_alerts(server) as js, trading_desk(tmp_path) as desk, notifying(desk, server):
        await desk.open()
        await desk.trade(firing("a"))
        await stored(js, 1, "ALERTS")
        server.kill()
        await desk.trade(firing("b"), resolved("b"))
        server.start()
        await eventually(lambda: noted(desk) == 4, timeout_seconds=10)
        kept = [await js.get_msg("ALERTS", seq) for seq in (1, 2, 3)]

    assert [transition(message) for message in kept] == ["a:0", "b:0", "b:1"]


async def test_what_a_successor_tells_under_the_number_of_a_transition_that_was_lost_is_no_repeat_of_it(
    tmp_path: Path, server: NatsServer
) -> None:
    worse = firing("a")._replace(severity="CRITICAL", at_ms=3, revision=1)
    async with stream_of_alerts(server) as js:
        for name, then in (("dies", resolved("a")), ("succeeds", worse)):
            async with trading_desk(tmp_path / name) as desk, notifying(desk, server):
                await desk.open()
                await desk.trade(firing("a"), then)
                await eventually(lambda desk=desk: noted(desk) == 3)  # type: ignore[misc]
        kept = [json.loads((await js.get_msg("ALERTS", seq)).data or b"") for seq in (1, 2, 3)]
        count = (await js.stream_info("ALERTS")).state.messages

    assert [(alert["state"], alert["severity"]) for alert in kept] == [
        ("FIRING", "WARNING"), ("RESOLVED", "WARNING"), ("FIRING", "CRITICAL")
    ]  # fmt: skip
    assert count == 3  # the first one was a repeat


async def test_a_journal_that_cannot_be_read_keeps_no_other_account_from_being_published(
    tmp_path: Path, server: NatsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(kind: RemarkKind, seq: int) -> list[JournalEntry]:
        raise JournalError("database disk image is malformed")

    async with trading_desk(tmp_path) as desk, hearing(server) as ear:
        await desk.open()
        await desk.open("other")
        with monkeypatch.context() as damaged:
            damaged.setattr(desk.monitor().journal, "remarks_after", broken)
            await desk.trade(firing("a"))
            await desk.trade(firing("b"), account="other")
            async with notifying(desk, server, lambda account: [firing("lost")] if account == "main" else []):
                await ear.until(2)
                assert ear.ids == ["b:0", "lost:0"]
                await asyncio.sleep(2.2 * LOOK_SECONDS)  # it is tried again, which is no news
                damaged.undo()
                assert await ear.until(3) == ["b:0", "lost:0", "a:0"]
    assert capsys.readouterr().out.count("alerts_not_published") == 1


async def test_a_restart_goes_on_where_the_journal_says(tmp_path: Path, server: NatsServer) -> None:
    async with trading_desk(tmp_path) as desk, hearing(server) as ear:
        await desk.open()
        async with notifying(desk, server):
            await desk.trade(firing("a"))
            await ear.until(1)
        await desk.close("main")
        await desk.open()
        async with notifying(desk, server):
            await desk.trade(resolved("a"))
            assert await ear.until(2) == ["a:0", "a:1"]


async def test_a_kill_before_it_is_noted_repeats_it_once_under_the_same_id(tmp_path: Path, server: NatsServer) -> None:
    async with trading_desk(tmp_path) as desk, hearing(server) as ear:
        await desk.open()
        await desk.trade(firing("a"))
        desk.monitor().inbox.seal()  # nothing is noted any more, as after a kill
        async with notifying(desk, server):
            await ear.until(1)
        await desk.close("main")

        await desk.open()
        async with notifying(desk, server):
            assert await ear.until(2) == ["a:0", "a:0"]
            await eventually(lambda: noted(desk) == 2)
        await desk.close("main")
        await desk.open()
        async with notifying(desk, server):
            await desk.trade(resolved("a"))
            assert await ear.until(3) == ["a:0", "a:0", "a:1"]
    assert ear.alerts[0] == ear.alerts[1]


async def test_a_stream_keeps_what_was_repeated_once(tmp_path: Path, server: NatsServer) -> None:
    async with stream_of_alerts(server) as js, trading_desk(tmp_path) as desk:
        await desk.open()
        await desk.trade(firing("a"), resolved("a"))
        for _ in range(2):
            desk.monitor().inbox.seal()
            async with notifying(desk, server):
                await asyncio.sleep(0.3)
            await desk.close("main")
            await desk.open()
        assert (await js.stream_info("ALERTS")).state.messages == 2


async def test_an_account_may_come_and_go(tmp_path: Path, server: NatsServer) -> None:
    async with trading_desk(tmp_path) as desk, hearing(server) as ear, notifying(desk, server):
        await desk.open()
        await desk.open("alt")
        await desk.trade(firing("a"), account="alt")
        await ear.until(1)
        await desk.close("alt")
        await desk.trade(firing("b"))
        await ear.until(2)
        await desk.open("alt")
        await desk.trade(resolved("a"), account="alt")
        assert await ear.until(3) == ["a:0", "b:0", "a:1"]


async def test_a_service_that_is_killed_as_it_publishes_repeats_it_at_most_once(
    tmp_path: Path, server: NatsServer
) -> None:
    service = Service(tmp_path, server.url)
    client = await server.connect()
    async with hearing(server) as ear:
        await add_stream(client.jetstream())
        await asyncio.to_thread(service.start)
        await publish(client, [b"no fill"])
        await ear.until(1)
        service.kill()
        try:
            await asyncio.to_thread(service.start)
            await publish(client, [b"no fill either"])  # it is known already that there are such messages
            await asyncio.sleep(1.5)
            _, listed = await asyncio.to_thread(service.get, "/api/alerts")
        finally:
            await asyncio.to_thread(service.stop)
            await client.close()

    (alert,) = listed["alerts"]
    assert (alert["type"], alert["state"]) == ("MALFORMED_EVENT", "FIRING")
    assert ear.ids in ([f"{alert['id']}:0"], [f"{alert['id']}:0"] * 2)
    assert all(told == alert for told in ear.alerts)


async def test_switched_off_by_a_reload_what_fires_is_over_and_everybody_is_told(
    tmp_path: Path, server: NatsServer
) -> None:
    service = Service(tmp_path, server.url)
    client = await server.connect()
    async with hearing(server) as ear:
        await add_stream(client.jetstream())
        await asyncio.to_thread(service.start)
        try:
            await publish(client, [b"no fill"])
            await ear.until(1)
            service.document["alerts"] = {"enabled": "false"}
            service.write_config()
            await ear.until(2)
            _, listed = await asyncio.to_thread(service.get, "/api/alerts")
        finally:
            await asyncio.to_thread(service.stop)
            await client.close()

    assert [told["state"] for told in ear.alerts] == ["FIRING", "RESOLVED"]
    assert listed["alerts"] == ear.alerts[1:]
    reloaded = next(line for line in service.log_file.read_text().splitlines() if '"reloaded"' in line)
    assert json.loads(reloaded)["needs_restart"] == []
