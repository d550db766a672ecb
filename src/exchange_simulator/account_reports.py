"""What the venue answers about an account: wallets, positions, margins and settings."""

from __future__ import annotations

from exchange_simulator.accounts import Account, Holding
from exchange_simulator.floor import Market
from exchange_simulator.margin import (
    AssetMargin,
    LegTerms,
    Totals,
    asset_margins,
    dollar_totals,
    initial_margin,
    liquidation_price,
    maintenance_margin,
    order_margin,
    totals_of,
)
from exchange_simulator.market_reports import Row, Rows, market_of
from exchange_simulator.money import NOTIONAL, UNIT, fixed, trimmed
from exchange_simulator.positions import Position
from exchange_simulator.symbols import ASSETS
from exchange_simulator.venue import Venue

_ZERO = "0.00000000"


def account(venue: Venue, account: Account, version: int = 3) -> Row:
    """Return /fapi/v1…v3/account; before v3 every asset and every position is listed, held or not."""
    margins = asset_margins(account, venue.floor.mark)
    totals = _totals(venue, account, margins)
    listed = account.wallets if version >= 3 else dict.fromkeys(ASSETS)
    row: Row = {}
    if version < 3:
        row = {
            "feeTier": 0, "feeBurn": account.fee_burn, "canTrade": "TRADE" in account.permissions, "canDeposit": True,
            "canWithdraw": "WITHDRAW" in account.permissions, "updateTime": 0,
            "multiAssetsMargin": account.multi_assets, "tradeGroupId": -1,
        }  # fmt: skip
    row |= {
        "totalInitialMargin": fixed(totals.initial + totals.order_initial),
        "totalMaintMargin": fixed(totals.maintenance),
        "totalWalletBalance": fixed(totals.wallet),
        "totalUnrealizedProfit": fixed(totals.unrealized),
        "totalMarginBalance": fixed(totals.wallet + totals.unrealized),
        "totalPositionInitialMargin": fixed(totals.initial),
        "totalOpenOrderInitialMargin": fixed(totals.order_initial),
        "totalCrossWalletBalance": fixed(totals.cross_wallet),
        "totalCrossUnPnl": fixed(totals.cross_unrealized),
        "availableBalance": fixed(totals.available),
        "maxWithdrawAmount": fixed(totals.withdrawable),
        "assets": [
            _asset(venue, account, asset, margins.get(asset) or AssetMargin(0), totals, version) for asset in listed
        ],
        "positions": _positions(venue, account, version),
    }
    return row


def _totals(venue: Venue, account: Account, margins: dict[str, AssetMargin]) -> Totals:
    """Return the account in USDT, or in USD in multi-assets mode."""
    if account.multi_assets:
        return dollar_totals(margins, venue.floor.dollar_rate)
    return totals_of(margins.get("USDT") or AssetMargin(0))


def _free(venue: Venue, account: Account, asset: str, margin: AssetMargin, totals: Totals) -> tuple[int, int]:
    """Return (available, withdrawable) of one asset."""
    if not account.multi_assets:
        return margin.available, margin.withdrawable
    rate = venue.floor.dollar_rate(asset).bid
    if not rate:
        return 0, 0
    available = totals.available * UNIT // rate
    return available, max(0, min(margin.cross_wallet, totals.withdrawable * UNIT // rate))


def _asset(venue: Venue, account: Account, asset: str, margin: AssetMargin, totals: Totals, version: int) -> Row:
    available, withdrawable = _free(venue, account, asset, margin, totals)
    row: Row = {
        "asset": asset,
        "walletBalance": fixed(margin.wallet),
        "unrealizedProfit": fixed(margin.unrealized),
        "marginBalance": fixed(margin.margin_balance),
        "maintMargin": fixed(margin.maintenance),
        "initialMargin": fixed(margin.initial + margin.order_initial),
        "positionInitialMargin": fixed(margin.initial),
        "openOrderInitialMargin": fixed(margin.order_initial),
        "crossWalletBalance": fixed(margin.cross_wallet),
        "crossUnPnl": fixed(margin.cross_unrealized),
        "availableBalance": fixed(available),
        "maxWithdrawAmount": fixed(withdrawable),
    }
    if version < 3:
        row["marginAvailable"] = True
    row["updateTime"] = account.wallet_updated_ms.get(asset, 0)
    return row


def _legs(account: Account, holding: Holding, *, every: bool) -> list[Position]:
    """Return the positions to list: all of the account's mode, or those held or with open orders."""
    sides = ("BOTH", "LONG", "SHORT") if every and account.hedge else ("LONG", "SHORT") if account.hedge else ("BOTH",)
    legs = [holding.positions.get(side) or Position(holding.rules.symbol, side) for side in sides]
    ordered = {order.position_side for order in holding.orders.values()}
    return [leg for leg in legs if every or leg.quantity or leg.side in ordered]


def _listed(
    venue: Venue, account: Account, symbol: str | None, *, every: bool
) -> list[tuple[Holding, Position, Market]]:
    markets = venue.markets.values() if symbol is None else [market_of(venue, symbol)]
    rows = []
    for market in markets:
        holding = account.holdings.get(market.rules.symbol)
        if holding is None:
            if not every:
                continue
            holding = account.holding(market.rules)
        rows += [(holding, leg, market) for leg in _legs(account, holding, every=every)]
    return rows


def _positions(venue: Venue, account: Account, version: int) -> Rows:
    rows = _listed(venue, account, None, every=version < 3)
    build = _position_v3 if version >= 3 else _position_v2
    return [build(account, holding, leg, market) for holding, leg, market in rows]


def _isolated_margin(holding: Holding, leg: Position, market: Market) -> int:
    return leg.isolated_wallet + leg.unrealized(market.mark) if holding.isolated else 0


def _order_margin(account: Account, holding: Holding, market: Market) -> int:
    return order_margin(holding, market.mark, hedge=account.hedge)


def _maintenance(holding: Holding, leg: Position, market: Market) -> int:
    return maintenance_margin(holding.rules, abs(leg.notional(market.mark)))


def _position_v3(account: Account, holding: Holding, leg: Position, market: Market) -> Row:
    initial = initial_margin(holding, leg, market.mark) + _order_margin(account, holding, market)
    return {
        "symbol": leg.symbol,
        "positionSide": leg.side,
        "positionAmt": _amount(holding, leg),
        "unrealizedProfit": fixed(leg.unrealized(market.mark)),
        "isolatedMargin": fixed(_isolated_margin(holding, leg, market)),
        "notional": trimmed(leg.notional(market.mark)),
        "isolatedWallet": trimmed(leg.isolated_wallet),
        "initialMargin": trimmed(initial),
        "maintMargin": trimmed(_maintenance(holding, leg, market)),
        "updateTime": leg.updated_ms,
    }


def _position_v2(account: Account, holding: Holding, leg: Position, market: Market) -> Row:
    initial, orders = initial_margin(holding, leg, market.mark), _order_margin(account, holding, market)
    return {
        "symbol": leg.symbol,
        "initialMargin": trimmed(initial + orders),
        "maintMargin": trimmed(_maintenance(holding, leg, market)),
        "unrealizedProfit": fixed(leg.unrealized(market.mark)),
        "positionInitialMargin": trimmed(initial),
        "openOrderInitialMargin": trimmed(orders),
        "leverage": str(holding.leverage),
        "isolated": holding.isolated,
        "entryPrice": _price(leg.entry_price()),
        "breakEvenPrice": _price(leg.break_even_price()),
        "maxNotional": str(holding.rules.max_notional(holding.leverage)),
        "positionSide": leg.side,
        "positionAmt": _amount(holding, leg),
        "notional": trimmed(leg.notional(market.mark)),
        "isolatedWallet": trimmed(leg.isolated_wallet),
        "updateTime": leg.updated_ms,
        "bidNotional": trimmed(holding.buying // UNIT),
        "askNotional": trimmed(holding.selling // UNIT),
    }


def _amount(holding: Holding, leg: Position) -> str:
    return fixed(leg.quantity, holding.rules.quantity_precision)


def _price(in_billionths: int) -> str:
    text = trimmed(in_billionths, 9)
    return text if "." in text else f"{text}.0"


# -- balances and risk -------------------------------------------------------------------------------------------------


def balance(venue: Venue, account: Account, version: int = 3) -> Rows:
    margins = asset_margins(account, venue.floor.mark)
    totals = _totals(venue, account, margins)
    rows = []
    for asset in account.wallets if version >= 3 else ASSETS:
        margin = margins.get(asset) or AssetMargin(0)
        available, withdrawable = _free(venue, account, asset, margin, totals)
        row: Row = {"accountAlias": account.alias, "asset": asset, "balance": fixed(margin.wallet)}
        if version < 2:
            row |= {"withdrawAvailable": fixed(withdrawable)}
        else:
            row |= {
                "crossWalletBalance": fixed(margin.cross_wallet),
                "crossUnPnl": fixed(margin.cross_unrealized),
                "availableBalance": fixed(available),
                "maxWithdrawAmount": fixed(withdrawable),
                "marginAvailable": True,
            }
        rows.append(row | {"updateTime": account.wallet_updated_ms.get(asset, 0)})
    return rows


def position_risk(venue: Venue, account: Account, symbol: str | None = None, version: int = 3) -> Rows:
    """Return /fapi/v1…v3/positionRisk; before v3 every symbol is listed, held or not."""
    margins = asset_margins(account, venue.floor.mark)
    build = _risk_v3 if version >= 3 else _risk_v2
    return [
        build(venue, account, margins, holding, leg, market)
        for holding, leg, market in _listed(venue, account, symbol, every=version < 3)
    ]


def liquidation_price_of(
    venue: Venue, account: Account, margins: dict[str, AssetMargin], holding: Holding, leg: Position, market: Market
) -> int:
    """Return the liquidation price (1e-8) of a position, 0 where there is none."""
    if not leg.quantity:
        return 0
    if holding.isolated:
        return liquidation_price(
            holding.rules, leg.isolated_wallet, 0, 0, (LegTerms(leg.quantity, leg.cost),), market.mark
        )
    legs = [one for one in holding.positions.values() if one.quantity]
    maintenance = sum(_maintenance(holding, one, market) for one in legs)
    unrealized = sum(one.unrealized(market.mark) for one in legs)
    if account.multi_assets:
        totals = dollar_totals(margins, venue.floor.dollar_rate)
        wallet = totals.equity - totals.cross_unrealized
        other = (totals.cross_maintenance - maintenance, totals.cross_unrealized - unrealized)
    else:
        margin = margins[holding.rules.margin_asset]
        wallet = margin.cross_wallet
        other = (margin.cross_maintenance - maintenance, margin.cross_unrealized - unrealized)
    terms = tuple(LegTerms(one.quantity, one.cost) for one in legs)
    return liquidation_price(holding.rules, wallet, other[0], other[1], terms, market.mark)


def _risk_v3(
    venue: Venue, account: Account, margins: dict[str, AssetMargin], holding: Holding, leg: Position, market: Market
) -> Row:
    initial, orders = initial_margin(holding, leg, market.mark), _order_margin(account, holding, market)
    return {
        "symbol": leg.symbol,
        "positionSide": leg.side,
        "positionAmt": _amount(holding, leg),
        "entryPrice": _price(leg.entry_price()),
        "breakEvenPrice": _price(leg.break_even_price()),
        "markPrice": fixed(market.mark),
        "unRealizedProfit": fixed(leg.unrealized(market.mark)),
        "liquidationPrice": trimmed(liquidation_price_of(venue, account, margins, holding, leg, market)),
        "isolatedMargin": trimmed(_isolated_margin(holding, leg, market)),
        "notional": trimmed(leg.notional(market.mark)),
        "marginAsset": holding.rules.margin_asset,
        "isolatedWallet": trimmed(leg.isolated_wallet),
        "initialMargin": trimmed(initial + orders),
        "maintMargin": trimmed(_maintenance(holding, leg, market)),
        "positionInitialMargin": trimmed(initial),
        "openOrderInitialMargin": trimmed(orders),
        "adl": _adl_rank(holding, leg, market),
        "bidNotional": trimmed(holding.buying // UNIT),
        "askNotional": trimmed(holding.selling // UNIT),
        "updateTime": leg.updated_ms,
    }


def _risk_v2(
    venue: Venue, account: Account, margins: dict[str, AssetMargin], holding: Holding, leg: Position, market: Market
) -> Row:
    return {
        "symbol": leg.symbol,
        "positionAmt": _amount(holding, leg),
        "entryPrice": _price(leg.entry_price()),
        "breakEvenPrice": _price(leg.break_even_price()),
        "markPrice": fixed(market.mark),
        "unRealizedProfit": fixed(leg.unrealized(market.mark)),
        "liquidationPrice": trimmed(liquidation_price_of(venue, account, margins, holding, leg, market)),
        "leverage": str(holding.leverage),
        "maxNotionalValue": str(holding.rules.max_notional(holding.leverage)),
        "marginType": "isolated" if holding.isolated else "cross",
        "isolatedMargin": fixed(_isolated_margin(holding, leg, market)),
        "isAutoAddMargin": "true" if holding.auto_add else "false",
        "positionSide": leg.side,
        "notional": trimmed(leg.notional(market.mark)),
        "isolatedWallet": trimmed(leg.isolated_wallet),
        "updateTime": leg.updated_ms,
        "isolated": holding.isolated,
        "adlQuantile": _adl_rank(holding, leg, market),
    }


def _adl_rank(holding: Holding, leg: Position, market: Market) -> int:
    """Return the place in the queue for deleveraging, 0 (last) to 4: by gain and leverage."""
    gain = leg.unrealized(market.mark)
    if gain <= 0:
        return 0
    return min(4, gain * holding.leverage * 4 // max(1, leg.cost // NOTIONAL // UNIT))


# -- settings ----------------------------------------------------------------------------------------------------------


def symbol_config(venue: Venue, account: Account, symbol: str | None = None) -> Rows:
    markets = venue.markets.values() if symbol is None else [market_of(venue, symbol)]
    rows = []
    for market in markets:
        holding = account.holding(market.rules)
        rows.append(
            {
                "symbol": market.rules.symbol,
                "marginType": "ISOLATED" if holding.isolated else "CROSSED",
                "isAutoAddMargin": holding.auto_add,
                "leverage": holding.leverage,
                "maxNotionalValue": str(market.rules.max_notional(holding.leverage)),
            }
        )
    return rows


def account_config(venue: Venue, account: Account) -> Row:
    return {
        "feeTier": 0,
        "canTrade": "TRADE" in account.permissions,
        "canDeposit": True,
        "canWithdraw": "WITHDRAW" in account.permissions,
        "dualSidePosition": account.hedge,
        "updateTime": 0,
        "multiAssetsMargin": account.multi_assets,
        "tradeGroupId": -1,
    }


def position_mode(account: Account) -> Row:
    return {"dualSidePosition": account.hedge}


def multi_assets_margin(account: Account) -> Row:
    return {"multiAssetsMargin": account.multi_assets}


def fee_burn(account: Account) -> Row:
    return {"feeBurn": account.fee_burn}


def commission_rate(venue: Venue, account: Account, symbol: str) -> Row:
    holding = account.holding(market_of(venue, symbol).rules)
    return {
        "symbol": symbol,
        "makerCommissionRate": f"{holding.maker_rate:.6f}",
        "takerCommissionRate": f"{holding.taker_rate:.6f}",
        "rpiCommissionRate": "0.000050",
    }


def adl_quantile(venue: Venue, account: Account, symbol: str | None = None) -> Rows:
    """Return the rank of each side; the last key, whose value means nothing in hedge mode, names the mode."""
    ranks: dict[str, dict[str, int]] = {}
    for holding, leg, market in _listed(venue, account, symbol, every=False):
        if leg.quantity:
            sides = {"LONG": 0, "SHORT": 0, "HEDGE" if account.hedge else "BOTH": 0}
            ranks.setdefault(leg.symbol, sides)[leg.side] = _adl_rank(holding, leg, market)
    return [{"symbol": name, "adlQuantile": sides} for name, sides in ranks.items()]


def spot_account(venue: Venue, account: Account) -> Row:
    """Return a Spot account that holds nothing."""
    rates = {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"}
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": rates,
        "canTrade": "TRADE" in account.permissions,
        "canWithdraw": "WITHDRAW" in account.permissions,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": 0,
        "accountType": "SPOT",
        "balances": [],
        "permissions": ["SPOT"],
        "uid": account.uid,
    }
