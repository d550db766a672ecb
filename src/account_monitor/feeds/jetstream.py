"""JetStream: how are the messages of a stream pulled, all of them, in order, and no faster than they are taken?

A small engine on pull consumers. Messages are not acknowledged: the place up to which they were recorded is in the
journal, and a consumer is made anew from there whenever anything is in doubt. Only streams that drop what was
acknowledged (Interest, WorkQueue) get a durable consumer.

Two pulls overlap, so that the server never waits for us. Their sizes were measured, see benchmarks/nats_pull.py.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from nats import errors
from nats.aio.subscription import Subscription

from account_monitor.errors import FeedUnavailable
from account_monitor.feeds.connection import NATS_ERRORS, Connection, Received, heed_cancellation

BATCH = 1000
"""Messages of one pull."""

_BATCH_BYTES = 8 << 20  # of one pull: two of them are the most that waits here, whatever the size of the messages
_PULLS = 2
_TAKEN_AT_ONCE = 500  # messages handed over before others get their turn: a few ms of work
_EXPIRES_SECONDS = 30
_HEARTBEAT_SECONDS = 3
_SILENCE_SECONDS = 10.0  # three heartbeats were missed
_INACTIVE_SECONDS = 30  # the server forgets an abandoned consumer after this long
_ACK_WAIT_SECONDS = 5
_MAX_ACK_PENDING = 50_000  # more than inbox and pulls hold, so that it never limits
_API_SECONDS = 5.0
_NANOSECONDS = 1_000_000_000

_NO_JETSTREAM = (10_039, 10_076)  # not enabled for this account, not enabled at all
_STREAM_NOT_FOUND = 10_059
_MESSAGE_NOT_FOUND = 10_037

_ACK_PREFIX = b"$JS.ACK."


class ConsumerLost(FeedUnavailable):
    """The consumer is gone or what it sent is not all that it should be: make it anew."""


class Stream(NamedTuple):
    """What a stream is now. `created` tells it from another one of the same name."""

    name: str
    created: str
    subjects: tuple[str, ...]
    keeps_acknowledged: bool
    first_sequence: int
    last_sequence: int


class StreamMessage(NamedTuple):
    """A message of a stream. `pending` is how many more waited for this consumer when it was sent.

    `stored_ms`: when the stream took it, by the clock of the server.
    """

    subject: bytes
    headers: bytes
    payload: bytes
    sequence: int
    pending: int
    reply: bytes
    stored_ms: int = 0


# -- the API -----------------------------------------------------------------------------------------------------------


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None


class _Names(_Answer):
    streams: list[str] | None = None
    total: int = 0


class _Config(msgspec.Struct):
    name: str
    subjects: tuple[str, ...] | None = None
    retention: str = "limits"


class _State(msgspec.Struct):
    first_seq: int
    last_seq: int


class _StreamInfo(_Answer):
    config: _Config | None = None
    state: _State | None = None
    created: str = ""


class _Delivered(msgspec.Struct):
    consumer_seq: int = 0
    stream_seq: int = 0


class _ConsumerInfo(_Answer):
    delivered: _Delivered | None = None
    num_pending: int = 0


_AnswerT = TypeVar("_AnswerT", bound=_Answer)


async def _ask(connection: Connection, subject: str, body: dict[str, Any], kind: type[_AnswerT]) -> _AnswerT:
    """Ask the JetStream API. Raises: FeedUnavailable when it does not answer; NoRespondersError without JetStream."""
    try:
        message = await connection.ask(f"$JS.API.{subject}", msgspec.json.encode(body), _API_SECONDS)
        return msgspec.json.decode(message.payload, type=kind)
    except errors.NoRespondersError:
        raise
    except NATS_ERRORS as error:
        raise FeedUnavailable(f"JetStream did not answer {subject}: {_said(error)}") from None
    except msgspec.MsgspecError as error:
        raise FeedUnavailable(f"JetStream answered {subject} with something else: {error}") from None


async def _ask_stream(connection: Connection, subject: str, body: dict[str, Any], kind: type[_AnswerT]) -> _AnswerT:
    """Ask about a stream or consumer that was there. Raises: FeedUnavailable, also where JetStream is gone."""
    try:
        return await _ask(connection, subject, body, kind)
    except errors.NoRespondersError:
        raise FeedUnavailable(f"nobody answers {subject}") from None


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _refusal(subject: str, error: _Error) -> FeedUnavailable:
    return FeedUnavailable(f"JetStream refused {subject}: {error.description} ({error.err_code})")


async def find_streams(connection: Connection, patterns: Sequence[str]) -> list[Stream] | None:
    """Return the streams that hold any subject of these patterns, None where there is no JetStream.

    Raises: FeedUnavailable when nobody can say now.
    """
    names: dict[str, None] = {}
    try:
        for pattern in patterns:
            names.update(dict.fromkeys(await _stream_names(connection, pattern)))
        found = [await stream_info(connection, name) for name in names]
    except errors.NoRespondersError:
        return None
    return [stream for stream in found if stream is not None]


async def _stream_names(connection: Connection, pattern: str) -> list[str]:
    names: list[str] = []
    while True:
        body = {"subject": pattern, "offset": len(names)}
        answer = await _ask(connection, "STREAM.NAMES", body, _Names)
        if answer.error is not None:
            if answer.error.err_code in _NO_JETSTREAM:
                raise errors.NoRespondersError
            raise _refusal("STREAM.NAMES", answer.error)
        page = answer.streams or []
        names += page
        if not page or len(names) >= answer.total:
            return names


async def stream_info(connection: Connection, name: str) -> Stream | None:
    """Return what a stream is now, None if there is no such stream. Raises: FeedUnavailable."""
    subject = f"STREAM.INFO.{name}"
    answer = await _ask(connection, subject, {}, _StreamInfo)
    if answer.error is not None:
        if answer.error.err_code == _STREAM_NOT_FOUND:
            return None
        raise _refusal(subject, answer.error)
    config, state = answer.config, answer.state
    if config is None or state is None:
        raise FeedUnavailable(f"JetStream answered {subject} without configuration or state")
    keeps = config.retention == "limits"
    return Stream(name, answer.created, config.subjects or (), keeps, state.first_seq, state.last_seq)


async def holds_any(connection: Connection, stream: str, filters: Iterable[str], from_sequence: int) -> bool:
    """Whether the stream itself holds a message of these subjects from a sequence on. Raises: FeedUnavailable.

    A consumer's own count does not tell: it learns of a message only after the stream has it.
    """
    subject = f"STREAM.MSG.GET.{stream}"
    for pattern in filters:
        answer = await _ask_stream(connection, subject, {"seq": from_sequence, "next_by_subj": pattern}, _Answer)
        if answer.error is None:
            return True
        if answer.error.err_code != _MESSAGE_NOT_FOUND:
            raise _refusal(subject, answer.error)
    return False


# -- the consumer ------------------------------------------------------------------------------------------------------


class Consumer:
    """Pulls the messages of one stream, from a sequence on.

    `sequence` and `pending` are those of the last message taken. Once lost, a consumer is done: open another one.
    """

    def __init__(self, connection: Connection, stream: str, filters: Sequence[str], *, durable: str | None) -> None:
        self._connection = connection
        self._stream = stream
        self._filters = tuple(filters)
        self._durable = durable
        self.name = durable or f"account-monitor-{secrets.token_hex(8)}"
        self.pending = 0
        self.taken = 0
        """The consumer's own number of the last message taken, without holes."""
        self._inbox = connection.new_inbox()
        self._subscription: Subscription | None = None
        self._received: list[Received] = []
        self._arrived = asyncio.Event()
        self._wanted = 0
        self._lost = ""

    async def open(self, start_sequence: int) -> None:
        """Make the consumer on the server; its first message is that of `start_sequence` or the next one after it.

        Raises: FeedUnavailable.
        """
        subject = f"CONSUMER.CREATE.{self._stream}.{self.name}"
        body = {"stream_name": self._stream, "config": self._config(start_sequence)}
        try:
            self._subscription = await self._connection.listen(self._inbox, self.receive)
        except NATS_ERRORS as error:
            raise FeedUnavailable(f"no inbox could be opened: {_said(error)}") from None
        answer = await _ask_stream(self._connection, subject, body, _ConsumerInfo)
        if answer.error is not None:
            raise _refusal(subject, answer.error)
        self.pending = answer.num_pending
        self.taken = 0 if answer.delivered is None else answer.delivered.consumer_seq

    def _config(self, start_sequence: int) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": self.name,
            "filter_subjects": self._filters,
            "replay_policy": "instant",
        }
        if self._durable is not None:
            return config | {
                "durable_name": self._durable,
                "deliver_policy": "all",
                "ack_policy": "explicit",
                "ack_wait": _ACK_WAIT_SECONDS * _NANOSECONDS,
                "max_ack_pending": _MAX_ACK_PENDING,
            }
        return config | {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": max(1, start_sequence),
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _INACTIVE_SECONDS * _NANOSECONDS,
        }

    async def close(self) -> None:
        """Stop, and take a consumer that nobody will use again from the server."""
        if self._subscription is not None:
            await self._connection.stop_listening(self._subscription)
        if self._durable is None and self._connection.is_connected:
            try:
                await self._connection.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self.name}")
            except NATS_ERRORS:
                pass  # the server forgets it by itself

    def lose(self, why: str) -> None:
        """Make the next `batch` raise ConsumerLost, after what has arrived."""
        self._lost = self._lost or why
        self._arrived.set()

    async def batch(self) -> list[StreamMessage]:
        """Pull, and return the messages that have arrived, at least one.

        Nothing is pulled but from here, so what arrives while nobody asks is bounded by the pulls under way.
        Raises: ConsumerLost; FeedUnavailable when even the heartbeats stay away.
        """
        while True:
            if self._lost and not self._received:
                raise ConsumerLost(self._lost)
            await self._pull()
            await self._wait()
            if messages := self._take():
                return messages

    async def backlog(self) -> tuple[int, int]:
        """Return the consumer's number of the last message sent, and how many wait.

        A consumer that is gone counts as lost. Raises: FeedUnavailable.
        """
        subject = f"CONSUMER.INFO.{self._stream}.{self.name}"
        answer = await _ask_stream(self._connection, subject, {}, _ConsumerInfo)
        if answer.error is not None or answer.delivered is None:
            refusal = _refusal(subject, answer.error or _Error())
            self.lose(str(refusal))
            raise refusal
        return answer.delivered.consumer_seq, answer.num_pending

    def receive(self, message: Received) -> None:
        """Take a message or status of the server, until `batch` is called."""
        self._received.append(message)
        self._arrived.set()

    async def _pull(self) -> None:
        while self._wanted <= (_PULLS - 1) * BATCH:
            self._wanted += BATCH
            request = {
                "batch": BATCH,
                # A message that is larger than this would end the pull without having been sent.
                "max_bytes": max(_BATCH_BYTES, 2 * self._connection.max_payload),
                "expires": _EXPIRES_SECONDS * _NANOSECONDS,
                "idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS,
            }
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"
            try:
                await self._connection.publish(subject, msgspec.json.encode(request), reply=self._inbox)
            except NATS_ERRORS as error:
                raise ConsumerLost(f"no pull could be sent: {_said(error)}") from None
            heed_cancellation()

    async def _wait(self) -> None:
        if self._received:
            return
        self._arrived.clear()
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            raise FeedUnavailable(f"JetStream was silent for {_SILENCE_SECONDS:g} s") from None

    def _take(self) -> list[StreamMessage]:
        """Return the messages received, in order, up to the first sign that one is missing."""
        received, self._received = self._received[:_TAKEN_AT_ONCE], self._received[_TAKEN_AT_ONCE:]
        messages: list[StreamMessage] = []
        for message in received:
            if not message.reply.startswith(_ACK_PREFIX):
                self._heed(message.headers)
                continue
            place = _place(message.reply)
            if place is None:
                self.lose(f"{message.reply!r} names no place")
                self._received.clear()
                break
            if place.consumer_sequence != self.taken + 1 and self._durable is None:
                self.lose(f"message {self.taken + 1} of consumer {self.name} did not arrive")
                self._received.clear()
                break
            self.taken, self.pending = place.consumer_sequence, place.pending
            self._wanted -= 1
            messages.append(
                StreamMessage(
                    message.subject, message.headers, message.payload, place.sequence, place.pending, message.reply,
                    place.stored_ms,
                )
            )  # fmt: skip
        return messages

    def _heed(self, headers: bytes) -> None:
        """Act on a status of the server: a heartbeat, the end of a pull, or the end of the consumer."""
        status = headers[9:12]
        unsent = _unsent(headers)
        if status == b"100":
            return
        if status in (b"408", b"409") and unsent is not None:
            self._wanted = max(0, self._wanted - unsent)  # this pull is over; the next one asks for what it left
            return
        self.lose("the server said " + headers[9:].partition(b"\r\n")[0].decode(errors="replace"))


class _Place(NamedTuple):
    sequence: int
    consumer_sequence: int
    stored_ms: int
    pending: int


def _place(reply: bytes) -> _Place | None:
    """Read where a message stands from its reply subject, in the old layout (9 tokens) or the new (11 or more).

    $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>
    $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>…
    """
    tokens = reply.split(b".")
    shift = 0 if len(tokens) == 9 else 2
    try:
        sequence, consumer_sequence, stored_ns, pending = map(int, tokens[5 + shift : 9 + shift])
        return _Place(sequence, consumer_sequence, stored_ns // 1_000_000, pending)
    except (ValueError, IndexError):
        return None


def _unsent(headers: bytes) -> int | None:
    """Return how many messages a pull that ended would still have taken."""
    _, found, rest = headers.partition(b"Nats-Pending-Messages: ")
    count = rest.partition(b"\r\n")[0]
    return int(count) if found and count.isdigit() else None
