"""Journal: the durable, append-only memory of one account, in one SQLite file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from account_monitor.errors import JournalError
from account_monitor.ledger.events import Event, LegEvent, Place
from account_monitor.monitor.ports import (
    Clock,
    Delivery,
    FillPage,
    FillQuery,
    JournalEntry,
    Recorded,
    RemarkKind,
    StreamPosition,
)
from account_monitor.stores.journal_file import WriterLock, journal_path, make_private, open_for_writing, read_head
from account_monitor.stores.journal_reader import JournalReader
from account_monitor.stores.recorder import Recorder
from account_monitor.stores.writer import Writer


class Journal:
    """Writes one journal; implements `monitor.ports.Journal`.

    What `append` returned is in the file and flushed: it survives the end of the process, and of the machine if the
    disk honours flushes. Reads see what is committed; they go on after a failed write.
    """

    def __init__(self, account: str, lock: WriterLock, writer: Writer, reader: JournalReader, clock: Clock) -> None:
        self.account = account
        self.reader = reader
        self._epoch = reader.head().epoch
        self._lock = lock
        self._writer = writer
        self._clock = clock

    @classmethod
    def open(cls, data_dir: Path, account: str, *, clock: Clock) -> Self:
        """Open or create `<data_dir>/<account>.journal`. After a crash this reads the WAL back.

        Raises: JournalInUse, JournalTooNew, JournalCorrupt, JournalError.
        """
        make_private(data_dir)
        path = journal_path(data_dir, account)
        with ExitStack() as undo:
            lock = WriterLock(path)
            undo.callback(lock.release)
            connection = open_for_writing(path, account, clock())
            undo.callback(connection.close)
            reader = JournalReader(path)
            undo.callback(reader.close)
            recorder = Recorder(connection, read_head(connection)[1], reader.positions())
            undo.pop_all()
        return cls(account, lock, Writer(connection, recorder, account), reader, clock)

    @property
    def path(self) -> Path:
        """The file."""
        return self.reader.path

    @property
    def epoch(self) -> int:
        """Grows whenever the sequence may not continue what readers saw, such as after a restore."""
        return self._epoch

    @property
    def last_seq(self) -> int:
        """The sequence of the newest committed entry, 0 when there is none."""
        return self._writer.committed.last_seq

    @property
    def base_seq(self) -> int:
        """The sequence up to which entries are in the history only, 0 where all are here."""
        return self._writer.committed.base_seq

    @property
    def failure(self) -> str | None:
        """Why nothing is recorded any more, None while all is well."""
        return self._writer.failure

    @property
    def may_be_opened_anew(self) -> bool:
        """Whether recording failed for a reason that may pass, such as a full disk."""
        return self._writer.may_pass

    @property
    def positions(self) -> Mapping[str, StreamPosition]:
        """By source, how far it was seen, as committed."""
        return self._writer.committed.positions

    async def append(self, deliveries: Sequence[Delivery], positions: Sequence[StreamPosition] = ()) -> Recorded:
        """Commit deliveries, dead letters and positions in one transaction; returns once it is durable.

        Raises: RecordingStopped after a failed write; the restart tells whether the batch was recorded.
        """
        if not deliveries and not positions:
            return Recorded([], [], [], [])
        now_ms = self._clock()
        return await self._writer.submit(lambda recorder: recorder.append(deliveries, positions, now_ms))

    async def begin_epoch(self, epoch: int) -> None:
        """Let what is recorded from now on belong to an epoch, younger than all before: that of a lease.

        Raises: JournalError for one that is not; RecordingStopped.
        """
        if epoch <= self._epoch:
            raise JournalError(f"{self.path} is under epoch {self._epoch}, and cannot go on under epoch {epoch}")
        now_ms = self._clock()
        await self._writer.submit(lambda recorder: recorder.begin_epoch(epoch, now_ms))
        self._epoch = epoch

    async def save_checkpoint(self, seq: int, fingerprint: str, state: bytes) -> None:
        """Keep a folded state, so that a fold begins there. Of the older ones, one for every 200,000 entries stays."""
        await self._writer.submit(lambda recorder: recorder.save_checkpoint(seq, fingerprint, state))

    def follows_time(self, place: Place) -> bool:
        """Whether of a position's fills none has a lower number than one that happened before it; reads all of them."""
        return self.reader.follows_time(place)

    def compact(self, until: int) -> None:
        """Forget the entries up to a sequence, a few at a time while nothing else is to be written.

        They are in the history, and no fold needs them: who asks for it knows.
        """
        self._writer.do_between(lambda recorder: recorder.forget(until))

    def load_checkpoints(self, fingerprint: str, *, until: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield (seq, state) of the checkpoints written under this fingerprint, up to a sequence, the newest first."""
        return self.reader.load_checkpoints(fingerprint, until=until)

    def entries(
        self, *, after: int = 0, until: int | None = None, happened_by_ms: int | None = None
    ) -> Iterator[JournalEntry]:
        """Yield entries with after < seq <= until, in journal order; with a time, only what happened up to it."""
        return self.reader.entries(after=after, until=until, happened_by_ms=happened_by_ms)

    def seq_at(self, recorded_ms: int) -> int:
        """Return the sequence of the last entry that was recorded up to a time, 0 where there was none."""
        return self.reader.seq_at(recorded_ms)

    def history(self, key: str, *, after: int, until: int) -> Iterator[tuple[int, LegEvent]]:
        """Yield the fills and funding of a position with after < seq <= until, each with its seq, in journal order."""
        return self.reader.history(key, after=after, until=until)

    def flows(self, *, since_ms: int) -> list[JournalEntry]:
        """Return funding, transfers and other income that happened at or after a time, in the order of their times."""
        return self.reader.flows(since_ms=since_ms)

    def unknown(self, events: Iterable[Event]) -> set[str]:
        """Return the identities of those events that were never recorded, and would be now."""
        return self.reader.unknown(events)

    def remarks(self, kind: RemarkKind) -> Iterator[JournalEntry]:
        """Yield alerts, or reports of reconciliation: the youngest first."""
        return self.reader.remarks(kind)

    def remarks_after(self, kind: RemarkKind, seq: int) -> list[JournalEntry]:
        """Return the next hundred alerts, or reports of reconciliation, after a sequence, in journal order."""
        return self.reader.remarks_after(kind, seq)

    def fills(self, query: FillQuery) -> FillPage:
        """Return a page of fills in venue order. Raises: ValueError for a cursor that this journal did not give."""
        return self.reader.fills(query)

    async def give_up_writing(self) -> None:
        """After a failure: let the file be opened for writing by somebody else. Reads go on until `close`."""
        await self._writer.close()
        self._lock.release()

    async def close(self) -> None:
        """Commit what waits, stop the writer and release the file."""
        await self._writer.close()
        self.reader.close()
        self._writer.release()
        self._lock.release()
