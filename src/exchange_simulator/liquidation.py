"""Liquidation: what does the venue do with accounts whose margin is used up? And with ADL, and delisted symbols?"""

from __future__ import annotations

from exchange_simulator import conditionals, events, matching
from exchange_simulator.accounts import Account, Holding, Order, OrderRequest
from exchange_simulator.book import Match, Plan
from exchange_simulator.floor import Floor, ForcedOrder, Market, tally
from exchange_simulator.margin import AssetMargin, asset_margins, dollar_totals, maintenance_margin
from exchange_simulator.money import NOTIONAL, UNIT, half_up
from exchange_simulator.positions import Position

_MARGIN_CALL = 80  # percent of maintenance margin in the margin balance
_CALM_AGAIN = 70
_KEPT = 1000  # forced orders remembered per account


def check(floor: Floor, account: Account) -> None:
    """Warn or liquidate an account at the present mark prices."""
    if not any(True for _ in account.open_positions()):
        account.margin_called = False
        _fill_up(floor, account)
        return
    for holding, position in list(account.open_positions()):
        if holding.isolated:
            _check_isolated(floor, account, holding, position)
    if account.multi_assets:
        _check_cross(floor, account, None)
        return
    for asset in {holding.rules.margin_asset for holding, _ in account.open_positions() if not holding.isolated}:
        _check_cross(floor, account, asset)


def _fill_up(floor: Floor, account: Account) -> None:
    """Let the insurance fund cover what a flat account owes, as after closing below the bankruptcy price."""
    if account.multi_assets:
        return  # other assets stand behind it
    now = floor.now()
    for asset in [asset for asset, wallet in account.wallets.items() if wallet < 0]:
        owed = -account.wallets[asset]
        floor.credit(account, asset, owed, now)
        tally(account.insurance, asset, owed)
        floor.record(account, "INSURANCE_CLEAR", asset, owed, now, floor.transaction_id(), info="INSURANCE_CLEAR")
        balance = events.balance_row(account, asset, owed)
        floor.emit(account, events.account_update(now, "INSURANCE_CLEAR", [balance], []))


def _check_isolated(floor: Floor, account: Account, holding: Holding, position: Position) -> None:
    mark = floor.mark(position.symbol)
    maintenance = maintenance_margin(holding.rules, abs(position.quantity) * mark // UNIT)
    balance = position.isolated_wallet + position.unrealized(mark)
    if balance <= maintenance:
        _cancel_orders(floor, account, [holding])
        liquidate(floor, account, holding, position, position.isolated_wallet)


def _danger(floor: Floor, account: Account, asset: str | None) -> tuple[int, int]:
    """Return (maintenance margin, margin balance) of the cross positions, of all assets in USD where none is named."""
    margins = asset_margins(account, floor.mark)
    if asset is None:
        totals = dollar_totals(margins, floor.dollar_rate)
        return totals.cross_maintenance, totals.equity
    margin = margins.get(asset, AssetMargin(0))
    return margin.cross_maintenance, margin.cross_wallet + margin.cross_unrealized


def _check_cross(floor: Floor, account: Account, asset: str | None) -> None:
    maintenance, balance = _danger(floor, account, asset)
    if not maintenance:
        return
    if balance > maintenance:
        _warn(floor, account, asset, maintenance, balance)
        return
    held = [holding for holding in account.holdings.values() if _is_cross(holding, asset)]
    _cancel_orders(floor, account, held)
    while True:
        maintenance, balance = _danger(floor, account, asset)
        positions = [
            (position.unrealized(floor.mark(position.symbol)), position.key, holding, position)
            for holding, position in account.open_positions()
            if _is_cross(holding, asset)
        ]
        if not positions or balance > maintenance:
            return
        _, _, holding, position = min(positions, key=lambda row: row[:2])
        others = sum(unrealized for unrealized, _, _, other in positions if other is not position)
        wallet = account.cross_wallet(holding.rules.margin_asset)
        liquidate(floor, account, holding, position, wallet + others, last=len(positions) == 1)


def _is_cross(holding: Holding, asset: str | None) -> bool:
    return not holding.isolated and (asset is None or holding.rules.margin_asset == asset)


def _cancel_orders(floor: Floor, account: Account, holdings: list[Holding]) -> None:
    now = floor.now()
    for holding in holdings:
        for order in list(holding.orders.values()):
            matching.cancel(floor, order, now)
        for algo in [algo for algo in account.algo_orders.values() if algo.holding is holding]:
            conditionals.cancel(floor, algo)


def _warn(floor: Floor, account: Account, asset: str | None, maintenance: int, balance: int) -> None:
    if maintenance * 100 < _CALM_AGAIN * balance:
        account.margin_called = False
    if account.margin_called or maintenance * 100 < _MARGIN_CALL * balance:
        return
    account.margin_called = True
    rows = []
    for holding, position in account.open_positions():
        if _is_cross(holding, asset):
            mark = floor.mark(position.symbol)
            rows.append(
                (holding, position, mark, maintenance_margin(holding.rules, abs(position.quantity) * mark // UNIT))
            )
    wallet = account.cross_wallet(asset or "USDT")
    floor.emit(account, events.margin_call(floor.now(), wallet, rows))


# -- orders of the venue's own -----------------------------------------------------------------------------------------


def liquidate(
    floor: Floor, account: Account, holding: Holding, position: Position, margin: int, *, last: bool = True
) -> None:
    """Close a position at up to its bankruptcy price, then take the liquidation fee.

    `margin` is what stands behind the position. What the book does not take at that price, the insurance fund does.
    `last`: no other position of the account leans on the same wallet, so that the fund fills up a negative one.
    """
    market = floor.markets[position.symbol]
    rules, asset = market.rules, market.rules.margin_asset
    direction = 1 if position.quantity > 0 else -1
    size = abs(position.quantity)
    bankrupt = half_up(max(0, position.cost - direction * margin * 10**24), size * NOTIONAL)
    unit: int = 10 ** (8 - rules.price_precision)
    price = max(rules.tick, half_up(bankrupt, unit) * unit)
    isolated = position.isolated_wallet if holding.isolated else None
    wallet_before = account.wallets.get(asset, 0)
    order = _forced_order(floor, account, holding, position, "autoclose-", size, price, "LIQUIDATION", "LIQUIDATION")
    market.book.freshen()
    plan = market.book.plan(order, size, price)
    matches = [match for match in plan.matches if match.resting is None or match.resting.account is not account]
    filled = sum(match.quantity for match in matches)
    if filled < size:
        at = max(rules.tick, price // rules.tick * rules.tick)
        matches.append(Match(at, size - filled, None, -1))
    plan = Plan(matches, size, [], stopped=False)
    execution = "CALCULATED" if floor.calculated_liquidations else "TRADE"
    matching.execute(floor, market, order, plan, floor.now(), free=True, execution=execution)
    fee = order.quote * rules.liquidation_fee // (NOTIONAL)
    _clear(floor, account, holding, position, asset, -fee)
    shortfall = -account.wallets.get(asset, 0)
    if isolated is not None:
        shortfall = wallet_before - isolated - account.wallets.get(asset, 0)
    if shortfall > 0 and last:
        _clear(floor, account, holding, position, asset, shortfall)


def _clear(floor: Floor, account: Account, holding: Holding, position: Position, asset: str, amount: int) -> None:
    """Book an INSURANCE_CLEAR: the liquidation fee, or what the insurance fund adds."""
    if not amount:
        return
    now = floor.now()
    floor.credit(account, asset, amount, now)
    tally(account.insurance, asset, amount)
    floor.record(account, "INSURANCE_CLEAR", asset, amount, now, floor.transaction_id(), symbol=position.symbol,
                 info="INSURANCE_CLEAR")  # fmt: skip
    balance = events.balance_row(account, asset, amount)
    row = events.position_row(holding, position, floor.mark(position.symbol))
    floor.emit(account, events.account_update(now, "INSURANCE_CLEAR", [balance], [row]))


def _forced_order(
    floor: Floor, account: Account, holding: Holding, position: Position, prefix: str, size: int, price: int,
    kind: str, auto_close: str,
) -> Order:  # fmt: skip
    """Return an order of the venue's own that closes a position."""
    now = floor.now()
    side = "SELL" if position.quantity > 0 else "BUY"
    client_id = f"{prefix}{now * 1_000_000 + int(floor.rng.random() * 1_000_000)}"
    request = OrderRequest(position.symbol, side, kind, "IOC", position.side, size, price, False, False, client_id,
                           "NONE", "NONE", 0, False, False)  # fmt: skip
    order = Order(floor.order_id(), account, holding, request, now)
    matching.remember(order)
    forced = floor.forced.setdefault(account.api_key, [])
    forced.append(ForcedOrder(order, auto_close, now))
    if len(forced) > 2 * _KEPT:
        del forced[:_KEPT]
    return order


def adl(floor: Floor, account: Account, market: Market, side: str, quantity: int | None) -> None:
    """Deleverage a position at the mark price: one fill, without commission."""
    holding = account.holding(market.rules)
    position = holding.position(side)
    size = min(abs(position.quantity), quantity or abs(position.quantity))
    if not size:
        return
    tick = market.rules.tick
    price = max(tick, half_up(market.mark, tick) * tick)
    order = _forced_order(floor, account, holding, position, "adl_autoclose-", size, price, "LIQUIDATION", "ADL")
    plan = Plan([Match(price, size, None, -1)], size, [], stopped=False)
    matching.execute(floor, market, order, plan, floor.now(), free=True)


def delist(floor: Floor, market: Market) -> None:
    """Cancel every order of a symbol and settle every position of it at the mark price."""
    market.trading = False
    tick = market.rules.tick
    price = max(tick, half_up(market.mark, tick) * tick)
    for account in floor.accounts.values():
        holding = account.holdings.get(market.rules.symbol)
        if holding is None:
            continue
        _cancel_orders(floor, account, [holding])
        for position in [position for position in holding.positions.values() if position.quantity]:
            size = abs(position.quantity)
            order = _forced_order(floor, account, holding, position, "settlement_autoclose-", size, price, "MARKET",
                                  "DELIVERY")  # fmt: skip
            plan = Plan([Match(price, size, None, -1)], size, [], stopped=False)
            matching.execute(floor, market, order, plan, floor.now(), free=True)
