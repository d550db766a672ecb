"""Bots: who trades here, so that there is something to watch? They use nothing but the venue's public methods."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from exchange_simulator.accounts import Account
from exchange_simulator.errors import VenueError
from exchange_simulator.money import UNIT, fixed, trimmed
from exchange_simulator.venue import Venue

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")


_CONSTANCY = 0.9  # how often what is added goes the way of what is held


class TradingBot:
    """A lively customer: opens, adds, reduces, flips and closes, by market and by limit, over several symbols.

    It mostly keeps to the side it is on, and lets limit orders take its profits: what it earns and loses by prices then
    weighs as much as its fees, so that some of its round trips win.
    """

    def __init__(
        self, venue: Venue, account: Account, *, seed: int, symbols: Sequence[str] = _SYMBOLS, worth: int = 1500
    ) -> None:
        """`worth`: notional of a usual order, in whole units of the quote asset."""
        self._venue = venue
        self._account = account
        self._rng = Random(seed)  # noqa: S311 (seeded chance is the point)
        self._symbols = [symbol for symbol in symbols if symbol in venue.markets]
        self._worth = worth
        self.placed = 0
        self.refused = 0

    def step(self) -> None:
        """Do one thing. A refusal by the venue is counted, as a real bot would log it."""
        symbol = self._rng.choice(self._symbols)
        try:
            self._act(symbol)
            self.placed += 1
        except VenueError:
            self.refused += 1

    def _act(self, symbol: str) -> None:
        rng, chance = self._rng, self._rng.random()
        held = self._held(symbol)
        if chance < 0.08:
            self._venue.cancel_all_orders(self._account, {"symbol": symbol})
        elif held and chance < 0.10:
            self._market(symbol, *held, share=1.0)
        elif held and chance < 0.12:
            self._market(symbol, *held, share=rng.uniform(0.2, 0.8))
        elif held and chance < 0.13 and not self._account.hedge:
            self._market(symbol, *held, share=rng.uniform(1.3, 2.0), reduce=False)
        elif held and chance < 0.45:
            self._take_profit(symbol, *held)
        else:
            side = rng.choice(("BUY", "SELL"))
            if held and rng.random() < _CONSTANCY:
                side = "BUY" if held[1] > 0 else "SELL"
            self._open(symbol, side, limit=chance < 0.92)

    def _held(self, symbol: str) -> tuple[str, int] | None:
        """Return (position side, signed quantity) of something held in the symbol."""
        holding = self._account.holdings.get(symbol)
        legs = [leg for leg in holding.positions.values() if leg.quantity] if holding else []
        if not legs:
            return None
        leg = self._rng.choice(legs)
        return leg.side, leg.quantity

    def _market(self, symbol: str, position_side: str, quantity: int, *, share: float, reduce: bool = True) -> None:
        """Trade against what is held: a share of it, more than all flips."""
        step = self._venue.symbols[symbol].step
        size = max(step, int(abs(quantity) * share) // step * step)
        if reduce:
            size = min(size, abs(quantity))
        parameters = {"symbol": symbol, "side": "SELL" if quantity > 0 else "BUY", "type": "MARKET",
                      "quantity": trimmed(size)}  # fmt: skip
        if position_side != "BOTH":
            parameters["positionSide"] = position_side
        elif reduce:
            parameters["reduceOnly"] = "true"
        self._venue.place_order(self._account, parameters)

    def _take_profit(self, symbol: str, position_side: str, quantity: int) -> None:
        """Offer all that is held a little better than the mark price."""
        rules, mark = self._venue.symbols[symbol], self._venue.markets[symbol].mark
        away = self._rng.uniform(0.001, 0.004) * (1 if quantity > 0 else -1)
        price = max(rules.tick, round(mark * (1 + away) / rules.tick) * rules.tick)
        parameters = {"symbol": symbol, "side": "SELL" if quantity > 0 else "BUY", "type": "LIMIT",
                      "quantity": trimmed(abs(quantity)), "price": fixed(price, rules.price_precision),
                      "timeInForce": "GTC"}  # fmt: skip
        parameters |= {"reduceOnly": "true"} if position_side == "BOTH" else {"positionSide": position_side}
        self._venue.place_order(self._account, parameters)

    def _open(self, symbol: str, side: str, *, limit: bool) -> None:
        rng, market = self._rng, self._venue.markets[symbol]
        rules = market.rules
        worth = max(self._worth * rng.uniform(0.4, 2.0), rules.min_notional / UNIT * 1.2)
        size = max(1, round(worth * UNIT / market.mark * UNIT / rules.step)) * rules.step
        parameters = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": trimmed(size)}
        if self._account.hedge:
            parameters["positionSide"] = "LONG" if side == "BUY" else "SHORT"
        if limit:
            away = rng.uniform(-0.0002, 0.0015) * (-1 if side == "BUY" else 1)
            price = max(rules.tick, round(market.mark * (1 + away) / rules.tick) * rules.tick)
            parameters |= {"type": "LIMIT", "price": fixed(price, rules.price_precision),
                           "timeInForce": rng.choice(("GTC", "GTC", "GTC", "GTX", "IOC"))}  # fmt: skip
        self._venue.place_order(self._account, parameters)


class RandomTrader:
    """Anything that a customer may do, in any order: for randomized tests of whoever watches."""

    def __init__(
        self, venue: Venue, accounts: Sequence[Account], *, seed: int, symbols: Sequence[str] = _SYMBOLS[:4]
    ) -> None:
        self._venue = venue
        self._accounts = list(accounts)
        self._rng = Random(seed)  # noqa: S311 (seeded chance is the point)
        self._symbols = list(symbols)
        self.refusals: dict[int, int] = {}

    def step(self) -> None:
        rng = self._rng
        account, symbol = rng.choice(self._accounts), rng.choice(self._symbols)
        try:
            self._act(account, symbol, rng.random())
        except VenueError as error:
            self.refusals[error.code] = self.refusals.get(error.code, 0) + 1

    def _act(self, account: Account, symbol: str, chance: float) -> None:
        venue, rng = self._venue, self._rng
        if chance < 0.80:
            venue.place_order(account, self._order(account, symbol))
        elif chance < 0.86:
            self._cancel_one(account)
        elif chance < 0.89:
            self._amend_one(account)
        elif chance < 0.93:
            self._move_price(symbol)
        elif chance < 0.95:
            venue.set_leverage(account, {"symbol": symbol, "leverage": str(rng.choice((5, 10, 20, 50)))})
        elif chance < 0.97:
            venue.place_algo_order(account, self._stop(account, symbol))
        elif chance < 0.985:
            venue.deposit(account, rng.choice(("USDT", "BNB")), str(rng.randint(1, 500)), "DEPOSIT")
        elif chance < 0.998:
            venue.withdraw(account, "USDT", str(rng.randint(1, 300)))
        else:
            venue.fund_now()

    def _order(self, account: Account, symbol: str) -> dict[str, str]:
        rng, market = self._rng, self._venue.markets[symbol]
        rules = market.rules
        least = rules.min_notional * UNIT // market.mark // rules.step + 1
        size = rules.step * max(1, int(least * rng.choice((1, 1, 2, 3, 5, 8)) * rng.uniform(0.9, 1.8)))
        side = rng.choice(("BUY", "SELL"))
        parameters = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": trimmed(size)}
        if account.hedge:
            parameters["positionSide"] = rng.choice(("LONG", "SHORT"))
        elif rng.random() < 0.15:
            parameters["reduceOnly"] = "true"
        if rng.random() < 0.5:
            price = round(market.mark * (1 + rng.gauss(0, 0.001)) / rules.tick) * rules.tick
            parameters |= {"type": "LIMIT", "price": fixed(price, rules.price_precision),
                           "timeInForce": rng.choice(("GTC", "GTC", "GTC", "IOC", "FOK", "GTX"))}  # fmt: skip
        parameters["selfTradePreventionMode"] = rng.choice(("NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH"))
        return parameters

    def _stop(self, account: Account, symbol: str) -> dict[str, str]:
        rng, market = self._rng, self._venue.markets[symbol]
        rules = market.rules
        parameters = self._order(account, symbol)
        price = round(market.mark * (1 + rng.gauss(0, 0.003)) / rules.tick) * rules.tick
        for name in ("price", "timeInForce", "selfTradePreventionMode"):
            parameters.pop(name, None)
        return parameters | {"algoType": "CONDITIONAL", "type": rng.choice(("STOP_MARKET", "TAKE_PROFIT_MARKET")),
                             "triggerPrice": fixed(price, rules.price_precision)}  # fmt: skip

    def _cancel_one(self, account: Account) -> None:
        orders = list(account.open_orders())
        if orders:
            order = self._rng.choice(orders)
            self._venue.cancel_order(account, {"symbol": order.rules.symbol, "orderId": str(order.id)})

    def _amend_one(self, account: Account) -> None:
        orders = list(account.open_orders())
        if not orders:
            return
        order = self._rng.choice(orders)
        rules = order.rules
        price = max(rules.tick, order.price + rules.tick * self._rng.randint(-20, 20))
        size = order.quantity + rules.step * self._rng.randint(-1, 3)
        self._venue.modify_order(
            account,
            {"symbol": rules.symbol, "side": order.side, "orderId": str(order.id),
             "quantity": trimmed(max(rules.step, size)), "price": fixed(price, rules.price_precision)},
        )  # fmt: skip

    def _move_price(self, symbol: str) -> None:
        rules, mark = self._venue.symbols[symbol], self._venue.markets[symbol].mark
        price = max(rules.min_price * 100, round(mark * (1 + self._rng.gauss(0, 0.004))))
        pull = rules.first_price - price
        self._venue.set_price(symbol, fixed(price + pull // 50))
