"""Which flows are booked: each once, whoever tells of it first and in whatever pieces."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.events import Charge, FlowEvent, FundingPayment, OtherIncome, Transfer
from account_monitor.ledger.flows import Flow, FlowKind
from account_monitor.monitor.flows import FlowBook
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_STREAM, JournalEntry

D = Decimal
HOUR = 1_790_000_000_000
LATER = HOUR + 3_246


def flow(
    amount: str,
    *,
    at_ms: int,
    tid: str,
    kind: FlowKind = "funding",
    reason: str = "FUNDING_FEE",
    symbol: str | None = None,
) -> Flow:
    return Flow(kind, reason, "USDT", D(amount), at_ms, symbol, tid)


def book() -> FlowBook:
    return FlowBook(lambda _: "BOTH")


def total(events: list[FlowEvent]) -> Decimal:
    return sum((-e.amount if isinstance(e, Charge) else e.amount for e in events), D(0))


def test_a_flow_that_the_stream_told_is_not_booked_again_by_its_row() -> None:
    flows = book()

    booked = flows.streamed(flow("-1.5", at_ms=LATER, tid="content", symbol="BTCUSDT"))

    assert booked == FundingPayment("FUNDING_FEE:USDT:content", "USDT", D("-1.5"), LATER, "BTCUSDT")
    assert flows.stated([flow("-1.5", at_ms=HOUR, tid="77", symbol="BTCUSDT")]) == []


def test_a_row_that_came_first_is_not_booked_again_by_the_stream() -> None:
    flows = book()

    (booked,) = flows.stated([flow("-1.5", at_ms=HOUR, tid="77", symbol="BTCUSDT")])

    assert isinstance(booked, FundingPayment)
    assert flows.streamed(flow("-1.5", at_ms=LATER, tid="content", symbol="BTCUSDT")) is None


def test_two_sockets_tell_the_same() -> None:
    flows = book()
    told = flow("5", at_ms=LATER, tid="content", kind="transfer", reason="DEPOSIT")

    assert isinstance(flows.streamed(told), Transfer)
    assert flows.streamed(told) is None


def test_of_two_equal_deposits_the_one_that_was_missed_is_booked() -> None:
    flows = book()
    flows.streamed(flow("5", at_ms=HOUR + 20_000, tid="second", kind="transfer", reason="DEPOSIT"))

    rows = [flow("5", at_ms=HOUR + at, tid=str(at), kind="transfer", reason="TRANSFER") for at in (0, 20_000)]

    assert flows.stated(rows) == [Transfer("TRANSFER:USDT:0", "USDT", D(5), HOUR)]
    assert flows.streamed(flow("5", at_ms=HOUR, tid="first", kind="transfer", reason="DEPOSIT")) is None


def test_a_payment_for_several_symbols_is_split_into_theirs() -> None:
    flows = book()
    streamed = flows.streamed(flow("-3", at_ms=LATER, tid="content"))
    rows = [flow("-1", at_ms=HOUR, tid="1", symbol="BTCUSDT"), flow("-2", at_ms=HOUR, tid="2", symbol="ETHUSDT")]

    events = flows.stated(rows)

    assert streamed is not None
    assert [(e.symbol, e.amount) for e in events if isinstance(e, FundingPayment)] == [
        (None, D(3)), ("BTCUSDT", D(-1)), ("ETHUSDT", D(-2)),
    ]  # fmt: skip
    assert flows.stated(rows) == []


def test_a_payment_whose_symbol_was_lost_is_the_one_of_its_amount() -> None:
    flows = book()
    flows.streamed(flow("-2", at_ms=LATER, tid="content"))
    rows = [flow("-1", at_ms=HOUR, tid="1", symbol="BTCUSDT"), flow("-2", at_ms=HOUR, tid="2", symbol="ETHUSDT")]

    assert total(flows.stated(rows)) == D(-1)
    assert flows.stated(rows) == []


def test_rows_of_which_an_answer_lacks_a_piece_are_not_booked_beside_the_payment() -> None:
    flows = book()
    flows.streamed(flow("-2", at_ms=LATER, tid="content", symbol="BTCUSDT"))
    rows = [flow(amount, at_ms=HOUR, tid=amount, symbol="BTCUSDT") for amount in ("-3", "1")]

    assert flows.stated(rows[:1]) == []
    assert flows.stated(rows) == []
    assert flows.stated(rows) == []


def test_rows_that_never_add_up_stand_in_the_end_and_what_the_stream_told_is_taken_back() -> None:
    flows = book()
    told = flows.streamed(flow("-9", at_ms=LATER, tid="content", symbol="BTCUSDT"))
    row = flow("-3", at_ms=HOUR, tid="1", symbol="BTCUSDT")

    assert told is not None
    booked = [flows.stated(rows) for rows in ([row], [], [], [row])]
    assert [total(events) for events in booked] == [D(0), D(0), D(6), D(0)]
    assert {event.key for event in booked[2] if isinstance(event, FundingPayment)} == {"BTCUSDT"}


def test_a_sum_of_which_the_stream_lost_one_is_replaced_by_all_of_its_rows() -> None:
    flows = book()
    booked = [flows.streamed(flow("-3", at_ms=LATER, tid="content"))]
    rows = [flow(amount, at_ms=HOUR, tid=amount, symbol=f"C{amount[1]}USDT") for amount in ("-1", "-2", "-5")]
    for _ in range(5):
        booked += flows.stated(rows)

    assert total([event for event in booked if event is not None]) == D(-8)


def test_what_moved_a_wallet_before_it_agreed_is_in_it_whoever_told_of_it() -> None:
    rows = [
        flow("5", at_ms=HOUR - 60_001, tid="1", kind="income", reason="API_REBATE"),
        flow("7", at_ms=HOUR - 59_999, tid="2", kind="income", reason="API_REBATE"),
        flow("-1", at_ms=HOUR - 15 * 60_000, tid="3", symbol="BTCUSDT"),
    ]
    flows = book()

    assert total(flows.stated(rows, agreed_ms=HOUR)) == D(7)
    assert flows.stated(rows, agreed_ms=0) == []


def test_a_conversion_that_the_statement_lists_in_pieces_is_the_one_of_the_stream() -> None:
    flows = book()
    more = {"kind": "income", "reason": "AUTO_EXCHANGE"}
    flows.streamed(flow("-10", at_ms=HOUR, tid="content", **more))  # type: ignore[arg-type]

    assert flows.stated([flow(amount, at_ms=HOUR, tid=amount, **more) for amount in ("-4", "-6")]) == []  # type: ignore[arg-type]


def test_of_two_flows_of_one_amount_each_is_told_by_the_row_of_its_kind() -> None:
    flows = book()
    flows.streamed(flow("5", at_ms=HOUR, tid="content", kind="transfer", reason="DEPOSIT"))
    rebate = flow("5", at_ms=HOUR, tid="1", kind="income", reason="API_REBATE")
    deposit = flow("5", at_ms=HOUR + 900, tid="2", kind="transfer", reason="TRANSFER")

    (event,) = flows.stated([rebate, deposit])
    assert isinstance(event, OtherIncome)


def test_a_payment_for_two_open_legs_is_the_accounts() -> None:
    flows = FlowBook(lambda _: None)
    (event,) = flows.stated([flow("-3", at_ms=HOUR, tid="1", symbol="BTCUSDT")])

    assert isinstance(event, FundingPayment)
    assert event.key is None


def test_the_two_legs_of_a_symbol_are_one_payment_on_the_stream() -> None:
    rows = [flow("-3", at_ms=HOUR, tid="1", symbol="BTCUSDT"), flow("1", at_ms=HOUR, tid="2", symbol="BTCUSDT")]
    told = flow("-2", at_ms=LATER, tid="content", symbol="BTCUSDT")

    stream_first, rows_first = book(), book()

    assert stream_first.streamed(told) is not None
    assert stream_first.stated(rows) == []
    assert len(rows_first.stated(rows)) == 2
    assert rows_first.streamed(told) is None


def test_insurance_that_costs_is_a_charge_and_what_it_gives_is_income() -> None:
    flows = book()

    assert flows.streamed(flow("-3", at_ms=HOUR, tid="a", kind="income", reason="INSURANCE_CLEAR")) == Charge(
        "INSURANCE_CLEAR:USDT:a", "USDT", D(3), HOUR, "INSURANCE_CLEAR"
    )
    assert flows.streamed(flow("2", at_ms=HOUR, tid="b", kind="income", reason="INSURANCE_CLEAR")) == OtherIncome(
        "INSURANCE_CLEAR:USDT:b", "USDT", D(2), HOUR, "INSURANCE_CLEAR"
    )


def test_what_is_in_the_journal_is_known_after_a_restart() -> None:
    before, after = book(), book()
    streamed = before.streamed(flow("-3", at_ms=LATER, tid="content"))
    rows = [flow("-1", at_ms=HOUR, tid="1", symbol="BTCUSDT"), flow("-2", at_ms=HOUR, tid="2", symbol="ETHUSDT")]
    split = before.stated(rows)
    assert streamed is not None

    after.recall(
        [JournalEntry(1, streamed, VENUE_STREAM, 0)]
        + [JournalEntry(seq, event, VENUE_INCOME, 0) for seq, event in enumerate(split, start=2)]
    )

    assert after.streamed(flow("-3", at_ms=LATER, tid="content")) is None
    assert after.stated(rows) == []


def test_a_row_of_funding_that_the_stream_never_told_is_named() -> None:
    flows = book()
    flows.stated([flow("-1", at_ms=HOUR, tid="1", symbol="BTCUSDT"),
                  flow("1", at_ms=HOUR, tid="2", kind="income", reason="REFERRAL_KICKBACK")])  # fmt: skip

    assert flows.unheard(HOUR - 1, HOUR) == ["FUNDING_FEE:USDT:1"]
    assert flows.unheard(HOUR, HOUR + 1) == []


amounts = st.sampled_from(["1", "2", "-1", "-3"])


@given(
    st.lists(st.tuples(amounts, st.integers(0, 5), st.booleans(), st.booleans()), max_size=8),
    st.randoms(use_true_random=False),
)
def test_each_deposit_counts_once_whoever_tells_of_it_and_in_which_order(
    deposits: list[tuple[str, int, bool, bool]], chance: object
) -> None:
    flows, booked = book(), []
    told: list[tuple[bool, Flow]] = []
    for number, (amount, minutes, on_stream, twice) in enumerate(deposits):
        at_ms = HOUR + minutes * 200_000
        row = flow(amount, at_ms=at_ms, tid=f"row {number}", kind="transfer", reason="TRANSFER")
        stream = flow(amount, at_ms=at_ms + 5, tid=f"content {number}", kind="transfer", reason="DEPOSIT")
        told += [(True, stream)] * on_stream + [(False, row)] * (1 + twice)
    chance.shuffle(told)  # type: ignore[attr-defined]  # a Random
    for is_stream, each in told:
        event = flows.streamed(each) if is_stream else None
        booked += [event] if event is not None else [] if is_stream else flows.stated([each])

    assert total(booked) == sum((D(amount) for amount, *_ in deposits), D(0))
    assert len(booked) == len(deposits)


def test_payments_of_two_legs_that_cancel_out_are_booked_and_the_stream_owes_no_word_of_them() -> None:
    flows = book()
    rows = [flow(amount, at_ms=HOUR, tid=amount, symbol="BTCUSDT") for amount in ("-4", "4")]

    events = flows.stated(rows)

    assert [event.amount for event in events] == [D(-4), D(4)]
    assert flows.unheard(0, HOUR + 1) == []
    assert not any(flows.was_missed(event) for event in events)
    (lone,) = flows.stated([flow("-1", at_ms=2 * HOUR, tid="9", symbol="BTCUSDT")])
    assert flows.was_missed(lone)
