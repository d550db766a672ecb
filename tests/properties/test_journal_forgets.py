"""Deliveries are late, doubled, completed and wrong: of two journals one forgets, and the accounts are the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from account_monitor.ledger.account import Account
from account_monitor.ledger.events import Event, Fill, FundingPayment, Transfer
from account_monitor.ledger.money import ONE
from account_monitor.monitor.horizon import horizon
from account_monitor.monitor.ports import VENUE_STREAM, VENUE_TRADES, Delivery, Recorded
from account_monitor.stores.checkpoints import JournalCheckpoints, decode_state, encode_state
from tests.contracts.test_journal_compaction import USDT, compacted, opened
from tests.journal_samples import delivery
from tests.properties.test_ledger_inputs import facts

BOTS = "nats:FILLS"
DOUBT = "may be recorded under another position"


class Kept:
    """A journal and its account."""

    def __init__(self, folder: Path) -> None:
        self.journal = opened(folder)
        self.account = Account(self.journal, usd_assets=USDT)

    async def take(self, *deliveries: Delivery) -> Recorded:
        recorded = await self.journal.append(deliveries)
        self.account.apply_all([(entry.seq, entry.event) for entry in recorded.entries])
        return recorded

    async def forget(self) -> None:
        await JournalCheckpoints(self.journal, USDT).save(self.account.state)
        await compacted(self.journal, min(self.account.state.needed_after, self.journal.last_seq - 1))
        state = decode_state(encode_state(self.account.state))
        self.account = Account(self.journal, usd_assets=USDT, state=state)


def world(chance: Random) -> list[Event]:
    """What happened, in venue order: numbers follow time."""
    legs = chance.choice([("BOTH",), ("LONG", "SHORT")])
    unnumbered = chance.choice([0, 0.3])
    happened: list[Event] = []
    for n in range(1, 60):
        at_ms, leg, kind = 1_000 + 10 * n, chance.choice(legs), chance.random()
        trade_id = f"x{n:03}" if chance.random() < unnumbered else str(n)
        side = chance.choice(["BUY", "SELL"])
        fill = Fill("BTCUSDT", trade_id, side, ONE * chance.randint(1, 5), ONE * chance.randint(90, 110), at_ms, leg,  # type: ignore[arg-type]
                    fee=ONE, fee_asset="USDT", order_id=str(1_000 + n), maker=False)  # fmt: skip
        if kind < 0.8:
            happened.append(fill)
        if 0.7 <= kind < 0.8:  # a trade of the account with itself
            other = "SELL" if side == "BUY" else "BUY"
            happened.append(fill._replace(side=other, order_id=str(2_000 + n), maker=True))  # type: ignore[arg-type]
        elif 0.8 <= kind < 0.9:
            happened.append(FundingPayment(f"f{n}", "USDT", ONE * chance.randint(-3, 3), at_ms, "BTCUSDT", leg))  # type: ignore[arg-type]
        elif kind >= 0.9:
            happened.append(Transfer(f"t{n}", "USDT", ONE * chance.randint(-3, 3), at_ms))
    return happened


def mistold(chance: Random, event: Event) -> Event:
    """Return what happened as somebody else may tell of it again."""
    if isinstance(event, FundingPayment | Transfer):
        return chance.choice([event, event._replace(at_ms=event.at_ms + chance.randint(-50, 50))])
    assert isinstance(event, Fill)  # nothing else happened
    return chance.choice([
        event, event._replace(at_ms=event.at_ms + chance.randint(-100, 100)), event._replace(at_ms=event.at_ms + 10**6),
        event._replace(position_side=chance.choice(["BOTH", "LONG", "SHORT"])), event._replace(fee=ONE * 2),
        event._replace(realized_pnl=ONE), event._replace(order_id=None), event._replace(quantity=event.quantity + 1),
    ])  # fmt: skip


async def compare(seed: int, folder: Path) -> None:
    chance = Random(seed)
    forgets, keeps = Kept(folder / "a"), Kept(folder / "b")
    happened = world(chance)
    told: list[Event] = []
    drawn = 0

    async def hear(deliveries: Sequence[Delivery]) -> None:
        parked = [each.event for each in (await forgets.take(*deliveries)).parked if DOUBT in each.reason]
        await keeps.take(*(each for each in deliveries if each.event not in parked))

    for event in sorted(happened, key=lambda e: e.at_ms + chance.choice([0, 0, chance.randint(0, 80)])):
        source, first = chance.choice([BOTS, VENUE_STREAM, VENUE_TRADES]), event
        if isinstance(event, Fill) and chance.random() < 0.3:
            source, first = BOTS, event._replace(fee=None, fee_asset=None)
        again = chance.sample(told, min(len(told), chance.randint(0, 3)))
        batch = [delivery(first, source=source), *(delivery(mistold(chance, old), source=BOTS) for old in again)]
        told.append(event)
        chance.shuffle(batch)
        final = horizon(forgets.account.state, 10**7 + drawn, event.at_ms - chance.choice([0, 50, 100, 200]))
        await hear(batch)
        if chance.random() < 0.25:
            drawn += 1
            await hear([delivery(final)])
            await forgets.forget()
    for old in told:
        for form in (old, mistold(chance, old), mistold(chance, old)):
            await hear([delivery(form, source=BOTS)])
    assert facts(forgets.account) == facts(keeps.account)
    for each in (forgets, keeps):
        await each.journal.close()


@pytest.mark.parametrize("seed", range(30))
def test_the_account_is_the_same_whether_the_journal_forgets_or_not(seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(compare(seed, Path(name)))
