"""Calls: what surrounds every call: room for it, who asks, how it is refused, that it is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc import StatusCode

from account_monitor.api.access import EVERYONE, Access, Caller
from account_monitor.api.accounts import monitor_meant
from account_monitor.api.credentials import stated_token
from account_monitor.api.grpc.patience import Patience
from account_monitor.api.grpc.room import Room
from account_monitor.api.grpc.statuses import TOO_LATE, status_of
from account_monitor.api.grpc.tally import Tally
from account_monitor.api.problems import FORBIDDEN, UNAUTHENTICATED, Refused, bad_parameter
from account_monitor.api.sight import desk_seen_by
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor

M = TypeVar("M", bound=Message)
T = TypeVar("T")

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

REQUEST_SECONDS = 10.0
"""How long a request may take to come, from the beginning of its call; as on HTTP."""

log = structlog.get_logger()


class Asker(NamedTuple):
    """Who asks."""

    caller: Caller


class Calls:
    """Makes the handlers of methods. Requests and answers are bytes: what is asked often was serialized before.

    To the library each request is a stream, which is the same on the wire: of a stream it tells when the call begins,
    so that who may not ask is refused before their request is waited for, and the wait has an end.
    """

    def __init__(self, access: Access | None, tally: Tally, room: Room) -> None:
        """`access` None: whoever asks is answered."""
        self._access = access
        self._tally = tally
        self._room = room
        self._patience = Patience(REQUEST_SECONDS)

    def unary(
        self, method: str, answer: Callable[[Asker, bytes], Awaitable[bytes]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the handler of a method that answers once."""

        async def reply(asker: Asker, context: Context) -> bytes:
            return await answer(asker, await _request(context, self._patience))

        async def handle(_: AsyncIterator[bytes], context: Context) -> bytes:
            return await self._serve(method, context, lambda asker: reply(asker, context))

        return grpc.stream_unary_rpc_method_handler(handle)

    def stream(
        self, method: str, tell: Callable[[Asker, bytes, Context], Awaitable[None]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the handler of a method that goes on telling."""

        async def reply(asker: Asker, context: Context) -> None:
            await tell(asker, await _request(context, self._patience), context)

        async def handle(_: AsyncIterator[bytes], context: Context) -> None:
            await self._serve(method, context, lambda asker: reply(asker, context))

        return grpc.stream_stream_rpc_method_handler(handle)

    def conversation(
        self, method: str, tell: Callable[[AsyncIterator[bytes], Context], Awaitable[None]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the handler of a method that answers question after question."""

        async def handle(bodies: AsyncIterator[bytes], context: Context) -> None:
            await self._serve(method, context, lambda asker: tell(bodies, context))

        return grpc.stream_stream_rpc_method_handler(handle)

    def check_again(self, asker: Asker) -> None:
        """Raises: Refused where who asked would not be let in any more."""
        if self._access is not None and not self._access.is_valid(asker.caller):
            raise Refused(UNAUTHENTICATED, "the token is no longer valid")

    async def _serve(self, method: str, context: Context, work: Callable[[Asker], Awaitable[T]]) -> T:
        started, status, asker = time.perf_counter(), StatusCode.OK, None
        address = _address(context.peer())
        try:
            asker = self._asker(context, address)  # first: who may not ask takes no place, and is told so in any case
            with self._room.place_for(address):  # left before a refusal is sent, which a client may delay
                return await work(asker)
        except Refused as refusal:
            status = status_of(refusal.kind)
            if refusal.kind is FORBIDDEN and asker is not None and self._access is not None:
                self._access.note_forbidden(asker.caller)
            await context.abort(status, refusal.detail)  # raises; a client that takes nothing delays it
        except asyncio.CancelledError:
            status = StatusCode.DEADLINE_EXCEEDED if _is_late(context) else StatusCode.CANCELLED
            raise
        except Exception:
            log.exception("call_failed", method=method)
            status = StatusCode.INTERNAL
            await context.abort(status, "see the log of the service")
        finally:
            self._tally.count(method, status.name, time.perf_counter() - started)

    def _asker(self, context: Context, address: str) -> Asker:
        if self._access is None:
            return Asker(EVERYONE)
        stated = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
        return Asker(self._access.caller(stated_token(stated), address))


async def _request(context: Context, patience: Patience) -> bytes:
    """Return the one request of a call. Raises: Refused where it does not come."""
    try:
        body: bytes | object = await patience.wait_for(context.read())  # a tenth of a call cheaper than to iterate
    except TimeoutError:
        raise Refused(TOO_LATE, f"request: did not come within {patience.seconds:g} s of its call") from None
    if not isinstance(body, bytes):  # `grpc.aio.EOF`
        raise bad_parameter("request", "expected one message, none came")
    return body


def _is_late(context: Context) -> bool:
    remaining: float | None = context.time_remaining()  # None: the client sets no deadline
    return remaining is not None and remaining <= 0


def _address(peer: str) -> str:
    """Return the address of `ipv4:127.0.0.1:1234` or `ipv6:[::1]:1234`, which comes quoted."""
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return peer
    return rest.rpartition(":")[0].strip("[]")


def parsed(kind: type[M], body: bytes) -> M:
    """Return a request. Raises: Refused where it is none, or asks for what nobody here knows."""
    try:
        request = kind.FromString(body)
    except DecodeError:
        raise bad_parameter("request", f"expected a {kind.DESCRIPTOR.full_name}, and it cannot be parsed") from None
    unknown = UnknownFieldSet(request)
    if len(unknown):
        number = unknown[0].field_number
        raise bad_parameter("request", f"field {number} is unknown here; expected a {kind.DESCRIPTOR.full_name}")
    return request


def monitor_asked_for(desk: Desk, caller: Caller, account: str | None) -> Monitor:
    """Return the monitor of an account, or of the only one that the caller may read. Raises: Refused."""
    caller.require("read", account)  # before anything is said of an account that they may not know of
    return monitor_meant(desk_seen_by(caller, desk), account)
