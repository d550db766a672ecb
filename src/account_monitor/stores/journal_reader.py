"""Journal reader: what was recorded, read beside the writer and from any thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import apsw
import msgspec

from account_monitor.errors import JournalCompacted, JournalCorrupt, JournalDamaged, JournalError
from account_monitor.ledger.events import Event, Fill, FundingPayment, LegEvent, Place
from account_monitor.monitor.fills import LAST, page_of, place_of, start_of
from account_monitor.monitor.ports import DeadLetter, FillPage, FillQuery, JournalEntry, RemarkKind, StreamPosition
from account_monitor.stores.chain import Base, Chain, Head, Row
from account_monitor.stores.codec import decode_event
from account_monitor.stores.journal_file import SQL, blamed, explained, open_for_reading, read_base, read_head
from account_monitor.stores.spent import Spent, identity_of

_CHUNK = 1_000
"""Entries that are held at once: half a megabyte, and no reader keeps the WAL from being reset for long."""

_WINDOW = 10_000
"""Entries that are looked through at once for those of a time."""

_CLOCKS_DIFFER_MS = 1_000
"""Between fills that are closer the clocks of those who told of them may decide which came first."""

_DEAD_LETTER_CHUNK = 100
_REMARK_CHUNK = 100
_IDLE_CONNECTIONS = 4


class DeadLetterCounts(NamedTuple):
    """Dead letters that are kept, were ever parked, were dropped to keep the bound; `retried` counts among the kept."""

    kept: int
    parked: int
    dropped: int
    retried: int


class JournalEnd(NamedTuple):
    """The newest entry of a journal, and how far it had seen its sources when that was recorded, or later."""

    head: Head
    positions: list[StreamPosition]


class JournalReader:
    """Read-only access to one journal. Nothing here keeps a transaction open between two chunks."""

    def __init__(self, path: Path) -> None:
        """Open the journal. Raises: JournalError and its kinds."""
        self.path = path
        self._idle: list[apsw.Connection] = [open_for_reading(path)]
        self._is_closed = False
        self.account = self._account_and_head()[0]

    def head(self) -> Head:
        """Return where the journal ends now."""
        return self._account_and_head()[1]

    @property
    def epoch(self) -> int:
        """Grows whenever the sequence may not continue what readers saw, such as after a restore."""
        return self.head().epoch

    @property
    def last_seq(self) -> int:
        """The sequence of the newest entry, 0 when there is none."""
        return self.head().seq

    def base(self) -> Base:
        """Return what comes before the first entry that is here; up to there all are in the history only."""
        with self._connection() as connection:
            return read_base(connection)

    @property
    def base_seq(self) -> int:
        """The sequence up to which entries are in the history only, 0 where all are here."""
        return self.base().seq

    def hash_at(self, seq: int) -> bytes | None:
        """Return the hash of an entry, None where there is none yet. Raises: JournalCompacted."""
        base = self.base()
        if seq == base.seq:
            return base.hash
        rows = self._rows_after(seq - 1, "hash_at", seq)
        return rows[0][0] if rows else None

    def end(self) -> JournalEnd:
        """Return where the journal ends and how far it had seen its sources then, as of one moment."""
        with self._connection() as connection, _snapshot(connection):
            _, head = read_head(connection)
            positions = [StreamPosition._make(row) for row in connection.execute(SQL["positions"])]
        return JournalEnd(head, positions)

    def epochs(self) -> list[tuple[int, int, int]]:
        """Return (epoch, first seq, started at) of every epoch."""
        return self._rows("epochs")

    def rows(self, *, after: int, until: int) -> list[Row]:
        """Return the next thousand entries with after < seq <= until as the table holds them.

        Raises: JournalCorrupt where one of them is missing; JournalCompacted.
        """
        rows = _consecutive(self._rows_after(after, "rows_to_verify", after, until, _CHUNK), after)
        return [Row._make(row) for row in rows]

    def proved(self, *, after: int, until: int) -> Iterator[list[tuple[int, Event]]]:
        """Yield, about a thousand at a time, the entries with after < seq <= until, each proved by its hash.

        The one at `after` is believed. Raises: JournalDamaged, naming the first that does not fit, or is not there;
        JournalCompacted.
        """
        with blamed(self.path):
            before = self.hash_at(after)
            if before is None:
                raise JournalDamaged(f"{self.path}: entry {after} is missing")
            chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in self.epochs()], Base(after, before))
            while rows := self.rows(after=chain.seq, until=until):
                yield [(row.seq, chain.check(row)) for row in rows]
            if chain.seq < until:
                raise JournalDamaged(f"{self.path}: entry {chain.seq + 1} of {until} is missing")

    def newest_state(self, until: int) -> tuple[int, str, bytes] | None:
        """Return (seq, fingerprint, state) of the newest checkpoint up to a sequence, None where there is none."""
        rows = self._rows("newest_checkpoint", until)
        return rows[0] if rows else None

    def entries(
        self, *, after: int = 0, until: int | None = None, happened_by_ms: int | None = None
    ) -> Iterator[JournalEntry]:
        """Yield entries with after < seq <= until, in journal order; with a time, only what happened up to it.

        Raises: JournalCorrupt, also where one is missing (with a time, some always are); JournalCompacted where the
        first of them are in the history only.
        """
        if happened_by_ms is None:
            last = LAST if until is None else until
            while rows := _consecutive(self._rows_after(after, "entries", after, last, _CHUNK), after):
                yield from map(_entry, rows)
                after = rows[-1][0]
            return
        last = self.head().seq if until is None else until
        for start in range(after, last, _WINDOW):
            rows = self._rows_after(start, "entries_happened_by", start, min(start + _WINDOW, last), happened_by_ms)
            yield from map(_entry, rows)

    def history(self, key: str, *, after: int, until: int) -> Iterator[tuple[int, LegEvent]]:
        """Yield the fills and funding of a position with after < seq <= until, each with its seq, in journal order.

        Raises: JournalCompacted.
        """
        while rows := self._rows_after(after, "history", key, after, until, _CHUNK):
            for seq, kind, body in rows:
                event = decode_event(seq, kind, body)
                if not isinstance(event, Fill | FundingPayment):
                    raise JournalCorrupt(f"entry {seq}: a {kind} moves no position, yet it is kept under {key!r}")
                yield seq, event
            after = rows[-1][0]

    def flows(self, *, since_ms: int) -> list[JournalEntry]:
        """Return funding, transfers and other income that happened at or after a time, in the order of their times.

        Of those that are in the history only there are none: they are final.
        """
        return [
            JournalEntry(seq, decode_event(seq, kind, body), source, recorded_at_ms)
            for seq, kind, body, source, recorded_at_ms in self._rows("flows", since_ms)
        ]

    def unknown(self, events: Iterable[Event]) -> set[str]:
        """Return the identities of those events that were never recorded, and would be now."""
        asked = {identity_of(event): event for event in events}
        with self._connection() as connection, _snapshot(connection):
            rows = connection.execute(SQL["find_unknown"], (msgspec.json.encode(list(asked)).decode(),))
            unknown = {str(row[0]) for row in rows}
            return unknown - Spent(connection).verdicts([asked[identity] for identity in unknown]).keys()

    def remarks(self, kind: RemarkKind) -> Iterator[JournalEntry]:
        """Yield alerts, or reports of reconciliation: the youngest first."""
        before = LAST
        while rows := self._rows("latest_remarks", kind, before, _REMARK_CHUNK):
            yield from map(_entry, rows)
            before = rows[-1][0]

    def remarks_after(self, kind: RemarkKind, seq: int) -> list[JournalEntry]:
        """Return the next hundred alerts, or reports of reconciliation, after a sequence, in journal order."""
        return [_entry(row) for row in self._rows("next_remarks", kind, seq, _REMARK_CHUNK)]

    def latest_deeds(self, limit: int) -> list[JournalEntry]:
        """Return the last so many deeds, the youngest first; of nothing else is the body read."""
        return [_entry(row) for row in self._rows("latest_deeds", limit)]

    def latest_orders(self, limit: int) -> list[JournalEntry]:
        """Return the last so many entries that somebody ordered, the youngest first."""
        return [_entry(row) for row in self._rows("latest_orders", limit)]

    def fills(self, query: FillQuery) -> FillPage:
        """Return a page of fills by time, trade number and place in the journal, each as it stands, or stood, then.

        Fills whose trade id is no number come before the numbered ones of the same millisecond.
        Raises: ValueError for a cursor that this journal did not give, or a limit below 1.
        """
        if query.limit < 1:
            raise ValueError(f"limit was {query.limit}, expected at least 1")
        start = start_of(query)
        if query.after is not None:
            self._check_place(query.after)
        end = LAST if query.to_ms is None else query.to_ms
        until = LAST if query.until_seq is None else query.until_seq
        if query.symbol is None:
            rows = self._rows("fills", *start, end, until, until, query.limit + 1)
        else:
            rows = self._rows("fills_of_symbol", query.symbol, *start, end, until, until, query.limit + 1)
        return page_of([_entry(row[:5]) for row in rows], query.limit)

    def symbols(self) -> list[str]:
        """Return the symbols of which there ever was a fill, those included that are in the history only."""
        return [row[0] for row in self._rows("symbols")]

    def _check_place(self, cursor: str) -> None:
        at_ms, number, seq = place_of(cursor)
        if seq > self.base_seq and not self._rows("fill_at", seq, at_ms, number)[0][0]:
            raise ValueError(f"cursor {cursor!r} is not from this journal")

    def follows_time(self, place: Place) -> bool:
        """Whether of the fills of a position that are here none has a lower number than one that happened before it.

        It reads all of them. Nothing depends on numbers where the position is ordered by time.
        """
        if place.trade_id is None or place.is_by_time:
            return True
        before, recent = 0, deque[tuple[int, int]]()
        at_ms, number = -LAST, 0
        while rows := self._rows("numbers_in_time", place.symbol, at_ms, number, place.key, _WINDOW):
            for at_ms, number in rows:
                while recent and recent[0][0] + _CLOCKS_DIFFER_MS <= at_ms:
                    before = max(before, recent.popleft()[1])
                if number < before:
                    return False
                recent.append((at_ms, number))
        return True

    def seq_at(self, recorded_ms: int) -> int:
        """Return the sequence of the last entry that was recorded up to a time, 0 where there was none.

        Where the clock of the machine was put back meanwhile, the end of one of the stretches up to then.
        Raises: JournalCompacted where that is in the history only.
        """
        base = first = self.base_seq
        last = self.head().seq
        while first < last:
            middle = (first + last + 1) // 2
            rows = self._rows_after(middle - 1, "recorded_at", middle)
            if rows[0][0] <= recorded_ms:
                first = middle
            else:
                last = middle - 1
        if first == base > 0:
            raise self._compacted(base)
        return first

    def load_checkpoints(self, fingerprint: str, *, until: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield (seq, state) of the checkpoints written under this fingerprint, up to a sequence, the newest first."""
        last = LAST if until is None else until
        while rows := self._rows("load_checkpoint", fingerprint, last):
            yield rows[0]
            last = rows[0][0] - 1

    def positions(self) -> dict[str, StreamPosition]:
        """Return by source how far it was seen."""
        return {row[0]: StreamPosition(*row) for row in self._rows("positions")}

    def dead_letters(self, *, after: int = 0) -> Iterator[DeadLetter]:
        """Yield the parked messages with id > after, oldest first."""
        while rows := self._rows("dead_letters", after, _DEAD_LETTER_CHUNK):
            yield from (DeadLetter(*row) for row in rows)
            after = rows[-1][0]

    def dead_letter(self, letter: int) -> DeadLetter | None:
        """Return the parked message with this id, None where it never was or was dropped."""
        rows = self._rows("dead_letter", letter)
        return DeadLetter(*rows[0]) if rows else None

    def dead_letter_counts(self) -> DeadLetterCounts:
        """Return how many messages were parked, and what became of them."""
        kept, parked, retried = self._rows("count_dead_letters")[0]
        return DeadLetterCounts(kept, parked, parked - kept, retried)

    def verify(self, progress: Callable[[int], None] | None = None) -> tuple[int, bytes]:
        """Recompute the chain up to the entry that is newest now; return the sequence of that and its hash.

        It begins with the first entry that is here: its hash covers those that are in the history only.

        `progress` is called with the entries done so far. Raises: JournalCorrupt, naming the first that does not fit.
        """
        head = self.head()
        chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in self.epochs()], self.base())
        while rows := self._rows_to_verify(chain.seq, head.seq):
            for row in rows:
                chain.check(Row(*row))
            if progress is not None:
                progress(chain.seq)
        if (chain.seq, chain.hash) != (head.seq, head.hash):
            raise JournalCorrupt(f"{self.path}: entry {chain.seq + 1} is missing; the newest was {head.seq}")
        self._check_file()
        return head.seq, head.hash

    def _rows_to_verify(self, after: int, until: int) -> list[Any]:
        try:
            return self._rows("rows_to_verify", after, until, _CHUNK)
        except JournalCorrupt:
            pass  # some entry of this chunk cannot be read: go one by one, to name it
        try:
            return self._rows("rows_to_verify", after, until, 1)
        except JournalCorrupt as error:
            raise JournalCorrupt(f"entry {after + 1} cannot be read: {error}") from error

    def _check_file(self) -> None:
        # The chain reads the table; this looks at the indexes, on which identity depends.
        with self._connection() as connection:
            found = connection.pragma("integrity_check", 1)
        if found != "ok":
            raise JournalCorrupt(f"{self.path}: {found}")

    def _account_and_head(self) -> tuple[str, Head]:
        with self._connection() as connection:
            return read_head(connection)

    def _rows(self, name: str, *parameters: object) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(SQL[name], parameters).fetchall()

    def _rows_after(self, after: int, name: str, *parameters: object) -> list[Any]:
        """Return rows of entries after a sequence. Raises: JournalCompacted where some of these are not here."""
        with self._connection() as connection:
            rows = connection.execute(SQL[name], parameters).fetchall()
            base_seq = read_base(connection).seq  # asked for afterwards: it never goes back
        if after < base_seq:
            raise self._compacted(base_seq)
        return rows

    def _compacted(self, base_seq: int) -> JournalCompacted:
        return JournalCompacted(f"{self.path}: the entries up to {base_seq} are in the history only")

    @contextmanager
    def _connection(self) -> Iterator[apsw.Connection]:
        if self._is_closed:
            raise JournalError(f"{self.path} is closed")
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = open_for_reading(self.path)
        try:
            with explained(self.path):
                yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: apsw.Connection) -> None:
        if self._is_closed or len(self._idle) >= _IDLE_CONNECTIONS:
            _close(connection)
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close the file."""
        self._is_closed = True
        while self._idle:
            _close(self._idle.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_reader(path: Path) -> JournalReader:
    """Open a journal to read it, whether or not a service is writing it. Raises: JournalError and its kinds."""
    return JournalReader(path)


@contextmanager
def _snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Let all that is read inside be of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _close(connection: apsw.Connection) -> None:
    try:
        connection.close()
    except apsw.Error:
        pass  # it only read; SQLite tries to tidy up the WAL when the last one closes, and may not


def _consecutive(rows: list[Any], after: int) -> list[Any]:
    """Return rows that begin with their seq, in its order. Raises: JournalCorrupt, naming the first that is missing."""
    if rows and rows[-1][0] != after + len(rows):
        missing, found = next((seq, row[0]) for seq, row in enumerate(rows, after + 1) if row[0] != seq)
        raise JournalCorrupt(f"entry {missing} is missing: {missing - 1 or 'the start'} is followed by {found}")
    return rows


def _entry(row: tuple[int, str, str, str, int]) -> JournalEntry:
    seq, kind, body, source, recorded_at_ms = row
    return JournalEntry(seq, decode_event(seq, kind, body), source, recorded_at_ms)
