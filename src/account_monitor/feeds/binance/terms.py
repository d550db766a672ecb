"""Terms: by which rules does the exchange judge the margins of one account, as far as it said?

Asked for at the start, every hour and when a symbol turns up that they do not name; the stream tells of changes in
between. What cannot be read leaves the last good terms as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

from account_monitor.feeds.binance.answers import AccountStatement, SymbolConfig
from account_monitor.feeds.binance.messages import ConfigUpdate, PositionUpdate
from account_monitor.feeds.binance.requests import AccountRequests, Brackets
from account_monitor.feeds.binance.venue import RATES_EVERY_SECONDS, BinanceVenue
from account_monitor.ledger.events import position_key
from account_monitor.ledger.margin import AssetRate, MarginStated, MarginTerms, VenueMargin
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.schedule import Monotonic

TERMS_EVERY_SECONDS = (3_000.0, 3_600.0)
"""Between these, so that accounts do not ask together: 11 of the weight each."""

UNKNOWN_SECONDS = 60.0
"""How often the terms are asked for because of something that they do not name."""


class AccountTerms:
    """The terms of one account."""

    def __init__(
        self,
        monitor: Monitor,
        venue: BinanceVenue,
        requests: AccountRequests,
        *,
        monotonic: Monotonic,
        chance: Random,
    ) -> None:
        self.terms: MarginTerms | None = None
        """What was stated last; None: not yet."""
        self._monitor = monitor
        self._venue = venue
        self._requests = requests
        self._monotonic = monotonic
        self._chance = chance
        self._due_at = float("-inf")
        self._rates_due_at = float("-inf")
        self._read_at = float("-inf")
        self._heard_count = 0
        """Changes that the stream told of."""
        self._streamed_ms: dict[str, int] = {}
        """By position key, the time of the isolated wallet that the stream told last."""

    def is_due(self, now: float) -> bool:
        """Whether something is to be asked for."""
        needs_rates = self.terms is not None and self.terms.is_multi_assets and now >= self._rates_due_at
        return now >= self._due_at or needs_rates

    async def read(self) -> None:
        """Ask for what is due. Raises: VenueUnavailable, VenueRefused, VenueLimited."""
        now = self._monotonic()
        if self.terms is not None and now < self._due_at:
            self._state(replace(self.terms, rates=await self._rates()))
            return
        heard_count = self._heard_count
        brackets, configs, account = await asyncio.gather(
            self._requests.brackets(self._venue.brackets_of),
            self._requests.symbol_configs(),
            self._requests.account_config(),
        )
        rates = await self._rates() if account.is_multi_assets else {}
        self._read_at = now
        if self._heard_count != heard_count:  # what was answered may be older than what was heard
            self._due_at = now + UNKNOWN_SECONDS
            if self.terms is not None:
                self._state(replace(self.terms, brackets=brackets))
                return
        else:
            self._due_at = now + self._chance.uniform(*TERMS_EVERY_SECONDS)
        self._state(_terms(brackets, configs, rates, is_multi_assets=account.is_multi_assets))

    async def _rates(self) -> Mapping[str, AssetRate]:
        rates = await self._venue.asset_rates(self._monotonic())
        self._rates_due_at = self._monotonic() + RATES_EVERY_SECONDS
        return rates

    def _state(self, terms: MarginTerms) -> None:
        if terms != self.terms:
            self.terms = terms
            self._monitor.state_terms(terms)

    # -- what is heard -----------------------------------------------------------------------------------------------

    def note_positions(self, keys: Iterable[str]) -> None:
        """Ask again if a position is open of a symbol that the terms do not name."""
        positions = self._monitor.view.positions
        for key in keys:
            position = positions.get(key)
            if position is not None and position.quantity and not self._names(position.symbol):
                self._want()

    def _names(self, symbol: str) -> bool:
        return self.terms is None or (symbol in self.terms.brackets and symbol in self.terms.leverages)

    def _want(self) -> None:
        self._due_at = min(self._due_at, self._read_at + UNKNOWN_SECONDS)

    def hear_config(self, update: ConfigUpdate) -> None:
        """Take a new leverage or mode from the stream."""
        self._heard_count += 1
        terms = self.terms
        if terms is None:
            return
        if update.symbol is not None and update.leverage is not None:
            terms = replace(terms, leverages={**terms.leverages, update.symbol: update.leverage})
        if update.is_multi_assets is not None and update.is_multi_assets != terms.is_multi_assets:
            terms = replace(terms, is_multi_assets=update.is_multi_assets)
            self._rates_due_at = float("-inf")
        self._state(terms)

    def hear_positions(self, updates: Iterable[PositionUpdate], at_ms: int) -> None:
        """Take margin types and isolated wallets from the stream; the fill that they come with follows."""
        wallets = {}
        for update in updates:
            key = position_key(update.symbol, update.position_side)
            self._note_type(update.symbol, is_isolated=update.is_isolated)
            if update.is_isolated:
                wallets[key] = update.isolated_wallet
                self._streamed_ms[key] = at_ms
        if wallets:
            self._monitor.state_margin(MarginStated(wallets))

    def _note_type(self, symbol: str, *, is_isolated: bool) -> None:
        if self.terms is None or (symbol in self.terms.isolated) is is_isolated:
            return
        self._heard_count += 1
        isolated = self.terms.isolated ^ {symbol}
        self._state(replace(self.terms, isolated=isolated))

    def hear_statement(self, stated: AccountStatement, asked_ms: int) -> None:
        """Take isolated wallets, what orders bind and the exchange's own sums from an answer, asked for at a time."""
        wallets = {}
        for position in stated.positions:
            if position.isolated_wallet:
                wallets[position_key(position.symbol, position.position_side)] = position.isolated_wallet
                self._note_type(position.symbol, is_isolated=True)
        for key, streamed_ms in list(self._streamed_ms.items()):
            if streamed_ms < asked_ms:
                del self._streamed_ms[key]
        is_complete = not self._streamed_ms  # what was heard since the question is younger than the answer
        totals, orders = stated.totals, {asset.asset: asset.order_margin for asset in stated.assets}
        self._monitor.state_margin(
            MarginStated(
                {key: wallet for key, wallet in wallets.items() if key not in self._streamed_ms},
                is_complete,
                {asset: margin for asset, margin in orders.items() if margin},
                None if totals is None else VenueMargin(*totals, at_ms=asked_ms),
            )
        )


def _terms(
    brackets: Brackets,
    configs: Mapping[str, SymbolConfig],
    rates: Mapping[str, AssetRate],
    *,
    is_multi_assets: bool,
) -> MarginTerms:
    return MarginTerms(
        brackets,
        {symbol: config.leverage for symbol, config in configs.items()},
        frozenset(symbol for symbol, config in configs.items() if config.is_isolated),
        is_multi_assets,
        rates,
    )
