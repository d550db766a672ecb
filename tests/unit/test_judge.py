"""When a statement disagrees with the ledger, and when it only comes at another moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from account_monitor.ledger.events import Opening
from account_monitor.ledger.reconciliation import Statement, Subject
from account_monitor.monitor.judge import STREAM_SECONDS, WINDOW_SECONDS, Judge
from account_monitor.monitor.monitor import Monitor
from tests.monitor_by_hand import NOW_MS, Clock, fill, heard, opened

D = Decimal
BTC, USDT = Subject("position", "BTCUSDT"), Subject("wallet", "USDT")


class Desk:
    """A monitor with 100 USDT, its judge and its clock."""

    def __init__(self, monitor: Monitor, clock: Clock) -> None:
        self.clock = clock
        self.monitor = monitor
        self.judge = Judge(clock.seconds)
        self.judge.start(monitor.view)
        monitor.observers.append(self.judge.note)

    async def trade(self, trade_id: str, quantity: str = "1") -> None:
        """Book a fill that costs a fee of 1 USDT."""
        self.monitor.inbox.put(heard(fill(trade_id, quantity=quantity, fee=D(1), fee_asset="USDT")))
        await self.monitor.step()

    def state(self, *, wallet: str | None = None, quantity: str | None = None, complete: bool = False) -> None:
        wallets = {} if wallet is None else {"USDT": D(wallet)}
        quantities = {} if quantity is None else {"BTCUSDT": D(quantity)}
        self.judge.hear(Statement(self.clock.ms, wallets, quantities, complete))

    @property
    def disputed(self) -> list[Subject]:
        return [each.subject for each in self.judge.disagreements()]


@asynccontextmanager
async def desk_at(folder: Path) -> AsyncIterator[Desk]:
    clock = Clock()
    async with opened(folder, clock, Opening("test", NOW_MS - 1, (("USDT", D(100)),))) as monitor:
        yield Desk(monitor, clock)


async def test_a_statement_before_its_fill_disagrees_until_the_fill_is_booked(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.state(wallet="99", quantity="1")
        assert desk.disputed == [USDT, BTC]

        await desk.trade("1")
        assert desk.disputed == []


async def test_a_statement_that_is_a_moment_old_agrees(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.trade("1")
        desk.clock.ms += 1_000
        await desk.trade("2")

        desk.state(wallet="99", quantity="1", complete=True)
        assert desk.disputed == []


async def test_what_the_ledger_held_long_ago_is_no_excuse(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.trade("1")
        await desk.trade("2")
        desk.clock.ms += int(STREAM_SECONDS * 1000) + 1
        desk.state(quantity="1")
        assert desk.disputed == [BTC]

        desk.state(quantity="1", complete=True)
        assert desk.disputed == []
        desk.clock.ms += int(WINDOW_SECONDS * 1000)
        desk.state(quantity="1", complete=True)
        assert desk.disputed == [BTC]


async def test_in_a_complete_statement_an_absent_position_is_flat_and_an_absent_wallet_unknown(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.trade("1")
        desk.clock.ms += int(WINDOW_SECONDS * 1000) + 1
        desk.state()
        assert desk.disputed == []

        desk.state(complete=True)
        assert desk.disputed == [BTC]


async def test_what_only_the_exchange_knows_is_compared(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.judge.hear(Statement(desk.clock.ms, {"BNB": D(0), "USDC": D(3)}, {"ETHUSDT:LONG": D(2)}, is_complete=True))

        assert [(d.subject.name, d.stated, d.held) for d in desk.judge.disagreements()] == [
            ("USDC", D(3), None), ("ETHUSDT:LONG", D(2), D(0)),
        ]  # fmt: skip


async def test_an_older_statement_says_nothing_against_a_younger_one(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.state(wallet="100")
        young = desk.clock.ms
        desk.judge.hear(Statement(young - 600_000, {"USDT": D(7)}, {}, is_complete=False))

        assert desk.disputed == []


async def test_a_disagreement_is_as_old_as_its_beginning(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.state(wallet="90")
        desk.clock.ms += 3_000
        desk.state(wallet="80")
        desk.clock.ms += 2_000

        assert [d.stated for d in desk.judge.disagreements(for_seconds=5)] == [D(80)]
        assert desk.judge.disagreements(for_seconds=5.1) == []


async def test_what_a_wallet_was_between_two_fills_of_one_commit_agrees(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        for trade_id in ("1", "2", "3"):
            desk.monitor.inbox.put(heard(fill(trade_id, quantity="1", fee=D(1), fee_asset="USDT")))
        await desk.monitor.step()

        desk.state(wallet="98", quantity="2")
        assert desk.disputed == []
        desk.state(wallet="97.5")
        assert desk.disputed == [USDT]


async def test_what_is_too_small_for_an_alarm_is_a_disagreement_all_the_same(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.judge = Judge(desk.clock.seconds, wallet_tolerance=D("0.00001"))
        desk.judge.start(desk.monitor.view)
        desk.state(wallet="100.00001")
        assert [each.is_tolerated for each in desk.judge.disagreements()] == [True]

        desk.clock.ms += 60_000
        desk.state(wallet="100.00002")
        assert [each.is_tolerated for each in desk.judge.disagreements()] == [False]
        assert desk.judge.disagreements(for_seconds=1) == []


async def test_what_was_searched_for_in_vain_stays_and_is_known_again(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.state(wallet="90", complete=True)
        desk.judge.accept(USDT, D(-10))
        await desk.trade("1")
        desk.state(wallet="89", quantity="1", complete=True)
        assert [(each.difference, each.is_accepted) for each in desk.judge.disagreements()] == [(D(-10), True)]

        desk.clock.ms += int(WINDOW_SECONDS * 1000) + 1
        desk.state(wallet="88", quantity="1", complete=True)
        assert [each.is_accepted for each in desk.judge.disagreements()] == [False]
        desk.state(wallet="99", quantity="1", complete=True)
        assert desk.disputed == []


def statement(desk: Desk, **wallets: str) -> Statement:
    return Statement(desk.clock.ms, {asset: D(amount) for asset, amount in wallets.items()}, {}, is_complete=True)


async def test_only_a_statement_of_all_that_is_held_at_one_time_is_exact(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        now = desk.clock.seconds
        left = now()
        assert desk.judge.is_exact(statement(desk, USDT="100"), left)
        assert desk.judge.is_exact(statement(desk, USDT="100", BNB="0"), left)
        assert not desk.judge.is_exact(statement(desk, USDT="100", BNB="1"), left)
        assert not desk.judge.is_exact(statement(desk, USDT="99.99999999"), left)
        assert not desk.judge.is_exact(statement(desk), left)

        desk.clock.ms += 50
        await desk.trade("1")
        held = Statement(desk.clock.ms, {"USDT": D(99)}, {"BTCUSDT": D(1)}, is_complete=True)
        mixed = Statement(desk.clock.ms, {"USDT": D(100)}, {"BTCUSDT": D(1)}, is_complete=True)
        assert desk.judge.is_exact(held, left)
        assert desk.judge.is_exact(statement(desk, USDT="100"), left)
        assert not desk.judge.is_exact(mixed, left)
        desk.clock.ms += 50
        assert not desk.judge.is_exact(statement(desk, USDT="100"), now())


async def test_an_accepted_difference_is_part_of_what_is_exact(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.state(wallet="90", complete=True)
        desk.judge.accept(USDT, D(-10))

        assert desk.judge.is_exact(statement(desk, USDT="90"), desk.clock.seconds())
        assert not desk.judge.is_exact(statement(desk, USDT="100"), desk.clock.seconds())


async def test_a_clock_that_was_set_back_makes_no_statement_old(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.judge.hear(Statement(desk.clock.ms + 3_600_000, {"USDT": D(100)}, {}, is_complete=True))
        desk.judge.restart_times()
        desk.state(wallet="90", complete=True)

        assert desk.disputed == [USDT]
