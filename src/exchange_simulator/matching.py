"""Matching: what happens to an order between its arrival and its end?

Every refusal comes before the first change. Events keep the order in which the real venue sends them: TRADE_LITE of
each fill, then ORDER_TRADE_UPDATE x=NEW, then per fill ACCOUNT_UPDATE and ORDER_TRADE_UPDATE x=TRADE.
"""

from __future__ import annotations

from collections.abc import Mapping

from exchange_simulator import events, settlement
from exchange_simulator.accounts import Account, AlgoOrder, Holding, Order, OrderRequest
from exchange_simulator.book import Book, Plan
from exchange_simulator.errors import refusal
from exchange_simulator.floor import Floor, Market
from exchange_simulator.margin import AssetMargin, asset_margins, dollar_totals
from exchange_simulator.money import UNIT, trimmed
from exchange_simulator.orders import (
    CONDITIONAL_TYPES,
    check_percent_price,
    check_price,
    check_quantity,
    limit_terms,
    number,
    read_request,
    required,
    whole,
)

_MATCH_DEPTHS = {"OPPONENT": 1, "OPPONENT_5": 5, "OPPONENT_10": 10, "OPPONENT_20": 20,
                 "QUEUE": 1, "QUEUE_5": 5, "QUEUE_10": 10, "QUEUE_20": 20}  # fmt: skip
_SELF_TRADE = 1  # reasons of an expiry, as numbered by the venue
_UNFILLABLE = 2
_REDUCE_ONLY = 5
_AUTO_CANCEL = 4
_GOOD_TILL = 6


def read_order(floor: Floor, account: Account, parameters: Mapping[str, str]) -> tuple[OrderRequest, Market]:
    """Read a request to trade and check it against the symbol's filters and the account's settings."""
    kind = required(parameters, "type")
    market = floor.market(required(parameters, "symbol"))
    if kind in CONDITIONAL_TYPES:
        raise refusal(-4120)
    if kind not in {"LIMIT", "MARKET"}:
        raise refusal(-1116)
    request = read_request(parameters, kind, hedge=account.hedge)
    if request.close_position:
        raise refusal(-4111)
    rules = market.rules
    if not market.trading:
        raise refusal(-4140)
    if not request.quantity:
        if parameters.get("quantity") is None:
            raise refusal(-1102, "quantity")
        raise refusal(-4003)
    check_quantity(request.quantity, rules, market=kind == "MARKET")
    sign = 1 if request.side == "BUY" else -1
    if kind == "LIMIT":
        if "priceMatch" in parameters and parameters["priceMatch"] != "NONE":
            _match_price(market.book, request, parameters, sign)
        limit_terms(request, parameters, floor.now())
        check_price(request.price, rules)
        check_percent_price(sign, request.price, market.mark, rules)
    elif request.price:
        raise refusal(-1106, "price")
    elif parameters.get("timeInForce") not in {None, "GTC", "IOC", "FOK"}:
        raise refusal(-1106, "timeInForce")
    worth = request.quantity * (request.price or market.mark) // UNIT
    if request.opens and not request.reduce_only and worth < rules.min_notional:
        raise refusal(-4164, trimmed(rules.min_notional))
    return request, market


def _match_price(book: Book, request: OrderRequest, parameters: Mapping[str, str], sign: int) -> None:
    name = parameters["priceMatch"]
    if name not in _MATCH_DEPTHS or request.price:
        raise refusal(-1128)
    opponent = name.startswith("OPPONENT")
    ladder = book.ask_ladder if (sign > 0) == opponent else book.bid_ladder
    while len(ladder.levels) < _MATCH_DEPTHS[name] and ladder.extend():
        pass
    request.price, request.price_match = ladder.levels[_MATCH_DEPTHS[name] - 1][0], name


def place(
    floor: Floor, account: Account, request: OrderRequest, market: Market, *, algo: AlgoOrder | None = None
) -> Order:
    """Accept a request that was read: every check that depends on the account, then the order's whole way.

    `algo` is the conditional order that was triggered and sends this one.
    """
    holding = account.holding(market.rules)
    if request.client_id and (request.symbol, request.client_id) in account.client_ids:
        raise refusal(-4116)
    if len(holding.orders) >= market.rules.max_orders and request.type == "LIMIT":
        raise refusal(-2025)
    now = floor.now()
    order = Order(0, account, holding, request, now)
    if not request.opens and order.reducible() == 0:
        raise refusal(-2022)
    if account.hedge and not request.opens and order.quantity > order.reducible():
        raise refusal(-2022)
    book = market.book
    book.freshen()
    limit = order.price or _market_bound(market, order.sign)
    if request.opens:
        _check_margin(floor, account, holding, market, order, limit)
    order.id = floor.order_id()
    order.client_id = order.client_id or f"sim_{order.id:x}"
    remember(order)
    if algo is not None:
        order.algo, order.orig_type, order.working_type = algo, algo.type, algo.working_type
        algo.order, algo.status = order, "TRIGGERED"
        floor.emit(account, events.algo_update(algo, now))
    size = order.quantity if request.opens else min(order.quantity, order.reducible())
    plan = book.plan(order, size, limit)
    if order.tif == "FOK" and plan.filled < order.quantity:
        plan = Plan([], 0, plan.expiring, stopped=False)
    if order.tif == "GTX" and (plan.matches or plan.expiring):
        plan = Plan([], 0, [], stopped=False)
        order.expiry_reason = _UNFILLABLE
        _announce(floor, order, now)
        expire(floor, order, now, _UNFILLABLE)
        return order
    for other in plan.expiring:
        expire(floor, other, now, _SELF_TRADE, "EXPIRED_IN_MATCH")
    execute(floor, market, order, plan, now)
    _conclude(floor, order, now, stopped=plan.stopped)
    return order


def remember(order: Order) -> None:
    """Keep an order in the account's history."""
    account, symbol = order.account, order.rules.symbol
    account.history.setdefault(symbol, []).append(order)
    account.latest_by_client_id[symbol, order.client_id] = order


def _market_bound(market: Market, sign: int) -> int:
    bound = market.rules.market_take_bound
    return max(1, market.mark * (UNIT + sign * bound) // UNIT)


def _check_margin(floor: Floor, account: Account, holding: Holding, market: Market, order: Order, limit: int) -> None:
    """Refuse what the free margin or the leverage does not allow."""
    price = order.price or market.book.best(order.sign) or limit
    if order.sign < 0:
        price = max(price, market.book.best(-1))
    held = holding.quantity(order.position_side)
    size = abs(held)
    if held * order.sign >= 0:
        opening = order.quantity
    else:
        opening = max(0, order.quantity - size)
    notional = opening * price // UNIT
    adding = (holding.buying if order.sign > 0 else holding.selling) // UNIT
    same_way = size * market.mark // UNIT if held * order.sign > 0 else 0
    if notional and same_way + adding + notional > market.rules.max_notional(holding.leverage) * UNIT:
        raise refusal(-2027)
    if not notional:
        return
    needed = notional // holding.leverage
    if order.sign * (price - market.mark) > 0:  # bought above or sold below the mark price: lost at once
        needed += order.sign * (price - market.mark) * opening // UNIT
    if needed > available(floor, account, market.rules.margin_asset):
        raise refusal(-2019)


def available(floor: Floor, account: Account, asset: str) -> int:
    """Return the free margin for orders in that asset; multi-assets mode: in USD."""
    margins = asset_margins(account, floor.mark)
    if account.multi_assets:
        return dollar_totals(margins, floor.dollar_rate).available
    return margins.get(asset, AssetMargin(0)).available


def _announce(floor: Floor, order: Order, now: int) -> None:
    floor.emit(order.account, events.order_update(order, now, "NEW"))


def execute(
    floor: Floor, market: Market, order: Order, plan: Plan, now: int, *, free: bool = False, execution: str = "TRADE"
) -> None:
    """Make the planned trades of an incoming order, and tell both sides."""
    numbers = [floor.trade_id(market) for _ in plan.matches]
    for number_, match in zip(numbers, plan.matches, strict=True):
        lite = events.trade_lite(order, now, number_, match.price, match.quantity, maker=False)
        floor.emit(order.account, lite)
    _announce(floor, order, now)
    market.book.take(order, plan)
    for number_, match in zip(numbers, plan.matches, strict=True):
        market.last = match.price
        settlement.settle(
            floor, order, market, match.price, match.quantity, number_, now, maker=False, free=free, execution=execution
        )
        if match.resting is not None and _still_trades(match.resting, match.quantity):
            fill_resting(floor, market, match.resting, match.price, match.quantity, number_, now)
    if plan.matches:
        expire_idle(floor, order.account, order.holding, now, besides=order)


def _still_trades(order: Order, quantity: int) -> bool:
    """Answer whether an earlier trade of the same plan left the order as planned; else the market maker steps in."""
    return order.is_open and order.remaining >= quantity and (order.opens or order.reducible() >= quantity)


def fill_resting(
    floor: Floor, market: Market, order: Order, price: int, quantity: int, trade_id: int, now: int
) -> None:
    """Fill an open order as maker."""
    floor.emit(order.account, events.trade_lite(order, now, trade_id, price, quantity, maker=True))
    settlement.settle(floor, order, market, price, quantity, trade_id, now, maker=True)
    if order.status == "FILLED":
        _leave(floor, order)
        _finish_algo(floor, order, now)
    expire_idle(floor, order.account, order.holding, now, besides=order)


def _conclude(floor: Floor, order: Order, now: int, *, stopped: bool) -> None:
    """Let what is left of an incoming order rest or expire."""
    if order.status == "FILLED":
        _finish_algo(floor, order, now)
        return
    if stopped:
        expire(floor, order, now, _SELF_TRADE, "EXPIRED_IN_MATCH")
    elif order.type != "LIMIT" or order.tif in {"IOC", "FOK"}:
        expire(floor, order, now, _UNFILLABLE)
    elif not order.opens and order.reducible() == 0:
        expire(floor, order, now, _REDUCE_ONLY)
    else:
        settlement.bind(order)
        order.account.client_ids[order.rules.symbol, order.client_id] = order
        floor.market(order.rules.symbol).book.add(order)


def _leave(floor: Floor, order: Order) -> None:
    """Take an order out of the book, where it rests."""
    if order.holding.orders.pop(order.id, None) is None:
        return
    floor.markets[order.rules.symbol].book.remove(order)
    order.account.client_ids.pop((order.rules.symbol, order.client_id), None)


def _withdraw(floor: Floor, order: Order) -> None:
    if order.id in order.holding.orders:
        settlement.unbind(order, order.remaining)
        _leave(floor, order)


def expire(floor: Floor, order: Order, now: int, reason: int, status: str = "EXPIRED") -> None:
    _withdraw(floor, order)
    order.status, order.updated_ms, order.expiry_reason = status, now, reason
    floor.emit(order.account, events.order_update(order, now, "EXPIRED"))
    _finish_algo(floor, order, now)


def cancel(floor: Floor, order: Order, now: int) -> None:
    _withdraw(floor, order)
    order.status, order.updated_ms = "CANCELED", now
    floor.emit(order.account, events.order_update(order, now, "CANCELED"))
    _finish_algo(floor, order, now)


def _finish_algo(floor: Floor, order: Order, now: int) -> None:
    """Say that the conditional order behind this one has come to its end."""
    if order.algo is not None and order.algo.status == "TRIGGERED":
        order.algo.status, order.algo.updated_ms = "FINISHED", now
        floor.emit(order.account, events.algo_update(order.algo, now))


def expire_idle(floor: Floor, account: Account, holding: Holding, now: int, *, besides: Order | None = None) -> None:
    """Expire orders that may only reduce a position, once there is nothing to reduce."""
    for order in list(holding.orders.values()):
        if not order.opens and order is not besides and order.reducible() == 0:
            expire(floor, order, now, _REDUCE_ONLY)
    if besides is not None and besides.id in holding.orders and not besides.opens and not besides.reducible():
        expire(floor, besides, now, _REDUCE_ONLY)


# -- what the account asks of an open order ----------------------------------------------------------------------------


def find_open(floor: Floor, account: Account, parameters: Mapping[str, str], code: int) -> Order:
    """Return the open order that a request names. Raises: the refusal of that code, if there is none."""
    symbol = required(parameters, "symbol")
    rules = floor.market(symbol).rules
    order_id, client_id = whole(parameters, "orderId"), parameters.get("origClientOrderId")
    if order_id is None and not client_id:
        raise refusal(-1102, "orderId")
    holding = account.holdings.get(rules.symbol)
    order = None
    if holding is not None:
        order = holding.orders.get(order_id) if order_id is not None else None
        if order_id is None:
            order = account.client_ids.get((symbol, client_id or ""))
    if order is None:
        raise refusal(code)
    return order


def modify(floor: Floor, account: Account, parameters: Mapping[str, str]) -> Order:
    """Change quantity and price of an open limit order; a new price or a larger size loses its place in time."""
    order = find_open(floor, account, parameters, -2013)
    market, rules = floor.markets[order.rules.symbol], order.rules
    if required(parameters, "side") != order.side:
        raise refusal(-1117)
    required(parameters, "quantity")
    quantity, price = number(parameters, "quantity"), number(parameters, "price") or order.price
    check_quantity(quantity, rules, market=False)
    check_price(price, rules)
    check_percent_price(order.sign, price, market.mark, rules)
    if (quantity, price) == (order.quantity, order.price):
        raise refusal(-5027)
    if order.opens and quantity * price // UNIT < rules.min_notional:
        raise refusal(-4164, trimmed(rules.min_notional))
    now = floor.now()
    if quantity <= order.filled:
        cancel(floor, order, now)
        return order
    added = max(0, (quantity - order.filled) * price - order.remaining * order.price) // UNIT
    if order.opens and added // order.holding.leverage > available(floor, account, rules.margin_asset):
        raise refusal(-2019)
    if order.tif == "GTX" and _crosses(market.book, order.sign, price):
        raise refusal(-5022)
    in_place = price == order.price and quantity < order.quantity
    settlement.unbind(order, order.remaining)
    if not in_place:
        market.book.remove(order)
    order.quantity, order.price, order.updated_ms = quantity, price, now
    settlement.bind(order)
    if not in_place:
        market.book.add(order)
    floor.emit(account, events.order_update(order, now, "AMENDMENT"))
    if not in_place and _crosses(market.book, order.sign, price):
        _trade_amended(floor, market, order, now)
    return order


def _crosses(book: Book, sign: int, price: int) -> bool:
    best = book.best(sign)
    return bool(best) and sign * price >= sign * best


def _trade_amended(floor: Floor, market: Market, order: Order, now: int) -> None:
    """An amended order that now crosses trades as taker; its rest stays where it is."""
    size = order.remaining if order.opens else min(order.remaining, order.reducible())
    plan = market.book.plan(order, size, order.price)
    for other in plan.expiring:
        expire(floor, other, now, _SELF_TRADE, "EXPIRED_IN_MATCH")
    numbers = [floor.trade_id(market) for _ in plan.matches]
    market.book.take(order, plan)
    for number_, match in zip(numbers, plan.matches, strict=True):
        floor.emit(order.account, events.trade_lite(order, now, number_, match.price, match.quantity, maker=False))
        market.last = match.price
        settlement.settle(floor, order, market, match.price, match.quantity, number_, now, maker=False)
        if match.resting is not None and _still_trades(match.resting, match.quantity):
            fill_resting(floor, market, match.resting, match.price, match.quantity, number_, now)
    if order.status == "FILLED":
        _leave(floor, order)
        _finish_algo(floor, order, now)
    elif plan.stopped:
        expire(floor, order, now, _SELF_TRADE, "EXPIRED_IN_MATCH")
    expire_idle(floor, order.account, order.holding, now, besides=order)


# -- the market comes to the orders ------------------------------------------------------------------------------------


def sweep(floor: Floor, market: Market) -> None:
    """Fill resting orders that the mark price has reached: wholly where it went through, maybe partly at a touch."""
    book, now, rng = market.book, floor.now(), floor.rng
    for order in book.crossed(market.mark):
        if not order.is_open:
            continue
        through = abs(market.mark - order.price) > 2 * market.rules.tick
        size = order.remaining if order.opens else min(order.remaining, order.reducible())
        if not through and rng.random() < 0.5:
            size = int(size * rng.random()) // market.rules.step * market.rules.step
        while size > 0 and order.is_open:
            part = size
            if size > market.rules.step and rng.random() < 0.4:
                part = max(1, int(size * rng.random()) // market.rules.step) * market.rules.step
            market.last = order.price
            fill_resting(floor, market, order, order.price, part, floor.trade_id(market), now)
            size -= part
            if not order.opens:
                size = min(size, order.reducible())


def expire_due(floor: Floor) -> None:
    """Cancel orders whose good-till date has come."""
    now = floor.now()
    for account in floor.accounts.values():
        for order in [order for order in account.open_orders() if 0 < order.good_till_ms <= now]:
            expire(floor, order, now, _GOOD_TILL)
