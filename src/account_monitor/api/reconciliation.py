"""Reconciliation: what was compared with the exchange, and what a person may order of an account."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from itertools import islice
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody, QueryParameter

from account_monitor.api import problems
from account_monitor.api.answering import BY_FRAMEWORK, EVERYWHERE, GivenCaller, GivenDesk, GivenMonitor, explained
from account_monitor.api.orders import (
    OF_ORDER,
    RecordedReport,
    accepted,
    answer,
    order,
    recorded,
    signed,
    text_given,
    within,
)
from account_monitor.api.problems import Refused
from account_monitor.config import split_position_key
from account_monitor.ledger.events import Adjustment, Anchor, Deed, DrawdownReset
from account_monitor.ledger.money import decimal_from_text, to_text
from account_monitor.ledger.reconciliation import Quarantine, Reconciliation, Subject, digest
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reports import (
    ComparisonReport,
    DriftReport,
    FindingReport,
    QuarantineReport,
    ReconciliationReport,
    StandingReport,
    comparison_report,
    interval_text,
    quarantine_report,
    reconciliation_report,
)

ANSWER_SECONDS = 15.0
"""How long the exchange may take for a statement that somebody waits for."""

_is_key = re.compile(r"[\w-]{1,40}(:LONG|:SHORT)?").fullmatch


class ReconciliationsReport(msgspec.Struct, frozen=True, kw_only=True):
    """The latest reports, the youngest first; how often is compared, and what is not corrected any more."""

    reports: list[ReconciliationReport]
    interval_in_effect: str | None
    quarantined: list[QuarantineReport]


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is released from quarantine, why, and who says so."""

    kind: Literal["wallet", "position"]
    name: str
    reason: str
    by: str | None = None


class CorrectedPosition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a position is: contracts, positive long, and the average price of what is held."""

    quantity: str
    entry_price: str = "0"


class Correction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person corrects, why, and who says so: `wallets` move by the amounts, `positions` become what is said."""

    reason: str
    by: str | None = None
    wallets: dict[str, str] = {}  # nobody changes it
    positions: dict[str, CorrectedPosition] = {}  # nobody changes it


class ComparedReport(ComparisonReport, frozen=True, kw_only=True):
    """The same, as it was ordered. `pending`: why what was journaled of the order may still be lost, with the 202."""

    pending: str | None = None


class DrawdownOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That the peak begins anew, why, and who says so."""

    reason: str
    by: str | None = None


OF_READING = explained(
    *EVERYWHERE, *BY_FRAMEWORK, problems.UNKNOWN_ACCOUNT, problems.FOLDING, problems.HELD_ELSEWHERE,
)  # fmt: skip
OF_COMPARING = {
    **explained(
        *EVERYWHERE, *BY_FRAMEWORK, problems.FOREIGN_ORIGIN, problems.UNKNOWN_ACCOUNT, problems.NO_EXCHANGE,
        problems.NO_JSON, problems.FOLDING, problems.HELD_ELSEWHERE, problems.NOT_ANSWERED, problems.NOT_RECORDED,
    ),
    **accepted(ComparedReport),
}  # fmt: skip
OF_RESETTING = {**OF_ORDER, **explained(problems.NO_EQUITY)}
OF_RELEASING = {**OF_ORDER, **explained(problems.NOT_QUARANTINED)}


@get("/api/reconciliation", operation_id="reconciliation", summary="What was found", responses=OF_READING)
async def reconciliation(
    monitor: GivenMonitor,
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Reports, the youngest.")] = 50,
) -> ReconciliationsReport:
    """Drifts from the exchange, their causes, and what was booked or corrected because of them."""
    entries = await asyncio.to_thread(lambda: list(islice(monitor.journal.remarks("reconciliation"), limit)))
    comparison = monitor.view.comparison
    return ReconciliationsReport(
        reports=[reconciliation_report(monitor.name, entry) for entry in entries],
        interval_in_effect=None if comparison is None else interval_text(comparison.interval_seconds),
        quarantined=[quarantine_report(each) for each in monitor.quarantined],
    )


@post("/api/reconcile", operation_id="reconcile", summary="Compare now", responses=OF_COMPARING, status_code=200)
async def reconcile(caller: GivenCaller, desk: GivenDesk, monitor: GivenMonitor) -> Response[ComparedReport]:
    """Ask the exchange for a statement and compare it. What differs is confirmed and looked into as always.

    Who asked is journaled.
    """
    if monitor.reconcile is None:
        raise Refused(problems.NO_EXCHANGE, f"account {monitor.name} has no exchange, or is not served by it now")
    now_ms = desk.clock()
    deed = Deed(digest(monitor.name, now_ms, caller), now_ms, "reconcile", caller.name)
    asked = await recorded(desk, monitor, deed, caller.name)
    late = Refused(problems.NOT_ANSWERED, f"no statement of account {monitor.name} within {ANSWER_SECONDS:.0f} s")
    told = comparison_report(await within(ANSWER_SECONDS, monitor.reconcile(), late))
    return await answer(desk, monitor.name, asked.seq, ComparedReport(**msgspec.structs.asdict(told)), status=200)


@post("/api/corrections", operation_id="correct", summary="Correct by hand", responses=OF_ORDER, status_code=201)
async def correct(
    caller: GivenCaller, desk: GivenDesk, monitor: GivenMonitor, data: JSONBody[Correction]
) -> Response[RecordedReport]:
    """Move wallets by an amount, or make positions what they are; journaled with the reason and who gave it.

    An account with an exchange is compared with it afterwards: what does not agree is looked into, and corrected back.
    """
    wallets = tuple((asset, _amount(monitor, asset, text)) for asset, text in sorted(data.wallets.items()))
    anchors = tuple(_anchor(monitor, key, position) for key, position in sorted(data.positions.items()))
    if not wallets and not anchors:
        raise Refused(problems.BAD_BODY, "wallets, positions: were both empty, expected what is to be corrected")
    now_ms = desk.clock()
    name = digest(monitor.name, now_ms, data)
    by, reason = signed(caller, data.by), text_given("reason", data.reason)
    moved = await recorded(desk, monitor, Adjustment(name, now_ms, "OPERATOR", wallets, anchors, by, reason), by)
    told = Reconciliation(f"order-{name}", now_ms, f"ordered by {by}: {reason}", adjustment_id=name)
    last = await recorded(desk, monitor, told, by)
    return await answer(desk, monitor.name, last.seq, moved)


@post("/api/quarantine/release", operation_id="release", summary="Release", responses=OF_RELEASING, status_code=201)
async def release(
    caller: GivenCaller, desk: GivenDesk, monitor: GivenMonitor, data: JSONBody[Release]
) -> Response[RecordedReport]:
    """Let a wallet or a position be corrected again, after a person has looked at it."""
    now_ms = max(desk.clock(), *(each.at_ms for each in monitor.adjustments), 0)  # the exchange's clock may be ahead
    known = monitor.quarantine_of(Subject(data.kind, data.name))
    if known is None or known.is_over:
        raise Refused(problems.NOT_QUARANTINED, f"{data.kind} {data.name!r} of {monitor.name} is not quarantined")
    by, reason = signed(caller, data.by), text_given("reason", data.reason)
    released = Quarantine(data.kind, data.name, now_ms, is_over=True, reason=reason, by=by)
    return await order(desk, monitor, released, by)


@post("/api/drawdown/reset", operation_id="reset_drawdown", summary="Begin the peak anew", responses=OF_RESETTING,
      status_code=201)  # fmt: skip
async def reset_drawdown(
    caller: GivenCaller, desk: GivenDesk, monitor: GivenMonitor, data: JSONBody[DrawdownOrder]
) -> Response[RecordedReport]:
    """Measure the drawdown from what the account is worth now; the worst so far and the return stay."""
    by, reason = signed(caller, data.by), text_given("reason", data.reason)
    equity = monitor.view.pnl.equity
    if equity is None or equity <= 0:
        told = "not known" if equity is None else to_text(equity)
        raise Refused(problems.NO_EQUITY, f"equity of {monitor.name} was {told}, expected above 0")
    now_ms = desk.clock()
    return await order(desk, monitor, DrawdownReset(digest(monitor.name, now_ms, data), now_ms, reason, by), by)


HANDLERS = (reconciliation, reconcile, correct, release, reset_drawdown)
REPORTS: tuple[type[msgspec.Struct], ...] = (
    ComparedReport, ComparisonReport, DriftReport, FindingReport, QuarantineReport, ReconciliationReport,
    ReconciliationsReport, RecordedReport, StandingReport, Correction, CorrectedPosition, DrawdownOrder, Release,
)  # fmt: skip


def _anchor(monitor: Monitor, key: str, position: CorrectedPosition) -> Anchor:
    """Return what a position is from its youngest fill on: what comes later counts."""
    if not _is_key(key):
        raise Refused(problems.BAD_BODY, f"positions: was {key[:50]!r}, expected 1 to 40 letters, digits, _ and -")
    symbol, side = split_position_key(key)
    if not monitor.is_listed(symbol) and key not in monitor.view.positions:
        raise Refused(problems.BAD_BODY, f"positions: was {key[:60]!r}, which the exchange does not list")
    quantity = _number(f"positions.{key}.quantity", position.quantity)
    price = _number(f"positions.{key}.entry_price", position.entry_price)
    if price < 0 or (quantity and not price):
        raise Refused(problems.BAD_BODY, f"positions.{key}.entry_price: was {position.entry_price!r}, expected above 0")
    cost = monitor.value_of(symbol, quantity, price)
    return Anchor(symbol, side, quantity, cost, None, monitor.latest_fill_ms(key) or monitor.view.as_of_ms)


def _amount(monitor: Monitor, asset: str, text: str) -> Decimal:
    """Return by how much a wallet is to be moved: one that there is, for an asset without a price hides all equity."""
    if asset not in monitor.view.balances and asset not in monitor.usd_assets:
        known = ", ".join(sorted(monitor.view.balances)) or "none yet"
        raise Refused(problems.BAD_BODY, f"wallets: was {asset[:50]!r}, expected an asset of the account: {known}")
    amount = _number(f"wallets.{asset}", text)
    if not amount:
        raise Refused(problems.BAD_BODY, f"wallets.{asset}: was {text[:60]!r}, expected an amount that moves it")
    return amount


def _number(name: str, text: str) -> Decimal:
    try:
        return decimal_from_text(text)
    except ValueError as error:
        raise Refused(problems.BAD_BODY, f"{name}: was {text[:60]!r}, {error}") from None
