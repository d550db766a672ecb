"""Feed: everything that the exchange says about one account, into its inbox: heard on the stream, else asked for.

The stream is fast and may be deaf without knowing it. So the exchange is asked every few seconds what the account is,
and where the ledger differs from that, what was missed is fetched: trades and income, from the last that is complete.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from random import Random
from typing import NamedTuple

import structlog

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.adoption import adopt, cost_of, settlement_seconds
from account_monitor.feeds.binance.answers import AccountStatement
from account_monitor.feeds.binance.backfill import SEARCHED, Backfill
from account_monitor.feeds.binance.completeness import Completeness
from account_monitor.feeds.binance.deafness import Deafness
from account_monitor.feeds.binance.errand import Errand
from account_monitor.feeds.binance.messages import (
    AccountUpdate,
    ConfigUpdate,
    MarginCall,
    OrderTrade,
    TradeLite,
    Unknown,
    flows,
    user_event,
)
from account_monitor.feeds.binance.orders import ask_about_orders
from account_monitor.feeds.binance.quality import StreamQuality
from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.search import Patience, Search
from account_monitor.feeds.binance.session import StreamSettings
from account_monitor.feeds.binance.stream import UserStream
from account_monitor.feeds.binance.terms import AccountTerms
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.ledger.events import Event, Fill, Listing, PositionSide, position_key, trade_number
from account_monitor.ledger.money import to_text
from account_monitor.ledger.reconciliation import Statement
from account_monitor.monitor.alarms import PASSING_SECONDS, AlarmBoard
from account_monitor.monitor.flows import REMEMBERED_MS, FlowBook
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.judge import Judge
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import (
    MALFORMED_EVENT,
    VENUE_INCOME,
    VENUE_STATEMENT,
    VENUE_STREAM,
    VENUE_TRADES,
    Delivery,
    is_venue,
)
from account_monitor.monitor.reconciler import (
    CONFIRM_SECONDS,
    DURATION_BUCKETS_SECONDS,
    PositionStated,
    Reconciler,
)
from account_monitor.monitor.schedule import Monotonic
from account_monitor.monitor.views import Change, Comparison, View

LOOK_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 5.0
"""Between searches for differences that were not searched for before, where one follows the other."""

LATE_PAUSES_SECONDS = (15.0, 600.0)
"""Between searches for what nothing explained: its cause may come late."""

LATE = "what nothing explained may be listed by now"
"""Why it is searched for again."""

CORRECT_PAUSE_SECONDS = 1.0
"""Between attempts to correct an account that trades: each costs 10 of the weight."""

LAG_KEPT = 0.95
"""What is left of the lag of the stream with every message that comes sooner."""

SKEW_MS = 1_000
"""How far the local clock may be off before people hear of it; below half of that it is right again."""

SETTLE_SECONDS = 0.1
LONGEST_SETTLE_SECONDS = 5.0
"""How long what a statement contains may take to be heard on the stream, before an account is corrected by it: twice
what it took of late, between these.
"""

ORDER_STATEMENT_SECONDS = 1.0
"""After an order is placed or cancelled, what is free changes without any event: ask, at most this often."""

UNANSWERED_SECONDS = 20.0
"""How long the exchange may leave a question open before people hear of it; at least three intervals."""

RECENT_MS = 3_600_000
MAX_RECENT = 40
"""Symbols that are asked about without a sign that they traded: held, or traded in the last hour."""

MAX_BUFFERED = 10_000
MAX_BUFFERED_BYTES = 32 * 1024 * 1024
"""What is heard before the account is open."""

ADOPTION_SECONDS = 1.0
"""Between attempts to adopt an account that trades: each costs 15 of the weight."""

_LIKE_A_KEY = re.compile(rb"[A-Za-z0-9]{40,}")
_TYPE = re.compile(rb'"e"\s*:\s*"([A-Za-z_]{1,40})"')
_MOVING = (b"ACCOUNT_UPDATE", b"ORDER_TRADE_UPDATE")
_MAX_NAMES = 100  # of events that nobody knows, to be logged once each
_CHANGES_FREE = frozenset({"NEW", "CANCELED", "EXPIRED", "AMENDMENT", "REJECTED"})

log = structlog.get_logger(__name__)


class _Said(NamedTuple):
    """What the stream stated, and when: by the clock that measures durations, and after how many deliveries."""

    statement: Statement
    put_count: int
    heard_at: float
    was_caught_up: bool
    """Whether all of those were applied."""


class BinanceFeed:
    """Feeds one account from the exchange, until cancelled."""

    def __init__(
        self,
        monitor: Monitor,
        venue: BinanceVenue,
        requests: AccountRequests,
        *,
        judge: Judge,
        reconciler: Reconciler,
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
        self._monitor = monitor
        self._venue = venue
        self._requests = requests
        self._judge = judge
        self._reconciler = reconciler
        self._alarms = alarms
        self._statement_seconds = statement_seconds
        self._monotonic = monotonic
        self._chance = chance
        self._flows = FlowBook(self._leg_of)
        reconciler.is_told = lambda event: not self._flows.was_missed(event)
        self._completeness = Completeness(monitor.inbox)
        self._backfill = Backfill(requests, venue.server_time, self._completeness)
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
        self._terms = AccountTerms(monitor, venue, requests, monotonic=monotonic, chance=chance)
        self._learning = self._errand("terms", self._terms.read)
        self._opening = self._errand("opening", self._open)
        self._asking = self._errand("statement", self._ask_statement)
        self._fetching = self._errand("backfill", self._fetch_missing)
        self._correcting = self._errand("correction", self._correct)

        self._is_open = False
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._moved_count = 0
        """Messages that changed what the account holds, or that nobody can read."""
        self._adoptions = 0
        self._listed: set[str] = set()
        self._unknown: set[str] = set()
        self._said: deque[_Said] = deque(maxlen=MAX_BUFFERED)
        """What the stream stated."""

        self._followed: _Said | None = None
        """The last of it that was judged."""
        self._booked = 0
        """Fills that were booked because a search told of them."""
        self._deafness = Deafness(self._flows, monotonic)
        self._search = Search()
        self._has_gap = False
        """Whether the stream was not heard for a while, and no search has begun since."""
        self._first_patience = Patience(longest_seconds=FIRST_PAUSE_SECONDS)
        self._drift_patience = Patience()
        self._late_patience = Patience(first_seconds=LATE_PAUSES_SECONDS[0], longest_seconds=LATE_PAUSES_SECONDS[1])
        self._unreadable_patience = Patience()
        self._statement_at = 0.0
        self._asked_at = float("-inf")
        self._answered_at = float("-inf")
        self._estimates = 0
        self._correct_at = 0.0
        self._compared: asyncio.Future[Comparison] | None = None
        """Will hold how the next statement compares that is asked for; None where nobody waits for it."""
        self.quality = StreamQuality(monotonic, venue.server_time.now_ms)
        """How well the account is heard."""
        self._lag_seconds = 0.0
        """How long the stream takes to tell of something: the most of late, which is forgotten slowly."""
        self.statement_seconds_taken = Histogram(DURATION_BUCKETS_SECONDS)
        """How long it took to ask for statements and to compare them."""

    def _errand(self, name: str, run: Callable[[], Awaitable[None]]) -> Errand:
        return Errand(self.account, name, run, self._venue.server_time, self._monotonic)

    @property
    def is_live(self) -> bool:
        """Whether what the exchange says is heard now."""
        return self._stream.is_live

    @property
    def is_whole(self) -> bool:
        """Whether it is heard, everything that was missed is fetched, and the exchange answers."""
        return self._is_open and self._stream.is_whole and self._search.reason is None and self.problem is None

    @property
    def problem(self) -> str | None:
        """What does not work now."""
        errand = next((each for each in self._errands if each.problem is not None), None)
        return None if errand is None else str(errand.problem)

    @property
    def terms_problem(self) -> str | None:
        """Why margins are judged by old terms, or by none; None while there is no reason."""
        return None if self._learning.problem is None else str(self._learning.problem)

    @property
    def reconnects(self) -> int:
        """Sockets of the user stream that were made after the first."""
        return self._stream.reconnects

    @property
    def unheard(self) -> tuple[float, str] | None:
        """For how many seconds the user stream has not been heard that was heard before, and why; None while it is."""
        return self._stream.unheard

    @property
    def interval_seconds(self) -> float:
        """How often the exchange is asked for a statement: as configured, unless the weight is for fewer."""
        return max(self._statement_seconds, self._venue.turn_seconds)

    @property
    def _errands(self) -> tuple[Errand, ...]:
        return (self._opening, self._asking, self._fetching, self._correcting)

    def wanted(self) -> set[str]:
        """Return the symbols whose marks value anything of the account: what is held, and money in other assets."""
        view = self._monitor.view
        held = {position.symbol for position in view.positions.values() if position.quantity}
        return held | {f"{asset}USDT" for asset in view.balances}

    async def run(self) -> None:
        """Listen and ask, until cancelled."""
        self._completeness.recall(self._monitor.journal.positions)
        self._flows.recall(self._monitor.journal.flows(since_ms=self._completeness.money_ms - REMEMBERED_MS))
        with self._venue.shared():
            async with asyncio.TaskGroup() as group:
                group.create_task(self._stream.run(), name=f"user-stream:{self.account}")
                await self._look_after(group)

    # -- what was recorded ---------------------------------------------------------------------------------------------

    def note(self, view: View, change: Change) -> None:
        """Observe the monitor: what came from others alone shows whether the stream is deaf."""
        if change.recorded is None:
            return
        self._terms.note_positions(change.positions)
        told = [(entry.event, entry.source) for entry in change.recorded.entries]
        told += [(delivery.event, delivery.source) for delivery in change.recorded.duplicates]  # type: ignore[misc]
        for event, source in told:
            if type(event) is Fill and is_venue(source):
                self._completeness.note(event)
        self._booked += sum(
            entry.source == VENUE_TRADES and type(entry.event) is Fill and not entry.event.revision
            for entry in change.recorded.entries
        )
        self._want_if(self._deafness.note(change.recorded))
        self.quality.note(change.recorded)

    def _want_if(self, reason: str | None) -> None:
        if reason is not None:
            self._search.want(reason, self._monotonic(), patience=self._unreadable_patience)

    # -- what is heard -------------------------------------------------------------------------------------------------

    async def wait_for_room(self) -> None:
        """Return once the inbox is not full."""
        await self._monitor.inbox.wait_for_room()

    def on_message(self, payload: bytes, received_at_ms: int) -> None:
        """Take a message of the stream. Until the account is open, it waits."""
        if self._is_open:
            self._hear(payload, received_at_ms)
            return
        found = _TYPE.search(payload)
        # Orders that come and go move nothing, and every fill has an ACCOUNT_UPDATE of its own.
        self._moved_count += found is None or found[1] == b"ACCOUNT_UPDATE"
        if len(self._buffer) < MAX_BUFFERED and self._buffered_bytes + len(payload) <= MAX_BUFFERED_BYTES:
            self._buffer.append(payload)
            self._buffered_bytes += len(payload)
        else:
            self._search.want("more was heard before the account was open than can be kept", self._monotonic())

    def _hear(self, payload: bytes, received_at_ms: int | None = None) -> None:
        """Take a message. `received_at_ms` None: it has waited here."""
        try:
            event = user_event(payload)
        except MalformedEvent as error:
            self._hear_garbage(payload, error.reason)
            return
        match event:
            case OrderTrade():
                self.received["ORDER_TRADE_UPDATE"] += 1
                self.quality.heard(payload, event.event_ms, received_at_ms)
                self._hear_order(event, payload)
            case AccountUpdate():
                self.received["ACCOUNT_UPDATE"] += 1
                self.quality.heard(payload, event.event_ms, received_at_ms)
                self._hear_account(event, payload)
            case TradeLite(symbol, trade_id):
                self.received["TRADE_LITE"] += 1
                self._deafness.hint(f"fill:{symbol}:{trade_id}", symbol)
            case ConfigUpdate():
                self.received["ACCOUNT_CONFIG_UPDATE"] += 1
                self._terms.hear_config(event)
            case MarginCall(_, symbols):
                self.received["MARGIN_CALL"] += 1
                text = f"the exchange warns of a liquidation of {', '.join(symbols)}"
                self._alarms.fire(self.account, "MARGIN_CALL", text, severity="CRITICAL", for_seconds=PASSING_SECONDS)
            case Unknown(type_):
                self.received["UNKNOWN"] += 1
                if type_ not in self._unknown and len(self._unknown) < _MAX_NAMES:
                    self._unknown.add(type_)
                    log.info("unknown_event", account=self.account, type=type_)
            case _:
                self.received[type(event).__name__] += 1

    def _hear_garbage(self, payload: bytes, reason: str) -> None:
        """Park what cannot be read, and fetch what it may have told of."""
        self.received[MALFORMED_EVENT] += 1
        self.quality.garbled()
        harmless = _LIKE_A_KEY.sub(b"***", payload)  # what is parked is shown to people
        self._put(VENUE_STREAM, "user stream", harmless, None, MALFORMED_EVENT, reason)
        found = _TYPE.search(payload)
        if found is None or found[1] in _MOVING:
            self._want_if("a message could not be read")

    def _hear_order(self, order: OrderTrade, payload: bytes) -> None:
        if order.fill is not None:
            self._put_fill(VENUE_STREAM, "ORDER_TRADE_UPDATE", payload, order.fill)
            if order.is_liquidation:
                text = f"the exchange liquidates {order.symbol}"
                self._alarms.fire(
                    self.account, "LIQUIDATION", text, symbol=order.symbol, severity="CRITICAL",
                    for_seconds=PASSING_SECONDS,
                )  # fmt: skip
        if order.execution in _CHANGES_FREE:
            spared = max(ORDER_STATEMENT_SECONDS, self._venue.turn_seconds)
            self._statement_at = min(self._statement_at, self._asked_at + spared)

    def _hear_account(self, update: AccountUpdate, payload: bytes) -> None:
        lag_seconds = (self._venue.server_time.now_ms() - update.at_ms) / 1000
        self._lag_seconds = max(lag_seconds, LAG_KEPT * self._lag_seconds)
        changed = [balance for balance in update.balances if balance.change]
        for flow, balance in zip(flows(update), changed, strict=True):
            content = f"{update.at_ms}:{update.symbol or ''}:{to_text(balance.wallet)}"
            event = self._flows.streamed(flow._replace(transaction_id=content))
            if event is not None:
                self._put(VENUE_STREAM, "ACCOUNT_UPDATE", payload, event)
        wallets = {balance.asset: balance.wallet for balance in update.balances}
        quantities = {position_key(p.symbol, p.position_side): p.quantity for p in update.positions}
        statement = Statement(update.at_ms, wallets, quantities, is_complete=False)
        self._terms.hear_positions(update.positions, update.at_ms)
        self.quality.skew.told(statement)
        put_count = self._monitor.inbox.put_count
        self._said.append(_Said(statement, put_count, self._monotonic(), self._monitor.taken_count >= put_count))

    def _put_fill(self, source: str, subject: str, payload: bytes, fill: Fill) -> None:
        if fill.symbol not in self._listed:
            self._list(fill.symbol, fill.at_ms)
        self._put(source, subject, payload, fill)

    def _list(self, symbol: str, at_ms: int) -> None:
        """Say what the contract settles in, where its name says otherwise, before anything else of it."""
        contract = self._venue.contract(symbol)
        if contract is None:
            return
        self._listed.add(symbol)
        if not self._monitor.settles_as(symbol, contract.margin_asset):
            listing = Listing(symbol, contract.margin_asset, contract.base_asset, at_ms)
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

    def _leg_of(self, symbol: str) -> PositionSide | None:
        """Return the leg that is open, where only one is; one-way positions have but one."""
        positions = self._monitor.view.positions
        sides: tuple[PositionSide, ...] = ("BOTH", "LONG", "SHORT")
        known = {side: position for side in sides if (position := positions.get(position_key(symbol, side)))}
        held = [side for side, position in known.items() if position.quantity]
        if len(held) == 1:
            return held[0]
        return "BOTH" if "BOTH" in known and not held else None

    def on_backfill(self, reason: str) -> None:
        """Fetch what was missed: the stream was not heard for a while."""
        self._deafness.restart()
        if self._stream.last_gap is not None:
            seconds, why = self._stream.last_gap
            self.quality.heard_again(why, seconds)
        self._has_gap = True
        self._search.want(reason, self._monotonic())

    def on_alarm(self, kind: str, text: str) -> None:
        """The stream is not heard."""
        self._alarms.fire(self.account, "STREAM_STALE", text)

    def on_clear(self, kind: str) -> None:
        """The stream is heard again, and what was missed was fetched."""
        self._alarms.resolve(self.account, "STREAM_STALE")

    # -- what is due ---------------------------------------------------------------------------------------------------

    async def _look_after(self, group: asyncio.TaskGroup) -> None:
        began = self._monotonic()
        while True:
            now = self._monotonic()
            if not self._is_open:
                self._opening.start(group)
            else:
                if self._terms.is_due(now):
                    self._learning.start(group)
                self._follow_stream()
                self._judge_now()
                if now >= self._statement_due:
                    self._asking.start(group)
                if self._reconciler.to_correct and now >= self._correct_at and not self._settlement_seconds:
                    self._correcting.start(group)
                if self._search.is_due(now):
                    self._fetching.start(group)
            self._watch_answers(
                now - max(self._answered_at, began), is_starting=now < began + self._venue.start_seconds
            )
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def _settlement_seconds(self) -> float:
        """How long nobody can tell whether what the exchange states contains the funding of the hour."""
        return settlement_seconds(self._venue.server_time.now_ms())

    @property
    def _statement_due(self) -> float:
        """When the next statement is to be asked for: a difference is confirmed before the interval has passed."""
        confirm_at = self._reconciler.confirm_at
        if confirm_at is None:
            return self._statement_at
        spared = max(CONFIRM_SECONDS, self._venue.turn_seconds)
        return min(self._statement_at, max(confirm_at, self._asked_at + spared))

    async def compare(self) -> Comparison:
        """Ask for a statement as soon as may be, and return how the account compares with it."""
        if self._compared is None:
            self._compared = asyncio.get_running_loop().create_future()
        spared = max(ORDER_STATEMENT_SECONDS, self._venue.turn_seconds)
        self._statement_at = min(self._statement_at, self._asked_at + spared)
        return await asyncio.shield(self._compared)

    def _watch_answers(self, unanswered_seconds: float, *, is_starting: bool) -> None:
        """Tell people what the exchange does not answer, and for how long."""
        if any(errand.is_limited for errand in self._errands):
            text = "the exchange refuses requests from this address; nothing is asked until it takes them again"
            self._alarms.fire(self.account, "RATE_LIMITED", text)
            return
        problem = self.problem
        if problem is not None and self.unready is not None:
            self.unready = f"the exchange does not answer: {problem}"
        limit_seconds = max(UNANSWERED_SECONDS, 3 * self.interval_seconds)
        since = self._fetching.failing_since
        failing_seconds = 0.0 if since is None else self._monotonic() - since
        if any(errand.is_refused for errand in self._errands):
            text = f"the account cannot be compared with the exchange: {problem}"
            self._alarms.fire(self.account, "RECONCILIATION_FAILED", text, severity="CRITICAL")
        elif max(unanswered_seconds, failing_seconds) > limit_seconds and not is_starting:
            what = problem or self.unready or "no answer yet"
            text = f"the account was not compared with the exchange for {limit_seconds:.0f} s: {what}"
            self._alarms.fire(self.account, "RECONCILIATION_FAILED", text)
        elif problem is None:
            self._alarms.resolve(self.account, "RECONCILIATION_FAILED")

    async def _open(self) -> None:
        """Learn the contracts, adopt what an account holds that is new here, and hear what waited."""
        await self._requests.read_clock()
        await self._venue.read_contracts_once()
        if self._monitor.opening is None and not await self._adopt():
            return
        opening = self._monitor.opening
        assert opening is not None
        self._completeness.prove({}, opening.at_ms, self._monotonic())
        self._judge.start(self._monitor.view)
        self._is_open = True
        waiting, self._buffer = self._buffer, []
        for payload in waiting:
            self._hear(payload)

    async def _adopt(self) -> bool:
        """Record what the exchange says the account holds, and return whether that is done."""
        if self._adoptions:
            await asyncio.sleep(ADOPTION_SECONDS * self._chance.uniform(0.5, 1.5))
        self._adoptions += 1
        self._answered_at = self._monotonic()  # it is not the exchange that keeps the account waiting
        if seconds := self._settlement_seconds:
            self.unready = f"the funding of this hour may be under way; the account is adopted in {seconds:.0f} s"
            return False
        adopted = await adopt(self._requests, self._venue.server_time, moved=lambda: self._moved_count)
        if adopted is None:
            log.info("account_moved_during_adoption", account=self.account)
            self.unready = "the account moves; it is adopted as soon as it holds still for a moment"
            return False
        for anchor in adopted.opening.positions:
            self._list(anchor.symbol, adopted.opening.at_ms)
        self._put(VENUE_STATEMENT, "account", b"", adopted.opening)
        await self._recorded()
        if self._monitor.opening is None:
            return False  # nothing can be recorded any more, and the monitor says so
        self._completeness.prove(adopted.last_trades, adopted.opening.at_ms, self._monotonic())
        return True

    def _follow_stream(self) -> None:
        """Learn whether the stream leaves things out."""
        time = self._venue.server_time
        deaf, ask = self._deafness.look(
            time.now_ms(), is_live=self._stream.is_live, unsure_ms=math.ceil(time.error_ms or 0)
        )
        self._want_if(ask)
        if deaf is not None:
            self._stream.stale(deaf)

    async def _fetch_missing(self) -> None:
        self._reconciler.begin_search(was_heard=not self._has_gap)
        self._has_gap = False
        try:
            await self._search_for_missing()
        except BaseException:
            self._reconciler.cancel_search()
            raise

    async def _search_for_missing(self) -> None:
        reason = self._search.reason or ""
        self._search.begin(self._monotonic())
        opening = self._monitor.opening
        opened_ms = 0 if opening is None else opening.at_ms
        hints = self._deafness.hints
        count = 0

        async def take(fills: Sequence[Fill]) -> None:
            nonlocal count
            await self._monitor.inbox.wait_for_room()
            untold = await self._untold(fills)
            self._take_back(untold)
            first = {id(fill) for fill in untold}  # in the commit of what they explain
            for fill in sorted(fills, key=lambda fill: id(fill) not in first):
                self._put_fill(VENUE_TRADES, "userTrades", fill.identity.encode(), fill)
            count += len(fills)

        symbols = self._symbols_to_ask() | set(hints.values())
        named = [
            (symbol, number)
            for identity, symbol in hints.items()
            if (number := trade_number(identity.rpartition(":")[2])) is not None
        ]
        booked = self._booked
        missed = await self._backfill.run(symbols, take, opened_ms=opened_ms, attempt=self._search.attempt, named=named)
        await self._recorded()  # now it is known which positions a payment is for
        events = self._flows.stated(missed, agreed_ms=self._completeness.money_ms)
        news = [event for event in events if self._flows.was_missed(event)]  # the others are only cut anew
        self._take_back(news)
        self._reconciler.expect(news)
        for event in events:
            self._put(VENUE_INCOME, "income", event.event_id.encode(), event)
        await self._recorded()
        self._deafness.searched(hints)
        self._statement_at = self._monotonic()
        new = self._booked - booked
        if new or news:
            self._drift_patience.reset()  # what is left is another matter
        log.info("backfilled", account=self.account, reason=reason, read=count, new=new, flows=len(events))
        orders = await ask_about_orders(self._requests, self._reconciler.found_fills)
        self._reconciler.end_search(reason, orders)
        if self._search.end(self._monotonic()):
            self._stream.backfilled()

    async def _untold(self, fills: Sequence[Fill]) -> list[Fill]:
        """Return the fills that the journal does not hold, if corrections stand that they may explain."""
        if not self._monitor.adjustments:
            return []
        await self._recorded()
        unknown = await asyncio.to_thread(self._monitor.journal.unknown, fills)
        return [fill for fill in fills if fill.identity in unknown]

    def _take_back(self, news: Sequence[Event]) -> None:
        """Take the corrections back that these explain, in the commit that books them."""
        for reversal in self._reconciler.reversals(news):
            self._put(VENUE_STATEMENT, "reconciliation", b"", reversal)

    async def _correct(self) -> None:
        """Make the ledger what the exchange states, where nothing explains the difference."""
        left: list[float] = []
        stated, risks = await asyncio.gather(
            self._requests.account(urgency="urgent", leaving=lambda: left.append(self._monotonic())),
            self._requests.position_risks(),
        )
        await asyncio.sleep(max(SETTLE_SECONDS, min(2 * self._lag_seconds, LONGEST_SETTLE_SECONDS)))
        self._correct_at = self._monotonic() + CORRECT_PAUSE_SECONDS * self._chance.uniform(0.5, 1.5)
        positions = {
            position_key(risk.symbol, risk.position_side): PositionStated(risk.symbol, risk.quantity, cost_of(risk))
            for risk in risks
        }
        statement = statement_of(stated, self._venue.server_time.now_ms())
        if self._reconciler.correct(statement, positions, left[-1]):
            self._late_patience.reset()
            self._late_patience.begin(self._monotonic())
            await self._recorded()
            self._statement_at = self._monotonic()

    def _symbols_to_ask(self) -> set[str]:
        """Return what is held, traded of late or disagreed on; the income statement names the others."""
        view = self._monitor.view
        named = {d.subject.name for d in self._judge.disagreements() if d.subject.kind == "position"}
        symbols = {name.partition(":")[0] for name in named}
        since_ms = self._venue.server_time.now_ms() - RECENT_MS
        recent = sorted(
            (position for position in view.positions.values()
             if position.quantity or position.last_update_ms > since_ms),
            key=lambda position: position.last_update_ms, reverse=True,
        )  # fmt: skip
        return symbols | {position.symbol for position in recent[:MAX_RECENT]}

    async def _ask_statement(self) -> None:
        left: list[tuple[float, int, dict[str, int]]] = []

        waiting: asyncio.Future[Comparison] | None = None

        def leaving() -> None:
            nonlocal waiting
            if waiting is None:
                waiting, self._compared = self._compared, None  # who asks from now on wants a younger one
            left.append((self._monotonic(), self._venue.server_time.now_ms(), self._completeness.told))
            self._asked_at = left[-1][0]
            self._statement_at = self._asked_at + self.interval_seconds  # unless an order comes meanwhile

        try:
            stated = await self._requests.account(leaving=leaving)
        except (VenueUnavailable, VenueRefused, VenueLimited):
            if waiting is not None:
                self._keep_waiting(waiting)
            self._statement_at = self._monotonic()  # the errand says when it is tried again
            raise
        left_at, at_ms, known = left[-1]
        self._answered_at = self._monotonic()
        self._alarms.resolve(self.account, "RATE_LIMITED")
        if self._estimates != self._venue.server_time.estimates:
            self._estimates = self._venue.server_time.estimates
            self._judge.restart_times()
        self._watch_clock()
        self._monitor.state_free({asset.asset: asset.available for asset in stated.assets})
        self._terms.hear_statement(stated, at_ms)
        statement = statement_of(stated, at_ms)
        self.quality.last_statement_ms = self._venue.server_time.now_ms()
        if self._stream.is_live:
            self.quality.skew.stated(statement, left_at)
        self._hear_said()
        self._judge.hear(statement)
        self._reconciler.stated(statement)
        comparison = self._reconciler.comparison(self.interval_seconds)
        self._monitor.compared(comparison)
        if waiting is not None:
            waiting.set_result(comparison)
        self.statement_seconds_taken.observe(self._monotonic() - left_at)
        if self._judge.is_exact(statement, left_at):
            prove = self._completeness.prove_late if self._reconciler.has_questions else self._completeness.prove
            prove(known, at_ms, self._monotonic())
            self._flows.forget(self._completeness.money_ms - REMEMBERED_MS)
        if self.unready is not None:
            disputed = any(not (each.is_tolerated or each.is_accepted) for each in self._judge.disagreements())
            if disputed or self._search.reason is not None:
                self.unready = "the account does not agree with the exchange yet"
            else:
                self.unready = None

    def _watch_clock(self) -> None:
        """Tell people of a local clock that is wrong: requests allow for it, what is recorded carries it."""
        skew_ms, error_ms = self._venue.server_time.skew_ms, self._venue.server_time.error_ms
        if skew_ms is None or error_ms is None:
            return
        if abs(skew_ms) > SKEW_MS + error_ms:
            side = "ahead of" if skew_ms > 0 else "behind"
            text = f"this machine's clock is {abs(skew_ms) / 1000:.1f} s {side} the exchange's"
            value, limit = Decimal(skew_ms).scaleb(-3), Decimal(SKEW_MS).scaleb(-3)
            self._alarms.fire(self.account, "CLOCK_SKEW", text, value=value, threshold=limit)
        elif abs(skew_ms) < SKEW_MS / 2:
            self._alarms.resolve(self.account, "CLOCK_SKEW")

    def _keep_waiting(self, waiting: asyncio.Future[Comparison]) -> None:
        """Let those who wait for a statement that failed have the next one."""
        if self._compared is None:
            self._compared = waiting
        else:
            self._compared.add_done_callback(lambda compared: waiting.set_result(compared.result()))

    # -- what is judged ------------------------------------------------------------------------------------------------

    def _hear_said(self) -> None:
        """Judge what the stream stated once everything that came before is applied."""
        while self._said and self._said[0].put_count <= self._monitor.taken_count:
            said = self._said.popleft()
            before, self._followed = self._followed, said
            if before is None or not said.was_caught_up:
                behind = None
            else:
                behind = self._judge.follow(before.statement, before.heard_at, said.heard_at)
            if behind is not None:
                reason = f"the ledger is behind the stream in {behind.kind} {behind.name}"
                self._search.want(reason, self._monotonic(), patience=self._drift_patience)
            self._judge.hear(said.statement)

    def _judge_now(self) -> None:
        """Look into what has been disagreed on for a while, and decide about what no search settles."""
        self._hear_said()
        self._reconciler.in_gap = self._has_gap or not self._stream.is_whole
        self._reconciler.lag_seconds = min(self._lag_seconds, LONGEST_SETTLE_SECONDS)
        self._reconciler.look()
        now = self._monotonic()
        disagreements = self._judge.disagreements()
        if not disagreements:
            self._drift_patience.reset()
        if all(each.is_accepted for each in disagreements):
            self._search.attempt = 0
            self._search_late(now)
            return
        wanted = self._reconciler.to_search()
        if wanted is not None and self._search.reason is None:
            reason, self._search.attempt = wanted
            if self._search.attempt < SEARCHED:
                patience = self._drift_patience if self._search.attempt else self._first_patience
                self._search.want(reason, now, patience=patience)
            else:
                self._reconciler.give_up()
                if not self._reconciler.to_correct:
                    self._late_patience.begin(now)

    def _search_late(self, now: float) -> None:
        """Search again for what nothing explained, for as long as its cause may still be listed."""
        if not self._reconciler.has_questions:
            self._late_patience.reset()
        elif self._search.reason is None and self._late_patience.due(now) <= now:
            self._search.want(LATE, now, patience=self._late_patience)

    async def _recorded(self) -> None:
        """Return once everything that was put so far is recorded and applied, or nothing can be any more."""
        put_count = self._monitor.inbox.put_count
        while self._monitor.taken_count < put_count and self._monitor.failure is None:  # noqa: ASYNC110  # seldom
            await asyncio.sleep(0.005)


def statement_of(stated: AccountStatement, at_ms: int) -> Statement:
    """Return what an answer states, as of a time on the exchange's clock."""
    wallets = {asset.asset: asset.wallet for asset in stated.assets}
    quantities = {position_key(p.symbol, p.position_side): p.quantity for p in stated.positions}
    return Statement(at_ms, wallets, quantities, is_complete=True)
