"""The doors: how they open, what is answered before everything is there, and how they close."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from account_monitor.api import server
from account_monitor.api.publisher import Publisher
from account_monitor.api.server import Doors
from account_monitor.errors import ConfigurationError
from account_monitor.monitor.desk import Desk
from tests.integration.trading_desk import clock, get, listening, trading_desk

pytestmark = pytest.mark.integration


def doors(**more: object) -> Doors:
    return Doors(Desk(clock, "1"), **{"http_port": 0, "metrics_port": 0, **more})  # type: ignore[arg-type]


def taken_port() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


async def test_health_is_answered_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = doors()
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    monkeypatch.setattr(opened, "_complete", wait)
    await opened.start()
    try:
        for url in (opened.http_url, opened.metrics_url):
            assert (await get(url + "/health"))["status"] == "healthy"
            assert (await get(url + "/ready", status=503))["ready"] is False
        for url in (opened.http_url + "/api/accounts", opened.metrics_url + "/metrics"):
            assert (await get(url, status=503))["type"] == "/docs#starting"
    finally:
        gate.set()
        await opened.stop()


async def test_a_port_of_zero_is_any_and_the_real_one_is_told() -> None:
    opened = doors()
    await opened.start()
    try:
        await opened.complete()
        assert opened.http_url.startswith("http://127.0.0.1:")
        assert not opened.http_url.endswith(":0")
        assert await get(opened.http_url + "/api/accounts") == []
    finally:
        await opened.stop()


@pytest.mark.parametrize("section", ["http", "metrics"])
async def test_a_taken_port_is_named_with_what_to_change(section: str) -> None:
    listener, port = taken_port()
    opened = doors(**{f"{section}_port": port})

    with listener, pytest.raises(ConfigurationError) as refused:
        await opened.start()

    text = str(refused.value)
    assert f"127.0.0.1:{port}" in text
    assert f"{section}.port" in text
    assert f"ACCOUNT_MONITOR__{section.upper()}__PORT" in text
    assert "\n" not in text


async def test_when_one_port_is_taken_the_other_is_free_again() -> None:
    listener, taken = taken_port()
    other, free = taken_port()
    other.close()

    with listener, pytest.raises(ConfigurationError):
        await doors(http_port=free, metrics_port=taken).start()

    socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
async def test_a_host_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"http.*{host}"):
        await doors(http_host=host).start()


async def test_ipv6_is_served_where_there_is_any() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    opened = doors(http_host="::1")
    await opened.start()
    try:
        assert opened.http_url.startswith("http://[::1]:")
        assert await get(opened.http_url + "/health")
    finally:
        await opened.stop()


async def test_the_same_port_can_be_had_again_at_once() -> None:
    first = doors()
    await first.start()
    await get(first.http_url + "/health")
    port = int(first.http_url.rpartition(":")[2])
    await first.stop()

    second = doors(http_port=port)
    await second.start()
    try:
        assert await get(f"http://127.0.0.1:{port}/health")
    finally:
        await second.stop()


async def test_stopping_takes_its_leave_of_clients_within_two_seconds(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        await desk.open()
        async with listening(desk) as client:
            await client.next("snapshot")
            started = time.monotonic()

            await desk.doors.stop()

            assert time.monotonic() - started < 2.5
            async with asyncio.timeout(1):
                while (message := await client.socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
                    pass
            assert message.data == 1012  # service restart


async def test_signals_stay_with_the_process() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    opened = doors()
    await opened.start()
    during = signal.getsignal(signal.SIGINT)
    await opened.stop()

    assert during is before


async def test_what_the_publisher_dies_of_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Publisher) -> None:
        raise RuntimeError("no health")

    opened = doors()
    await opened.start()
    try:
        monkeypatch.setattr(Publisher, "_look_at_health", fail)
        with pytest.raises(RuntimeError, match="no health"):
            await asyncio.wait_for(opened.watch(), 5)
    finally:
        await opened.stop()


@pytest.mark.parametrize("listened", [0, 1])
async def test_a_server_that_dies_before_it_listens_is_raised_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, listened: int
) -> None:
    as_ever, begun = server._Server.startup, 0

    async def startup(self: server._Server, sockets: list[socket.socket] | None = None) -> None:
        nonlocal begun
        begun += 1
        if begun > listened:
            raise OSError("no descriptor is left")
        await as_ever(self, sockets)

    monkeypatch.setattr(server._Server, "startup", startup)
    listener, port = taken_port()
    listener.close()
    opened = doors(http_port=port)

    with pytest.raises(OSError, match="no descriptor is left"):
        await asyncio.wait_for(opened.start(), 5)

    socket.create_server(("127.0.0.1", port)).close()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
