"""The venue: a simulated USD-M futures exchange, without I/O. What does it accept, and what does everyone hear then?

Time comes from `clock` (milliseconds since 1970), chance from `seed`. Methods that take `parameters` take them as the
REST interface does, names and texts exactly as in the request (symbol, side, quantity, …; timestamp, signature and
recvWindow are the shell's business and are ignored), and return the body of the answer, ready for JSON. Each raises
VenueError with the venue's code and text, and has changed nothing then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from exchange_simulator import answers, conditionals, funding, liquidation, matching, settings, transfers
from exchange_simulator.accounts import PERMISSIONS, Account
from exchange_simulator.errors import refusal
from exchange_simulator.floor import Floor, Market
from exchange_simulator.market import PricePaths
from exchange_simulator.money import UNIT, parse, trimmed, units
from exchange_simulator.orders import required
from exchange_simulator.symbols import ASSETS, SymbolRules, catalogue

Event = dict[str, Any]
Levels = Iterable[tuple[Decimal | str, Decimal | str]]

_SECOND = 1000
_LONGEST_STEP = 60.0  # seconds by which prices move at once, however late advance() is called


class Venue:
    def __init__(
        self,
        symbols: Sequence[SymbolRules] | None = None,
        *,
        clock: Callable[[], int],
        seed: int = 0,
        funding_interval_ms: int = 8 * 3600_000,
        moving: bool = False,
        volatility: float = 1.0,
        legacy_funding_events: bool = False,
        calculated_liquidations: bool = False,
    ) -> None:
        """Open with these symbols (None: catalogue()).

        `moving`: advance() moves all prices along seeded paths, once a second, `volatility` times as far as usual.
        `legacy_funding_events`: as before August 2026, one event per asset that names no symbol.
        `calculated_liquidations`: fills of liquidations say x=CALCULATED instead of TRADE.
        """
        symbols = tuple(symbols) if symbols is not None else catalogue()
        rng = Random(seed)  # noqa: S311 (seeded chance is the point)
        self.floor = Floor(symbols, clock, rng, funding_interval_ms)
        self.floor.calculated_liquidations = calculated_liquidations
        self.legacy_funding_events = legacy_funding_events
        self.moving = moving
        self.on_user_event: list[Callable[[Account, Event], None]] = self.floor.on_user_event
        """Called in venue order with each event of an account (`e` names its kind). Never mutate the event."""
        self.on_mark_prices: list[Callable[[list[Event]], None]] = []
        """Called by advance(), at most once per second of clock time, with the rows of `!markPrice@arr@1s`."""
        self.accounts = self.floor.accounts
        """By API key."""
        self.symbols = self.floor.symbols
        self.markets: dict[str, Market] = self.floor.markets
        self._paths = PricePaths(symbols, Random(rng.random()), volatility=volatility)  # noqa: S311 (the same)
        self._next_second_ms = (self.now() // _SECOND + 1) * _SECOND
        self._moved_ms = self.now()

    def now(self) -> int:
        """Return the clock's time, which never goes back here."""
        return self.floor.now()

    def open_account(
        self,
        api_key: str,
        secret: str,
        *,
        wallets: Mapping[str, Decimal | str],
        permissions: Sequence[str] = PERMISSIONS,
        hedge: bool = False,
        multi_assets: bool = False,
        fee_burn: bool = False,
        leverage: int = 20,
        maker_rate: str | None = None,
        taker_rate: str | None = None,
    ) -> Account:
        """Open an account. Rates override the symbols' own; a negative maker rate is a rebate."""
        if api_key in self.accounts:
            raise ValueError(f"an account with API key {api_key!r} exists already")
        amounts = {asset: units(amount) for asset, amount in wallets.items()}
        account = Account(api_key, secret, len(self.accounts) + 1001, permissions, amounts, leverage)
        account.hedge, account.multi_assets, account.fee_burn = hedge, multi_assets, fee_burn
        account.maker_rate, account.taker_rate = maker_rate, taker_rate
        self.accounts[api_key] = account
        return account

    # -- orders

    def place_order(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/order. LIMIT and MARKET; conditional types are refused with −4120."""
        request, market = matching.read_order(self.floor, account, parameters)
        order = matching.place(self.floor, account, request, market)
        if account.algo_orders:
            conditionals.check(self.floor, market)
        return answers.new_order(order, acknowledged=not request.full_answer)

    def test_order(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/order/test: check the terms only."""
        matching.read_order(self.floor, account, parameters)
        return {}

    def cancel_order(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """DELETE /fapi/v1/order."""
        order = matching.find_open(self.floor, account, parameters, -2011)
        matching.cancel(self.floor, order, self.now())
        return answers.new_order(order)

    def modify_order(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """PUT /fapi/v1/order."""
        return answers.new_order(matching.modify(self.floor, account, parameters))

    def cancel_all_orders(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """DELETE /fapi/v1/allOpenOrders."""
        market = self.floor.market(required(parameters, "symbol"))
        holding, now = account.holdings.get(market.rules.symbol), self.now()
        for order in list(holding.orders.values()) if holding else ():
            matching.cancel(self.floor, order, now)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def place_algo_order(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/algoOrder."""
        return answers.algo_row(conditionals.place(self.floor, account, parameters), new=True)

    def cancel_algo_order(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """DELETE /fapi/v1/algoOrder."""
        algo = conditionals.find(account, parameters)
        conditionals.cancel(self.floor, algo)
        return {"algoId": algo.id, "clientAlgoId": algo.request.client_id, "code": "200", "msg": "success"}

    def cancel_all_algo_orders(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """DELETE /fapi/v1/algoOpenOrders."""
        symbol = self.floor.market(required(parameters, "symbol")).rules.symbol
        for algo in [algo for algo in account.algo_orders.values() if algo.request.symbol == symbol]:
            conditionals.cancel(self.floor, algo)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    # -- settings

    def set_leverage(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/leverage."""
        return settings.set_leverage(self.floor, account, parameters)

    def set_margin_type(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/marginType."""
        return settings.set_margin_type(self.floor, account, parameters)

    def set_position_mode(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/positionSide/dual."""
        return settings.set_position_mode(self.floor, account, parameters)

    def set_multi_assets(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/multiAssetsMargin."""
        return settings.set_multi_assets(self.floor, account, parameters)

    def set_fee_burn(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/feeBurn."""
        return settings.set_fee_burn(account, parameters)

    def change_position_margin(self, account: Account, parameters: Mapping[str, str]) -> Event:
        """POST /fapi/v1/positionMargin."""
        return settings.change_position_margin(self.floor, account, parameters)

    # -- money

    def deposit(self, account: Account, asset: str, amount: Decimal | str, reason: str = "DEPOSIT") -> Event:
        """Credit a positive amount; `reason` is the event's `m`. Returns {"tranId": …}."""
        return {"tranId": transfers.move(self.floor, account, _asset(asset), abs(units(amount)), reason)}

    def withdraw(self, account: Account, asset: str, amount: Decimal | str, reason: str = "WITHDRAW") -> Event:
        """Debit a positive amount; refused with −5013 where it is not free."""
        return {"tranId": transfers.move(self.floor, account, _asset(asset), -abs(units(amount)), reason)}

    def transfer(self, account: Account, asset: str, amount: Decimal | str, reason: str = "ASSET_TRANSFER") -> Event:
        """Move a signed amount, positive is money in."""
        return {"tranId": transfers.move(self.floor, account, _asset(asset), units(amount), reason)}

    def auto_exchange(self, account: Account, source: str, target: str, amount: Decimal | str) -> None:
        """Convert between assets as the venue does by itself in multi-assets mode."""
        transfers.exchange(self.floor, account, source, target, units(amount))

    def swap(self, account: Account, source: str, target: str, amount: Decimal | str) -> None:
        """Convert between assets on the customer's wish: COIN_SWAP_WITHDRAW, COIN_SWAP_DEPOSIT."""
        transfers.swap(self.floor, account, source, target, units(amount))

    # -- the market, and what it does to accounts

    def set_price(self, symbol: str, mark: Decimal | str, *, index: Decimal | str | None = None) -> None:
        """Move mark price, book and last price at once, then fill, trigger and liquidate what that reaches."""
        market, price = self.floor.market(symbol), parse(f"{Decimal(mark):f}")
        if not price:
            raise refusal(-4001)
        self._paths.place(symbol, price)
        self._set(market, price, parse(f"{Decimal(index):f}") if index is not None else price)
        self._settle_accounts()

    def set_ladder(self, symbol: str, *, bids: Levels = (), asks: Levels = ()) -> None:
        """Quote exactly these (price, quantity), best first, until the price moves: scripts the next fills."""
        sides = [[(units(price), units(quantity)) for price, quantity in side] for side in (bids, asks)]
        self.floor.market(symbol).book.script(sides[0], sides[1])

    def set_funding_rate(self, symbol: str, rate: Decimal | str) -> None:
        """Set the rate (a fraction, signed) of the next funding time."""
        self.floor.market(symbol).rate = units(rate)

    def fund_now(self) -> None:
        """Settle funding of all symbols at once, out of turn."""
        funding.settle(self.floor, list(self.markets.values()), self.now(), legacy=self.legacy_funding_events)

    def liquidate(self, account: Account, symbol: str, position_side: str = "BOTH") -> None:
        """Liquidate a position whatever its margin."""
        holding = account.holding(self.floor.market(symbol).rules)
        position = holding.position(position_side)
        if position.quantity:
            asset = holding.rules.margin_asset
            margin = position.isolated_wallet if holding.isolated else account.cross_wallet(asset)
            liquidation.liquidate(self.floor, account, holding, position, margin)

    def adl(
        self, account: Account, symbol: str, position_side: str = "BOTH", quantity: Decimal | str | None = None
    ) -> None:
        """Deleverage a position at the mark price, wholly or by `quantity`."""
        size = None if quantity is None else units(quantity)
        liquidation.adl(self.floor, account, self.floor.market(symbol), position_side, size)

    def delist(self, symbol: str) -> None:
        """Stop trading of a symbol and settle every position of it at the mark price."""
        liquidation.delist(self.floor, self.floor.market(symbol))

    # -- time

    def advance(self) -> None:
        """Do what is due at clock(): prices, funding, triggers, liquidations, expiries, mark price messages."""
        now = self.now()
        second = now >= self._next_second_ms
        if second:
            self._next_second_ms = (now // _SECOND + 1) * _SECOND
            if self.moving:
                self._move((now - self._moved_ms) / 1000)
            self._moved_ms = now
        funding.settle_due(self.floor, legacy=self.legacy_funding_events)
        if second:
            matching.expire_due(self.floor)
            for market in self.markets.values():
                conditionals.check(self.floor, market)
            self._settle_accounts()
            if self.on_mark_prices:
                rows = self.mark_prices()
                for listener in self.on_mark_prices:
                    listener(rows)

    def next_due_ms(self) -> int | None:
        """Return when advance() has something to do next."""
        due = [market.next_funding_ms + funding.delay_ms(self.floor) for market in self.markets.values()]
        due.append(self._next_second_ms)
        return min(due)

    def _move(self, seconds: float) -> None:
        for symbol, price in self._paths.move(min(seconds, _LONGEST_STEP)).items():
            market = self.markets[symbol]
            if market.trading:
                basis = 1.0 + self.floor.rng.gauss(0.0, 0.0001)
                self._set(market, price, max(1, round(price * basis)))

    def _set(self, market: Market, mark: int, index: int) -> None:
        market.mark, market.index = mark, index
        matching.sweep(self.floor, market)
        market.book.quote(mark)
        tick = market.rules.tick
        market.last = max(tick, mark // tick * tick)
        conditionals.check(self.floor, market)

    def _settle_accounts(self) -> None:
        for account in self.accounts.values():
            if account.holdings:
                liquidation.check(self.floor, account)

    def mark_prices(self) -> list[Event]:
        """Return the rows of the `!markPrice@arr` stream."""
        now = self.now()
        return [
            {
                "e": "markPriceUpdate",
                "E": now,
                "s": symbol,
                "p": _eight(market.mark),
                "ap": _eight(market.mark),
                "P": _eight(market.index),
                "i": _eight(market.index),
                "r": _eight(market.rate),
                "T": market.next_funding_ms,
                "st": 1,
            }
            for symbol, market in self.markets.items()
            if market.trading
        ]

    # -- the venue's own books

    def books(self, account: Account) -> Event:
        """Return what the venue knows of an account as plain decimal texts; see the architecture for the names."""
        positions = [(holding, position) for holding in account.holdings.values()
                     for position in holding.positions.values()]  # fmt: skip
        return {
            "opening": _texts(account.opening_wallets),
            "wallets": {asset: trimmed(amount) for asset, amount in sorted(account.wallets.items())},
            "positions": {row.key: trimmed(row.quantity) for _, row in positions if row.quantity},
            "entry_prices": {row.key: trimmed(row.entry_price(), 9) for _, row in positions if row.quantity},
            "realized": {row.key: trimmed(row.realized) for _, row in positions if row.realized},
            "fees": _texts(account.fees),
            "funding": _texts(account.funding),
            "funding_by_symbol": _texts(account.funding_by_symbol),
            "transfers": _texts(account.transfers),
            "insurance": _texts(account.insurance),
            "exchanged": _texts(account.exchanged),
            "trades": {symbol: len(trades) for symbol, trades in sorted(account.trades.items())},
        }


def _texts(amounts: Mapping[str, int]) -> dict[str, str]:
    return {name: trimmed(amount) for name, amount in sorted(amounts.items()) if amount}


def _eight(value: int) -> str:
    return f"-{_eight(-value)}" if value < 0 else f"{value // UNIT}.{value % UNIT:08d}"


def _asset(asset: str) -> str:
    if asset not in ASSETS:
        raise refusal(-1121)
    return asset
