"""Up to where nothing is missing: it only moves on, is written down now and then, and is known after a restart."""

from __future__ import annotations

from account_monitor.feeds.binance.completeness import SAVE_EVERY_SECONDS, Completeness
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.ports import StreamPosition


def saved(inbox: Inbox) -> dict[str, int]:
    return {position.source: position.sequence for position in inbox.take(1)[1]}


def test_it_moves_on_and_never_back() -> None:
    complete = Completeness(Inbox())
    complete.prove({"BTCUSDT": 7}, 1_000, 0.0)
    complete.prove({"BTCUSDT": 5, "ETHUSDT": 2}, 900, 1.0)

    assert complete.trades == {"BTCUSDT": 7, "ETHUSDT": 2}
    assert complete.money_ms == 1_000


def test_it_is_written_down_now_and_then_and_recalled() -> None:
    inbox = Inbox()
    complete = Completeness(inbox)
    complete.prove({"BTCUSDT": 7}, 1_000, 0.0)
    first = saved(inbox)
    complete.prove({"BTCUSDT": 8}, 2_000, SAVE_EVERY_SECONDS - 1)
    assert (first, saved(inbox)) == ({"exchange:trades:BTCUSDT": 7, "exchange:income": 1_000}, {})
    complete.prove({"BTCUSDT": 9}, 3_000, SAVE_EVERY_SECONDS)

    again = Completeness(Inbox())
    again.recall({source: StreamPosition(source, "", sequence) for source, sequence in saved(inbox).items()})
    again.recall({"nats:fills": StreamPosition("nats:fills", "", 4)})
    assert (again.trades, again.money_ms) == ({"BTCUSDT": 9}, 3_000)


def test_a_start_that_proves_nothing_new_does_not_keep_the_next_proof_from_being_written_down() -> None:
    inbox = Inbox()
    complete = Completeness(inbox)
    complete.recall({"exchange:income": StreamPosition("exchange:income", "", 1_000)})
    complete.prove({}, 1_000, 0.0)  # where the account was opened
    assert saved(inbox) == {}
    complete.prove({"BTCUSDT": 7}, 2_000, 1.0)

    assert saved(inbox) == {"exchange:trades:BTCUSDT": 7, "exchange:income": 2_000}
