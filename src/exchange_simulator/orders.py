"""Orders: what was asked for, and is it something that this venue trades?"""

from __future__ import annotations

import re
from collections.abc import Mapping

from exchange_simulator.accounts import SIDES, OrderRequest
from exchange_simulator.errors import refusal
from exchange_simulator.money import Malformed, TooPrecise, parse
from exchange_simulator.symbols import SymbolRules

CONDITIONAL_TYPES = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
STP_MODES = frozenset({"NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"})
_TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK", "GTX", "GTD"})
_POSITIONSIDES = frozenset({"BOTH", "LONG", "SHORT"})
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)


# -- reading a request -------------------------------------------------------------------------------------------------


def required(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise refusal(-1102, name)
    return value


def number(parameters: Mapping[str, str], name: str) -> int:
    """Return a positive decimal parameter in 1e-8, 0 where it was not sent."""
    text = parameters.get(name)
    if text is None:
        return 0
    try:
        return parse(text)
    except TooPrecise:
        raise refusal(-1111) from None
    except Malformed:
        if text.startswith("-"):
            raise refusal(-4003 if name == "quantity" else -4001) from None
        raise refusal(-1102, name) from None


def flag(parameters: Mapping[str, str], name: str) -> bool:
    text = parameters.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise refusal(-1102, name)
    return text == "true"


def whole(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise refusal(-1102, name)
    return int(text)


def read_request(
    parameters: Mapping[str, str], kind: str, *, hedge: bool, client_name: str = "newClientOrderId"
) -> OrderRequest:
    """Read what is the same for every kind of order; sizes are checked by check_price and check_quantity."""
    get = parameters.get
    symbol, side = required(parameters, "symbol"), required(parameters, "side")
    if side not in SIDES:
        raise refusal(-1117)
    position_side = get("positionSide", "BOTH")
    if position_side not in _POSITIONSIDES:
        raise refusal(-4060)
    if hedge == (position_side == "BOTH"):
        raise refusal(-4061)
    reduce_only = "reduceOnly" in parameters and flag(parameters, "reduceOnly")
    if hedge and "reduceOnly" in parameters:
        raise refusal(-1106, "reduceonly")
    close_position = "closePosition" in parameters and flag(parameters, "closePosition")
    client_id = get("newClientOrderId" if client_name == "newClientOrderId" else client_name, "")
    if client_id:
        if len(client_id) > 36:
            raise refusal(-4015)
        if not _CLIENT_ID.fullmatch(client_id):
            raise refusal(-1102, client_name)
    stp = get("selfTradePreventionMode", "EXPIRE_MAKER")
    if stp not in STP_MODES:
        raise refusal(-1102, "selfTradePreventionMode")
    opens = not reduce_only and not close_position
    if hedge:
        opens = (side == "BUY") == (position_side == "LONG")
    return OrderRequest(
        symbol, side, kind, "GTC", position_side, number(parameters, "quantity"), number(parameters, "price"),
        reduce_only, close_position, client_id, stp, "NONE", 0, get("newOrderRespType", "ACK") == "RESULT", opens,
    )  # fmt: skip


def limit_terms(request: OrderRequest, parameters: Mapping[str, str], now: int, *, tif_required: bool = True) -> None:
    """Read time in force and price of an order that has a limit."""
    tif = parameters.get("timeInForce")
    if tif is None:
        if tif_required:
            raise refusal(-1102, "timeinforce")
        tif = "GTC"
    if tif not in _TIMES_IN_FORCE:
        raise refusal(-1115)
    request.tif = tif
    if not request.price:
        if parameters.get("price") is None:
            raise refusal(-1102, "price")
        raise refusal(-4001)
    if tif == "GTD":
        good_till = whole(parameters, "goodTillDate")
        if good_till is None:
            raise refusal(-1102, "goodTillDate")
        request.good_till_ms = good_till // 1000 * 1000
        if not now + 600_000 < good_till < 253_402_300_799_000:
            raise refusal(-4040)


def check_price(price: int, rules: SymbolRules) -> None:
    """Check a limit or trigger price against precision and PRICE_FILTER."""
    if price % 10 ** (8 - rules.price_precision):
        raise refusal(-1111)
    if price < rules.min_price:
        raise refusal(-4013)
    if price > rules.max_price:
        raise refusal(-4002)
    if price % rules.tick:
        raise refusal(-4014)


def check_percent_price(sign: int, price: int, mark: int, rules: SymbolRules) -> None:
    """Check a limit price against PERCENT_PRICE: a buyer not too high, a seller not too low."""
    if sign > 0 and price * 10**8 > mark * rules.percent_up:
        raise refusal(-4016)
    if sign < 0 and price * 10**8 < mark * rules.percent_down:
        raise refusal(-4024)


def check_quantity(quantity: int, rules: SymbolRules, *, market: bool) -> None:
    """Check a quantity against precision and LOT_SIZE or MARKET_LOT_SIZE."""
    if quantity <= 0:
        raise refusal(-4003)
    if quantity % 10 ** (8 - rules.quantity_precision):
        raise refusal(-1111)
    if quantity % rules.step:
        raise refusal(-4023)
    if quantity > (rules.market_max_quantity if market else rules.max_quantity):
        raise refusal(-4005)
