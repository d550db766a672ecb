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
from account_monitor.ledger.flows import Flow
from account_monitor.ledger.money import ZERO
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_STREAM, JournalEntry

REMEMBERED_MS = 24 * 3_600_000
"""How far back flows are remembered. Income is asked for from half an hour before the last that is known."""

FUNDING_APART_MS = 15 * 60_000
"""Income rows of funding carry the hour; the stream tells of it seconds to minutes later."""

APART_MS = 60_000
"""How far the two times of any other flow may be apart."""

_SPLIT = "split:"

LegOf = Callable[[str], PositionSide]
"""Returns which leg of a symbol a payment is for, where the exchange names the symbol only."""


@dataclass(slots=True)
class _Known:
    """A flow that is booked, by the stream or as an income row; `is_matched` once the other has told of it too."""

    is_funding: bool
    asset: str
    symbol: str | None
    amount: Decimal
    at_ms: int
    is_matched: bool = False
    is_streamed: bool = True
    """Whether the stream tells of such flows; of rebates and the like nobody promises it."""

    def may_be(self, flow: Flow) -> bool:
        """Whether the flow may tell of the same money, amounts aside."""
        return (
            not self.is_matched
            and self.is_funding is (flow.kind == "funding")
            and self.asset == flow.asset
            and (self.symbol is None or flow.symbol is None or self.symbol == flow.symbol or not self.is_funding)
            and abs(self.at_ms - flow.at_ms) <= (FUNDING_APART_MS if self.is_funding else APART_MS)
        )


class FlowBook:
    """The recent flows of one account, and the events that new ones become. It decides; the journal records."""

    def __init__(self, leg_of: LegOf) -> None:
        self._leg_of = leg_of
        self._streamed: dict[str, _Known] = {}
        self._rows: dict[str, _Known] = {}

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
        known = _Known(flow.kind == "funding", flow.asset, flow.symbol, flow.amount, flow.at_ms)
        self._streamed[flow_id] = known
        if rows := self._rows_of(flow):
            known.is_matched = True
            for row in rows:
                row.is_matched = True
            return None
        return self._event(flow_id, flow)

    def stated(self, rows: Sequence[Flow]) -> list[FlowEvent]:
        """Return the events that rows of the income statement become: those that nothing tells of yet are booked, and
        a payment for several symbols is split into theirs.
        """
        fresh = {_id(row): row for row in rows if _id(row) not in self._rows}
        events: list[FlowEvent] = []
        for stream_id, pieces in self._confirmed(fresh):
            streamed = self._streamed[stream_id]
            streamed.is_matched = True
            for row_id in pieces:
                self._rows[row_id] = self._row(fresh[row_id], is_matched=True)
            if streamed.is_funding and streamed.symbol is None and all(fresh[row_id].symbol for row_id in pieces):
                events.append(
                    FundingPayment(_SPLIT + stream_id, streamed.asset, -streamed.amount, streamed.at_ms, None, "BOTH")
                )
                events += [self._event(row_id, fresh[row_id]) for row_id in pieces]
        for row_id, row in fresh.items():
            if row_id not in self._rows:
                self._rows[row_id] = self._row(row)
                events.append(self._event(row_id, row))
        return events

    def unheard(self, since_ms: int, until_ms: int) -> list[str]:
        """Return the income rows of funding and transfers between two times of which the stream has not told."""
        return [
            row_id
            for row_id, row in self._rows.items()
            if since_ms < row.at_ms <= until_ms and not row.is_matched and row.is_streamed
        ]

    def forget(self, before_ms: int) -> None:
        """Drop what is older; no statement will be asked about it again."""
        for book in (self._streamed, self._rows):
            for flow_id in [flow_id for flow_id, known in book.items() if known.at_ms < before_ms]:
                del book[flow_id]

    # -- matching ----------------------------------------------------------------------------------------------------

    def _rows_of(self, flow: Flow) -> list[_Known]:
        """Return the booked rows that are this flow: one of its amount, the nearest in time, or pieces that add up."""
        near = [row for row in self._rows.values() if row.may_be(flow)]
        same = [row for row in near if row.amount == flow.amount]
        if same:
            return [min(same, key=lambda row: abs(row.at_ms - flow.at_ms))]
        if flow.kind != "funding":
            return []
        for at_ms in {row.at_ms for row in near}:
            pieces = [row for row in near if row.at_ms == at_ms]
            if sum((piece.amount for piece in pieces), ZERO) == flow.amount:
                return pieces
        return []

    def _confirmed(self, fresh: dict[str, Flow]) -> list[tuple[str, list[str]]]:
        """Pair booked flows of the stream with fresh rows: first one to one, the nearest first, then in pieces."""
        open_flows = {flow_id: known for flow_id, known in self._streamed.items() if not known.is_matched}
        pairs = sorted(
            (abs(known.at_ms - row.at_ms), flow_id, row_id)
            for row_id, row in fresh.items()
            for flow_id, known in open_flows.items()
            if known.amount == row.amount and known.may_be(row)
        )
        taken: set[str] = set()
        confirmed: list[tuple[str, list[str]]] = []
        for _, flow_id, row_id in pairs:
            if flow_id in open_flows and row_id not in taken:
                del open_flows[flow_id]
                taken.add(row_id)
                confirmed.append((flow_id, [row_id]))
        for flow_id, known in open_flows.items():
            pieces = self._pieces(known, {row_id: row for row_id, row in fresh.items() if row_id not in taken})
            taken.update(pieces)
            if pieces:
                confirmed.append((flow_id, pieces))
        return confirmed

    def _pieces(self, known: _Known, rows: dict[str, Flow]) -> list[str]:
        if not known.is_funding:
            return []
        near = {row_id: row for row_id, row in rows.items() if known.may_be(row)}
        for at_ms in sorted({row.at_ms for row in near.values()}, key=lambda at_ms: abs(at_ms - known.at_ms)):
            pieces = [row_id for row_id, row in near.items() if row.at_ms == at_ms]
            if sum((near[row_id].amount for row_id in pieces), ZERO) == known.amount:
                return pieces
        return []

    # -- events ------------------------------------------------------------------------------------------------------

    def _row(self, row: Flow, *, is_matched: bool = False) -> _Known:
        return _Known(
            row.kind == "funding", row.asset, row.symbol, row.amount, row.at_ms, is_matched, row.kind != "income"
        )

    def _event(self, flow_id: str, flow: Flow) -> FlowEvent:
        match flow.kind:
            case "funding":
                side: PositionSide = "BOTH" if flow.symbol is None else self._leg_of(flow.symbol)
                return FundingPayment(flow_id, flow.asset, flow.amount, flow.at_ms, flow.symbol, side)
            case "transfer":
                return Transfer(flow_id, flow.asset, flow.amount, flow.at_ms)
            case "income" if flow.reason == "INSURANCE_CLEAR" and flow.amount < 0:
                return Charge(flow_id, flow.asset, -flow.amount, flow.at_ms, flow.reason)  # what a liquidation costs
            case "income":
                return OtherIncome(flow_id, flow.asset, flow.amount, flow.at_ms, flow.reason)


def _id(flow: Flow) -> str:
    return f"{flow.reason}:{flow.asset}:{flow.transaction_id}"


def _known(event: FlowEvent) -> _Known:
    symbol = event.symbol if isinstance(event, FundingPayment) else None
    amount = -event.amount if isinstance(event, Charge) else event.amount
    return _Known(isinstance(event, FundingPayment), event.asset, symbol, amount, event.at_ms)
