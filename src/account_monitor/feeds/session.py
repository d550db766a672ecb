"""Session: what is heard over one NATS connection? Streams are read, the rest is listened to, as the server is now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from account_monitor.errors import FeedUnavailable
from account_monitor.feeds.connection import Connection, Received
from account_monitor.feeds.core import CoreListener
from account_monitor.feeds.jetstream import Stream, find_streams
from account_monitor.feeds.progress import Progress, StreamGap
from account_monitor.feeds.reader import Reader
from account_monitor.feeds.routing import Place, Router
from account_monitor.feeds.status import FeedStatus
from account_monitor.feeds.subjects import Coverage, coverage, matches

CORE_SOURCE = "nats"
"""The source of what was heard on core NATS; that of a stream is `nats:<stream>`."""


class Subjects(NamedTuple):
    """What is heard: patterns of fills, and the subject of prices with what takes them."""

    fills: tuple[str, ...]
    prices: str
    take_price: Callable[[Received], None]


class _Reading(NamedTuple):
    reader: Reader
    task: asyncio.Task[None]


class _Listening(NamedTuple):
    listener: CoreListener
    task: asyncio.Task[None]


_ListenerKey: TypeAlias = tuple[str, tuple[str, ...]]
"""A pattern, and the subjects under it that are left to streams."""


class Session:
    """Keeps a reader for every stream that holds our subjects, and a core listener for what no stream covers."""

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        *,
        router: Router,
        progress_of: Callable[[str], Progress],
        status: FeedStatus,
        durable: str,
        look_seconds: float,
    ) -> None:
        self._connection = connection
        self._subjects = subjects
        self._router = router
        self._progress_of = progress_of
        self._status = status
        self._durable = durable
        self._look_seconds = look_seconds
        self._readings: dict[str, _Reading] = {}
        self._listenings: dict[_ListenerKey, _Listening] = {}
        self._look_now = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def run(self) -> None:
        """Read and listen until the connection is given up."""
        async with self._tasks:
            prices = self._start(self._listener(self._subjects.prices, self._subjects.take_price, _no_wait).run())
            has_closed = self._connection.has_closed
            closing = self._start(self._look_when(has_closed))
            while not has_closed.is_set():
                await self._look()
                await self._pause()
            reading = (reading.task for reading in self._readings.values())
            listening = (listening.task for listening in self._listenings.values())
            await _end(prices, closing, *reading, *listening)

    def restart(self, why: str) -> None:
        """Make every consumer anew, where the accounts are now."""
        for reading in self._readings.values():
            reading.reader.restart(why)
        self._look_now.set()

    # -- looking -------------------------------------------------------------------------------------------------------

    async def _look_when(self, event: asyncio.Event) -> None:
        await event.wait()
        self._look_now.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._look_seconds):
                await self._look_now.wait()
        except TimeoutError:
            pass
        self._look_now.clear()

    async def _look(self) -> None:
        """Find out which streams there are, hear accordingly, and say how it goes."""
        if not self._connection.is_up.is_set():
            return
        error: FeedUnavailable | None = None
        try:
            newest = {name: reading.reader.newest for name, reading in self._readings.items()}
            streams = await find_streams(self._connection, self._subjects.fills)
            if streams is None:
                self._do_without_jetstream()
            else:
                await self._settle(coverage(self._subjects.fills, streams), streams)
                for stream in streams:
                    if stream.name in self._readings:
                        await self._readings[stream.name].reader.look(stream, newest.get(stream.name, 0))
        except FeedUnavailable as unavailable:
            error = unavailable
        self._say_how_it_goes(error)

    def _say_how_it_goes(self, error: FeedUnavailable | None) -> None:
        status = self._status
        readers = [reading.reader for reading in self._readings.values()]
        listeners = [listening.listener for listening in self._listenings.values()]
        status.note_modes({pattern: self._mode(pattern) for pattern in self._subjects.fills})
        if readers or listeners:
            is_there = all(r.has_reached_end for r in readers) and all(x.is_listening for x in listeners)
            status.has_reached_end = status.has_reached_end or is_there
        trouble = error or next((r.error for r in readers if r.error is not None), None)
        if trouble is not None:
            status.note_error(trouble)
        else:
            status.last_error = ""

    def _mode(self, pattern: str) -> str:
        core = ["core"] if any(key[0] == pattern for key in self._listenings) else []
        filters = coverage([pattern], [reading.reader.stream for reading in self._readings.values()]).filters
        return " + ".join([*core, *(f"jetstream {name}" for name in filters)]) or "none"

    # -- settling ------------------------------------------------------------------------------------------------------

    def _do_without_jetstream(self) -> None:
        """Listen to everything on core NATS; readers stay, for the case that it comes back."""
        for pattern in self._subjects.fills:
            self._listen(pattern, ())

    async def _settle(self, wanted: Coverage, streams: Sequence[Stream]) -> None:
        """Start and end readers and listeners until they are those that are wanted."""
        for pattern, left_to_streams in wanted.core.items():
            self._listen(pattern, left_to_streams)
        await self._end_readings(wanted, {stream.name: stream for stream in streams})
        for stream in streams:
            if stream.name in wanted.filters and stream.name not in self._readings:
                self._read(stream, wanted.filters[stream.name])
        await self._end_listenings(set(wanted.core.items()))

    def _listen(self, pattern: str, left_to_streams: tuple[str, ...]) -> None:
        if (pattern, left_to_streams) not in self._listenings:
            take = partial(self._take_fill, left_to_streams)
            listener = self._listener(pattern, take, self._router.wait_for_room)
            self._listenings[pattern, left_to_streams] = _Listening(listener, self._start(listener.run()))

    def _read(self, stream: Stream, filters: tuple[str, ...]) -> None:
        reader = Reader(
            self._connection,
            stream,
            filters,
            router=self._router,
            progress=self._progress_of(stream.name),
            durable=self._durable,
            report=self._status.note_gap,
            on_change=self._look_now.set,
        )
        self._readings[stream.name] = _Reading(reader, self._start(reader.run()))

    async def _end_readings(self, wanted: Coverage, streams: Mapping[str, Stream]) -> None:
        for name, (reader, task) in list(self._readings.items()):
            if wanted.filters.get(name) == reader.filters and reader.can_read(streams[name]):
                continue
            del self._readings[name]
            await _end(task)
            if name not in wanted.filters and wanted.core:
                text = f"stream {name} is gone: what it held and was not read is lost, listening on core NATS now"
                self._status.note_gap(StreamGap(self._progress_of(name).source, self._router.accounts, text))

    async def _end_listenings(self, wanted: set[_ListenerKey]) -> None:
        """End listeners whose subjects streams have taken over, once those are read.

        An Interest stream keeps nothing before that.
        """
        if not all(reading.reader.is_reading for reading in self._readings.values()):
            return
        for key in self._listenings.keys() - wanted:
            await _end(self._listenings.pop(key).task)

    # -- taking --------------------------------------------------------------------------------------------------------

    def _listener(
        self, pattern: str, take: Callable[[Received], None], wait_for_room: Callable[[], Awaitable[None]]
    ) -> CoreListener:
        return CoreListener(
            self._connection,
            pattern,
            take=take,
            wait_for_room=wait_for_room,
            lose=partial(self._note_dropped, pattern),
            on_change=self._look_now.set,
        )

    def _take_fill(self, left_to_streams: tuple[str, ...], message: Received) -> None:
        if left_to_streams:
            subject = message.subject.decode(errors="replace")
            if any(matches(held, subject) for held in left_to_streams):
                return
        self._router.put(*self._router.route(message, Place(CORE_SOURCE)))

    def _note_dropped(self, pattern: str, count: int) -> None:
        text = f"{count} messages on {pattern} were dropped: more came on core NATS than could be taken"
        self._status.note_gap(StreamGap(CORE_SOURCE, self._router.accounts, text))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._tasks.create_task(work)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _no_wait() -> None:
    """Prices do not wait for room: the next one replaces them."""
