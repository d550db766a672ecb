"""What most tests of the service and its doors start with; a file that needs it otherwise has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.nats_server import NatsServer
from tests.integration.trading_desk import TradingDesk, trading_desk
from tests.integration.webhook import Webhook, webhook


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    """A desk whose doors are open, without accounts."""
    async with trading_desk(tmp_path) as opened:
        yield opened


@pytest.fixture
async def hook() -> AsyncIterator[Webhook]:
    """A webhook that takes what people are told."""
    async with webhook() as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server with JetStream, which the test may kill."""
    with NatsServer(tmp_path / "nats") as started:
        yield started
