"""Past: what was believed at a time, what is known now about it, and why the account is worth more or less since."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest

from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.events import (
    Event,
    Fill,
    FundingPayment,
    Listing,
    MarkPrice,
    Marks,
    Opening,
    Side,
    Transfer,
)
from account_monitor.monitor.past import BeforeOpening, Past, of_symbol
from account_monitor.monitor.ports import VENUE_STATEMENT, VENUE_STREAM
from account_monitor.stores import recorder
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from tests.monitor_by_hand import NOW_MS, Clock, heard, opened

D = Decimal
HOUR = 3_600_000


def at(hours: float) -> int:
    return NOW_MS + int(hours * HOUR)


def fill(id_: str, side: Side, quantity: str, price: str, hours: float, fee: str = "0", paid: str = "USDT") -> Fill:
    return Fill("BTCUSDT", id_, side, D(quantity), D(price), at(hours), fee=D(fee), fee_asset=paid)


def mark(symbol: str, price: str, hours: float) -> Marks:
    return Marks(at(hours), (MarkPrice(symbol, D(price), at(hours)),))


async def record(folder: Path, *events: tuple[float, Event]) -> None:
    """Record each event at its hour."""
    clock = Clock()
    async with opened(folder, clock) as monitor:
        for hours, event in events:
            clock.ms = at(hours)
            monitor.inbox.put(heard(event))
            await monitor.step()
            monitor.inbox.wake()
        monitor.stop()
        await monitor.run()


def past_of(folder: Path) -> tuple[Past, Journal]:
    journal = Journal.open(folder, "main", clock=Clock())
    return Past(journal, JournalCheckpoints(journal, USD_ASSETS), USD_ASSETS), journal


OPENING = Opening("o", at(-1), (("USDT", D(10_000)), ("BNB", D(10))))


async def test_what_was_believed_and_what_is_known_differ_by_what_came_late(tmp_path: Path) -> None:
    await record(
        tmp_path,
        (0, OPENING),
        (1, fill("1", "BUY", "1", "100", 1)),
        (5, fill("3", "SELL", "3", "120", 4)),
        (6, fill("2", "BUY", "2", "110", 3)),  # three hours late
    )
    past, journal = past_of(tmp_path)

    assert past.believed(at(0.5)).positions == {}
    assert past.believed(at(4.5)).positions["BTCUSDT"].quantity == 1
    assert past.believed(at(5.5)).positions["BTCUSDT"].quantity == -2
    assert past.believed(at(7)).positions["BTCUSDT"].quantity == 0

    assert past.known(at(0.5)).positions == {}
    assert past.known(at(3.5)).positions["BTCUSDT"].quantity == 3
    known = past.known(at(4.5)).positions["BTCUSDT"]
    assert (known.quantity, known.realized_pnl) == (D(0), D(40))
    await journal.close()


async def test_the_last_record_of_an_execution_says_when_it_happened(tmp_path: Path) -> None:
    told = fill("1", "BUY", "1", "100", 1)
    journal = Journal.open(tmp_path, "main", clock=Clock())
    await journal.append([heard(OPENING, source=VENUE_STATEMENT), heard(told)])
    corrected = told._replace(at_ms=at(2))
    await journal.append([heard(corrected, source=VENUE_STREAM), heard(fill("0", "BUY", "2", "90", 0.5))])
    past = Past(journal, JournalCheckpoints(journal, USD_ASSETS), USD_ASSETS)

    assert past.known(at(1.5)).positions["BTCUSDT"].quantity == 2
    assert past.known(at(2.5)).positions["BTCUSDT"].quantity == 3
    await journal.close()


async def test_what_a_contract_settles_in_is_known_of_all_times(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "main", clock=Clock())
    listing = Listing("BTCUSD1", "USDT", "BTC", at(3))
    late = fill("1", "BUY", "1", "100", 1, fee="1")._replace(symbol="BTCUSD1")
    await journal.append([heard(OPENING, source=VENUE_STATEMENT), heard(listing), heard(late)])
    past = Past(journal, JournalCheckpoints(journal, USD_ASSETS), USD_ASSETS)

    assert past.known(at(2)).positions["BTCUSD1"].settlement_asset == "USDT"
    await journal.close()


async def test_of_the_time_before_the_account_was_opened_nothing_is_known(tmp_path: Path) -> None:
    await record(tmp_path, (0, OPENING), (1, fill("1", "BUY", "1", "100", 1)))
    journal = Journal.open(tmp_path, "main", clock=Clock())
    past = Past(journal, JournalCheckpoints(journal, USD_ASSETS), USD_ASSETS, opening=OPENING)

    with pytest.raises(BeforeOpening):
        past.known(at(-1.5))
    assert past.known(at(-0.5)).balances["USDT"].total == 10_000
    await journal.close()


async def test_every_dollar_has_its_cause(tmp_path: Path) -> None:
    await record(
        tmp_path,
        (0, OPENING),
        (1, mark("BNBUSDT", "600", 1)),
        (2, fill("1", "BUY", "2", "100", 2, fee="0.5", paid="BNB")),
        (3, mark("BTCUSDT", "105", 3)),
        (4, fill("2", "SELL", "1", "107", 4, fee="0.2")),
        (5, FundingPayment("f", "USDT", D("-0.3"), at(5), "BTCUSDT")),
        (6, Transfer("t", "USDT", D(500), at(6))),
        (7, mark("BNBUSDT", "610", 7)),
    )
    past, journal = past_of(tmp_path)

    span = past.explain(at(1.5), None)
    explanation = span.explanation

    assert explanation.by_name("trading") == {"BTCUSDT": D(12)}  # 7 realized, 5 of the one that is left
    assert explanation.by_asset("fees") == {"BNB": D(-300), "USDT": D("-0.2")}
    assert explanation.total("funding") == D("-0.3")
    assert explanation.total("transfers") == 500
    assert explanation.by_asset("prices") == {"BNB": D(95)}  # 9.5 BNB
    assert explanation.change == D("306.5")
    assert explanation.residual == 0
    assert [effect.entry.seq for effect in span.effects] == [3, 4, 5, 6, 7, 8]
    assert of_symbol(explanation, "BTCUSDT").total("transfers") == 0
    assert of_symbol(explanation, "BTCUSDT").total("trading") == 12

    whole = past.explain(None, None).explanation
    assert (whole.total("opening"), whole.total("priced_later"), whole.residual) == (D(10_000), D(6_000), D(0))
    assert [effect.entry.seq for effect in past.explain(None, None, symbol="BTCUSDT", limit=2).effects] == [5, 6]
    await journal.close()


async def test_a_moment_is_the_same_from_any_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "CHECKPOINT_EVERY", 4)
    sides: list[Side] = ["BUY", "BUY", "SELL"] * 7
    for number, side in enumerate(sides):  # each life ends with a checkpoint
        first: Iterable[tuple[float, Event]] = [(0, OPENING)] if not number else []
        hours = number + 1.0
        await record(tmp_path, *first, (hours, fill(str(number), side, "1", f"{100 + number}", hours, fee="0.1")))
    past, journal = past_of(tmp_path)
    from_nothing = Past(journal, _NoCheckpoints(journal, USD_ASSETS), USD_ASSETS)
    assert len(list(journal.reader.load_checkpoints(_fingerprint()))) > 4

    for hour in range(len(sides) + 2):
        assert past.believed(at(hour + 0.5)) == from_nothing.believed(at(hour + 0.5))
        assert past.known(at(hour + 0.5)) == from_nothing.known(at(hour + 0.5))
    await journal.close()


class _NoCheckpoints(JournalCheckpoints):
    def load(self, *, until: int | None = None, happened_by_ms: int | None = None) -> None:
        """There is none."""


def _fingerprint() -> str:
    from account_monitor.stores import checkpoints

    return checkpoints._fingerprint(USD_ASSETS)
