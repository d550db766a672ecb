"""Reports: what does the venue answer when asked? Exact field names, order and JSON types; nothing is changed.

All parameters are parsed already (None: not sent). Each raises VenueError like the venue does: an unknown symbol is
−1121, too long an interval −1127, an order that does not exist −2013.
"""

from __future__ import annotations

from exchange_simulator.account_reports import (
    account,
    account_config,
    adl_quantile,
    balance,
    commission_rate,
    fee_burn,
    multi_assets_margin,
    position_mode,
    position_risk,
    spot_account,
    symbol_config,
)
from exchange_simulator.history_reports import (
    algo_order,
    all_algo_orders,
    all_orders,
    force_orders,
    income,
    open_algo_orders,
    open_order,
    open_orders,
    order,
    spot_my_trades,
    spot_open_orders,
    user_trades,
)
from exchange_simulator.market_reports import (
    asset_index,
    book_ticker,
    depth,
    exchange_info,
    funding_info,
    funding_rate,
    leverage_bracket,
    mark_prices,
    ping,
    premium_index,
    rate_limit_order,
    server_time,
    spot_exchange_info,
    ticker_price,
)

__all__ = [
    "account", "account_config", "adl_quantile", "algo_order", "all_algo_orders", "all_orders", "asset_index",
    "balance", "book_ticker", "commission_rate", "depth", "exchange_info", "fee_burn", "force_orders", "funding_info",
    "funding_rate", "income", "leverage_bracket", "mark_prices", "multi_assets_margin", "open_algo_orders",
    "open_order", "open_orders", "order", "ping", "position_mode", "position_risk", "premium_index",
    "rate_limit_order", "server_time", "spot_account", "spot_exchange_info", "spot_my_trades", "spot_open_orders",
    "symbol_config", "ticker_price", "user_trades",
]  # fmt: skip
