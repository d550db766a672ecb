"""Account: what is true after the events so far, as positions, wallets and balanced entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeAlias, assert_never

from account_monitor.ledger.alerts import Alert, Silence, keep_silence, trim
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
    Charge,
    Claim,
    Deed,
    DrawdownReset,
    Event,
    Fill,
    FundingPayment,
    Horizon,
    Listing,
    MarkPrice,
    Marks,
    Opening,
    OtherIncome,
    PositionSide,
    Reversal,
    Transfer,
)
from account_monitor.ledger.instruments import Instrument, linear_instrument
from account_monitor.ledger.money import ONE, ZERO
from account_monitor.ledger.performance import Performance, Standing
from account_monitor.ledger.position import NEVER_MS, Leg, Movement, Tally
from account_monitor.ledger.reconciliation import Quarantine, Reconciliation
from account_monitor.ledger.timeline import Ahead, Checkpoint, Floor, Journaled, Timeline
from account_monitor.ledger.worth import Worth

USD_ASSETS = frozenset({"USDT", "USDC", "BUSD", "FDUSD", "USD"})
"""Assets that count as one dollar, unless configured otherwise."""

Book: TypeAlias = Literal[
    "position", "financing", "wallet", "realized", "rounding", "fees", "funding", "other", "transfers", "opening",
    "adjustment",
]  # fmt: skip
Posting: TypeAlias = tuple[Book, str, str, Decimal]
"""(book, position key or asset, asset, amount). Assets and costs are positive, income and obligations negative."""

# A named tuple made by its own constructor costs twice as much, and one is made for every fill.
_new = tuple.__new__

MAX_ADJUSTMENTS = 32
"""Corrections that are remembered as standing; one that is older cannot be taken back."""

_OF_THE_WHOLE = frozenset({Transfer, Opening, Adjustment, Reversal, Horizon, Marks, DrawdownReset})
"""What needs to know the whole account, with all that came before."""

_SAID = frozenset({Alert, Silence, Reconciliation, Quarantine, Horizon, DrawdownReset, Deed})
"""What is said about an account, at times of other clocks."""

DAY_MS = 86_400_000

Outcome: TypeAlias = Literal["booked", "restated", "contained", "noted"]


class Entry(NamedTuple):
    """What one event did: postings that sum to zero per asset.

    `restated`: the event arrived late, and its postings include what it changed in events after it. Late events of one
    batch are restated together, in the entry of the last one. `contained`: an opening or adjustment includes it.
    `noted`: it says something about events, and moves nothing.
    """

    seq: int
    event: Event
    outcome: Outcome
    postings: tuple[Posting, ...]


class Batch(NamedTuple):
    """Entries of which some wait to be restated: by position, the indexes of its late ones."""

    entries: list[Entry]
    late: dict[str, list[int]]


class History(Protocol):
    """Where an account finds the events of a position again, to restate it."""

    def history(self, key: str, *, after: int, until: int) -> Iterable[Journaled]:
        """Return the fills and funding of a position with after < seq <= until, each with its seq."""


class Settled(NamedTuple):
    """The last horizon: when it was drawn, what it is before, and how far the account had come then."""

    at_ms: int
    before_ms: int
    moved_ms: int
    """The venue time of the youngest event that had moved a wallet."""


@dataclass(slots=True)
class AccountState:
    """Everything that the events so far have made of an account; a checkpoint is this, written down."""

    seq: int = 0
    timelines: dict[str, Timeline] = field(default_factory=dict)
    wallets: dict[str, Decimal] = field(default_factory=dict)
    wallets_known: bool = False
    """Whether somebody said what the wallets held at first; if not, `wallets` holds changes since then."""
    latest_ms: int = 0
    """The venue time of the youngest event or price, contained ones included."""
    has_begun: bool = False
    """Whether anything happened in it: what was only said about it is no beginning."""
    wallet_touched_ms: dict[str, int] = field(default_factory=dict)
    """By asset, the venue time of the youngest event that settles, pays or states in it."""
    funding: Tally = field(default_factory=Tally)
    """Funding that names no position."""
    charges: Tally = field(default_factory=Tally)
    """Fees that belong to no fill."""
    other: Tally = field(default_factory=Tally)
    transfers: Tally = field(default_factory=Tally)
    marks: dict[str, MarkPrice] = field(default_factory=dict)
    listings: dict[str, Listing] = field(default_factory=dict)
    """By symbol, what the venue said of a contract before anything was held of it."""
    opening: Opening | None = None
    flat_until_ms: int = NEVER_MS
    """Openings say of every position that they do not name that it was flat at this time."""
    opened: Tally = field(default_factory=Tally)
    """What openings moved the wallets by, to what they state."""
    adjusted: Tally = field(default_factory=Tally)
    """What corrections moved the wallets by."""
    adjustments: list[Adjustment] = field(default_factory=list)
    """The youngest corrections that stand."""
    alerts: dict[str, Alert] = field(default_factory=dict)
    """By type and symbol, the last transition of its alert, the youngest last."""
    silences: dict[str, Silence] = field(default_factory=dict)
    """By type and symbol, the last silence, which may be over; the youngest last."""
    quarantined: dict[str, Quarantine] = field(default_factory=dict)
    """By kind and name, the last quarantine, which may be over."""
    wallet_statements: list[tuple[int, int]] = field(default_factory=list)
    """(seq, time) of what stated wallets, or made them final: money that moved up to that time and came later is in."""
    settled: Settled | None = None
    """None: no horizon was drawn yet."""
    performance: Performance = field(default_factory=Performance)

    @property
    def needed_after(self) -> int:
        """The sequence up to which no entry is read again, whatever comes."""
        return min((timeline.needed_after for timeline in self.timelines.values()), default=self.seq)

    @property
    def moved_ms(self) -> int:
        """The venue time of the youngest event that moved a wallet, 0 where none did."""
        return max(self.wallet_touched_ms.values(), default=0)


class Account:
    """The ledger of one account: `apply` is total, and the state does not depend on the order of arrival."""

    def __init__(
        self,
        history: History,
        *,
        usd_assets: frozenset[str] = USD_ASSETS,
        instrument_of: Callable[[str], Instrument] = linear_instrument,
        state: AccountState | None = None,
        day_starts_at: int = 0,
    ) -> None:
        """`day_starts_at`: minutes after 00:00 UTC at which the day begins that a daily loss is of."""
        self._history = history
        self._usd_assets = usd_assets
        self._instrument_of = instrument_of
        self.state = state if state is not None else AccountState()
        for key, timeline in self.state.timelines.items():
            timeline.instrument = self.instrument(key.partition(":")[0])
        self._day_starts_ms = day_starts_at * 60_000
        self._worth = Worth(self.state.wallets, self.state.marks, self.state.timelines, usd_assets)
        self._touch = self._worth.touched.add

    @property
    def usd_assets(self) -> frozenset[str]:
        """Assets that count as one dollar."""
        return self._usd_assets

    def instrument(self, symbol: str) -> Instrument:
        """Return the contract that a symbol names."""
        listing = self.state.listings.get(symbol)
        if listing is not None:
            return Instrument(symbol, listing.settlement_asset, listing.base_asset)
        return self._instrument_of(symbol)

    def leg(self, key: str) -> Leg:
        """Return the position of a key. Raises: KeyError where nothing was ever held."""
        return self.state.timelines[key].leg

    def standing(self, equity: Decimal | None) -> Standing:
        """Return the performance at an equity of now, in USD."""
        return self.state.performance.standing(equity)

    def day_of(self, at_ms: int) -> int:
        """Return the day that a time is in: days since 1970, each from when a day starts."""
        days, _ = divmod(at_ms - self._day_starts_ms, DAY_MS)
        return days

    def apply(self, seq: int, event: Event) -> Entry:
        """Apply one journaled event and return what it did. Never raises for an event that the decoders let in."""
        if type(event) is Fill:
            timeline = self.state.timelines.get(event.symbol if event.position_side == "BOTH" else event.key)
            if timeline is not None and timeline.floor is None:
                entry = self._apply_in_order(seq, event, timeline)
                if entry is not None:
                    self.state.seq = seq
                    if event.at_ms > self.state.latest_ms:
                        self.state.latest_ms = event.at_ms
                    return entry
        return self.apply_all(((seq, event),))[0]

    def apply_all(self, events: Sequence[tuple[int, Event]]) -> list[Entry]:
        """Apply journaled events (seq, event), restating each position with late ones once."""
        return self.restate(self.apply_in_order(events))

    def apply_in_order(self, events: Sequence[tuple[int, Event]]) -> Batch:
        """Apply every event that is not late; `restate` must follow before anything else."""
        entries: list[Entry] = []
        late: dict[str, list[int]] = {}
        key: str | None
        entry: Entry | None
        for seq, event in events:
            if type(event) is Fill:
                key = event.symbol if event.position_side == "BOTH" else event.key
                timeline = self.state.timelines.get(key) or self._timeline(key, event.symbol)
                is_contained = timeline.floor is not None and timeline.floor.contains(event)
                if is_contained and not event.revision:  # a revision may take back what was booked
                    entry = Entry(seq, event, "contained", ())
                else:
                    entry = None if key in late else self._apply_in_order(seq, event, timeline)
            else:
                key = event.key if isinstance(event, FundingPayment) else None
                entry = self._apply_other(seq, event, key, Batch(entries, late))
            if entry is None:
                late.setdefault(key or "", []).append(len(entries))
                entry = Entry(seq, event, "restated", ())
            entries.append(entry)
            self.state.seq = seq
            if type(event) in _SAID:
                continue
            self.state.has_begun = True
            if type(event) is Marks:  # the time of those who heard the prices is not the venue's
                at_ms = max((mark.at_ms for mark in event.prices), default=0)
            else:
                at_ms = event.at_ms
            if at_ms > self.state.latest_ms:
                self.state.latest_ms = at_ms
        return Batch(entries, late)

    def restatement_size(self, batch: Batch) -> int:
        """Return how many fills `restate` will fold again."""
        timelines = self.state.timelines
        return sum(
            timelines[key].reach(batch.entries[index].event for index in indexes)  # type: ignore[misc]  # leg events
            for key, indexes in batch.late.items()
        )

    def restate(self, batch: Batch) -> list[Entry]:
        """Apply the late events of a batch and return all its entries."""
        entries, late = batch
        for key, indexes in late.items():
            timeline = self.state.timelines[key]
            before = timeline.leg.copy()
            last = entries[indexes[-1]]
            base = timeline.rewind(entries[index].event for index in indexes)  # type: ignore[misc]  # leg events
            known = self._known(key, base, last.seq)
            timeline.replay(known, base, last.seq, self._usd_assets)
            postings = restatement(key, timeline.instrument.settlement_asset, before, timeline.leg)
            self._touch(key)
            self._move_wallets(postings, NEVER_MS)
            for index in indexes:
                self._touch_wallets(entries[index].event, timeline.instrument.settlement_asset)
            entries[indexes[-1]] = last._replace(postings=postings)
        late.clear()
        return entries

    # -- one event ---------------------------------------------------------------------------------------------------

    def _apply_in_order(self, seq: int, event: Fill, timeline: Timeline) -> Entry | None:
        """Apply a fill that comes after all of its position; None when it is late, or another record of a known one."""
        if event.revision or not timeline.admits(event):
            return None
        leg = timeline.leg
        asset = timeline.instrument.settlement_asset
        moved = leg.book(event, timeline.instrument, self._usd_assets)
        self._touch(timeline.key)
        if leg.fill_count >= timeline.next_checkpoint:
            timeline.checkpoint(seq, seq, Ahead())
        _, realized, _, fee, fee_asset = moved
        if fee_asset == asset:
            self._move_wallet(asset, realized - fee, event.at_ms)
        else:
            self._move_wallet(asset, realized, event.at_ms)
            self._move_wallet(fee_asset, -fee, event.at_ms)
        return _new(Entry, (seq, event, "booked", fill_postings(timeline.key, asset, moved)))

    def _apply_other(self, seq: int, event: Event, key: str | None, batch: Batch) -> Entry | None:
        """Apply anything but a fill; None when it is late."""
        is_money = isinstance(event, FundingPayment | Transfer | OtherIncome | Charge)
        if is_money and self._is_stated(seq, event.at_ms):
            return Entry(seq, event, "contained", ())
        if type(event) in _OF_THE_WHOLE:
            self.restate(batch)
        if isinstance(event, Transfer | Opening | Adjustment | Reversal):
            return self._apply_flow(seq, event)
        if not isinstance(event, FundingPayment) or key is None:
            return self._apply_to_account(seq, event)
        timeline = self._timeline(key, key.partition(":")[0])
        if key in batch.late or not timeline.admits_funding(event):
            return None
        timeline.leg.fund(event, self._usd_assets)
        return self._fund_wallet(seq, event, key)

    def _set_positions(
        self, seq: int, anchors: Iterable[Anchor], book: Book, *, adjustment_id: str | None = None
    ) -> list[Posting]:
        postings: list[Posting] = []
        for anchor in anchors:
            timeline = self._timeline(anchor.key, anchor.symbol)
            before = timeline.leg.copy()
            if adjustment_id is not None:
                final = timeline.note_adjusted(adjustment_id, anchor)
                self.state.adjustments = [each for each in self.state.adjustments if each.id not in final]
            self._drop_anchor(seq, timeline, anchor, is_opening=book == "opening")
            self._touch(anchor.key)
            postings += _stated_postings(timeline, before, book)
        return postings

    def _drop_anchor(self, seq: int, timeline: Timeline, anchor: Anchor, *, is_opening: bool = False) -> None:
        base = timeline.rewind([anchor])
        known = self._known(anchor.key, base, seq)
        timeline.drop_anchor(anchor, base, known, seq, self._usd_assets, is_opening=is_opening)

    def _lift_anchors(self, seq: int, adjustment: Adjustment) -> list[Posting]:
        """Make the positions of an adjustment what they would be without it."""
        postings: list[Posting] = []
        for anchor in adjustment.positions:
            timeline = self.state.timelines[anchor.key]
            before = timeline.leg.copy()
            later = timeline.lift(adjustment.id)
            if later is None:
                continue  # so many came after it that it is history
            since = self._history.history(anchor.key, after=timeline.checkpoints[-1].until, until=seq)
            base = timeline.rewind(event for _, event in since)
            timeline.replay(self._known(anchor.key, base, seq), base, seq, self._usd_assets)
            for other in later:
                timeline.note_adjusted(other.id, other.anchor)
                self._drop_anchor(seq, timeline, other.anchor)
            self._touch(anchor.key)
            postings += _stated_postings(timeline, before, "adjustment")
        return postings

    def _known(self, key: str, base: Checkpoint, until: int) -> list[Journaled]:
        """Return what comes after a checkpoint, of all that was journaled up to `until`."""
        after, ahead = (base.seq, Ahead()) if base.ahead is None else (base.until, base.ahead)
        read = self._history.history(key, after=after, until=until)
        known: list[Journaled] = [*ahead.fills, *ahead.payments, *read]
        if not self.state.wallet_statements:
            return known
        return [(seq, e) for seq, e in known if isinstance(e, Fill) or not self._is_stated(seq, e.at_ms)]

    def _is_stated(self, seq: int, at_ms: int) -> bool:
        """Whether the wallets that an earlier entry stated include money that moved at this time."""
        return any(stated_seq < seq and at_ms <= stated_ms for stated_seq, stated_ms in self.state.wallet_statements)

    def _flat_at(self, opening: Opening) -> list[Anchor]:
        """Return what an opening says of the positions that it does not name: they were flat."""
        named = {anchor.key for anchor in opening.positions}
        return [
            Anchor(timeline.instrument.symbol, _side_of(key), ZERO, ZERO, None, opening.at_ms)
            for key, timeline in self.state.timelines.items()
            if key not in named
        ]

    # -- events of the whole account ---------------------------------------------------------------------------------

    def _apply_to_account(self, seq: int, event: Event) -> Entry:
        state = self.state
        postings: tuple[Posting, ...]
        match event:
            case FundingPayment():
                state.funding.add(event.asset, event.amount, self._rate(event.asset, event.rate))
                return self._fund_wallet(seq, event, "")
            case Transfer():
                state.transfers.add(event.asset, event.amount, self._rate(event.asset, None))
                postings = _income("transfers", event.asset, event.amount)
            case OtherIncome():
                state.other.add(event.asset, event.amount, self._rate(event.asset, event.rate))
                postings = _income("other", event.asset, event.amount)
            case Charge():
                state.charges.add(event.asset, event.amount, self._rate(event.asset, event.rate))
                postings = _income("fees", event.asset, -event.amount)
            case Opening():
                self._settle_adjustments()
                positions = self._set_positions(seq, [*self._flat_at(event), *event.positions], "opening")
                state.opening = event
                state.flat_until_ms = max(state.flat_until_ms, event.at_ms)
                if event.wallets is not None:
                    state.wallets_known = True
                    state.wallet_statements.append((seq, event.at_ms))
                self._move_wallets(positions, event.at_ms)
                wallets = self._set_wallets(event)
                self._move_wallets(wallets, event.at_ms)
                return Entry(seq, event, "booked", (*positions, *wallets))
            case Adjustment():
                for asset, amount in event.wallets:
                    state.adjusted.add(asset, amount, self._rate(asset, None))
                state.adjustments.append(event)
                del state.adjustments[:-MAX_ADJUSTMENTS]
                postings = (
                    *(p for asset, amount in event.wallets for p in _income("adjustment", asset, amount)),
                    *self._set_positions(seq, event.positions, "adjustment", adjustment_id=event.id),
                )
            case Reversal():
                return self._take_back(seq, event)
            case Marks():
                for mark in event.prices:
                    known = state.marks.get(mark.symbol)
                    if known is None or mark.at_ms >= known.at_ms:
                        state.marks[mark.symbol] = mark
                self._worth.mark(mark.symbol for mark in event.prices)
                state.performance.observe(self._equity(), self.day_of(event.at_ms))
                postings = ()
            case Alert():
                key = f"{event.type}:{event.symbol or ''}"
                state.alerts.pop(key, None)
                state.alerts[key] = event
                trim(state.alerts)
                return Entry(seq, event, "noted", ())
            case Silence():
                keep_silence(state.silences, event)
                return Entry(seq, event, "noted", ())
            case Quarantine():
                state.quarantined[f"{event.kind}:{event.name}"] = event
                return Entry(seq, event, "noted", ())
            case Reconciliation() | Deed():
                return Entry(seq, event, "noted", ())
            case Claim():
                is_contained = state.opening is not None and event.at_ms <= state.opening.at_ms
                return Entry(seq, event, "contained" if is_contained else "noted", ())
            case Listing():
                if all(timeline.instrument.symbol != event.symbol for timeline in state.timelines.values()):
                    state.listings[event.symbol] = event
                return Entry(seq, event, "noted", ())
            case DrawdownReset():
                state.performance.reset(self._equity())
                return Entry(seq, event, "noted", ())
            case Horizon():
                self._settle(seq, event)
                return Entry(seq, event, "noted", ())
            case Fill():
                raise AssertionError("a fill always names its position")
            case _:
                assert_never(event)
        self._move_wallets(postings, event.at_ms)
        return Entry(seq, event, "booked", postings)

    # -- what is no result -------------------------------------------------------------------------------------------

    def _equity(self) -> Decimal | None:
        return self._worth.equity() if self.state.wallets_known else None

    def _apply_flow(self, seq: int, event: Transfer | Opening | Adjustment | Reversal) -> Entry:
        """Apply what changes equity and is neither won nor lost."""
        performance = self.state.performance
        before = self._equity()
        if isinstance(event, Reversal):
            standing = [adjustment.id for adjustment in self.state.adjustments]
            entry = self._apply_to_account(seq, event)
            if entry.outcome == "booked":
                younger = standing[standing.index(event.adjustment_id) + 1 :]
                performance.take_back(before, self._equity(), self._uncorrect(event.adjustment_id, younger, entry))
            return entry
        if isinstance(event, Adjustment):
            unrealized = {anchor.key: self._worth.unrealized_usd(anchor.key) for anchor in event.positions}
            entry = self._apply_to_account(seq, event)
            after = self._equity()
            if before is not None and after is not None:
                self._note_corrected(event, after - before, unrealized)
        else:
            entry = self._apply_to_account(seq, event)
            after = self._equity()
        performance.flow(before, after)
        return entry

    def _note_corrected(self, adjustment: Adjustment, change: Decimal, unrealized: dict[str, Decimal | None]) -> None:
        """Remember what a correction made of equity, position by position, for it may be taken back."""
        parts: dict[str, Decimal] = {}
        for key, before in unrealized.items():
            parts[key] = (self._worth.unrealized_usd(key) or ZERO) - (before or ZERO)
        parts[""] = change - sum(parts.values(), ZERO)
        standing = {each.id for each in self.state.adjustments}
        kept = self.state.performance.corrected
        self.state.performance.corrected = {name: kept[name] for name in kept if name in standing}
        self.state.performance.corrected[adjustment.id] = parts

    def _uncorrect(self, adjustment_id: str, younger: Sequence[str], entry: Entry) -> Decimal | None:
        """Return what taking a correction back pays out again, None where nobody knows what it paid in.

        The prices since are no part of it: what they made of a position that is found to be right was a result. Where
        a younger correction states the same position, it is that one now which made the difference.
        """
        corrected = self.state.performance.corrected
        parts = corrected.pop(adjustment_id, None)
        if parts is None:
            return None
        lifted = {name for book, name, _, _ in entry.postings if book == "position"}
        amount = ZERO
        for key, usd in parts.items():
            heir = next((name for name in younger if key and key in corrected.get(name, ())), None)
            if heir is not None:
                corrected[heir][key] += usd
            elif not key or key in lifted:
                amount -= usd
        return amount

    def _take_back(self, seq: int, event: Reversal) -> Entry:
        """Undo an adjustment that stands; nothing where there is none of that name."""
        state = self.state
        taken = next((each for each in state.adjustments if each.id == event.adjustment_id), None)
        if taken is None:
            return Entry(seq, event, "noted", ())
        state.adjustments.remove(taken)
        for asset, amount in taken.wallets:
            state.adjusted.add(asset, -amount, self._rate(asset, None))
        wallets = (p for asset, amount in taken.wallets for p in _income("adjustment", asset, -amount))
        postings = (*wallets, *self._lift_anchors(seq, taken))
        self._move_wallets(postings, event.at_ms)
        return Entry(seq, event, "booked", postings)

    def _settle(self, seq: int, horizon: Horizon) -> None:
        """Let what is before a horizon be final."""
        state = self.state
        state.adjustments = [each for each in state.adjustments if each.at_ms > horizon.before_ms]
        liftable = {adjustment.id for adjustment in state.adjustments}
        for timeline in state.timelines.values():
            timeline.keep_adjusted(liftable)
        for place in horizon.places:
            if (settled := state.timelines.get(place.key)) is not None:
                settled.begin_at(place, partial(self._known, place.key, until=seq), seq, self._usd_assets)
        for timeline in state.timelines.values():
            timeline.plant(seq)
        needed_after = state.needed_after
        old = [stated for stated in state.wallet_statements if stated[0] <= needed_after]
        latest = max(old, key=lambda stated: stated[1], default=None)  # what is read again came after all of them
        state.wallet_statements = [
            *(stated for stated in state.wallet_statements if stated == latest or stated[0] > needed_after),
            (seq, horizon.before_ms),
        ]
        state.settled = Settled(horizon.at_ms, horizon.before_ms, state.moved_ms)

    def _settle_adjustments(self) -> None:
        """Let no correction be taken back any more: what comes now says what is, whatever was corrected."""
        self.state.adjustments.clear()
        for timeline in self.state.timelines.values():
            timeline.adjusted.clear()

    def _fund_wallet(self, seq: int, event: FundingPayment, key: str) -> Entry:
        postings: tuple[Posting, ...] = (
            ("wallet", event.asset, event.asset, event.amount),
            ("funding", key, event.asset, -event.amount),
        )
        self._move_wallets(postings, event.at_ms)
        return Entry(seq, event, "booked", postings)

    def _move_wallets(self, postings: Iterable[Posting], at_ms: int) -> None:
        for book, _, asset, amount in postings:
            if book == "wallet":
                self._move_wallet(asset, amount, at_ms)

    def _move_wallet(self, asset: str, amount: Decimal, at_ms: int) -> None:
        state = self.state
        state.wallets[asset] = state.wallets.get(asset, ZERO) + amount
        if at_ms > state.wallet_touched_ms.get(asset, NEVER_MS):
            state.wallet_touched_ms[asset] = at_ms

    def _touch_wallets(self, event: Event, settlement_asset: str) -> None:
        """Note the time of a late event as if it had come in order."""
        if isinstance(event, Fill):
            self._move_wallet(settlement_asset, ZERO, event.at_ms)
            self._move_wallet(event.fee_asset or settlement_asset, ZERO, event.at_ms)
        elif isinstance(event, FundingPayment):
            self._move_wallet(event.asset, ZERO, event.at_ms)

    def _set_wallets(self, opening: Opening) -> list[Posting]:
        """Return the postings that make the wallets what an opening states, whatever was booked before it came."""
        if opening.wallets is None:
            return []
        stated = dict(opening.wallets)
        changes = {asset: stated.get(asset, ZERO) - self.state.wallets.get(asset, ZERO) for asset in stated}
        for asset, amount in changes.items():
            self.state.opened.add(asset, amount, self._rate(asset, None))
        return [p for asset, amount in changes.items() for p in _income("opening", asset, amount)]

    def _rate(self, asset: str, rate: Decimal | None) -> Decimal | None:
        return ONE if asset in self._usd_assets else rate

    def _timeline(self, key: str, symbol: str) -> Timeline:
        timeline = self.state.timelines.get(key)
        if timeline is None:
            seq = self.state.seq  # nothing that was journaled up to there is of this position
            beginning = Checkpoint(None, seq, seq, Leg(), Ahead())
            timeline = Timeline(key, self.instrument(symbol), checkpoints=[beginning])
            self.state.timelines[key] = timeline
            if self.state.flat_until_ms > 0:
                timeline.floor = Floor(at_ms=self.state.flat_until_ms)
        return timeline


def moved(entries: Iterable[Entry]) -> tuple[set[str], set[str]]:
    """Return the positions and the wallets that entries moved, and the positions that they name."""
    keys: set[str] = set()
    assets: set[str] = set()
    for _, event, outcome, postings in entries:
        if isinstance(event, Fill | FundingPayment):
            if (key := event.key) is not None and (outcome != "contained" or type(event) is Fill):
                keys.add(key)  # of a payment that is contained the position may not exist
        elif isinstance(event, Opening | Adjustment):
            keys.update(anchor.key for anchor in event.positions)
        for book, name, asset, amount in postings:
            if book == "wallet" and amount:
                assets.add(asset)
            elif book == "position":
                keys.add(name)  # an opening moves positions that it does not name: they were flat
    return keys, assets


def fill_postings(key: str, asset: str, moved: Movement) -> tuple[Posting, ...]:
    """Return what a fill moves between the books.

    The position takes its change of cost from `financing`, which with the realized part of the wallet is the cash
    flow of the trades; what the venue rounded away has a book of its own.
    """
    cost, realized, rounding, fee, fee_asset = moved
    position: Posting = ("position", key, asset, cost)
    if fee_asset != asset or rounding:
        return (
            position,
            ("financing", key, asset, rounding - cost),
            ("realized", key, asset, -realized),
            ("rounding", key, asset, -rounding),
            ("wallet", asset, asset, realized),
            ("fees", key, fee_asset, fee),
            ("wallet", fee_asset, fee_asset, -fee),
        )
    if realized:
        return (
            position,
            ("financing", key, asset, -cost),
            ("realized", key, asset, -realized),
            ("fees", key, asset, fee),
            ("wallet", asset, asset, realized - fee),
        )
    return (position, ("financing", key, asset, -cost), ("fees", key, asset, fee), ("wallet", asset, asset, -fee))


def restatement(key: str, asset: str, before: Leg, after: Leg, book: Book = "financing") -> tuple[Posting, ...]:
    """Return the postings that lead from one state of a position to another; zero amounts are left out.

    The change of cost that is not the trades' own is taken from `book`.
    """
    realized = after.realized - before.realized
    rounding = after.rounding - before.rounding
    cost = after.cost - before.cost
    postings: list[Posting] = [
        ("position", key, asset, cost),
        (book, key, asset, rounding - cost),
        ("realized", key, asset, -realized),
        ("rounding", key, asset, -rounding),
        ("wallet", asset, asset, realized),
    ]
    for name, old, new, sign in (("fees", before.fees, after.fees, 1), ("funding", before.funding, after.funding, -1)):
        for paid_in in sorted(old.by_asset.keys() | new.by_asset.keys()):
            change = new.by_asset.get(paid_in, ZERO) - old.by_asset.get(paid_in, ZERO)
            postings.append((name, key, paid_in, sign * change))  # type: ignore[arg-type]  # both are books
            postings.append(("wallet", paid_in, paid_in, -sign * change))
    return tuple(posting for posting in postings if posting[3])


def _stated_postings(timeline: Timeline, before: Leg, book: Book) -> tuple[Posting, ...]:
    """Return the postings of a position that was stated; they name it even where its quantity alone has changed."""
    asset = timeline.instrument.settlement_asset
    return (*restatement(timeline.key, asset, before, timeline.leg, book), ("position", timeline.key, asset, ZERO))


def _side_of(key: str) -> PositionSide:
    return "LONG" if key.endswith(":LONG") else "SHORT" if key.endswith(":SHORT") else "BOTH"


def _income(book: Book, asset: str, amount: Decimal) -> tuple[Posting, ...]:
    return (("wallet", asset, asset, amount), (book, asset, asset, -amount))


class EventList:
    """A history in memory: the events of a fold, by position."""

    def __init__(self) -> None:
        self._events: dict[str, list[Journaled]] = {}

    def add(self, seq: int, event: Event) -> None:
        """Remember an event, in journal order."""
        if isinstance(event, Fill | FundingPayment) and event.key is not None:
            self._events.setdefault(event.key, []).append((seq, event))

    def history(self, key: str, *, after: int, until: int) -> Iterable[Journaled]:
        """Return the fills and funding of a position with after < seq <= until, each with its seq."""
        return [journaled for journaled in self._events.get(key, ()) if after < journaled[0] <= until]


def fold(events: Iterable[Event], *, usd_assets: frozenset[str] = USD_ASSETS) -> Account:
    """Return the account that the events make, each applied on its own."""
    known = EventList()
    account = Account(known, usd_assets=usd_assets)
    for seq, event in enumerate(events, start=1):
        known.add(seq, event)
        account.apply(seq, event)
    return account
