"""Feed: everything that the exchange says about one account, into its inbox: heard on the stream, else asked for.

The stream is fast and may be deaf without knowing it. So the exchange is asked every few seconds what the account is,
and where the ledger differs from that, what was missed is fetched: trades and income, from the last that is complete.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from random import Random

import structlog

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.adoption import adopt
from account_monitor.feeds.binance.backfill import Backfill
from account_monitor.feeds.binance.messages import (
    AccountUpdate,
    MarginCall,
    OrderTrade,
    TradeLite,
    Unknown,
    flows,
    user_event,
)
from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.session import StreamSettings
from account_monitor.feeds.binance.stream import UserStream
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.ledger.events import Event, Fill, Listing, PositionSide, position_key, trade_number
from account_monitor.ledger.money import to_text
from account_monitor.ledger.reconciliation import Statement, Subject
from account_monitor.monitor.alarms import PASSING_SECONDS, AlarmBoard, AlarmKind
from account_monitor.monitor.flows import REMEMBERED_MS, FlowBook
from account_monitor.monitor.judge import Disagreement, Judge
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import (
    MALFORMED_EVENT,
    VENUE_INCOME,
    VENUE_STATEMENT,
    VENUE_STREAM,
    VENUE_TRADES,
    Delivery,
    StreamPosition,
    is_venue,
)
from account_monitor.monitor.schedule import Monotonic
from account_monitor.monitor.views import Change, View

LOOK_SECONDS = 0.1
CONFIRM_SECONDS = 1.5
"""How long a difference may last before it is looked into: an ACCOUNT_UPDATE comes before its fill."""

DELIVER_SECONDS = 5.0
"""How long the stream may take for what a statement shows already; after that it is deaf."""

FLOW_DELIVER_MS = 60_000
"""The same for funding and transfers, whose two times differ."""

ORDER_STATEMENT_SECONDS = 1.0
"""After an order is placed or cancelled, what is free changes without any event: ask, at most this often."""

COMPLETE_EVERY_SECONDS = 60.0
"""How often agreement is noted as the place from which a later backfill begins."""

RECENT_MS = 3_600_000
MAX_RECENT = 40
"""Symbols that are asked about without a sign that they traded: held, or traded in the last hour."""

MAX_BUFFERED = 10_000
LONGEST_BACKFILL_PAUSE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0

_LIKE_A_KEY = re.compile(rb"[A-Za-z0-9]{40,}")

log = structlog.get_logger(__name__)


class BinanceFeed:
    """Feeds one account from the exchange, until cancelled."""

    def __init__(
        self,
        monitor: Monitor,
        venue: BinanceVenue,
        requests: AccountRequests,
        *,
        judge: Judge,
        alarms: AlarmBoard,
        settings: StreamSettings,
        statement_seconds: float,
        monotonic: Monotonic,
        chance: Random,
    ) -> None:
        self.account = monitor.name
        self.received: Counter[str] = Counter()
        """Messages of the user stream by type."""
        self.unready: str | None = "the exchange has not been asked yet"
        """Why the account is not known to agree with the exchange yet; None once it was."""
        self.problem: str | None = None
        """What does not work now."""
        self._monitor = monitor
        self._venue = venue
        self._requests = requests
        self._judge = judge
        self._alarms = alarms
        self._statement_seconds = statement_seconds
        self._monotonic = monotonic
        self._flows = FlowBook(self._leg_of)
        self._backfill = Backfill(requests, venue.server_time, self._flows)
        self._stream = UserStream(
            monitor.name,
            venue.transport,
            requests,
            self,
            websocket_url=venue.websocket_url,
            settings=settings,
            clock_ms=venue.server_time.now_ms,
            chance=chance,
        )
        self._is_open = False
        self._buffer: list[bytes] = []
        self._heard_count = 0
        self._listed: set[str] = set()
        self._hinted: set[str] = set()
        self._live_since_ms: int | None = None
        self._unheard: dict[str, float] = {}
        self._flows_checked_ms = 0
        self._missing: str | None = None
        self._wanted = 0
        self._backfill_at = 0.0
        self._backfill_pause = 0.0
        self._attempt = 0
        """How many backfills the present disagreements have outlasted."""
        self._statement_at = 0.0
        self._last_statement = float("-inf")
        self._complete_at = 0.0
        self._complete_to: dict[str, int] = {}
        self._last_numbers: dict[str, int] = {}
        """By symbol, the highest trade id of which the exchange itself has told."""
        self._income_to_ms = 0
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._drifting: set[Subject] = set()

    @property
    def is_live(self) -> bool:
        """Whether what the exchange says is heard now."""
        return self._stream.is_live

    @property
    def reconnects(self) -> int:
        """Sockets of the user stream that were made after the first."""
        return self._stream.reconnects

    def wanted(self) -> set[str]:
        """Return the symbols whose marks value anything of the account: what is held, and money in other assets."""
        view = self._monitor.view
        held = {position.symbol for position in view.positions.values() if position.quantity}
        return held | {f"{asset}USDT" for asset in view.balances}

    async def run(self) -> None:
        """Listen and ask, until cancelled."""
        self._recall()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream.run(), name=f"user-stream:{self.account}")
            group.create_task(self._look_after(), name=f"statements:{self.account}")

    def note(self, view: View, change: Change) -> None:
        """Observe the monitor: what came by REST alone shows whether the stream is deaf."""
        if change.recorded is None:
            return
        for entry in change.recorded.entries:
            if type(entry.event) is Fill:
                self._note_fill(entry.event, entry.source, is_new=True)
        for delivery in change.recorded.duplicates:
            if type(delivery.event) is Fill:
                self._note_fill(delivery.event, delivery.source, is_new=False)

    def _note_fill(self, fill: Fill, source: str, *, is_new: bool) -> None:
        if not is_venue(source):
            return
        number = trade_number(fill.trade_id)
        if number is not None and number > self._last_numbers.get(fill.symbol, -1):
            self._last_numbers[fill.symbol] = number
        if source == VENUE_STREAM:
            self._unheard.pop(fill.identity, None)
        elif is_new and self._live_since_ms is not None and fill.at_ms > self._live_since_ms:
            self._unheard.setdefault(fill.identity, self._monotonic() + DELIVER_SECONDS)

    # -- what is heard -------------------------------------------------------------------------------------------------

    async def wait_for_room(self) -> None:
        """Return once the inbox is not full."""
        await self._monitor.inbox.wait_for_room()

    def on_message(self, payload: bytes, received_at_ms: int) -> None:
        """Take a message of the stream. Until the account is open, it waits."""
        if self._is_open:
            self._hear(payload)
        elif len(self._buffer) < MAX_BUFFERED:
            self._heard_count += 1
            self._buffer.append(payload)
        else:
            self._heard_count += 1
            self.on_backfill("more was heard before the account was open than can be kept")

    def _hear(self, payload: bytes) -> None:
        try:
            event = user_event(payload)
        except MalformedEvent as error:
            self.received[MALFORMED_EVENT] += 1
            harmless = _LIKE_A_KEY.sub(b"***", payload)  # what is parked is shown to people
            self._put(VENUE_STREAM, "user stream", harmless, None, MALFORMED_EVENT, error.reason)
            self.on_backfill("a message could not be read")
            return
        match event:
            case OrderTrade():
                self.received["ORDER_TRADE_UPDATE"] += 1
                self._hear_order(event, payload)
            case AccountUpdate():
                self.received["ACCOUNT_UPDATE"] += 1
                self._hear_account(event, payload)
            case TradeLite(symbol):
                self.received["TRADE_LITE"] += 1
                self._hinted.add(symbol)
            case MarginCall(_, symbols):
                self.received["MARGIN_CALL"] += 1
                text = f"the exchange warns of a liquidation of {', '.join(symbols)}"
                self._alarms.fire(self.account, "MARGIN_CALL", text, severity="CRITICAL", for_seconds=PASSING_SECONDS)
            case Unknown(type_):
                self.received[type_] += 1
            case _:
                self.received[type(event).__name__] += 1

    def _hear_order(self, order: OrderTrade, payload: bytes) -> None:
        if order.fill is not None:
            self._put_fill(VENUE_STREAM, "ORDER_TRADE_UPDATE", payload, order.fill)
            if order.is_liquidation:
                text = f"the exchange liquidates {order.symbol}"
                self._alarms.fire(
                    self.account, "LIQUIDATION", text, symbol=order.symbol, severity="CRITICAL",
                    for_seconds=PASSING_SECONDS,
                )  # fmt: skip
        self._statement_at = min(self._statement_at, self._last_statement + ORDER_STATEMENT_SECONDS)

    def _hear_account(self, update: AccountUpdate, payload: bytes) -> None:
        changed = [balance for balance in update.balances if balance.change]
        for flow, balance in zip(flows(update), changed, strict=True):
            content = f"{update.at_ms}:{update.symbol or ''}:{to_text(balance.wallet)}"
            event = self._flows.streamed(flow._replace(transaction_id=content))
            if event is not None:
                self._put(VENUE_STREAM, "ACCOUNT_UPDATE", payload, event)
        wallets = {balance.asset: balance.wallet for balance in update.balances}
        quantities = {position_key(p.symbol, p.position_side): p.quantity for p in update.positions}
        self._judge.hear(Statement(update.at_ms, wallets, quantities, is_complete=False))

    def _put_fill(self, source: str, subject: str, payload: bytes, fill: Fill) -> None:
        if fill.symbol not in self._listed:
            self._list(fill)
        self._put(source, subject, payload, fill)

    def _list(self, fill: Fill) -> None:
        """Say what the contract settles in, where its name says otherwise, before its first fill."""
        contract = self._venue.contract(fill.symbol)
        if contract is None:
            return
        self._listed.add(fill.symbol)
        if not self._monitor.settles_as(fill.symbol, contract.margin_asset):
            listing = Listing(fill.symbol, contract.margin_asset, contract.base_asset, fill.at_ms)
            self._put(VENUE_STATEMENT, "exchangeInfo", b"", listing)

    def _put(
        self,
        source: str,
        subject: str,
        payload: bytes,
        event: Event | None,
        rejection: str | None = None,
        reason: str = "",
    ) -> None:
        self._monitor.inbox.put(Delivery(source, subject, payload, event, rejection=rejection, reason=reason))

    def _leg_of(self, symbol: str) -> PositionSide:
        """Return the leg that is open, where only one is; else the payment is the symbol's."""
        positions = self._monitor.view.positions
        sides: tuple[PositionSide, ...] = ("BOTH", "LONG", "SHORT")
        known = [(side, positions.get(position_key(symbol, side))) for side in sides]
        open_sides = [side for side, position in known if position is not None and position.quantity]
        return open_sides[0] if len(open_sides) == 1 else "BOTH"

    def on_backfill(self, reason: str) -> None:
        """Fetch what may have been missed."""
        if self._missing is None:
            self._backfill_at = self._monotonic()
        self._missing = reason
        self._wanted += 1

    def on_alarm(self, kind: str, text: str) -> None:
        """The stream is not heard."""
        self._alarms.fire(self.account, "STREAM_STALE", text)

    def on_clear(self, kind: str) -> None:
        """The stream is heard again, and what was missed was fetched."""
        self._alarms.resolve(self.account, "STREAM_STALE")

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def _look_after(self) -> None:
        while True:
            try:
                await self._ask()
                self._pause_seconds = _FIRST_PAUSE_SECONDS
            except VenueLimited as limited:
                self._note_problem(limited)
                text = "the exchange refuses requests from this address; nothing is asked until it takes them again"
                self._alarms.fire(self.account, "RATE_LIMITED", text)
                until_ms = limited.until_ms - self._venue.server_time.now_ms()
                await asyncio.sleep(max(until_ms / 1000, LOOK_SECONDS))
            except (VenueUnavailable, VenueRefused) as error:
                self._note_problem(error)
                await asyncio.sleep(self._pause_seconds)
                self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    def _note_problem(self, error: Exception) -> None:
        if self.problem is None:
            log.warning("exchange_not_answering", account=self.account, reason=str(error))
        self.problem = str(error)
        if self.unready is not None:
            self.unready = f"the exchange does not answer: {error}"

    async def _ask(self) -> None:
        """Do what is due. Raises what a request raises; what was not done stays due."""
        if not self._is_open and not await self._open():
            return
        self._follow_stream()
        now = self._monotonic()
        if self._missing is not None and now >= self._backfill_at:
            await self._fetch_missing()
        if now >= self._statement_at:
            await self._ask_statement()
        self._judge_now()

    async def _open(self) -> bool:
        """Learn the contracts, adopt what an account holds that is new here, and hear what waited."""
        await self._venue.read_contracts_once()
        if self._monitor.opening is None:
            adopted = await adopt(self._requests, self._venue.server_time, heard=self._count_heard)
            if adopted is None:
                self.unready = "the account moves; it is adopted as soon as it holds still for a moment"
                return False
            self._put(VENUE_STATEMENT, "account", b"", adopted.opening)
            for symbol, number in adopted.last_trades.items():
                self._see(symbol, number)
            await self._recorded()
        opening = self._monitor.opening
        self._income_to_ms = max(self._income_to_ms, 0 if opening is None else opening.at_ms)
        self._judge.start(self._monitor.view)
        self._is_open = True
        waiting, self._buffer = self._buffer, []
        for payload in waiting:
            self._hear(payload)
        return True

    def _count_heard(self) -> int:
        return self._heard_count

    def _follow_stream(self) -> None:
        """Know since when the stream is heard, and whether it leaves things out."""
        now_ms = self._venue.server_time.now_ms()
        if not self._stream.is_live:
            self._live_since_ms = None
            self._unheard.clear()
            return
        if self._live_since_ms is None:
            self._live_since_ms = now_ms
        now = self._monotonic()
        overdue = [identity for identity, deadline in self._unheard.items() if deadline <= now]
        flows_since_ms = max(self._live_since_ms, self._flows_checked_ms)
        unheard_flows = self._flows.unheard(flows_since_ms, now_ms - FLOW_DELIVER_MS)
        if overdue or unheard_flows:
            self._unheard.clear()
            self._flows_checked_ms = now_ms
            self._live_since_ms = None
            what = overdue[0] if overdue else unheard_flows[0]
            self._stream.stale(f"the exchange has {what}, which the stream did not deliver")

    async def _fetch_missing(self) -> None:
        reason, wanted = self._missing, self._wanted
        opening = self._monitor.opening
        opened_ms = 0 if opening is None else opening.at_ms
        missed = await self._backfill.run(
            self._symbols_to_ask(),
            self._complete_to,
            opened_ms=opened_ms,
            income_to_ms=self._income_to_ms,
            attempt=self._attempt,
        )
        self._attempt += 1
        await self._monitor.inbox.wait_for_room()
        for fill in missed.fills:
            self._put_fill(VENUE_TRADES, "userTrades", fill.identity.encode(), fill)
        for event in missed.flows:
            self._put(VENUE_INCOME, "income", event.event_id.encode(), event)
        await self._recorded()
        for symbol, number in missed.complete_to.items():
            self._see(symbol, number)
        self._see_income(missed.income_to_ms)
        self._hinted.clear()
        self._statement_at = self._monotonic()
        log.info("backfilled", account=self.account, reason=reason, fills=len(missed.fills), flows=len(missed.flows))
        if wanted == self._wanted:  # nothing was missed again meanwhile
            self._missing = None
            self._stream.backfilled()

    def _symbols_to_ask(self) -> set[str]:
        """Return what is held, traded of late, hinted at or disagreed on; the income statement names the others."""
        view = self._monitor.view
        named = {d.subject.name for d in self._judge.disagreements() if d.subject.kind == "position"}
        symbols = {name.partition(":")[0] for name in named} | self._hinted
        recent = sorted(
            (position for position in view.positions.values()
             if position.quantity or position.last_update_ms > view.as_of_ms - RECENT_MS),
            key=lambda position: position.last_update_ms, reverse=True,
        )  # fmt: skip
        return symbols | {position.symbol for position in recent[:MAX_RECENT]}

    async def _ask_statement(self) -> None:
        self._statement_at = self._monotonic() + self._statement_seconds
        self._last_statement = self._monotonic()
        known = dict(self._last_numbers)
        at_ms = self._venue.server_time.now_ms()
        stated = await self._requests.account()
        self.problem = None
        self._alarms.resolve(self.account, "RATE_LIMITED")
        self._monitor.state_free({asset.asset: asset.available for asset in stated.assets})
        wallets = {asset.asset: asset.wallet for asset in stated.assets}
        quantities = {position_key(p.symbol, p.position_side): p.quantity for p in stated.positions}
        self._judge.hear(Statement(at_ms, wallets, quantities, is_complete=True))
        if not self._judge.disagreements() and self._missing is None:
            self.unready = None
            if self._monotonic() >= self._complete_at:
                self._complete_at = self._monotonic() + COMPLETE_EVERY_SECONDS
                for symbol, number in known.items():
                    self._see(symbol, number)
                self._see_income(at_ms)
        elif self.unready is not None:
            self.unready = "the account does not agree with the exchange yet"

    # -- what is judged ------------------------------------------------------------------------------------------------

    def _judge_now(self) -> None:
        """Look into what has been disagreed on for a while, and raise what a backfill did not settle."""
        now = self._monotonic()
        disagreements = self._judge.disagreements(for_seconds=CONFIRM_SECONDS)
        if not disagreements:
            self._backfill_pause = 0.0
            self._attempt = 0
        elif self._missing is None and now >= self._backfill_at:
            self.on_backfill(_told(disagreements[0]))
            self._backfill_at += self._backfill_pause  # at once, and then ever more slowly
            self._backfill_pause = min(max(self._backfill_pause * 2, 1.0), LONGEST_BACKFILL_PAUSE_SECONDS)
        lasting = {d.subject: d for d in self._judge.disagreements(for_seconds=DELIVER_SECONDS)}
        for subject in self._drifting - lasting.keys():
            self._alarms.resolve(self.account, _drift_of(subject), symbol=subject.name)
        for subject, disagreement in lasting.items():
            self._alarms.fire(self.account, _drift_of(subject), _told(disagreement), symbol=subject.name)
        self._drifting = set(lasting)

    # -- what is complete ----------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        """Take over from the journal how far trades and income are complete, and which flows are known."""
        prefix = f"{VENUE_TRADES}:"
        for source, position in self._monitor.journal.positions.items():
            if source.startswith(prefix):
                self._complete_to[source.removeprefix(prefix)] = position.sequence
            elif source == VENUE_INCOME:
                self._income_to_ms = position.sequence
        self._flows.recall(self._monitor.journal.flows(since_ms=self._income_to_ms - REMEMBERED_MS))

    def _see(self, symbol: str, number: int) -> None:
        if number > self._complete_to.get(symbol, -1):
            self._complete_to[symbol] = number
            self._monitor.inbox.see(StreamPosition(f"{VENUE_TRADES}:{symbol}", "", number))

    def _see_income(self, at_ms: int) -> None:
        if at_ms > self._income_to_ms:
            self._income_to_ms = at_ms
            self._monitor.inbox.see(StreamPosition(VENUE_INCOME, "", at_ms))

    async def _recorded(self) -> None:
        """Return once everything that was put so far is recorded and applied."""
        put_count = self._monitor.inbox.put_count
        while self._monitor.taken_count < put_count and self._monitor.failure is None:  # noqa: ASYNC110  # seldom
            await asyncio.sleep(0.005)


def _drift_of(subject: Subject) -> AlarmKind:
    return "BALANCE_DRIFT" if subject.kind == "wallet" else "POSITION_DRIFT"


def _told(disagreement: Disagreement) -> str:
    (kind, name), stated, held, *_ = disagreement
    ours = "nothing is known here" if held is None else f"the ledger holds {to_text(held)}"
    return f"{kind} {name}: the exchange states {to_text(stated)}, {ours}"
