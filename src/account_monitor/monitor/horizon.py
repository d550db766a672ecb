"""Horizon: what of an account may be final, so that its journal need not be kept to restate it?"""

from __future__ import annotations

from account_monitor.ledger.account import AccountState, Settled
from account_monitor.ledger.events import Horizon, Place, PositionSide
from account_monitor.ledger.timeline import Timeline

PER_RETENTION = 8
"""Horizons are drawn so often while a journal's entries are kept: they are kept for that much longer, at most."""


def is_due(settled: Settled | None, now_ms: int, retention_ms: int) -> bool:
    """Whether the next horizon is to be drawn; also where the clock was put back."""
    return settled is None or abs(now_ms - settled.at_ms) >= retention_ms // PER_RETENTION


def before_ms(settled: Settled | None, now_ms: int, retention_ms: int, *, proved_ms: int | None = None) -> int:
    """Return what a horizon that is drawn now is before; 0 is before everything.

    Never more than the account had moved at the last one: what a stream or the exchange still has to tell of a time
    when nobody was listening is late, and not too late. Of an event with a date that was still to come then, only that
    it was there is believed. `proved_ms`: up to where all that an exchange knows is booked, None where there is no
    exchange; others may go on while it cannot tell.
    """
    if settled is None:
        return 0
    latest_ms = min(now_ms - retention_ms, settled.moved_ms, settled.at_ms)
    return max(0, latest_ms if proved_ms is None else min(latest_ms, proved_ms))


def horizon(state: AccountState, at_ms: int, before_ms: int) -> Horizon:
    """Return the horizon that may be drawn in a state."""
    standing = {adjustment.id for adjustment in state.adjustments if adjustment.at_ms > before_ms}
    places = (
        _place(key, timeline, before_ms)
        for key, timeline in state.timelines.items()
        if not any(adjusted.id in standing for adjusted in timeline.adjusted)
    )
    return Horizon(at_ms, before_ms, tuple(place for place in places if place is not None))


def _place(key: str, timeline: Timeline, before_ms: int) -> Place | None:
    """Return the last place of a position at which it may begin, None where that is where it does.

    Other ledgers have the checkpoints that horizons left, and need not look for the place.
    """
    beginning, *others = timeline.checkpoints
    final = [each for each in others if max(each.leg.latest_fill_ms, each.leg.last_funding[0]) <= before_ms]
    if not final:
        return None
    last = next((each for each in reversed(final) if each.is_planted), final[-1])
    leg = last.leg
    trade_id = None if last.last is None or leg.fill_count == beginning.leg.fill_count else last.last.trade_id
    return Place(
        timeline.instrument.symbol,
        _side_of(key),
        trade_id,
        max(leg.latest_fill_ms, 0),
        leg.fill_count,
        leg.payment_count,
        not timeline.by_number,
    )


def _side_of(key: str) -> PositionSide:
    return "LONG" if key.endswith(":LONG") else "SHORT" if key.endswith(":SHORT") else "BOTH"
