"""Venue: how often are accounts compared that share an address with each other, and with other programs?"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import AiohttpTransport
from account_monitor.feeds.binance.venue import BinanceVenue


@pytest.mark.parametrize(
    ("own_share", "seconds"),
    [(1.0, 10 * 5 * 60 / 1680), (1 / 3, 10 * 5 * 60 / 560), (0.0, 10 * 5 * 60 / 420)],
    ids=["alone", "one of three", "hardly anything is left"],
)
async def test_statements_take_the_part_of_their_share_that_is_used_here(own_share: float, seconds: float) -> None:
    venue = BinanceVenue("https://a.example", "wss://a.example", AiohttpTransport(), ServerTime())
    venue.budget.own_share = own_share
    with ExitStack() as accounts:
        for _ in range(10):
            accounts.enter_context(venue.shared())

        assert venue.turn_seconds == pytest.approx(seconds)
