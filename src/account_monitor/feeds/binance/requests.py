"""Requests: the questions that the feed asks about an account, each with its weight and its answer decoded.

Raises, from each: VenueRefused, VenueLimited; VenueUnavailable also for an answer that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.answers import (
    AccountConfig,
    AccountStatement,
    IncomePage,
    OrderAnswer,
    PositionRisk,
    SymbolConfig,
    account_config_of,
    account_of,
    fills_of,
    income_of,
    listen_key_of,
    order_of,
    position_risks_of,
    symbol_configs_of,
)
from account_monitor.feeds.binance.budget import Urgency
from account_monitor.feeds.binance.refusals import VenueUnavailable
from account_monitor.feeds.binance.rest import BinanceRest, Parameter
from account_monitor.ledger.events import Fill
from account_monitor.ledger.margin import Bracket

PAGE = 1_000
"""The most rows that the exchange gives at once."""

WEEK_MS = 7 * 24 * 3_600_000
"""The longest span of time that may be asked for at once."""

Brackets: TypeAlias = Mapping[str, tuple[Bracket, ...]]
"""By symbol."""

T = TypeVar("T")


class AccountRequests:
    """One account's questions."""

    def __init__(self, rest: BinanceRest) -> None:
        self._rest = rest

    async def read_clock(self) -> None:
        """Read the exchange's clock, if it is time to."""
        await self._rest.read_clock()

    async def account(
        self, *, urgency: Urgency = "regular", leaving: Callable[[], None] = lambda: None
    ) -> AccountStatement:
        """Return wallets and positions of one moment after `leaving` was called: right before the request leaves."""
        return await self._get("/fapi/v3/account", 5, account_of, urgency=urgency, leaving=leaving)

    async def position_risks(self) -> tuple[PositionRisk, ...]:
        """Return entry and mark prices of what is open."""
        return await self._get("/fapi/v3/positionRisk", 5, position_risks_of, urgency="urgent")

    async def account_config(self) -> AccountConfig:
        """Return what the account may do, and its modes."""
        return await self._get("/fapi/v1/accountConfig", 5, account_config_of)

    async def brackets(self, decode: Callable[[bytes], Brackets]) -> Brackets:
        """Return the account's brackets of all symbols; `decode` because most accounts of an address have the same."""
        return await self._get("/fapi/v1/leverageBracket", 1, decode)

    async def symbol_configs(self) -> dict[str, SymbolConfig]:
        """Return leverage and margin type of all symbols."""
        return await self._get("/fapi/v1/symbolConfig", 5, symbol_configs_of)

    async def trades_from(self, symbol: str, trade_id: int, urgency: Urgency) -> tuple[Fill, ...]:
        """Return up to PAGE fills of a symbol from this id on, in the order of their ids."""
        return await self._get("/fapi/v1/userTrades", 5, fills_of, urgency=urgency, symbol=symbol, fromId=trade_id,
                               limit=PAGE)  # fmt: skip

    async def trades_between(self, symbol: str, start_ms: int, end_ms: int, urgency: Urgency) -> tuple[Fill, ...]:
        """Return up to PAGE fills of a symbol in a span of at most a week, the oldest first."""
        return await self._get("/fapi/v1/userTrades", 5, fills_of, urgency=urgency, symbol=symbol, startTime=start_ms,
                               endTime=end_ms, limit=PAGE)  # fmt: skip

    async def last_trades(self, symbol: str, count: int) -> tuple[Fill, ...]:
        """Return the youngest fills of a symbol, up to so many, of the last week."""
        return await self._get("/fapi/v1/userTrades", 5, fills_of, urgency="urgent", symbol=symbol, limit=count)

    async def order(self, symbol: str, order_id: str) -> OrderAnswer:
        """Return an order. The exchange forgets old ones: VenueRefused."""
        return await self._get("/fapi/v1/order", 1, order_of, symbol=symbol, orderId=order_id)

    async def income(self, start_ms: int, end_ms: int, page: int, urgency: Urgency) -> IncomePage:
        """Return a page of the income statement, the oldest rows first; pages begin with 1."""
        return await self._get("/fapi/v1/income", 30, income_of, urgency=urgency, startTime=start_ms, endTime=end_ms,
                               page=page, limit=PAGE)  # fmt: skip

    async def obtain(self) -> str:
        """Return the listen key of the account, new or extended."""
        return self._read("/fapi/v1/listenKey", await self._rest.post("/fapi/v1/listenKey", 1), listen_key_of)

    async def keep_alive(self, key: str) -> str:
        """Extend the listen key of the account and return it; it may be another by now."""
        return self._read("/fapi/v1/listenKey", await self._rest.put("/fapi/v1/listenKey", 1), listen_key_of)

    async def _get(
        self,
        path: str,
        weight: int,
        decode: Callable[[bytes], T],
        *,
        urgency: Urgency = "regular",
        leaving: Callable[[], None] = lambda: None,
        **parameters: Parameter,
    ) -> T:
        body = await self._rest.get(path, weight, urgency=urgency, leaving=leaving, **parameters)
        return self._read(path, body, decode)

    def _read(self, path: str, body: bytes, decode: Callable[[bytes], T]) -> T:
        try:
            return decode(body)
        except MalformedEvent as error:
            raise VenueUnavailable(f"{path}: the answer cannot be read: {error.reason}") from None
