"""A recorded user stream: every message becomes an event, and the events make the account that the exchange states.

Each recording is an excerpt, so it begins at its first ACCOUNT_UPDATE: what that states is the opening, and the fill
that follows it at once is part of it. Everything after it is folded, and held against every later ACCOUNT_UPDATE.

Gaps in the excerpts:
- `examples-user-ws.ts`: two single fills and no ACCOUNT_UPDATE, so there is nothing to hold them against.
- exemple-3: its last fill was recorded without commission and without a time of its own (the message's serves).
- exemple-4 and -6 begin with a deposit, exemple-5 with a wallet alone: the account is flat, and the lifetime result is
  first said with the first fill.
- exemple-8: the ACCOUNT_UPDATE of its last fill is missing; the withdrawal of everything after it confirms the wallet.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from account_monitor.feeds.binance.messages import AccountUpdate, OrderTrade, UserEvent, flows, user_event
from account_monitor.ledger.account import Account, fold
from account_monitor.ledger.events import Anchor, Event, Fill, Opening, OtherIncome, Transfer, position_key

D = Decimal

LINES: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("usdm_user_stream.jsonl").read_text().splitlines()
]

LOST_FEE = D("0.0813")
"""Of the fill in exemple-3 without commission: the maker's 0.02 % of 406.5."""

DISPLAYED = D("0.000005")
"""Entry prices of 2022 are rounded to five decimals."""


def heard(line: dict[str, Any]) -> UserEvent:
    """Return the event that a recorded message becomes."""
    return user_event(json.dumps(line["message"], separators=(",", ":")).encode())


def recordings() -> dict[str, list[UserEvent]]:
    """Return what was heard, by recording."""
    found: dict[str, list[UserEvent]] = {}
    for line in LINES:
        found.setdefault(line["recording"].partition("#")[0], []).append(heard(line))
    return found


RECORDINGS = recordings()
EXEMPLES = [name for name in RECORDINGS if name.startswith("exemple-")]
EXEMPLE_3 = "exemple-3-futures-buy-sell-limit-1BNB.ts"
EXEMPLE_10 = "exemple-10-75_leverage.ts"

each_exemple = pytest.mark.parametrize("name", EXEMPLES, ids=lambda name: name.removesuffix(".ts"))


def fills_in(events: list[UserEvent]) -> list[Fill]:
    return [event.fill for event in events if isinstance(event, OrderTrade) and event.fill is not None]


def opening_of(events: list[UserEvent]) -> tuple[Opening, list[UserEvent]]:
    """Return the account that the first ACCOUNT_UPDATE states, and what was heard after it."""
    place = next(place for place, event in enumerate(events) if isinstance(event, AccountUpdate))
    first, rest = events[place], events[place + 1 :]
    assert isinstance(first, AccountUpdate)
    contained = fills_in(rest[:1])
    last_trade_id = int(contained[0].trade_id) if contained else None
    anchors = tuple(
        Anchor(p.symbol, p.position_side, p.quantity, p.quantity * p.entry_price, last_trade_id, first.at_ms)
        for p in first.positions
    )
    wallets = tuple((b.asset, b.wallet) for b in first.balances)
    return Opening("golden", first.at_ms, wallets, anchors), rest[1:] if contained else rest


def events_of(update: AccountUpdate) -> list[Event]:
    """Return what the money that an update tells of becomes in the ledger."""
    return [
        Transfer(f"{flow.reason} {flow.at_ms}", flow.asset, flow.amount, flow.at_ms)
        if flow.kind == "transfer"
        else OtherIncome(f"{flow.reason} {flow.at_ms}", flow.asset, flow.amount, flow.at_ms, flow.reason)
        for flow in flows(update)
    ]


def completed(name: str, fill: Fill) -> Fill:
    """Return the fill with the commission that the recording of exemple-3 has lost."""
    lost = name == EXEMPLE_3 and fill.fee is None
    return fill._replace(fee=LOST_FEE, fee_asset="USDT") if lost else fill


class Replay:
    """Folds a recording from its opening and holds every later statement against it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opening, self.rest = opening_of(RECORDINGS[name])
        self.journal: list[Event] = [self.opening]
        self.lifetime: dict[str, Decimal] = {}
        self.statements = 0
        first = next(event for event in RECORDINGS[name] if isinstance(event, AccountUpdate))
        self.compare(first)

    def run(self) -> Account:
        pending: AccountUpdate | None = None
        for event in self.rest:
            if isinstance(event, OrderTrade) and event.fill is not None:
                self.journal.append(completed(self.name, event.fill))
                if pending is not None:
                    self.compare(pending)
                pending = None
            elif isinstance(event, AccountUpdate) and event.reason == "ORDER":
                pending = event  # it states what the fill after it makes
            elif isinstance(event, AccountUpdate):
                self.journal += events_of(event)
                self.compare(event)
        assert pending is None
        return fold(self.journal)

    def compare(self, stated: AccountUpdate) -> None:
        """Hold the ledger against one statement: wallets, quantities, entry prices and lifetime results."""
        account = fold(self.journal)
        for balance in stated.balances:
            assert account.state.wallets[balance.asset] == balance.wallet
        for position in stated.positions:
            key = position_key(position.symbol, position.position_side)
            leg = account.leg(key)
            assert leg.quantity == position.quantity
            if leg.quantity:
                assert abs(leg.cost - position.entry_price * leg.quantity) <= DISPLAYED * 2 * abs(leg.quantity)
            assert position.realized - leg.realized == self.lifetime.setdefault(key, position.realized - leg.realized)
        self.statements += 1


def test_every_recorded_message_becomes_what_it_must() -> None:
    kinds = Counter(
        f"{type(event).__name__} {event.execution if isinstance(event, OrderTrade) else event.reason}"
        for event in map(heard, LINES)
        if isinstance(event, OrderTrade | AccountUpdate)
    )

    assert kinds == {
        "OrderTrade NEW": 34,
        "OrderTrade TRADE": 47,
        "OrderTrade EXPIRED": 2,
        "OrderTrade CANCELED": 1,
        "AccountUpdate ORDER": 47,
        "AccountUpdate DEPOSIT": 7,
        "AccountUpdate WITHDRAW": 5,
        "AccountUpdate INSURANCE_CLEAR": 1,
    }
    assert sum(kinds.values()) == len(LINES)


def test_every_trade_becomes_a_fill_and_nothing_else_does() -> None:
    for line in LINES:
        event = heard(line)
        if isinstance(event, OrderTrade):
            order = line["message"]["o"]
            assert (event.fill is not None) == (order["x"] == "TRADE")
            if event.fill is not None:
                assert event.fill.trade_id == str(order["t"])
                assert event.fill.order_id == str(order["i"])
                assert (event.fill.quantity, event.fill.price) == (D(order["l"]), D(order["L"]))
                assert event.fill.realized_pnl == D(order["rp"])
                assert event.fill.at_ms == order.get("T", line["message"]["T"])


@each_exemple
def test_the_fold_ends_with_what_the_exchange_states(name: str) -> None:
    replay = Replay(name)

    replay.run()

    updates = [event for event in RECORDINGS[name] if isinstance(event, AccountUpdate)]
    assert replay.statements == len(updates)


@each_exemple
def test_results_add_up_to_the_lifetime_result(name: str) -> None:
    opening, rest = opening_of(RECORDINGS[name])
    stated = [p.realized for e in RECORDINGS[name] if isinstance(e, AccountUpdate) for p in e.positions]
    if name == "exemple-8-75_leverage.ts":
        assert len(stated) == 1
        return  # only one statement is in the excerpt
    first_is_stated = bool(opening.positions)

    results = sum((fill.realized_pnl or D(0) for fill in fills_in(rest)), D(0))
    before_the_first = D(0) if first_is_stated else fills_in(rest)[0].realized_pnl or D(0)

    assert stated[-1] - stated[0] == results - before_the_first


def test_the_fee_that_the_recording_lost_is_what_the_wallet_lacks() -> None:
    opening, rest = opening_of(RECORDINGS[EXEMPLE_3])
    updates = [event for event in rest if isinstance(event, AccountUpdate)]

    account = fold([opening, *fills_in(rest)])

    assert fills_in(rest)[-1].fee is None
    assert account.state.wallets["USDT"] - updates[-1].balances[0].wallet == LOST_FEE


def test_the_liquidation_costs_its_result_and_its_fee_and_leaves_nothing_behind() -> None:
    account = Replay(EXEMPLE_10).run()
    forced = [e.fill for e in RECORDINGS[EXEMPLE_10] if isinstance(e, OrderTrade) and e.is_liquidation and e.fill]
    fees = [f for e in RECORDINGS[EXEMPLE_10] if isinstance(e, AccountUpdate) for f in flows(e) if f.kind == "income"]

    assert len(forced) == 5
    assert {fill.fee for fill in forced} == {D(0)}
    assert sum(fill.quantity for fill in forced) == D("1.6")
    notional = sum(fill.quantity * fill.price for fill in forced)
    assert [(fee.reason, fee.amount) for fee in fees] == [("INSURANCE_CLEAR", -notional * D("0.005"))]
    assert account.leg("BNBUSDT").quantity == 0
    assert account.state.wallets == {"USDT": D(0)}
