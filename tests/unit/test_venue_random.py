"""Thousands of random orders, and the identities that the venue's books must keep through all of them."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from exchange_simulator import reports
from exchange_simulator.accounts import Account
from exchange_simulator.bots import RandomTrader, TradingBot
from exchange_simulator.venue import Venue
from tests.venue_desk import START_MS

D = Decimal
ZERO = D(0)


class Watcher:
    """Folds what one account hears, knowing nothing else."""

    def __init__(self) -> None:
        self.wallets: dict[str, Decimal] = {}
        self.stated: dict[str, Decimal] = {}
        self.quantities: dict[tuple[str, str], Decimal] = {}
        self.realized: dict[tuple[str, str], Decimal] = {}
        self.positions: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
        self.trades: dict[str, list[tuple[int, str]]] = {}
        self.kinds: Counter[str] = Counter()

    def hear(self, event: dict[str, Any]) -> None:
        kind = event["e"]
        self.kinds[kind] += 1
        if kind == "ACCOUNT_UPDATE":
            self.kinds[event["a"]["m"]] += 1
            for row in event["a"]["B"]:
                self.stated[row["a"]] = D(row["wb"])
                self.move(row["a"], D(row["bc"]))
            for row in event["a"]["P"]:
                self.positions[row["s"], row["ps"]] = (D(row["pa"]), D(row["cr"]))
        elif kind == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE":
            self.trade(event["o"])

    def trade(self, row: dict[str, Any]) -> None:
        key = (row["s"], row["ps"])
        signed = D(row["l"]) if row["S"] == "BUY" else -D(row["l"])
        self.quantities[key] = self.quantities.get(key, ZERO) + signed
        self.realized[key] = self.realized.get(key, ZERO) + D(row["rp"])
        self.move("USDT", D(row["rp"]))
        self.move(row["N"], -D(row["n"]))
        self.trades.setdefault(row["s"], []).append((row["t"], row["S"]))
        # The position of the update that came before is the one after this fill.
        assert self.positions[key] == (self.quantities[key], self.realized[key])

    def move(self, asset: str, amount: Decimal) -> None:
        self.wallets[asset] = self.wallets.get(asset, ZERO) + amount


def simulate(seed: int, orders: int) -> tuple[Venue, dict[str, Watcher], RandomTrader]:
    now = START_MS

    def clock() -> int:
        return now

    venue = Venue(clock=clock, seed=seed, funding_interval_ms=60_000)
    accounts = [
        venue.open_account("plain", "s", wallets={"USDT": "5000"}),
        venue.open_account("hedged", "s", wallets={"USDT": "3000", "BNB": "1"}, hedge=True, fee_burn=True),
        venue.open_account("reckless", "s", wallets={"USDT": "400"}, leverage=50, maker_rate="-0.0001"),
    ]
    watchers = {account.api_key: Watcher() for account in accounts}
    for account in accounts:
        for asset, amount in venue.books(account)["wallets"].items():
            watchers[account.api_key].move(asset, D(amount))
    venue.on_user_event.append(lambda account, event: watchers[account.api_key].hear(event))
    trader = RandomTrader(venue, accounts, seed=seed)
    for number in range(orders):
        now += 20 + number % 7
        trader.step()
        if number % 5 == 0:
            venue.advance()
    return venue, watchers, trader


def check(venue: Venue, account: Account, watcher: Watcher) -> None:
    books = venue.books(account)
    # wb' = wb + rp − n + bc, exactly, in every asset
    assert {asset: amount for asset, amount in watcher.wallets.items() if amount} == {
        asset: D(amount) for asset, amount in books["wallets"].items() if D(amount)
    }
    assert all(D(books["wallets"][asset]) == amount for asset, amount in watcher.stated.items())
    # trades fold to positions, and Σ rp = cr
    keys = {key: key[0] if key[1] == "BOTH" else ":".join(key) for key in watcher.quantities}
    assert {keys[key]: D(value) for key, value in watcher.quantities.items() if value} == {
        key: D(value) for key, value in books["positions"].items()
    }
    assert {keys[key]: value for key, value in watcher.realized.items() if value} == {
        key: D(value) for key, value in books["realized"].items()
    }
    # one trade has one id, and of an account with itself two sides
    for symbol, trades in watcher.trades.items():
        ids = [number for number, _ in trades]
        assert ids == sorted(ids)
        assert len(set(trades)) == len(trades) == books["trades"][symbol]
    # the other readings agree
    rows = list(account.incomes)
    assert [row.at_ms for row in rows] == sorted(row.at_ms for row in rows)
    moved: Counter[str] = Counter()
    for row in rows:
        moved[row.asset] += row.amount
    for asset in account.wallets:
        assert account.wallets[asset] == account.opening_wallets.get(asset, 0) + moved[asset]
    for risk in reports.position_risk(venue, account):
        key = risk["symbol"] if risk["positionSide"] == "BOTH" else f"{risk['symbol']}:{risk['positionSide']}"
        assert D(risk["positionAmt"]) == D(books["positions"].get(key, "0"))
    for holding in account.holdings.values():
        open_orders = [order for order in holding.orders.values() if order.opens]
        assert holding.buying == sum(order.remaining * order.price for order in open_orders if order.sign > 0)
        assert holding.selling == sum(order.remaining * order.price for order in open_orders if order.sign < 0)


@pytest.mark.parametrize("seed", range(4))
def test_identities_hold_after_thousands_of_random_orders(seed: int) -> None:
    venue, watchers, trader = simulate(seed, 5000)

    for account in venue.accounts.values():
        check(venue, account, watchers[account.api_key])
    heard = sum((watcher.kinds for watcher in watchers.values()), Counter[str]())
    assert heard["FUNDING_FEE"] > 20
    assert heard["ORDER"] > 1000
    assert sum(trader.refusals.values()) < 1500


def test_the_same_seed_says_the_same_and_another_one_something_else() -> None:
    books = []
    for seed in (7, 7, 8):
        venue, _, _ = simulate(seed, 300)
        books.append([venue.books(account) for account in venue.accounts.values()])

    assert books[0] == books[1]
    assert books[0] != books[2]


@pytest.mark.parametrize("hedge", [False, True])
def test_a_bot_trades_on_moving_prices_all_day(hedge: bool) -> None:
    now = START_MS

    def clock() -> int:
        return now

    venue = Venue(clock=clock, seed=5, moving=True)
    account = venue.open_account("bot", "s", wallets={"USDT": "10000"}, hedge=hedge)
    watcher = Watcher()
    watcher.move("USDT", D(10000))
    venue.on_user_event.append(lambda _, event: watcher.hear(event))
    marks: list[int] = []
    venue.on_mark_prices.append(lambda rows: marks.append(len(rows)))
    bot = TradingBot(venue, account, seed=1)
    for _ in range(2000):
        now += 20_000
        venue.advance()
        bot.step()

    check(venue, account, watcher)
    assert bot.placed > 1500
    assert bot.refused < 300
    assert watcher.kinds["FUNDING_FEE"] >= 1
    assert marks == [len(venue.markets)] * 2000


def test_prices_move_like_a_market_s() -> None:
    now = START_MS
    venue = Venue(clock=lambda: now, seed=11, moving=True)
    paths: dict[str, list[int]] = {symbol: [] for symbol in ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT")}
    for _ in range(1440):
        now += 60_000
        venue.advance()
        for symbol, path in paths.items():
            path.append(venue.markets[symbol].mark)

    for path in paths.values():
        steps = [abs(after / before - 1) for before, after in pairwise(path)]
        assert 0.5 < path[-1] / path[0] < 2
        assert 0.0001 < sum(steps) / len(steps) < 0.01
        assert max(steps) < 0.2
    book = reports.depth(venue, "BTCUSDT", limit=10)
    spread = D(book["asks"][0][0]) - D(book["bids"][0][0])
    assert 0 < spread < 30


def test_an_order_costs_no_more_after_ten_thousand_others() -> None:
    """What is kept grows, what is looked at does not: the book stays short, and so do the open orders."""
    venue, _, _ = simulate(3, 4000)

    for market in venue.markets.values():
        assert len(market.book.bids) + len(market.book.asks) <= 600
        assert len(market.book.bid_ladder.levels) + len(market.book.ask_ladder.levels) <= 800


@pytest.mark.parametrize("seed", range(3))
def test_identities_hold_through_liquidations(seed: int) -> None:
    """Small wallets, leverage 50, isolated and cross, one-way and hedged, prices that jump."""
    now = START_MS
    venue = Venue(clock=lambda: now, seed=seed, funding_interval_ms=60_000, legacy_funding_events=seed == 1)
    watchers: dict[str, Watcher] = {}
    venue.on_user_event.append(lambda account, event: watchers[account.api_key].hear(event))
    bots = []
    for number in range(4):
        account = venue.open_account(f"a{number}", "s", wallets={"USDT": "150"}, leverage=50, hedge=number % 2 == 1)
        watchers[account.api_key] = Watcher()
        watchers[account.api_key].move("USDT", D(150))
        if number > 1:
            venue.set_margin_type(account, {"symbol": "ETHUSDT", "marginType": "ISOLATED"})
        bots.append(TradingBot(venue, account, seed=seed + number, symbols=("BTCUSDT", "ETHUSDT"), worth=2000))
    rng = Random(seed)
    for step in range(1500):
        now += 1000
        bots[step % 4].step()
        if step % 10 == 0:
            symbol = rng.choice(("BTCUSDT", "ETHUSDT"))
            venue.set_price(symbol, D(venue.symbols[symbol].first_price) * rng.randint(970, 1030) / 10**11)
        venue.advance()
        if step % 300 == 0:
            for account in venue.accounts.values():
                if D(venue.books(account)["wallets"]["USDT"]) < 50:
                    venue.deposit(account, "USDT", "150")

    for account in venue.accounts.values():
        check(venue, account, watchers[account.api_key])
        assert account.wallets["USDT"] >= 0 or list(account.open_positions())
    assert sum(watcher.kinds["INSURANCE_CLEAR"] for watcher in watchers.values()) > 5


@pytest.mark.parametrize("seed", [7, 1, 2])
def test_at_the_volatility_of_the_demo_the_bot_wins_some_and_loses_some(seed: int) -> None:
    now = START_MS
    venue = Venue(clock=lambda: now, seed=seed, moving=True, volatility=6)
    account = venue.open_account("bot", "s", wallets={"USDT": "100000"})
    held: dict[str, Decimal] = {}
    result: dict[str, Decimal] = {}
    round_trips: list[Decimal] = []

    def hear(_: Account, event: dict[str, Any]) -> None:
        """Note the result of each round trip, from flat to flat; a crossing fill ends one and begins another."""
        order = event.get("o", {})
        if order.get("x") != "TRADE":
            return
        symbol, signed = order["s"], D(order["l"]) if order["S"] == "BUY" else -D(order["l"])
        before = held.get(symbol, ZERO)
        held[symbol] = before + signed
        result[symbol] = result.get(symbol, ZERO) + D(order["rp"]) - D(order["n"])
        if before and before * held[symbol] <= 0:
            round_trips.append(result.pop(symbol))

    venue.on_user_event.append(hear)
    bot = TradingBot(venue, account, seed=seed)
    for _ in range(3 * 60 * 4):  # three minutes, four steps a second
        now += 250
        venue.advance()
        bot.step()

    wins = sum(trip > 0 for trip in round_trips)
    assert len(round_trips) > 20
    assert 0.15 < wins / len(round_trips) < 0.85
