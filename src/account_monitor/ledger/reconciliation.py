"""Reconciliation: what does the exchange state, where does the ledger differ, and why? Judges, never edits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Literal, NamedTuple, TypeAlias

SubjectKind: TypeAlias = Literal["wallet", "position"]

Cause: TypeAlias = Literal[
    "MISSED_FILL", "FOREIGN_ORDER", "LIQUIDATION", "ADL", "SETTLEMENT", "FEE", "FUNDING", "TRANSFER", "INSURANCE",
    "INCOME", "CORRECTED_RECORD", "ROUNDING", "LATE_EVENT", "VENUE_INCONSISTENCY", "UNEXPLAINED",
]  # fmt: skip
"""Why a ledger and a statement differed.

MISSED_FILL: a fill that the stream did not deliver. FOREIGN_ORDER: the same, of an order that was placed by hand.
LIQUIDATION, ADL, SETTLEMENT: the same, of an order by which the venue closed the position. FEE: what moved is the fee
of such a fill, in another asset than the contract settles in. FUNDING, TRANSFER, INSURANCE, INCOME: money that moved
without a trade. CORRECTED_RECORD: the venue has another record of a fill that was booked. ROUNDING: the same, by no
more than the last digit that the venue has. LATE_EVENT: the stream told of it after all. VENUE_INCONSISTENCY: the venue
took its statement back. UNEXPLAINED: nothing that the venue lists explains it.
"""


class Subject(NamedTuple):
    """One thing that both sides know: the wallet of an asset, or the quantity of a position key."""

    kind: SubjectKind
    name: str


class Statement(NamedTuple):
    """What the exchange says the account holds, at one moment of its own clock.

    `wallets` by asset exclude unrealized P&L; `quantities` by position key are positive when long. In a complete
    statement a position that is not named is flat; an asset that is not named is unknown, always.
    """

    at_ms: int
    wallets: Mapping[str, Decimal]
    quantities: Mapping[str, Decimal]
    is_complete: bool


class Drift(NamedTuple):
    """A subject that a statement and the ledger disagreed on, and what explains it. Amounts in units of the asset,
    quantities in contracts; `difference` = stated − held.
    """

    kind: SubjectKind
    name: str
    stated: Decimal
    held: Decimal | None
    """None: the ledger did not know the subject."""
    stated_at_ms: int
    """The time of the statement, by the venue's clock."""
    causes: tuple[Cause, ...]
    """The first is the one that moved most of it; empty while it is not known."""
    explained: Decimal
    """What of the difference the findings booked."""
    is_tolerated: bool = False

    @property
    def subject(self) -> Subject:
        """What it is about."""
        return Subject(self.kind, self.name)

    @property
    def difference(self) -> Decimal:
        """Stated less held."""
        return self.stated - (self.held or Decimal(0))


class Finding(NamedTuple):
    """An event that a search booked, and what kind of thing the ledger had missed."""

    event_id: str
    cause: Cause


class Reconciliation(NamedTuple):
    """A report of what was found: statements that disagreed with the ledger, and what the venue had that was missing.

    `trigger` says why it was looked for. `adjustment_id` is the correction that was booked because nothing explains the
    drifts; None where everything is explained, or nothing may be corrected.
    """

    id: str
    at_ms: int
    trigger: str
    drifts: tuple[Drift, ...] = ()
    findings: tuple[Finding, ...] = ()
    finding_count: int = 0
    """How many there were; `findings` are the first of them."""
    adjustment_id: str | None = None
    taken_back: tuple[str, ...] = ()
    """Corrections that were taken back, because what was found explains them."""

    @property
    def event_id(self) -> str:
        """The identity of a report within its account."""
        return f"reconciliation:{self.id}"


class Quarantine(NamedTuple):
    """A subject is not corrected any more without a person, or is again.

    `by`: who released it, None when the monitor quarantined it.
    """

    kind: SubjectKind
    name: str
    at_ms: int
    is_over: bool
    reason: str
    by: str | None = None

    @property
    def event_id(self) -> str:
        """The identity of it within its account."""
        return f"quarantine:{self.kind}:{self.name}:{self.at_ms}:{'over' if self.is_over else 'begun'}"


def digest(*parts: object) -> str:
    """Return a short name that depends on these parts alone: what is made twice of the same has one name."""
    return sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:16]
