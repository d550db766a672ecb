"""Symbols: which contracts are there, and by which rules are they traded?

Sizes and steps resemble those of the real venue in 2026; brackets follow its published formula
cum_n = floor_n × (ratio_n − ratio_n−1) + cum_n−1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from exchange_simulator.money import UNIT, parse


class Bracket(NamedTuple):
    """Maintenance margin for notionals in (floor, cap]. `ratio` and `cum` in 1e-8, `floor` and `cap` in whole units."""

    number: int
    leverage: int
    floor: int
    cap: int
    ratio: int
    cum: int


def brackets(tiers: Iterable[tuple[int, int, str]]) -> tuple[Bracket, ...]:
    """Return the brackets of tiers (highest leverage, notional cap, maintenance ratio), lowest first."""
    rows: list[Bracket] = []
    floor = ratio_before = cum = 0
    for number, (leverage, cap, ratio_text) in enumerate(tiers, start=1):
        ratio = parse(ratio_text)
        cum += floor * (ratio - ratio_before)
        rows.append(Bracket(number, leverage, floor, cap, ratio, cum))
        floor, ratio_before = cap, ratio
    return tuple(rows)


MAJOR = brackets(
    [
        (125, 300_000, "0.004"), (100, 800_000, "0.005"), (75, 3_000_000, "0.0065"), (50, 12_000_000, "0.01"),
        (25, 70_000_000, "0.02"), (20, 100_000_000, "0.025"), (10, 230_000_000, "0.05"), (5, 480_000_000, "0.1"),
        (4, 600_000_000, "0.125"), (3, 800_000_000, "0.15"), (2, 1_200_000_000, "0.25"), (1, 1_800_000_000, "0.5"),
    ]
)  # fmt: skip
MIDDLE = brackets(
    [
        (75, 10_000, "0.0065"), (50, 100_000, "0.01"), (25, 500_000, "0.02"), (20, 1_000_000, "0.025"),
        (10, 5_000_000, "0.05"), (5, 10_000_000, "0.1"), (4, 12_500_000, "0.125"), (2, 25_000_000, "0.25"),
        (1, 50_000_000, "0.5"),
    ]
)  # fmt: skip
MINOR = brackets(
    [
        (50, 5_000, "0.015"), (25, 30_000, "0.02"), (20, 60_000, "0.025"), (10, 300_000, "0.05"), (5, 600_000, "0.1"),
        (4, 750_000, "0.125"), (2, 1_500_000, "0.25"), (1, 3_000_000, "0.5"),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRules:
    """A perpetual contract. Prices, quantities and ratios are integers of 1e-8."""

    symbol: str
    base: str
    quote: str
    price_precision: int
    quantity_precision: int
    tick: int
    step: int
    min_price: int
    max_price: int
    max_quantity: int
    market_max_quantity: int
    min_notional: int
    percent_up: int
    percent_down: int
    brackets: tuple[Bracket, ...]
    maker_rate: str = "0.0002"
    taker_rate: str = "0.0005"
    liquidation_fee: int
    market_take_bound: int
    max_orders: int = 200
    max_algo_orders: int = 100
    first_price: int
    volatility: float
    """Standard deviation of the log price over a day."""
    onboard_ms: int = 1_569_398_400_000

    @property
    def margin_asset(self) -> str:
        return self.quote

    def bracket(self, notional: int) -> Bracket:
        """Return the bracket of a notional (1e-8, positive)."""
        for row in self.brackets:
            if notional <= row.cap * UNIT:
                return row
        return self.brackets[-1]

    def max_notional(self, leverage: int) -> int:
        """Return the largest position notional (whole units) at that leverage."""
        return max((row.cap for row in self.brackets if row.leverage >= leverage), default=0)


def rules(
    symbol: str,
    first_price: str,
    *,
    tick: str,
    step: str,
    tiers: tuple[Bracket, ...] = MIDDLE,
    min_notional: str = "5",
    volatility: float = 0.04,
    price_precision: int | None = None,
    max_quantity: str = "1000000",
    liquidation_fee: str = "0.0125",
    maker_rate: str | None = None,
    taker_rate: str | None = None,
) -> SymbolRules:
    """Return the rules of one perpetual; quote asset from the name, USDC contracts without maker fee."""
    quote = next(asset for asset in ("USDT", "USDC") if symbol.endswith(asset))
    usdc = quote == "USDC"
    ticks, price = parse(tick), parse(first_price)
    return SymbolRules(
        symbol=symbol, base=symbol.removesuffix(quote), quote=quote,
        price_precision=_decimals(tick) if price_precision is None else price_precision,
        quantity_precision=_decimals(step), tick=ticks, step=parse(step), min_price=ticks,
        max_price=price * 1000 // ticks * ticks, max_quantity=parse(max_quantity),
        market_max_quantity=parse(max_quantity) // 8 // parse(step) * parse(step), min_notional=parse(min_notional),
        percent_up=parse("1.05"), percent_down=parse("0.95"), brackets=tiers,
        maker_rate=maker_rate or ("0" if usdc else "0.0002"), taker_rate=taker_rate or ("0.0004" if usdc else "0.0005"),
        liquidation_fee=parse(liquidation_fee), market_take_bound=parse("0.05"), first_price=price,
        volatility=volatility,
    )  # fmt: skip


def _decimals(step: str) -> int:
    return len(step.partition(".")[2].rstrip("0"))


def catalogue() -> tuple[SymbolRules, ...]:
    """Return the contracts that a venue lists unless told otherwise."""
    major, minor = MAJOR, MINOR
    return (
        rules("BTCUSDT", "76888.1", tick="0.10", step="0.001", tiers=major, min_notional="100", volatility=0.025,
              price_precision=2, max_quantity="1000"),
        rules("ETHUSDT", "2317.3", tick="0.01", step="0.001", tiers=major, min_notional="20", volatility=0.035,
              max_quantity="10000"),
        rules("BNBUSDT", "642.15", tick="0.010", step="0.01", price_precision=3, volatility=0.03,
              max_quantity="100000"),
        rules("SOLUSDT", "148.62", tick="0.0100", step="0.01", price_precision=4, volatility=0.045),
        rules("XRPUSDT", "2.1834", tick="0.0001", step="0.1", max_quantity="10000000"),
        rules("DOGEUSDT", "0.18231", tick="0.000010", step="1", price_precision=6, volatility=0.05,
              max_quantity="50000000"),
        rules("ADAUSDT", "0.6412", tick="0.00010", step="1", price_precision=5, max_quantity="10000000"),
        rules("AVAXUSDT", "21.364", tick="0.0010", step="0.1", price_precision=4),
        rules("LINKUSDT", "14.215", tick="0.001", step="0.01", min_notional="20"),
        rules("DOTUSDT", "4.127", tick="0.001", step="0.1"),
        rules("LTCUSDT", "88.27", tick="0.01", step="0.001", min_notional="20", max_quantity="100000"),
        rules("BCHUSDT", "403.52", tick="0.01", step="0.001", min_notional="20", max_quantity="100000"),
        rules("TRXUSDT", "0.27143", tick="0.00001", step="1", volatility=0.02, max_quantity="50000000"),
        rules("UNIUSDT", "6.132", tick="0.0010", step="0.1", price_precision=4),
        rules("AAVEUSDT", "172.44", tick="0.010", step="0.1", price_precision=3, volatility=0.05),
        rules("SUIUSDT", "2.6318", tick="0.000100", step="0.1", price_precision=6, volatility=0.055),
        rules("APTUSDT", "4.8712", tick="0.00010", step="0.1", price_precision=5, tiers=minor, volatility=0.05),
        rules("ARBUSDT", "0.3894", tick="0.000100", step="0.1", price_precision=6, tiers=minor, volatility=0.055),
        rules("OPUSDT", "0.7215", tick="0.0001000", step="0.1", price_precision=7, tiers=minor, volatility=0.055),
        rules("NEARUSDT", "2.518", tick="0.0010", step="1", price_precision=4, tiers=minor, volatility=0.05),
        rules("FILUSDT", "2.613", tick="0.001", step="0.1", tiers=minor, volatility=0.05),
        rules("SANDUSDT", "0.26312", tick="0.00001", step="1", tiers=minor, volatility=0.055),
        rules("APEUSDT", "0.6124", tick="0.0001", step="1", tiers=minor, volatility=0.06),
        rules("1000PEPEUSDT", "0.0083245", tick="0.0000001", step="1", tiers=minor, volatility=0.07,
              max_quantity="100000000"),
        rules("BTCUSDC", "76891.4", tick="0.1", step="0.001", tiers=major, min_notional="100", volatility=0.025,
              price_precision=2, max_quantity="1000"),
        rules("ETHUSDC", "2317.45", tick="0.01", step="0.001", tiers=major, min_notional="20", volatility=0.035,
              max_quantity="10000"),
        rules("SOLUSDC", "148.65", tick="0.0100", step="0.01", price_precision=4, volatility=0.045),
    )  # fmt: skip


ASSETS = ("USDT", "USDC", "BNB", "BTC", "ETH", "FDUSD", "BNFCR", "BFUSD")
"""What a futures wallet may hold."""
