"""Stage: everything that the demonstration consists of, put together, started and stopped."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from account_monitor.app import App
from account_monitor.clock import now_ms
from account_monitor.config import Settings, load_settings
from account_monitor.demo.audit import Auditor
from account_monitor.demo.exchange import BackDoor, SimulatedExchange
from account_monitor.demo.execution import ExecutionService
from account_monitor.demo.mishaps import Mischief
from account_monitor.demo.nats_server import EmbeddedNatsServer
from account_monitor.logs import configure_logging

ACCOUNT = "demo"
CONFIG_FILE = "config.yaml"
KEY_VARIABLES = ("DEMO_API_KEY", "DEMO_SECRET_KEY")
"""Variables of the demonstration alone: what is in the real environment is no business of a simulated exchange."""

_LOOK_SECONDS = 0.1
_MOST_NEWS = 100


class Stage:
    """One run of the demonstration, in a folder of its own: the simulated exchange begins anew each time."""

    def __init__(self, folder: Path, *, seed: int, http_port: int, grpc_port: int, metrics_port: int) -> None:
        self.folder = folder
        self.account = ACCOUNT
        self.news: deque[str] = deque(maxlen=_MOST_NEWS)
        """What went wrong and was healed, the youngest last; whoever shows it takes it out."""
        self.exchange = SimulatedExchange(folder, seed)
        self.nats = EmbeddedNatsServer(folder / "nats")
        self.app: App
        self.auditor: Auditor
        self._seed = seed
        self._http_port = http_port
        self._grpc_port = grpc_port
        self._metrics_port = metrics_port

    async def play(self, show: Callable[[Stage], Coroutine[Any, Any, None]], *, minutes: float | None = None) -> None:
        """Run until a signal, or for so long; `show` runs beside it, and is cancelled at the end."""
        try:
            await self.nats.start()
            await self.exchange.start()
            settings = self._settings()
            with (self.folder / "service.log").open("a") as log_file:
                configure_logging(settings.logging, log_file)
                await self._run(settings, show, minutes)
        finally:
            await asyncio.gather(self.nats.stop(), self.exchange.stop())

    async def _run(
        self, settings: Settings, show: Callable[[Stage], Coroutine[Any, Any, None]], minutes: float | None
    ) -> None:
        self.app = app = App(settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, app.stop)
        if minutes is not None:
            loop.call_later(minutes * 60, app.stop)
        async with aiohttp.ClientSession() as session:
            back_door = BackDoor(session, self.exchange)
            self.auditor = Auditor(back_door, lambda: app.desk.monitor(ACCOUNT))
            app.spawn("nats-server", self.nats.keep_running())
            app.spawn("simulator", self.exchange.watch())
            app.spawn("audit", self.auditor.run())
            app.spawn("execution", self._trade(session, back_door))
            app.spawn("screen", show(self))
            await app.run()

    async def _trade(self, session: aiohttp.ClientSession, back_door: BackDoor) -> None:
        """Once the account is adopted, publish its fills, and let things go wrong."""
        while self.app.desk.unready is not None:  # noqa: ASYNC110  # it is not the demonstration's to be told
            await asyncio.sleep(_LOOK_SECONDS)
        monitor = self.app.desk.monitor(ACCOUNT)
        assert monitor is not None, "what is ready has a view"
        execution = ExecutionService(session, self.exchange, self.nats.url, ACCOUNT, now_ms)
        mischief = Mischief(
            back_door, monitor, self.auditor, seed=self._seed, clock=now_ms, say=self.news.append
        )  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(execution.run())
            tasks.create_task(mischief.run())

    def _settings(self) -> Settings:
        """Write the configuration that this run has, and read it like any other."""
        key, secret = KEY_VARIABLES
        document = {
            "service": {"data_dir": str(self.folder)},
            "grpc": {"port": str(self._grpc_port)},
            "http": {"port": str(self._http_port)},
            "metrics": {"port": str(self._metrics_port)},
            "accounts": [
                {
                    "name": ACCOUNT,
                    "exchange": "binance-usdm",
                    "api_key_env": key,
                    "secret_key_env": secret,
                    "rest_url": self.exchange.rest_url,
                    "websocket_url": self.exchange.websocket_url,
                    "websocket": {"reconnect_interval": "500ms", "ping_interval": "2s", "timeout": "8s"},
                }
            ],
            "pubsub": {"nats": {"url": self.nats.url}},
        }
        file = self.folder / CONFIG_FILE
        file.write_text(json.dumps(document, indent=2) + "\n")  # JSON is YAML
        return load_settings(file, {key: self.exchange.api_key, secret: self.exchange.secret})
