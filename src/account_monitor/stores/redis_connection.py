"""A connection to a Redis: asks, and says in one kind of error why there is no answer. Nothing is retried here."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from account_monitor.config import Secret
from account_monitor.errors import StorageRefused, StorageUnavailable
from account_monitor.failures import reason

TIMEOUT_SECONDS = 2.0
"""How long it may take to connect, or to answer everything that was asked at once."""

Command: TypeAlias = tuple[bytes | str | int, ...]
Answer: TypeAlias = Any
"""What Redis answers: bytes, a number, a list of these, or None."""


class RedisConnection:
    """One connection, used by one task. After an error it is closed: nobody knows which answers are on their way."""

    def __init__(self, url: str, password: Secret | None) -> None:
        """`url`: as the configuration takes it, without the password."""
        self._password = password
        self._arguments: dict[str, Any] = dict(parse_url(url))
        self._make: type[Connection] = self._arguments.pop("connection_class", Connection)
        self._connection: Connection | None = None
        self._transport: asyncio.WriteTransport | None = None
        host, port = self._arguments.get("host", "localhost"), self._arguments.get("port", 6379)
        self.where = f"{host}:{port}/{self._arguments.get('db', 0)}"
        """Host, port and number of the database, for people."""

    async def open(self) -> None:
        """Connect and log in. Raises: StorageUnavailable."""
        await self.close()
        self._connection = self._make(
            **self._arguments,
            password=None if self._password is None else self._password.reveal(),
            socket_timeout=None,  # the limits are here, for everything that is asked at once
            socket_connect_timeout=None,
            socket_keepalive=True,
            protocol=2,  # what every server speaks, and its AUTH is a command of its own
            driver_info=None,
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py says no types here
            writer = self._connection._writer
            self._transport = None if writer is None else writer.transport
        except (RedisError, OSError, UnicodeError) as error:  # the last: a host that cannot be a name
            await self.close()
            raise self._unavailable(error) from None  # the cause may hold the password

    async def ask(self, commands: Sequence[Command]) -> list[Answer]:
        """Send commands in one go and return their answers, in order.

        Raises: StorageUnavailable if an answer is missing, or refuses one of them.
        """
        connection = self._connection
        if connection is None:
            raise StorageUnavailable(f"{self.where}: not connected")
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await connection.send_packed_command(connection.pack_commands(commands))
                return [await connection.read_response() for _ in commands]
        except (RedisError, OSError) as error:
            await self.close()
            raise self._unavailable(error) from None

    async def close(self) -> None:
        """Close it at once, whatever is on its way."""
        connection, self._connection = self._connection, None
        transport, self._transport = self._transport, None
        if connection is not None:
            await connection.disconnect(nowait=True)
        if transport is not None:
            transport.abort()  # closed only, it would keep what a server that hangs does not read

    def _unavailable(self, error: Exception) -> StorageUnavailable:
        """Say what is wrong, without the password: a server may repeat what it was sent."""
        text = _reason(error)
        secret = "" if self._password is None else self._password.reveal()
        if secret:
            text = text.replace(secret, "***")
        if (advice := _advice(error)) is not None:
            return StorageRefused(f"{self.where}: {text}; {advice}")
        return StorageUnavailable(f"{self.where}: {text}")


def _reason(error: Exception) -> str:
    """Return what the server, or the system, said: the library's own words name the call, and the server again."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    return reason(next((cause for cause in _causes(error) if isinstance(cause, OSError)), error))


def _advice(error: Exception) -> str | None:
    """Return what to change where the same question will get the same answer, None where it may not."""
    if isinstance(error, AuthenticationError):
        return "see the user in database.redis_url and what database.redis_password_env or redis_password_file names"
    if isinstance(error, NoPermissionError):
        return (
            "let the user do what the service needs: GET, SET, DEL, MGET, SCRIPT LOAD and EVALSHA on account-monitor:*"
        )
    if isinstance(error, ResponseError) and any(words in str(error) for words in ("DB index", "SELECT is not allowed")):
        return "name a database that the server has in database.redis_url, such as /0"
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return "rediss:// needs a server that speaks TLS with a certificate that is trusted: see ssl_ca_certs"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made from, which the library leaves in its context."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
