"""Events: the immutable facts that move an account, and the order in which the venue made them.

Times are milliseconds since 1970-01-01 UTC on the venue's clock. Quantities are contracts.
Amounts are signed: positive is money in; a fee is the exception everywhere, positive is paid.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

from account_monitor.ledger.alerts import Alert, Silence
from account_monitor.ledger.reconciliation import Quarantine, Reconciliation

Side: TypeAlias = Literal["BUY", "SELL"]
PositionSide: TypeAlias = Literal["BOTH", "LONG", "SHORT"]

# Tuples rather than dataclasses: one is made for every message, and a frozen dataclass costs five times as much.


def position_key(symbol: str, position_side: PositionSide) -> str:
    """Return the name of a position: the symbol, or `BTCUSDT:LONG` for a leg of hedge mode."""
    return symbol if position_side == "BOTH" else f"{symbol}:{position_side}"


class Fill(NamedTuple):
    """An execution.

    `fee` is positive when paid, negative for a rebate, None when the source did not say; it is in `fee_asset`.
    `realized_pnl` is what the venue says it moved the wallet by, None where it does not say.
    `fee_rate` and `settlement_rate` are USD per unit of the fee and settlement asset at the fill's own time, None for
    an asset that counts as one dollar, or where no price was known.
    `revision` counts how often the record of this execution was completed or set right: the highest stands. A quantity
    of zero says that it does not belong to this position after all.
    `is_counterpart`: an account that traded with itself has two fills of one trade id, and this is the one that was
    recorded second. Feeds leave it False, the journal tells the two apart.
    """

    symbol: str
    trade_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    at_ms: int
    position_side: PositionSide = "BOTH"
    fee: Decimal | None = None
    fee_asset: str | None = None
    realized_pnl: Decimal | None = None
    order_id: str | None = None
    maker: bool | None = None
    fee_rate: Decimal | None = None
    settlement_rate: Decimal | None = None
    revision: int = 0
    is_counterpart: bool = False

    @property
    def identity(self) -> str:
        """Names the execution within its account: symbol and venue trade id, and which of two of that id it is."""
        if self.is_counterpart:
            return f"counterpart:{self.symbol}:{self.trade_id}"
        return f"fill:{self.symbol}:{self.trade_id}"

    @property
    def event_id(self) -> str:
        """Names this record of it; ids hold no spaces."""
        return f"{self.identity} r{self.revision}" if self.revision else self.identity

    @property
    def key(self) -> str:
        """The position that it moves."""
        return self.symbol if self.position_side == "BOTH" else f"{self.symbol}:{self.position_side}"

    @property
    def signed_quantity(self) -> Decimal:
        """Contracts, positive when bought."""
        return self.quantity if self.side == "BUY" else -self.quantity

    def trades_with(self, other: Fill) -> bool:
        """Whether two fills of one trade id are the two sides of a trade of the account with itself.

        That takes opposite sides and two orders: a side that differs under one order, or under an order that nobody
        names, is a contradiction.
        """
        return (
            self.side != other.side
            and self.order_id is not None
            and other.order_id is not None
            and self.order_id != other.order_id
        )

    def lacks(self, other: Fill) -> tuple[str, ...]:
        """Return the names of what the ledger or the identity needs, the other states and this one does not."""
        needed = ("fee", "realized_pnl", "order_id", "maker")
        return tuple(name for name in needed if getattr(self, name) is None and getattr(other, name) is not None)

    def contradicts(self, other: Fill) -> tuple[str, ...]:
        """Return the names of the fields in which both state something and the statements differ."""
        return tuple(
            name
            for name in ("side", "quantity", "price", "at_ms", "position_side", "fee", "fee_asset", "realized_pnl",
                         "order_id", "maker")
            if (mine := getattr(self, name)) != (theirs := getattr(other, name))
            and mine is not None and theirs is not None
        )  # fmt: skip


class Claim(NamedTuple):
    """What somebody other than the venue says was executed, under an id that is not the venue's: it moves nothing.

    It is matched with the fill of which it tells; one that stays alone is a reason for an alarm.
    """

    fill: Fill

    @property
    def at_ms(self) -> int:
        """When it happened, by the clock of whoever says so."""
        return self.fill.at_ms

    @property
    def event_id(self) -> str:
        """The identity of a claim within its account."""
        return f"claim:{self.fill.symbol}:{self.fill.trade_id}"


class Listing(NamedTuple):
    """A contract about which the venue says other than its symbol: a linear one, settled in `settlement_asset`."""

    symbol: str
    settlement_asset: str
    base_asset: str | None
    at_ms: int

    @property
    def event_id(self) -> str:
        """The identity of a listing within its account."""
        return f"listing:{self.symbol}:{self.settlement_asset}:{self.base_asset or ''}"


class FundingPayment(NamedTuple):
    """Funding received (positive) or paid, for one position where the venue names it."""

    id: str
    asset: str
    amount: Decimal
    at_ms: int
    symbol: str | None = None
    position_side: PositionSide = "BOTH"
    rate: Decimal | None = None
    """USD per unit of the asset at its own time; None for dollars, or where no price was known."""

    @property
    def event_id(self) -> str:
        """The identity of a payment within its account."""
        return f"funding:{self.id}"

    @property
    def key(self) -> str | None:
        """The position that was charged, None where the venue does not say."""
        return None if self.symbol is None else position_key(self.symbol, self.position_side)


class Transfer(NamedTuple):
    """A deposit (positive) or withdrawal: changes what there is, and is no profit."""

    id: str
    asset: str
    amount: Decimal
    at_ms: int

    @property
    def event_id(self) -> str:
        """The identity of a transfer within its account."""
        return f"transfer:{self.id}"


class OtherIncome(NamedTuple):
    """Income that is neither trading nor funding: insurance, rebates, conversions. `reason` is the venue's word."""

    id: str
    asset: str
    amount: Decimal
    at_ms: int
    reason: str
    rate: Decimal | None = None
    """USD per unit of the asset at its own time; None for dollars, or where no price was known."""

    @property
    def event_id(self) -> str:
        """The identity of an income within its account."""
        return f"income:{self.id}"


class Charge(NamedTuple):
    """A fee that belongs to no fill, such as a liquidation's: positive when paid. `reason` is the venue's word."""

    id: str
    asset: str
    amount: Decimal
    at_ms: int
    reason: str
    rate: Decimal | None = None
    """USD per unit of the asset at its own time; None for dollars, or where no price was known."""

    @property
    def event_id(self) -> str:
        """The identity of a charge within its account."""
        return f"charge:{self.id}"


class Anchor(NamedTuple):
    """What a position is, said from outside: replaces quantity and cost, and contains every fill up to its moment.

    The moment is the last trade id where ids are numbers, else the time; neither: before everything.
    """

    symbol: str
    position_side: PositionSide
    quantity: Decimal
    cost: Decimal
    last_trade_id: int | None = None
    at_ms: int | None = None

    @property
    def key(self) -> str:
        """The position that it states."""
        return position_key(self.symbol, self.position_side)

    def contains(self, fill: Fill) -> bool:
        """Whether the stated quantity already includes this fill."""
        if self.last_trade_id is not None and (number := trade_number(fill.trade_id)) is not None:
            return number <= self.last_trade_id
        return self.at_ms is not None and fill.at_ms <= self.at_ms


class Opening(NamedTuple):
    """What the account held at a moment: wallets, and positions that count as adopted. Fills up to then are contained.

    `at_ms` 0 is before everything. `wallets` None means that nobody said what the wallets held.
    """

    id: str
    at_ms: int
    wallets: tuple[tuple[str, Decimal], ...] | None
    positions: tuple[Anchor, ...] = ()

    @property
    def event_id(self) -> str:
        """The identity of an opening within its account."""
        return f"opening:{self.id}"


class Adjustment(NamedTuple):
    """A correction, with its cause: wallets move by the amounts, positions become what is stated.

    `by`: who ordered it, None for the monitor itself. `reason`: in their words, or the evidence.
    """

    id: str
    at_ms: int
    cause: str
    wallets: tuple[tuple[str, Decimal], ...] = ()
    positions: tuple[Anchor, ...] = ()
    by: str | None = None
    reason: str = ""

    @property
    def event_id(self) -> str:
        """The identity of a correction within its account."""
        return f"adjustment:{self.id}"


class Reversal(NamedTuple):
    """A correction that is taken back, all of it, because its cause is known now and booked as what it is."""

    adjustment_id: str
    at_ms: int
    reason: str

    @property
    def event_id(self) -> str:
        """The identity of a reversal within its account."""
        return f"reversal:{self.adjustment_id}"


class MarkPrice(NamedTuple):
    """The price at which the venue values a symbol."""

    symbol: str
    price: Decimal
    at_ms: int


class Marks(NamedTuple):
    """The mark prices that were known at a moment, journaled so that valuations can be told again."""

    at_ms: int
    prices: tuple[MarkPrice, ...]

    @property
    def event_id(self) -> str:
        """The identity of a set of marks within its account."""
        return f"marks:{self.at_ms}"


class Place(NamedTuple):
    """How far a position had come in venue order: the last event up to there, and how many there were of each kind."""

    symbol: str
    position_side: PositionSide
    trade_id: str | None
    """The last fill's; None: there was none since the position's last beginning."""
    at_ms: int
    """The latest time of a fill up to there."""
    fill_count: int
    payment_count: int
    is_by_time: bool = False
    """Whether the position's fills are ordered by time, because not all of its ids are numbers."""

    @property
    def key(self) -> str:
        """The position."""
        return position_key(self.symbol, self.position_side)


class Horizon(NamedTuple):
    """What happened so long ago that it is final: whatever else comes to be known of it moves nothing.

    Fills up to the place of their position, money that moved without a trade up to `before_ms`, and corrections up to
    then. It moves nothing either: it says what need not be read again.
    """

    at_ms: int
    before_ms: int
    places: tuple[Place, ...] = ()

    @property
    def event_id(self) -> str:
        """The identity of a horizon within its account."""
        return f"horizon:{self.at_ms}"


class DrawdownReset(NamedTuple):
    """A person's order that the peak of performance begins anew: it moves nothing. `by`, `reason`: in their words."""

    id: str
    at_ms: int
    reason: str
    by: str

    @property
    def event_id(self) -> str:
        """The identity of the order within its account."""
        return f"drawdown_reset:{self.id}"


DeedKind: TypeAlias = Literal["reconcile", "token_created", "token_revoked", "token_used", "refused"]


class Deed(NamedTuple):
    """What somebody did at a door of the service, or wanted to: it moves nothing.

    `by` is the name of a token, or of a user of the machine; None where nobody knows. `address` is where they came
    from. `attempts`: of those that were refused, how many; `detail` says more in words.
    """

    id: str
    at_ms: int
    kind: DeedKind
    by: str | None = None
    address: str | None = None
    attempts: int = 1
    detail: str = ""

    @property
    def event_id(self) -> str:
        """The identity of a deed within its journal."""
        return f"deed:{self.id}"


FlowEvent: TypeAlias = FundingPayment | Transfer | OtherIncome | Charge
"""Money that moves without a trade."""
Remark: TypeAlias = Claim | Listing | Alert | Silence | Reconciliation | Quarantine | Horizon | DrawdownReset | Deed
"""What is said about an account, and moves nothing."""
Event: TypeAlias = Fill | FlowEvent | Opening | Adjustment | Reversal | Marks | Remark
LegEvent: TypeAlias = Fill | FundingPayment


def is_numbered(trade_id: str) -> bool:
    """Whether a trade id is a venue's counter: leading zeros and digits beyond 63 bits make it text."""
    return trade_id.isdecimal() and trade_id[0] != "0" and len(trade_id) <= 18 and trade_id.isascii()


def trade_number(trade_id: str) -> int | None:
    """Return a numeric trade id as a number (`"999" < "1000"`), None for any other id."""
    return int(trade_id) if is_numbered(trade_id) else None
