"""Answers: how does an order look in the REST interface's bodies?"""

from __future__ import annotations

from typing import Any

from exchange_simulator.accounts import AlgoOrder, Order
from exchange_simulator.floor import ForcedOrder
from exchange_simulator.money import NOTIONAL, fixed, trimmed, truncated

Row = dict[str, Any]


def _quote(order: Order) -> int:
    return truncated(order.quote, NOTIONAL // 10**8)


def new_order(order: Order, *, acknowledged: bool = False) -> Row:
    """Return the body of POST /fapi/v1/order. `acknowledged`: as of its arrival, before any fill."""
    rules, filled = order.rules, 0 if acknowledged else order.filled
    average = 0 if acknowledged else order.average_price()
    return {
        "orderId": order.id,
        "symbol": rules.symbol,
        "status": "NEW" if acknowledged else order.status,
        "clientOrderId": order.client_id,
        "price": fixed(order.price, rules.price_precision),
        "avgPrice": fixed(average, order.avg_decimals) if average else "0.00",
        "origQty": fixed(order.quantity, rules.quantity_precision),
        "executedQty": fixed(filled, rules.quantity_precision),
        "cumQty": fixed(filled, rules.quantity_precision),
        "cumQuote": fixed(0 if acknowledged else _quote(order)),
        "timeInForce": order.tif,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": "0.00",
        "workingType": order.working_type,
        "priceProtect": False,
        "origType": order.orig_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.updated_ms,
    }


def order_row(order: Order) -> Row:
    """Return a row of openOrders and allOrders."""
    rules, average = order.rules, order.average_price()
    stop = order.algo.trigger_price if order.algo else 0
    return {
        "orderId": order.id,
        "symbol": rules.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": fixed(order.price, rules.price_precision),
        "avgPrice": fixed(average, order.avg_decimals) if average else "0",
        "origQty": fixed(order.quantity, rules.quantity_precision),
        "executedQty": fixed(order.filled, rules.quantity_precision),
        "cumQuote": fixed(_quote(order)),
        "timeInForce": order.tif,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": fixed(stop, rules.price_precision) if stop else "0",
        "workingType": order.working_type,
        "priceProtect": False,
        "origType": order.orig_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
    }


def forced_row(forced: ForcedOrder) -> Row:
    row = order_row(forced.order)
    for name in ("priceProtect", "priceMatch", "selfTradePreventionMode", "goodTillDate"):
        del row[name]
    return row


def algo_row(algo: AlgoOrder, *, new: bool = False) -> Row:
    """Return a row of openAlgoOrders and allAlgoOrders, or (`new`) the body of POST /fapi/v1/algoOrder."""
    request, precision = algo.request, algo.holding.rules.price_precision
    row: Row = {
        "algoId": algo.id,
        "clientAlgoId": request.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": request.symbol,
        "side": request.side,
        "positionSide": request.position_side,
        "timeInForce": request.tif,
        "quantity": fixed(request.quantity, algo.holding.rules.quantity_precision),
        "algoStatus": algo.status,
    }
    if not new:
        row["actualOrderId"] = str(algo.order.id) if algo.order else ""
        row["actualPrice"] = fixed(algo.order.average_price(), algo.order.avg_decimals) if algo.order else "0.00000"
    row |= {
        "triggerPrice": fixed(algo.trigger_price, precision),
        "price": fixed(request.price, precision),
        "icebergQuantity": None,
    }
    if not new:
        row |= {"tpTriggerPrice": "0.000", "tpPrice": "0.000", "slTriggerPrice": "0.000", "slPrice": "0.000",
                "tpOrderType": ""}  # fmt: skip
    row |= {
        "selfTradePreventionMode": request.stp,
        "workingType": algo.working_type,
        "priceMatch": request.price_match,
        "closePosition": request.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": request.reduce_only,
    }
    if algo.type == "TRAILING_STOP_MARKET":
        row |= {"activatePrice": fixed(algo.activate_price, precision), "callbackRate": trimmed(algo.callback)}
    elif new:
        row |= {"activatePrice": "", "callbackRate": ""}
    row |= {
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": request.good_till_ms,
    }
    return row
