"""Export files: which type holds a column of numbers, and that no digit is lost on the way into a file."""

from __future__ import annotations

import signal
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from account_monitor.cli.export_files import Digits, parquet_sheet, whole_file
from account_monitor.cli.export_tables import Column, Kind
from tests.journal_samples import decimals

D = Decimal

USUAL, DIVIDED, WIDE = pa.decimal128(38, 18), pa.decimal128(38, 30), pa.decimal256(76, 38)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], USUAL),
        (["0.00000001", "-98765432109876543210", "0"], USUAL),
        (["0.1234567890123456789"], DIVIDED),
        (["0.333333333333333333333333333333", "12345678"], DIVIDED),
        (["0.333333333333333333333333333333", "123456789"], WIDE),  # an account of nine digits, after a division
        (["98765432109876543210", "0.00000000000000000001"], WIDE),
        (["1E+38"], pa.string()),
        ([f"0.{'1' * 39}"], pa.string()),
    ],
)
def test_the_first_type_that_holds_every_number_is_taken(numbers: list[str], expected: pa.DataType) -> None:
    digits = Digits()
    for number in numbers:
        digits.text_of(D(number))

    assert digits.number_type() == expected


@settings(max_examples=50)
@given(st.lists(st.none() | decimals, max_size=5))
def test_parquet_gives_back_what_it_was_given(numbers: list[Decimal | None]) -> None:
    columns = (Column("timestamp", Kind.TIME), Column("amount", Kind.NUMBER))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with parquet_sheet(path, columns) as sheet:
            for number in numbers:
                sheet.write([(1, number)])
        read = pq.read_table(path).column("amount").to_pylist()

    assert [None if cell is None else D(cell) for cell in read] == numbers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_where_the_program_is_asked_to_end(tmp_path: Path, number: signal.Signals) -> None:
    def write_and_be_asked() -> None:
        with whole_file(tmp_path / "r.html", force=False) as scratch:
            scratch.write_text("half")
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as ended:
        write_and_be_asked()

    assert ended.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_that_was_ignored_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with whole_file(tmp_path / "r.html", force=False) as scratch:
            scratch.write_text("whole")
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "r.html").read_text() == "whole"
