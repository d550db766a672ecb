"""Instruments: the value of a contract, and the asset that a symbol's name says it settles in."""

from __future__ import annotations

from decimal import Decimal, DivisionByZero

import pytest

from account_monitor.ledger.instruments import ContractType, Instrument, linear_instrument

D = Decimal

INVERSE = Instrument("BTCUSD_PERP", "BTC", "BTC", ContractType.INVERSE, D(100))


def test_a_linear_contract_is_quantity_times_price_times_multiplier() -> None:
    assert Instrument("BTCUSDT", "USDT").value(D(-2), D(100)) == -200
    assert Instrument("X", "USDT", multiplier=D("0.1")).value(D(3), D(100)) == 30


def test_an_inverse_contract_is_worth_more_to_a_long_at_a_higher_price() -> None:
    assert INVERSE.value(D(5), D(10_000)) == D("-0.05")
    assert INVERSE.value(D(5), D(20_000)) == D("-0.025")
    assert INVERSE.value(D(-5), D(10_000)) == D("0.05")


def test_the_value_of_an_inverse_contract_is_rounded_at_thirty_places() -> None:
    assert INVERSE.value(D(-1), D(300)) == D("0." + "3" * 30)


def test_an_inverse_contract_has_no_value_at_price_zero() -> None:
    with pytest.raises(DivisionByZero):
        INVERSE.value(D(1), D(0))


@pytest.mark.parametrize(
    "instrument",
    [
        Instrument("BTCUSDT", "USDT"),
        Instrument("X", "USDT", multiplier=D("0.1")),
        INVERSE,
        Instrument("S", "USDT", contract_type=ContractType.SPOT),
    ],
)
def test_the_mean_price_of_one_purchase_is_its_price(instrument: Instrument) -> None:
    for quantity in (D(4), D(-4)):
        assert instrument.price_of(quantity, instrument.value(quantity, D(8_000))) == 8_000


@pytest.mark.parametrize(
    ("symbol", "settlement", "base"),
    [
        ("BTCUSDT", "USDT", "BTC"), ("BTCUSDC", "USDC", "BTC"), ("BTCFDUSD", "FDUSD", "BTC"),
        ("BTCBUSD", "BUSD", "BTC"),
        ("BTCTUSD", "TUSD", "BTC"), ("BTCUSD", "USD", "BTC"), ("ETHBTC", "BTC", "ETH"), ("BNBETH", "ETH", "BNB"),
        ("SOLBNB", "BNB", "SOL"), ("BTCEUR", "EUR", "BTC"), ("1000SHIBUSDT", "USDT", "1000SHIB"),
        ("BTCUSDT_261225", "USDT", "BTC"), ("BTC-USDT", "USDT", "BTC"), ("BTC_USDT", "USDT", "BTC"),
        ("BTC-USDT-SWAP", "USDT", "BTC"), ("BTCUSD_PERP", "USD", "BTC"), ("BTCUSDT-20261225", "USDT", "BTC"),
        ("btcusdt", "USDT", "BTC"), ("PERPUSDT", "USDT", "PERP"), ("龙虾USDT", "USDT", "龙虾"),
        ("XYZ", "XYZ.quote", None), ("USDT", "USDT.quote", None), ("BTC", "BTC.quote", None),
        ("PERP", "PERP.quote", None),
        ("龙虾", "龙虾.quote", None), ("-USDT", "USDT", None), ("_", "_.quote", None),
    ],
)  # fmt: skip
def test_a_symbol_settles_in_its_quote_suffix(symbol: str, settlement: str, base: str | None) -> None:
    instrument = linear_instrument(symbol)

    assert (instrument.symbol, instrument.settlement_asset, instrument.base_asset) == (symbol, settlement, base)
    assert instrument.contract_type is ContractType.LINEAR
    assert instrument.multiplier == 1
