"""What the venue answers about an account's past: orders, trades, transactions, and how they are paged."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from exchange_simulator import answers
from exchange_simulator.accounts import Account, AlgoOrder, Order
from exchange_simulator.errors import refusal
from exchange_simulator.market_reports import Row, Rows, market_of
from exchange_simulator.money import fixed, trimmed
from exchange_simulator.positions import Income, Trade
from exchange_simulator.venue import Venue

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_TRADES_KEPT_MS = 183 * _DAY_MS
_INCOME_KEPT_MS = 92 * _DAY_MS
_ORDERS_KEPT_MS = 90 * _DAY_MS
_MOST = 1000


def _window(start: int | None, end: int | None) -> tuple[int | None, int | None]:
    """Check an interval of at most seven days and return it."""
    if start is not None and end is not None:
        if start > end:
            raise refusal(-1023)
        if end - start > _WEEK_MS:
            raise refusal(-1127)
    return start, end


# -- orders ------------------------------------------------------------------------------------------------------------


def _find(venue: Venue, account: Account, symbol: str, order_id: int | None, client_order_id: str | None) -> Order:
    market_of(venue, symbol)
    if order_id is None and not client_order_id:
        raise refusal(-1102, "orderId")
    if order_id is None:
        found = account.latest_by_client_id.get((symbol, client_order_id or ""))
    else:
        orders = account.history.get(symbol, [])
        index = bisect_left(orders, order_id, key=lambda order: order.id)
        found = orders[index] if index < len(orders) and orders[index].id == order_id else None
    if found is None:
        raise refusal(-2013)
    return found


def order(
    venue: Venue, account: Account, symbol: str, order_id: int | None = None, client_order_id: str | None = None
) -> Row:
    return answers.order_row(_find(venue, account, symbol, order_id, client_order_id))


def open_order(
    venue: Venue, account: Account, symbol: str, order_id: int | None = None, client_order_id: str | None = None
) -> Row:
    found = _find(venue, account, symbol, order_id, client_order_id)
    if not found.is_open:
        raise refusal(-2013)
    return answers.order_row(found)


def open_orders(venue: Venue, account: Account, symbol: str | None = None) -> Rows:
    if symbol is not None:
        market_of(venue, symbol)
    return [answers.order_row(one) for one in account.open_orders() if symbol is None or one.rules.symbol == symbol]


def all_orders(
    venue: Venue, account: Account, symbol: str, order_id: int | None = None, start: int | None = None,
    end: int | None = None, limit: int = 500,
) -> Rows:  # fmt: skip
    """Return orders of 90 days at most, ascending: from an id on, of an interval, or the latest."""
    market_of(venue, symbol)
    start, end = _window(start, end)
    orders, limit = account.history.get(symbol, []), min(limit, _MOST)
    if order_id is not None:
        index = bisect_left(orders, order_id, key=lambda one: one.id)
        chosen = orders[index : index + limit]
    else:
        first, last = _bounds(start, end, venue.now())
        low = bisect_left(orders, max(first, venue.now() - _ORDERS_KEPT_MS), key=lambda one: one.created_ms)
        high = bisect_right(orders, last, key=lambda one: one.created_ms)
        chosen = orders[low:high][:limit] if start is not None else orders[low:high][-limit:]
    return [answers.order_row(one) | {"pair": symbol} for one in chosen]


def algo_order(venue: Venue, account: Account, algo_id: int | None = None, client_algo_id: str | None = None) -> Row:
    if algo_id is None and not client_algo_id:
        raise refusal(-1102, "algoId")
    for one in reversed(account.algo_history):
        if one.id == algo_id or (algo_id is None and one.request.client_id == client_algo_id):
            return answers.algo_row(one)
    raise refusal(-2013)


def open_algo_orders(venue: Venue, account: Account, symbol: str | None = None) -> Rows:
    return [
        answers.algo_row(one) for one in account.algo_orders.values() if symbol is None or one.request.symbol == symbol
    ]


def all_algo_orders(
    venue: Venue, account: Account, symbol: str, algo_id: int | None = None, start: int | None = None,
    end: int | None = None, limit: int = 500,
) -> Rows:  # fmt: skip
    market_of(venue, symbol)
    start, end = _window(start, end)
    first, last = _bounds(start, end, venue.now())
    rows: list[AlgoOrder] = [
        one
        for one in account.algo_history
        if one.request.symbol == symbol
        and (one.id >= algo_id if algo_id is not None else first <= one.created_ms <= last)
    ]
    limit = min(limit, _MOST)
    chosen = rows[:limit] if start is not None or algo_id is not None else rows[-limit:]
    return [answers.algo_row(one) for one in chosen]


def force_orders(
    venue: Venue, account: Account, symbol: str | None = None, auto_close_type: str | None = None,
    start: int | None = None, end: int | None = None, limit: int = 50,
) -> Rows:  # fmt: skip
    """Return the account's liquidation and ADL orders of the interval (default: seven days), ascending."""
    first, last = _bounds(start, end, venue.now())
    rows = [
        answers.forced_row(forced)
        for forced in venue.floor.forced.get(account.api_key, [])
        if forced.kind in {"LIQUIDATION", "ADL"}
        and (auto_close_type is None or forced.kind == auto_close_type)
        and (symbol is None or forced.order.rules.symbol == symbol)
        and first <= forced.at_ms <= last
    ]
    return rows[-min(limit, 100) :]


def _bounds(start: int | None, end: int | None, now: int) -> tuple[int, int]:
    """Return the interval that is looked at: seven days from the start, to the end, or until now."""
    if start is not None:
        return start, min(end if end is not None else start + _WEEK_MS, now)
    last = end if end is not None else now
    return last - _WEEK_MS, last


# -- trades and transactions -------------------------------------------------------------------------------------------


def user_trades(
    venue: Venue, account: Account, symbol: str, start: int | None = None, end: int | None = None,
    from_id: int | None = None, order_id: int | None = None, limit: int = 500,
) -> Rows:  # fmt: skip
    """Return trades, ascending by id.

    `from_id` (inclusive): from there on. `start`: from there on, seven days at most. Neither: the latest of the seven
    days before `end` or now. Of the last six months only.
    """
    rules = market_of(venue, symbol).rules
    if from_id is not None and (start is not None or end is not None):
        raise refusal(-1128)
    start, end = _window(start, end)
    now, limit = venue.now(), max(1, min(limit, _MOST))
    trades = account.trades.get(symbol, [])
    oldest = bisect_left(trades, now - _TRADES_KEPT_MS, key=lambda trade: trade.at_ms)
    if from_id is not None:
        low = max(oldest, bisect_left(trades, from_id, key=lambda trade: trade.id))
        high = len(trades)
    else:
        first, last = _bounds(start, end, now)
        low = max(oldest, bisect_left(trades, first, key=lambda trade: trade.at_ms))
        high = bisect_right(trades, last, key=lambda trade: trade.at_ms)
    latest = start is None and from_id is None
    if order_id is not None:
        mine = [trade for trade in trades[low:high] if trade.order_id == order_id]
        chosen = mine[-limit:] if latest else mine[:limit]
    else:
        chosen = trades[max(low, high - limit) : high] if latest else trades[low : min(high, low + limit)]
    return [_trade(trade, rules.margin_asset) for trade in chosen]


def _trade(trade: Trade, margin_asset: str) -> Row:
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order_id,
        "pair": trade.symbol,
        "side": trade.side,
        "price": trimmed(trade.price),
        "qty": trimmed(trade.quantity),
        "realizedPnl": fixed(trade.realized) if trade.realized else "0",
        "quoteQty": fixed(trade.price * trade.quantity // 10**8),
        "commission": fixed(trade.fee) if trade.fee else "0",
        "commissionAsset": trade.fee_asset,
        "time": trade.at_ms,
        "positionSide": trade.position_side,
        "baseQty": "0",
        "marginAsset": margin_asset,
        "buyer": trade.side == "BUY",
        "maker": trade.maker,
    }


def income(
    venue: Venue, account: Account, symbol: str | None = None, income_type: str | None = None,
    start: int | None = None, end: int | None = None, page: int | None = None, limit: int = 100,
) -> Rows:  # fmt: skip
    """Return transactions, ascending by time: of the interval, or of the last seven days; of three months at most."""
    if symbol is not None:
        market_of(venue, symbol)
    if start is not None and end is not None and start > end:
        raise refusal(-1023)
    now, limit = venue.now(), max(1, min(limit, _MOST))
    first = now - _WEEK_MS if start is None and end is None else start or 0
    rows = account.incomes
    low = bisect_left(rows, max(first, now - _INCOME_KEPT_MS), key=lambda row: row.at_ms)
    high = bisect_right(rows, now if end is None else end, key=lambda row: row.at_ms)
    chosen: list[Income] = [
        row
        for row in rows[low:high]
        if (symbol is None or row.symbol == symbol) and (income_type is None or row.kind == income_type)
    ]
    skipped = ((page or 1) - 1) * limit
    return [_income(row) for row in chosen[skipped : skipped + limit]]


def _income(row: Income) -> Row:
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": fixed(row.amount),
        "asset": row.asset,
        "time": row.at_ms,
        "info": row.info,
        "tranId": row.transaction_id,
        "tradeId": row.trade_id,
    }


def spot_my_trades(venue: Venue, account: Account) -> Rows:
    return []


def spot_open_orders(venue: Venue, account: Account) -> Rows:
    return []
