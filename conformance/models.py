"""Where do an answer of the exchange and a model of its SDK differ: what is missing, unknown, of another type?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

# Fields by the end of their path, with the reason.
MAY_BE_ABSENT = {
    "notionalCoef": "only for users with brackets of their own",
    "activatePrice": "only for trailing stops",
    "priceRate": "only for trailing stops",
    "cumBase": "only for coin-margined contracts",
    "settlePlan": "documented, and long gone from the exchange's answers",
    "adlQuantile.HEDGE": "only for cross positions in hedge mode",
    "o.AP": "only for trailing stops",
    "o.cr": "only for trailing stops",
    "o.M": "only where an order was modified with an id",
    "o.er": "only where an order expired",
    "a.S": "only for funding",
    "v2/account.status.result.assets[].marginAvailable": "the REST answer, of the same name otherwise, has it not",
    "UPDATE.ac": "one of ac and ai",
    "UPDATE.ai": "one of ac and ai",
    "o.ap": "only where a conditional order was triggered",
    "o.aq": "the same",
    "o.act": "the same",
    "o.rm": "only where a conditional order failed",
    "o.ia": "only for trailing stops",
} | {
    f"filters[].{name}": "each kind of filter has its own fields"
    for name in (
        "limit", "maxPrice", "maxQty", "minPrice", "minQty", "multiplierDecimal", "multiplierDown", "multiplierUp",
        "notional", "stepSize", "tickSize",
    )
}  # fmt: skip

MAY_BE_NULL = {"icebergQuantity": "the documented example"}

# The exchange answers with these, and the SDK's models do not know them.
NOT_IN_THE_SDK = {
    "UPDATE.e": "chooses the model",
    "TRADE_LITE.e": "the same",
    "MARGIN_CALL.e": "the same",
    "listenKeyExpired.e": "the same",
    "a.P[].ma": "the margin asset, not documented and always there",
    "exchangeInfo.futuresType": "real answers have it",
    "symbols[].maxMoveOrderLimit": "real answers have it",
    "symbols[].permissionSets": "real answers have it",
    "filters[].positionControlSide": "real answers have it",
    "account.status.result.feeBurn": "the REST answer has it",
    "account.status.result.positions[].isolatedWallet": "the same",
    "account.status.result.positions[].notional": "the same",
    "account.position.result[].adlQuantile": "the same",
    "account.position.result[].isolated": "the same",
    "account.positions[].breakEvenPrice": "real answers of v2 have it, as ccxt notes",
    "account.positions[].isolatedWallet": "the same",
    "account.positions[].notional": "the same",
    "positionRisk[].adlQuantile": "real answers of v2 have it",
    "positionRisk[].isolated": "real answers of v2 have it",
    "bookTicker.lastUpdateId": "real answers have it",
    "order.avgPrice": "documented until 2026 and still answered",
    "order.cumQuote": "the same",
}


def differences(model: type[BaseModel], value: Any, where: str) -> Iterator[str]:
    if isinstance(value, list):
        for row in value:
            yield from differences(model, row, f"{where}[]")
        return
    if not isinstance(value, dict):
        yield f"{where}: {value!r} instead of an object"
        return
    fields = {
        field.alias or name: field.annotation
        for name, field in model.model_fields.items()
        if name != "additional_properties"
    }
    for name in value.keys() - fields.keys():
        if not excused(f"{where}.{name}", NOT_IN_THE_SDK):
            yield f"{where}.{name}: unknown to the SDK"
    for name in fields.keys() - value.keys():
        if not excused(f"{where}.{name}", MAY_BE_ABSENT):
            yield f"{where}.{name}: missing"
    for name in fields.keys() & value.keys():
        yield from mismatches(fields[name], value[name], f"{where}.{name}")


def mismatches(annotation: Any, value: Any, where: str) -> Iterator[str]:
    """Compare with a type as the SDK writes it: Optional[StrictStr], Optional[List[Model]], Optional[Union[...]]."""
    if value is None and excused(where, MAY_BE_NULL):
        return
    accepted = (
        [kind for kind in get_args(annotation) if kind is not type(None)] if is_union(annotation) else [annotation]
    )
    if len(accepted) == 1 and get_origin(accepted[0]) is list:
        if not isinstance(value, list):
            yield f"{where}: {value!r} instead of a list"
            return
        for element in value:
            yield from mismatches(get_args(accepted[0])[0], element, f"{where}[]")
    elif len(accepted) == 1 and isinstance(accepted[0], type) and issubclass(accepted[0], BaseModel):
        yield from differences(accepted[0], value, where)
    elif type(value) not in {plain for kind in accepted for plain in plain_types(kind)}:
        yield f"{where}: {value!r} is {type(value).__name__}, not {accepted}"


def excused(where: str, reasons: dict[str, str]) -> bool:
    return any(where.endswith(name if "." in name else f".{name}") for name in reasons)


def is_union(annotation: Any) -> bool:
    return get_origin(annotation) is Union


def plain_types(annotation: Any) -> Iterator[type]:
    """Unpack Annotated[str, Strict()] and unions of such; anything else is a plain type."""
    if is_union(annotation):
        for kind in get_args(annotation):
            yield from plain_types(kind)
    else:
        yield get_args(annotation)[0] if get_args(annotation) else annotation
