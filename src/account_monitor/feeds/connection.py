"""Connection: how do bytes come from a NATS server? nats-py's client, with a reader of its own for what others wrote.

nats-py keeps the connection: authentication, TLS, pings, reconnects. Messages take another way, for two reasons. Its
reader stops for good, while the client says that it is connected, at a subject or header that is not UTF-8, and loses
the protocol at a subject with a form feed: a publisher could blind us, on a stream again at every restart. And a
regular expression, a task and a queue per message cost twice as much as all the rest.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from nats import errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

NATS_ERRORS = (errors.Error, OSError, asyncio.TimeoutError)
"""What nats-py raises when the server cannot be reached, refuses, or does not answer."""

_NO_RESPONDERS = b"NATS/1.0 503"
_CRLF = b"\r\n"
_MAX_LINE_BYTES = 65_536  # the server's own limit for a line is 4 KiB; the INFO line is longer
_PING_SECONDS = 5  # a half-open connection is found after three of these
_CONNECT_SECONDS = 5
_CLOSE_SECONDS = 2


def heed_cancellation() -> None:
    """Raise the cancellation that nats-py may have swallowed.

    It awaits with asyncio.wait_for, which in Python 3.11 forgets a cancellation that comes together with a result or
    an error; a task that went on after that would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Received(NamedTuple):
    """A message as it came: nothing in it is checked, the payload least of all."""

    subject: bytes
    reply: bytes
    headers: bytes
    payload: bytes


Receiver: TypeAlias = Callable[[Received], None]
"""Takes a message at once. Must not raise: it runs inside the reader of the connection."""

_new = tuple.__new__


class MessageParser(Parser):
    """Splits what the server sends into messages; everything that is no message goes to nats-py's own parser."""

    def __init__(self, client: Connection) -> None:
        self.receivers: dict[int, Receiver] = {}
        super().__init__(client)

    def reset(self) -> None:
        """Forget what is left of a connection that broke."""
        super().reset()
        self._rest = b""
        self._arrived: list[bytes] = []
        self._missing = 0
        self._resets = getattr(self, "_resets", 0) + 1

    async def parse(self, data: bytes = b"") -> None:
        """Hand every complete message in the data to its receiver.

        Raises: ProtocolError, on which nats-py connects anew.
        """
        self._missing -= len(data)
        if self._missing > 0:  # a long message: join its parts once, when all are there
            self._arrived.append(data)
            return
        buffer = b"".join((self._rest, *self._arrived, data))
        resets = self._resets
        end = await self._parse_all(buffer)
        if self._resets == resets:  # else the rest belongs to a connection that is no more
            self._rest, self._arrived = buffer[end:], []

    async def _parse_all(self, buffer: bytes) -> int:
        """Parse what is complete; return where the rest begins."""
        receivers, position, size = self.receivers, 0, len(buffer)
        resets = self._resets
        while (line_end := buffer.find(_CRLF, position)) >= 0:
            kind = buffer[position : position + 4]
            if kind != b"MSG " and kind != b"HMSG":
                await self._parse_line(buffer[position : line_end + 2])
                if self._resets != resets:
                    return size
                position = line_end + 2
                continue
            words = buffer[position:line_end].split(b" ")
            try:
                sid, total = int(words[2]), int(words[-1])
                header_size = int(words[-2]) if kind == b"HMSG" else 0
                reply = words[3] if len(words) == (6 if header_size else 5) else b""
            except (ValueError, IndexError):
                raise errors.ProtocolError from None
            start = line_end + 2
            if start + total + 2 > size:
                self._missing = start + total + 2 - size
                return position
            position = start + total + 2
            headers, payload = buffer[start : start + header_size], buffer[start + header_size : start + total]
            receive = receivers.get(sid)
            if receive is not None:  # else the subscription has ended
                receive(_new(Received, (words[1], reply, headers, payload)))
        if size - position > _MAX_LINE_BYTES:
            raise errors.ProtocolError
        return position

    async def _parse_line(self, line: bytes) -> None:
        self.buf = bytearray(line)
        await super().parse()
        self.buf.clear()


class Connection(Client):
    """A connection to NATS that reconnects for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = MessageParser(self)
        self._ps = self.messages
        self._is_shut = False
        self.is_up = asyncio.Event()
        """Set while there is a server at the other end."""
        self.has_closed = asyncio.Event()
        """Set when nats-py gave up, as it does when the server revokes the authorization: open another one."""

    async def open(
        self,
        urls: list[str],
        *,
        credentials_file: str | None,
        ca_file: str | None,
        reconnect_wait_seconds: float,
        on_disconnect: Callable[[], None],
        on_reconnect: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Connect, however long it takes: a server that is not there is tried again and again."""

        async def disconnected() -> None:
            self.is_up.clear()
            if not self._is_shut:
                on_disconnect()

        async def reconnected() -> None:
            self.is_up.set()
            on_reconnect()

        async def failed(error: Exception) -> None:
            heed_cancellation()  # nats-py tries for ever, and this is where it tells of each attempt
            on_error(error)

        async def closed() -> None:
            self.has_closed.set()

        await self.connect(
            urls,
            name="account-monitor",
            user_credentials=credentials_file,
            tls=ssl.create_default_context(cafile=ca_file) if ca_file else None,
            max_reconnect_attempts=-1,
            reconnect_time_wait=reconnect_wait_seconds,  # type: ignore[arg-type]  # it is given to asyncio.sleep
            connect_timeout=_CONNECT_SECONDS,
            ping_interval=_PING_SECONDS,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
            error_cb=failed,
            closed_cb=closed,
        )
        heed_cancellation()
        self.is_up.set()

    async def shut(self) -> None:
        """Close for good, also where nothing was opened yet."""
        self._is_shut = True
        if self._flush_queue is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.close()
        except NATS_ERRORS:
            pass  # it was not there any more

    async def listen(self, subject: str, receive: Receiver) -> Subscription:
        """Subscribe; the receiver is called with every message, in order."""
        sid = self._sid + 1  # known before the server can answer, so no message comes before its receiver
        self.messages.receivers[sid] = receive
        subscription = await self.subscribe(subject)
        assert subscription._id == sid
        return subscription

    async def ask(self, subject: str, payload: bytes, timeout_seconds: float) -> Received:
        """Return the answer to a request.

        Raises: NoRespondersError when nobody answers such requests; TimeoutError.
        """
        answer: asyncio.Future[Received] = asyncio.get_running_loop().create_future()

        def receive(message: Received) -> None:
            if not answer.done():
                answer.set_result(message)

        inbox = self.new_inbox()
        subscription = await self.listen(inbox, receive)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.publish(subject, payload, reply=inbox)
                message = await answer
        finally:
            await self.stop_listening(subscription)
        heed_cancellation()
        if message.headers.startswith(_NO_RESPONDERS):
            raise errors.NoRespondersError
        return message

    async def _process_pong(self) -> None:
        # nats-py answers whoever waits for this pong; where a cancelled waiter stands, that would end its reader.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def confirm(self) -> None:
        """Return once the server has heard all that was said to it."""
        await self.flush()
        heed_cancellation()

    async def stop_listening(self, subscription: Subscription) -> None:
        """End a subscription; what still comes for it is dropped."""
        self.messages.receivers.pop(subscription._id, None)
        try:
            await subscription.unsubscribe()
        except NATS_ERRORS:
            pass  # the connection is gone, and the subscription with it
