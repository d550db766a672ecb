"""Reader: one stream into the inboxes, through every outage, and no faster than they are emptied."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from account_monitor.errors import FeedUnavailable
from account_monitor.feeds.connection import NATS_ERRORS, Connection, Received, heed_cancellation
from account_monitor.feeds.jetstream import Consumer, ConsumerLost, Stream, StreamMessage, holds_any, stream_info
from account_monitor.feeds.progress import Progress, StreamGap
from account_monitor.feeds.routing import Place, Router

_log = structlog.get_logger(__name__)

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0


class Reader:
    """Reads one stream into the inboxes until it is cancelled, through every outage.

    `error` says what keeps it from reading now. `is_reading` once it had a consumer; `has_reached_end` once all that
    the stream held when reading began was put into the inboxes.
    """

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        filters: Sequence[str],
        *,
        router: Router,
        progress: Progress,
        durable: str,
        report: Callable[[StreamGap], None],
        on_change: Callable[[], None],
    ) -> None:
        self.stream = stream
        self.filters = tuple(filters)
        self.error: FeedUnavailable | None = None
        self.has_reached_end = False
        self.is_reading = False
        self._connection = connection
        self._router = router
        self._progress = progress
        self._durable = None if stream.keeps_acknowledged else durable
        self._report = report
        self._on_change = on_change
        self._consumer: Consumer | None = None
        self._end_sequence = stream.last_sequence
        self._next = 0
        self._batches = 0
        self._acknowledged: deque[bytes] = deque()
        self._has_acknowledged = asyncio.Event()

    async def run(self) -> None:
        """Read until cancelled."""
        if self._durable is None:
            await self._read_for_ever()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._acknowledge_for_ever())
            tasks.create_task(self._read_for_ever())

    def restart(self, why: str) -> None:
        """Make the consumer anew, where every account has seen the stream."""
        if self._consumer is not None:
            self._consumer.lose(why)

    def can_read(self, stream: Stream) -> bool:
        """Whether the stream is still of the kind that this reader reads."""
        return stream.keeps_acknowledged == (self._durable is None)

    @property
    def newest(self) -> int:
        """The furthest place that any account has seen."""
        return self._progress.newest

    async def look(self, stream: Stream, newest: int) -> None:
        """Compare with the stream as it was after we had read up to `newest`: what is not ours moves our place too."""
        is_another = stream.created != self.stream.created
        if is_another or stream.last_sequence < newest:
            self.restart("the stream was made anew" if is_another else "the stream lost messages")
            return
        self.stream = stream
        consumer = self._consumer
        if self._durable is not None or consumer is None or stream.last_sequence <= self._progress.sequence:
            return
        seen = self._progress.sequence
        is_more_there = await holds_any(self._connection, stream.name, self.filters, seen + 1)
        sent, waiting = await consumer.backlog()
        if consumer is not self._consumer or consumer.taken > sent:
            return
        self._find_removed(stream, consumer, unread=sent - consumer.taken + waiting)
        # In this order: what is in the stream no more, up to its end as we saw it, was sent, and is taken, or removed.
        if not is_more_there and consumer.taken == sent:
            self._progress.advance(stream.last_sequence)
            self._reach_end()

    def _find_removed(self, stream: Stream, consumer: Consumer, *, unread: int) -> None:
        """Report messages that waited for us, were not sent, and wait no more."""
        seen = self._progress.sequence
        removed = consumer.pending - unread
        if removed > 0 and stream.first_sequence > seen + 1:
            begins = f"stream {stream.name} begins at {stream.first_sequence}, but was seen up to {seen}"
            self._report(self._gap(f"{begins}: {removed} messages were removed unseen"))
            consumer.pending = unread
            self._next = max(self._next, stream.first_sequence)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read_for_ever(self) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            self._batches = 0
            try:
                await self._read()
            except ConsumerLost as lost:
                _log.info("stream_read_again", stream=self.stream.name, sequence=self.newest, reason=str(lost))
            except FeedUnavailable as error:
                self.error = error
                _log.warning("stream_reading_interrupted", stream=self.stream.name, error=str(error))
            wait_seconds = _FIRST_WAIT_SECONDS if self._batches else min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
            await asyncio.sleep(wait_seconds)

    async def _read(self) -> None:
        await self._connection.is_up.wait()
        stream = await self._present_stream()
        if self._durable is None:
            for gap in await self._progress.meet(stream):
                self._report(gap)
        elif stream.created != self.stream.created:
            self._report(self._gap(f"stream {stream.name} was made anew: what the old one still held is lost"))
        self.stream = stream
        consumer = Consumer(self._connection, stream.name, self.filters, durable=self._durable)
        try:
            await consumer.open(self._progress.sequence + 1)
            self._consumer = consumer
            self._next = self._progress.sequence + 1
            if self._durable is None and not self._progress.is_complete:
                self.restart("the accounts have changed")  # while the consumer was being made
            self.error = None
            if not self.is_reading:
                self.is_reading = True
                self._on_change()
            if consumer.pending == 0:
                self._reach_end()
            while True:
                await self._router.wait_for_room()
                self._put(await consumer.batch())
                await asyncio.sleep(0)
        finally:
            self._consumer = None
            await consumer.close()

    async def _present_stream(self) -> Stream:
        try:
            stream = await stream_info(self._connection, self.stream.name)
        except NATS_ERRORS as error:
            raise FeedUnavailable(f"JetStream is not there: {error}") from None
        if stream is None:
            raise FeedUnavailable(f"stream {self.stream.name} is gone")
        return stream

    def _gap(self, text: str) -> StreamGap:
        return StreamGap(self._progress.source, self._progress.accounts, text)

    def _reach_end(self) -> None:
        if not self.has_reached_end:
            self.has_reached_end = True
            self._on_change()

    def _put(self, batch: list[StreamMessage]) -> None:
        for message in batch:
            if self._durable is not None:
                self._put_unacknowledged(message)
            else:
                self._put_unseen(message)
        self._batches += 1
        last = batch[-1]
        if self._durable is None:
            self._find_hole(last.sequence, len(batch))
            self._progress.advance(last.sequence)
        if last.pending == 0 or last.sequence >= self._end_sequence:
            self._reach_end()
        _log.debug("stream_batch_put", stream=self.stream.name, messages=len(batch), sequence=last.sequence)

    def _find_hole(self, last: int, count: int) -> None:
        """Report messages that came and were removed before we were sent them, where all the stream is ours.

        Holes in what was there when reading began are older than we are.
        """
        removed = last + 1 - self._next - count
        if removed > 0 and self._next > self._end_sequence and set(self.stream.subjects) == set(self.filters):
            between = f"between {self._next} and {last} of stream {self.stream.name}"
            self._report(self._gap(f"{between}, {removed} messages were removed unseen"))
        self._next = max(self._next, last + 1)

    def _put_unseen(self, message: StreamMessage) -> None:
        progress, sequence = self._progress, message.sequence
        if sequence <= progress.newest:  # some account has seen it; do not decode what its subject says is theirs
            named = self._router.named_account(message.subject)
            if named is not None and self._router.is_configured(named) and progress.has_seen(named, sequence):
                return
        account, delivery = self._router.route(
            _received(message), Place(progress.source, sequence, stored_ms=message.stored_ms)
        )
        if not progress.has_seen(account, sequence):
            self._router.put(account, delivery)

    def _put_unacknowledged(self, message: StreamMessage) -> None:
        acknowledge = partial(self._acknowledge, message.reply)
        place = Place(self._progress.source, message.sequence, acknowledge, message.stored_ms)
        self._router.put(*self._router.route(_received(message), place))

    # -- acknowledging -------------------------------------------------------------------------------------------------

    def _acknowledge(self, reply: bytes) -> None:
        self._acknowledged.append(reply)
        self._has_acknowledged.set()

    async def _acknowledge_for_ever(self) -> None:
        while True:
            await self._has_acknowledged.wait()
            self._has_acknowledged.clear()
            while self._acknowledged:
                try:
                    await self._connection.publish(self._acknowledged.popleft().decode())
                except NATS_ERRORS:
                    pass  # it comes again, and the journal knows it
                heed_cancellation()


def _received(message: StreamMessage) -> Received:
    return Received(message.subject, message.reply, message.headers, message.payload)
