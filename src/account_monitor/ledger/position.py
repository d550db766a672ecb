"""Position: what a trade does to quantity and cost, and the record that one position keeps of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from account_monitor.ledger.events import Fill, FundingPayment
from account_monitor.ledger.instruments import Instrument
from account_monitor.ledger.money import ONE, ZERO, divide
from account_monitor.ledger.performance import RoundTrips

NEVER_MS = -4_611_686_018_427_387_904
"""Before every time that there is."""


def after_trade(
    quantity: Decimal, cost: Decimal, change: Decimal, price: Decimal, instrument: Instrument
) -> tuple[Decimal, Decimal, Decimal]:
    """Return (quantity, cost, realized) after buying (change > 0) or selling at `price`.

    Quantity and cost are signed alike: a short of one at 100 is (−1, −100). Always, and exactly:
    realized = change of cost − value of the trade; and what ends flat has no cost left.
    """
    value = change * price if instrument.is_plain else instrument.value(change, price)
    if not quantity or quantity.is_signed() is change.is_signed():
        return quantity + change, cost + value, ZERO
    rest = quantity + change
    if not rest:  # the last part takes all remaining cost, so rounding never outlives the position
        return ZERO, ZERO, -cost - value
    if rest.is_signed() is quantity.is_signed():
        released = divide(cost * change, quantity)
        return rest, cost + released, released - value
    opened = value - instrument.value(-quantity, price)  # valued once, split by subtraction
    return rest, opened, opened - cost - value


@dataclass(slots=True)
class Tally:
    """Amounts by asset, and what they were worth in USD at the time of each.

    `unvalued` holds the amounts for which no price was known then; they are in `by_asset` and not in `usd`.
    """

    usd: Decimal = ZERO
    by_asset: dict[str, Decimal] = field(default_factory=dict)
    unvalued: dict[str, Decimal] = field(default_factory=dict)

    def add(self, asset: str, amount: Decimal, rate: Decimal | None) -> Decimal | None:
        """Add an amount, at USD per unit of the asset, None where that is not known. Return its worth."""
        by_asset = self.by_asset
        by_asset[asset] = by_asset.get(asset, ZERO) + amount
        if rate is None:
            self.unvalued[asset] = self.unvalued.get(asset, ZERO) + amount
            return None
        usd = amount if rate is ONE else amount * rate
        self.usd += usd
        return usd

    def copy(self) -> Tally:
        """Return a tally that changes on its own."""
        return Tally(self.usd, self.by_asset.copy(), self.unvalued.copy())


Movement: TypeAlias = tuple[Decimal, Decimal, Decimal, Decimal, str]
"""What a fill did: (change of cost, realized, rounding, fee, fee asset), in the settlement asset but for the fee."""


@dataclass(slots=True)
class Leg:
    """One position: quantity, cost, and the results it has had since the first event.

    `realized` is what the venue stated where it did, else the exact result; `rounding` is exact − stated, so that
    realized + rounding − cost is the cash flow of the trades, always.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO
    rounding: Decimal = ZERO
    realized_usd: Decimal = ZERO
    realized_unvalued: Decimal = ZERO
    fees: Tally = field(default_factory=Tally)
    funding: Tally = field(default_factory=Tally)
    trips: RoundTrips = field(default_factory=RoundTrips)
    fill_count: int = 0
    fills_without_fee: int = 0
    """Fills whose source did not say what the fee was; the fees are those of the others."""
    last_price: Decimal | None = None
    last_at_ms: int = 0
    latest_fill_ms: int = NEVER_MS
    """The largest time of a fill, which need not be the last one's: venues order by trade id."""
    last_funding: tuple[int, str] = (NEVER_MS, "")
    """(time, id) of the youngest payment."""
    payment_count: int = 0

    def book(self, fill: Fill, instrument: Instrument, usd_assets: frozenset[str]) -> Movement:
        """Apply the next fill in venue order and return what it did."""
        # This runs once for every fill there ever was, so it unpacks once and calls little.
        _, _, side, size, price, at_ms, _, fee, fee_asset, stated, _, _, fee_rate, settlement_rate, _, _ = fill
        settlement = instrument.settlement_asset
        before, cost_before = self.quantity, self.cost
        quantity, cost, realized = after_trade(before, cost_before, size if side == "BUY" else -size, price, instrument)
        rounding = ZERO
        if stated is not None:
            rounding = realized - stated
            realized = stated
            self.rounding += rounding
        self.quantity, self.cost = quantity, cost

        realized_usd: Decimal | None = ZERO
        fee_usd: Decimal | None = ZERO
        result: Decimal | None = ZERO
        if realized:
            realized_usd = result = self._realize(realized, ONE if settlement in usd_assets else settlement_rate)
        if fee_asset is None:
            fee_asset = settlement
        if fee:
            fee_usd = self.fees.add(fee_asset, fee, ONE if fee_asset in usd_assets else fee_rate)
            result = None if result is None or fee_usd is None else result - fee_usd
        elif fee is None:
            self.fills_without_fee += 1
            fee = ZERO
        if quantity and (not before or before.is_signed() is quantity.is_signed()):
            self.trips.earn(result)
        else:
            self.trips.end(before, quantity, size, realized_usd, fee_usd)

        self.fill_count += 1
        self.last_price = price
        self.last_at_ms = at_ms
        if at_ms > self.latest_fill_ms:
            self.latest_fill_ms = at_ms
        return cost - cost_before, realized, rounding, fee, fee_asset

    def fund(self, payment: FundingPayment, usd_assets: frozenset[str]) -> None:
        """Apply a funding payment, in venue order with the fills."""
        rate = ONE if payment.asset in usd_assets else payment.rate
        usd = self.funding.add(payment.asset, payment.amount, rate)
        if self.quantity:
            self.trips.earn(usd)
        self.payment_count += 1
        self.last_funding = max(self.last_funding, (payment.at_ms, payment.id))
        self.last_at_ms = max(self.last_at_ms, payment.at_ms)

    def anchor(self, quantity: Decimal, cost: Decimal) -> None:
        """Become what was stated from outside; the round trip that it is in does not count."""
        self.quantity, self.cost = quantity, cost
        self.trips.adopt(is_open=bool(quantity))

    def copy(self) -> Leg:
        """Return a leg that changes on its own."""
        return Leg(
            self.quantity, self.cost, self.realized, self.rounding, self.realized_usd, self.realized_unvalued,
            self.fees.copy(), self.funding.copy(), self.trips.copy(), self.fill_count,
            self.fills_without_fee, self.last_price, self.last_at_ms, self.latest_fill_ms, self.last_funding,
            self.payment_count,
        )  # fmt: skip

    def _realize(self, amount: Decimal, rate: Decimal | None) -> Decimal | None:
        self.realized += amount
        if rate is None:
            self.realized_unvalued += amount
            return None
        usd = amount if rate is ONE else amount * rate
        self.realized_usd += usd
        return usd
