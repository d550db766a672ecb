"""Heartbeat: a sign of life to a dead man's switch, which calls people when the signs stop."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog

from account_monitor.config.settings import AlertSettings
from account_monitor.errors import ConfigurationError
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status

INTERVAL_SECONDS: Final = 60.0

CALL_SECONDS: Final = 10.0
"""How long an answer may take."""

log = structlog.get_logger()


def heartbeat_url_of(alerts: AlertSettings) -> str | None:
    """Return the URL to call, None where none is configured. Raises: ConfigurationError, without the URL in it."""
    if alerts.heartbeat_url is None:
        return None
    url = alerts.heartbeat_url.reveal()
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or len(url.split()) != 1:
        key = "heartbeat_url_env" if alerts.heartbeat_url_file is None else "heartbeat_url_file"
        raise ConfigurationError(f"alerts.{key}: what it names is no URL that begins with http:// or https://")
    return url


class Heartbeat:
    """Calls a URL every minute, for as long as the service is not unhealthy; what cannot record does not live."""

    def __init__(self, desk: Desk, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self.url: str | None = None
        """Which one; None: nobody waits for a sign."""
        self.called = 0
        self.failed = 0
        self._desk = desk
        self._interval_seconds = interval_seconds
        self._is_failing = False

    async def run(self) -> None:
        """Call until cancelled."""
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
            while True:
                if self.url is not None and self._desk.health.status is not Status.UNHEALTHY:
                    await self._call(session, self.url)
                await asyncio.sleep(self._interval_seconds)

    async def _call(self, session: aiohttp.ClientSession, url: str) -> None:
        try:
            async with session.get(url) as answer:
                problem = None if answer.ok else f"answered {answer.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = "no answer" if isinstance(error, TimeoutError) else type(error).__name__  # its text has the URL
        if problem is None:
            self.called += 1
            if self._is_failing:
                log.info("heartbeat_heard_again")
        else:
            self.failed += 1
            if not self._is_failing:
                log.warning("heartbeat_not_heard", reason=problem)
        self._is_failing = problem is not None
