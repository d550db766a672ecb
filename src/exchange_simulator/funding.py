"""Funding: who pays whom every few hours, and what is each told?

Fees are settled a few seconds after the funding time, as on the real venue: the income rows carry the funding time,
the events the time at which they are sent.
"""

from __future__ import annotations

from exchange_simulator import events
from exchange_simulator.accounts import Account, Holding
from exchange_simulator.floor import Floor, FundingRate, Market, tally
from exchange_simulator.money import truncated
from exchange_simulator.positions import Position

_DELAY_MS = 3_246
_RATE_CAP = 2_000_000  # 2 %


def delay_ms(floor: Floor) -> int:
    """Return how long after the funding time the fees are settled."""
    return min(_DELAY_MS, floor.funding_interval_ms // 4)


def settle_due(floor: Floor, *, legacy: bool) -> None:
    """Settle every funding time that is over."""
    while True:
        due = [market for market in floor.markets.values() if market.next_funding_ms + delay_ms(floor) <= floor.now()]
        if not due:
            return
        at_ms = min(market.next_funding_ms for market in due)
        settle(floor, [market for market in due if market.next_funding_ms == at_ms], at_ms, legacy=legacy)
        for market in due:
            if market.next_funding_ms == at_ms:
                market.next_funding_ms += floor.funding_interval_ms


def settle(floor: Floor, markets: list[Market], at_ms: int, *, legacy: bool) -> None:
    """Settle the funding time `at_ms` of these symbols for every account."""
    for market in markets:
        market.funding.append(FundingRate(at_ms, market.rate, market.mark))
    for account in floor.accounts.values():
        sums: dict[str, int] = {}  # by asset, of the old form of the event
        for market in markets:
            holding = account.holdings.get(market.rules.symbol)
            if holding is not None:
                _settle_symbol(floor, account, holding, market, at_ms, sums if legacy else None)
        now = floor.now()
        for asset, amount in sums.items():
            row = events.balance_row(account, asset, amount)
            floor.emit(account, events.account_update(now, "FUNDING_FEE", [row], []))
    for market in markets:
        _next_rate(floor, market)


def _settle_symbol(
    floor: Floor, account: Account, holding: Holding, market: Market, at_ms: int, sums: dict[str, int] | None
) -> None:
    """Book each leg on its own; tell of them together. `sums` collects for the old form of the event."""
    asset, symbol, now = market.rules.margin_asset, market.rules.symbol, floor.now()
    total, moved = 0, []
    for position in holding.positions.values():
        amount = truncated(-position.quantity * market.mark * market.rate, 10**16)
        if not amount:
            continue
        _book(floor, account, holding, position, asset, amount, at_ms)
        moved.append(position)
        total += amount
    if not moved:
        return
    if sums is not None and not holding.isolated:
        tally(sums, asset, total)
        return
    rows = [events.position_row(holding, position, market.mark) for position in moved] if holding.isolated else []
    balance = events.balance_row(account, asset, total)
    name = symbol if sums is None else ""
    floor.emit(account, events.account_update(now, "FUNDING_FEE", [balance], rows, name))


def _book(
    floor: Floor, account: Account, holding: Holding, position: Position, asset: str, amount: int, at_ms: int
) -> None:
    floor.credit(account, asset, amount, floor.now())
    if holding.isolated:
        position.isolated_wallet += amount
    tally(account.funding, asset, amount)
    tally(account.funding_by_symbol, position.symbol, amount)
    floor.record(account, "FUNDING_FEE", asset, amount, at_ms, floor.transaction_id(), symbol=position.symbol,
                 info="FUNDING_FEE")  # fmt: skip


def _next_rate(floor: Floor, market: Market) -> None:
    """Let the rate wander around 0.01 %."""
    rate = 10_000 + round(0.7 * (market.rate - 10_000) + floor.rng.gauss(0.0, 6_000.0))
    market.rate = max(-_RATE_CAP, min(_RATE_CAP, rate))
