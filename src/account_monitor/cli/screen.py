"""Screen: an account in the terminal, from the same report that every door shows.

A number is never cut: what is no number any more could be taken for one. Quantities, prices and wallets are whole;
amounts are rounded, and a line says so; where the terminal is too narrow, whole columns are left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final, NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from account_monitor.errors import CommandFailed
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import (
    AccountReport,
    AlertReport,
    BalanceReport,
    ComparisonReport,
    PnLReport,
    PositionReport,
    RiskReport,
)

MISSING = "—"
UNBOUNDED: Final = 10_000
"""Columns of what is no terminal: nothing has to be left out."""

_PLACES: Final = (8, 2)
"""Decimals of amounts: the first that fit. A price with more than the first was divided, as that of an entry is."""

_PRICE_DIGITS: Final = 10
"""Significant digits that such a price has at least."""

_ROUNDED: Final = "amounts and entry prices are rounded; quantities, wallets and prices are whole"

_LEFT_OUT: Final = ("fees", "fills", "realized", "price", "unrealized")
"""Columns of the positions that a narrow terminal goes without, the first first. Quantity and entry stay."""

_PNL_LEFT_OUT: Final = ("funding", "fees", "trades", "win rate", "realized", "unrealized")

_ALARMING: Final = Decimal("0.8")
"""The margin ratio from which it is red: the threshold of the alert unless it is configured otherwise."""

GAIN, LOSS, WARNING, ALARM, _DIM = "color(33)", "color(166)", "color(166)", "bold color(166)", "dim"
"""Blue and orange, which colour-blind readers tell apart, on dark and on light; a sign or a word says the same."""

_is_number = re.compile(r"-?[0-9]{1,150}(?:\.[0-9]{1,150})?").fullmatch
"""As reports write them, and so few digits that arithmetic stays exact."""

# Elsewhere arithmetic is exact or loud; this is for eyes alone.
_rounding = Context(prec=400, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_ruler = Console(width=UNBOUNDED, file=io.StringIO())


class _Cell(NamedTuple):
    """What stands under the name of a column."""

    column: str
    text: Text


class Elsewhere(NamedTuple):
    """An account that another replica holds. None: it is not known which, or where that answers."""

    account: str
    member: str | None
    address: str | None


def elsewhere_line(held: Elsewhere) -> Text:
    """Return a line that says whom to ask for an account."""
    line = Text(visible(held.account), style="bold")
    at = "" if held.address is None else f", at {held.address}"
    return line.append(visible(f"  held by {held.member or 'another replica'}{at}: ask there"), style="not bold dim")


def account_screen(
    account: AccountReport, width: int, *, alerts: Iterable[AlertReport] = (), notes: Iterable[str] = ()
) -> RenderableType:
    """Show one account in so many columns: what fires, results, balances, positions, and what has no price."""
    parts: list[RenderableType] = [_title(account), *(alert_line(alert) for alert in alerts)]
    if account.reconciliation is not None:
        parts.append(_comparison(account.reconciliation))
    parts += [_pnl(account.pnl, width), _standing(account.risk), _balances(account.balances)]
    parts += _risk(account.risk, account.positions)
    parts.append(_positions(account.positions, width))
    parts.append(Text(_ROUNDED, style=_DIM))
    if account.unpriced:
        parts.append(Text(visible(f"no price for: {', '.join(account.unpriced)}"), style=WARNING))
    parts += [Text(note, style=_DIM) for note in notes]
    return Group(*parts)


def _comparison(told: ComparisonReport) -> Text:
    """Return a line that says how the account compares with its exchange."""
    agreed_at = visible(told.agreed_at or "no time")
    if told.status == "agrees" and not told.unexplained:
        return Text(f"agrees with the exchange as of {agreed_at}", style=_DIM)
    standings = {
        "agrees": f"agrees with the exchange as of {agreed_at}",
        "differs": f"differs from the exchange; agreed last at {agreed_at}",
        "quarantined": f"not corrected any more: {', '.join(f'{each.kind} {each.name}' for each in told.quarantined)}",
        "waiting": "not compared with the exchange yet",
    }
    words = standings.get(told.status)
    if words is None:
        raise CommandFailed(
            f"the service tells {told.status[:60]!r} of how an account compares with its exchange, expected one of"
            f" {', '.join(standings)}"
        )
    standing = f"; {len(told.unexplained)} corrections that nothing explains" if told.unexplained else ""
    return Text(visible(f"{words}{standing}"), style=WARNING)


def visible(text: str) -> str:
    """Return a text in which what cannot be seen, or would steer a terminal, is shown as its code."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def number(text: str) -> Decimal:
    """Return a number that a service told. Raises: CommandFailed where it is none."""
    if not _is_number(text):
        raise CommandFailed(f"the service tells {text[:60]!r}, expected a number such as -1234.5")
    return Decimal(text)


def whole(amount: str | None) -> str:
    """Return a number with thousands separators and all its digits. Raises: CommandFailed where it is none."""
    if amount is None:
        return MISSING
    number(amount)
    digits, _, fraction = amount.partition(".")
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    return f"{sign}{int(digits):,}{'.' if fraction else ''}{fraction}"


def rounded(amount: str | None, places: int = 8) -> str:
    """Return an amount with thousands separators, half-even rounded to `places` decimals if it has more."""
    if amount is None or len(amount.partition(".")[2]) <= places:
        return whole(amount)
    near = number(amount).quantize(Decimal(1).scaleb(-places), context=_rounding)
    return whole(f"{abs(near) if near.is_zero() else near:f}")


def price_text(price: str | None) -> str:
    """Return a price whole; one that was divided is rounded to eight decimals, or ten digits if those are more."""
    if price is None:
        return MISSING
    return rounded(price, max(_PLACES[0], _PRICE_DIGITS - 1 - number(price).adjusted()))


def money(amount: str | None, places: int) -> Text:
    """Return a result in the colour of what is shown of it: what is rounded to zero is neither won nor lost."""
    if amount is None:
        return Text(MISSING, style=_DIM)
    text = rounded(amount, places)
    is_zero = not text.strip("-0.,")
    return Text(text, style="" if is_zero else LOSS if text.startswith("-") else GAIN)


def _title(account: AccountReport) -> Text:
    title = Text(visible(account.account), style="bold")
    title.append(f"  seq {account.epoch}:{account.seq}  as of {visible(account.as_of or MISSING)}", style=_DIM)
    return title


def alert_line(alert: AlertReport) -> Text:
    """Return a line; a runbook may ask for its text, so it wraps."""
    what = alert.type if alert.symbol is None else f"{alert.type} {alert.symbol}"
    acked = "" if alert.acked_by is None else f", {alert.acked_by} looks after it"
    line = f"{alert.severity}  {what}  {alert.message}  (since {alert.timestamp}{acked})"
    return Text(visible(line), style=ALARM if alert.severity == "CRITICAL" else WARNING)


def _pnl(pnl: PnLReport, width: int) -> RenderableType:
    def row(places: int) -> list[_Cell]:
        return [
            _Cell("equity", Text(rounded(pnl.equity, places))),
            _Cell("net P&L", money(pnl.net_pnl, places)),
            _Cell("realized", money(pnl.realized_pnl, places)),
            _Cell("unrealized", money(pnl.unrealized_pnl, places)),
            _Cell("fees", Text(rounded(pnl.total_fees, places))),
            _Cell("funding", money(pnl.funding, places)),
            _Cell("trades", Text(str(pnl.total_trades))),
            _Cell("win rate", Text(MISSING if pnl.win_rate is None else f"{rounded(pnl.win_rate, 1)} %")),
        ]

    def table(rows: Sequence[Sequence[_Cell]]) -> Table:
        made = Table(box=None, padding=(0, 2, 0, 0), header_style=_DIM)
        for cell in rows[0]:
            made.add_column(cell.column, justify="right", no_wrap=True)
        made.add_row(*(cell.text for cell in rows[0]))
        return made

    return _fitted(lambda places: [row(places)], table, _PNL_LEFT_OUT, width)


def _standing(risk: RiskReport) -> Text:
    """Return a line with the drawdown, the return and the loss of the day."""
    line = Text("drawdown ", style=_DIM)
    for name, amount, unit in (
        ("", risk.drawdown_pct, " %"), ("  return ", risk.return_pct, " %"), ("  lost today ", risk.daily_loss, ""),
    ):  # fmt: skip
        told = MISSING if amount is None else rounded(amount, _PLACES[-1]) + unit
        is_bad = amount is not None and (number(amount) < 0 or (not unit and number(amount) > 0))
        line.append(name).append(told, style=f"not dim {LOSS}" if is_bad else "not dim")
    return line


def _balances(balances: dict[str, BalanceReport]) -> Text:
    line = Text("wallets")
    line.stylize(_DIM)
    for balance in balances.values():
        line.append(f"  {whole(balance.total)} {visible(balance.asset)}", style="not dim")
    return line


def _risk(risk: RiskReport, positions: dict[str, PositionReport]) -> Iterator[Text]:
    """Yield a line about margins and the nearest liquidation, where they are known."""
    if risk.margin_ratio is None:
        return
    ratio = number(risk.margin_ratio)
    line = Text("margin ratio ", style=_DIM)
    line.append(f"{rounded(to_text(100 * ratio), 2)} %", style=ALARM if ratio >= _ALARMING else "not dim")
    for name, amount in (
        ("maintenance", risk.maintenance_margin),
        ("available", risk.available_margin),
        ("leverage", risk.leverage),
    ):
        line.append(f"  {name} ").append(rounded(amount, _PLACES[-1]), style="not dim")
    line.append_text(_nearest(positions))
    yield line


def _nearest(positions: dict[str, PositionReport]) -> Text:
    """Return which position is nearest to its liquidation, and nothing where none has such a price."""
    distances = {
        key: number(position.liquidation_distance_pct)
        for key, position in positions.items()
        if position.liquidation_distance_pct is not None
    }
    if not distances:
        return Text()
    key = min(distances, key=distances.__getitem__)
    price, distance = whole(positions[key].liquidation_price), rounded(to_text(distances[key]), 2)
    return Text("  nearest liquidation ", style=_DIM).append(
        f"{visible(key)} at {price}, {distance} % away", style="not dim"
    )


def _positions(positions: dict[str, PositionReport], width: int) -> RenderableType:
    held_first = sorted(positions.items(), key=lambda item: (item[1].state == "FLAT", item[0]))

    def table(rows: Sequence[Sequence[_Cell]]) -> Table:
        made = Table(box=box.SIMPLE_HEAD, padding=(0, 1), header_style=_DIM)
        for cell in rows[0]:
            made.add_column(cell.column, justify="left" if cell.column == "position" else "right", no_wrap=True)
        for row in rows:
            made.add_row(*(cell.text for cell in row))
        if any(position.price_source == "last_fill" for position in positions.values()):
            made.caption = "* no mark price yet: the price of the last fill"
            made.caption_justify = "left"
        return made

    def rows(places: int) -> list[list[_Cell]]:
        return [_position(key, position, places) for key, position in held_first]

    return _fitted(rows, table, _LEFT_OUT, width) if positions else Text("no positions", style=_DIM)


def _position(key: str, position: PositionReport, places: int) -> list[_Cell]:
    is_flat = position.state == "FLAT"
    price = price_text(position.current_price) + (" *" if position.price_source == "last_fill" else "")
    return [
        _Cell("position", Text(visible(key), style=_DIM if is_flat else "bold")),
        _Cell("quantity", Text(whole(position.quantity), style=_DIM if is_flat else "")),
        _Cell("entry", Text(price_text(position.entry_price))),
        _Cell("price", Text(price)),
        _Cell("unrealized", money(None if is_flat else position.unrealized_pnl, places)),
        _Cell("realized", money(position.realized_pnl, places)),
        _Cell("fees", Text(rounded(position.total_fees, places))),
        _Cell("fills", Text(str(position.fill_count))),
    ]


def _fitted(
    rows: Callable[[int], list[list[_Cell]]],
    table: Callable[[Sequence[Sequence[_Cell]]], Table],
    left_out: Sequence[str],
    width: int,
) -> RenderableType:
    """Return a table that fits: with fewer decimals, then without columns; at last, a line for each row."""
    for places in _PLACES:
        made = table(rows(places))
        if _ruler.measure(made).maximum <= width:
            return made
    least = rows(_PLACES[-1])
    for count in range(1, len(left_out) + 1):
        gone = left_out[:count]
        made = table([[cell for cell in row if cell.column not in gone] for row in least])
        if _ruler.measure(made).maximum <= width:
            return made
    return Group(*(_in_words(row) for row in least))


def _in_words(row: Sequence[_Cell]) -> Text:
    """Return a row as a line that wraps between its columns."""
    line = Text()
    for cell in row:
        line.append("" if cell.column == "position" else f"{cell.column} ", style=_DIM)
        line.append_text(cell.text)
        line.append("  ")
    return line
