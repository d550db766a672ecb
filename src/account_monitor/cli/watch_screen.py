"""Watch screen: a frame of `status --watch`, from what is known at the moment."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from account_monitor.cli.screen import (
    ALARM,
    GAIN,
    LOSS,
    MISSING,
    WARNING,
    Elsewhere,
    account_screen,
    alert_line,
    elsewhere_line,
    money,
    number,
    price_text,
    rounded,
    visible,
    whole,
)
from account_monitor.ledger.money import ZERO, to_text
from account_monitor.monitor.reports import AccountReport, AlertReport, FillReport, PnLReport, PositionReport, time_text

FILLS_SHOWN: Final = 5
_BAR: Final = 20
_ROOM_PCT: Final = Decimal(50)
"""The distance to a liquidation at which the bar is full."""

_NEAR_PCT: Final = Decimal(10)
"""Nearer than that, it has the colour of a loss."""

_CENTS: Final = 2

MOST_WHOLE: Final = 12
"""Accounts that are shown whole. To write 20 of them takes most of a second, and nobody scrolls through 200."""

_NONE: Final = "no account to show: its journal is still being read, or none is configured"
_NONE_HERE: Final = "no account is held here"


class Shown(NamedTuple):
    """One account in a frame."""

    report: AccountReport
    alerts: Sequence[AlertReport]
    fills: Sequence[FillReport]
    is_old: bool = False
    """Whether the service that answers has not told of it yet, while it has of others."""


class Frame(NamedTuple):
    """What a frame is made from. `lost_ms` is since when the figures are old, None while they are not."""

    address: str
    now_ms: int
    lost_ms: int | None
    why: str
    warnings: Sequence[RenderableType]
    accounts: Sequence[Shown]
    skipped: int = 0
    """Lines that were scrolled away."""
    elsewhere: Sequence[Elsewhere] = ()
    """Accounts that other replicas hold."""


class Drawn(NamedTuple):
    """What a terminal shows of a frame."""

    lines: list[str]
    skipped: int
    """Lines that were scrolled away: no more than there are."""


def draw(frame: Frame, width: int, height: int) -> Drawn:
    """Return a frame as a terminal of this size takes it.

    While nothing is heard, figures are dimmed and without colour. What does not fit is said in the last line.
    """
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, legacy_windows=False)
    head = _written(console, _head(frame))
    if frame.lost_ms is None:
        body = _written(console, Group(*frame.warnings, *_accounts(frame, width)))
    else:
        body = _written(console, Group(*_dimmed(_accounts(frame, width), width)))
    room = max(0, height - len(head))
    if len(body) <= room:
        return Drawn([*head, *body], 0)
    skipped = min(frame.skipped, len(body) - room + 1)
    window = body[skipped : skipped + room - 1]
    left = len(body) - skipped - len(window)
    foot = Text(f"lines ↑ {skipped}  ↓ {left}  arrow keys scroll", style="reverse", no_wrap=True, overflow="ellipsis")
    return Drawn([*head, *window, *_written(console, foot)][:height], skipped)


def _written(console: Console, shown: RenderableType) -> list[str]:
    file = console.file = io.StringIO()
    console.print(shown)
    return file.getvalue().splitlines()


def _dimmed(shown: Iterable[RenderableType], width: int) -> Iterator[Text]:
    """Yield the lines of what is old, without colour."""
    plain = Console(file=io.StringIO(), width=width, height=1, color_system=None, legacy_windows=False)
    yield from (Text(line, style="dim", no_wrap=True) for line in _written(plain, Group(*shown)))


def _head(frame: Frame) -> RenderableType:
    """Return the line that says whether what stands below is as of now."""
    line = Text(no_wrap=True, overflow="ellipsis")
    if frame.lost_ms is None:
        line.append("live", style=f"bold {GAIN}")
    elif not frame.accounts:
        line.append(f"not connected: {visible(frame.why)}", style=ALARM)
    else:
        seconds = max(0, frame.now_ms - frame.lost_ms) // 1000
        said = f"disconnected since {time_text(frame.lost_ms)}, {seconds} s: {visible(frame.why)}; what is shown is old"
        line.append(said, style=ALARM)
    line.append(f"  {frame.address}  q quits", style="dim")
    return line


def _accounts(frame: Frame, width: int) -> Iterator[RenderableType]:
    if len(frame.accounts) > 1 or (frame.accounts and frame.elsewhere):
        yield _total(frame.accounts, is_all=not frame.elsewhere)
    yield from map(elsewhere_line, frame.elsewhere)
    if not frame.accounts and frame.lost_ms is None:
        yield Text(_NONE_HERE if frame.elsewhere else _NONE, style=WARNING)
    if len(frame.accounts) > MOST_WHOLE:
        for each in frame.accounts:
            name = Text(f"{visible(each.report.account)}  ", style="bold")
            yield from (Text.assemble(name, alert_line(alert)) for alert in each.alerts)
        yield Text(f"of {len(frame.accounts)} accounts, what each holds: --account NAME", style="dim")
        return
    for each in frame.accounts:
        if each.is_old and frame.lost_ms is None:  # else all of them are
            yield Text(f"{visible(each.report.account)} is not told yet: what stands below is old", style=WARNING)
            yield from _dimmed(_account(each, width), width)
        else:
            yield from _account(each, width)


def _account(shown: Shown, width: int) -> Iterator[RenderableType]:
    yield account_screen(shown.report, width, alerts=shown.alerts)
    yield from _distances(shown.report.positions, width)
    yield from _fills(shown.fills, width)


# -- several accounts --------------------------------------------------------------------------------------------------

_COLUMNS: Final[tuple[tuple[str, Callable[[PnLReport], str | None], bool], ...]] = (
    ("equity", lambda pnl: pnl.equity, False),
    ("net P&L", lambda pnl: pnl.net_pnl, True),
    ("realized", lambda pnl: pnl.realized_pnl, True),
    ("unrealized", lambda pnl: pnl.unrealized_pnl, True),
    ("fees", lambda pnl: pnl.total_fees, False),
    ("funding", lambda pnl: pnl.funding, True),
)
"""Name, figure, and whether its sign is a gain or a loss."""


def _total(accounts: Sequence[Shown], *, is_all: bool) -> Table:
    """Return a line for each account, and their total; it is not known where one of its parts is not, or is old.

    Where others hold accounts, it says that it is only that of those here.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_footer=True)
    table.add_column("account", footer="total" if is_all else "total here", no_wrap=True, overflow="ellipsis")
    for name, figure, has_sign in _COLUMNS:
        amounts = [None if each.is_old else figure(each.report.pnl) for each in accounts]
        total = (
            None
            if None in amounts
            else to_text(sum((number(amount) for amount in amounts if amount is not None), ZERO))
        )
        table.add_column(name, footer=_amount(total, has_sign=has_sign), justify="right", no_wrap=True)
    for each in accounts:
        cells = [_amount(figure(each.report.pnl), has_sign=has_sign) for _, figure, has_sign in _COLUMNS]
        if each.is_old:
            cells = [Text(cell.plain, style="dim") for cell in cells]
        table.add_row(Text(visible(each.report.account), style="dim" if each.is_old else ""), *cells)
    return table


def _amount(amount: str | None, *, has_sign: bool) -> Text:
    if amount is None:
        return Text(MISSING, style="dim")
    return money(amount, _CENTS) if has_sign else Text(rounded(amount, _CENTS))


# -- of an account -----------------------------------------------------------------------------------------------------


def _distances(positions: dict[str, PositionReport], width: int) -> Iterator[Text]:
    """Yield a line for each position that has a liquidation price: the shorter the bar, the nearer it is.

    What is farther than a full bar has none. Where a line does not fit, all go without.
    """
    known = sorted(
        (
            _Distance(visible(key), number(each.liquidation_distance_pct), whole(each.liquidation_price))
            for key, each in positions.items()
            if each.liquidation_distance_pct is not None
        ),
        key=lambda each: each.pct,
    )
    names = max((len(each.name) for each in known), default=0)
    yield from _fitting(width, [[_distance(each, names, bar=bar) for each in known] for bar in (_BAR, 0)])


class _Distance(NamedTuple):
    """How far a position is from its liquidation, in percent, and at what price that is."""

    name: str
    pct: Decimal
    price: str


def _distance(each: _Distance, names: int, *, bar: int) -> Text:
    """Return a line whose bar has so many places, and whose name as many as the longest."""
    line = Text("liquidation ", style="dim").append(f"{each.name:<{names}} ", style="not dim")
    if bar:
        full = int(bar * max(ZERO, each.pct) // _ROOM_PCT)
        drawn = "█" * full + "░" * (bar - full) if each.pct <= _ROOM_PCT else " " * bar
        line.append(f"{drawn} ", style=f"not dim {LOSS if each.pct < _NEAR_PCT else GAIN}")
    return line.append(f"{rounded(to_text(each.pct), _CENTS)} % away, at {each.price}", style="not dim")


def _fills(fills: Sequence[FillReport], width: int) -> Iterator[Text]:
    """Yield a line for each of the last fills; where one does not fit, all go without the fee, then the date."""
    shown = fills[:FILLS_SHOWN]
    yield from _fitting(
        width,
        [
            [_fill(fill, with_fee=with_fee, with_date=with_date) for fill in shown]
            for with_fee, with_date in ((True, True), (False, True), (False, False))
        ],
    )


def _fill(fill: FillReport, *, with_fee: bool, with_date: bool) -> Text:
    at = visible(fill.timestamp)
    when = at if with_date else at.partition("T")[2]
    line = Text(f"fill {when}  ", style="dim")
    line.append(f"{visible(fill.side):<4} ", style=f"not dim {GAIN if fill.side == 'BUY' else LOSS}")
    fee = f"  fee {whole(fill.fee)} {fill.fee_currency or ''}" if with_fee and fill.fee is not None else ""
    said = f"{whole(fill.quantity)} {fill.symbol} at {price_text(fill.price)}{fee}"
    return line.append(visible(said), style="not dim")


def _fitting(width: int, forms: Sequence[Sequence[Text]]) -> Sequence[Text]:
    """Return the first form of lines of which all fit; else the last, which wraps: no digit is ever cut."""
    return next((lines for lines in forms if all(line.cell_len <= width for line in lines)), forms[-1])
