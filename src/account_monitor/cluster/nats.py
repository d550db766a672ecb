"""Leases in a key-value bucket of NATS JetStream: `s.<session>`, `c.<session>` (its card), `a.<account>`.

Every write names the revision that it replaces, and the leader of the stream refuses it where that is not the last.
The server's clock and its expiry of keys play no part: a session is over once its key was seen not to change for its
ttl, by the clock of whoever looks, who then ends it by replacing that very revision. So a renewal that is late finds
another revision. Reading may be answered by any server of a cluster, which may lag: what is decided by it is checked
by the write.

People write into a bucket, too. A key that was removed, or whose value cannot be read, is one without a value: a lease
that nobody holds, a session that nobody renews, a card that says nothing. It is replaced as any other, at its revision.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import msgspec
import nats
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js.errors import APIError, NotFoundError

from account_monitor.cluster.leases import Seconds, Session, next_epoch, session_over
from account_monitor.cluster.members import Board, Card, Holding, Member, decode_card, encode_card
from account_monitor.errors import StorageRefused, StorageUnavailable
from account_monitor.failures import reason
from account_monitor.monitor.ports import Clock

BUCKET = "account-monitor-leases"
ANSWER_SECONDS = 2.0
FORGET_SECONDS = 600.0
"""How long the key of a session that is over stays, for everybody has seen it by then; and a card without a session."""

_READ_AT_ONCE = 1_000  # messages of one answer
_WRITES_AT_ONCE = 64
_TIDIED_AT_ONCE = 10
_WRONG_LAST_SEQUENCE = 10_071
_REMOVED = frozenset({"KV-Operation", "Nats-Marker-Reason"})  # headers: by somebody, by the server
_NOT_ENABLED = (10_039, 10_076)  # JetStream, for the account and for the server

_FAILURES = (Error, OSError, TimeoutError)

Value = TypeVar("Value")

log = structlog.get_logger()


class NatsServer(NamedTuple):
    """Where NATS is, and how it is reached. `replicas`: of the bucket, on as many servers of a cluster."""

    urls: tuple[str, ...]
    credentials_file: Path | None = None
    ca_file: Path | None = None
    replicas: int = 1


class _SessionValue(msgspec.Struct):
    member: str
    ttl_seconds: float
    is_over: bool = False


class _LeaseValue(msgspec.Struct):
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    """No greater than every reader of JSON has exactly: the database refuses more than 64 bits of it."""
    session: str | None
    member: str
    heir: str | None = None


_session_value = msgspec.json.Decoder(_SessionValue).decode
_lease_value = msgspec.json.Decoder(_LeaseValue).decode


class _Seen(NamedTuple):
    """The key of a session as it was seen last, and since when."""

    value: _SessionValue
    revision: int
    since: float


class _Lease(NamedTuple):
    value: _LeaseValue
    revision: int


class _Refused(Exception):
    """A key has another revision than the one that should be replaced."""


class NatsLeases:
    """Implements `LeaseStore`. The account that connects needs JetStream, and a bucket or the right to make one."""

    def __init__(
        self,
        server: NatsServer,
        *,
        clock: Seconds,
        wall_clock: Clock,
        bucket: str = BUCKET,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`clock` runs on while the machine sleeps; by the other one, epochs are numbered where that is more."""
        self.description = f"NATS {', '.join(url.rpartition('@')[2] for url in server.urls)}"
        self._server = server
        self._clock = clock
        self._wall_clock = wall_clock
        self._bucket = bucket
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._answer_seconds = answer_seconds
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._news = asyncio.Event()
        self._mine: dict[str, int] = {}
        """The revision of each session of this process."""
        self._unreadable: dict[str, int] = {}
        """The revision of each key that was told to be unreadable."""
        self._forget()

    def _forget(self) -> None:
        """Know nothing of the bucket: it is read from the beginning."""
        self._read_to = 0
        self._sessions: dict[str, _Seen] = {}
        self._cards: dict[str, Card] = {}
        self._bare: dict[str, float] = {}
        """Cards of which no session is seen, and since when."""
        self._leases: dict[str, _Lease] = {}

    # -- the connection ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the bucket where it is missing; several processes may do so at once."""
        client = await self._connected()
        try:
            async with asyncio.timeout(self._answer_seconds):
                js = client.jetstream(timeout=self._answer_seconds)
                try:
                    await js.stream_info(self._stream)
                except NotFoundError:
                    await js.create_key_value(
                        bucket=self._bucket, history=1, replicas=self._server.replicas, direct=True,
                        storage=nats.js.api.StorageType.FILE, description="who monitors which account",
                    )  # fmt: skip
        except APIError as error:
            kind = StorageRefused if error.err_code in _NOT_ENABLED else StorageUnavailable
            raise kind(f"leases in {self.description}: {error.description}") from error
        except _FAILURES as error:
            raise self._explained(error) from error

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                await self.close()
                try:
                    async with asyncio.timeout(self._answer_seconds):
                        self._client = await self._connect()
                        await self._client.subscribe(f"{self._prefix}>", cb=self._hear)
                except _FAILURES as error:
                    raise self._explained(error) from error
                self._forget()  # it may be another server, or one that lost what it had
            return self._client

    async def _connect(self) -> Client:
        credentials, ca_file = self._server.credentials_file, self._server.ca_file
        return await nats.connect(
            list(self._server.urls),
            name="account-monitor leases",
            connect_timeout=max(1, int(self._answer_seconds)),
            allow_reconnect=False,  # it would send what waited, of which nobody knows whether it was sent before
            ping_interval=max(1, int(self._answer_seconds)),
            max_outstanding_pings=1,
            user_credentials=None if credentials is None else str(credentials),
            tls=None if ca_file is None else ssl.create_default_context(cafile=str(ca_file)),
            error_cb=_ignore,
        )

    async def close(self) -> None:
        """Disconnect, without waiting for a server that does not answer."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(0.5):
                await client.close()
        except _FAILURES:
            return  # it was not there any more

    def _explained(self, error: BaseException) -> StorageUnavailable:
        return StorageUnavailable(f"leases in {self.description}: {reason(error)}")

    # -- a session ---------------------------------------------------------------------------------------------------

    async def join(self, session: Session, card: Card) -> None:
        """Begin a session. Its card comes first, so that nobody sees a member without one; some are left over so."""
        await self._put(f"c.{session.id}", encode_card(card))
        try:
            self._mine[session.id] = await self._replace(f"s.{session.id}", 0, self._value(session))
        except _Refused:
            raise session_over(session) from None

    async def beat(self, session: Session) -> None:
        """Renew a session with all that it holds: one key. Raises: LeaseLost."""
        revision = self._mine.get(session.id)
        if revision is None:
            raise session_over(session)
        try:
            self._mine[session.id] = await self._replace(f"s.{session.id}", revision, self._value(session))
        except _Refused:
            self._mine[session.id] = await self._beat_again(session)

    async def _beat_again(self, session: Session) -> int:
        """Renew where the answer to an earlier renewal was lost: then the key is as this process wrote it."""
        revision, value = await self._last(f"s.{session.id}", _session_value)
        if value is None or value.is_over:
            raise session_over(session)
        try:
            return await self._replace(f"s.{session.id}", revision, self._value(session))
        except _Refused:
            raise session_over(session) from None

    async def show(self, session: Session, card: Card) -> None:
        """Replace what a member says of itself."""
        await self._put(f"c.{session.id}", encode_card(card))

    async def leave(self, session: Session) -> None:
        """End a session: all its leases are free at once."""
        revision = self._mine.pop(session.id, None)
        if revision is None:
            return
        try:
            await self._replace(f"s.{session.id}", revision, self._value(session, is_over=True))
        except _Refused:
            last, _ = await self._last(f"s.{session.id}", _session_value)
            if last:
                await self._end(session.id, _Seen(_SessionValue(session.member, 0), last, 0))

    def _value(self, session: Session, *, is_over: bool = False) -> bytes:
        return msgspec.json.encode(_SessionValue(session.member, session.terms.ttl_seconds, is_over))

    async def _end(self, session_id: str, seen: _Seen) -> bool:
        """End somebody's session, unless it was renewed since it was seen; return whether it is over."""
        over = msgspec.structs.replace(seen.value, is_over=True)
        try:
            revision = await self._replace(f"s.{session_id}", seen.revision, msgspec.json.encode(over))
        except _Refused:
            last, value = await self._last(f"s.{session_id}", _session_value)
            if not last:
                self._drop(session_id)  # its key is gone: there is nothing that it could renew
                return True
            value = value or seen.value
            self._sessions[session_id] = _Seen(value, last, self._clock())
            return value.is_over
        self._sessions[session_id] = _Seen(over, revision, self._clock())
        return True

    # -- leases ------------------------------------------------------------------------------------------------------

    async def acquire(self, session: Session, above: Mapping[str, int]) -> dict[str, int]:
        """Take those of some accounts that nobody holds; return their epochs. First their former sessions are ended."""
        await self._read()
        free = await self._free(above)
        epochs = {account: self._next_epoch(account, above[account]) for account in free}
        values = {account: _LeaseValue(epochs[account], session.id, session.member) for account in free}
        taken = await self._replace_all(values)
        return {account: epochs[account] for account in taken}

    async def _free(self, accounts: Iterable[str]) -> list[str]:
        free = []
        over: dict[str, bool] = {}
        for account in accounts:
            lease = self._leases.get(account)
            holder = None if lease is None else lease.value.session
            if lease is not None and holder is not None and holder not in over:
                over[holder] = await self._is_over(holder, lease.value.member)
            if holder is None or over[holder]:
                free.append(account)
        return free

    async def _is_over(self, session_id: str, member: str) -> bool:
        """Whether a session is over; one that should be is ended, also where no key of it is seen: that may be late."""
        seen = self._sessions.get(session_id, _Seen(_SessionValue(member, 0), 0, 0))
        if seen.value.is_over:
            return True
        return not self._is_alive(seen) and await self._end(session_id, seen)

    def _next_epoch(self, account: str, above: int) -> int:
        lease = self._leases.get(account)
        return next_epoch(0 if lease is None else lease.value.epoch, above, self._wall_clock() // 1000)

    async def release(self, session: Session, heirs: Mapping[str, str | None]) -> set[str]:
        """Give up leases, each for a session that is to take it next; return those that were this session's."""
        await self._read()
        held = {a: lease.value for a in heirs if (lease := self._leases.get(a)) and lease.value.session == session.id}
        values = {a: msgspec.structs.replace(value, session=None, heir=heirs[a]) for a, value in held.items()}
        return set(await self._replace_all(values))

    async def _replace_all(self, values: Mapping[str, _LeaseValue]) -> list[str]:
        """Replace leases as they were read, several at a time; return the accounts of those that still were so."""
        turns = asyncio.Semaphore(_WRITES_AT_ONCE)

        async def replace(account: str, value: _LeaseValue) -> str | None:
            lease = self._leases.get(account)
            async with turns:
                try:
                    revision = 0 if lease is None else lease.revision
                    revision = await self._replace(f"a.{account}", revision, msgspec.json.encode(value))
                except _Refused:
                    await self._look_again(account)
                    return None
            self._leases[account] = _Lease(value, revision)
            return account

        done = await asyncio.gather(*(replace(*item) for item in values.items()), return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
        return [account for account in done if isinstance(account, str)]

    async def _look_again(self, account: str) -> None:
        """Take in a lease that is another than was read."""
        self._note_lease(account, *await self._last(f"a.{account}", _lease_value))

    def _note_lease(self, account: str, revision: int, value: _LeaseValue | None) -> None:
        """Know what a lease is. Where it has no value nobody holds it; the epoch that was known stays used up."""
        if value is None:
            known = self._leases.get(account)
            former = _LeaseValue(0, None, "") if known is None else known.value
            value = msgspec.structs.replace(former, session=None, heir=None)
        self._leases[account] = _Lease(value, revision)

    # -- the board ---------------------------------------------------------------------------------------------------

    async def board(self) -> Board:
        """Return who is there and who holds what."""
        await self._read()
        await self._tidy()
        now = self._clock()
        members = {
            name: Member(
                name, seen.value.member, self._cards.get(name, Card()), self._is_alive(seen),
                max(seen.since + seen.value.ttl_seconds - now, 0.0),
            )
            for name, seen in self._sessions.items()
        }  # fmt: skip
        holdings = {
            account: Holding(lease.value.epoch, lease.value.session, lease.value.member, lease.value.heir)
            for account, lease in self._leases.items()
        }
        ends = [s.since + s.value.ttl_seconds - now for s in self._sessions.values() if self._is_alive(s)]
        return Board(members, holdings, min(ends, default=None))

    def _is_alive(self, seen: _Seen) -> bool:
        return not seen.value.is_over and self._clock() - seen.since < seen.value.ttl_seconds

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or sooner when a lease changed, or a session came or went."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()

    async def _hear(self, message: Msg) -> None:
        kind, _, name = message.subject.removeprefix(self._prefix).partition(".")
        is_beat = kind == "s" and name in self._sessions and b'"is_over":true' not in message.data
        if not is_beat:
            self._news.set()

    async def _read(self) -> None:
        """Take in what was written since the last time."""
        while True:
            found, pending = await self._next()
            for message in found:
                self._take(message)
            if not pending:
                return

    async def _next(self) -> tuple[list[Msg], int]:
        """Return the next messages of the stream, and how many there are after them."""
        client = await self._connected()
        inbox = client.new_inbox()
        found: list[Msg] = []
        try:
            async with asyncio.timeout(self._answer_seconds):
                subscription = await client.subscribe(inbox)
                try:
                    request = {"seq": self._read_to + 1, "batch": _READ_AT_ONCE, "next_by_subj": f"{self._prefix}>"}
                    subject = f"$JS.API.DIRECT.GET.{self._stream}"
                    await client.publish(subject, msgspec.json.encode(request), reply=inbox)
                    async for message in subscription.messages:
                        headers = message.headers or {}
                        match headers.get("Status"):
                            case None:
                                found.append(message)
                            case "204":
                                return found, int(headers.get("Nats-Num-Pending", 0))
                            case "404":
                                return found, 0
                            case status:
                                said = headers.get("Description", "")
                                raise StorageUnavailable(f"leases in {self.description}: answered {status} {said}")
                finally:
                    await subscription.unsubscribe()
        except _FAILURES as error:
            await self.close()
            raise self._explained(error) from error
        raise StorageUnavailable(f"leases in {self.description}: the connection was closed")

    def _take(self, message: Msg) -> None:
        headers = message.headers or {}
        revision = int(headers["Nats-Sequence"])
        self._read_to = max(self._read_to, revision)
        key = headers["Nats-Subject"].removeprefix(self._prefix)
        kind, _, name = key.partition(".")
        data = _data(message.data, headers)
        if kind == "s":
            seen = self._sessions.get(name)
            if seen is None or seen.revision < revision:
                self._note_session(name, revision, self._decoded(key, revision, data, _session_value))
        elif kind == "c":
            self._cards[name] = self._decoded(key, revision, data, decode_card) or Card()
        elif kind == "a":
            known = self._leases.get(name)
            if known is None or known.revision < revision:
                self._note_lease(name, revision, self._decoded(key, revision, data, _lease_value))

    def _note_session(self, session_id: str, revision: int, value: _SessionValue | None) -> None:
        """Know what a session is. Where it has no value it cannot be renewed any more, and ends after its ttl.

        Until then its member may not have noticed.
        """
        seen = self._sessions.get(session_id)
        if value is None and seen is not None:
            value = seen.value
        if value is not None:
            self._sessions[session_id] = _Seen(value, revision, self._clock())

    def _decoded(self, key: str, revision: int, data: bytes | None, decode: Callable[[bytes], Value]) -> Value | None:
        """Return a value, None where there is none or where it cannot be read, which is said once."""
        if data is None:
            return None
        try:
            return decode(data)
        except msgspec.DecodeError as error:
            if self._unreadable.get(key) != revision:
                self._unreadable[key] = revision
                log.error(
                    "lease_value_unreadable", bucket=self._bucket, key=key, revision=revision, reason=reason(error),
                    taken_for="removed",
                )  # fmt: skip
            return None

    async def _tidy(self) -> None:
        """Remove what sessions that were over long ago have left, some at a time."""
        now = self._clock()
        self._bare = {name: self._bare.get(name, now) for name in self._cards.keys() - self._sessions.keys()}
        old = [each for each in self._sessions.items() if _is_old(each[1], now)]
        for name, seen in old[:_TIDIED_AT_ONCE]:
            if await self._end(name, seen):
                await self._remove(name)
        bare = [name for name, since in self._bare.items() if now - since > FORGET_SECONDS]
        for name in bare[:_TIDIED_AT_ONCE]:
            _, value = await self._last(f"s.{name}", _session_value)
            if value is None:  # what is read may be late
                await self._remove(name)

    async def _remove(self, session_id: str) -> None:
        """Remove the keys of a session. Its card goes first: where that is all that is done, somebody does the rest."""
        client = await self._connected()
        try:
            js = client.jetstream(timeout=self._answer_seconds)
            for key in (f"c.{session_id}", f"s.{session_id}"):
                await js.purge_stream(self._stream, subject=self._prefix + key)
        except _FAILURES as error:
            raise self._explained(error) from error
        self._drop(session_id)

    def _drop(self, session_id: str) -> None:
        """Know a session no more, whose keys are gone."""
        self._sessions.pop(session_id, None)
        self._cards.pop(session_id, None)

    # -- keys --------------------------------------------------------------------------------------------------------

    async def _replace(self, key: str, revision: int, value: bytes) -> int:
        """Write a key whose last revision is this one, 0: that has none; return the new revision. Raises: _Refused."""
        return await self._publish(key, value, {"Nats-Expected-Last-Subject-Sequence": str(revision)})

    async def _put(self, key: str, value: bytes) -> int:
        return await self._publish(key, value, None)

    async def _publish(self, key: str, value: bytes, headers: dict[str, str] | None) -> int:
        client = await self._connected()
        js = client.jetstream(timeout=self._answer_seconds)
        read_to = self._read_to
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await js.publish(self._prefix + key, value, stream=self._stream, headers=headers)
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                raise _Refused from error
            raise StorageUnavailable(f"leases in {self.description}: {error.description}") from error
        except _FAILURES as error:
            raise self._explained(error) from error
        if answer.seq <= read_to:
            self._forget()  # the stream lost what had been read of it, or is another one
        return answer.seq

    async def _last(self, key: str, decode: Callable[[bytes], Value]) -> tuple[int, Value | None]:
        """Return the last revision of a key, 0 for none, and its value, as the leader of the stream has them.

        There is no value where it was removed, or cannot be read.
        """
        client = await self._connected()
        try:
            async with asyncio.timeout(self._answer_seconds):
                js = client.jetstream(timeout=self._answer_seconds)
                message = await js.get_last_msg(self._stream, self._prefix + key)
        except NotFoundError:
            return 0, None
        except _FAILURES as error:
            raise self._explained(error) from error
        assert message.seq is not None  # a stored message has one
        data = _data(message.data or b"", message.headers or {})
        return message.seq, self._decoded(key, message.seq, data, decode)


def _data(data: bytes, headers: Mapping[str, str]) -> bytes | None:
    """Return what a message of a bucket holds, None where it says that the key was removed."""
    return None if _REMOVED & headers.keys() else data


def _is_old(seen: _Seen, now: float) -> bool:
    return now - seen.since > FORGET_SECONDS + seen.value.ttl_seconds


async def _ignore(_error: Exception) -> None:
    """Whoever asks gets the error."""
