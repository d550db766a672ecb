"""Ports: what a monitor asks of the world, as types that feeds, stores and doors share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol, TypeAlias

from account_monitor.ledger.account import AccountState
from account_monitor.ledger.events import Event, Fill, LegEvent, Place

Clock: TypeAlias = Callable[[], int]
"""Returns milliseconds since 1970-01-01 UTC."""

UNROUTED = "_unrouted"
"""The journal of what names no configured account: it holds dead letters and stream positions, and no ledger."""

MONITOR = "monitor"
"""The source of what this program itself has to say: marks that were used, and remarks about the account."""

VENUE_STREAM = "exchange:stream"
VENUE_TRADES = "exchange:trades"
VENUE_INCOME = "exchange:income"
VENUE_STATEMENT = "exchange:statement"
"""The sources that are the exchange's own word; where others disagree, it stands."""

MALFORMED_EVENT = "MALFORMED_EVENT"
CONFLICTING_FILL = "CONFLICTING_FILL"
UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"


def is_venue(source: str) -> bool:
    """Whether a source is the exchange itself."""
    return source.startswith("exchange:")


def authority(source: str) -> int:
    """Return whose word stands: the exchange's list of trades, then its stream, then everybody else."""
    return 2 if source == VENUE_TRADES else int(is_venue(source))


class StreamPosition(NamedTuple):
    """How far a source has been seen: everything up to `sequence` was taken, others' messages included.

    `created` tells one incarnation of a stream from the next of the same name.
    """

    source: str
    created: str
    sequence: int


class Delivery(NamedTuple):
    """One message as a feed heard it: an event, or the reason why it is none.

    `payload` and `subject` are what came, for the dead letters. `sequence` is the place in `source`, 0 where the
    source has no places. `rejection` is one of the reasons above, such as MALFORMED_EVENT, and None for an event.
    `retry_of` is the id of the dead letter that this delivery is another attempt at; with neither event nor rejection,
    the attempt succeeded under another account; without `retry_of` either, it only has what was seen committed at
    once. `acknowledge` is called once the delivery is durable, where the source wants to know.
    """

    source: str
    subject: str
    payload: bytes
    event: Event | None
    sequence: int = 0
    rejection: str | None = None
    reason: str = ""
    retry_of: int | None = None
    acknowledge: Callable[[], None] | None = None


class Conflict(NamedTuple):
    """A fill that contradicts the recorded one of the same id; it was parked, or stands if the exchange said it."""

    delivery: Delivery
    recorded: Fill
    fields: tuple[str, ...]
    stands: bool = False


class JournalEntry(NamedTuple):
    """An event with its place in the journal."""

    seq: int
    event: Event
    source: str
    recorded_at_ms: int


class Recorded(NamedTuple):
    """What a commit did: entries that are new, and what was not booked. All of it is durable.

    A delivery that completes or corrects a recorded fill makes an entry; it is no duplicate.
    """

    entries: list[JournalEntry]
    duplicates: list[Delivery]
    conflicts: list[Conflict]
    parked: list[Delivery]


class DeadLetter(NamedTuple):
    """A parked message. `payload` holds its first 4 KiB; `size` and `sha256` are those of the whole."""

    id: int
    rejection: str
    reason: str
    source: str
    subject: str
    payload: bytes
    size: int
    sha256: str
    parked_at_ms: int
    retried_at_ms: int | None


RemarkKind: TypeAlias = Literal["alert", "reconciliation"]


class FillQuery(NamedTuple):
    """Which fills: of a symbol (None: all), from_ms <= at < to_ms, after a cursor, at most `limit`.

    `until_seq`: as they stood when that entry was the newest; None: as they stand now.
    """

    symbol: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    after: str | None = None
    limit: int = 100
    until_seq: int | None = None


class FillPage(NamedTuple):
    """Fills in venue order, and the cursor of the next page, None at the end."""

    entries: list[JournalEntry]
    next: str | None


class Figures(NamedTuple):
    """What an account, or a position of it, had brought up to a moment, in USD; None: not known.

    total = realized + unrealized; net = total − fees + funding + other. `equity` is of the account alone.
    """

    equity: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    total_pnl: Decimal | None
    total_fees: Decimal | None
    funding: Decimal | None
    other: Decimal | None
    net_pnl: Decimal | None


class Extremes(NamedTuple):
    """The lowest, or the highest, of each figure that goes up and down; None: it was never known."""

    equity: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    total_pnl: Decimal | None
    net_pnl: Decimal | None


class PnLQuery(NamedTuple):
    """Which buckets: of the account, or of a position key; from_ms <= begin < to_ms, both multiples of the interval."""

    account: str
    symbol: str | None
    from_ms: int
    to_ms: int
    interval_ms: int


class PnLBucket(NamedTuple):
    """What the snapshots of one interval show: the first and the last of them, and how far the figures went."""

    at_ms: int
    """When the interval begins."""
    snapshot_count: int
    first: Figures
    last: Figures
    lowest: Extremes
    highest: Extremes


class PnLHistory(NamedTuple):
    """Buckets in the order of time; where there was no snapshot there is none."""

    before: Figures | None
    """The last snapshot before the first bucket, None where there is none."""
    buckets: list[PnLBucket]


class History(Protocol):
    """What is remembered beside the journal, and longer."""

    async def pnl(self, query: PnLQuery) -> PnLHistory:
        """Return the buckets of a query. Raises: HistoryUnavailable."""

    async def fills(self, account: str, query: FillQuery, *, until: int) -> FillPage:
        """Return a page of the fills whose last record is up to a sequence. Raises: HistoryUnavailable."""


class Recording(Protocol):
    """What was recorded of one account, to be read from any thread, beside the writer."""

    account: str

    @property
    def epoch(self) -> int:
        """Grows whenever the sequence may not continue what readers saw, such as after a restore."""

    @property
    def last_seq(self) -> int:
        """The sequence of the newest entry, 0 when there is none."""

    @property
    def base_seq(self) -> int:
        """The sequence up to which entries are in the history only; to read these raises JournalCompacted. 0: none."""

    def history(self, key: str, *, after: int, until: int) -> Iterable[tuple[int, LegEvent]]:
        """Return the fills and funding of a position with after < seq <= until, each with its seq, in journal order."""

    def entries(
        self, *, after: int = 0, until: int | None = None, happened_by_ms: int | None = None
    ) -> Iterator[JournalEntry]:
        """Yield entries with after < seq <= until, in journal order; with a time, only what happened up to it."""

    def seq_at(self, recorded_ms: int) -> int:
        """Return the sequence of the last entry that was recorded up to a time, 0 where there was none.

        Where the clock of the machine was put back meanwhile, the end of one of the stretches up to then.
        """

    def load_checkpoints(self, fingerprint: str, *, until: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield (seq, state) of the checkpoints written under this fingerprint, up to a sequence, the newest first."""


class Journal(Recording, Protocol):
    """The durable, append-only memory of one account. One writer."""

    @property
    def failure(self) -> str | None:
        """Why nothing is recorded any more, None while all is well."""

    @property
    def may_be_opened_anew(self) -> bool:
        """Whether recording failed for a reason that may pass, such as a full disk."""

    @property
    def positions(self) -> Mapping[str, StreamPosition]:
        """By source, how far it was seen, as committed."""

    async def give_up_writing(self) -> None:
        """After a failure: let the file be opened for writing by somebody else. Reads go on until `close`."""

    async def append(self, deliveries: Sequence[Delivery], positions: Sequence[StreamPosition] = ()) -> Recorded:
        """Commit deliveries, dead letters and positions in one transaction; returns once it is durable.

        Raises: RecordingStopped after a failed write; only opening it anew tells whether the batch was recorded.
        """

    def flows(self, *, since_ms: int) -> list[JournalEntry]:
        """Return funding, transfers and other income that happened at or after a time, in the order of their times."""

    def unknown(self, events: Iterable[Event]) -> set[str]:
        """Return the identities of those events that were never recorded, and would be now."""

    def remarks(self, kind: RemarkKind) -> Iterator[JournalEntry]:
        """Yield alerts, or reports of reconciliation: the youngest first."""

    def remarks_after(self, kind: RemarkKind, seq: int) -> list[JournalEntry]:
        """Return the next hundred alerts, or reports of reconciliation, after a sequence, in journal order."""

    def fills(self, query: FillQuery) -> FillPage:
        """Return a page of fills. Raises: ValueError for a cursor that this journal did not give."""

    async def save_checkpoint(self, seq: int, fingerprint: str, state: bytes) -> None:
        """Keep a folded state, so that a restart folds only what came after it."""

    def follows_time(self, place: Place) -> bool:
        """Whether of a position's fills none has a lower number than one that happened before it."""

    def compact(self, until: int) -> None:
        """Forget the entries up to a sequence, which are in the history, when there is nothing else to do."""

    async def close(self) -> None:
        """Commit what waits, stop the writer and release the file."""


class FoldedStates(Protocol):
    """Where folded states are kept, so that a fold begins there instead of at the first entry."""

    def load(self, *, until: int | None = None, happened_by_ms: int | None = None) -> AccountState | None:
        """Return the newest state that may be continued from: at most at this sequence, with no event after this time.

        Raises: JournalCorrupt for a state that cannot be read.
        """

    def first(self) -> AccountState | None:
        """Return the oldest state that may be continued from."""


class Checkpoints(FoldedStates, Protocol):
    """The same, with room for more."""

    async def save(self, state: AccountState) -> None:
        """Keep a state."""

    def compactable(self, *, told_from_ms: int, recorded_by_ms: int, replicated_seq: int) -> int:
        """Return up to which entry a journal can do without, so that every moment from one time on can be told.

        What was recorded after the other time stays, and what is in no replica.
        """


class PriceSink(Protocol):
    """Takes mark prices, which live in memory until the monitor journals them."""

    def mark(self, symbol: str, price: Decimal, at_ms: int) -> None:
        """Value the symbol at this price from now on; an older price than the known one is ignored."""
