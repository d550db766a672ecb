"""Copying: entries and fills as the lines that COPY of PostgreSQL reads.

They are made a column at a time, by what takes whole columns at once: with hundreds of thousands of rows, what it takes
to look at each value is what the processor is busy with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from account_monitor.stores.history.batch import Batch, EntryRow, FillRow

JOURNAL = ("account", "epoch", "seq", "event_id", "kind", "at", "recorded_at", "source", "body", "hash")
"""The columns of the line of an entry."""

FILLS = (
    "account", "symbol", "id", "is_counterpart", "side", "quantity", "price", "fee", "fee_currency", "position_side",
    "order_id", "maker", "realized_pnl", "timestamp", "source", "seq", "recorded_at", "trade_number",
)  # fmt: skip
"""The columns of the line of a fill."""

LAST_MS = 253_402_300_799_999
"""The youngest time that is kept, in the year 9999."""

_FIRST_DAY = 2_440_588
"""The Julian number of the day 1970-01-01."""

_NULL = r"\N"
_MILLISECONDS = [f".{number:03}+00" for number in range(1000)]
_FLAGS = {None: _NULL, False: "f", True: "t"}
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": "\N{REPLACEMENT CHARACTER}"})
"""What stands for characters that would end a value or a line, and for NUL, which no text of PostgreSQL holds."""


class Lines(NamedTuple):
    """A batch as COPY reads it."""

    entries: bytes
    fills: bytes


def lines_of(batch: Batch) -> Lines:
    """Return the lines of the entries and of the new fills of a batch."""
    return Lines(_entry_lines(batch.account, batch.entries), _fill_lines(batch.account, batch.fills))


def _entry_lines(account: str, entries: Sequence[EntryRow]) -> bytes:
    if not entries:
        return b""
    epochs, rows = zip(*entries, strict=True)
    seq, event_id, kind, at_ms, recorded_ms, source, _, _, _, body, entry_hash = zip(*rows, strict=True)
    return _lines(
        _texts([account]) * len(rows), _numbers(epochs), _numbers(seq), _texts(event_id), _texts(kind),
        _times(_in_calendar(at_ms)), _times(recorded_ms), _texts(source), _texts(body), _octets(entry_hash),
    )  # fmt: skip


def _fill_lines(account: str, fills: Sequence[FillRow]) -> bytes:
    if not fills:
        return b""
    (
        symbol, trade_id, is_counterpart, side, quantity, price, fee, fee_currency, position_side, order_id, maker,
        realized_pnl, at_ms, source, seq, recorded_ms, trade_number,
    ) = zip(*fills, strict=True)  # fmt: skip
    return _lines(
        _texts([account]) * len(fills), _texts(symbol), _texts(trade_id), _flags(is_counterpart), _texts(side),
        _numbers(quantity), _numbers(price), _numbers(fee), _texts(fee_currency), _texts(position_side),
        _texts(order_id), _flags(maker), _numbers(realized_pnl), _times(_in_calendar(at_ms)), _texts(source),
        _numbers(seq), _times(recorded_ms), _numbers(trade_number),
    )  # fmt: skip


def stored_ms(at_ms: int) -> int:
    """Return the time nearest to this one that the database can hold."""
    return min(max(at_ms, 0), LAST_MS)


def _lines(*columns: Sequence[str]) -> bytes:
    return "".join([f"{line}\n" for line in map("\t".join, zip(*columns, strict=True))]).encode()


def _texts(column: Sequence[str | None]) -> list[str]:
    whole = "".join(filter(None, column))
    if any(chr(character) in whole for character in _ESCAPED):
        column = [text and text.translate(_ESCAPED) for text in column]
    return [_NULL if text is None else text for text in column]


def _numbers(column: Iterable[int | Decimal | None]) -> list[str]:
    return [_NULL if number is None else str(number) for number in column]


def _flags(column: Iterable[bool | None]) -> list[str]:
    return [_FLAGS[flag] for flag in column]


def _octets(column: Iterable[bytes]) -> list[str]:
    return [rf"\\x{octets.hex()}" for octets in column]


def _in_calendar(column: Sequence[int]) -> Sequence[int]:
    """Return times that whoever reads them can hold: of those of another millennium the nearest."""
    if min(column) >= 0 and max(column) <= LAST_MS:
        return column
    return [stored_ms(at_ms) for at_ms in column]


def _times(column: Sequence[int]) -> list[str]:
    """Return times in milliseconds as texts. A second is made once: many times are in it."""
    seconds = {second: _second(second) for second in {at_ms // 1000 for at_ms in column}}
    return [seconds[at_ms // 1000] + _MILLISECONDS[at_ms % 1000] for at_ms in column]


def _second(second: int) -> str:
    """Return a second since 1970 by the number of its day, which is there for every year that the database knows."""
    days, rest = divmod(second, 86_400)
    return f"J{_FIRST_DAY + days} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
