"""Answers of Binance's REST interface: what they say, and that half of one is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.answers import (
    AccountConfig,
    AccountStatement,
    AssetStatement,
    Contract,
    ExchangeInfo,
    IncomePage,
    KeyPermissions,
    MarginTotals,
    PositionRisk,
    PositionStatement,
    SymbolConfig,
    account_config_of,
    account_of,
    asset_rates_of,
    brackets_of,
    exchange_info_of,
    fills_of,
    income_of,
    key_permissions_of,
    listen_key_of,
    position_risks_of,
    server_time_of,
    symbol_configs_of,
)
from account_monitor.feeds.binance.messages import OrderTrade, user_event
from account_monitor.ledger.events import Fill
from account_monitor.ledger.flows import Flow
from account_monitor.ledger.margin import AssetRate, Bracket

D = Decimal

TRADES: list[dict[str, Any]] = [
    {
        "symbol": "BTCUSDT", "id": 5612520599, "orderId": 482277363667, "pair": "BTCUSDT", "side": "SELL",
        "price": "90853.20", "qty": "0.002", "realizedPnl": "-1.77340000", "quoteQty": "181.70640",
        "commission": "0.09085320", "commissionAsset": "USDT", "time": 1731955175166, "positionSide": "BOTH",
        "baseQty": "0", "marginAsset": "USDT", "buyer": False, "maker": False,
    },
]  # fmt: skip

INCOME: list[dict[str, Any]] = [
    {
        "symbol": "", "incomeType": "TRANSFER", "income": "-0.37500000", "asset": "USDT", "info": "TRANSFER",
        "time": 1570608000000, "tranId": 9689322392, "tradeId": "",
    },
    {
        "symbol": "BTCUSDT", "incomeType": "COMMISSION", "income": "-0.01000000", "asset": "USDT", "info": "COMMISSION",
        "time": 1570636800000, "tranId": 9689322393, "tradeId": "2059192",
    },
    {
        "symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "0.00500000", "asset": "USDT",
        "info": "FUNDING_FEE", "time": 1570636800001, "tranId": "9689322394", "tradeId": "",
    },
    {
        "symbol": "BTCUSDT", "incomeType": "INSURANCE_CLEAR", "income": "-3.049267", "asset": "USDT",
        "info": "INSURANCE_CLEAR", "time": 1570636800002, "tranId": 9689322395,
    },
    {
        "symbol": "BTCUSDT", "incomeType": "REALIZED_PNL", "income": "1", "asset": "USDT", "info": "2059193",
        "time": 1570636800003, "tranId": 9689322396, "tradeId": 2059193,
    },
]  # fmt: skip

ACCOUNT: dict[str, Any] = {
    "totalInitialMargin": "2.48601168", "totalMaintMargin": "0.08004280", "totalWalletBalance": "103.12345678",
    "totalUnrealizedProfit": "0.76427700", "totalMarginBalance": "103.88773378",
    "totalPositionInitialMargin": "2.48601168", "totalOpenOrderInitialMargin": "0.00000000",
    "totalCrossWalletBalance": "103.12345678", "totalCrossUnPnl": "0.76427700", "availableBalance": "101.40172210",
    "maxWithdrawAmount": "100.63744510",
    "assets": [
        {
            "asset": "USDT", "walletBalance": "103.12345678", "unrealizedProfit": "0.76427700",
            "marginBalance": "103.88773378", "maintMargin": "0.08004280", "initialMargin": "2.48601168",
            "positionInitialMargin": "2.48601168", "openOrderInitialMargin": "0", "crossWalletBalance": "103.12345678",
            "crossUnPnl": "0.76427700", "availableBalance": "101.40172210", "maxWithdrawAmount": "100.63744510",
            "updateTime": 1625474304765,
        },
    ],
    "positions": [
        {
            "symbol": "ADAUSDT", "positionSide": "BOTH", "positionAmt": "30", "unrealizedProfit": "0.76427700",
            "isolatedMargin": "0", "notional": "12.31427700", "isolatedWallet": "0", "initialMargin": "2.48601168",
            "maintMargin": "0.08004280", "updateTime": 1720736417660,
        },
    ],
}  # fmt: skip

RISKS: list[dict[str, Any]] = [
    {
        "symbol": "ADAUSDT", "positionSide": "BOTH", "positionAmt": "30", "entryPrice": "0.385",
        "breakEvenPrice": "0.385077", "markPrice": "0.41047590", "unRealizedProfit": "0.76427700",
        "liquidationPrice": "0", "isolatedMargin": "0", "notional": "12.31427700", "marginAsset": "USDT",
        "isolatedWallet": "0", "initialMargin": "0.61571385", "maintMargin": "0.08004280",
        "positionInitialMargin": "0.61571385", "openOrderInitialMargin": "0", "adl": 2, "bidNotional": "0",
        "askNotional": "0", "updateTime": 1720736417660,
    },
]  # fmt: skip

EXCHANGE: dict[str, Any] = {
    "exchangeFilters": [],
    "rateLimits": [
        {"interval": "MINUTE", "intervalNum": 1, "limit": 2400, "rateLimitType": "REQUEST_WEIGHT"},
        {"interval": "MINUTE", "intervalNum": 1, "limit": 1200, "rateLimitType": "ORDERS"},
    ],
    "serverTime": 1565613908500,
    "symbols": [
        {
            "symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
            "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT", "filters": [],
        },
    ],
}  # fmt: skip

CONFIG = {
    "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "dualSidePosition": True, "updateTime": 0,
    "multiAssetsMargin": False, "tradeGroupId": -1,
}  # fmt: skip

PERMISSIONS = {
    "ipRestrict": True, "createTime": 1623840271000, "enableReading": True, "enableWithdrawals": False,
    "enableInternalTransfer": False, "enableMargin": False, "enableFutures": True, "permitsUniversalTransfer": True,
    "enableVanillaOptions": False, "enableSpotAndMarginTrading": False,
}  # fmt: skip

BRACKETS = (
    b'[{"symbol":"ETHUSDT","notionalCoef":1.50,"brackets":['
    b'{"bracket":1,"initialLeverage":75,"notionalCap":10000,"notionalFloor":0,"maintMarginRatio":0.0065,"cum":0.0},'
    b'{"bracket":2,"initialLeverage":50,"notionalCap":9223372036854775807,"notionalFloor":10000,'
    b'"maintMarginRatio":1e-2,"cum":35.0}]}]'
)

CONFIGS: list[dict[str, Any]] = [
    {"symbol": "BTCUSDT", "marginType": "CROSSED", "isAutoAddMargin": False, "leverage": 21, "maxNotionalValue": "1"},
    {"symbol": "ETHUSDT", "marginType": "ISOLATED", "isAutoAddMargin": False, "leverage": 5, "maxNotionalValue": "1"},
]

INDEX: dict[str, Any] = {
    "symbol": "ADAUSD", "time": 1635740268004, "index": "1.92957370", "bidBuffer": "0.10000000",
    "askBuffer": "0.10000000", "bidRate": "1.73661633", "askRate": "2.12253107", "autoExchangeBidBuffer": "0.05",
    "autoExchangeAskBuffer": "0.05", "autoExchangeBidRate": "1.83309501", "autoExchangeAskRate": "2.02605238",
}  # fmt: skip

READERS: list[tuple[Callable[[bytes], object], Any]] = [
    (fills_of, TRADES),
    (income_of, INCOME),
    (account_of, ACCOUNT),
    (position_risks_of, RISKS),
    (exchange_info_of, EXCHANGE),
    (account_config_of, CONFIG),
    (key_permissions_of, PERMISSIONS),
    (server_time_of, {"serverTime": 1499827319559}),
    (brackets_of, json.loads(BRACKETS)),
    (symbol_configs_of, CONFIGS),
    (asset_rates_of, [INDEX]),
    (listen_key_of, {"listenKey": "pqia91ma19a5s61cv6a81va65sdf19v8"}),
]


def written(value: object) -> bytes:
    return json.dumps(value).encode()


def reason(read: Callable[[bytes], object], value: object) -> str:
    """Return why an answer is refused."""
    with pytest.raises(MalformedEvent) as refused:
        read(value if isinstance(value, bytes) else written(value))
    return refused.value.reason


def test_a_trade_is_the_fill_that_the_stream_tells_of() -> None:
    streamed = user_event(
        b'{"e":"ORDER_TRADE_UPDATE","T":1731955175166,"E":1731955175166,"o":{"s":"BTCUSDT","c":"x","S":"SELL",'
        b'"o":"MARKET","x":"TRADE","X":"FILLED","i":482277363667,"l":"0.002","L":"90853.20","n":"0.0908532","N":"USDT",'
        b'"T":1731955175166,"t":5612520599,"m":false,"ps":"BOTH","rp":"-1.7734"}}'
    )
    assert isinstance(streamed, OrderTrade)

    assert fills_of(written(TRADES)) == (
        Fill(
            symbol="BTCUSDT", trade_id="5612520599", side="SELL", quantity=D("0.002"), price=D("90853.2"),
            at_ms=1731955175166, position_side="BOTH", fee=D("0.0908532"), fee_asset="USDT",
            realized_pnl=D("-1.7734"), order_id="482277363667", maker=False,
        ),
    ) == (streamed.fill,)  # fmt: skip


def test_an_empty_page_has_no_fills() -> None:
    assert fills_of(b"[]") == ()


def test_one_wrong_row_refuses_the_page_and_is_named() -> None:
    rows = [*TRADES, TRADES[0] | {"qty": 0.002}]

    assert reason(fills_of, rows) == "[1].qty was 0.002, expected text"
    assert reason(fills_of, [TRADES[0] | {"qty": "0"}]) == 'qty was "0", expected a positive decimal'
    assert reason(fills_of, [TRADES[0] | {"id": 0}]) == "id was 0, expected the id of a trade"
    assert reason(fills_of, {"code": 200}) == "the message was an object, expected array"


def test_income_is_flows_and_hints_of_trades() -> None:
    assert income_of(written(INCOME)) == IncomePage(
        rows=5,
        flows=(
            Flow("transfer", "TRANSFER", "USDT", D("-0.375"), 1570608000000, None, "9689322392"),
            Flow("funding", "FUNDING_FEE", "USDT", D("0.005"), 1570636800001, "BTCUSDT", "9689322394"),
            Flow("income", "INSURANCE_CLEAR", "USDT", D("-3.049267"), 1570636800002, "BTCUSDT", "9689322395"),
        ),
        traded=frozenset({"BTCUSDT"}),
    )
    assert income_of(b"[]") == IncomePage(0, (), frozenset())


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("TRANSFER", "transfer"),
        ("INTERNAL_TRANSFER", "transfer"),
        ("CROSS_COLLATERAL_TRANSFER", "transfer"),
        ("STRATEGY_UMFUTURES_TRANSFER", "transfer"),
        ("COIN_SWAP_DEPOSIT", "transfer"),
        ("COIN_SWAP_WITHDRAW", "transfer"),
        ("FUNDING_FEE", "funding"),
        ("WELCOME_BONUS", "income"),
        ("REFERRAL_KICKBACK", "income"),
        ("API_REBATE", "income"),
        ("AUTO_EXCHANGE", "income"),
        ("DELIVERED_SETTELMENT", "income"),
        ("BFUSD_REWARD", "income"),
        ("SOMETHING_NEW", "income"),
    ],
)
def test_the_type_of_an_income_says_what_kind_of_money_it_is(word: str, kind: str) -> None:
    page = income_of(written([INCOME[0] | {"incomeType": word}]))

    assert [(flow.kind, flow.reason) for flow in page.flows] == [(kind, word)]


def test_an_account_is_stated_whole() -> None:
    assert account_of(written(ACCOUNT)) == AccountStatement(
        assets=(AssetStatement("USDT", wallet=D("103.12345678"), available=D("101.4017221"), order_margin=D(0)),),
        positions=(PositionStatement("ADAUSDT", "BOTH", quantity=D(30), isolated_wallet=D(0)),),
        totals=MarginTotals(D("0.0800428"), margin_balance=D("103.88773378"), available=D("101.4017221")),
    )


def test_what_nobody_needs_may_be_missing() -> None:
    needed = {"assets": ("asset", "walletBalance", "availableBalance"),
              "positions": ("symbol", "positionSide", "positionAmt")}  # fmt: skip
    bare = {name: [{key: row[key] for key in keys} for row in ACCOUNT[name]] for name, keys in needed.items()}

    assert account_of(written(bare)) == AccountStatement(
        assets=(AssetStatement("USDT", wallet=D("103.12345678"), available=D("101.4017221")),),
        positions=(PositionStatement("ADAUSDT", "BOTH", quantity=D(30)),),
    )


def test_a_statement_that_names_a_subject_twice_is_refused() -> None:
    twice = ACCOUNT | {"assets": ACCOUNT["assets"] * 2}
    legs = [ACCOUNT["positions"][0] | {"positionSide": side} for side in ("LONG", "SHORT")]

    assert reason(account_of, twice) == "assets named USDT twice, expected once"
    assert reason(account_of, ACCOUNT | {"positions": [*legs, legs[0]]}) == (
        "positions named ADAUSDT LONG twice, expected once"
    )
    assert len(account_of(written(ACCOUNT | {"positions": legs})).positions) == 2
    assert reason(position_risks_of, RISKS * 2) == "the answer named ADAUSDT BOTH twice, expected once"


def test_half_a_statement_is_none() -> None:
    for key in ("assets", "positions"):
        assert reason(account_of, {k: v for k, v in ACCOUNT.items() if k != key}) == (
            f"{key} is missing, expected a value"
        )
    assert reason(account_of, ACCOUNT | {"assets": None}) == "assets was null, expected array"
    assert reason(account_of, ACCOUNT | {"positions": [{}]}) == "positions[0].symbol is missing, expected a value"


def test_the_risk_of_a_position() -> None:
    assert position_risks_of(written(RISKS)) == (
        PositionRisk(
            "ADAUSDT", "BOTH", quantity=D(30), entry_price=D("0.385"), mark_price=D("0.4104759"),
            unrealized=D("0.764277"),
        ),
    )  # fmt: skip


def test_the_exchange_says_what_it_lists_and_how_much_may_be_asked() -> None:
    assert exchange_info_of(written(EXCHANGE)) == ExchangeInfo(
        2400, {"BTCUSDT": Contract("BTCUSDT", "TRADING", "PERPETUAL", "BTC", "USDT", "USDT")}
    )
    assert exchange_info_of(b'{"symbols":[]}') == ExchangeInfo(None, {})


def test_settings_and_permissions() -> None:
    assert account_config_of(written(CONFIG)) == AccountConfig(
        can_trade=True, can_withdraw=True, is_hedge_mode=True, is_multi_assets=False
    )
    assert key_permissions_of(written(PERMISSIONS)) == KeyPermissions(
        is_bound_to_addresses=True, may_read=True, may_withdraw=False, may_transfer=True, may_trade_futures=True,
        may_trade_spot=False,
    )  # fmt: skip
    assert server_time_of(b'{"serverTime":1499827319559}') == 1499827319559


def test_brackets_never_pass_through_a_float() -> None:
    assert brackets_of(BRACKETS) == {
        "ETHUSDT": (
            Bracket(D(10_000), D("0.0065"), D(0)),
            Bracket(D(9_223_372_036_854_775_807), D("0.01"), D(35)),
        )
    }
    assert brackets_of(BRACKETS.replace(b"0.0065", b"0.00000000000000000065"))["ETHUSDT"][0].ratio == D("65E-20")


@pytest.mark.parametrize(
    ("said", "instead", "reason"),
    [
        (b"0.0065", b'"NaN"', 'maintMarginRatio of ETHUSDT was "NaN", expected a decimal'),
        (b"0.0065", b"0", "maintMarginRatio of ETHUSDT was 0, expected above 0, at most 1, not below 0"),
        (b"0.0065", b"1.5", 'maintMarginRatio of ETHUSDT was "1.5", expected above 0, at most 1'),
        (b"0.0065", b"0.02", 'maintMarginRatio of ETHUSDT was "1e-2", expected above 0, at most 1, not below 0.02'),
        (b"0.0065", b"true", "[0].brackets[0].maintMarginRatio was true, expected"),
        (b':10000,"notionalFloor', b':-1,"notionalFloor', "notionalCap of ETHUSDT was -1, expected more than the 0"),
        (b"9223372036854775807", b"10000", "notionalCap of ETHUSDT was 10000, expected more than the 10000 of the"),
        (b"35.0", b"-35.0", 'cum of ETHUSDT was "-35.0", expected at least the 0'),
        (b"1.50", b"0", "notionalCoef of ETHUSDT was 0, expected a positive decimal"),
        (b"1.50", b"1e999", 'notionalCoef of ETHUSDT was "1e999", expected a decimal'),
        (b"ETHUSDT", b"ETH USDT", 'symbol was "ETH USDT", expected'),
    ],
)
def test_a_bracket_that_cannot_be_refuses_the_answer(said: bytes, instead: bytes, reason: str) -> None:
    with pytest.raises(MalformedEvent) as refused:
        brackets_of(BRACKETS.replace(said, instead))

    assert refused.value.reason.startswith(reason)


def test_a_bracket_whose_amount_makes_a_step_is_refused() -> None:
    everybodys = json.loads(BRACKETS)
    del everybodys[0]["notionalCoef"]
    assert brackets_of(written(everybodys))["ETHUSDT"][1].cum == D(35)
    everybodys[0]["brackets"][1]["cum"] = 100_000

    assert reason(brackets_of, everybodys) == ("cum of ETHUSDT was 100000, expected about 35, without a step at 10000")


def test_what_cannot_be_read_of_one_symbol_takes_nothing_from_the_others() -> None:
    rows = [*json.loads(BRACKETS), {"symbol": "DEADUSDT", "brackets": []}]
    assert list(brackets_of(written(rows))) == ["ETHUSDT"]
    assert list(symbol_configs_of(written([CONFIGS[0], CONFIGS[1] | {"leverage": 0}]))) == ["BTCUSDT"]


def test_a_symbol_has_brackets_and_only_once() -> None:
    assert reason(brackets_of, [{"symbol": "ETHUSDT", "brackets": []}]) == (
        "brackets of ETHUSDT were an empty list, expected at least one"
    )
    assert reason(brackets_of, json.loads(BRACKETS) * 2) == "the answer named ETHUSDT twice, expected once"


def test_how_an_account_is_set_up_for_each_symbol() -> None:
    assert symbol_configs_of(written(CONFIGS)) == {
        "BTCUSDT": SymbolConfig(21, is_isolated=False),
        "ETHUSDT": SymbolConfig(5, is_isolated=True),
    }
    assert reason(symbol_configs_of, [CONFIGS[0] | {"marginType": "cross"}]) == (
        'marginType of BTCUSDT was "cross", expected CROSSED or ISOLATED'
    )
    assert reason(symbol_configs_of, [CONFIGS[0] | {"leverage": 0}]).startswith("leverage of BTCUSDT was 0, expected")
    assert reason(symbol_configs_of, CONFIGS + CONFIGS) == "the answer named BTCUSDT twice, expected once"


def test_what_assets_count_for_in_multi_assets_mode() -> None:
    assert asset_rates_of(written([INDEX])) == {"ADA": AssetRate(D("1.9295737"), D("1.73661633"), D("2.12253107"))}
    assert reason(asset_rates_of, [INDEX | {"bidRate": "2"}]) == (
        'bidRate of ADAUSD was "2", expected at most the index of 1.92957370'
    )
    assert reason(asset_rates_of, [INDEX | {"askRate": "1"}]).startswith('askRate of ADAUSD was "1", expected at least')
    assert reason(asset_rates_of, [INDEX | {"symbol": "USD"}]) == 'symbol was "USD", expected an asset before USD'


@pytest.mark.parametrize("key", ["", "a b", "a/../b?x=1", "k" * 257, 5, "ключ"])
def test_a_listen_key_that_is_none_is_refused_without_being_told(key: object) -> None:
    said = reason(listen_key_of, {"listenKey": key})

    assert said.startswith("listenKey ")
    assert not key or str(key) not in said


def test_a_listen_key() -> None:
    assert listen_key_of(b'{"listenKey":"pqia91ma19a5s61c"}') == "pqia91ma19a5s61c"


@pytest.mark.parametrize(("read", "value"), READERS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_answer_that_is_cut_is_refused(read: Callable[[bytes], object], value: object) -> None:
    body = written(value)

    for end in range(len(body)):
        with pytest.raises(MalformedEvent):
            read(body[:end])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["NaN", "sNaN", "-0", "1e-30", "1e999999", "9" * 40, "1_0", "", "0", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.data())
def test_answers_with_something_else_in_them_are_read_or_refused(data: st.DataObject) -> None:
    read, value = data.draw(st.sampled_from(READERS))
    place: Any = json.loads(written(value))
    answer = place
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner and data.draw(st.booleans())):
            break
        place = inner
    if data.draw(st.booleans()):
        place[key] = data.draw(values)
    else:
        del place[key]

    said = ""
    try:
        read(written(answer))
    except MalformedEvent as refused:
        said = refused.reason
    assert said.isprintable()
    assert len(said) < 400


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read, _ in READERS:
        try:
            read(body)
        except MalformedEvent:
            pass
