"""Server: the ports of the process, HTTP open from the first moment, complete with gRPC a second later."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from typing import cast

import structlog
import uvicorn

from account_monitor.api.accepting import TlsListener
from account_monitor.api.access import Access, OpenAccess
from account_monitor.api.asgi import OVER_TLS, Application
from account_monitor.api.descriptors import Descriptors
from account_monitor.api.front import STATIC, Front
from account_monitor.api.grpc.door import GrpcDoor
from account_monitor.api.guard import Guard
from account_monitor.api.listening import BACKLOG, listen, url_of
from account_monitor.api.metrics import Meter, Sample, Told
from account_monitor.api.page import Page
from account_monitor.api.protocol import IDLE_SECONDS, REQUEST_SECONDS, Connections, HttpProtocol, StreamProtocol
from account_monitor.api.publisher import MAX_CLIENTS, STALL_SECONDS, Publisher
from account_monitor.api.renderer import Renderer
from account_monitor.api.tls import LOOK_SECONDS, Certificates, grpc_credentials
from account_monitor.api.turnstile import MAX_CONNECTIONS, MAX_PER_ADDRESS, Turnstile
from account_monitor.api.websocket import StreamDoor
from account_monitor.errors import ConfigurationError
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
    """REST, WebSocket, gRPC, metrics and health of one desk."""

    def __init__(
        self,
        desk: Desk,
        *,
        http_host: str = "127.0.0.1",
        http_port: int = 8080,
        metrics_host: str = "127.0.0.1",
        metrics_port: int = 9093,
        metrics_path: str = "/metrics",
        grpc_host: str = "127.0.0.1",
        grpc_port: int | None = None,
        grpc_max_connections: int = 100,
        allowed_origins: Iterable[str] = (),
        access: Access | None = None,
        metrics_need_token: bool = False,
        shows_page: bool = True,
        samples: Callable[[], Iterable[Told]] = lambda: (),
        max_clients: int = MAX_CLIENTS,
        stall_seconds: float = STALL_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
        max_connections_per_address: int = MAX_PER_ADDRESS,
        http_certificates: Certificates | None = None,
        grpc_certificates: Certificates | None = None,
    ) -> None:
        """`access` says who may come in; without it everyone may, so bind to loopback then. The metrics are for all
        who reach their port unless `metrics_need_token`.

        `samples` adds what feeds and stores know to the metrics; it is called in the event loop at each scrape.

        `max_clients` may listen, on `/ws` and over gRPC together; one that takes nothing for `stall_seconds` is cut
        off. `grpc_port` None: without gRPC. Certificates None: without TLS.
        """
        self._desk = desk
        self._http = (http_host, http_port)
        self._metrics = (metrics_host, metrics_port)
        self._metrics_path = metrics_path
        self._certificates = http_certificates
        watched = dict.fromkeys(each for each in (http_certificates, grpc_certificates) if each is not None)
        self._watched = list(watched)  # one, where both doors show the same
        self._descriptors = Descriptors(with_grpc=grpc_port is not None)
        self._limits = (max_connections, max_connections_per_address)
        self.publisher = Publisher(desk, stall_seconds=stall_seconds, max_clients=max_clients)
        self.renderer = Renderer()
        access = access or OpenAccess()
        self._grpc: GrpcDoor | None = None
        if grpc_port is not None:
            self._grpc = GrpcDoor(
                desk,
                self.publisher,
                self.renderer,
                self._descriptors,
                host=grpc_host,
                port=grpc_port,
                max_connections=grpc_max_connections,
                access=access,
                credentials=None if grpc_certificates is None else partial(grpc_credentials, grpc_certificates),
            )
        self._meter = Meter(desk, lambda: (*samples(), *self._grpc_samples(), *self._expiries()))
        origins = tuple(allowed_origins)
        sockets = {"/ws": StreamDoor(desk, self.publisher, access)}
        self._front = Front(
            desk, Guard(http_host, origins), access, sockets, page=Page() if shows_page else None, open_paths=STATIC
        )
        self._metrics_front = Front(
            desk, Guard(metrics_host, origins), access, asks_for_token=metrics_need_token, is_for_all=True
        )
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._is_stopping = False
        self.http_url = ""
        self.metrics_url = ""

    async def start(self) -> None:
        """Return when all ports are taken and health is answered; the rest follows within a second.

        Raises: ConfigurationError naming every port that cannot be had; whatever a server dies of before it listens.
        Nothing is left open then.
        """
        http, metrics = await self._take_ports()
        opened = [*http, *metrics]
        tls = self._certificates
        self.http_url = url_of(http[0], self._http[0], is_tls=tls is not None)
        self.metrics_url = url_of(metrics[0], self._metrics[0])
        self._tasks.append(self.publisher.start())
        try:
            await self._serve(self._front, http, self._descriptors.of_http, tls)
            await self._serve(self._metrics_front, metrics, self._descriptors.of_metrics)
        except BaseException:
            await self.stop()
            _close(opened)
            raise
        if self._watched:
            self._watching = asyncio.create_task(self._watch_certificates(self._watched), name="certificates")
            self._tasks.append(self._watching)
        self._completion = asyncio.create_task(self._complete(), name="doors")
        self._tasks.append(self._completion)

    async def _take_ports(self) -> tuple[list[socket.socket], list[socket.socket]]:
        """Return what listens for HTTP and for metrics; gRPC keeps its own.

        Raises: ConfigurationError naming every port that cannot be had; none is left taken then.
        """
        taken: list[list[socket.socket]] = []
        refused: list[ConfigurationError] = []
        async with contextlib.AsyncExitStack() as opened:
            for place, section in ((self._http, "http"), (self._metrics, "metrics")):
                try:
                    taken.append(await listen(*place, section))
                    opened.callback(_close, taken[-1])
                except ConfigurationError as error:
                    refused.append(error)
            if self._grpc is not None:
                opened.push_async_callback(self._grpc.close, 0)
                try:
                    await self._grpc.reserve()
                except ConfigurationError as error:
                    refused.append(error)
            if refused:
                raise ConfigurationError("; ".join(map(str, refused))) from refused[0]
            opened.pop_all()
        http, metrics = taken
        return http, metrics

    async def stop(self) -> None:
        """Take no more requests, finish those that are being answered, close the sockets of clients."""
        self._is_stopping = True
        await self.publisher.stop()
        if self._watching is not None:
            self._watching.cancel()
        for server in self._servers:
            server.should_exit = True
        closing = [] if self._grpc is None else [self._grpc.close(STOP_SECONDS)]
        await asyncio.gather(*self._tasks, *closing, return_exceptions=True)
        self.renderer.close()
        self._servers.clear()
        self._tasks.clear()

    async def complete(self) -> None:
        """Return when everything is answered, not only health."""
        await asyncio.shield(self._completion)

    @property
    def grpc_address(self) -> str:
        """Where clients of gRPC connect to; empty where it is not served."""
        return "" if self._grpc is None else self._grpc.address

    def _grpc_samples(self) -> list[Told]:
        return [] if self._grpc is None else self._grpc.samples()

    async def watch(self) -> None:
        """Raise what a part of the doors died of; for ever otherwise."""
        running = [task for task in self._tasks if task is not self._completion]
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        await asyncio.Event().wait()  # they end in good order only when the process does

    async def _serve(
        self,
        application: Application,
        sockets: list[socket.socket],
        descriptors: Callable[[], int],
        tls: Certificates | None = None,
    ) -> None:
        turnstile = Turnstile(*self._limits, descriptors)
        server = _Server(_settings(application, is_tls=tls is not None), turnstile, tls)
        self._servers.append(server)
        serving = asyncio.create_task(server.serve(sockets=sockets), name="http")
        self._tasks.append(serving)
        listening = asyncio.create_task(server.listens.wait(), name="listening")
        try:
            await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
        if not server.listens.is_set():
            await serving  # raises what it died of
            raise RuntimeError("a server of HTTP ended before it listened")

    async def _watch_certificates(self, watched: list[Certificates]) -> None:
        """Take over certificates whose files change, and say of each what is wrong, or about to be."""
        while True:
            for certificates in watched:
                await asyncio.to_thread(certificates.look)
            now_ms = self._desk.clock()
            told = [text for each in watched for text in (each.problem, each.expiry_text(now_ms)) if text is not None]
            status = Status.DEGRADED if told else Status.HEALTHY
            self._desk.health.report("tls", status, "; ".join(told) or "the certificate is valid")
            await asyncio.sleep(LOOK_SECONDS)

    def _expiries(self) -> list[Sample]:
        now_ms = self._desk.clock()
        return [
            Sample(
                "tls_certificate_expires_seconds", "Until the certificate that a door shows expires; below 0: since.",
                "gauge", (each.expires_ms - now_ms) / 1000, {"section": each.section},
            )
            for each in self._watched
        ]  # fmt: skip

    async def _complete(self) -> None:
        """Import the frameworks, which takes most of a second, in a thread."""
        try:
            self._metrics_front.inner = await asyncio.to_thread(self._make_metrics)
            self._front.inner = await asyncio.to_thread(self._make_rest)
        except Exception as error:
            log.exception("doors_incomplete")
            self._desk.health.report("http", Status.UNHEALTHY, f"REST and metrics cannot be served: {error}")
        await self._open_grpc()

    async def _open_grpc(self) -> None:
        if self._grpc is None or self._is_stopping:
            return
        try:
            await self._grpc.open()
        except Exception as error:
            log.exception("grpc_not_open")
            self._desk.health.report("grpc", Status.UNHEALTHY, f"gRPC cannot be served: {error}")

    def _make_metrics(self) -> Application:
        exposition = import_module("account_monitor.api.exposition")
        return cast(Application, exposition.Exposition(self._meter, self._metrics_path))

    def _make_rest(self) -> Application:
        rest = import_module("account_monitor.api.rest")
        return cast(Application, rest.rest_application(self._desk, self.renderer))


class _Server(uvicorn.Server):
    """Runs inside the loop of the process, whose signals are not its business."""

    server_state: Connections  # type: ignore[mutable-override]  # made here

    def __init__(self, config: uvicorn.Config, turnstile: Turnstile, tls: Certificates | None) -> None:
        super().__init__(config)
        self.server_state = Connections(turnstile)
        self.listens = asyncio.Event()
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. uvicorn's own would leave a client a minute for the handshake of TLS, and not count it meanwhile."""
        assert sockets is not None
        if self._tls is None:
            loop = asyncio.get_running_loop()
            self.servers = [await loop.create_server(self._protocol, sock=each, backlog=BACKLOG) for each in sockets]
        else:
            turnstile, context = self.server_state.turnstile, self._tls.context
            accepting = TlsListener(sockets, self._protocol, context, turnstile, handshake_seconds=REQUEST_SECONDS)
            self.servers = [cast(asyncio.Server, accepting)]  # of which uvicorn wants no more than to close it
        self.started = True
        self.listens.set()

    def _protocol(self, place: socket.socket | None = None) -> HttpProtocol:
        return HttpProtocol(self.config, self.server_state, {}, place=place)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _settings(application: Application, *, is_tls: bool) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=HttpProtocol,
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
        headers=[(name.decode(), value.decode()) for name, value in OVER_TLS] if is_tls else [],
        timeout_keep_alive=IDLE_SECONDS,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )


def _close(sockets: list[socket.socket]) -> None:
    for opened in sockets:
        opened.close()
