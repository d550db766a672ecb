"""The risk watch: an alert for each true crossing of a threshold, whatever the figures do around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Anchor, MarkPrice, Marks, Opening, Transfer
from account_monitor.ledger.margin import Bracket, MarginStated, MarginTerms, VenueMargin
from account_monitor.ledger.rules import Thresholds
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.risk_watch import LOOK_SECONDS, MAX_REFRESHED, REFRESH_SECONDS, UNKNOWN_SECONDS, RiskWatch
from account_monitor.monitor.views import Held
from tests.monitor_by_hand import Clock, fill, heard, opened

D = Decimal

OPENING = Opening("o", 0, (("USDT", D(2_000)),), (Anchor("BTCUSDT", "BOTH", D(10), D(1_000)),))
"""Ten contracts bought at 100: at a mark of m the leverage is 10 m / (1,000 + 10 m)."""

HALF = Thresholds(max_leverage=D("0.5"))
"""Reached at a mark of 100; over from 90.47 down, where the leverage is 0.475."""


class Desk:
    """A watched account, with what people were told."""

    def __init__(self, monitor: Monitor, clock: Clock, *, suppression_seconds: float = 0.0) -> None:
        self.monitor = monitor
        self.clock = clock
        self.alarms = AlarmBoard(clock, suppression_seconds=suppression_seconds)
        self.alarms.attach(monitor)
        self.risks = RiskWatch(self.alarms, clock.seconds)

    def watch(self, thresholds: Thresholds = HALF, *, for_seconds: float = 0.0) -> None:
        self.risks.attach(self.monitor, thresholds, for_seconds=for_seconds)

    async def mark(self, price: str, *, symbol: str = "BTCUSDT", after_ms: int = 1_000) -> None:
        self.clock.ms += after_ms
        self.monitor.mark(MarkPrice(symbol, D(price), self.clock.ms))
        await self.settle()

    async def settle(self) -> None:
        """Let the monitor take what waits, and record what it makes people hear."""
        await self.monitor.step()
        while len(self.monitor.inbox):
            await self.monitor.step()

    async def wait(self, seconds: float) -> None:
        self.clock.ms += int(seconds * 1_000)
        for watch in self.risks._accounts.values():
            watch.look()
        self.alarms.look()
        await self.settle()

    @property
    def told(self) -> list[tuple[str, str, str | None]]:
        """Type, state and symbol of every journaled transition."""
        alerts = [entry.event for entry in self.monitor.journal.remarks_after("alert", 0)]
        return [(alert.type, alert.state, alert.symbol) for alert in alerts if isinstance(alert, Alert)]

    @property
    def states(self) -> list[str]:
        return [state for _, state, _ in self.told]


@asynccontextmanager
async def desk(folder: Path, clock: Clock, opening: Opening = OPENING, **more: Any) -> AsyncIterator[Desk]:
    async with opened(folder, clock, opening) as monitor:
        yield Desk(monitor, clock, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- figures of the account --------------------------------------------------------------------------------------------


async def test_noise_around_a_threshold_is_one_alert_until_the_figure_is_back_inside(
    tmp_path: Path, clock: Clock
) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        for price in ("99", "101", "99", "101", "91", "110"):
            await watched.mark(price)
        assert watched.told == [("HIGH_LEVERAGE", "FIRING", None)]
        for price in ("90", "95", "99.9"):
            await watched.mark(price)
        assert watched.states == ["FIRING", "RESOLVED"]
        await watched.mark("100.1")
        assert watched.states == ["FIRING", "RESOLVED", "FIRING"]


async def test_people_read_what_it_is_and_the_figure_that_crossed(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        await watched.mark("300")
        (alert,) = watched.alarms.firing("main")

    assert (alert.value, alert.threshold, alert.severity) == (D("0.75"), D("0.5"), "WARNING")
    assert alert.message == "the positions are worth 0.75 times the margin balance, more than 0.5"


async def test_a_figure_that_nobody_knows_neither_begins_nor_ends_an_alert(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        await watched.mark("300")
        stranger = fill("1")._replace(symbol="FOOBAR", settlement_rate=None)
        watched.monitor.inbox.put(heard(stranger))
        await watched.settle()
        await watched.mark("50")

        assert watched.monitor.view.exposure.leverage is None
        assert watched.states == ["FIRING"]


async def test_a_margin_balance_that_is_used_up_is_the_highest_leverage(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock, OPENING._replace(wallets=(("USDT", D(100)),))) as watched:
        watched.watch(Thresholds(max_leverage=D(1_000)))
        await watched.mark("90")
        (alert,) = watched.alarms.firing("main")

    assert (alert.type, alert.value) == ("HIGH_LEVERAGE", None)
    assert "used up" in alert.message


async def test_low_wallets_are_told_whatever_the_marks_say(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch(Thresholds(min_balance=D(1_990)))
        await watched.mark("500")
        assert watched.told == []
        watched.monitor.inbox.put(heard(fill("1", "SELL", "1", "80")))  # loses 20 of the 2,000
        await watched.settle()

        assert watched.told == [("LOW_BALANCE", "FIRING", None)]


async def test_the_journal_knows_the_price_of_an_alert_before_it(tmp_path: Path, clock: Clock) -> None:
    """Also where the price before is journaled in the same millisecond."""
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        await watched.mark("99")
        await watched.mark("300")
        *_, marks, alert = [entry.event for entry in watched.monitor.journal.entries()]

    assert isinstance(alert, Alert)
    assert isinstance(marks, Marks)
    assert [mark.price for mark in marks.prices] == [D(300)]


async def test_people_hear_of_thresholds_that_nothing_is_compared_with(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        await watched.mark("90")
        watched.monitor.inbox.put(heard(Transfer("t", "AIRDROP", D("0.00000001"), clock.ms)))
        await watched.settle()
        await watched.wait(1)
        await watched.wait(UNKNOWN_SECONDS - 1)
        assert watched.told == []
        await watched.wait(1)
        (alert,) = watched.alarms.firing("main")
        assert alert.message == "not every threshold can be watched: no price for AIRDROP"
        watched.monitor.inbox.put(heard(Transfer("u", "AIRDROP", D("-0.00000001"), clock.ms)))
        await watched.settle()
        await watched.wait(1)
        assert watched.told == [("RISK_UNKNOWN", "FIRING", None), ("RISK_UNKNOWN", "RESOLVED", None)]


# -- how long ----------------------------------------------------------------------------------------------------------


async def test_what_has_to_last_fires_once_it_has_lasted_without_any_news(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch(for_seconds=30)
        await watched.mark("101")
        await watched.wait(29)
        assert watched.told == []
        await watched.wait(1)
        assert watched.states == ["FIRING"]


async def test_what_does_not_last_is_never_told(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch(for_seconds=30)
        await watched.mark("101")
        await watched.mark("99", after_ms=20_000)
        await watched.mark("101")
        await watched.wait(29)

        assert watched.told == []


async def test_two_crossings_shortly_after_each_other_are_told_when_the_second_still_holds(
    tmp_path: Path, clock: Clock
) -> None:
    async with desk(tmp_path, clock, suppression_seconds=60) as watched:
        watched.watch()
        for price in ("101", "80", "101"):
            await watched.mark(price)
        assert watched.states == ["FIRING", "RESOLVED"]
        await watched.wait(60)
        assert watched.states == ["FIRING", "RESOLVED", "FIRING"]


async def test_a_threshold_that_is_set_again_does_not_begin_to_count_anew(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch(for_seconds=30)
        await watched.mark("101")
        await watched.wait(20)
        watched.risks.configure("main", HALF, for_seconds=30)
        await watched.wait(10)
        assert watched.states == ["FIRING"]


@pytest.mark.parametrize("thresholds", [HALF, Thresholds()])
async def test_what_is_held_back_is_over_with_its_figure_also_after_a_reload(
    tmp_path: Path, clock: Clock, thresholds: Thresholds
) -> None:
    async with desk(tmp_path, clock, suppression_seconds=60) as watched:
        watched.watch()
        for price in ("101", "80", "101", "95"):
            await watched.mark(price)
        watched.risks.configure("main", thresholds)
        await watched.mark("80")
        await watched.wait(120)
        assert watched.states == ["FIRING", "RESOLVED"]


# -- what changes around it --------------------------------------------------------------------------------------------


async def test_a_restart_repeats_nothing_and_loses_nothing(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as first:
        first.watch()
        await first.mark("101")
    async with desk(tmp_path, clock) as second:
        second.watch()
        second.alarms.settle("main", but=("HIGH_LEVERAGE",))
        await second.mark("95")  # between where it begins and where it ends
        assert second.states == ["FIRING"]
        await second.mark("90")
        assert second.states == ["FIRING", "RESOLVED"]


async def test_what_crosses_back_while_nobody_looks_is_over_at_the_next_start(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as first:
        first.watch()
        await first.mark("101")
        first.alarms.forget("main")
        for _ in range(2):  # so that the journal knows the price
            await first.mark("80")
        assert first.states == ["FIRING"]
    async with desk(tmp_path, clock) as second:
        second.watch()
        await second.settle()
        assert second.states == ["FIRING", "RESOLVED"]


async def test_a_threshold_that_is_switched_off_ends_its_alert(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        await watched.mark("101")
        watched.risks.configure("main", Thresholds())
        await watched.settle()
        assert watched.states == ["FIRING", "RESOLVED"]


async def test_a_lower_threshold_is_looked_at_at_once(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch(Thresholds(max_leverage=D(10)))
        await watched.mark("101")
        watched.risks.configure("main", HALF)
        await watched.settle()
        assert watched.states == ["FIRING"]


async def test_an_alert_that_fires_shows_the_figures_of_now(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        await watched.mark("101")
        await watched.mark("300")
        await watched.wait(REFRESH_SECONDS)
        (alert,) = watched.alarms.firing("main")

        assert alert.value == D("0.75")
        assert watched.states == ["FIRING"]


async def test_a_mark_that_makes_a_position_worthless_ends_nothing(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch(Thresholds(min_liquidation_distance_pct=D(5)))
        watched.monitor.state_terms(TERMS)
        await watched.mark("0.0000000000001")

        assert watched.monitor.view.margin.closest_pct is not None


async def test_an_alert_does_not_wait_behind_fills(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock) as watched:
        watched.watch()
        watched.monitor.mark(MarkPrice("BTCUSDT", D(101), clock.ms))
        await watched.monitor.step()
        for number in range(3_000):
            watched.monitor.inbox.put(heard(fill(str(number + 1), "BUY", "0.001", "101")))
        await watched.monitor.step()

        assert watched.states == ["FIRING"]
        assert len(watched.monitor.inbox) > 1_000


# -- liquidation prices ------------------------------------------------------------------------------------------------

BRACKETS = (Bracket(D(10**9), D("0.01"), D(0)),)
TERMS = MarginTerms({"BTCUSDT": BRACKETS, "ETHUSDT": BRACKETS}, {"BTCUSDT": 10, "ETHUSDT": 10})
"""One hundredth of the notional is demanded, whatever it is."""

TWO = Opening(
    "o", 0, (("USDT", D(150)),),
    (Anchor("BTCUSDT", "BOTH", D(10), D(1_000)), Anchor("ETHUSDT", "BOTH", D(1), D(100))),
)  # fmt: skip
"""At 100 each, the account loses its 139 above what is demanded when BTCUSDT falls by some 14 %; ETHUSDT cannot."""


async def near_liquidation(watched: Desk, *, for_seconds: float = 0.0) -> None:
    watched.watch(Thresholds(min_liquidation_distance_pct=D(5)), for_seconds=for_seconds)
    watched.monitor.state_terms(TERMS)
    await watched.mark("100")
    await watched.mark("100", symbol="ETHUSDT")


async def test_the_position_near_its_liquidation_price_is_named_until_it_is_farther_away(
    tmp_path: Path, clock: Clock
) -> None:
    async with desk(tmp_path, clock, TWO) as watched:
        await near_liquidation(watched)
        assert watched.told == []
        await watched.mark("90")
        await watched.mark("89.9")
        assert watched.told == [("LIQUIDATION_NEAR", "FIRING", "BTCUSDT")]
        (alert,) = watched.alarms.firing("main")
        price, distance_pct = watched.monitor.view.liquidations()["BTCUSDT"]
        assert alert.severity == "CRITICAL"
        assert (alert.threshold, distance_pct < 5, str(price)[:4] in alert.message) == (D(5), True, True)
        await watched.mark("90.6")  # between 5 % and 5.25 % away
        assert watched.states == ["FIRING"]
        await watched.mark("91")
        assert watched.states == ["FIRING", "RESOLVED"]


async def test_the_loss_of_one_position_brings_another_near(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock, TWO) as watched:
        await near_liquidation(watched)
        await watched.mark("5", symbol="ETHUSDT")

        assert watched.told == [("LIQUIDATION_NEAR", "FIRING", "BTCUSDT")]


async def test_a_position_that_is_closed_is_near_no_more(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock, TWO) as watched:
        await near_liquidation(watched)
        await watched.mark("89.9")
        watched.monitor.inbox.put(heard(fill("1", "SELL", "10", "89.9")))
        await watched.settle()

        assert watched.states == ["FIRING", "RESOLVED"]


async def test_a_position_that_is_closed_is_near_no_more_although_margins_are_not_known(
    tmp_path: Path, clock: Clock
) -> None:
    async with desk(tmp_path, clock, TWO) as watched:
        await near_liquidation(watched)
        await watched.mark("89.9")
        watched.monitor.inbox.put(heard(fill("1", "BUY", "1", "100")._replace(symbol="NEWUSDT")))  # without brackets
        watched.monitor.inbox.put(heard(fill("2", "SELL", "10", "89.9")))
        await watched.settle()

        assert watched.monitor.view.margin.closest_pct is None
        assert watched.states == ["FIRING", "RESOLVED"]


async def test_where_the_terms_of_a_position_are_not_known_the_exchange_s_own_figures_are_watched(
    tmp_path: Path, clock: Clock
) -> None:
    async with desk(tmp_path, clock, TWO) as watched:
        watched.watch(Thresholds(max_margin_ratio=D("0.8")))
        watched.monitor.state_terms(TERMS)
        watched.monitor.inbox.put(heard(fill("1", "BUY", "0.01", "100")._replace(symbol="NEWUSDT")))
        await watched.mark("100")
        watched.monitor.state_margin(MarginStated({}, venue=VenueMargin(D(90), D(100), D(10), clock.ms)))
        await watched.mark("100")
        (alert,) = watched.alarms.firing("main")

    assert (alert.type, alert.value) == ("HIGH_MARGIN_RATIO", D("0.9"))


async def test_wallets_are_watched_although_a_position_has_no_price(tmp_path: Path, clock: Clock) -> None:
    unpriced = OPENING._replace(positions=(Anchor("FOOUSDT", "BOTH", D(1), D(5)),))
    async with desk(tmp_path, clock, unpriced) as watched:
        watched.watch(Thresholds(min_balance=D(5_000)))
        await watched.settle()

        assert watched.monitor.view.pnl.equity is None
        assert watched.told == [("LOW_BALANCE", "FIRING", None)]


def many(count: int) -> Opening:
    """Equal positions whose pool is used up when one of them falls by 4 %, and what they are bought for is 100 each."""
    anchors = tuple(Anchor(f"S{number:02}USDT", "BOTH", D(1), D(100)) for number in range(count))
    return Opening("o", 0, (("USDT", D(count) + D("3.96")),), anchors)


def terms_of(count: int) -> MarginTerms:
    symbols = [f"S{number:02}USDT" for number in range(count)]
    return MarginTerms(dict.fromkeys(symbols, BRACKETS), dict.fromkeys(symbols, 10))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the positions whose liquidation price was computed."""
    keys: list[str] = []
    compute = Held.liquidation

    def counted(held: Held) -> Any:
        keys.append(held.position.key)
        return compute(held)

    monkeypatch.setattr(Held, "liquidation", counted)
    return keys


async def all_near(watched: Desk, count: int) -> None:
    watched.monitor.state_terms(terms_of(count))
    for number in range(count):
        watched.monitor.mark(MarkPrice(f"S{number:02}USDT", D(100), watched.clock.ms))
    await watched.settle()
    watched.watch(Thresholds(min_liquidation_distance_pct=D(5)))
    await watched.settle()


async def test_no_liquidation_price_is_computed_for_a_fill(tmp_path: Path, clock: Clock, computed: list[str]) -> None:
    async with desk(tmp_path, clock, many(3)) as watched:
        await all_near(watched, 3)
        assert computed == ["S00USDT", "S01USDT", "S02USDT"]
        for number in range(20):
            buy = fill(str(number), "BUY", "0.001", "100")._replace(symbol="S00USDT")
            watched.monitor.inbox.put(heard(buy))
            await watched.settle()
        assert len(computed) == 3
        assert watched.states == ["FIRING"] * 3


async def test_of_many_near_positions_a_few_are_shown_anew_each_second_in_turn(
    tmp_path: Path, clock: Clock, computed: list[str]
) -> None:
    count = 2 * MAX_REFRESHED + 5
    async with desk(tmp_path, clock, many(count)) as watched:
        await all_near(watched, count)
        await watched.wait(REFRESH_SECONDS)
        seconds: list[set[str]] = []
        for _ in range(3):
            computed.clear()
            for _ in range(20):
                await watched.wait(LOOK_SECONDS)
            seconds.append(set(computed))
            assert len(computed) == MAX_REFRESHED

    assert len(set.union(*seconds)) == count


async def test_a_position_comes_near_and_is_so_no_more_with_the_very_fill_that_crosses(
    tmp_path: Path, clock: Clock
) -> None:
    async with desk(tmp_path, clock, TWO) as watched:
        await near_liquidation(watched)
        await watched.mark("91")  # 5.5 % away, and 4.4 % with two more
        for number, side in enumerate(("BUY", "SELL", "BUY", "SELL")):
            watched.clock.ms += 1
            watched.monitor.inbox.put(heard(fill(str(number), side, "2", "91")))
            await watched.settle()

        assert watched.states == ["FIRING", "RESOLVED", "FIRING", "RESOLVED"]


async def test_a_position_that_is_not_near_for_a_moment_begins_to_count_anew(tmp_path: Path, clock: Clock) -> None:
    async with desk(tmp_path, clock, TWO) as watched:
        await near_liquidation(watched, for_seconds=30)
        for price in ("89.9", "91", "89.9"):
            await watched.mark(price, after_ms=20_000)
        await watched.wait(29)
        assert watched.told == []
        await watched.wait(1)
        assert watched.told == [("LIQUIDATION_NEAR", "FIRING", "BTCUSDT")]
