"""The heartbeat: it beats while the service records, and stops when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from account_monitor.config.secrets import Secret
from account_monitor.config.settings import AlertSettings
from account_monitor.errors import ConfigurationError
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.notifiers.heartbeat import Heartbeat, heartbeat_url_of
from tests.integration.trading_desk import clock, eventually
from tests.integration.webhook import webhook

pytestmark = pytest.mark.integration


def settings(url: str) -> AlertSettings:
    return AlertSettings()._replace(heartbeat_url_env="HEARTBEAT", heartbeat_url=Secret(url))


@asynccontextmanager
async def beating(desk: Desk, url: str) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat(desk, interval_seconds=0.05)
    heartbeat.url = url
    task = asyncio.create_task(heartbeat.run())
    try:
        yield heartbeat
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_beats_while_the_service_is_not_unhealthy() -> None:
    desk = Desk(clock, "9.9.9")
    async with webhook() as hook, beating(desk, f"http://127.0.0.1:{hook.port}/ping/uuid") as heartbeat:
        await eventually(lambda: len(hook.pings) >= 2)
        desk.health.report("nats", Status.DEGRADED, "not connected")
        seen = len(hook.pings)
        await eventually(lambda: len(hook.pings) >= seen + 2)
        desk.health.report("journal:main", Status.UNHEALTHY, "disk full")
        await asyncio.sleep(0.1)
        seen = len(hook.pings)
        await asyncio.sleep(0.3)
        assert len(hook.pings) == seen
        desk.health.report("journal:main", Status.HEALTHY, "recording")
        await eventually(lambda: len(hook.pings) > seen)

    assert set(hook.pings) == {"/ping/uuid"}
    assert heartbeat.called == len(hook.pings)


async def test_a_call_that_fails_is_said_once_counted_and_tried_again() -> None:
    with capture_logs() as logs:
        async with webhook() as hook, beating(Desk(clock, "9"), f"http://127.0.0.1:{hook.port}/s3cret") as heartbeat:
            hook.status = 503
            await eventually(lambda: heartbeat.failed >= 3)
            hook.status = 200
            await eventually(lambda: heartbeat.called >= 1)

    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("heartbeat_not_heard", "answered 503"),
        ("heartbeat_heard_again", None),
    ]


async def test_a_url_that_nobody_answers_is_not_shown() -> None:
    with capture_logs() as logs:
        async with beating(Desk(clock, "9"), "http://127.0.0.1:9/s3cret") as heartbeat:
            await eventually(lambda: heartbeat.failed >= 2)

    assert [line["reason"] for line in logs] == ["ClientConnectorError"]


@pytest.mark.parametrize("url", ["ftp://example.org", "hunter2", "https:///x", "http://host:99999/x", "http://a b"])
def test_what_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"alerts\.heartbeat_url_env: what it names is no URL") as caught:
        heartbeat_url_of(settings(url))
    assert url not in str(caught.value)


def test_without_one_nothing_is_called() -> None:
    assert heartbeat_url_of(AlertSettings()) is None
    assert heartbeat_url_of(settings("https://hc.example/uuid")) == "https://hc.example/uuid"
