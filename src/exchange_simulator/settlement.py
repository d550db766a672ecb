"""Settlement: what does a fill do to the account that made it, and what is the account told?"""

from __future__ import annotations

from exchange_simulator import events
from exchange_simulator.accounts import Account, Holding, Order
from exchange_simulator.floor import Floor, Market, tally
from exchange_simulator.money import UNIT, commission
from exchange_simulator.positions import Trade


def settle(
    floor: Floor, order: Order, market: Market, price: int, quantity: int, trade_id: int, now: int,
    *, maker: bool, free: bool = False, execution: str = "TRADE",
) -> Trade:  # fmt: skip
    """Book a fill of an order and push ACCOUNT_UPDATE and ORDER_TRADE_UPDATE. `free`: no commission."""
    account, holding, rules = order.account, order.holding, market.rules
    asset = rules.margin_asset
    position = holding.position(order.position_side)
    held, signed = position.quantity, order.sign * quantity
    rate_units = 0 if free else holding.maker_units if maker else holding.taker_units
    realized = position.apply(signed, price, rate_units)
    position.updated_ms = holding.updated_ms = now
    fee, fee_asset = (0, asset) if free else _commission(floor, account, holding, price, quantity, maker=maker)
    if holding.isolated:
        closed = min(abs(held), quantity) if held * signed < 0 else 0
        if closed:
            position.isolated_wallet -= position.isolated_wallet * closed // abs(held)
        position.isolated_wallet += (quantity - closed) * price // (holding.leverage * UNIT)
    if fee_asset == asset:
        floor.credit(account, asset, realized - fee, now)
    else:
        floor.credit(account, asset, realized, now)
        floor.credit(account, fee_asset, -fee, now)
    tally(account.fees, fee_asset, fee)
    trade = Trade(trade_id, order.id, rules.symbol, order.side, order.position_side, price, quantity, realized, fee,
                  fee_asset, now, maker)  # fmt: skip
    account.trades.setdefault(rules.symbol, []).append(trade)
    _record_incomes(floor, account, trade, asset)
    _advance_order(order, price, quantity, now)
    balances = [events.balance_row(account, asset)]
    if fee_asset != asset:
        balances.append(events.balance_row(account, fee_asset))
    row = events.position_row(holding, position, market.mark)
    floor.emit(account, events.account_update(now, "ORDER", balances, [row]))
    floor.emit(account, events.order_update(order, now, execution, trade))
    return trade


def _commission(
    floor: Floor, account: Account, holding: Holding, price: int, quantity: int, *, maker: bool
) -> tuple[int, str]:
    """Return the fee and its asset: BNB with 10 % off where the account pays so and has enough of it."""
    fee = commission(price, quantity, holding.maker_rate if maker else holding.taker_rate)
    if account.fee_burn and fee > 0 and account.wallets.get("BNB", 0) > 0:
        bnb = floor.markets["BNBUSDT"].index if "BNBUSDT" in floor.markets else 0
        if bnb:
            in_bnb = fee * 9 * UNIT // (10 * bnb)
            if 0 < in_bnb <= account.wallets["BNB"]:
                return in_bnb, "BNB"
    return fee, holding.rules.margin_asset


def _record_incomes(floor: Floor, account: Account, trade: Trade, asset: str) -> None:
    if not (trade.fee or trade.realized):
        return
    transaction, trade_id = floor.transaction_id(), str(trade.id)
    if trade.fee:
        floor.record(account, "COMMISSION", trade.fee_asset, -trade.fee, trade.at_ms, transaction,
                     symbol=trade.symbol, info=trade_id, trade_id=trade_id)  # fmt: skip
    if trade.realized:
        floor.record(account, "REALIZED_PNL", asset, trade.realized, trade.at_ms, transaction,
                     symbol=trade.symbol, info=trade_id, trade_id=trade_id)  # fmt: skip


def _advance_order(order: Order, price: int, quantity: int, now: int) -> None:
    if order.id in order.holding.orders:
        unbind(order, quantity)
    order.filled += quantity
    order.quote += price * quantity
    order.status = "FILLED" if order.filled == order.quantity else "PARTIALLY_FILLED"
    order.updated_ms = now


# -- open orders and what they bind ------------------------------------------------------------------------------------


def bind(order: Order) -> None:
    """Count an order that comes to rest among the account's open ones."""
    order.holding.orders[order.id] = order
    _count(order, order.remaining)


def unbind(order: Order, quantity: int) -> None:
    """Count that much of an open order no longer."""
    _count(order, -quantity)


def _count(order: Order, quantity: int) -> None:
    if not order.opens:
        return
    holding, notional = order.holding, quantity * order.price
    if order.sign > 0:
        holding.buying += notional
    else:
        holding.selling += notional
