"""Performance: what was made of the money that is there, whatever was paid in or out meanwhile.

Round trips from flat to flat, and equity in units, as a fund counts it: a deposit buys units, a withdrawal sells them,
and only results change what a unit is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.money import ZERO, change_percent, divide, scaled, shown

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


class Level(NamedTuple):
    """Equity in USD, above 0, and the units that it is spread over: what a unit is worth is their quotient."""

    equity: Decimal
    units: Decimal

    def is_above(self, other: Level) -> bool:
        """Whether a unit is worth more; exact."""
        return self.equity * other.units > other.equity * self.units

    def change_from(self, other: Level) -> Decimal:
        """Return by how many percent a unit is worth more than at another level."""
        return change_percent(self.equity * other.units, other.equity * self.units)


@dataclass(frozen=True, slots=True)
class Standing:
    """What was made of the money, deposits and withdrawals apart. None: not known."""

    drawdown_pct: Decimal | None = None
    """Now against the peak; 0 or less."""
    max_drawdown_pct: Decimal | None = None
    """The worst so far, of all series; 0 or less."""
    return_pct: Decimal | None = None
    """Since the series began."""
    peak_equity: Decimal | None = None
    """USD: the equity at which there would be no drawdown, with what was paid in and out by now."""
    daily_loss: Decimal | None = None
    """USD lost since the day began; 0 where nothing was."""


_TOTAL_LOSS = Decimal(-100)


@dataclass(slots=True)
class Performance:
    """The equity of an account in units, as it was observed.

    A series begins with the first equity above 0, closes at −100 % when equity is 0 or less, and a deposit opens the
    next. It rests while money that was withdrawn leaves nothing, or a flow cannot be priced: then the next equity that
    is known and above 0 goes on with what a unit was worth before, and what happened between is neither won nor lost.
    """

    equity: Decimal | None = None
    """As observed last, or as the last flow left it; USD."""
    units: Decimal = ZERO
    """0: no series is open, or it rests."""
    first: Level | None = None
    """None: no series has begun."""
    peak: Level | None = None
    resting: Level | None = None
    """What the series goes on with."""
    is_closed: bool = False
    max_drawdown_pct: Decimal | None = None
    has_unknown_flow: bool = False
    """Whether the next known equity differs from the last one by a flow that nobody could price."""
    is_amid_correction: bool = False
    """Whether a correction was taken back since the last observation: its cause may not be booked yet."""
    corrected: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    """By correction that stands and position key: what it made equity more by then, in USD; "" for all else of it."""
    day: int | None = None
    """Days since 1970 of the last observation, each from when a day starts."""
    day_equity: Decimal | None = None
    """As observed last before the day began."""
    day_flows: Decimal = ZERO
    """What was paid in since, less what was paid out."""

    # -- what changes ------------------------------------------------------------------------------------------------

    def observe(self, equity: Decimal | None, day: int) -> None:
        """Take what the account is worth on a day; None: nobody knows."""
        if self.day is None or day > self.day or day < self.day - 1:  # by less, only the clock was put back a little
            self.day, self.day_equity, self.day_flows = day, self.equity, ZERO
        self.is_amid_correction = False
        self._take(equity)

    def flow(self, before: Decimal | None, after: Decimal | None, amount: Decimal | None = None) -> None:
        """Take a change of equity of which `amount` is no result: all of it where that is None.

        Equity that is not known before or after makes the flow an unknown one.
        """
        if before is not None and not self.is_amid_correction:
            self._take(before)
        if before is None or after is None:
            self._lose_sight()
            self._take(after)
            return
        left = after if amount is None else before + amount
        if left == before:
            return
        self.day_flows += left - before
        self._pay(before, left)
        self.equity = left

    def take_back(self, before: Decimal | None, after: Decimal | None, amount: Decimal | None) -> None:
        """Take the reversal of a correction by `amount`; what changes equity beside it is a result."""
        self.flow(before, after, amount)
        self.is_amid_correction = True

    def reset(self, equity: Decimal | None) -> None:
        """Let the peak be what a unit is worth now; a series that is closed begins anew, if there is equity."""
        self._take(equity)
        if self.units and self.equity is not None:
            self.peak = Level(self.equity, self.units)
        elif self.resting is not None:
            self.peak = self.resting
        elif equity is not None and equity > 0:
            self._open(equity)

    def _take(self, equity: Decimal | None) -> None:
        if equity is None:
            return
        self._go_on(equity)
        self.equity = equity
        if self.day_equity is None:
            self.day_equity, self.day_flows = equity, ZERO
        if not self.units or self.peak is None:
            return
        if equity <= 0:
            self.units, self.is_closed, self.max_drawdown_pct = ZERO, True, _TOTAL_LOSS
            return
        level = Level(equity, self.units)
        if level.is_above(self.peak):
            self.peak = level
        else:
            self._fall(level.change_from(self.peak))

    def _go_on(self, equity: Decimal) -> None:
        """Begin, or end a rest, where there is equity."""
        was_unknown, self.has_unknown_flow = self.has_unknown_flow, False
        if was_unknown and self.equity is not None:
            self.day_flows += equity - self.equity
        if equity <= 0:
            self.has_unknown_flow = was_unknown and self.is_closed
        elif self.resting is not None:
            self.units, self.resting = scaled(self.resting.units, equity, self.resting.equity), None
        elif self.first is None or (was_unknown and self.is_closed):
            self._open(equity)

    def _pay(self, before: Decimal, left: Decimal) -> None:
        """Buy or sell units for a flow that made equity `left`."""
        if self.units:
            if before > 0 and left > 0:
                self.units = scaled(self.units, left, before)
            else:
                self._rest(before)
        elif self.resting is not None:
            self._go_on(left)
        elif left > 0 and (self.first is None or left > before):
            self._open(left)

    def _lose_sight(self) -> None:
        self.has_unknown_flow = True
        if self.units:
            self._rest(ZERO)

    def _rest(self, before: Decimal) -> None:
        equity = before if before > 0 else self.equity
        assert equity is not None  # it is known, and above 0, while there are units
        self.resting, self.units = Level(equity, self.units), ZERO

    def _open(self, equity: Decimal) -> None:
        self.units, self.is_closed, self.resting = equity, False, None
        self.first = self.peak = Level(equity, equity)
        self._fall(ZERO)

    def _fall(self, drawdown_pct: Decimal) -> None:
        if self.max_drawdown_pct is None or drawdown_pct < self.max_drawdown_pct:
            self.max_drawdown_pct = drawdown_pct

    # -- what is read ------------------------------------------------------------------------------------------------

    def awaits_day(self, day: int) -> bool:
        """Whether a loss is still shown that was of a day before this one."""
        if self.day is None or self.day_equity is None or day <= self.day:
            return False
        return self.day_equity + self.day_flows != self.equity

    def standing(self, equity: Decimal | None) -> Standing:
        """Return where the account stands at an equity of now; None: nobody knows it."""
        if equity is None or self.first is None or self.peak is None:
            return Standing(max_drawdown_pct=self.max_drawdown_pct, daily_loss=self._daily_loss(equity))
        if self.is_closed or (self.units and equity <= 0):
            return Standing(_TOTAL_LOSS, _TOTAL_LOSS, _TOTAL_LOSS, None, self._daily_loss(equity))
        level = self.resting or Level(equity, self.units)
        peak = level if level.is_above(self.peak) else self.peak
        drawdown = level.change_from(peak)
        worst = drawdown if self.max_drawdown_pct is None else min(drawdown, self.max_drawdown_pct)
        return Standing(
            drawdown, worst, level.change_from(self.first), self._peak_equity(peak), self._daily_loss(equity)
        )

    def _peak_equity(self, peak: Level) -> Decimal | None:
        if not self.units:
            return None  # it rests: no units are there that could be worth anything
        return peak.equity if peak.units == self.units else shown(peak.equity * self.units, peak.units)

    def _daily_loss(self, equity: Decimal | None) -> Decimal | None:
        now = self.equity if self.has_unknown_flow else equity
        if equity is None or now is None or self.day_equity is None:
            return None
        return max(self.day_equity + self.day_flows - now, ZERO)
