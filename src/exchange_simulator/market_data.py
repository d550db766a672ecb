"""Market data: what is put on the streams that everyone may hear?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from exchange_simulator.wire import to_json

SLOW_MS = 3000
"""The pace of mark price streams without `@1s`."""

Row = Mapping[str, Any]
Message = tuple[str, str]  # name of the stream, JSON

_COIN_MARGINED = "BTCUSD_PERP"


def mark_price_messages(rows: list[dict[str, Any]], names: Set[str], *, slow: bool) -> list[Message]:
    """Return the mark price streams of one second, as far as their `names` are wanted.

    `slow`: those that come every three seconds, too. The array carries a coin-margined contract as well, as the real
    one does since the markets were merged.
    """
    paces = ("@1s", "") if slow else ("@1s",)
    messages = []
    for row in rows:
        wanted = {f"{str(row['s']).lower()}@markPrice{pace}" for pace in paces} & names
        if wanted:
            data = to_json(row)
            messages += [(name, data) for name in sorted(wanted)]
    arrays = {f"!markPrice@arr{pace}" for pace in paces} & names
    if arrays and rows:
        array = to_json([*rows, *_coin_margined(rows)])
        messages += [(name, array) for name in sorted(arrays)]
    return messages


def _coin_margined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if any(row.get("st") == 2 for row in rows):
        return []
    like = next((row for row in rows if row["s"] == "BTCUSDT"), rows[0])
    return [{**like, "s": _COIN_MARGINED, "st": 2}]


def book_ticker_messages(tickers: Iterable[Row], now_ms: int, update_id: int) -> list[Message]:
    """Return the best prices of each symbol, from the rows of the REST report."""
    messages = []
    for row in tickers:
        data = to_json(
            {
                "e": "bookTicker", "u": update_id, "s": row["symbol"], "b": row["bidPrice"], "B": row["bidQty"],
                "a": row["askPrice"], "A": row["askQty"], "T": now_ms, "E": now_ms, "st": 1,
            }
        )  # fmt: skip
        messages += [(str(row["symbol"]).lower() + "@bookTicker", data), ("!bookTicker", data)]
    return messages


def trade_messages(event: Mapping[str, Any]) -> list[Message]:
    """Return the public trade behind an order event of a taker, nothing for any other event."""
    order = event.get("o", {})
    if event.get("e") != "ORDER_TRADE_UPDATE" or order.get("x") != "TRADE" or order.get("m"):
        return []
    trade_id = order["t"]
    data = to_json(
        {
            "e": "aggTrade", "E": event["E"], "s": order["s"], "a": trade_id, "p": order["L"], "q": order["l"],
            "nq": order["l"], "f": trade_id, "l": trade_id, "T": order["T"], "m": order["S"] == "SELL", "st": 1,
        }
    )  # fmt: skip
    return [(str(order["s"]).lower() + "@aggTrade", data)]
