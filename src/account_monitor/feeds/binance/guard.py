"""Guard: connections obey bans too. A handshake that is refused for too many requests stops the requests, and the other
way round: while the exchange wants to be left alone by this address, nothing leaves.
"""

from __future__ import annotations

from collections.abc import Mapping

from account_monitor.feeds.binance.budget import WeightBudget
from account_monitor.feeds.binance.pace import BANNED
from account_monitor.feeds.binance.transport import HttpReply, Socket, Transport, TransportError


class GuardedTransport:
    """A transport to one address of the exchange. Requests are weighed by whoever makes them."""

    def __init__(self, transport: Transport, budget: WeightBudget) -> None:
        self._transport = transport
        self._budget = budget

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        """Return the whole answer. Raises: TransportError."""
        return await self._transport.request(method, url, headers=headers, timeout_seconds=timeout_seconds)

    async def connect(self, url: str, *, timeout_seconds: float) -> Socket:
        """Return an open connection. Raises: TransportError, without an attempt during a ban."""
        if self._budget.limited_until_ms is not None:
            raise TransportError("not connected: the exchange takes nothing from this address for now")
        try:
            return await self._transport.connect(url, timeout_seconds=timeout_seconds)
        except TransportError as error:
            if error.status in BANNED:
                self._budget.refused(error.status, retry_after_seconds=error.retry_after_seconds, banned_for_ms=None)
            raise
