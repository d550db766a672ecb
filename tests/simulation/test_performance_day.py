"""A day of an account, against books of another kind: cash, contracts and fractions, of which nothing is rounded."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from account_monitor.ledger.account import DAY_MS, USD_ASSETS, Account
from account_monitor.ledger.events import Fill, MarkPrice, Opening, Transfer
from account_monitor.ledger.performance import Standing
from account_monitor.monitor.monitor import Monitor
from tests.monitor_by_hand import Clock, heard, opened

D = Decimal
STEP_MS = 30_000
STEPS = DAY_MS // STEP_MS
OPENING = Opening("config", 0, (("USDT", D(10_000)),))
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Books:
    """What the account is worth: the cash that came in and went out, and what is held at its price."""

    def __init__(self) -> None:
        self.cash = Fraction(10_000)
        self.coins = Fraction(0)
        self.held = dict.fromkeys(SYMBOLS, Fraction(0))
        self.price = dict.fromkeys((*SYMBOLS, "BNBUSDT"), Fraction(100))
        self.value = self.peak = Fraction(1)
        """Of a unit, as of the last step."""
        self.worst = Fraction(0)
        self.before = self.journaled = self.day_began = self.equity()
        self.day_flows = Fraction(0)

    def equity(self) -> Fraction:
        held = sum((quantity * self.price[symbol] for symbol, quantity in self.held.items()), Fraction(0))
        return self.cash + self.coins * self.price["BNBUSDT"] + held

    def take(self, fill: Fill) -> None:
        quantity = Fraction(fill.signed_quantity)
        self.held[fill.symbol] += quantity
        self.cash -= quantity * Fraction(fill.price) + Fraction(fill.fee or 0)

    def earn(self) -> None:
        """Let what was won or lost since count."""
        equity = self.equity()
        self.value *= equity / self.before
        self.before = equity

    def observe(self) -> None:
        """Let what was won or lost since be seen."""
        self.earn()
        self.peak = max(self.peak, self.value)
        self.worst = min(self.worst, self.value / self.peak - 1)

    def pay(self, transfer: Transfer) -> None:
        self.observe()
        if transfer.asset == "BNB":
            self.coins += Fraction(transfer.amount)
        else:
            self.cash += Fraction(transfer.amount)
        self.day_flows += self.equity() - self.before
        self.before = self.journaled = self.equity()

    def begin_day(self) -> None:
        self.day_began, self.day_flows = self.journaled, Fraction(0)

    def standing(self) -> Standing:
        return Standing(
            _rounded(100 * (self.value / self.peak - 1)),
            _rounded(100 * self.worst),
            _rounded(100 * (self.value - 1)),
            None,
            D(0) + _exact(max(self.day_began + self.day_flows - self.equity(), Fraction(0))),
        )


def _rounded(number: Fraction) -> Decimal:
    return D(round(number * 10**10)).scaleb(-10)


def _exact(number: Fraction) -> Decimal:
    scaled = number * 10**20
    assert scaled.denominator == 1
    return D(scaled.numerator).scaleb(-20)


@pytest.mark.parametrize("seed", range(2))
async def test_a_day_of_trades_and_flows_is_the_chain_of_its_results(tmp_path: Path, seed: int) -> None:
    chance, clock, books = Random(seed), Clock(), Books()
    withheld: list[Fill] = []
    async with opened(tmp_path, clock, OPENING) as monitor:
        for symbol in books.price:
            monitor.mark(MarkPrice(symbol, D(100), clock.ms))
        await monitor.step()
        for number in range(1, STEPS):
            day = clock.ms // DAY_MS
            clock.ms += STEP_MS
            if clock.ms // DAY_MS != day:
                books.begin_day()
            await monitor.step()  # what was there before is observed
            books.journaled = books.before
            if chance.random() < 0.3:
                made = _fill(chance, number, clock.ms)
                (withheld.append if chance.random() < 0.1 else lambda fill: _deliver(monitor, books, fill))(made)
            elif withheld and chance.random() < 0.05:
                _deliver(monitor, books, withheld.pop())
            await monitor.step()
            books.earn()  # nobody looks between the fills
            if chance.random() < 0.02:
                asset, most = chance.choice((("USDT", 500), ("BNB", 3)))
                paid = Transfer(str(number), asset, D(chance.randint(-most, 2 * most)), clock.ms)
                seen = monitor.view.standing
                books.pay(paid)
                monitor.inbox.put(heard(paid))
                await monitor.step()
                assert monitor.view.standing.drawdown_pct == seen.drawdown_pct
                assert monitor.view.standing.return_pct == seen.return_pct
            for symbol in books.price:
                moved = D(chance.randint(-20, 20)).scaleb(-2)
                books.price[symbol] += Fraction(moved)
                monitor.mark(MarkPrice(symbol, _exact(books.price[symbol]), clock.ms))
            clock.ms += 100
            await monitor.step()
            books.observe()  # as the first step of the next turn does
            clock.ms -= 100
            _agree(monitor.view.standing, books.standing())

        before, entries = monitor.view.standing, list(monitor.journal.entries())
        assert monitor.past.believed(clock.ms + STEP_MS).standing.return_pct is not None
        folded = Account(monitor.journal, usd_assets=USD_ASSETS)
        folded.apply_all([(entry.seq, entry.event) for entry in entries])
        assert folded.state.performance == monitor._account.state.performance
        clock.ms += STEP_MS
        await monitor.step()

    async with opened(tmp_path, clock, OPENING) as monitor:
        assert monitor.view.standing == before


def _agree(seen: Standing, expected: Standing) -> None:
    assert (seen.drawdown_pct, seen.max_drawdown_pct, seen.return_pct, seen.daily_loss) == (
        expected.drawdown_pct, expected.max_drawdown_pct, expected.return_pct, expected.daily_loss,
    )  # fmt: skip


def _fill(chance: Random, number: int, at_ms: int) -> Fill:
    price = D(chance.randint(9_900, 10_100)).scaleb(-2)
    quantity = D(chance.randint(1, 30)).scaleb(-1)
    return Fill(chance.choice(SYMBOLS), str(number), chance.choice(("BUY", "SELL")), quantity, price, at_ms,
                fee=D("0.01"), fee_asset="USDT")  # fmt: skip


def _deliver(monitor: Monitor, books: Books, fill: Fill) -> None:
    monitor.inbox.put(heard(fill))
    books.take(fill)
