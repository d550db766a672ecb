"""Screen: an account in the terminal, from the same report that every door shows."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from account_monitor.monitor.reports import AccountReport, BalanceReport, PnLReport, PositionReport

MISSING = "—"
_COLUMNS = ("quantity", "entry", "price", "unrealized", "realized", "fees", "fills")
"""Of the table of positions; a narrow terminal gets all but the last two."""

_GREEN, _RED, _DIM = "green", "red", "dim"


WIDE = 110
"""Columns from which amounts are shown with eight decimals; in a narrower terminal with two."""


def account_screen(account: AccountReport, width: int, *, notes: Iterable[str] = ()) -> RenderableType:
    """Show one account in so many columns: results, balances, positions, and what has no price."""
    places = 8 if width >= WIDE else 2
    parts: list[RenderableType] = [_title(account), _pnl_line(account.pnl, places), _balances(account.balances)]
    parts.append(_positions(account.positions, places))
    if account.unpriced:
        parts.append(Text(f"no price for: {', '.join(account.unpriced)}", style="yellow"))
    parts += [Text(note, style=_DIM) for note in notes]
    return Group(*parts)


def shown(amount: str | None, places: int = 8) -> str:
    """Return an amount with thousands separators and at most `places` decimals, cut and not rounded: `…` says so."""
    if amount is None:
        return MISSING
    whole, _, fraction = amount.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    grouped = f"{sign}{int(digits):,}"
    if not fraction:
        return grouped
    return f"{grouped}.{fraction[:places]}…" if len(fraction) > places else f"{grouped}.{fraction}"


def _money(amount: str | None, places: int) -> Text:
    if amount is None:
        return Text(MISSING, style=_DIM)
    number = Decimal(amount)
    return Text(shown(amount, places), style=_GREEN if number > 0 else _RED if number < 0 else "")


def _title(account: AccountReport) -> Text:
    title = Text(account.account, style="bold")
    title.append(f"  seq {account.epoch}:{account.seq}  as of {account.as_of or MISSING}", style=_DIM)
    return title


def _pnl_line(pnl: PnLReport, places: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style=_DIM)
    row: list[Text] = []
    for name, amount in (
        ("equity", pnl.equity),
        ("net P&L", pnl.net_pnl),
        ("realized", pnl.realized_pnl),
        ("unrealized", pnl.unrealized_pnl),
        ("fees", pnl.total_fees),
        ("funding", pnl.funding),
    ):
        table.add_column(name, justify="right")
        row.append(Text(shown(amount, places)) if name in ("equity", "fees") else _money(amount, places))
    table.add_column("trades", justify="right")
    table.add_column("win rate", justify="right")
    rate = MISSING if pnl.win_rate is None else f"{shown(pnl.win_rate, 1)} %"
    table.add_row(*row, Text(str(pnl.total_trades)), Text(rate))
    return table


def _balances(balances: dict[str, BalanceReport]) -> Text:
    line = Text("wallets")
    line.stylize(_DIM)
    for balance in balances.values():
        line.append(f"  {shown(balance.total)} {balance.asset}", style="not dim")
    return line


def _positions(positions: dict[str, PositionReport], places: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), header_style=_DIM)
    table.add_column("position", no_wrap=True)
    for name in _COLUMNS if places > 2 else _COLUMNS[:-2]:
        table.add_column(name, justify="right", no_wrap=True)
    for key, position in sorted(positions.items(), key=lambda item: (item[1].state == "FLAT", item[0])):
        is_flat = position.state == "FLAT"
        price = shown(position.current_price, places + 2)
        if position.price_source == "last_fill":
            price += " *"
            table.caption = "* no mark price yet: the price of the last fill"
            table.caption_justify = "left"
        cells: list[RenderableType] = [
            Text(shown(position.quantity, places), style=_DIM if is_flat else ""),
            shown(position.entry_price, places + 2),
            price,
            _money(None if is_flat else position.unrealized_pnl, places),
            _money(position.realized_pnl, places),
            shown(position.total_fees, places),
            str(position.fill_count),
        ]
        table.add_row(Text(key, style=_DIM if is_flat else "bold"), *cells[: len(table.columns) - 1])
    return table
