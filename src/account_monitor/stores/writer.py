"""Writer: the one thread that writes a journal. What waits when it begins is committed together."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import apsw

from account_monitor.errors import RecordingStopped
from account_monitor.monitor.ports import StreamPosition
from account_monitor.stores.journal_file import cause, may_pass
from account_monitor.stores.recorder import Recorder

_CHECKPOINT_PAGES = 2_000
"""The WAL grows to 8 MB before it is copied into the file: seldom while busy, and little to read after a crash."""

_PAUSE_SECONDS = 0.01
"""Between two pieces of what is done when nobody waits: it may take the night."""

_LARGEST_GROUP = 64
"""Requests in one transaction. Callers wait for theirs, so the queue is no longer than there are callers."""

T = TypeVar("T")


class Committed(NamedTuple):
    """What the last commit left: the newest entry, the last that was forgotten, and how far each source was seen."""

    last_seq: int
    base_seq: int
    positions: Mapping[str, StreamPosition]


class _Request(NamedTuple):
    work: Callable[[Recorder], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class _Spare(NamedTuple):
    """What is to be done when nobody waits; it says whether there is more of it."""

    work: Callable[[Recorder], bool]


class Writer:
    """Owns the connection that writes. A failed write or flush is final: the pages that the system dropped are gone,
    and a flush that succeeds later would say nothing about them.
    """

    def __init__(self, connection: apsw.Connection, recorder: Recorder, name: str) -> None:
        self.failure: str | None = None
        self.may_pass = False
        """Whether what failed is outside of the file, such as a full disk: opened anew, it may be written again."""
        self._connection = connection
        self._recorder = recorder
        self.committed = self._state()
        self._requests: queue.SimpleQueue[_Request | _Spare | None] = queue.SimpleQueue()
        self._spare_work: Callable[[Recorder], bool] | None = None
        self._pause_until = 0.0
        self._is_closing = False
        self._wal_pages = 0
        connection.set_wal_hook(self._note_wal)  # instead of SQLite's own checkpoint, which would delay an answer
        self._thread = threading.Thread(target=self._run, name=f"journal-{name}", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Recorder], T]) -> T:
        """Run `work` in a transaction and return its result once that is durable. A cancelled caller's work is done.

        Raises: RecordingStopped.
        """
        if self.failure is not None or self._is_closing:
            raise RecordingStopped(self.failure or "the journal is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._requests.put(_Request(work, future, loop))
        return await future

    def do_between(self, work: Callable[[Recorder], bool]) -> None:
        """Run `work` in a transaction of its own when nobody waits, and again while it says that there is more.

        It replaces what was to be done so before. It is durable with the next commit that somebody waits for.
        """
        if self.failure is None and not self._is_closing:
            self._requests.put(_Spare(work))

    async def close(self) -> None:
        """Commit what waits, empty the WAL into the file and stop."""
        if not self._is_closing:
            self._is_closing = True
            self._requests.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._serve(group)
                self._checkpoint()
            if is_open and self._spare_work is not None and self._has_time():
                self._work_between(self._spare_work)
                self._checkpoint()
        self._finish()

    def _has_time(self) -> bool:
        return self.failure is None and self._requests.empty() and time.monotonic() >= self._pause_until

    def _work_between(self, work: Callable[[Recorder], bool]) -> None:
        try:
            self._connection.pragma("synchronous", "NORMAL")
            self._connection.execute("BEGIN IMMEDIATE")
            is_unfinished = work(self._recorder)
            self._connection.execute("COMMIT")
            self._connection.pragma("synchronous", "FULL")
            self.committed = self._state()
        except BaseException as error:  # noqa: BLE001  # as in `_serve`
            self._stop(error)
            is_unfinished = False
        if not is_unfinished:
            self._spare_work = None
        self._pause_until = time.monotonic() + _PAUSE_SECONDS

    def _next_group(self) -> tuple[list[_Request], bool]:
        group: list[_Request] = []
        timeout = None if self._spare_work is None else _PAUSE_SECONDS
        try:
            while len(group) < _LARGEST_GROUP:
                request = self._requests.get(block=not group, timeout=timeout)
                if request is None:
                    return group, False
                if isinstance(request, _Spare):
                    self._spare_work = request.work
                    break
                group.append(request)
        except queue.Empty:
            pass
        return group, True

    def _serve(self, group: list[_Request]) -> None:
        try:
            answers = self._commit(group)
        except BaseException as error:  # noqa: BLE001  # whatever it was, nobody may be left waiting
            self._stop(error)
            answers = [self._refused(error) for _ in group]
        for request, answer in zip(group, answers, strict=True):
            _answer(request, answer)

    def _commit(self, group: list[_Request]) -> list[Any]:
        if self.failure is not None:
            raise RecordingStopped(self.failure)
        self._connection.execute("BEGIN IMMEDIATE")
        results = [request.work(self._recorder) for request in group]
        self._connection.execute("COMMIT")
        self.committed = self._state()
        return results

    def _state(self) -> Committed:
        recorder = self._recorder
        return Committed(recorder.head.seq, recorder.base_seq, MappingProxyType(dict(recorder.positions)))

    def _stop(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = f"nothing is recorded after entry {self.committed.last_seq}: {cause(error)}"
            self.may_pass = may_pass(error)
            self._abandon()

    def _refused(self, error: BaseException) -> RecordingStopped:
        refused = RecordingStopped(self.failure)
        refused.__cause__ = error
        return refused

    def _abandon(self) -> None:
        try:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close(True)
        except apsw.Error:
            pass  # the handle is given up either way

    def _note_wal(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        # After the answers: whoever waits for one need not wait for this.
        if self.failure is None and self._wal_pages >= _CHECKPOINT_PAGES:
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except Exception as error:  # noqa: BLE001  # this thread must go on answering, whatever it was
                self._stop(error)

    def _finish(self) -> None:
        if self.failure is not None:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            pass  # a reader is in the middle; the WAL stays and is read at the next start
        except apsw.Error as error:
            self._stop(error)

    def release(self) -> None:
        """Close the file, after `close` and after every reader of this process."""
        self._connection.close()


def _answer(request: _Request, answer: Any) -> None:
    try:
        request.loop.call_soon_threadsafe(_settle, request.future, answer)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return  # the caller was cancelled
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
