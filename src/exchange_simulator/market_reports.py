"""What the venue answers about the market, to anyone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from exchange_simulator.accounts import Account
from exchange_simulator.errors import refusal
from exchange_simulator.floor import Market
from exchange_simulator.money import UNIT, fixed, trimmed
from exchange_simulator.symbols import ASSETS, Bracket, SymbolRules
from exchange_simulator.venue import Venue

Row = dict[str, Any]
Rows = list[Row]

_FAR_FUTURE_MS = 4_133_404_800_000
_HOUR_MS = 3_600_000


def ping() -> Row:
    return {}


def server_time(venue: Venue) -> Row:
    return {"serverTime": venue.now()}


def market_of(venue: Venue, symbol: str) -> Market:
    """Return the market of a symbol. Raises: −1121."""
    market = venue.markets.get(symbol)
    if market is None:
        raise refusal(-1121)
    return market


def one_or_all(venue: Venue, symbol: str | None, row: Callable[[Market], Row]) -> Row | Rows:
    """Return one row, or the rows of all symbols where none is named."""
    if symbol is not None:
        return row(market_of(venue, symbol))
    return [row(market) for market in venue.markets.values()]


def exchange_info(venue: Venue) -> Row:
    return {
        "timezone": "UTC",
        "serverTime": venue.now(),
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000" if asset == "USDT" else "0"}
            for asset in ASSETS
        ],
        "symbols": [_symbol(market) for market in venue.markets.values()],
    }


def _symbol(market: Market) -> Row:
    rules = market.rules
    price, quantity = rules.price_precision, rules.quantity_precision
    return {
        "symbol": rules.symbol,
        "pair": rules.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _FAR_FUTURE_MS,
        "onboardDate": rules.onboard_ms,
        "status": "TRADING" if market.trading else "SETTLING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": rules.base,
        "quoteAsset": rules.quote,
        "marginAsset": rules.margin_asset,
        "pricePrecision": price,
        "quantityPrecision": quantity,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"] if rules.base == "BTC" else ["Layer-1"],
        "triggerProtect": "0.0500",
        "liquidationFee": fixed(rules.liquidation_fee, 6),
        "marketTakeBound": fixed(rules.market_take_bound, 2),
        "maxMoveOrderLimit": 10000,
        "filters": _filters(rules),
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
                       "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }  # fmt: skip


def _filters(rules: SymbolRules) -> Rows:
    step, smallest = fixed(rules.step, rules.quantity_precision), fixed(rules.step, rules.quantity_precision)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": trimmed(rules.min_price), "maxPrice": trimmed(rules.max_price),
         "tickSize": fixed(rules.tick, rules.price_precision)},
        {"filterType": "LOT_SIZE", "minQty": smallest, "maxQty": trimmed(rules.max_quantity), "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": smallest, "maxQty": trimmed(rules.market_max_quantity),
         "stepSize": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": rules.max_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": rules.max_algo_orders},
        {"filterType": "MIN_NOTIONAL", "notional": trimmed(rules.min_notional)},
        {"filterType": "PERCENT_PRICE", "multiplierUp": fixed(rules.percent_up, 4),
         "multiplierDown": fixed(rules.percent_down, 4), "multiplierDecimal": "4"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]  # fmt: skip


def premium_index(venue: Venue, symbol: str | None = None) -> Row | Rows:
    now = venue.now()

    def row(market: Market) -> Row:
        return {
            "symbol": market.rules.symbol,
            "markPrice": fixed(market.mark),
            "indexPrice": fixed(market.index),
            "estimatedSettlePrice": fixed(market.index),
            "lastFundingRate": fixed(market.rate),
            "interestRate": "0.00010000",
            "nextFundingTime": market.next_funding_ms,
            "time": now,
        }

    return one_or_all(venue, symbol, row)


def mark_prices(venue: Venue) -> Rows:
    """Return the rows of the `!markPrice@arr` stream."""
    return venue.mark_prices()


def ticker_price(venue: Venue, symbol: str | None = None, version: int = 1) -> Row | Rows:
    """Return last prices; both versions have the same fields."""
    now = venue.now()
    return one_or_all(
        venue, symbol,
        lambda market: {"symbol": market.rules.symbol, "price": fixed(market.last, market.rules.price_precision),
                        "time": now},
    )  # fmt: skip


def book_ticker(venue: Venue, symbol: str | None = None) -> Row | Rows:
    now = venue.now()

    def row(market: Market) -> Row:
        bids, asks = _levels(market, 1)
        (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
        return {"symbol": market.rules.symbol, "bidPrice": bid, "bidQty": bid_size, "askPrice": ask,
                "askQty": ask_size, "time": now, "lastUpdateId": market.trade_id}  # fmt: skip

    return one_or_all(venue, symbol, row)


def depth(venue: Venue, symbol: str, limit: int = 500) -> Row:
    market = market_of(venue, symbol)
    bids, asks = _levels(market, min(limit, 100))
    now = venue.now()
    return {"lastUpdateId": market.trade_id, "E": now, "T": now, "bids": [list(row) for row in bids],
            "asks": [list(row) for row in asks]}  # fmt: skip


def _levels(market: Market, limit: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the best (price, quantity) of both sides, the accounts' orders and the market maker's together."""
    book, rules = market.book, market.rules
    sides = []
    for sign, ladder, resting in ((-1, book.bid_ladder, book.bids), (1, book.ask_ladder, book.asks)):
        while len(ladder.levels) < 2 * limit and ladder.extend():
            pass
        sizes: dict[int, int] = {}
        for price, size in [*((row[0], row[1]) for row in ladder.levels),
                            *((place[2].price, place[2].remaining) for place in resting)]:  # fmt: skip
            sizes[price] = sizes.get(price, 0) + size
        best = sorted(sizes, key=lambda price: sign * price)[:limit]
        sides.append(
            [(fixed(price, rules.price_precision), fixed(sizes[price], rules.quantity_precision)) for price in best]
        )
    return sides[0], sides[1]


def asset_index(venue: Venue, symbol: str | None = None) -> Row | Rows:
    """Return what assets are worth in multi-assets mode; `symbol` is for example BTCUSD."""
    rows = [_asset_index(venue, asset) for asset in ASSETS if venue.floor.dollar_rate(asset).mid]
    if symbol is None:
        return rows
    for row in rows:
        if row["symbol"] == symbol:
            return row
    raise refusal(-1121)


def _asset_index(venue: Venue, asset: str) -> Row:
    rate = venue.floor.dollar_rate(asset)
    buffer = (rate.mid - rate.bid) * UNIT // rate.mid
    return {
        "symbol": f"{asset}USD",
        "time": venue.now(),
        "index": fixed(rate.mid),
        "bidBuffer": fixed(buffer),
        "askBuffer": fixed(buffer),
        "bidRate": fixed(rate.bid),
        "askRate": fixed(rate.ask),
        "autoExchangeBidBuffer": fixed(buffer),
        "autoExchangeAskBuffer": fixed(buffer),
        "autoExchangeBidRate": fixed(rate.bid),
        "autoExchangeAskRate": fixed(rate.ask),
    }


def funding_rate(
    venue: Venue, symbol: str | None = None, start: int | None = None, end: int | None = None, limit: int = 100
) -> Rows:
    markets: Iterable[Market] = venue.markets.values() if symbol is None else [market_of(venue, symbol)]
    rows: Rows = [
        {"symbol": market.rules.symbol, "fundingTime": past.at_ms, "fundingRate": fixed(past.rate),
         "markPrice": fixed(past.mark), "rateType": "Regular"}
        for market in markets
        for past in market.funding
        if (start is None or past.at_ms >= start) and (end is None or past.at_ms <= end)
    ]  # fmt: skip
    rows.sort(key=lambda row: int(row["fundingTime"]))
    limit = min(limit, 1000)
    return rows[-limit:] if start is None else rows[:limit]


def funding_info(venue: Venue) -> Rows:
    hours = max(1, venue.floor.funding_interval_ms // _HOUR_MS)
    return [
        {"symbol": symbol, "adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000",
         "fundingIntervalHours": hours, "disclaimer": False}
        for symbol in venue.markets
    ]  # fmt: skip


def leverage_bracket(venue: Venue, account: Account, symbol: str | None = None) -> Row | Rows:
    return one_or_all(
        venue, symbol,
        lambda market: {"symbol": market.rules.symbol, "brackets": [_bracket(row) for row in market.rules.brackets]},
    )  # fmt: skip


def _bracket(row: Bracket) -> Row:
    cum = row.cum // UNIT if row.cum % UNIT == 0 else row.cum / UNIT  # the official SDK wants an integer where it can
    return {
        "bracket": row.number,
        "initialLeverage": row.leverage,
        "notionalCap": row.cap,
        "notionalFloor": row.floor,
        "maintMarginRatio": row.ratio / UNIT,
        "cum": cum,
    }


def rate_limit_order(venue: Venue) -> Rows:
    return [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    ]


def spot_exchange_info(venue: Venue) -> Row:
    """Return a Spot market that lists nothing."""
    return {
        "timezone": "UTC",
        "serverTime": venue.now(),
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}],
        "exchangeFilters": [],
        "symbols": [],
    }
