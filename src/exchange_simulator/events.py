"""Events: what does the venue push on an account's stream? Field order and formats of its wire messages since 2024."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from exchange_simulator.accounts import Account, AlgoOrder, Holding, Order
from exchange_simulator.money import NOTIONAL, fixed, trimmed, truncated
from exchange_simulator.positions import Position, Trade

Event = dict[str, Any]


def balance_row(account: Account, asset: str, change: int = 0) -> Event:
    wallet = account.wallets.get(asset, 0)
    cross = wallet - account.isolated_wallets(asset)
    return {"a": asset, "wb": trimmed(wallet), "cw": trimmed(cross), "bc": trimmed(change)}


def position_row(holding: Holding, position: Position, mark: int) -> Event:
    return {
        "s": position.symbol,
        "pa": trimmed(position.quantity),
        "ep": trimmed(position.entry_price(), 9),
        "cr": trimmed(position.realized),
        "up": trimmed(position.unrealized(mark)),
        "mt": "isolated" if holding.isolated else "cross",
        "iw": trimmed(position.isolated_wallet),
        "ps": position.side,
        "ma": holding.rules.margin_asset,
        "bep": trimmed(position.break_even_price(), 9),
    }


def account_update(now: int, reason: str, balances: list[Event], positions: list[Event], symbol: str = "") -> Event:
    body: Event = {"B": balances, "P": positions, "m": reason}
    if symbol:
        body["S"] = symbol
    return {"e": "ACCOUNT_UPDATE", "T": now, "E": now, "a": body}


def order_update(order: Order, now: int, execution: str, trade: Trade | None = None) -> Event:
    """Return the event of an order's state now; `trade` is what was just filled."""
    holding = order.holding
    rules = holding.rules
    average = order.average_price()
    body: Event = {
        "s": rules.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.tif,
        "q": trimmed(order.quantity),
        "p": fixed(order.price, rules.price_precision) if order.price else "0",
        "ap": fixed(average, order.avg_decimals) if average else "0",
        "sp": "0",
        "x": execution,
        "X": order.status,
        "i": order.id,
        "l": "0",
        "z": trimmed(order.filled),
        "L": "0",
        "n": "0",
        "N": rules.margin_asset,
        "T": now,
        "t": 0,
        "b": trimmed(truncated(holding.buying, NOTIONAL // 10**8)),
        "a": trimmed(truncated(holding.selling, NOTIONAL // 10**8)),
        "m": False,
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.orig_type,
        "ps": order.position_side,
        "cp": order.close_position,
        "rp": "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": order.stp,
        "pm": order.price_match,
        "gtd": order.good_till_ms,
    }
    if order.algo is not None and order.algo.trigger_price:
        body["sp"] = fixed(order.algo.trigger_price, rules.price_precision)
        body["pP"] = order.algo.price_protect
    if trade is not None:
        body["l"] = trimmed(trade.quantity)
        body["L"] = fixed(trade.price, rules.price_precision)
        body["n"] = fixed(trade.fee) if trade.fee else "0"
        body["N"] = trade.fee_asset
        body["t"] = trade.id
        body["m"] = trade.maker
        body["rp"] = fixed(trade.realized) if trade.realized else "0"
    elif order.status.startswith("EXPIRED"):
        body["er"] = str(order.expiry_reason)
    return {"e": "ORDER_TRADE_UPDATE", "T": now, "E": now, "o": body}


def trade_lite(order: Order, now: int, trade_id: int, price: int, quantity: int, *, maker: bool) -> Event:
    precision = order.rules.price_precision
    return {
        "e": "TRADE_LITE",
        "E": now,
        "T": now,
        "s": order.rules.symbol,
        "q": trimmed(order.quantity),
        "p": fixed(order.price, precision),
        "m": maker,
        "c": order.client_id,
        "S": order.side,
        "L": fixed(price, precision),
        "l": trimmed(quantity),
        "t": trade_id,
        "i": order.id,
    }


def margin_call(now: int, cross_wallet: int | None, rows: Iterable[tuple[Holding, Position, int, int]]) -> Event:
    """Return the event for (holding, position, mark price, maintenance margin) of each position in danger."""
    event: Event = {"e": "MARGIN_CALL", "E": now}
    if cross_wallet is not None:
        event["cw"] = trimmed(cross_wallet)
    event["p"] = [
        {
            "s": position.symbol,
            "ps": position.side,
            "pa": trimmed(position.quantity),
            "mt": "ISOLATED" if holding.isolated else "CROSSED",
            "iw": trimmed(position.isolated_wallet),
            "mp": trimmed(mark),
            "up": trimmed(position.unrealized(mark)),
            "mm": trimmed(maintenance),
        }
        for holding, position, mark, maintenance in rows
    ]
    return event


def leverage_update(now: int, symbol: str, leverage: int) -> Event:
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ac": {"s": symbol, "l": leverage}}


def multi_assets_update(now: int, enabled: bool) -> Event:
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ai": {"j": enabled}}


def algo_update(algo: AlgoOrder, now: int) -> Event:
    request, precision = algo.request, algo.holding.rules.price_precision
    body: Event = {
        "caid": request.client_id,
        "aid": algo.id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": request.symbol,
        "S": request.side,
        "ps": request.position_side,
        "f": request.tif,
        "q": trimmed(request.quantity),
        "X": algo.status,
        "ai": str(algo.order.id) if algo.order else "",
    }
    if algo.order is not None:
        body["ap"] = fixed(algo.order.average_price(), algo.order.avg_decimals)
        body["aq"] = trimmed(algo.order.filled)
        body["act"] = algo.order.type
    body |= {
        "tp": fixed(algo.trigger_price, precision),
        "p": fixed(request.price, precision) if request.price else "0",
        "V": request.stp,
        "wt": algo.working_type,
        "pm": request.price_match,
        "cp": request.close_position,
        "pP": algo.price_protect,
        "R": request.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": request.good_till_ms,
    }
    if algo.reject_reason:
        body["rm"] = algo.reject_reason
    if algo.type == "TRAILING_STOP_MARKET":
        body["ia"] = algo.activated
    return {"e": "ALGO_UPDATE", "T": now, "E": now, "o": body}
