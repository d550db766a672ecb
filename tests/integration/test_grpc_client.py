"""The typed client, sync and async: what it returns, how it fails, and that it watches on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import FrozenInstanceError, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from account_monitor import client
from account_monitor.api.access import OpenAccess
from account_monitor.api.descriptors import Descriptors
from account_monitor.api.grpc.door import GrpcDoor
from account_monitor.api.tls import Certificates
from account_monitor.client import AsyncClient, Change, Client, Place, Tls
from account_monitor.client.facts import AccountState, Position, PositionUpdate
from account_monitor.monitor.reports import time_text
from account_monitor.v1 import account_monitor_pb2 as v1
from tests.certificates import Authority
from tests.integration.service import free_port
from tests.integration.trading_desk import TradingDesk, eventually, get, trading_desk

pytestmark = pytest.mark.integration


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, grpc_port=0) as opened:
        await opened.open(snapshot_seconds=0.0)
        yield opened


def door_of(desk: TradingDesk, **place: Any) -> GrpcDoor:
    """Make another gRPC door of a desk."""
    return GrpcDoor(desk.desk, desk.doors.publisher, desk.doors.renderer, Descriptors(with_grpc=True), **place)


def as_rest(fact: Any) -> Any:
    """Return a fact as REST would show it."""
    if is_dataclass(fact):
        return {field.name.rstrip("_"): as_rest(getattr(fact, field.name)) for field in fields(fact)}
    if isinstance(fact, Decimal):
        return f"{fact:f}"
    if isinstance(fact, datetime):
        return time_text(round(fact.timestamp() * 1000))
    if isinstance(fact, tuple):
        return [as_rest(each) for each in fact]
    return {key: as_rest(fact[key]) for key in fact} if hasattr(fact, "items") else fact


async def test_answers_are_those_of_rest_as_numbers_and_times(desk: TradingDesk) -> None:
    await desk.trade(
        desk.fill("BUY", "0.30000000000000004", at="100.10"),
        desk.fill("SELL", "1", position_side="SHORT", symbol="ETHUSDT", fee=None, fee_asset=None),
    )
    await desk.remember()
    url = desk.doors.http_url
    async with AsyncClient(desk.doors.grpc_address) as monitor:
        state = await monitor.account_state()
        assert {**as_rest(state), "timestamp": ""} == {**await get(url + "/api/account"), "timestamp": ""}
        assert as_rest(await monitor.positions()) == await get(url + "/api/positions")
        assert as_rest(await monitor.pnl("main")) == await get(url + "/api/pnl")
        assert as_rest(await monitor.balances()) == await get(url + "/api/balance")
        history = await monitor.pnl_history(interval="1m", from_=state.timestamp - timedelta(minutes=10))
        assert history.buckets[-1].last.realized_pnl == 0
        position = await monitor.position("BTCUSDT")
        assert position.quantity == Decimal("0.30000000000000004")
        assert position.last_update is not None
        assert position.last_update.tzinfo is UTC
        with pytest.raises(FrozenInstanceError):
            position.quantity = Decimal(1)  # type: ignore[misc]
        with pytest.raises(TypeError):
            position.fees["USDT"] = Decimal(1)  # type: ignore[index]


async def test_the_sync_client_answers_the_same(desk: TradingDesk) -> None:
    await desk.trade(desk.fill())

    def ask() -> tuple[AccountState, Position, Any, Any, Any]:
        with Client(desk.doors.grpc_address) as monitor:
            return (
                monitor.account_state(), monitor.position("BTCUSDT"), monitor.positions(), monitor.balances(),
                monitor.pnl(),
            )  # fmt: skip

    state, position, positions, balances, pnl = await asyncio.to_thread(ask)
    assert state.positions["BTCUSDT"] == position == positions["BTCUSDT"]
    assert (state.balances, state.pnl) == (balances, pnl)


async def test_refusals_are_errors_of_their_kind(desk: TradingDesk) -> None:
    async with AsyncClient(desk.doors.grpc_address) as monitor:
        with pytest.raises(client.NotFound, match="never held 'SOLUSDT'"):
            await monitor.position("SOLUSDT")
        with pytest.raises(client.InvalidArgument, match="symbol: must be given"):
            await monitor.position("")
        with pytest.raises(client.NotFound, match="unknown 'other'"):
            await anext(monitor.watch("other"))
        with pytest.raises(ValueError, match="expected a time with a time zone"):
            await monitor.pnl_history(to=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the mistake
    async with AsyncClient(f"127.0.0.1:{free_port()}", timeout=2) as nobody:
        with pytest.raises(client.Unavailable):
            await nobody.pnl()


async def test_watching_keeps_a_copy_true(desk: TradingDesk) -> None:
    held: dict[str, Position] = {}
    async with AsyncClient(desk.doors.grpc_address) as monitor:
        changes = monitor.watch(interval=0.05)
        await _take(changes, held, 1)
        await desk.trade(*(desk.fill(symbol=f"S{number % 3}USDT") for number in range(9)))
        async with asyncio.timeout(5):
            while sum(position.fill_count for position in held.values()) < 9:
                await _take(changes, held, 1)
        assert held == await monitor.positions()
        await changes.aclose()  # type: ignore[attr-defined]


async def _take(changes: AsyncIterator[Change], held: dict[str, Position], count: int) -> None:
    for _ in range(count):
        match (await anext(changes)).data:
            case AccountState() as state:
                held.clear()
                held.update(state.positions)
            case PositionUpdate() as update:
                held[update.key] = update.position
            case _:
                pass


async def test_a_watcher_says_why_it_hears_nothing(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path)
    certificates = Certificates(authority.issue("127.0.0.1"), "grpc.tls")
    trusted, untrusted = Tls(ca=authority.write()), Tls(ca=other.write("other"))
    async with trading_desk(tmp_path, grpc_port=0, grpc_certificates=certificates) as desk:
        await desk.open()
        address = desk.doors.grpc_address
        async with AsyncClient(address, tls=trusted) as monitor:
            assert (await anext(monitor.watch())).kind == "snapshot"
        for where, tls, patience, said in (
            (address, untrusted, None, r"the certificate there is not trusted; expected tls=Tls\(ca=\.\.\.\)"),
            (f"localhost:{address.rpartition(':')[2]}", trusted, None, "the certificate there is for another name"),
            (address, None, 0.3, "nothing was heard for 0.3 s: .*Socket closed; a port of TLS closes"),
            (f"127.0.0.1:{free_port()}", None, 0.3, "nothing was heard for 0.3 s: .*Connection refused"),
        ):
            async with asyncio.timeout(5), AsyncClient(where, tls=tls) as monitor:
                with pytest.raises(client.Unavailable, match=said):
                    await anext(monitor.watch(patience=patience))
            with pytest.raises(client.Unavailable, match=said):
                await asyncio.to_thread(_first, where, tls, patience)
    async with (
        trading_desk(tmp_path, grpc_port=0) as desk,
        AsyncClient(desk.doors.grpc_address, tls=trusted) as monitor,
    ):
        with pytest.raises(client.Unavailable, match="no TLS is spoken there; expected no tls="):
            await asyncio.wait_for(anext(monitor.watch(patience=None)), 5)


def _first(address: str, tls: Tls | None, patience: float | None) -> Change:
    with Client(address, tls=tls) as monitor:
        return next(monitor.watch(patience=patience))


async def test_a_watcher_is_told_of_a_cut_and_by_the_next_message_that_it_is_over(tmp_path: Path) -> None:
    place: dict[str, Any] = {"host": "127.0.0.1", "port": free_port(), "max_connections": 10, "access": OpenAccess()}
    async with trading_desk(tmp_path) as desk:
        await desk.open()
        door = GrpcDoor(desk.desk, desk.doors.publisher, **place)
        await door.reserve()
        await door.open()
        async with asyncio.timeout(30), AsyncClient(f"127.0.0.1:{place['port']}") as monitor:
            changes = monitor.watch(interval=0.05)
            while (await anext(changes)).kind != "health":
                pass
            heard = datetime.now(UTC)
            await door.close(0.5)
            cut = await anext(changes)
            assert isinstance(cut.data, client.Disconnected)
            assert "UNAVAILABLE: the service stops" in cut.data.reason
            assert cut.data.since <= heard
            door = GrpcDoor(desk.desk, desk.doors.publisher, **place)
            await door.reserve()
            await door.open()
            while (change := await anext(changes)).kind != "health":  # nobody trades: that is told nevertheless
                assert change.kind != "snapshot"
                if isinstance(change.data, client.Disconnected):
                    assert change.data.since == cut.data.since
            await changes.aclose()  # type: ignore[attr-defined]
        await door.close(0.5)


@pytest.mark.slow
async def test_a_watcher_outlives_the_service_and_hears_every_fill_once(tmp_path: Path) -> None:
    """Twice the doors close and open again on the same port, while the account trades on."""
    port = free_port()
    place: dict[str, Any] = {"host": "127.0.0.1", "port": port, "max_connections": 10, "access": OpenAccess()}
    async with trading_desk(tmp_path) as desk:
        await desk.open()
        door = door_of(desk, **place)
        await door.reserve()
        await door.open()
        heard: list[str] = []
        kinds: list[str] = []

        async def follow() -> None:
            async with AsyncClient(f"127.0.0.1:{port}") as monitor:
                async for change in monitor.watch(interval=0.05):
                    kinds.append(change.kind)
                    if change.kind == "fill":
                        heard.append(change.data.id)  # type: ignore[union-attr]

        following = asyncio.create_task(follow())
        async with asyncio.timeout(60):
            await eventually(lambda: "snapshot" in kinds, timeout_seconds=20)
            await desk.trade(desk.fill(), desk.fill())
            for _ in range(2):
                await door.close(0.5)
                await desk.trade(desk.fill(), desk.fill())
                door = door_of(desk, **place)
                await door.reserve()
                await door.open()
            await desk.trade(desk.fill())
            await eventually(lambda: len(heard) >= 7, timeout_seconds=20)
        following.cancel()
        await door.close(0.5)
        assert heard == [str(number) for number in range(1, 8)]
        assert kinds.count("snapshot") == 1


async def test_the_sync_watcher_can_be_stopped_from_another_thread(desk: TradingDesk) -> None:
    taken: list[str] = []

    def follow() -> None:
        with Client(desk.doors.grpc_address) as monitor:
            for change in monitor.watch(interval=0.05):
                taken.append(change.kind)
                if change.kind == "fill":
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    await eventually(lambda: "snapshot" in taken, timeout_seconds=20)
    await desk.trade(desk.fill())
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


async def test_a_place_can_be_kept_and_resumed_from(desk: TradingDesk) -> None:
    async with AsyncClient(desk.doors.grpc_address) as monitor:
        first = await anext(monitor.watch())
        assert first.place == Place(1, 1)
        await desk.trade(desk.fill())
        async with asyncio.timeout(5):
            async for change in monitor.watch(since=first.place, interval=0.05):
                assert change.kind != "snapshot"
                if change.kind == "fill":
                    return


def test_importing_the_client_imports_nothing_of_the_service() -> None:
    script = "import sys, account_monitor.client; print([m for m in sys.modules if m.startswith('account_monitor.')])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    rooms = {name.split(".")[1] for name in eval(ran.stdout)}  # noqa: S307  # a list that we printed
    assert rooms == {"client", "v1"}
    assert "litestar" not in ran.stdout


MESSAGES = sorted(v1.DESCRIPTOR.message_types_by_name)


@pytest.mark.parametrize("name", [n for n in MESSAGES if hasattr(client, n)])
def test_a_fact_has_the_fields_of_its_message(name: str) -> None:
    fact, message = getattr(client, name), v1.DESCRIPTOR.message_types_by_name[name]
    if name == "Place":
        assert Place._fields == tuple(field.name for field in message.fields)
    else:
        assert [field.name.rstrip("_") for field in fields(fact)] == [field.name for field in message.fields]


def test_every_message_that_is_told_has_a_fact() -> None:
    missing = {name for name in MESSAGES if not hasattr(client, name)}
    assert {name for name in missing if not name.endswith(("Request", "Response"))} == set()
