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
            ("USDC", D(3), None), ("ETHUSDT:LONG", D(2), None),
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
