"""Batch: what entries of a journal are in the tables of the history, and the place up to which that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

import msgspec

from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Fill, trade_number
from account_monitor.ledger.reconciliation import Reconciliation
from account_monitor.monitor.fills import NO_NUMBER
from account_monitor.monitor.ports import JournalEntry, StreamPosition
from account_monitor.monitor.reports import reconciliation_report
from account_monitor.stores.chain import START, Row, columns
from account_monitor.stores.codec import decode_event
from account_monitor.stores.history.snapshots import Snapshot

# A named tuple made by its own constructor costs twice as much, and one is made for every fill.
_new = tuple.__new__


class Cursor(NamedTuple):
    """How far a journal was written into a store: up to an entry, which its hash names beyond doubt."""

    epoch: int = 0
    seq: int = 0
    hash: bytes = START
    snapshot_ms: int = 0
    """The time of the youngest snapshot."""


BEGINNING = Cursor()


class FillRow(NamedTuple):
    """A fill as it stands: its record of the highest revision."""

    symbol: str
    id: str
    is_counterpart: bool
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal | None
    fee_currency: str | None
    position_side: str
    order_id: str | None
    maker: bool | None
    realized_pnl: Decimal | None
    at_ms: int
    source: str
    seq: int
    recorded_ms: int
    trade_number: int


class AlertRow(NamedTuple):
    """An alert as of its last transition."""

    id: str
    type: str
    severity: str
    state: str
    symbol: str | None
    message: str
    value: Decimal | None
    threshold: Decimal | None
    cause: str | None
    fired_ms: int
    resolved_ms: int | None
    seq: int


class ReportRow(NamedTuple):
    """A report of reconciliation. `drifts`, `findings` and `taken_back` are JSON."""

    id: str
    at_ms: int
    trigger: str
    drifts: str
    findings: str
    finding_count: int
    correction: str | None
    taken_back: str
    seq: int


class KeptState(NamedTuple):
    """A folded state of a journal, valid for the code and the settings that its fingerprint names."""

    seq: int
    fingerprint: str
    state: bytes


EntryRow: TypeAlias = tuple[int, Row]
"""(epoch, entry)."""


class Batch(NamedTuple):
    """One transaction of the history store: rows, and the cursor before and after them."""

    account: str
    before: Cursor
    after: Cursor
    entries: Sequence[EntryRow] = ()
    fills: Sequence[FillRow] = ()
    """Executions of which there is nothing yet."""
    restated: Sequence[FillRow] = ()
    """Executions of which there may be an older record."""
    alerts: Sequence[AlertRow] = ()
    reports: Sequence[ReportRow] = ()
    snapshots: Sequence[Snapshot] = ()
    epochs: Sequence[tuple[int, int, int]] = ()
    """(epoch, first seq, started at) of all epochs, where that is news."""
    positions: Sequence[StreamPosition] | None = None
    """How far the journal has seen its sources once all these entries are there; None: a later batch says it."""
    state: KeptState | None = None
    prepared: object = None
    """What a store has made of it already, for itself."""


def fill_rows(entries: Sequence[JournalEntry]) -> tuple[list[FillRow], list[FillRow]]:
    """Return the fills among entries, of several records of one execution the last: those that are new, and others.

    New is an execution whose first record is the last among these entries: a journal has only one first record of it.
    A void is left out: the record of the execution at its other position follows it.
    """
    new: dict[tuple[str, str, bool], FillRow] = {}
    restated: dict[tuple[str, str, bool], FillRow] = {}
    for seq, event, source, recorded_ms in entries:
        if type(event) is not Fill:
            continue
        (symbol, trade_id, side, quantity, price, at_ms, leg, fee, fee_asset, pnl, order_id, maker, _, _, revision,
         is_counterpart) = event  # fmt: skip
        key = (symbol, trade_id, is_counterpart)
        number = trade_number(trade_id)
        row = _new(FillRow, (
            symbol, trade_id, is_counterpart, side, quantity, price, fee, fee_asset, leg, order_id, maker, pnl, at_ms,
            source, seq, recorded_ms, NO_NUMBER if number is None else number,
        ))  # fmt: skip
        if not revision:
            new[key] = row
        elif quantity:
            new.pop(key, None)
            restated[key] = row
    return list(new.values()), list(restated.values())


def alert_rows(entries: Sequence[JournalEntry]) -> list[AlertRow]:
    """Return the alerts among entries, each as of its last transition."""
    rows: dict[str, AlertRow] = {}
    for seq, event, _, _ in entries:
        if type(event) is Alert:
            rows[event.id] = AlertRow(
                event.id, event.type, event.severity, event.state, event.symbol, event.message, event.value,
                event.threshold, event.cause, event.fired_ms, event.resolved_ms, seq,
            )  # fmt: skip
    return list(rows.values())


def report_rows(entries: Sequence[JournalEntry], account: str) -> list[ReportRow]:
    """Return the reports of reconciliation among entries, as JSON of the REST interface where they hold lists."""
    rows: list[ReportRow] = []
    for entry in entries:
        event = entry.event
        if type(event) is not Reconciliation:
            continue
        report = reconciliation_report(account, entry)
        row = ReportRow(
            event.id, event.at_ms, event.trigger, _json(report.drifts), _json(report.findings), event.finding_count,
            event.adjustment_id, _json(report.taken_back), entry.seq,
        )  # fmt: skip
        rows.append(row)
    return rows


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def entry_row(seq: int, kind: str, recorded_ms: int, source: str, body: str, entry_hash: bytes) -> Row:
    """Return an entry as a journal holds it; its id, its time and what the indexes need follow from its body.

    Raises: JournalCorrupt.
    """
    event = decode_event(seq, kind, body)
    return Row(seq, event.event_id, kind, event.at_ms, recorded_ms, source, *columns(event), body, entry_hash)


def recorded_entry(seq: int, kind: str, body: str, source: str, recorded_ms: int) -> JournalEntry:
    """Return an entry as a journal gives it. Raises: JournalCorrupt."""
    return JournalEntry(seq, decode_event(seq, kind, body), source, recorded_ms)
