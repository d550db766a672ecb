"""Causes: what did an event that nobody had told of do to what both sides know, and what kind of thing was it?"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.events import Charge, Event, Fill, FundingPayment, OtherIncome, Transfer
from account_monitor.ledger.money import ZERO
from account_monitor.ledger.reconciliation import Cause, Subject

LAST_DIGIT = Decimal("0.00000001")
"""The smallest amount that a venue's wallet knows."""

INSURANCE = "INSURANCE_CLEAR"


class Effect(NamedTuple):
    """How an event moves a subject, in units of the asset or contracts, and as what."""

    subject: Subject
    amount: Decimal
    cause: Cause


def cause_of(event: Event) -> Cause:
    """Return what kind of thing an event is that the ledger had missed."""
    match event:
        case Fill():
            return "CORRECTED_RECORD" if event.revision else "MISSED_FILL"
        case FundingPayment():
            return "FUNDING"
        case Transfer():
            return "TRANSFER"
        case OtherIncome() | Charge():
            return "INSURANCE" if event.reason == INSURANCE else "INCOME"
        case _:
            return "UNEXPLAINED"


def effects_of(event: Event, settlement_asset: str, *, cause: Cause) -> list[Effect]:
    """Return how a first record of an event moves the wallets and its position, in that order."""
    moves: list[tuple[Subject, Decimal, Cause]] = []
    match event:
        case Fill():
            fee_asset = event.fee_asset or settlement_asset
            fee, realized = event.fee or ZERO, event.realized_pnl or ZERO
            if fee_asset == settlement_asset:
                moves.append((Subject("wallet", settlement_asset), realized - fee, cause))
            else:
                moves.append((Subject("wallet", settlement_asset), realized, cause))
                moves.append((Subject("wallet", fee_asset), -fee, "FEE"))
            moves.append((Subject("position", event.key), event.signed_quantity, cause))
        case FundingPayment() | Transfer() | OtherIncome():
            moves.append((Subject("wallet", event.asset), event.amount, cause))
        case Charge():
            moves.append((Subject("wallet", event.asset), -event.amount, cause))
        case _:
            pass
    return [Effect(*move) for move in moves if move[1]]


def corrected(amount: Decimal) -> Cause:
    """Return what it is called when a record was set right and a wallet moved by this amount."""
    return "ROUNDING" if abs(amount) <= LAST_DIGIT else "CORRECTED_RECORD"
