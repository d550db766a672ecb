"""Server: the two HTTP ports of the process, open from the first moment, complete a second later."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import cast

import structlog
import uvicorn

from account_monitor.api.access import Access, OpenAccess
from account_monitor.api.asgi import Application
from account_monitor.api.front import STATIC, Front
from account_monitor.api.guard import Guard
from account_monitor.api.listening import BACKLOG, listen, url_of
from account_monitor.api.metrics import Meter, Told
from account_monitor.api.protocol import StreamProtocol
from account_monitor.api.publisher import STALL_SECONDS, Publisher
from account_monitor.api.websocket import MAX_CLIENTS, StreamDoor
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status

STOP_SECONDS = 2
"""How long requests that are being answered may still take when the process stops."""

MAX_HEAD_BYTES = 16_384
"""Of a request: its first line and its headers."""

MAX_MESSAGE_BYTES = 4_096
"""Of what a WebSocket client sends: nothing is expected but pings."""

PING_SECONDS = 20
"""Between pings of the server, and how long the answer may take."""

log = structlog.get_logger()


class Doors:
    """REST, WebSocket, metrics and health of one desk."""

    def __init__(
        self,
        desk: Desk,
        *,
        http_host: str = "127.0.0.1",
        http_port: int = 8080,
        metrics_host: str = "127.0.0.1",
        metrics_port: int = 9093,
        metrics_path: str = "/metrics",
        allowed_origins: Iterable[str] = (),
        access: Access | None = None,
        metrics_need_token: bool = False,
        samples: Callable[[], Iterable[Told]] = lambda: (),
        max_clients: int = MAX_CLIENTS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """`access` says who may come in; without it everyone may, so bind to loopback then. The metrics are for all
        who reach their port unless `metrics_need_token`.

        `samples` adds what feeds and stores know to the metrics; it is called in the event loop at each scrape.

        `max_clients` may listen on `/ws`; one that takes nothing for `stall_seconds` is cut off.
        """
        self._desk = desk
        self._http = (http_host, http_port)
        self._metrics = (metrics_host, metrics_port)
        self._metrics_path = metrics_path
        self._meter = Meter(desk, samples)
        self.publisher = Publisher(desk, stall_seconds=stall_seconds)
        origins = tuple(allowed_origins)
        access = access or OpenAccess()
        sockets = {"/ws": StreamDoor(desk, self.publisher, access, max_clients=max_clients)}
        self._front = Front(desk, Guard(http_host, origins), access, sockets, open_paths=STATIC)
        self._metrics_front = Front(
            desk, Guard(metrics_host, origins), access, asks_for_token=metrics_need_token, is_for_all=True
        )
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.http_url = ""
        self.metrics_url = ""

    async def start(self) -> None:
        """Return when both ports listen and health is answered; the rest follows within a second.

        Raises: ConfigurationError for a port that cannot be had.
        """
        http = await listen(*self._http, "http")
        try:
            metrics = await listen(*self._metrics, "metrics")
        except BaseException:
            _close(http)
            raise
        self.http_url = url_of(http[0], self._http[0])
        self.metrics_url = url_of(metrics[0], self._metrics[0])
        self.publisher.start()
        await self._serve(self._front, http)
        await self._serve(self._metrics_front, metrics)
        self._completion = asyncio.create_task(self._complete(), name="doors")
        self._tasks.append(self._completion)

    async def stop(self) -> None:
        """Take no more requests, finish those that are being answered, close the sockets of clients."""
        await self.publisher.stop()
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._servers.clear()
        self._tasks.clear()

    async def complete(self) -> None:
        """Return when everything is answered, not only health."""
        await asyncio.shield(self._completion)

    async def watch(self) -> None:
        """Raise what a part of the doors died of; for ever otherwise."""
        running = [task for task in self._tasks if task is not self._completion]
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        await asyncio.Event().wait()  # they end in good order only when the process does

    async def _serve(self, application: Application, sockets: list[socket.socket]) -> None:
        server = _Server(_settings(application))
        self._servers.append(server)
        self._tasks.append(asyncio.create_task(server.serve(sockets=sockets), name="http"))
        await server.listens.wait()

    async def _complete(self) -> None:
        """Import the frameworks, which takes most of a second, in a thread."""
        try:
            self._metrics_front.inner = await asyncio.to_thread(self._make_metrics)
            self._front.inner = await asyncio.to_thread(self._make_rest)
        except Exception as error:
            log.exception("doors_incomplete")
            self._desk.health.report("http", Status.UNHEALTHY, f"REST and metrics cannot be served: {error}")

    def _make_metrics(self) -> Application:
        exposition = import_module("account_monitor.api.exposition")
        return cast(Application, exposition.Exposition(self._meter, self._metrics_path))

    def _make_rest(self) -> Application:
        rest = import_module("account_monitor.api.rest")
        return cast(Application, rest.rest_application(self._desk))


class _Server(uvicorn.Server):
    """Runs inside the loop of the process, whose signals are not its business."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _settings(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http="h11",
        ws=StreamProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )


def _close(sockets: list[socket.socket]) -> None:
    for opened in sockets:
        opened.close()
