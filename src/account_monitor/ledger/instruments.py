"""Instruments: what one contract is worth, and in which asset it settles."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from account_monitor.ledger.money import ONE, divide


class ContractType(Enum):
    """How quantity and price make a value.

    SPOT values like LINEAR; that its fills exchange two wallets is the business of a spot feed.
    """

    LINEAR = "linear"
    INVERSE = "inverse"
    SPOT = "spot"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A tradable contract.

    `multiplier` is units of the base asset (linear, spot) or of the quote asset (inverse) per contract.
    """

    symbol: str
    settlement_asset: str
    base_asset: str | None = None
    contract_type: ContractType = ContractType.LINEAR
    multiplier: Decimal = ONE
    is_plain: bool = field(init=False)
    """Whether the value is simply quantity × price."""

    def __post_init__(self) -> None:
        is_plain = self.contract_type is not ContractType.INVERSE and self.multiplier == ONE
        object.__setattr__(self, "is_plain", is_plain)

    def value(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the signed value of `quantity` (contracts, positive long) at `price`, in the settlement asset.

        Inverse contracts: −quantity × multiplier / price, rounded half-even to 30 places, so that a higher price is
        a higher value for a long there too.
        Raises: decimal.DivisionByZero for an inverse contract at price zero.
        Source: the venue's contract specification, "Inverse contracts".
        """
        if self.is_plain:
            return quantity * price
        if self.contract_type is ContractType.INVERSE:
            return divide(-quantity * self.multiplier, price)
        return quantity * price * self.multiplier

    def price_of(self, quantity: Decimal, cost: Decimal) -> Decimal:
        """Return the mean price at which `quantity` (not zero) has `cost`, rounded half-even to 30 places."""
        if self.contract_type is ContractType.INVERSE:
            return divide(-quantity * self.multiplier, cost)
        return divide(cost, quantity if self.is_plain else quantity * self.multiplier)


# Assets that symbols commonly end in, longest first where one ends in another.
_QUOTE_ASSETS = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "DAI", "USD",
    "EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "BTC", "ETH", "BNB",
)  # fmt: skip
_CONTRACT_SUFFIX = re.compile(r"[-_]?(?:PERP|SWAP)$|[-_]\d{6,8}$")


def linear_instrument(symbol: str) -> Instrument:
    """Return the linear contract of a symbol about which only its name is known, settled in its quote suffix.

    `BTCUSDT`, `BTC-USDT`, `ETHBTC` and `BTCUSDT_261225` say their quote. Where the name says none, the settlement
    asset is `<symbol>.quote`, which nobody prices: its amounts are kept, and valued as unknown.
    """
    name = _CONTRACT_SUFFIX.sub("", symbol.upper())
    for quote in _QUOTE_ASSETS:
        if name.endswith(quote) and len(name) > len(quote):
            base = name[: -len(quote)].rstrip("-_")
            return Instrument(symbol, quote, base or None)
    return Instrument(symbol, f"{symbol}.quote")
