"""Copying: entries and fills as the lines that COPY of PostgreSQL reads.

They are made a column at a time, by what takes whole columns at once: with hundreds of thousands of rows, what it takes
to look at each value is what the processor is busy with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from account_monitor.stores.history.batch import EntryRow, FillRow

JOURNAL = ("account", "epoch", "seq", "event_id", "kind", "at", "recorded_at", "source", "body", "hash")
"""The columns of a line of `journal_lines`."""

FILLS = (
    "account", "symbol", "id", "is_counterpart", "side", "quantity", "price", "fee", "fee_currency", "position_side",
    "order_id", "maker", "realized_pnl", "timestamp", "source", "seq", "recorded_at", "trade_number",
)  # fmt: skip
"""The columns of a line of `fill_lines`."""

LAST_MS = 253_402_300_799_999
"""The youngest time that is kept, in the year 9999."""

PIECE = 500
"""Lines that are made at once."""

T = TypeVar("T")

_NULL = r"\N"
_MILLISECONDS = [f".{number:03}+00" for number in range(1000)]
_FLAGS = {None: _NULL, False: "f", True: "t"}
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": "\N{REPLACEMENT CHARACTER}"})
"""What stands for characters that would end a value or a line, and for NUL, which no text of PostgreSQL holds."""


def journal_lines(account: str, entries: Sequence[EntryRow]) -> Iterator[bytes]:
    """Yield a line for each entry, some at a time: the server reads them while the next ones are made."""
    for piece in _pieces(entries):
        epochs, rows = zip(*piece, strict=True)
        seq, event_id, kind, at_ms, recorded_ms, source, _, _, _, body, entry_hash = zip(*rows, strict=True)
        yield _lines(
            _texts([account]) * len(rows), _numbers(epochs), _numbers(seq), _texts(event_id), _texts(kind),
            _times(at_ms), _times(recorded_ms), _texts(source), _texts(body), _octets(entry_hash),
        )  # fmt: skip


def fill_lines(account: str, fills: Sequence[FillRow]) -> Iterator[bytes]:
    """Yield a line for each fill, some at a time."""
    for piece in _pieces(fills):
        (
            symbol, trade_id, is_counterpart, side, quantity, price, fee, fee_currency, position_side, order_id, maker,
            realized_pnl, at_ms, source, seq, recorded_ms, trade_number,
        ) = zip(*piece, strict=True)  # fmt: skip
        yield _lines(
            _texts([account]) * len(piece), _texts(symbol), _texts(trade_id), _flags(is_counterpart), _texts(side),
            _numbers(quantity), _numbers(price), _numbers(fee), _texts(fee_currency), _texts(position_side),
            _texts(order_id), _flags(maker), _numbers(realized_pnl), _times(at_ms), _texts(source), _numbers(seq),
            _times(recorded_ms), _numbers(trade_number),
        )  # fmt: skip


def _pieces(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))


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


def _times(column: Sequence[int]) -> list[str]:
    """Return times in milliseconds as texts. A second is made once: many times are in it."""
    if min(column) < 0 or max(column) > LAST_MS:
        column = [stored_ms(at_ms) for at_ms in column]
    seconds = {second: _second(second) for second in {at_ms // 1000 for at_ms in column}}
    return [seconds[at_ms // 1000] + _MILLISECONDS[at_ms % 1000] for at_ms in column]


def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"
