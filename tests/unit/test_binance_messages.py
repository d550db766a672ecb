"""Messages of Binance's streams: what they say, and with which words they are refused."""

from __future__ import annotations

import json
import timeit
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.messages import (
    AccountUpdate,
    AlgoUpdate,
    BalanceUpdate,
    ConfigUpdate,
    ListenKeyExpired,
    MarginCall,
    OrderTrade,
    PositionUpdate,
    Reply,
    TradeLite,
    Unknown,
    flows,
    mark_prices,
    user_event,
)
from account_monitor.ledger.events import Fill, MarkPrice
from account_monitor.ledger.flows import Flow

D = Decimal

TRADE = (
    b'{"e":"ORDER_TRADE_UPDATE","T":1731955175166,"E":1731955175167,"o":{"s":"BTCUSDT","c":"android_WrDCjq","S":"SELL",'
    b'"o":"MARKET","f":"GTC","q":"0.002","p":"0","ap":"90853.20000","sp":"0","x":"TRADE","X":"FILLED","i":482277363667,'
    b'"l":"0.002","z":"0.002","L":"90853.20","n":"0.09085320","N":"USDT","T":1731955175166,"t":5612520599,"b":"0",'
    b'"a":"0","m":false,"R":true,"wt":"CONTRACT_PRICE","ot":"MARKET","ps":"BOTH","cp":false,"rp":"-1.77340000",'
    b'"pP":false,"si":0,"ss":0,"V":"NONE","pm":"NONE","gtd":0}}'
)
UPDATE = (
    b'{"e":"ACCOUNT_UPDATE","T":1776789210247,"E":1776789210248,"a":{"B":[{"a":"USDC","wb":"37.87866827",'
    b'"cw":"37.87866827","bc":"0"}],"P":[{"s":"ETHUSDC","pa":"0.02","ep":"2317.3","cr":"-0.28351998","up":"0.00586175",'
    b'"mt":"cross","iw":"0","ps":"BOTH","ma":"USDC","bep":"2317.3"}],"m":"ORDER"}}'
)
FUNDING = (
    b'{"e":"ACCOUNT_UPDATE","T":1776787203246,"E":1776787203246,"a":{"B":[{"a":"USDC","wb":"38.17806885",'
    b'"cw":"38.17806885","bc":"-0.00085067"}],"P":[],"m":"FUNDING_FEE"}}'
)
ISOLATED_FUNDING = (
    b'{"e":"ACCOUNT_UPDATE","T":1786032003246,"E":1786032003246,"a":{"B":[{"a":"USDT","wb":"999.98","cw":"900",'
    b'"bc":"-0.02"}],"P":[{"s":"BTCUSDT","pa":"0.01","ep":"60000","cr":"0","up":"1.5","mt":"isolated","iw":"99.98",'
    b'"ps":"BOTH","ma":"USDT","bep":"60030"}],"m":"FUNDING_FEE"}}'
)
MARK = (
    b'{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000","ap":"11794.15000000",'
    b'"P":"11784.25641265","i":"11784.62659091","r":"0.00038167","T":1562306400000,"st":1}'
)
EVERY_KIND = (TRADE, UPDATE, FUNDING, ISOLATED_FUNDING, MARK)

RECORDED = [
    json.dumps(json.loads(line)["message"]).encode()
    for line in (Path(__file__).parents[1] / "golden/usdm_user_stream.jsonl").read_text().splitlines()
]


def trade(**changes: Any) -> bytes:
    """Return the trade with fields of its order changed; None takes a field away."""
    message = json.loads(TRADE)
    message["o"] = {k: v for k, v in (message["o"] | changes).items() if v is not None}
    return json.dumps(message).encode()


def update(reason: str, change: str, **changes: Any) -> AccountUpdate:
    """Return an update of one wallet."""
    message = json.loads(FUNDING)
    message["a"] |= {"m": reason, **changes}
    message["a"]["B"][0]["bc"] = change
    event = user_event(json.dumps(message).encode())
    assert isinstance(event, AccountUpdate)
    return event


def order(payload: bytes) -> OrderTrade:
    event = user_event(payload)
    assert isinstance(event, OrderTrade)
    return event


def reason(payload: bytes) -> str:
    """Return why a message of the user stream is refused."""
    with pytest.raises(MalformedEvent) as refused:
        user_event(payload)
    return refused.value.reason


# -- orders and trades -------------------------------------------------------------------------------------------------


def test_a_trade_is_a_fill() -> None:
    assert user_event(TRADE) == OrderTrade(
        at_ms=1731955175166, event_ms=1731955175167, symbol="BTCUSDT", order_id="482277363667", execution="TRADE",
        status="FILLED", is_liquidation=False,
        fill=Fill(
            symbol="BTCUSDT", trade_id="5612520599", side="SELL", quantity=D("0.002"), price=D("90853.20"),
            at_ms=1731955175166, position_side="BOTH", fee=D("0.0908532"), fee_asset="USDT",
            realized_pnl=D("-1.7734"), order_id="482277363667", maker=False,
        ),
    )  # fmt: skip


def test_a_combined_stream_wraps_the_same_event() -> None:
    assert user_event(b'{"stream":"pqia91ma19a5s61cv6a81va65sdf19v8","data":' + TRADE + b"}") == user_event(TRADE)


@pytest.mark.parametrize("execution", ["NEW", "CANCELED", "EXPIRED", "AMENDMENT"])
def test_what_is_no_trade_has_no_fill(execution: str) -> None:
    event = order(trade(x=execution, l="0", L="0", t=0, n=None, N=None))

    assert (event.execution, event.fill) == (execution, None)


def test_a_liquidation_s_fill_without_commission_has_no_fee() -> None:
    event = order(trade(x="CALCULATED", c="autoclose-1646759180079333112", o="LIQUIDATION", n=None, N=None))

    assert event.is_liquidation
    assert event.fill is not None
    assert (event.fill.fee, event.fill.fee_asset) == (D(0), None)


@pytest.mark.parametrize("name", ["autoclose-1646759180", "adl_autoclose", "settlement_autoclose-1"])
def test_the_exchange_s_own_orders_are_known_by_their_names(name: str) -> None:
    assert order(trade(c=name)).is_liquidation


def test_a_trade_without_commission_has_an_unknown_fee() -> None:
    fill = order(trade(n=None, N=None)).fill

    assert fill is not None
    assert (fill.fee, fill.fee_asset) == (None, None)


def test_a_rebate_is_a_negative_fee() -> None:
    fill = order(trade(n="-0.00074625", N="BUSD", m=True)).fill

    assert fill is not None
    assert (fill.fee, fill.fee_asset, fill.maker) == (D("-0.00074625"), "BUSD", True)


def test_a_leg_of_hedge_mode_and_a_symbol_of_another_script() -> None:
    fill = order(trade(s="币安人生USDT", ps="SHORT")).fill

    assert fill is not None
    assert fill.key == "币安人生USDT:SHORT"


def test_an_order_id_may_have_nineteen_digits() -> None:
    assert order(trade(i=8389765519827519000)).order_id == "8389765519827519000"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"l": 0.002}, "o.l was 0.002, expected text"),
        ({"l": "-1"}, 'o.l was "-1", expected a positive decimal'),
        ({"L": "0"}, 'o.L was "0", expected a positive decimal'),
        ({"L": "NaN"}, 'o.L was "NaN", expected a decimal with at most 20 integer and 20 fractional digits'),
        ({"L": "1e999999"}, 'o.L was "1e999999", expected a decimal with at most 20 integer and 20 fractional digits'),
        ({"L": "1_000"}, 'o.L was "1_000", expected a decimal with at most 20 integer and 20 fractional digits'),
        ({"L": "١"}, 'o.L was "١", expected a decimal with at most 20 integer and 20 fractional digits'),
        ({"t": "5612520599"}, 'o.t was "5612520599", expected int'),
        ({"t": 0}, "o.t was 0, expected the id of the trade"),
        ({"t": -1}, "o.t was -1, expected int >= 0"),
        ({"i": 2**63}, f"o.i was {2**63}, expected int <= {2**63 - 1}"),
        ({"T": 0}, "o.T was 0, expected int >= 1"),
        ({"S": "HOLD"}, 'o.S was "HOLD", expected BUY or SELL'),
        ({"ps": "both"}, 'o.ps was "both", expected BOTH, LONG or SHORT'),
        ({"s": "BTC USDT"}, 'o.s was "BTC USDT", expected 1 to 40 letters, digits, _ or -'),
        ({"m": 1}, "o.m was 1, expected bool"),
        ({"rp": -1.7734}, "o.rp was -1.7734, expected text | null"),
        ({"N": None}, "o.N is missing, expected the asset of the fee of 0.09085320"),
        ({"s": None}, "o.s is missing, expected a value"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_refusal_names_field_value_and_expectation(changes: dict[str, Any], said: str) -> None:
    assert reason(trade(**changes)) == said


# -- the account -------------------------------------------------------------------------------------------------------


def test_an_account_update_states_wallets_and_positions() -> None:
    assert user_event(UPDATE) == AccountUpdate(
        at_ms=1776789210247, event_ms=1776789210248, reason="ORDER", symbol=None,
        balances=(BalanceUpdate("USDC", D("37.87866827"), D("37.87866827"), D(0)),),
        positions=(
            PositionUpdate(
                "ETHUSDC", "BOTH", D("0.02"), D("2317.3"), realized=D("-0.28351998"), unrealized=D("0.00586175"),
                isolated_wallet=D(0), is_isolated=False,
            ),
        ),
    )  # fmt: skip


def test_trades_move_no_money_besides_themselves() -> None:
    event = user_event(UPDATE)

    assert isinstance(event, AccountUpdate)
    assert flows(event) == ()


def test_cross_funding_names_its_symbol_since_the_exchange_says_it() -> None:
    before, since = update("FUNDING_FEE", "-0.00085067"), update("FUNDING_FEE", "-0.00085067", S="ETHUSDC")

    assert flows(before) == (Flow("funding", "FUNDING_FEE", "USDC", D("-0.00085067"), 1776787203246, None, None),)
    assert flows(since) == (Flow("funding", "FUNDING_FEE", "USDC", D("-0.00085067"), 1776787203246, "ETHUSDC", None),)


def test_isolated_funding_is_known_by_its_position() -> None:
    event = user_event(ISOLATED_FUNDING)

    assert isinstance(event, AccountUpdate)
    assert event.positions[0].is_isolated
    assert flows(event) == (Flow("funding", "FUNDING_FEE", "USDT", D("-0.02"), 1786032003246, "BTCUSDT", None),)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("DEPOSIT", "transfer"),
        ("WITHDRAW", "transfer"),
        ("WITHDRAW_REJECT", "transfer"),
        ("ADMIN_DEPOSIT", "transfer"),
        ("ADMIN_WITHDRAW", "transfer"),
        ("MARGIN_TRANSFER", "transfer"),
        ("ASSET_TRANSFER", "transfer"),
        ("COIN_SWAP_DEPOSIT", "transfer"),
        ("COIN_SWAP_WITHDRAW", "transfer"),
        ("INSURANCE_CLEAR", "income"),
        ("ADJUSTMENT", "income"),
        ("AUTO_EXCHANGE", "income"),
        ("OPTIONS_PREMIUM_FEE", "income"),
        ("OPTIONS_SETTLE_PROFIT", "income"),
        ("SOMETHING_NEW", "income"),
    ],
)
def test_the_reason_says_what_kind_of_money_it_is(word: str, kind: str) -> None:
    assert [(flow.kind, flow.reason, flow.amount) for flow in flows(update(word, "-3.049267"))] == [
        (kind, word, D("-3.049267"))
    ]


def test_an_update_without_wallets_is_refused_unless_none_can_have_changed() -> None:
    changed = json.loads(UPDATE)
    del changed["a"]["B"]
    assert reason(json.dumps(changed).encode()) == "a.B is missing, expected the wallets that changed"

    changed["a"]["m"] = "MARGIN_TYPE_CHANGE"
    event = user_event(json.dumps(changed).encode())
    assert isinstance(event, AccountUpdate)
    assert event.balances == ()


def test_a_refused_row_is_named_by_its_place() -> None:
    assert reason(UPDATE.replace(b'"cr":"-0.28351998"', b'"cr":-0.28')) == "a.P[0].cr was -0.28, expected text"


# -- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["1736996475556", '"1736996475556"'])
def test_the_end_of_a_listen_key(time: str) -> None:
    event = user_event(f'{{"e":"listenKeyExpired","E":{time},"listenKey":"WsCMN0a4KHUPTQuX"}}'.encode())

    assert event == ListenKeyExpired("WsCMN0a4KHUPTQuX", 1736996475556)
    assert "WsCMN0…" in repr(event)
    assert "WsCMN0a4" not in repr(event)


def test_events_that_are_only_hints() -> None:
    assert user_event(
        b'{"e":"TRADE_LITE","E":2,"T":1,"s":"BTCUSDT","q":"0.002","p":"0.00","m":false,"c":"x","S":"SELL",'
        b'"L":"90853.20","l":"0.002","t":5612520599,"i":482277363667}'
    ) == TradeLite("BTCUSDT", "5612520599", "482277363667", 1)
    assert user_event(b'{"e":"ACCOUNT_CONFIG_UPDATE","E":2,"T":1,"ac":{"s":"BTCUSDT","l":25}}') == ConfigUpdate(
        1, "BTCUSDT", 25, None
    )
    assert user_event(b'{"e":"ACCOUNT_CONFIG_UPDATE","E":2,"T":1,"ai":{"j":true}}') == ConfigUpdate(1, None, None, True)
    assert user_event(
        b'{"e":"MARGIN_CALL","E":3,"cw":"3.1","p":[{"s":"ETHUSDT","ps":"LONG","pa":"1.327","mt":"CROSSED","iw":"0",'
        b'"mp":"187.17127","up":"-1.166074","mm":"1.614445"}]}'
    ) == MarginCall(3, ("ETHUSDT",))
    assert user_event(b'{"e":"ALGO_UPDATE","T":1,"E":2,"o":{"aid":1,"s":"BNBUSDT","X":"TRIGGERED"}}') == AlgoUpdate(
        2, "BNBUSDT", "TRIGGERED"
    )


def test_what_nobody_knows_is_named() -> None:
    assert user_event(b'{"e":"STRATEGY_UPDATE","E":1}') == Unknown("STRATEGY_UPDATE")
    assert user_event(b'{"e":"\\u001b[31m"}') == Unknown("\N{REPLACEMENT CHARACTER}[31m")


def test_answers_to_requests_are_told_from_events() -> None:
    assert user_event(b'{"result":null,"id":3}') == Reply("3", None, None)
    assert user_event(b'{"id":"a","code":2,"msg":"Invalid request: x"}') == Reply("a", 2, "Invalid request: x")
    assert user_event(b'{"id":1,"error":{"code":2,"msg":"no"}}') == Reply("1", 2, "no")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "the message is not JSON: Input data was truncated"),
        (b"[]", "the message was a list, expected an object"),
        (b"null", "the message was null, expected an object"),
        (b"{}", "e was null, expected the kind of the event"),
        (b'{"e":1}', "e was 1, expected the kind of the event"),
        (b'{"stream":"k","data":"x"}', 'the message was "x", expected an object'),
        (b"\xef\xbb\xbf" + TRADE, "the message is not JSON: JSON is malformed: invalid character (byte 0)"),
        (TRADE + TRADE, "the message is not JSON: JSON is malformed: trailing characters (byte 497)"),
        (b'{"e":"\xff"}', "the message is not UTF-8"),
        (b"[" * 100_000, "the message is nested too deeply"),
        (b'{"e":' + b'{"a":' * 900 + b"1" + b"}" * 901, None),
        (b'{"e":"x","y":NaN}', "the message is not JSON: JSON is malformed: invalid character (byte 13)"),
        (b'{"e":"x","y":1e999999}', "the message is not JSON: Number out of range - at $[...]"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_what_is_no_event_is_refused(payload: bytes, said: str | None) -> None:
    refused = reason(payload)

    assert said is None or refused == said


@pytest.mark.parametrize(
    "key", [b'"rp":"1"', b'"rp" : "1"', b'"r\\u0070":"1"', b'"rp":-1.7734'], ids=["plain", "space", "escape", "type"]
)
def test_a_key_that_is_given_twice_is_refused(key: bytes) -> None:
    assert reason(TRADE.replace(b'"pP"', key + b',"pP"')).startswith('rp was given twice, "-1.77340000" and ')


def test_white_space_and_unknown_fields_do_not_matter() -> None:
    spaced = json.dumps(json.loads(TRADE) | {"new": {"deep": [1, {"deeper": None}]}}, indent=2)

    assert user_event(spaced.encode()) == user_event(TRADE)


# -- mark prices -------------------------------------------------------------------------------------------------------


def test_a_mark_price_alone_in_an_array_and_wrapped() -> None:
    expected = (MarkPrice("BTCUSDT", D("11794.15"), 1562305380000),)

    assert mark_prices(MARK) == expected
    assert mark_prices(b"[" + MARK + b"]") == expected
    assert mark_prices(b'{"stream":"!markPrice@arr@1s","data":[' + MARK + b"]}") == expected
    assert mark_prices(b'{"stream":"btcusdt@markPrice@1s","data":' + MARK + b"}") == expected


def test_rows_of_coin_margined_contracts_are_left_out_and_rows_of_before_the_merge_are_not() -> None:
    assert mark_prices(b"[" + MARK.replace(b'"st":1', b'"st":2') + b"]") == ()
    assert len(mark_prices(b"[" + MARK.replace(b',"st":1', b"") + b"]")) == 1


def test_only_the_symbols_that_somebody_wants_are_read() -> None:
    broken = MARK.replace(b"BTCUSDT", b"ODD").replace(b'"11794.15000000"', b"null")

    assert [mark.symbol for mark in mark_prices(b"[" + broken + b"," + MARK + b"]", {"BTCUSDT"})] == ["BTCUSDT"]
    with pytest.raises(MalformedEvent, match="p of ODD was null, expected a decimal as text"):
        mark_prices(b"[" + broken + b"," + MARK + b"]")


def test_a_price_of_zero_is_none_and_one_below_is_refused() -> None:
    assert mark_prices(MARK.replace(b'"p":"11794.15000000"', b'"p":"0.00000000"')) == ()
    with pytest.raises(MalformedEvent, match='p of BTCUSDT was "-1", expected a positive decimal'):
        mark_prices(MARK.replace(b'"p":"11794.15000000"', b'"p":"-1"'))


def test_answers_and_other_events_state_no_prices() -> None:
    assert mark_prices(b'{"result":null,"id":1}') == ()
    assert mark_prices(b'[{"e":"24hrTicker","s":"BTCUSDT","p":"1"}]') == ()
    with pytest.raises(MalformedEvent, match="code 2"):
        mark_prices(b'{"code":2,"msg":"Invalid request","id":1}')


# -- any bytes ---------------------------------------------------------------------------------------------------------


def is_total(payload: bytes) -> None:
    """Any bytes are an event or a refusal with a reason that can be logged."""
    for read in (user_event, mark_prices):
        said = ""
        try:
            read(payload)
        except MalformedEvent as refused:
            said = refused.reason
        assert said.isprintable()
        assert len(said) < 400


@given(st.binary(max_size=300))
def test_any_bytes(payload: bytes) -> None:
    is_total(payload)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["NaN", "sNaN", "-0", "1e-30", "1e999999", "9" * 40, "1_0", "", "0", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.data())
def test_recorded_messages_with_something_else_in_them(data: st.DataObject) -> None:
    message = json.loads(data.draw(st.sampled_from([*RECORDED, *EVERY_KIND])))
    place: Any = message
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

    is_total(json.dumps(message).encode())


@given(st.data())
def test_recorded_messages_that_are_cut_or_have_other_bytes(data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from([*RECORDED, *EVERY_KIND]))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(payload))] * 2)))

    is_total(payload[:end])
    is_total(payload[:start] + data.draw(st.binary(max_size=4)) + payload[end:])


def test_a_cut_message_is_never_an_event() -> None:
    for payload in EVERY_KIND[:-1]:
        for end in range(len(payload)):
            with pytest.raises(MalformedEvent):
                user_event(payload[:end])


def test_reading_is_quick() -> None:
    """Far above what was measured (8 µs, 8 µs and 0.3 ms), so that a busy machine does not fail it."""
    array = b"[" + b",".join([MARK.replace(b"BTCUSDT", b"S%dUSDT" % number) for number in range(1000)]) + b"]"
    wanted = {f"S{number}USDT" for number in range(20)}

    assert min(timeit.repeat(lambda: user_event(TRADE), number=200, repeat=5)) / 200 < 0.000_1
    assert min(timeit.repeat(lambda: user_event(UPDATE), number=200, repeat=5)) / 200 < 0.000_1
    assert min(timeit.repeat(lambda: mark_prices(array, wanted), number=3, repeat=5)) / 3 < 0.01
