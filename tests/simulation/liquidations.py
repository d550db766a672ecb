"""Accounts at the simulated venue: do we name the prices at which it liquidates, and the margins that it states?

The venue's margins share no code with ours. Everything that the ledger is told passes our decoders: the rules, the
statement and the trades. `python -m tests.simulation.liquidations --seeds 500` walks so many accounts to their ends.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Context, Decimal
from random import Random
from typing import Any, NamedTuple

from account_monitor.feeds.binance.answers import (
    account_of,
    asset_rates_of,
    brackets_of,
    position_risks_of,
    symbol_configs_of,
)
from account_monitor.ledger.account import Account, EventList
from account_monitor.ledger.events import Fill, MarkPrice, Opening, OtherIncome, position_key
from account_monitor.ledger.liquidation import Liquidation, liquidations
from account_monitor.ledger.margin import MarginStated, MarginTerms, MarginUse
from account_monitor.ledger.money import ZERO, use_exact_arithmetic
from account_monitor.ledger.valuation import Valuation
from exchange_simulator import reports
from exchange_simulator.errors import VenueError
from exchange_simulator.money import trimmed
from exchange_simulator.symbols import catalogue
from tests.venue_desk import Desk

D = Decimal
ONE_STEP = D(1)
KINDS = ("cross", "isolated", "mixed", "hedge", "hedge-isolated", "multi-assets", "multi-assets-hedge")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "APTUSDT", "1000PEPEUSDT", "BTCUSDC",
           "SOLUSDC")  # fmt: skip
COARSE_STEPS = 25
_ticks = Context(prec=60, traps=[])


class Walk(NamedTuple):
    """How a price was walked: where we said that the venue liquidates, and where it did, None: within reach nowhere."""

    kind: str
    key: str
    predicted: Decimal
    found: Decimal | None
    tick: Decimal

    @property
    def ticks_off(self) -> Decimal | None:
        """How many ticks lie between the two."""
        return None if self.found is None else _ticks.divide(abs(self.found - self.predicted), self.tick)


class Case:
    """One account at the venue, and the same account in our ledger."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        self.is_hedge, self.is_multi_assets = "hedge" in self.kind, "multi" in self.kind
        rules = tuple(each for each in catalogue() if each.symbol in SYMBOLS)
        self.desk = Desk(rules, seed=seed)
        wallets = {"USDT": str(chance.choice((2_000, 50_000, 3_000_000))), "USDC": str(chance.choice((500, 400_000)))}
        if self.is_multi_assets:
            wallets["BNB"] = str(chance.choice((1, 50)))
        self.account = self.desk.account(wallets=wallets, hedge=self.is_hedge, multi_assets=self.is_multi_assets)
        self.events = EventList()
        self.ours = Account(self.events)
        self.seq = 0
        self._apply(Opening("o", 0, tuple((asset, D(amount)) for asset, amount in wallets.items())))
        self._seen: Counter[str] = Counter()
        self._incomes_seen = 0
        self.valuation = Valuation(self.ours)
        self._set_up()

    def _apply(self, event: Fill | Opening | OtherIncome) -> None:
        self.seq += 1
        self.events.add(self.seq, event)
        self.ours.apply(self.seq, event)

    def _set_up(self) -> None:
        for symbol in self.desk.venue.symbols:
            self.desk.venue.set_leverage(
                self.account, {"symbol": symbol, "leverage": str(self.chance.choice((3, 8, 20, 40)))}
            )
            is_isolated = self.kind.endswith("isolated") or (self.kind == "mixed" and self.chance.random() < 0.5)
            if is_isolated:
                self.desk.venue.set_margin_type(self.account, {"symbol": symbol, "marginType": "ISOLATED"})

    # -- what happens ------------------------------------------------------------------------------------------------

    def trade(self) -> None:
        """Open, add to, reduce or turn a position at the mark, if the venue allows it; sometimes leave an order."""
        chance, venue = self.chance, self.desk.venue
        symbol = chance.choice(SYMBOLS)
        market = venue.markets[symbol]
        mark = D(trimmed(market.mark))
        leg = chance.choice(("LONG", "SHORT")) if self.is_hedge else "BOTH"
        side = chance.choice(("BUY", "SELL"))
        worth = D(chance.choice((300, 2_000, 20_000, 150_000, 900_000)))
        step, tick = D(trimmed(market.rules.step)), D(trimmed(market.rules.tick))
        size = multiple(_ticks.divide(worth, mark), step)
        at = multiple(mark, tick)
        more = {"positionSide": leg} if self.is_hedge else {}
        try:
            if chance.random() < 0.15:
                away = multiple(at * (D("0.97") if side == "BUY" else D("1.03")), tick)
                self.desk.order(self.account, side, f"{size:f}", f"{away:f}", symbol=symbol, **more)
            else:
                self.desk.fill(self.account, side, f"{size:f}", f"{at:f}", symbol=symbol, **more)
        except VenueError:
            return  # too much for the account, or for its leverage

    def move(self) -> None:
        """Move a mark a little; the index stays, so that what a wallet counts for does too."""
        symbol = self.chance.choice(SYMBOLS)
        mark = D(trimmed(self.desk.venue.markets[symbol].mark))
        self.set_mark(symbol, multiple(mark * D(self.chance.randint(9_900, 10_100)).scaleb(-4), D("0.00000001")))

    def set_mark(self, symbol: str, mark: Decimal) -> None:
        """Let the mark be this, and the venue do what follows from it."""
        index = trimmed(self.desk.venue.markets[symbol].index)
        self.desk.venue.set_price(symbol, mark, index=index)

    def cancel_orders(self) -> None:
        """Leave nothing in the book."""
        for symbol in SYMBOLS:
            self.desk.venue.cancel_all_orders(self.account, {"symbol": symbol})

    # -- what we know ------------------------------------------------------------------------------------------------

    def learn(self) -> MarginUse:
        """Tell our ledger everything that it may know, and return how it judges the account."""
        keys = self._learn_trades()
        self.valuation.refresh(keys)
        for symbol in SYMBOLS:
            mark = D(trimmed(self.desk.venue.markets[symbol].mark))
            self.valuation.mark(MarkPrice(symbol, mark, 10**9))
        self.valuation.state_margin(self._stated())
        self.valuation.state_terms(self._terms())
        return self.valuation.margin()

    def _learn_trades(self) -> set[str]:
        new = []
        for symbol, trades in self.account.trades.items():
            new += trades[self._seen[symbol] :]
            self._seen[symbol] = len(trades)
        keys = set()
        for trade in sorted(new, key=lambda each: (each.at_ms, each.id)):
            fill = Fill(
                trade.symbol, str(trade.id), trade.side, D(trimmed(trade.quantity)), D(trimmed(trade.price)),  # type: ignore[arg-type]
                trade.at_ms, trade.position_side, D(trimmed(trade.fee)), trade.fee_asset,  # type: ignore[arg-type]
                D(trimmed(trade.realized)),
            )  # fmt: skip
            self._apply(fill)
            keys.add(position_key(fill.symbol, fill.position_side))
        for row in self.account.incomes[self._incomes_seen :]:
            if row.kind == "INSURANCE_CLEAR":  # of a liquidation on the way
                identity = str(row.transaction_id)
                self._apply(OtherIncome(identity, row.asset, D(trimmed(row.amount)), row.at_ms, row.kind))
        self._incomes_seen = len(self.account.incomes)
        return keys

    def _stated(self) -> MarginStated:
        stated = account_of(written(reports.account(self.desk.venue, self.account)))
        isolated = {position_key(p.symbol, p.position_side): p.isolated_wallet or ZERO for p in stated.positions}
        orders = {asset.asset: asset.order_margin or ZERO for asset in stated.assets}
        return MarginStated({key: wallet for key, wallet in isolated.items() if wallet}, True, orders)

    def _terms(self) -> MarginTerms:
        venue, account = self.desk.venue, self.account
        configs = symbol_configs_of(written(reports.symbol_config(venue, account)))
        return MarginTerms(
            brackets_of(written(reports.leverage_bracket(venue, account))),
            {symbol: config.leverage for symbol, config in configs.items()},
            frozenset(symbol for symbol, config in configs.items() if config.is_isolated),
            self.is_multi_assets,
            asset_rates_of(written(reports.asset_index(venue))),
        )

    # -- what the venue says -----------------------------------------------------------------------------------------

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Return by name what the venue states otherwise than we do, to its last digit: (venue, ours)."""
        use = self.learn()
        told = reports.account(self.desk.venue, self.account)
        pairs = self._figures(told, use)
        for row in told["positions"]:
            key = position_key(row["symbol"], row["positionSide"])
            position = self.valuation.positions.get(key)
            margin = None if position is None else position.margin
            pairs[f"maintMargin of {key}"] = (row["maintMargin"], ZERO if margin is None else margin.maintenance)
        return {name: pair for name, pair in pairs.items() if D(pair[0]) != pair[1]}

    def _figures(self, told: Mapping[str, Any], use: MarginUse) -> dict[str, tuple[str, Decimal | None]]:
        if self.is_multi_assets:
            (pool,) = use.pools or (None,)
            return {
                "totalMaintMargin": (told["totalMaintMargin"], use.maintenance_margin),
                "availableBalance": (told["availableBalance"], use.available),
                "cross maintenance": (told["totalMaintMargin"], ZERO if pool is None else pool.maintenance_margin),
            }
        pairs: dict[str, tuple[str, Decimal | None]] = {}
        for row in told["assets"]:
            name, asset = row["asset"], use.assets[row["asset"]]
            isolated = [
                position.margin
                for position in self.valuation.positions.values()
                if position.margin is not None
                and position.margin.isolated_wallet is not None
                and position.settlement_asset == name
            ]
            wallets = sum((margin.isolated_wallet or ZERO for margin in isolated), ZERO)
            unrealized = sum((margin.unrealized for margin in isolated), ZERO)
            maintenance = sum((margin.maintenance for margin in isolated), ZERO)
            pairs |= {
                f"crossWalletBalance of {name}": (row["crossWalletBalance"], asset.wallet),
                f"marginBalance of {name}": (row["marginBalance"], asset.balance + wallets + unrealized),
                f"maintMargin of {name}": (row["maintMargin"], asset.maintenance + maintenance),
                f"availableBalance of {name}": (row["availableBalance"], asset.available),
            }
        return pairs

    def stated_prices(self) -> dict[str, Decimal]:
        """Return the liquidation prices that the venue states; a position that is absent has none."""
        rows = reports.position_risk(self.desk.venue, self.account)
        position_risks_of(written(rows))
        prices = {position_key(row["symbol"], row["positionSide"]): D(row["liquidationPrice"]) for row in rows}
        return {key: price for key, price in prices.items() if price}

    def prices(self) -> dict[str, Decimal]:
        """Return the liquidation prices that we name."""
        found = liquidations(self.valuation.positions, self.valuation.margin())
        return {key: each.price for key, each in found.items()}

    # -- the walk ----------------------------------------------------------------------------------------------------

    def open_count(self) -> int:
        """Return how many positions are open."""
        return sum(1 for _ in self.account.open_positions())

    def walk(self, key: str, predicted: Liquidation) -> Walk:
        """Move the mark towards the price that we name, at the end tick by tick, until the venue liquidates."""
        symbol = key.partition(":")[0]
        market = self.desk.venue.markets[symbol]
        tick, start, before = D(trimmed(market.rules.tick)), D(trimmed(market.mark)), self.open_count()
        sign = 1 if predicted.price > start else -1
        near = multiple(predicted.price, tick) - sign * 3 * tick
        coarse = [start + (near - start) * step / COARSE_STEPS for step in range(1, COARSE_STEPS + 1)]
        prices = [multiple(price, D("0.00000001")) for price in coarse if (near - start) * sign > 0]
        prices += [near + sign * step * tick for step in range(1, 8)]
        for price in prices:
            if price <= 0:
                continue
            self.set_mark(symbol, price)
            if self.open_count() < before:
                return Walk(self.kind, key, predicted.price, price, tick)
        return Walk(self.kind, key, predicted.price, None, tick)


def multiple(number: Decimal, step: Decimal) -> Decimal:
    """Return the multiple of a step at or below a positive number, at least one."""
    return max(ONE_STEP, _ticks.divide(number, step).to_integral_value(ROUND_FLOOR)) * step


def written(answer: Any) -> bytes:
    """Return an answer as the venue sends it."""
    return json.dumps(answer).encode()


def traded(seed: int) -> Case:
    """Return an account that has traded, and holds something."""
    case = Case(seed)
    for _ in range(60):
        if case.chance.random() < 0.6:
            case.trade()
        else:
            case.move()
    return case


def walked(seed: int) -> Walk | None:
    """Walk the mark of one position of an account to its end; None where no position has a price in reach."""
    case = traded(seed)
    case.cancel_orders()
    case.learn()
    found = liquidations(case.valuation.positions, case.valuation.margin())
    near = {key: each for key, each in found.items() if D("0.1") < each.distance_pct < 500}
    if not near:
        return None
    key = case.chance.choice(sorted(near))
    return case.walk(key, near[key])


def main() -> int:
    """Return the exit code: 1 where the venue liquidated elsewhere."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.liquidations", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many accounts are walked to the end (default: 500)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    options = parser.parse_args()
    use_exact_arithmetic()
    began, seed, failed, worst = time.monotonic(), options.first, 0, ZERO
    kinds: Counter[str] = Counter()
    while sum(kinds.values()) < options.seeds:
        walk = walked(seed)
        if walk is not None:
            kinds[walk.kind] += 1
            off = walk.ticks_off
            worst = worst if off is None else max(worst, off)
            if off is None or off > 1:
                failed += 1
                print(f"seed {seed}: {walk}", flush=True)
        seed += 1
    print(f"{sum(kinds.values())} accounts ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}):")
    print(f"{failed} liquidated elsewhere; at most {worst:.2f} ticks off; {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
