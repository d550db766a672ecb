"""How long does `GetPosition` take while 500 fills/s flow, and how near is its rate to that of an empty handler?

The service runs as users run it, in a process of its own; so does the empty handler, on the same kind of event loop
(uvloop). Callers and NATS server share the two cores with them. What a call costs its server is told in processor time,
too: the rate is also that of the callers, which are written in Python.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import grpc.aio
import psutil
import uvloop

from account_monitor.v1 import account_monitor_pb2 as v1
from benchmarks.fills import fills, message
from benchmarks.histogram import histogram, shares
from tests.integration.nats_server import NatsServer, add_stream
from tests.integration.service import Service, free_port

PER_SECOND = 500
SECONDS = 20
ROUNDS = 5
ROUND_SECONDS = 3.0
AT_ONCE = 32
"""Calls that a caller has open when it asks as fast as it can."""

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
POSITION = "/account_monitor.v1.AccountMonitor/GetPosition"
REQUEST = v1.GetPositionRequest(account="main", symbol="BTCUSDT").SerializeToString()

EMPTY = textwrap.dedent(
    """
    import sys, grpc, uvloop

    async def main():
        async def answer(body, context):
            return b""
        server = grpc.aio.server()
        method = {"GetPosition": grpc.unary_unary_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("account_monitor.v1.AccountMonitor", method),)
        )
        server.add_insecure_port(sys.argv[1])
        await server.start()
        await server.wait_for_termination()

    uvloop.run(main())
    """
)


class Saturated(NamedTuple):
    """What one server did while it was asked as fast as could be."""

    per_second: float
    cost_us: float
    """Processor time of the server for each call."""


class Empty(NamedTuple):
    """The process of the empty handler."""

    port: int
    pid: int


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats", flushes=False) as server:
        service = Service(Path(folder), server.url)
        service.document["grpc"]["max_connections"] = "1000"  # where the machine stands still, calls pile up
        uvloop.run(_prepare(server))
        service.start()
        try:
            with _empty_handler() as empty:
                ours, theirs = uvloop.run(_beside_fills(server, service, empty.port))
                print(f"{len(ours)} GetPosition beside {PER_SECOND} fills/s: {shares(ours)}", histogram(ours), sep="\n")
                print(f"meanwhile {len(theirs)} calls of the empty handler: {shares(theirs)}")
                _compare(service, empty)
        finally:
            service.stop()


async def _prepare(server: NatsServer) -> None:
    client = await server.connect()
    await add_stream(client.jetstream())
    await client.close()


@contextmanager
def _empty_handler() -> Iterator[Empty]:
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", EMPTY, f"127.0.0.1:{port}"]) as process:
        try:
            yield Empty(port, process.pid)
        finally:
            process.kill()


# -- at 500 calls a second -----------------------------------------------------------------------------------------


async def _beside_fills(server: NatsServer, service: Service, empty_port: int) -> tuple[list[float], list[float]]:
    """Return how many milliseconds calls of the service took, and those of the empty handler, a tenth as many: what
    these take is the machine's.
    """
    client = await server.connect()
    publishing = asyncio.create_task(_publish(client))
    ours: list[float] = []
    theirs: list[float] = []
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel,
        grpc.aio.insecure_channel(f"127.0.0.1:{empty_port}") as empty_channel,
    ):
        call: Any = channel.unary_unary(POSITION)
        empty_call: Any = empty_channel.unary_unary(POSITION)
        await asyncio.sleep(1)  # until there is a position

        async def ask(call: Any, taken: list[float]) -> None:
            started = time.perf_counter()
            await call(REQUEST, wait_for_ready=True)
            taken.append((time.perf_counter() - started) * 1000)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            for number in range(PER_SECOND * SECONDS):
                await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
                calls.create_task(ask(call, ours))
                if number % 10 == 5:
                    calls.create_task(ask(empty_call, theirs))
    await publishing
    await client.close()
    return sorted(ours), sorted(theirs)


async def _publish(client: Any) -> None:
    started = time.perf_counter()
    for number, fill in enumerate(fills(PER_SECOND * (SECONDS + 2), symbols=SYMBOLS)):
        payload = message(fill)
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
        await client.publish("trading.fills.main", payload)


# -- as fast as can be ---------------------------------------------------------------------------------------------


def _compare(service: Service, empty: Empty) -> None:
    """Ask both servers in turn."""
    assert service.process is not None
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(uvloop.run(_saturate(empty.port, empty.pid)))
        ours.append(uvloop.run(_saturate(service.grpc_port, service.process.pid)))
    for name, rounds in (("empty handler", theirs), ("GetPosition", ours)):
        rate, cost = median(each.per_second for each in rounds), median(each.cost_us for each in rounds)
        print(f"{name}: {rate:,.0f}/s, {cost:.0f} µs of the server's processor time a call")
    rates = [our.per_second / their.per_second for our, their in zip(ours, theirs, strict=True)]
    costs = [their.cost_us / our.cost_us for our, their in zip(ours, theirs, strict=True)]
    print(f"ratio of rates: {json.dumps([round(each, 2) for each in rates])}, median {median(rates):.2f}")
    print(f"ratio by processor time: {json.dumps([round(each, 2) for each in costs])}, median {median(costs):.2f}")


async def _saturate(port: int, pid: int) -> Saturated:
    process = psutil.Process(pid)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(POSITION)
        await call(REQUEST, wait_for_ready=True)
        count, started, before = 0, time.perf_counter(), sum(process.cpu_times()[:2])

        async def ask_on() -> None:
            nonlocal count
            while time.perf_counter() - started < ROUND_SECONDS:
                await call(REQUEST)
                count += 1

        await asyncio.gather(*(ask_on() for _ in range(AT_ONCE)))
        seconds, used = time.perf_counter() - started, sum(process.cpu_times()[:2]) - before
    return Saturated(count / seconds, used / count * 1e6)
