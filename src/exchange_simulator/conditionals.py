"""Conditional orders: stops, take-profits and trailing stops wait at the algo service. What triggers them, and then?"""

from __future__ import annotations

from collections.abc import Mapping

from exchange_simulator import events, matching
from exchange_simulator.accounts import Account, AlgoOrder, OrderRequest
from exchange_simulator.errors import VenueError, refusal
from exchange_simulator.floor import Floor, Market
from exchange_simulator.money import UNIT, parse
from exchange_simulator.orders import (
    CONDITIONAL_TYPES,
    check_price,
    check_quantity,
    flag,
    limit_terms,
    number,
    read_request,
    required,
    whole,
)

_KEPT = 10_000  # conditional orders remembered per account after their end
_MIN_CALLBACK, _MAX_CALLBACK = parse("0.1"), parse("10")


def place(floor: Floor, account: Account, parameters: Mapping[str, str]) -> AlgoOrder:
    if required(parameters, "algoType") != "CONDITIONAL":
        raise refusal(-1102, "algoType")
    kind = required(parameters, "type")
    if kind not in CONDITIONAL_TYPES:
        raise refusal(-1116)
    market = floor.market(required(parameters, "symbol"))
    rules = market.rules
    if not market.trading:
        raise refusal(-4140)
    request = read_request(parameters, kind, hedge=account.hedge, client_name="clientAlgoId")
    limited = kind in {"STOP", "TAKE_PROFIT"}
    if limited:
        limit_terms(request, parameters, floor.now(), tif_required=False)
        check_price(request.price, rules)
    elif request.price:
        raise refusal(-1106, "price")
    if request.close_position:
        if kind not in {"STOP_MARKET", "TAKE_PROFIT_MARKET"}:
            raise refusal(-1128)
        if request.quantity or "reduceOnly" in parameters:
            raise refusal(-1106, "quantity" if request.quantity else "reduceonly")
    else:
        check_quantity(request.quantity, rules, market=not limited)
    algo = AlgoOrder(0, account, account.holding(rules), request, floor.now())
    _read_trigger(algo, market, parameters)
    mine = [other for other in account.algo_orders.values() if other.request.symbol == rules.symbol]
    if len(mine) >= rules.max_algo_orders:
        raise refusal(-4045)
    if request.client_id and any(
        other.request.client_id == request.client_id for other in account.algo_orders.values()
    ):
        raise refusal(-4116)
    algo.id = floor.algo_id()
    request.client_id = request.client_id or f"algo_{algo.id:x}"
    account.algo_orders[algo.id] = algo
    account.algo_history.append(algo)
    if len(account.algo_history) > 2 * _KEPT:
        del account.algo_history[:_KEPT]
    floor.emit(account, events.algo_update(algo, floor.now()))
    return algo


def _read_trigger(algo: AlgoOrder, market: Market, parameters: Mapping[str, str]) -> None:
    algo.working_type = parameters.get("workingType", "CONTRACT_PRICE")
    if algo.working_type not in {"CONTRACT_PRICE", "MARK_PRICE"}:
        raise refusal(-1102, "workingType")
    algo.price_protect = "priceProtect" in parameters and flag(parameters, "priceProtect")
    price = market.mark if algo.working_type == "MARK_PRICE" else market.last
    buys = algo.request.side == "BUY"
    if algo.type == "TRAILING_STOP_MARKET":
        algo.callback = number(parameters, "callbackRate")
        if not _MIN_CALLBACK <= algo.callback <= _MAX_CALLBACK:
            raise refusal(-1102, "callbackRate")
        algo.activate_price = number(parameters, "activatePrice") or number(parameters, "activationPrice") or price
        check_price(algo.activate_price // market.rules.tick * market.rules.tick, market.rules)
        algo.activated = algo.activate_price == price
        algo.extreme = price
        return
    required(parameters, "triggerPrice")
    algo.trigger_price = number(parameters, "triggerPrice")
    check_price(algo.trigger_price, market.rules)
    algo.rising = buys == algo.type.startswith("STOP")
    if price >= algo.trigger_price if algo.rising else price <= algo.trigger_price:
        raise refusal(-2021)


def find(account: Account, parameters: Mapping[str, str]) -> AlgoOrder:
    algo_id, client_id = whole(parameters, "algoId"), parameters.get("clientAlgoId")
    if algo_id is None and not client_id:
        raise refusal(-1102, "algoId")
    for algo in account.algo_orders.values():
        if algo.id == algo_id or (algo_id is None and algo.request.client_id == client_id):
            return algo
    raise refusal(-2011)


def cancel(floor: Floor, algo: AlgoOrder) -> None:
    _end(floor, algo, "CANCELED")


def _end(floor: Floor, algo: AlgoOrder, status: str) -> None:
    algo.account.algo_orders.pop(algo.id, None)
    algo.status, algo.updated_ms = status, floor.now()
    floor.emit(algo.account, events.algo_update(algo, floor.now()))


def check(floor: Floor, market: Market) -> None:
    """Trigger what the prices of this symbol have reached; expire what closes a position that is gone."""
    symbol = market.rules.symbol
    for account in floor.accounts.values():
        if not account.algo_orders:
            continue
        for algo in [algo for algo in account.algo_orders.values() if algo.request.symbol == symbol]:
            if algo.id in account.algo_orders and _is_reached(algo, market):
                trigger(floor, algo, market)
            elif 0 < algo.request.good_till_ms <= floor.now():
                _end(floor, algo, "EXPIRED")


def _is_reached(algo: AlgoOrder, market: Market) -> bool:
    price = market.mark if algo.working_type == "MARK_PRICE" else market.last
    if algo.type != "TRAILING_STOP_MARKET":
        return price >= algo.trigger_price if algo.rising else price <= algo.trigger_price
    sells = algo.request.side == "SELL"
    if not algo.activated:
        algo.activated = price >= algo.activate_price if sells else price <= algo.activate_price
        algo.extreme = price
        return False
    algo.extreme = max(algo.extreme, price) if sells else min(algo.extreme, price)
    retreat = algo.extreme * algo.callback // (100 * UNIT)
    return price <= algo.extreme - retreat if sells else price >= algo.extreme + retreat


def trigger(floor: Floor, algo: AlgoOrder, market: Market) -> None:
    """Send the order to the matching engine; what that refuses ends as REJECTED."""
    account, request, now = algo.account, algo.request, floor.now()
    del account.algo_orders[algo.id]
    algo.status, algo.triggered_ms, algo.updated_ms = "TRIGGERING", now, now
    floor.emit(account, events.algo_update(algo, now))
    order_request = OrderRequest(
        request.symbol, request.side, "LIMIT" if request.price else "MARKET", request.tif, request.position_side,
        _quantity(algo), request.price, request.reduce_only, request.close_position, "", request.stp,
        "NONE", request.good_till_ms, False, request.opens,
    )  # fmt: skip
    try:
        if not order_request.quantity:
            raise refusal(-2022)
        matching.place(floor, account, order_request, market, algo=algo)
    except VenueError as error:
        algo.reject_reason = error.message
        _end(floor, algo, "REJECTED")


def _quantity(algo: AlgoOrder) -> int:
    if not algo.request.close_position:
        return algo.request.quantity
    held = algo.holding.quantity(algo.request.position_side)
    return max(0, -held if algo.request.side == "BUY" else held)
