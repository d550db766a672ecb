"""Flows: is this money that moved without a trade already in the journal? The stream tells of it without an id, minutes
before the income statement tells of it with one, in other words and sometimes in other pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from account_monitor.ledger.events import (
    Charge,
    FlowEvent,
    FundingPayment,
    OtherIncome,
    PositionSide,
    Transfer,
)
from account_monitor.ledger.flows import Flow, FlowKind
from account_monitor.ledger.money import ZERO
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_STREAM, JournalEntry

REMEMBERED_MS = 24 * 3_600_000
"""How far back flows are remembered. Income is asked for from half an hour before the last that is known; younger ones
stay in the journal."""

FUNDING_APART_MS = 15 * 60_000
"""Income rows of funding carry the hour; the stream tells of it seconds to minutes later."""

SLACK_MS = 1_000
"""How much earlier it may be, all the same."""

APART_MS = 60_000
"""How far the two times of any other flow may be apart."""

HELD_TIMES = 3
"""How often rows that do not add up are looked at before they are believed rather than the stream."""

_SPLIT = "split:"

LegOf = Callable[[str], PositionSide | None]
"""Returns which leg of a symbol a payment is for, where the exchange names the symbol only; None: either, or both."""


@dataclass(slots=True)
class _Known:
    """A flow that is booked, by the stream or as an income row; `is_matched` once the other has told of it too."""

    kind: FlowKind
    asset: str
    symbol: str | None
    amount: Decimal
    at_ms: int
    side: PositionSide | None = None
    """Of a payment of the stream: the leg for which it is booked, None for the account's."""
    is_matched: bool = False

    @property
    def is_funding(self) -> bool:
        """Whether it is a payment for positions, which the stream and the statement cut in different pieces."""
        return self.kind == "funding"

    def may_be(self, streamed: Flow | _Known) -> bool:
        """Whether this row and a flow of the stream may tell of the same money, amounts aside."""
        if self.is_funding is not (streamed.kind == "funding") or self.asset != streamed.asset:
            return False
        if not self.is_funding:
            return abs(self.at_ms - streamed.at_ms) <= APART_MS
        if self.symbol is not None and streamed.symbol is not None and self.symbol != streamed.symbol:
            return False
        return -SLACK_MS <= streamed.at_ms - self.at_ms <= FUNDING_APART_MS


class FlowBook:
    """The recent flows of one account, and the events that new ones become. It decides; the journal records."""

    def __init__(self, leg_of: LegOf) -> None:
        self._leg_of = leg_of
        self._streamed: dict[str, _Known] = {}
        self._rows: dict[str, _Known] = {}
        self._held: dict[str, tuple[Flow, int]] = {}
        """Rows that do not add up yet, and how often they were looked at."""

    def recall(self, entries: Iterable[JournalEntry]) -> None:
        """Take over what the journal holds, after a restart."""
        for entry in entries:
            event = entry.event
            if not isinstance(event, FundingPayment | Transfer | OtherIncome | Charge):
                continue
            if event.id.startswith(_SPLIT):
                if (split := self._streamed.get(event.id.removeprefix(_SPLIT))) is not None:
                    split.is_matched = True
            elif entry.source == VENUE_STREAM:
                self._streamed[event.id] = _known(event)
            elif entry.source == VENUE_INCOME:
                self._rows[event.id] = _known(event)

    def streamed(self, flow: Flow) -> FlowEvent | None:
        """Return the event that a flow of the stream becomes, None where it is booked already.

        Its transaction id is made of its content, wallet included: two sockets that tell of it say the same.
        """
        flow_id = _id(flow)
        if flow_id in self._streamed:
            return None
        known = _row(flow)
        if flow.kind == "funding" and flow.symbol is not None:
            known.side = self._leg_of(flow.symbol)
        self._streamed[flow_id] = known
        if rows := self._rows_of(flow):
            known.is_matched = True
            for row in rows:
                row.is_matched = True
            return None
        return self._event(flow_id, flow)

    def stated(self, rows: Sequence[Flow], *, agreed_ms: int = 0) -> list[FlowEvent]:
        """Return the events that rows of the income statement become: those that nothing tells of yet are booked, and
        a payment for several symbols is split into theirs.

        At `agreed_ms` the wallets agreed with the exchange: what moved them before is in them, whoever told of it.
        """
        told = {row_id: row for row_id, (row, _) in self._held.items()}
        told |= {_id(row): row for row in rows if _id(row) not in self._rows}
        fresh = {row_id: _row(row) for row_id, row in told.items()}
        events: list[FlowEvent] = []
        for stream_id, row_ids in self._confirmed(fresh, told):
            streamed = self._streamed[stream_id]
            streamed.is_matched = True
            for row_id in row_ids:
                fresh[row_id].is_matched = True
            if streamed.is_funding and streamed.symbol is None and all(told[row_id].symbol for row_id in row_ids):
                events.append(_taken_back(stream_id, streamed))
                events += [self._event(row_id, told[row_id]) for row_id in row_ids]
        for row in fresh.values():
            if not row.is_matched and row.at_ms <= agreed_ms - (FUNDING_APART_MS if row.is_funding else APART_MS):
                row.is_matched = True
        unmatched = {row_id: row for row_id, row in fresh.items() if not row.is_matched}
        events += self._given_up(unmatched)
        events += [self._event(row_id, told[row_id]) for row_id in unmatched]
        _forgive(unmatched.values())
        for row_id in fresh:
            self._held.pop(row_id, None)
        self._rows |= fresh
        return events

    def was_missed(self, event: FlowEvent) -> bool:
        """Whether the stream has not told of the money that an event of the income statement tells of."""
        row = self._rows.get(event.id)
        return row is not None and not row.is_matched

    def unheard(self, since_ms: int, until_ms: int) -> list[str]:
        """Return the income rows of funding and transfers between two times of which the stream has not told."""
        return [
            row_id
            for row_id, row in self._rows.items()
            if since_ms < row.at_ms <= until_ms and not row.is_matched and row.kind != "income"
        ]  # of rebates and the like nobody promises that the stream tells

    def forget(self, before_ms: int) -> None:
        """Drop what is older; no statement will be asked about it again."""
        for book in (self._streamed, self._rows):
            for flow_id in [flow_id for flow_id, known in book.items() if known.at_ms < before_ms]:
                del book[flow_id]

    # -- matching ----------------------------------------------------------------------------------------------------

    def _rows_of(self, flow: Flow) -> list[_Known]:
        """Return the booked rows that are this flow of the stream: one of its amount, or pieces that add up to it."""
        near = [row for row in self._rows.values() if row.may_be(flow) and not row.is_matched]
        if flow.kind == "funding":
            return _adding_up(near, flow.amount)
        same = [row for row in near if row.amount == flow.amount]
        return [min(same, key=lambda row: (row.kind != flow.kind, abs(row.at_ms - flow.at_ms)))] if same else []

    def _confirmed(self, fresh: dict[str, _Known], told: dict[str, Flow]) -> list[tuple[str, list[str]]]:
        """Return which flows of the stream are which fresh rows; what cannot be told yet is taken out of `fresh`."""
        unmatched = {flow_id: known for flow_id, known in self._streamed.items() if not known.is_matched}
        confirmed = self._confirmed_one_to_one(unmatched, fresh)
        paired = {flow_id for flow_id, _ in confirmed}
        taken = {row_id for _, row_ids in confirmed for row_id in row_ids}
        for flow_id, known in unmatched.items():
            if flow_id in paired:
                continue
            near = {
                row_id: row
                for row_id, row in fresh.items()
                if row_id not in taken and row.kind == known.kind and row.may_be(known)
            }
            pieces = _adding_up(list(near.values()), known.amount)
            row_ids = [row_id for row_id, row in near.items() if any(row is piece for piece in pieces)]
            taken.update(row_ids)
            if row_ids:
                confirmed.append((flow_id, row_ids))
            elif near and known.is_funding:
                self._hold(near, fresh, told)
        return confirmed

    def _hold(self, near: dict[str, _Known], fresh: dict[str, _Known], told: dict[str, Flow]) -> None:
        """Leave out rows of the last funding that do not add up to what the stream told: an answer may lack one.

        They are looked at again with the next answers; the third time they stand, and the stream's word does not.
        """
        last_ms = max(row.at_ms for row in near.values())
        for row_id in [row_id for row_id, row in near.items() if row.at_ms == last_ms and row_id in fresh]:
            times = 1 + (self._held[row_id][1] if row_id in self._held else 0)
            if times < HELD_TIMES:
                self._held[row_id] = (told[row_id], times)
                del fresh[row_id]

    def _given_up(self, rows: dict[str, _Known]) -> list[FlowEvent]:
        """Return what takes back the payments of the stream that these rows, which stand, tell of in other amounts."""
        wrong = {
            flow_id: known
            for flow_id, known in self._streamed.items()
            if known.is_funding and not known.is_matched and any(row.may_be(known) for row in rows.values())
        }
        for known in wrong.values():
            known.is_matched = True
        for row in rows.values():
            row.is_matched |= any(row.may_be(known) for known in wrong.values())
        return [_taken_back(flow_id, known) for flow_id, known in wrong.items()]

    def _confirmed_one_to_one(
        self, unmatched: dict[str, _Known], fresh: dict[str, _Known]
    ) -> list[tuple[str, list[str]]]:
        """Pair transfers and other income by their amounts, those of one kind and the nearest in time first."""
        pairs = sorted(
            (known.kind != row.kind, abs(known.at_ms - row.at_ms), flow_id, row_id)
            for row_id, row in fresh.items()
            for flow_id, known in unmatched.items()
            if not known.is_funding and known.amount == row.amount and row.may_be(known)
        )
        paired: dict[str, str] = {}
        taken: set[str] = set()
        for _, _, flow_id, row_id in pairs:
            if flow_id not in paired and row_id not in taken:
                paired[flow_id] = row_id
                taken.add(row_id)
        return [(flow_id, [row_id]) for flow_id, row_id in paired.items()]

    # -- events ------------------------------------------------------------------------------------------------------

    def _event(self, flow_id: str, flow: Flow) -> FlowEvent:
        match flow.kind:
            case "funding":
                side = None if flow.symbol is None else self._leg_of(flow.symbol)
                return _payment(flow_id, flow.asset, flow.amount, flow.at_ms, flow.symbol, side)
            case "transfer":
                return Transfer(flow_id, flow.asset, flow.amount, flow.at_ms)
            case "income" if flow.reason == "INSURANCE_CLEAR" and flow.amount < 0:
                return Charge(flow_id, flow.asset, -flow.amount, flow.at_ms, flow.reason)  # what a liquidation costs
            case "income":
                return OtherIncome(flow_id, flow.asset, flow.amount, flow.at_ms, flow.reason)


def _row(row: Flow) -> _Known:
    return _Known(row.kind, row.asset, row.symbol, row.amount, row.at_ms)


def _forgive(rows: Iterable[_Known]) -> None:
    """Expect no word from the stream of payments that cancel each other out, as for two equal legs: no wallet moves."""
    sums: dict[tuple[int, str, str | None], Decimal] = {}
    for row in rows:
        place = (row.at_ms, row.asset, row.symbol)
        sums[place] = sums.get(place, ZERO) + row.amount
    for row in rows:
        row.is_matched |= row.is_funding and not sums[row.at_ms, row.asset, row.symbol]


def _taken_back(flow_id: str, known: _Known) -> FundingPayment:
    """Return what undoes a payment of the stream, whose rows are booked in its place."""
    return _payment(_SPLIT + flow_id, known.asset, -known.amount, known.at_ms, known.symbol, known.side)


def _payment(
    id_: str, asset: str, amount: Decimal, at_ms: int, symbol: str | None, side: PositionSide | None
) -> FundingPayment:
    if side is None:
        return FundingPayment(id_, asset, amount, at_ms)
    return FundingPayment(id_, asset, amount, at_ms, symbol, side)


def _adding_up(rows: list[_Known], amount: Decimal) -> list[_Known]:
    """Return the rows of one funding that are the amount: all of them, those of one symbol, or one alone; the last
    funding first, and none where nothing adds up.
    """
    for at_ms in sorted({row.at_ms for row in rows}, reverse=True):
        together = [row for row in rows if row.at_ms == at_ms]
        symbols = sorted({row.symbol or "" for row in together})
        by_symbol = [[row for row in together if (row.symbol or "") == symbol] for symbol in symbols]
        for group in (together, *by_symbol, *([row] for row in together)):
            if sum((row.amount for row in group), ZERO) == amount:
                return group
    return []


def _id(flow: Flow) -> str:
    return f"{flow.reason}:{flow.asset}:{flow.transaction_id}"


def _known(event: FlowEvent) -> _Known:
    match event:
        case FundingPayment():
            side = None if event.symbol is None else event.position_side
            return _Known("funding", event.asset, event.symbol, event.amount, event.at_ms, side)
        case Transfer():
            return _Known("transfer", event.asset, None, event.amount, event.at_ms)
        case Charge():
            return _Known("income", event.asset, None, -event.amount, event.at_ms)
        case OtherIncome():
            return _Known("income", event.asset, None, event.amount, event.at_ms)
