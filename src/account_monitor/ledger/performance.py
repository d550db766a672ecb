"""Performance: round trips from flat to flat, and the statistics that traders judge themselves by."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from account_monitor.ledger.money import ZERO, divide

_HUNDRED = Decimal(100)


@dataclass(slots=True)
class RoundTrips:
    """The finished round trips of one position, and the one that is open.

    A round trip runs from flat to flat, or across zero. Its result is its realized P&L less its fees plus its funding,
    in USD at the time of each. A result of zero is neither a win nor a loss. An adopted position's trip is left out.
    `unvalued` counts finished trips with an amount that nobody could price: trades, but neither won nor lost.
    """

    trades: int = 0
    winning: int = 0
    losing: int = 0
    unvalued: int = 0
    gross_win: Decimal = ZERO
    gross_loss: Decimal = ZERO
    """Zero or negative."""
    open_result: Decimal | None = ZERO
    """Of the open trip so far; None once it contains an amount without a price."""
    is_adopted: bool = False

    def earn(self, result: Decimal | None) -> None:
        """Add to the open trip what a fill or funding brought, net; None: an amount without a price."""
        if result is None or self.open_result is None:
            self.open_result = None
        elif result:
            self.open_result += result

    def end(
        self, before: Decimal, after: Decimal, traded: Decimal, realized: Decimal | None, fee: Decimal | None
    ) -> None:
        """End the open trip with a fill of size `traded` from `before` to `after`: flat, or across zero.

        The fee of a crossing fill splits pro rata, and the trip that it opens takes the remainder.
        """
        closing_fee = fee
        if after and fee is not None:
            closing_fee = divide(fee * abs(before), traded)
        self.earn(None if realized is None or closing_fee is None else realized - closing_fee)
        self._finish()
        if after:
            self.earn(None if fee is None or closing_fee is None else closing_fee - fee)

    def adopt(self, *, is_open: bool) -> None:
        """Forget the open trip: the position was set from outside, and what is open now is not our trade."""
        self.open_result = ZERO
        self.is_adopted = is_open

    def copy(self) -> RoundTrips:
        """Return a record that changes on its own."""
        return RoundTrips(
            self.trades, self.winning, self.losing, self.unvalued, self.gross_win, self.gross_loss,
            self.open_result, self.is_adopted,
        )  # fmt: skip

    def _finish(self) -> None:
        result, self.open_result = self.open_result, ZERO
        if self.is_adopted:
            self.is_adopted = False
            return
        self.trades += 1
        if result is None:
            self.unvalued += 1
        elif result > 0:
            self.winning += 1
            self.gross_win += result
        elif result < 0:
            self.losing += 1
            self.gross_loss += result


@dataclass(frozen=True, slots=True)
class TradeStatistics:
    """Statistics over finished round trips, in USD; None where there is nothing to divide by."""

    total_trades: int = 0
    winning_trades: int = 0
    losing_trades: int = 0
    gross_win: Decimal = ZERO
    gross_loss: Decimal = ZERO

    @property
    def win_rate(self) -> Decimal | None:
        """Winning trades per hundred trades."""
        return divide(_HUNDRED * self.winning_trades, Decimal(self.total_trades)) if self.total_trades else None

    @property
    def average_win(self) -> Decimal | None:
        """Mean result of the winning trades."""
        return divide(self.gross_win, Decimal(self.winning_trades)) if self.winning_trades else None

    @property
    def average_loss(self) -> Decimal | None:
        """Mean result of the losing trades; negative."""
        return divide(self.gross_loss, Decimal(self.losing_trades)) if self.losing_trades else None

    @property
    def profit_factor(self) -> Decimal | None:
        """What was won per dollar lost."""
        return divide(self.gross_win, -self.gross_loss) if self.losing_trades else None
