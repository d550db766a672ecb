"""A day around two thresholds: one FIRING and one RESOLVED for each true crossing of the band; no deposit is one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Anchor, MarkPrice, Opening, Transfer
from account_monitor.ledger.rules import Thresholds
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.risk_watch import RiskWatch
from tests.monitor_by_hand import Clock, heard, opened

D = Decimal
STEP_MS = 60_000
STEPS = 24 * 3600 * 1000 // STEP_MS
OPENING = Opening("o", 0, (("USDT", D(2_000)),), (Anchor("BTCUSDT", "BOTH", D(10), D(1_000)),))
THRESHOLDS = Thresholds(max_leverage=D("0.5"), max_drawdown_pct=D(-5))


class Reference:
    """What the account is worth by other arithmetic, and the alerts that follow from the definition of a band."""

    def __init__(self) -> None:
        self.wallet, self.price = Fraction(2_000), Fraction(100)
        self.worth = self.peak = Fraction(1)
        """Of a unit of the account."""
        self.crossings: list[tuple[str, str]] = []
        self._firing: set[str] = set()

    @property
    def equity(self) -> Fraction:
        return self.wallet + 10 * self.price - 1_000

    def mark(self, price: Decimal) -> None:
        before = self.equity
        self.price = Fraction(price)
        self.worth *= self.equity / before
        self.peak = max(self.peak, self.worth)
        self._look()

    def transfer(self, amount: Decimal) -> None:
        self.wallet += Fraction(amount)
        self._look()

    def _look(self) -> None:
        fall = 100 - 100 * self.worth / self.peak
        leverage = 10 * self.price / self.equity
        for name, figure, limit in (("HIGH_DRAWDOWN", fall, Fraction(5)), ("HIGH_LEVERAGE", leverage, Fraction(1, 2))):
            if name not in self._firing and figure > limit:
                self._firing.add(name)
                self.crossings.append((name, "FIRING"))
            elif name in self._firing and figure <= limit * Fraction(95, 100):
                self._firing.remove(name)
                self.crossings.append((name, "RESOLVED"))


@pytest.mark.parametrize("seed", range(2))
async def test_a_day_of_noise(tmp_path: Path, seed: int) -> None:
    chance, clock, reference = Random(seed), Clock(), Reference()
    async with opened(tmp_path, clock, OPENING, snapshot_seconds=0.1) as monitor:
        alarms = AlarmBoard(clock)
        alarms.attach(monitor)
        risks = RiskWatch(alarms, clock.seconds)
        risks.attach(monitor, THRESHOLDS)
        monitor.mark(MarkPrice("BTCUSDT", D(100), clock.ms))
        await monitor.step()
        level = D(100)
        for step in range(STEPS):
            clock.ms += STEP_MS
            if step % 120 == 0:
                level = D(chance.choice((80, 88, 95, 100, 104)))
            price = level + D(chance.randint(-200, 200)).scaleb(-2)
            monitor.mark(MarkPrice("BTCUSDT", price, clock.ms))
            reference.mark(price)
            await monitor.step()
            if chance.random() < 0.02:
                amount = D(chance.choice((-300, -50, 40, 500)))
                if reference.wallet + Fraction(amount) > 1_500:
                    monitor.inbox.put(heard(Transfer(str(step), "USDT", amount, clock.ms)))
                    reference.transfer(amount)
            while len(monitor.inbox):
                await monitor.step()
        alerts = [entry.event for entry in reversed(list(monitor.journal.remarks("alert")))]
        told = [(alert.type, alert.state) for alert in alerts if isinstance(alert, Alert)]

    assert len(reference.crossings) > 6  # else the day was no test
    for name in ("HIGH_DRAWDOWN", "HIGH_LEVERAGE"):
        assert [state for kind, state in told if kind == name] == [s for k, s in reference.crossings if k == name]
