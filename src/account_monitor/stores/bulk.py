"""Bulk: many rows with few statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain

import apsw

_ROWS_PER_STATEMENT = (100, 10, 1)


def insert_rows(connection: apsw.Connection, statement: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert rows by a statement that ends with the VALUES of one row.

    `executemany` gives the interpreter away and asks for it back at every row, which beside a busy event loop takes
    up to 5 ms each: measured, 285 rows a second instead of 22,000.
    """
    done = 0
    for size in _ROWS_PER_STATEMENT:
        while len(rows) - done >= size:
            values = tuple(chain.from_iterable(rows[done : done + size]))
            connection.execute(_statement(statement, size), values)
            done += size


@cache
def _statement(statement: str, rows: int) -> str:
    one_row = statement[statement.rindex("(") :]
    return ", ".join([statement, *[one_row] * (rows - 1)])
