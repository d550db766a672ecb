"""Routes: which paths are there, what does each cost, and what does it answer?

The weights are those of the venue's documentation; where there are two, the larger is for a call without a symbol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from exchange_simulator import reports
from exchange_simulator.calls import Call, Route
from exchange_simulator.errors import VenueError
from exchange_simulator.parameters import Parameters, malformed

_MOST_IN_BATCH = 5


def _flat(weight: int) -> Callable[[Parameters], int]:
    return lambda _parameters: weight


def _by_symbol(with_symbol: int, without: int) -> Callable[[Parameters], int]:
    return lambda parameters: with_symbol if parameters.text("symbol") else without


def _depth_weight(parameters: Parameters) -> int:
    limit = _whole(parameters.get("limit", "500"))
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


def _batch_size(parameters: Parameters) -> int:
    try:
        return len(_json_list(parameters, "batchOrders"))
    except VenueError:
        return 1


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


# -- reading


def _public(weight: Callable[[Parameters], int] | int, answer: Callable[[Call], Any]) -> Route:
    return Route(answer, weight if callable(weight) else _flat(weight))


def _read(weight: Callable[[Parameters], int] | int, answer: Callable[[Call], Any], *, paged: bool = False) -> Route:
    return Route(answer, weight if callable(weight) else _flat(weight), "signed", is_paged=paged)


def _symbol(call: Call) -> str | None:
    return call.parameters.text("symbol")


def _time(call: Call) -> Any:
    return {"serverTime": call.now_ms}


def _funding(answer: Callable[[Call], Any]) -> Callable[[Call], Any]:
    def limited(call: Call) -> Any:
        call.limits.take_funding(call.ip)
        return answer(call)

    return limited


def _span(call: Call) -> dict[str, int | None]:
    return {"start": call.parameters.integer("startTime"), "end": call.parameters.integer("endTime")}


def _user_trades(call: Call) -> Any:
    p = call.parameters
    return reports.user_trades(
        call.venue, call.account, p.required("symbol"), **_span(call),
        from_id=p.integer("fromId"), order_id=p.integer("orderId"), limit=p.limited("limit", 500, 1000),
    )  # fmt: skip


def _income(call: Call) -> Any:
    p = call.parameters
    return reports.income(
        call.venue, call.account, _symbol(call), p.text("incomeType"), **_span(call),
        page=p.integer("page"), limit=p.limited("limit", 100, 1000),
    )  # fmt: skip


def _all_orders(call: Call) -> Any:
    p = call.parameters
    return reports.all_orders(
        call.venue, call.account, p.required("symbol"), p.integer("orderId"), **_span(call),
        limit=p.limited("limit", 500, 1000),
    )  # fmt: skip


def _all_algo_orders(call: Call) -> Any:
    p = call.parameters
    return reports.all_algo_orders(
        call.venue, call.account, p.required("symbol"), p.integer("algoId"), **_span(call),
        limit=p.limited("limit", 500, 1000),
    )  # fmt: skip


def _force_orders(call: Call) -> Any:
    p = call.parameters
    return reports.force_orders(
        call.venue, call.account, _symbol(call), p.text("autoCloseType"), **_span(call),
        limit=p.limited("limit", 50, 100),
    )  # fmt: skip


def _named_order(call: Call) -> tuple[str, int | None, str | None]:
    p = call.parameters
    symbol, order_id, client_id = p.required("symbol"), p.integer("orderId"), p.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Either orderId or origClientOrderId must be sent.")
    return symbol, order_id, client_id


def _account(version: int) -> Route:
    return _read(5, lambda call: reports.account(call.venue, call.account, version))


def _balance(version: int) -> Route:
    return _read(5, lambda call: reports.balance(call.venue, call.account, version))


def _position_risk(version: int) -> Route:
    return _read(5, lambda call: reports.position_risk(call.venue, call.account, _symbol(call), version))


# -- trading


def _trade(answer: Callable[[Call], Any], weight: int = 1, orders: Callable[[Parameters], int] | None = None) -> Route:
    return Route(answer, _flat(weight), "signed", "TRADE", orders)


def _json_list(parameters: Parameters, name: str) -> list[Any]:
    try:
        items = json.loads(parameters.required(name))
    except (ValueError, RecursionError):
        raise malformed(name) from None
    if not isinstance(items, list) or not items:
        raise malformed(name)
    if len(items) > _MOST_IN_BATCH and name == "batchOrders":
        raise VenueError(-4082, f"Invalid number of batch place orders, max {_MOST_IN_BATCH}.")
    return items


def _one_by_one(items: list[Any], act: Callable[[Any], Any]) -> list[Any]:
    """Return for each item its result, or its refusal in the same place."""
    results = []
    for item in items:
        try:
            results.append(act(item))
        except VenueError as error:
            results.append({"code": error.code, "msg": error.message})
    return results


def _batch(call: Call, act: Callable[[Any, Mapping[str, str]], Any]) -> Any:
    def one(item: Any) -> Any:
        if not isinstance(item, dict):
            raise malformed("batchOrders")
        return act(call.account, Parameters({name: _as_text(value) for name, value in item.items()}))

    return _one_by_one(_json_list(call.parameters, "batchOrders"), one)


def _cancel_batch(call: Call) -> Any:
    p = call.parameters
    symbol = p.required("symbol")
    name, single = ("orderIdList", "orderId")
    if not p.text(name):
        name, single = ("origClientOrderIdList", "origClientOrderId")
    items = _json_list(p, name)
    return _one_by_one(
        items,
        lambda item: call.venue.cancel_order(call.account, Parameters({"symbol": symbol, single: _as_text(item)})),
    )


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


def _countdown(call: Call) -> Any:
    symbol = call.parameters.required("symbol")
    if symbol not in call.venue.symbols:
        raise VenueError(-1121, "Invalid symbol.")
    milliseconds = call.parameters.required_integer("countdownTime")
    call.countdown.start(call.account, symbol, milliseconds)
    return {"symbol": symbol, "countdownTime": str(milliseconds)}


# -- listen keys


def _key(answer: Callable[[Call], Any]) -> Route:
    return Route(answer, _flat(1), "key")


def _close_key(call: Call) -> Any:
    call.keys.close(call.account.api_key)
    return {}


def _gone(_call: Call) -> Any:
    raise VenueError(-1000, "This endpoint has been retired; use the WebSocket API.", 410)


def _coin_margined_info(call: Call) -> Any:
    return {"timezone": "UTC", "serverTime": call.now_ms, "rateLimits": [], "exchangeFilters": [], "symbols": []}


_FUTURES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): _public(1, lambda _: reports.ping()),
    ("GET", "/fapi/v1/time"): _public(1, _time),
    ("GET", "/fapi/v1/exchangeInfo"): _public(1, lambda c: reports.exchange_info(c.venue)),
    ("GET", "/fapi/v1/depth"): _public(
        _depth_weight,
        lambda c: reports.depth(c.venue, c.parameters.required("symbol"), c.parameters.limited("limit", 500, 1000)),
    ),
    ("GET", "/fapi/v1/premiumIndex"): _public(_by_symbol(1, 10), lambda c: reports.premium_index(c.venue, _symbol(c))),
    ("GET", "/fapi/v1/ticker/price"): _public(_by_symbol(1, 2), lambda c: reports.ticker_price(c.venue, _symbol(c), 1)),
    ("GET", "/fapi/v2/ticker/price"): _public(_by_symbol(1, 2), lambda c: reports.ticker_price(c.venue, _symbol(c), 2)),
    ("GET", "/fapi/v1/ticker/bookTicker"): _public(
        _by_symbol(2, 5), lambda c: reports.book_ticker(c.venue, _symbol(c))
    ),
    ("GET", "/fapi/v1/assetIndex"): _public(_by_symbol(1, 10), lambda c: reports.asset_index(c.venue, _symbol(c))),
    ("GET", "/fapi/v1/fundingInfo"): _public(0, _funding(lambda c: reports.funding_info(c.venue))),
    ("GET", "/fapi/v1/fundingRate"): _public(
        0,
        _funding(
            lambda c: reports.funding_rate(
                c.venue, _symbol(c), **_span(c), limit=c.parameters.limited("limit", 100, 1000)
            )
        ),
    ),
    ("GET", "/fapi/v1/account"): _account(1),
    ("GET", "/fapi/v2/account"): _account(2),
    ("GET", "/fapi/v3/account"): _account(3),
    ("GET", "/fapi/v1/balance"): _balance(1),
    ("GET", "/fapi/v2/balance"): _balance(2),
    ("GET", "/fapi/v3/balance"): _balance(3),
    ("GET", "/fapi/v1/positionRisk"): _position_risk(1),
    ("GET", "/fapi/v2/positionRisk"): _position_risk(2),
    ("GET", "/fapi/v3/positionRisk"): _position_risk(3),
    ("GET", "/fapi/v1/symbolConfig"): _read(5, lambda c: reports.symbol_config(c.venue, c.account, _symbol(c))),
    ("GET", "/fapi/v1/accountConfig"): _read(5, lambda c: reports.account_config(c.venue, c.account)),
    ("GET", "/fapi/v1/positionSide/dual"): _read(30, lambda c: reports.position_mode(c.account)),
    ("GET", "/fapi/v1/multiAssetsMargin"): _read(30, lambda c: reports.multi_assets_margin(c.account)),
    ("GET", "/fapi/v1/feeBurn"): _read(30, lambda c: reports.fee_burn(c.account)),
    ("GET", "/fapi/v1/commissionRate"): _read(
        20, lambda c: reports.commission_rate(c.venue, c.account, c.parameters.required("symbol"))
    ),
    ("GET", "/fapi/v1/leverageBracket"): _read(1, lambda c: reports.leverage_bracket(c.venue, c.account, _symbol(c))),
    ("GET", "/fapi/v1/adlQuantile"): _read(5, lambda c: reports.adl_quantile(c.venue, c.account, _symbol(c))),
    ("GET", "/fapi/v1/rateLimit/order"): _read(1, lambda c: reports.rate_limit_order(c.venue)),
    ("GET", "/fapi/v1/order"): _read(1, lambda c: reports.order(c.venue, c.account, *_named_order(c))),
    ("GET", "/fapi/v1/openOrder"): _read(1, lambda c: reports.open_order(c.venue, c.account, *_named_order(c))),
    ("GET", "/fapi/v1/openOrders"): _read(
        _by_symbol(1, 40), lambda c: reports.open_orders(c.venue, c.account, _symbol(c))
    ),
    ("GET", "/fapi/v1/allOrders"): _read(5, _all_orders, paged=True),
    ("GET", "/fapi/v1/algoOrder"): _read(
        1,
        lambda c: reports.algo_order(
            c.venue, c.account, c.parameters.integer("algoId"), c.parameters.text("clientAlgoId")
        ),
    ),
    ("GET", "/fapi/v1/openAlgoOrders"): _read(
        _by_symbol(1, 40), lambda c: reports.open_algo_orders(c.venue, c.account, _symbol(c))
    ),
    ("GET", "/fapi/v1/allAlgoOrders"): _read(5, _all_algo_orders, paged=True),
    ("GET", "/fapi/v1/userTrades"): _read(5, _user_trades, paged=True),
    ("GET", "/fapi/v1/income"): _read(30, _income, paged=True),
    ("GET", "/fapi/v1/forceOrders"): _read(_by_symbol(20, 50), _force_orders),
    ("POST", "/fapi/v1/order"): _trade(lambda c: c.venue.place_order(c.account, c.parameters), 0, _flat(1)),
    ("POST", "/fapi/v1/order/test"): _trade(lambda c: c.venue.test_order(c.account, c.parameters), 0, _flat(0)),
    ("PUT", "/fapi/v1/order"): _trade(lambda c: c.venue.modify_order(c.account, c.parameters), 0, _flat(1)),
    ("DELETE", "/fapi/v1/order"): _trade(lambda c: c.venue.cancel_order(c.account, c.parameters)),
    ("DELETE", "/fapi/v1/allOpenOrders"): _trade(lambda c: c.venue.cancel_all_orders(c.account, c.parameters)),
    ("POST", "/fapi/v1/batchOrders"): _trade(lambda c: _batch(c, c.venue.place_order), 5, _batch_size),
    ("PUT", "/fapi/v1/batchOrders"): _trade(lambda c: _batch(c, c.venue.modify_order), 5, _batch_size),
    ("DELETE", "/fapi/v1/batchOrders"): _trade(_cancel_batch),
    ("POST", "/fapi/v1/countdownCancelAll"): _trade(_countdown, 10),
    ("POST", "/fapi/v1/algoOrder"): _trade(lambda c: c.venue.place_algo_order(c.account, c.parameters), 0, _flat(1)),
    ("DELETE", "/fapi/v1/algoOrder"): _trade(lambda c: c.venue.cancel_algo_order(c.account, c.parameters)),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _trade(lambda c: c.venue.cancel_all_algo_orders(c.account, c.parameters)),
    ("POST", "/fapi/v1/leverage"): _trade(lambda c: c.venue.set_leverage(c.account, c.parameters)),
    ("POST", "/fapi/v1/marginType"): _trade(lambda c: c.venue.set_margin_type(c.account, c.parameters)),
    ("POST", "/fapi/v1/positionSide/dual"): _trade(lambda c: c.venue.set_position_mode(c.account, c.parameters)),
    ("POST", "/fapi/v1/multiAssetsMargin"): _trade(lambda c: c.venue.set_multi_assets(c.account, c.parameters)),
    ("POST", "/fapi/v1/positionMargin"): _trade(lambda c: c.venue.change_position_margin(c.account, c.parameters)),
    ("POST", "/fapi/v1/feeBurn"): _trade(lambda c: c.venue.set_fee_burn(c.account, c.parameters)),
    ("POST", "/fapi/v1/listenKey"): _key(lambda c: {"listenKey": c.keys.start(c.account.api_key)}),
    ("PUT", "/fapi/v1/listenKey"): _key(lambda c: {"listenKey": c.keys.renew(c.account.api_key)}),
    ("DELETE", "/fapi/v1/listenKey"): _key(_close_key),
    ("GET", "/dapi/v1/ping"): _public(1, lambda _: reports.ping()),
    ("GET", "/dapi/v1/time"): _public(1, _time),
    ("GET", "/dapi/v1/exchangeInfo"): _public(1, _coin_margined_info),
}

_SPOT: dict[tuple[str, str], Route] = {
    ("GET", "/api/v3/ping"): _public(1, lambda _: reports.ping()),
    ("GET", "/api/v3/time"): _public(1, _time),
    ("GET", "/api/v3/exchangeInfo"): _public(20, lambda c: reports.spot_exchange_info(c.venue)),
    ("GET", "/api/v3/account"): _read(20, lambda c: reports.spot_account(c.venue, c.account)),
    ("GET", "/api/v3/myTrades"): _read(
        lambda p: 5 if p.text("orderId") else 20,
        lambda c: c.parameters.required("symbol") and reports.spot_my_trades(c.venue, c.account),
    ),
    ("GET", "/api/v3/openOrders"): _read(_by_symbol(6, 80), lambda c: reports.spot_open_orders(c.venue, c.account)),
    **{(method, "/api/v3/userDataStream"): _key(_gone) for method in ("POST", "PUT", "DELETE")},
    ("GET", "/sapi/v1/capital/config/getall"): _read(10, lambda _: []),
    ("GET", "/sapi/v1/margin/allPairs"): _public(1, lambda _: []),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): _read(10, lambda _: []),
    ("GET", "/sapi/v1/system/status"): _public(1, lambda _: {"status": 0, "msg": "normal"}),
}

ROUTES: Mapping[tuple[str, str], Route] = {**_FUTURES, **_SPOT}


def is_spot(path: str) -> bool:
    """Tell paths of the Spot market, which has limits of its own, from those of futures."""
    return path.startswith(("/api/", "/sapi/"))
