"""What if: the account under price moves that somebody asks about; nothing of it is recorded."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from account_monitor.api import problems
from account_monitor.api.answering import BY_FRAMEWORK, EVERYWHERE, GivenDesk, GivenMonitor, explained, in_turn
from account_monitor.api.problems import Refused, bad_parameter
from account_monitor.ledger.money import to_text, venue_amount
from account_monitor.ledger.whatif import (
    Holdings,
    Liquidated,
    Scenario,
    Shock,
    Shocks,
    liquidated,
    scenario,
    shock_from_text,
    shocks_of,
)
from account_monitor.ledger.worth import DOLLARS
from account_monitor.monitor.reports import PoolReport, margin_type, pool_report, time_text
from account_monitor.monitor.views import View

MAX_SHOCKS = 100


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    """The account at certain prices, in USD. None: not known."""

    equity: str | None
    unrealized_pnl: str | None
    maintenance_margin: str | None
    margin_ratio: str | None
    leverage: str | None
    available_margin: str | None
    pools: list[PoolReport]
    liquidations: dict[str, str]


class LiquidatedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A pool that the moves use up, and its positions, the largest loss first. Of a cross pool the exchange may keep
    what it can afford once the worst is closed.
    """

    pool: str
    margin_type: str
    after_pct: str
    positions: list[str]


class WhatIfReport(msgspec.Struct, frozen=True, kw_only=True):
    """The account now, and after price moves in percent: of the symbols that are named, and of all others."""

    account: str
    epoch: int
    seq: int
    as_of: str | None
    shocks: dict[str, str]
    other_prices: str
    before: ScenarioReport
    after: ScenarioReport
    liquidated: list[LiquidatedReport]
    timestamp: str


OF_WHATIF = explained(
    *EVERYWHERE,
    *BY_FRAMEWORK,
    problems.UNKNOWN_ACCOUNT,
    problems.UNKNOWN_SYMBOL,
    problems.FOLDING,
    problems.HELD_ELSEWHERE,
    problems.BUSY,
)


@get("/api/whatif", operation_id="whatif", summary="The account under price moves", responses=OF_WHATIF)
async def whatif(
    desk: GivenDesk,
    monitor: GivenMonitor,
    shock: Annotated[
        str,
        QueryParameter(
            description="Moves in percent, with commas between: `-10%` of every price, `BTCUSDT:-10%,ETHUSDT:5%` of"
            " these, `BTCUSDT:-10%,5%` of this one and of all others."
        ),
    ],
    symbol: Annotated[str | None, QueryParameter(description="What the shock without a symbol moves alone.")] = None,
) -> WhatIfReport:
    """Equity, margins and liquidation prices before and after, and what the exchange would liquidate on the way."""
    view = monitor.view
    shocks = _shocks(shock.split(","), symbol)
    for name in shocks.by_symbol:
        if not _is_of(view, name):
            raise Refused(problems.UNKNOWN_SYMBOL, f"symbol: account {view.account} never held {name[:60]!r}")
    async with in_turn(desk.looking_back):
        return await asyncio.to_thread(_report, view, shocks, desk.clock())


def _shocks(texts: list[str], symbol: str | None) -> Shocks:
    """Return the moves that are asked for. Raises: Refused, naming the parameter."""
    if len(texts) > MAX_SHOCKS:
        raise bad_parameter("shock", f"named {len(texts)} moves, expected at most {MAX_SHOCKS}")
    try:
        given = [shock_from_text(text) for text in texts]
        if symbol is not None:
            if all(each.symbol is not None for each in given):
                raise bad_parameter("symbol", f"was {symbol[:60]!r}, and every shock names its own")
            given = [each if each.symbol is not None else Shock(symbol, each.pct) for each in given]
        return shocks_of(given)
    except ValueError as error:
        raise bad_parameter("shock", str(error)) from None


def _is_of(view: View, symbol: str) -> bool:
    """Whether the worth of an account depends on a symbol, or did: it was held, or prices a coin in a wallet."""
    is_held = any(position.symbol == symbol for position in view.positions.values())
    return is_held or any(symbol == asset + dollar for asset in view.balances for dollar in DOLLARS)


def _report(view: View, shocks: Shocks, now_ms: int) -> WhatIfReport:
    held = Holdings(view.positions, view.balances, view.margin)
    return WhatIfReport(
        account=view.account,
        epoch=view.epoch,
        seq=view.seq,
        as_of=time_text(view.as_of_ms) if view.as_of_ms else None,
        shocks={symbol: to_text(pct) for symbol, pct in sorted(shocks.by_symbol.items())},
        other_prices=to_text(shocks.others),
        before=_scenario_report(scenario(held, Shocks({}))),
        after=_scenario_report(scenario(held, shocks)),
        liquidated=[_liquidated_report(each) for each in liquidated(held, shocks)],
        timestamp=time_text(now_ms),
    )


def _scenario_report(shown: Scenario) -> ScenarioReport:
    margin = shown.margin
    return ScenarioReport(
        equity=_text(shown.equity),
        unrealized_pnl=_text(shown.unrealized_pnl),
        maintenance_margin=_text(margin.maintenance_margin),
        margin_ratio=_text(margin.ratio),
        leverage=_text(shown.leverage),
        available_margin=_text(margin.available),
        pools=[pool_report(pool) for pool in shown.pools()],
        liquidations={key: to_text(venue_amount(each.price)) for key, each in sorted(shown.liquidations().items())},
    )


def _liquidated_report(each: Liquidated) -> LiquidatedReport:
    return LiquidatedReport(
        pool=each.pool.name,
        margin_type=margin_type(is_isolated=each.pool.is_isolated),
        after_pct=to_text(each.share * 100),
        positions=list(each.positions),
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else to_text(number)


HANDLERS = (whatif,)
REPORTS: tuple[type[msgspec.Struct], ...] = (LiquidatedReport, ScenarioReport, WhatIfReport)
