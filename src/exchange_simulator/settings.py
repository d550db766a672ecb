"""Settings: leverage, margin type, position mode and the rest of what an account may choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exchange_simulator import events
from exchange_simulator.accounts import Account
from exchange_simulator.errors import refusal
from exchange_simulator.floor import Floor
from exchange_simulator.margin import asset_margins, maintenance_margin
from exchange_simulator.money import UNIT
from exchange_simulator.orders import flag, number, required

Answer = dict[str, Any]

_SUCCESS: Answer = {"code": 200, "msg": "success"}


def set_leverage(floor: Floor, account: Account, parameters: Mapping[str, str]) -> Answer:
    market = floor.market(required(parameters, "symbol"))
    text = required(parameters, "leverage")
    rules = market.rules
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:4]) <= rules.brackets[0].leverage:
        raise refusal(-4028, text[:20])
    leverage = int(text)
    holding = account.holding(rules)
    size = sum(abs(position.quantity) for position in holding.positions.values())
    if holding.isolated and size and leverage < holding.leverage:
        raise refusal(-4161)
    if size * market.mark // UNIT > rules.max_notional(leverage) * UNIT:
        raise refusal(-2027)
    before = holding.leverage
    holding.leverage = leverage
    if leverage < before and not holding.isolated:
        margin = asset_margins(account, floor.mark).get(rules.margin_asset)
        if margin and margin.cross_wallet + margin.cross_unrealized < margin.cross_initial + margin.order_initial:
            holding.leverage = before
            raise refusal(-2028)
    floor.emit(account, events.leverage_update(floor.now(), rules.symbol, leverage))
    return {"symbol": rules.symbol, "leverage": leverage, "maxNotionalValue": str(rules.max_notional(leverage))}


def set_margin_type(floor: Floor, account: Account, parameters: Mapping[str, str]) -> Answer:
    market = floor.market(required(parameters, "symbol"))
    holding = account.holding(market.rules)
    kind = required(parameters, "marginType")
    if kind not in {"ISOLATED", "CROSSED"}:
        raise refusal(-4056)
    if holding.isolated == (kind == "ISOLATED"):
        raise refusal(-4046)
    if account.multi_assets:
        raise refusal(-4168)
    if holding.orders or any(algo.holding is holding for algo in account.algo_orders.values()):
        raise refusal(-4047)
    if not holding.is_flat:
        raise refusal(-4048)
    holding.isolated = kind == "ISOLATED"
    balances = [events.balance_row(account, market.rules.margin_asset)]
    flat = [holding.position(side) for side in (("LONG", "SHORT") if account.hedge else ("BOTH",))]
    positions = [events.position_row(holding, position, market.mark) for position in flat]
    floor.emit(account, events.account_update(floor.now(), "MARGIN_TYPE_CHANGE", balances, positions))
    return dict(_SUCCESS)


def set_position_mode(floor: Floor, account: Account, parameters: Mapping[str, str]) -> Answer:
    required(parameters, "dualSidePosition")
    hedge = flag(parameters, "dualSidePosition")
    if hedge == account.hedge:
        raise refusal(-4059)
    if any(True for _ in account.open_orders()) or account.algo_orders:
        raise refusal(-4067)
    if any(True for _ in account.open_positions()):
        raise refusal(-4068)
    account.hedge = hedge
    return dict(_SUCCESS)


def set_multi_assets(floor: Floor, account: Account, parameters: Mapping[str, str]) -> Answer:
    required(parameters, "multiAssetsMargin")
    enabled = flag(parameters, "multiAssetsMargin")
    if enabled == account.multi_assets:
        raise refusal(-4171)
    if enabled and any(holding.isolated and not holding.is_flat for holding in account.holdings.values()):
        raise refusal(-4167)
    account.multi_assets = enabled
    floor.emit(account, events.multi_assets_update(floor.now(), enabled))
    return dict(_SUCCESS)


def set_fee_burn(account: Account, parameters: Mapping[str, str]) -> Answer:
    required(parameters, "feeBurn")
    account.fee_burn = flag(parameters, "feeBurn")
    return dict(_SUCCESS)


def change_position_margin(floor: Floor, account: Account, parameters: Mapping[str, str]) -> Answer:
    """Move money between the cross wallet and an isolated position (type 1 adds, 2 takes out)."""
    market = floor.market(required(parameters, "symbol"))
    holding = account.holding(market.rules)
    side = parameters.get("positionSide", "BOTH")
    if account.hedge == (side == "BOTH"):
        raise refusal(-4061)
    required(parameters, "amount")
    amount, kind = number(parameters, "amount"), required(parameters, "type")
    if kind not in {"1", "2"} or not amount:
        raise refusal(-1102, "type" if amount else "amount")
    position = holding.positions.get(side)
    if not holding.isolated or position is None or not position.quantity:
        raise refusal(-4054)
    asset = market.rules.margin_asset
    if kind == "1":
        if amount > account.cross_wallet(asset):
            raise refusal(-4050)
    else:
        initial = abs(position.quantity) * market.mark // (holding.leverage * UNIT)
        maintenance = maintenance_margin(market.rules, abs(position.quantity) * market.mark // UNIT)
        free = position.isolated_wallet + position.unrealized(market.mark) - max(initial, maintenance)
        if amount > min(free, position.isolated_wallet):
            raise refusal(-4051)
    now = floor.now()
    position.isolated_wallet += amount if kind == "1" else -amount
    position.updated_ms = holding.updated_ms = now
    row = events.position_row(holding, position, market.mark)
    floor.emit(account, events.account_update(now, "MARGIN_TRANSFER", [events.balance_row(account, asset)], [row]))
    return {
        "amount": float(amount / UNIT),
        "code": 200,
        "msg": "Successfully modify position margin.",
        "type": int(kind),
    }
