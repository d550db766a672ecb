"""Monitor: the single writer of one account. Records, applies, publishes, in this order and nowhere else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

import structlog

from account_monitor.errors import ConfigurationError, JournalClosing, JournalError, RecordingStopped, StartAborted
from account_monitor.ledger.account import Account, AccountState, Entry, Settled, moved
from account_monitor.ledger.alerts import RISKS, Alert, Silence
from account_monitor.ledger.events import (
    Adjustment,
    Charge,
    Claim,
    DrawdownReset,
    Event,
    Fill,
    FundingPayment,
    Horizon,
    MarkPrice,
    Marks,
    Opening,
    OtherIncome,
    Reversal,
    Transfer,
    is_numbered,
)
from account_monitor.ledger.explanation import residuals
from account_monitor.ledger.margin import MarginStated, MarginTerms
from account_monitor.ledger.money import ZERO, to_text
from account_monitor.ledger.reconciliation import Quarantine, Subject
from account_monitor.ledger.valuation import Valuation
from account_monitor.monitor.flows import REMEMBERED_MS
from account_monitor.monitor.horizon import before_ms, horizon, is_due
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.past import Past
from account_monitor.monitor.ports import (
    CONFLICTING_FILL,
    MONITOR,
    VENUE_INCOME,
    Checkpoints,
    Clock,
    Delivery,
    Journal,
    JournalEntry,
    Recorded,
    StreamPosition,
    is_venue,
)
from account_monitor.monitor.schedule import Every, Monotonic
from account_monitor.monitor.views import Change, Comparison, View, ViewBuilder

BATCH = 1_000
"""Deliveries in one commit: large enough to pay for the flush, small enough to be applied within 20 ms."""

CHECKPOINT_EVERY = 50_000
"""Entries between checkpoints: folding that many takes half a second."""

FOLDED_CHECKPOINT_EVERY = 200_000
"""The same while a journal is folded at the start: a look into the past begins at one of these."""

PRICES_EVERY_SECONDS = 0.05
"""How long changed prices may wait for a view."""

RESIDUALS_EVERY_SECONDS = 5.0
"""How often it is added up whether the causes account for the wallets: a few microseconds for each position."""

RESTATE_OFF_LOOP = 250
"""Fills to fold again from which late events are applied in a thread, so that the process goes on answering."""

MARGIN_WAITS_SECONDS = 0.25
"""How long what the exchange states of margins may wait for the fill that it comes with: both are shown at once."""

OPENING_SECONDS = 30.0
"""How long a new account's fills from elsewhere wait for the exchange to say what it holds."""

Observer: TypeAlias = Callable[[View, Change], None]

log = structlog.get_logger()


class Monitor:
    """Owns the ledger of one account. Readers take `view`, which is never changed, only replaced."""

    def __init__(
        self,
        name: str,
        journal: Journal,
        checkpoints: Checkpoints,
        inbox: Inbox,
        *,
        clock: Clock,
        monotonic: Monotonic,
        usd_assets: frozenset[str],
        opening: Opening | None,
        snapshot_seconds: float,
        day_starts_at: int = 0,
        has_venue: bool = False,
    ) -> None:
        """`day_starts_at`: minutes after 00:00 UTC.

        `has_venue`: an exchange feeds the account; what others tell of under ids of their own is then a claim."""
        self.name = name
        self.journal = journal
        self.inbox = inbox
        self.observers: list[Observer] = []
        self.failure: str | None = None
        self.taken_count = 0
        """Deliveries of the inbox that are recorded and applied, since the start."""
        self._checkpoints = checkpoints
        self._clock = clock
        self._monotonic = monotonic
        self._usd_assets = usd_assets
        self._day_starts_at = day_starts_at
        self._opening = opening
        self.has_venue = has_venue
        self.is_listed: Callable[[str], bool] = lambda symbol: True
        """Whether the exchange may know a contract; what knows the exchange sets it."""
        self.speaks: Callable[[], bool] = lambda: True
        """Whether it may be corrected, compacted and told of at this moment: nobody else does. What holds its lease
        sets it. What is heard is recorded, and alerts are told, as long as it runs.
        """
        self.is_taken: Callable[[], bool] = lambda: False
        """Whether it is known that somebody else may speak for it: that nothing is recorded here is as it should be."""
        self.reconcile: Callable[[], Awaitable[Comparison]] | None = None
        """Compares the account with its exchange now; what knows the exchange sets it."""
        self.residual: Decimal | None = ZERO
        """What the wallets hold that no cause explains, in USD; None: it has no price. Anything but 0 is a defect."""
        self.remarks_on: Callable[[Sequence[Delivery]], list[Delivery]] = lambda deliveries: []
        """What is recorded together with deliveries because of them; what raises alerts sets it."""
        self.bring_up_to_date: Callable[[Alert], Alert] = lambda alert: alert
        """Returns a journaled alert with the text of now, while it fires; what raises alerts sets it."""
        self.acknowledge: Callable[[str, str], Alert | None] = lambda alert_id, by: None
        """Returns the transition that says who looks after an alert, to be recorded; None where it does not fire."""
        self._free: dict[str, Decimal] = {}
        self._terms: MarginTerms | None = None
        self._margins: list[MarginStated] = []
        self._margins_since = 0.0
        self._comparison: Comparison | None = None
        self._residuals_due = Every(RESIDUALS_EVERY_SECONDS, monotonic)
        self._snapshots = Every(snapshot_seconds, monotonic)
        self._positions_due = Every(1.0, monotonic)
        self._prices_due = Every(PRICES_EVERY_SECONDS, monotonic)
        self._prices: dict[str, MarkPrice] = {}
        self._has_new_marks = False
        """Whether there are prices that the journal may not know."""
        self._marked_ms = 0
        """The time of the marks that were journaled last."""
        self._observed_equity: Decimal | None = None
        """What the view's equity was when marks were journaled last."""
        self._settled_in_usd: set[str] = set()
        """Symbols whose fills need no rate."""
        self._recorded_positions: dict[str, StreamPosition] = {}
        self._seen: dict[str, StreamPosition] = {}
        """How far sources were seen, by source, where that is not recorded yet."""
        self._checkpoint_seq = 0
        self._kept_settled: Settled | None = None
        """The last horizon that a kept state knows: one more state is kept for each."""
        self._stopping = False
        self._ordered: set[asyncio.Future[JournalEntry]] = set()
        """What people wait for until it is recorded."""
        self._opening_until = 0.0

    # -- start -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Fold the journal and publish the first view.

        Raises: ConfigurationError for a changed opening; StartAborted when `stop` is called meanwhile.
        """
        self._account = await asyncio.to_thread(self._fold, asyncio.get_running_loop())
        self._valuation = Valuation(self._account)
        self._builder = ViewBuilder(self.name, self.journal.epoch, self._account, self._valuation)
        self._recorded_positions = dict(self.journal.positions)
        self._opening_until = self._monotonic() + OPENING_SECONDS
        self._snapshots.begin()
        await self._open()
        self._observed_equity = self._account.state.performance.equity
        log.info("account_folded", account=self.name, seq=self.view.seq, positions=len(self.view.positions))

    def check_opening(self, configured: Opening | None) -> None:
        """Raise ConfigurationError unless the configured opening is the journaled one."""
        if configured is not None and self._account.state.opening is None and self._account.state.has_begun:
            raise ConfigurationError(
                f"accounts.{self.name}.opening: the journal already holds {self.view.seq} entries without an opening;"
                " remove the key, or start the account under a new name"
            )
        _check_opening(self.name, self._account.state.opening, configured)

    def _fold(self, loop: asyncio.AbstractEventLoop) -> Account:
        """Fold the journal, in a thread; after a change of the ledger all of it, with checkpoints on the way."""
        state = self._checkpoints.load()
        account = Account(self.journal, usd_assets=self._usd_assets, state=state, day_starts_at=self._day_starts_at)
        self._checkpoint_seq = account.state.seq
        self._kept_settled = account.state.settled
        batch: list[tuple[int, Event]] = []
        for entry in self.journal.entries(after=account.state.seq):
            batch.append((entry.seq, entry.event))
            if len(batch) >= BATCH:
                if self._stopping:
                    raise StartAborted(f"account {self.name}: stopped while its journal was folded")
                account.apply_all(batch)
                batch.clear()
                if account.state.seq - self._checkpoint_seq >= FOLDED_CHECKPOINT_EVERY:
                    self._checkpoint_seq = account.state.seq
                    self._keep_folded(account.state, loop)
        account.apply_all(batch)
        return account

    def _keep_folded(self, state: AccountState, loop: asyncio.AbstractEventLoop) -> None:
        """Save a state from the thread that folds, which waits meanwhile. Without it, the next fold takes longer."""
        try:
            asyncio.run_coroutine_threadsafe(self._checkpoints.save(state), loop).result()
        except RecordingStopped as failure:
            log.warning("checkpoint_not_kept", account=self.name, seq=state.seq, reason=str(failure))

    async def _open(self) -> None:
        """Journal the configured opening once; later it must stay what it was."""
        self.check_opening(self._opening)
        if self._opening is not None and self._account.state.opening is None:
            await self._record([Delivery("config", "", b"", self._opening)], [])

    @property
    def status(self) -> Literal["ready", "recording_stopped"]:
        """`ready`, or `recording_stopped` once nothing can be recorded."""
        return "ready" if self.failure is None and self.journal.failure is None else "recording_stopped"

    @property
    def view(self) -> View:
        """The newest view."""
        return self._builder.view

    # -- run ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Record and apply until `stop`, then drain the inbox. Ends when nothing can be recorded any more."""
        try:
            while not self._stopping or len(self.inbox):
                await self.inbox.wait(self._patience())
                await self.step()
            if self._prices:
                self._take_prices()
            await self.step()  # once more: after a stop in good order nothing that was seen may look unseen
            await self._save_checkpoint()
        except RecordingStopped as failure:
            self.failure = str(failure)
            self.inbox.shut()  # what comes now stays with its source, and is read again after a restart
            say = log.warning if self.is_taken() else log.critical
            say("recording_stopped", account=self.name, reason=self.failure, seq=self.view.seq)
        finally:
            self._refuse_ordered()

    def stop(self) -> None:
        """Let `run` end once the inbox is drained."""
        self._stopping = True
        self.inbox.wake()

    def mark(self, mark: MarkPrice) -> None:
        """Value a symbol at this price from now on."""
        known = self._prices.get(mark.symbol)
        if known is not None and known.at_ms > mark.at_ms:
            return
        if not self._prices:
            self.inbox.wake()
        self._prices[mark.symbol] = mark

    def compared(self, comparison: Comparison) -> None:
        """Show how the account compares with its exchange, from now on."""
        self._comparison = comparison
        self.inbox.wake()

    async def record(self, event: Event, *, source: str) -> JournalEntry:
        """Journal what a person ordered, and return its entry once it is durable and applied.

        It waits for as long as the disk takes: give up after a while.

        Raises: JournalClosing where nothing more is taken, at once; RecordingStopped.
        """
        if self.failure is not None:
            raise RecordingStopped(self.failure)
        if self._stopping or self.inbox.is_sealed:
            raise JournalClosing(f"account {self.name} takes nothing more here, and this is not recorded")
        entered: asyncio.Future[JournalEntry] = asyncio.get_running_loop().create_future()
        self._ordered.add(entered)

        def note(view: View, change: Change) -> None:
            for entry in () if change.recorded is None else change.recorded.entries:
                if entry.event is event and not entered.done():
                    entered.set_result(entry)

        self.observers.append(note)
        try:
            self.inbox.put(Delivery(source, "", b"", event))
            return await entered
        finally:
            self.observers.remove(note)
            self._ordered.discard(entered)

    def _refuse_ordered(self) -> None:
        """Let nobody wait for what nobody records any more. What was being written may be recorded all the same."""
        for entered in self._ordered:
            if not entered.done():
                entered.set_exception(self._closing())

    def _closing(self) -> JournalError:
        if self.failure is not None:
            return RecordingStopped(self.failure)
        return JournalClosing(
            f"account {self.name} was closed here before it was known whether this is recorded: look before it is"
            " ordered again"
        )

    def state_free(self, free: Mapping[str, Decimal]) -> None:
        """Show what the exchange states as free, by asset, from now on."""
        self._free.update(free)
        self.inbox.wake()

    def state_terms(self, terms: MarginTerms) -> None:
        """Judge margins by these rules of the exchange from now on."""
        self._terms = terms
        self.inbox.wake()

    def state_margin(self, stated: MarginStated) -> None:
        """Show what the exchange states of margins: with the next fill, or soon."""
        if not self._margins:
            self._margins_since = self._monotonic()
        self._margins.append(stated)

    @property
    def past(self) -> Past:
        """The account as it was; reads only, and takes its time: ask in a thread."""
        return Past(
            self.journal, self._checkpoints, self._usd_assets, day_starts_at=self._day_starts_at, opening=self.opening
        )

    def due_horizon(self, now_ms: int, retention_ms: int) -> Horizon | None:
        """Return the horizon that is to be drawn now, where entries are kept for so long; None where none is due."""
        state = self._account.state
        if not state.has_begun or not is_due(state.settled, now_ms, retention_ms):
            return None
        return horizon(state, now_ms, before_ms(state.settled, now_ms, retention_ms, proved_ms=self.proved_ms))

    @property
    def proved_ms(self) -> int | None:
        """Up to when all that the exchange knows is booked, 0 where that is not proved; None without an exchange."""
        if not self.has_venue:
            return None
        proved = self.journal.positions.get(VENUE_INCOME)
        return 0 if proved is None else proved.sequence

    def compactable(self, *, told_from_ms: int, recorded_by_ms: int, replicated_seq: int) -> int:
        """Return up to which entry the journal is not needed any more; it reads, so ask in a thread.

        Money of which the exchange may tell again stays: its word for it is another id, by which no journal knows it.
        Without a proof it may tell of anything.
        """
        proved_ms = self.proved_ms
        if proved_ms == 0:
            return 0
        until = self._checkpoints.compactable(
            told_from_ms=told_from_ms, recorded_by_ms=recorded_by_ms, replicated_seq=replicated_seq
        )
        if proved_ms is None or until <= self.journal.base_seq:
            return until
        flows = self.journal.flows(since_ms=proved_ms - REMEMBERED_MS)
        return min([until, *(flow.seq - 1 for flow in flows)])

    def needs_oldest(self) -> str | None:
        """Return a position that needs the oldest entries of the journal, None where none does."""
        timelines, base_seq = self._account.state.timelines, self.journal.base_seq
        return next((key for key, timeline in timelines.items() if timeline.needed_after <= base_seq), None)

    @property
    def opening(self) -> Opening | None:
        """The opening that the journal holds."""
        return self._account.state.opening

    @property
    def adjustments(self) -> Sequence[Adjustment]:
        """The youngest corrections that stand."""
        return self._account.state.adjustments

    @property
    def quarantined(self) -> list[Quarantine]:
        """What is not corrected any more without a person."""
        return [each for each in self._account.state.quarantined.values() if not each.is_over]

    def quarantine_of(self, subject: Subject) -> Quarantine | None:
        """Return the last quarantine of a subject, which may be over."""
        return self._account.state.quarantined.get(f"{subject.kind}:{subject.name}")

    def latest_fill_ms(self, key: str) -> int:
        """Return the time of the youngest fill of a position, 0 where there was none."""
        timeline = self._account.state.timelines.get(key)
        return 0 if timeline is None else max(timeline.leg.latest_fill_ms, 0)

    @property
    def usd_assets(self) -> frozenset[str]:
        """Assets that count as one dollar."""
        return self._usd_assets

    def value_of(self, symbol: str, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the signed value of contracts at a price, in the settlement asset."""
        return self._account.instrument(symbol).value(quantity, price)

    @property
    def alerts(self) -> list[Alert]:
        """The last journaled transition of each alert by what it is about, the youngest last."""
        return list(self._account.state.alerts.values())

    @property
    def silences(self) -> list[Silence]:
        """Of each type and symbol the last silence, which may be over; the youngest last."""
        return list(self._account.state.silences.values())

    def settlement_asset(self, symbol: str) -> str:
        """Return the asset in which the ledger takes a contract to settle."""
        return self._account.instrument(symbol).settlement_asset

    def settles_as(self, symbol: str, settlement_asset: str) -> bool:
        """Whether the ledger takes the contract to settle in this asset."""
        return self.settlement_asset(symbol) == settlement_asset

    async def step(self) -> None:
        """Do what is due: take a batch from the inbox, record and apply it, then the prices."""
        deliveries, seen = self.inbox.take(BATCH, only=_may_come_first if self._awaits_opening() else None)
        taken = len(deliveries)
        deliveries = [*self.inbox.take_ahead(), *deliveries]
        deliveries += self.remarks_on(deliveries)
        deliveries = [self._with_rates(self._as_claim(delivery)) for delivery in deliveries]
        deliveries = [*self._marks(deliveries), *deliveries]
        self._seen |= {p.source: p for p in seen if self._recorded_positions.get(p.source) != p}
        if deliveries or (self._seen and (self._stopping or self._positions_due.is_due())):
            advanced, self._seen = list(self._seen.values()), {}
            await self._record(deliveries, advanced)
        self.taken_count += taken
        if self._prices and self._prices_due.is_due():
            self._take_prices()
        if self._free:
            self._take_free()
        if self._terms is not None or self._are_margins_due:
            self._publish(self._builder.after_margin(self._take_margins()))
        if self._comparison is not None:
            comparison, self._comparison = self._comparison, None
            self._publish(self._builder.after_comparison(comparison))
        state = self._account.state
        if state.seq - self._checkpoint_seq >= CHECKPOINT_EVERY or state.settled is not self._kept_settled:
            await self._save_checkpoint()

    def _awaits_opening(self) -> bool:
        """Whether others than the exchange have to wait: what they tell of may be in what the account holds already."""
        return (
            self.has_venue
            and not self._account.state.has_begun
            and not self._stopping
            and self._monotonic() < self._opening_until
        )

    def _patience(self) -> float:
        """Seconds until something is due without a delivery."""
        if self._stopping:
            return 0.0
        return PRICES_EVERY_SECONDS if self._prices else 0.25

    async def _record(self, deliveries: list[Delivery], positions: list[StreamPosition]) -> None:
        started = self._monotonic()
        recorded = await self.journal.append(deliveries, positions)
        append_seconds = self._monotonic() - started
        for position in positions:
            self._recorded_positions[position.source] = position
        if deliveries:
            await self._apply(recorded, append_seconds)
        for delivery in deliveries:
            if delivery.acknowledge is not None:
                delivery.acknowledge()

    async def _apply(self, recorded: Recorded, append_seconds: float) -> None:
        entries = await self._apply_all([(entry.seq, entry.event) for entry in recorded.entries])
        if self._residuals_due.is_due():
            self.residual = self._valuation.usd_of(residuals(self._account))
        keys, assets = moved(entries)
        stated = self._take_margins()
        change = self._builder.after_events(recorded, append_seconds, keys | stated, assets)
        self._publish(change._replace(applied=entries))
        if recorded.conflicts or recorded.parked:
            self._say_parked(recorded)

    async def _apply_all(self, events: list[tuple[int, Event]]) -> list[Entry]:
        """Apply events; in a thread where many may have to be folded again."""
        if len(events) > RESTATE_OFF_LOOP and any(_needs_marks(event) for _, event in events):
            return await asyncio.to_thread(self._account.apply_all, events)  # what is late is restated before those
        batch = self._account.apply_in_order(events)
        if self._account.restatement_size(batch) > RESTATE_OFF_LOOP:
            return await asyncio.to_thread(self._account.restate, batch)
        return self._account.restate(batch)

    async def _save_checkpoint(self) -> None:
        if self._account.state.seq > self._checkpoint_seq:
            await self._checkpoints.save(self._account.state)
            self._checkpoint_seq = self._account.state.seq
            self._kept_settled = self._account.state.settled

    # -- prices ------------------------------------------------------------------------------------------------------

    def _take_prices(self) -> None:
        keys: set[str] = set()
        for mark in self._prices.values():
            keys.update(self._valuation.mark(mark))
        at_ms = max(mark.at_ms for mark in self._prices.values())
        self._has_new_marks = True
        is_rate = any(self._valuation.prices_money(symbol) for symbol in self._prices)
        self._prices.clear()
        if keys or is_rate:
            self._publish(self._builder.after_prices(keys, at_ms))

    def _marks(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return the marks that are to be journaled before these deliveries, as one event or none.

        Once per interval while the account changes, at a stop, and at once before what is told of its worth or changes
        it without being a result. An event without prices says that the prices of before still hold.
        """
        is_needed = any(_needs_marks(each.event) for each in deliveries)
        is_unobserved = self._is_unobserved()
        if not is_needed and not (is_unobserved and (self._stopping or self._snapshots.is_due())):
            return []
        self._has_new_marks = False
        known, valuation = self._account.state.marks, self._valuation
        used = {mark.symbol: mark for mark in valuation.marks_in_use()}
        if is_needed:
            used |= {mark.symbol: mark for mark in valuation.marks_of(_priced_in(deliveries))}
        prices = tuple(mark for symbol, mark in sorted(used.items()) if known.get(symbol) != mark)
        if not prices and not self._is_worth_other_than_observed():
            return []
        self._observed_equity = self.view.pnl.equity
        self._marked_ms = self._moment_of_marks()
        return [Delivery(MONITOR, "", b"", Marks(self._marked_ms, prices))]

    def _moment_of_marks(self) -> int:
        """Return the time of now; of two sets of marks in one millisecond the second is given the next.

        The time is what tells them apart in the journal.
        """
        now_ms = self._clock()
        return self._marked_ms + 1 if 0 <= self._marked_ms - now_ms < BATCH else now_ms

    def _is_unobserved(self) -> bool:
        """Whether there may be something that the marks which were journaled last do not know."""
        return self._has_new_marks or self._is_worth_other_than_observed()

    def _is_worth_other_than_observed(self) -> bool:
        """Whether the account is worth other than when marks were journaled last, or a day has begun since."""
        equity, performance = self.view.pnl.equity, self._account.state.performance
        if equity is None:
            return False
        return equity != self._observed_equity or performance.awaits_day(self._account.day_of(self._clock()))

    def _take_free(self) -> None:
        assets = self._valuation.state_free(self._free)
        self._free.clear()
        if assets:
            self._publish(self._builder.after_free(assets))

    @property
    def _are_margins_due(self) -> bool:
        return bool(self._margins) and self._monotonic() >= self._margins_since + MARGIN_WAITS_SECONDS

    def _take_margins(self) -> set[str]:
        """Let the valuation know what the exchange stated of margins; return the positions that it changes."""
        changed: set[str] = set()
        if self._terms is not None:
            changed.update(self._valuation.state_terms(self._terms))
            self._terms = None
        for stated in self._margins:
            changed |= self._valuation.state_margin(stated)
        self._margins.clear()
        return changed

    def _as_claim(self, delivery: Delivery) -> Delivery:
        """Keep what others tell of under an id that cannot be the exchange's from being booked beside its own fill, and
        what they tell of a contract that the exchange does not know from being booked at all.
        """
        fill = delivery.event
        if not self.has_venue or type(fill) is not Fill or is_venue(delivery.source):
            return delivery
        if is_numbered(fill.trade_id) and (self.is_listed(fill.symbol) or self._was_held(fill.symbol)):
            return delivery
        return delivery._replace(event=Claim(fill))

    def _was_held(self, symbol: str) -> bool:
        return any(key in self._account.state.timelines for key in (symbol, f"{symbol}:LONG", f"{symbol}:SHORT"))

    def _with_rates(self, delivery: Delivery) -> Delivery:
        """State what a fee or result in an asset other than dollars is worth now, so that the journal knows it too."""
        fill = delivery.event
        if isinstance(fill, FundingPayment | OtherIncome | Charge):
            if fill.asset in self._usd_assets or fill.rate is not None:
                return delivery
            return delivery._replace(event=fill._replace(rate=self._valuation.rate(fill.asset, at_ms=fill.at_ms)))
        if type(fill) is not Fill:
            return delivery
        asset = fill.fee_asset
        if (asset is None or asset in self._usd_assets) and fill.symbol in self._settled_in_usd:
            return delivery
        settlement = self._account.instrument(fill.symbol).settlement_asset
        if settlement in self._usd_assets:
            self._settled_in_usd.add(fill.symbol)
        else:
            fill = fill._replace(settlement_rate=self._rate(settlement, fill))
        if asset is not None and asset not in self._usd_assets:
            fill = fill._replace(fee_rate=self._rate(asset, fill))
        return delivery if fill is delivery.event else delivery._replace(event=fill)

    def _rate(self, asset: str, fill: Fill) -> Decimal | None:
        instrument = self._account.instrument(fill.symbol)
        if asset == instrument.base_asset and instrument.settlement_asset in self._usd_assets:
            return fill.price
        return self._valuation.rate(asset, at_ms=fill.at_ms)

    # -- what others hear --------------------------------------------------------------------------------------------

    def _publish(self, change: Change) -> None:
        view = self.view
        for observer in self.observers:
            observer(view, change)

    def _say_parked(self, recorded: Recorded) -> None:
        counts = Counter(delivery.rejection or "" for delivery in recorded.parked)
        counts[CONFLICTING_FILL] += len(recorded.conflicts)
        if recorded.conflicts:
            conflict = recorded.conflicts[0]
            reason = f"{conflict.recorded.identity} was recorded with another {', '.join(conflict.fields)}"
            if conflict.stands:
                reason += "; what the exchange says stands"
        else:
            reason = recorded.parked[0].reason
        log.warning("messages_parked", account=self.name, counts=dict(+counts), first_reason=reason)


def _needs_marks(event: Event | None) -> bool:
    """Whether it is told of what the account is worth, or changes that without being a result."""
    if isinstance(event, Alert):
        return event.type in RISKS
    return isinstance(event, Transfer | Opening | Adjustment | Reversal | DrawdownReset)


def _priced_in(deliveries: Iterable[Delivery]) -> set[str]:
    """Return the symbols and assets of which events may bring something into the account."""
    names: set[str] = set()
    for event in (each.event for each in deliveries):
        if isinstance(event, Fill):
            names.add(event.symbol)
        elif isinstance(event, Transfer):
            names.add(event.asset)
        elif isinstance(event, Opening | Adjustment):
            names.update(asset for asset, _ in event.wallets or ())
            names.update(anchor.symbol for anchor in event.positions)
    return names


def _may_come_first(source: str) -> bool:
    """Whether a source need not wait until a new account is open: the exchange, and what moves nothing."""
    return is_venue(source) or source == MONITOR


def _check_opening(account: str, recorded: Opening | None, configured: Opening | None) -> None:
    """Raise ConfigurationError unless the opening is the one that was journaled, or no longer configured."""
    if configured is None or recorded is None:
        return
    if configured[1:] != recorded[1:]:
        raise ConfigurationError(
            f"accounts.{account}.opening: the journal was opened with {_words(recorded)}, the configuration says"
            f" {_words(configured)}; an opening is journaled once, later edits are refused: put the old one back"
        )


def _words(opening: Opening) -> str:
    wallets = (
        "unknown wallets" if opening.wallets is None else ", ".join(f"{to_text(n)} {a}" for a, n in opening.wallets)
    )
    positions = ", ".join(f"{anchor.key} {to_text(anchor.quantity)}" for anchor in opening.positions)
    return f"[{wallets or 'no wallets'}; {positions or 'no positions'}]"
