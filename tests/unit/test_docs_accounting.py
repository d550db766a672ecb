"""docs/accounting.md: what stands there is what the ledger says, in its code and in its tables."""

from __future__ import annotations

import doctest
import re
from decimal import Decimal
from typing import get_args

from account_monitor.ledger.account import fold
from account_monitor.ledger.events import Fill, Side
from tests.deployed import ROOT

PAGE = ROOT / "docs" / "accounting.md"

_row = re.compile(r"^\| (BUY|SELL) (\d+) @ (\d+) \| (\S+) \| (\S+) \| (?:.* = )?(\S+) \|$", re.MULTILINE)


def test_every_block_of_code_prints_what_the_page_says() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False)

    assert found.failed == 0
    assert found.attempted > 25


def test_the_table_of_fills_is_what_the_ledger_makes_of_them() -> None:
    rows = _row.findall(PAGE.read_text(encoding="utf-8").replace("−", "-"))
    sides = {name: side for side in get_args(Side) for name in [str(side)]}
    fills = [
        Fill("BTCUSDT", str(number), sides[side], Decimal(quantity), Decimal(price), number)
        for number, (side, quantity, price, *_) in enumerate(rows)
    ]

    assert len(rows) == 5
    for count, row in enumerate(rows, start=1):
        leg = fold(fills[:count]).leg("BTCUSDT")
        assert (leg.quantity, leg.cost, leg.realized) == tuple(map(Decimal, row[3:]))
