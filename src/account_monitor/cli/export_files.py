"""Export files: tables as CSV and as Parquet, exact to the last digit, with some thousand rows in memory."""

from __future__ import annotations

import csv
import importlib.util
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from account_monitor.cli.export_tables import Column, Kind, Row
from account_monitor.errors import CommandFailed
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import time_text
from account_monitor.stores.journal_file import sync_directory

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_GROUP = 65_536
_UNCONVERTED = "rows.arrow"

_BEGINS_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the first four in full width, which some spreadsheets take for them."""


class Sheet(Protocol):
    """Takes the rows of a table."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""


@contextmanager
def whole_file(target: Path, *, force: bool) -> Iterator[Path]:
    """Lend the path of a scratch file, which becomes the target once it is complete and flushed, or goes away.

    It goes away also where the program is asked to end meanwhile.
    Raises: CommandFailed where the target is there already, and `force` does not say to replace it.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        raise CommandFailed(f"{target}: is no file")
    if target.exists() and not force:
        raise CommandFailed(f"{target}: exists already; name another file, or add --force")
    if not target.parent.is_dir():
        raise CommandFailed(f"{target.parent}: there is no such directory")
    with (
        _raising_signals(),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:64]}.") as name,
    ):
        scratch = Path(name) / "scratch"
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(target)
    sync_directory(target.parent)


@contextmanager
def _raising_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit, with the code of who is ended by them, instead of ending at once.

    Those that are ignored already, as under nohup, stay so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what becomes of signals
        return
    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]

    def end(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # a second one would interrupt the removal
        raise SystemExit(128 + number)

    for each in numbers:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)


# -- CSV ---------------------------------------------------------------------------------------------------------------


class CsvSheet:
    """Writes CSV with a line of names: numbers in plain notation, times as RFC 3339 in UTC; what is None is empty.

    A text that a spreadsheet would take for a formula begins with an apostrophe, as OWASP advises ("CSV Injection");
    a number may begin with a minus.
    """

    def __init__(self, file: TextIO, columns: Sequence[Column]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._texts = [_TEXTS[column.kind] for column in columns]
        self._writer.writerow(column.name for column in columns)

    def write(self, rows: Sequence[Row]) -> None:
        """Write the next rows."""
        texts = self._texts
        self._writer.writerows(
            ["" if cell is None else text(cell) for text, cell in zip(texts, row, strict=True)] for row in rows
        )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _defused(text: str) -> str:
    return f"'{text}" if text.startswith(_BEGINS_FORMULAS) else text


_TEXTS: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: _defused,
    Kind.NUMBER: to_text,
    Kind.COUNT: str,
    Kind.FLAG: _flag,
    Kind.TIME: time_text,
}


# -- Parquet -----------------------------------------------------------------------------------------------------------


def require_parquet() -> None:
    """Make sure that Parquet can be written here. Raises: CommandFailed."""
    try:
        found = importlib.util.find_spec("pyarrow")
    except ValueError:
        found = None
    if found is None:
        raise CommandFailed("Parquet needs pyarrow, which is not installed: pip install 'account-monitor[export]'")


class Digits:
    """How many digits the numbers of a column have before and after the point, at most."""

    def __init__(self) -> None:
        self.before = 0
        self.after = 0

    def text_of(self, number: Decimal | None) -> str | None:
        """Return a number as text, and remember how long it was."""
        if number is None:
            return None
        text = to_text(number)
        whole, _, fraction = text.lstrip("-").partition(".")
        self.before = max(self.before, 0 if whole == "0" else len(whole))
        self.after = max(self.after, len(fraction))
        return text

    def number_type(self) -> pa.DataType:
        """Return the first of these types that holds every number of the column exactly.

        decimal128(38, 18), which everything reads; (38, 30), for what was divided; decimal256(76, 38); else text.
        """
        import pyarrow as pa

        for number_type in (pa.decimal128(38, 18), pa.decimal128(38, 30), pa.decimal256(76, 38)):
            if self.before <= number_type.precision - number_type.scale and self.after <= number_type.scale:
                return number_type
        return pa.string()


@contextmanager
def parquet_sheet(path: Path, columns: Sequence[Column]) -> Iterator[Sheet]:
    """Write Parquet. What type its numbers need is known after the last row: until then they lie beside it as text."""
    import pyarrow as pa

    unconverted = path.with_name(_UNCONVERTED)
    sheet = _ArrowSheet(columns)
    with pa.OSFile(str(unconverted), "wb") as file, pa.ipc.new_stream(file, sheet.schema) as stream:
        sheet.stream = stream
        yield sheet
    _convert(unconverted, path, sheet.final_schema())


class _ArrowSheet:
    stream: pa.RecordBatchStreamWriter

    def __init__(self, columns: Sequence[Column]) -> None:
        import pyarrow as pa

        types = {
            Kind.TEXT: pa.string(),
            Kind.NUMBER: pa.string(),
            Kind.COUNT: pa.int64(),
            Kind.FLAG: pa.bool_(),
            Kind.TIME: pa.timestamp("ms", tz="UTC"),
        }
        self._digits = {i: Digits() for i, column in enumerate(columns) if column.kind is Kind.NUMBER}
        self.schema = pa.schema([(column.name, types[column.kind]) for column in columns])

    def write(self, rows: Sequence[Row]) -> None:
        import pyarrow as pa

        cells: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for index, digits in self._digits.items():
            cells[index] = [digits.text_of(number) for number in cells[index]]
        arrays = [pa.array(column, field.type) for column, field in zip(cells, self.schema, strict=True)]
        self.stream.write_batch(pa.record_batch(arrays, schema=self.schema))

    def final_schema(self) -> pa.Schema:
        schema = self.schema
        for index, digits in self._digits.items():
            schema = schema.set(index, schema.field(index).with_type(digits.number_type()))
        return schema


def _convert(source: Path, target: Path, schema: pa.Schema) -> None:
    """Write what lies in `source` as Parquet of a schema; Arrow refuses to cast what would lose a digit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with (
        pa.OSFile(str(source)) as file,
        pa.ipc.open_stream(file) as batches,
        pq.ParquetWriter(target, schema) as parquet,
    ):
        group: list[pa.RecordBatch] = []
        for batch in batches:
            group.append(batch)
            if sum(map(len, group)) >= _ROW_GROUP:
                parquet.write_table(pa.Table.from_batches(group).cast(schema))
                group.clear()
        if group:
            parquet.write_table(pa.Table.from_batches(group).cast(schema))
    source.unlink()
