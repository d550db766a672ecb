"""Venue: what the accounts at one address of the exchange share: connection, weight, clock and contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.answers import Contract, asset_rates_of, brackets_of, exchange_info_of
from account_monitor.feeds.binance.budget import WeightBudget
from account_monitor.feeds.binance.guard import GuardedTransport
from account_monitor.feeds.binance.quality import RequestQuality
from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.requests import Brackets
from account_monitor.feeds.binance.rest import BinanceRest
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import Transport, shown_url
from account_monitor.ledger.margin import AssetRate

REST_URLS = {False: "https://fapi.binance.com", True: "https://demo-fapi.binance.com"}
WEBSOCKET_URLS = {False: "wss://fstream.binance.com", True: "wss://fstream.binancefuture.com"}
"""By whether it is the test environment."""

CONTRACTS_EVERY_SECONDS = 3_600.0
_CONTRACTS_AGAIN_SECONDS = 30.0
_EXCHANGE_INFO_WEIGHT = 1

RATES_EVERY_SECONDS = 60.0
_ASSET_INDEX_WEIGHT = 10

STATEMENT_WEIGHT = 5
START_WEIGHT = 71
"""What an account asks for at its start: adoption, income and trades since then, a listen key, a statement, terms."""

STATEMENTS_SHARE = 0.7
"""Of the weight: the rest is for what was missed, for prices of contracts and for other programs of the desk."""

LEAST_SHARE = 0.25
"""Of that, whatever other programs at this address use."""

STATEMENT_SECONDS = 1.0
"""No account is asked about more often."""

log = structlog.get_logger(__name__)


class BinanceVenue:
    """One address of the exchange, as its accounts share it."""

    def __init__(
        self,
        rest_url: str,
        websocket_url: str,
        transport: Transport,
        server_time: ServerTime,
    ) -> None:
        self.rest_url = rest_url
        self.websocket_url = websocket_url
        self.server_time = server_time
        self.budget = WeightBudget(server_time.now_ms)
        self.budget.expected = self._cost_of_statements
        self.quality = RequestQuality(server_time.monotonic, server_time.now_ms)
        self.transport: Transport = GuardedTransport(transport, self.budget)
        self._public = self.rest(api_key="", secret="")
        self._one_at_a_time = asyncio.Lock()
        self._accounts = 0
        self._contracts: Mapping[str, Contract] = {}
        self._brackets: tuple[bytes, Brackets] = (b"", {})
        """The last answer about brackets, and what it said: most accounts are told the same."""
        self._rates: Mapping[str, AssetRate] = {}
        self._rates_at = float("-inf")

    def rest(self, *, api_key: str, secret: str) -> BinanceRest:
        """Return the requests of one account."""
        return BinanceRest(
            self.rest_url, self.transport, self.budget, self.server_time, api_key=api_key, secret=secret,
            quality=self.quality,
        )  # fmt: skip

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Count one account more among those that share the weight, for as long as it is fed."""
        self._accounts += 1
        try:
            yield
        finally:
            self._accounts -= 1

    @property
    def turn_seconds(self) -> float:
        """How long it takes until every account had its turn for a statement.

        Programs that share an address share the weight of statements as they share all of it.
        """
        weight = self.budget.limit * STATEMENTS_SHARE * max(self.budget.own_share, LEAST_SHARE)
        return self._accounts * STATEMENT_WEIGHT * 60 / weight

    @property
    def start_seconds(self) -> float:
        """How long it takes until every account has had what it asks for at its start."""
        return self._accounts * START_WEIGHT * 60 / self.budget.limit

    def _cost_of_statements(self, seconds: float) -> float:
        """Return the most that the statements of all accounts cost in so long."""
        return self._accounts * STATEMENT_WEIGHT * seconds / max(self.turn_seconds, STATEMENT_SECONDS)

    def may_list(self, symbol: str) -> bool:
        """Whether the exchange lists a symbol, or that is not known yet."""
        return not self._contracts or symbol in self._contracts

    def contract(self, symbol: str) -> Contract | None:
        """Return what the exchange lists under a symbol, None while that is not known."""
        return self._contracts.get(symbol)

    async def run(self) -> None:
        """Keep the list of contracts up to date, until cancelled."""
        while True:
            pause = CONTRACTS_EVERY_SECONDS
            try:
                await self.read_contracts()
            except (VenueUnavailable, VenueRefused, VenueLimited) as error:
                log.warning("contracts_not_read", venue=shown_url(self.rest_url), reason=str(error))
                pause = _CONTRACTS_AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def read_contracts_once(self) -> None:
        """Ask for the contracts unless they are known. Raises: VenueUnavailable, VenueRefused, VenueLimited."""
        async with self._one_at_a_time:
            if not self._contracts:
                await self.read_contracts()

    async def read_contracts(self) -> None:
        """Ask for the contracts and the limits. Raises: VenueUnavailable, VenueRefused, VenueLimited."""
        body = await self._public.get_public("/fapi/v1/exchangeInfo", _EXCHANGE_INFO_WEIGHT, urgency="urgent")
        try:
            info = exchange_info_of(body)
        except MalformedEvent as error:
            raise VenueUnavailable(f"GET /fapi/v1/exchangeInfo: {error.reason}") from None
        self._contracts = info.contracts
        if info.weight_per_minute is not None:
            self.budget.limit = info.weight_per_minute

    def brackets_of(self, body: bytes) -> Brackets:
        """Return what an answer about brackets says; the same for the same words. Raises: MalformedEvent."""
        if body != self._brackets[0]:
            self._brackets = (body, brackets_of(body))
        return self._brackets[1]

    async def asset_rates(self, now: float) -> Mapping[str, AssetRate]:
        """Return what assets count for in multi-assets mode, asked for at most once a minute for all accounts.

        `now` is in seconds of the clock that measures durations.
        Raises: VenueUnavailable, VenueRefused, VenueLimited.
        """
        async with self._one_at_a_time:
            if now >= self._rates_at + RATES_EVERY_SECONDS:
                body = await self._public.get_public("/fapi/v1/assetIndex", _ASSET_INDEX_WEIGHT)
                try:
                    self._rates = asset_rates_of(body)
                except MalformedEvent as error:
                    raise VenueUnavailable(f"/fapi/v1/assetIndex: the answer cannot be read: {error.reason}") from None
                self._rates_at = now
        return self._rates
