"""A deliberately naive ledger: it folds all events from nothing, in fractions, and knows no checkpoints.

The model that the real ledger is held against. It shares no code with it: it reads events by the names of their fields.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace
from typing import Any


@dataclass
class NaivePosition:
    quantity: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)  # exact: what the venue states is not looked at
    cash: Fraction = Fraction(0)
    trips: list[Fraction] = field(default_factory=list)  # realized − fees + funding, every amount taken as dollars
    trip: Fraction | None = None  # None: flat, or adopted

    def trade(self, change: Fraction, price: Fraction, fee: Fraction) -> None:
        self.cash -= change * price
        closed = min(abs(change), abs(self.quantity)) if self.quantity * change < 0 else Fraction(0)
        if closed:
            share = closed / abs(self.quantity)
            profit = (1 if self.quantity > 0 else -1) * closed * price - self.cost * share
            self.realized += profit
            self.cost -= self.cost * share
            self.quantity += closed if change > 0 else -closed
            self.earn(profit - fee * closed / abs(change))
            if not self.quantity:
                self.trips += [] if self.trip is None else [self.trip]
                self.trip = None
        opened = abs(change) - closed
        if opened:
            if not self.quantity:
                self.trip = Fraction(0)
            self.quantity += opened if change > 0 else -opened
            self.cost += (opened if change > 0 else -opened) * price
            self.earn(-fee * opened / abs(change))

    def earn(self, amount: Fraction) -> None:
        if self.trip is not None:
            self.trip += amount


def _without_taken_back(arrivals: Iterable[Any]) -> list[Any]:
    """Leave out what was taken back; an opening makes what came before it final."""
    standing: list[Any] = []
    final = 0
    for event in arrivals:
        kind = type(event).__name__
        if kind == "Reversal":
            names = [(type(each).__name__, getattr(each, "id", None)) for each in standing]
            if ("Adjustment", event.adjustment_id) in names[final:]:
                del standing[names.index(("Adjustment", event.adjustment_id), final)]
            continue
        standing.append(event)
        if kind == "Opening":
            final = len(standing)
    return standing


def naive_position(arrivals: Iterable[Any], key: str) -> NaivePosition:
    """Fold what arrived for one position, anchors included; every number is taken as it is, in one asset."""
    fills: dict[tuple[str, bool], Any] = {}
    payments: dict[str, Any] = {}
    anchors: list[tuple[Any, list[Any]]] = []  # with the fills that each one contains
    gone: list[Any] = []  # anchors before an opening: what they contain still counts nowhere
    for event in _without_taken_back(arrivals):
        kind = type(event).__name__
        if kind in ("Opening", "Adjustment"):
            stated = [anchor for anchor in event.positions if _key(anchor) == key]
            if kind == "Opening" and not stated:  # what an opening does not name was flat at its time
                stated = [SimpleNamespace(quantity=0, cost=0, last_trade_id=None, at_ms=event.at_ms)]
            for anchor in stated if kind == "Opening" else []:  # what came before an opening is nobody's
                fills = {name: fill for name, fill in fills.items() if not _contains(anchor, fill)}
                payments = {name: paid for name, paid in payments.items() if not _is_paid_before(anchor, paid)}
                gone += [seen for seen, _ in anchors]
                anchors.clear()
            for anchor in stated:
                inside = [fill for fill in fills.values() if _contains(anchor, fill)]
                anchors.append((anchor, [fills.pop(_execution(fill)) for fill in inside]))
        elif kind == "Fill" and _key(event) == key:
            done = any(_contains(anchor, event) for anchor in [*gone, *(anchor for anchor, _ in anchors)])
            fills |= {} if done else {_execution(event): event}
        elif kind == "FundingPayment" and event.symbol is not None and _key(event) == key:
            payments[event.id] = event
    everything = [*(fill for _, inside in anchors for fill in inside), *fills.values()]
    by_number = all(_is_number(fill) for fill in everything)
    position = NaivePosition()
    due = sorted(payments.values(), key=lambda p: (p.at_ms, p.id))
    for inside in [*(inside for _, inside in anchors), list(fills.values())]:
        for fill in sorted(sorted(inside, key=_taker_first), key=(_by_number if by_number else _by_time)):
            while due and due[0].at_ms < fill.at_ms:
                _fund(position, due.pop(0))
            change = Fraction(fill.quantity) * (1 if fill.side == "BUY" else -1)
            position.trade(change, Fraction(fill.price), Fraction(fill.fee or 0))
        if anchors:
            anchor, _ = anchors.pop(0)
            position.quantity, position.cost = Fraction(anchor.quantity), Fraction(anchor.cost)
            position.trip = None
    for payment in due:
        _fund(position, payment)
    return position


def sums(events: Iterable[Any], amount: str, asset: str) -> dict[str, Fraction]:
    """Add up a field of events by asset."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for event in events:
        total[getattr(event, asset)] += Fraction(getattr(event, amount) or 0)
    return {name: value for name, value in total.items() if value}


def _fund(position: NaivePosition, payment: Any) -> None:
    if position.quantity and position.trip is not None:
        position.trip += Fraction(payment.amount)


def _key(event: Any) -> str:
    return event.symbol if event.position_side == "BOTH" else f"{event.symbol}:{event.position_side}"


def _execution(fill: Any) -> tuple[str, bool]:
    return fill.trade_id, fill.is_counterpart


def _taker_first(fill: Any) -> tuple[int, int, str]:
    """Of a trade of the account with itself the taker's half counts first, else that of the younger order."""
    younger = -int(fill.order_id) if (fill.order_id or "").isdecimal() else 0
    return [False, None, True].index(fill.maker), younger, fill.order_id or ""


def _is_number(fill: Any) -> bool:
    return re.fullmatch("[1-9][0-9]{0,17}", fill.trade_id) is not None


def _by_number(fill: Any) -> int:
    return int(fill.trade_id)


def _by_time(fill: Any) -> tuple[int, int, str]:
    return fill.at_ms, len(fill.trade_id), fill.trade_id


def _is_paid_before(anchor: Any, payment: Any) -> bool:
    if anchor.at_ms is None:
        return anchor.last_trade_id is not None
    return bool(payment.at_ms <= anchor.at_ms)


def _contains(anchor: Any, fill: Any) -> bool:
    if anchor.last_trade_id is not None and _is_number(fill):
        return bool(int(fill.trade_id) <= anchor.last_trade_id)
    return anchor.at_ms is not None and bool(fill.at_ms <= anchor.at_ms)
