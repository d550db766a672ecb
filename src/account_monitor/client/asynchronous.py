"""Asynchronous: the client for programs with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import grpc

from account_monitor.client import questions
from account_monitor.client.changes import Change, Place
from account_monitor.client.errors import CallFailed, call_failed
from account_monitor.client.facts import AccountState, Balance, PnL, PnLHistory, Position
from account_monitor.client.line import OPTIONS, SERVICE, Tls, check_secrecy, metadata_of
from account_monitor.client.pursuit import PATIENCE_SECONDS, Pursuit
from account_monitor.client.questions import Question
from account_monitor.v1 import account_monitor_pb2 as v1

T = TypeVar("T")


class AsyncClient:
    """Asks one service. Belongs to one event loop. Use it in `async with`, or close it.

    Every method may raise CallFailed, of the kind that `errors` lists. `account` may be left out where only one is
    configured.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        tls: Tls | None = None,
        timeout: float | None = 10.0,
        insecure: bool = False,
    ) -> None:
        """`address` is `host:port`. `timeout` is how many seconds an answer may take; None: any time.

        `insecure` lets a token be sent without TLS to another machine.
        Raises: ValueError for a token that none can be, or that would be sent so; what `Tls.credentials` raises.
        """
        check_secrecy(address, token=token, tls=tls, insecure=insecure)
        self._metadata = metadata_of(token)
        if tls is None:
            self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, tls.credentials(), options=OPTIONS)
        self._is_tls = tls is not None
        self._timeout = timeout
        self._methods: dict[str, Any] = {}

    async def close(self) -> None:
        """Let the connection go; who watches is told nothing more."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the connection go."""
        await self.close()

    async def account_state(self, account: str | None = None) -> AccountState:
        """Return the whole account as of one place in its journal."""
        return await self._ask(questions.about_state(account))

    async def position(self, symbol: str, account: str | None = None) -> Position:
        """Return one position; `symbol` is its key. Raises: NotFound where the account never held it."""
        return await self._ask(questions.about_position(symbol, account))

    async def positions(self, account: str | None = None) -> Mapping[str, Position]:
        """Return all positions by key; one once held stays listed as FLAT."""
        return await self._ask(questions.about_positions(account))

    async def pnl(self, account: str | None = None) -> PnL:
        """Return the results since the first event."""
        return await self._ask(questions.about_pnl(account))

    async def balances(self, account: str | None = None) -> Mapping[str, Balance]:
        """Return what the wallets hold, by asset."""
        return await self._ask(questions.about_balances(account))

    async def pnl_history(
        self,
        *,
        symbol: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
        interval: str | None = None,
        account: str | None = None,
    ) -> PnLHistory:
        """Return equity and P&L over time; by default the last 168 intervals of an hour.

        Raises: ValueError for a time without a time zone.
        """
        return await self._ask(questions.about_history(symbol, from_, to, interval, account))

    async def watch(
        self,
        account: str | None = None,
        *,
        since: Place | None = None,
        interval: float | None = None,
        patience: float | None = PATIENCE_SECONDS,
    ) -> AsyncIterator[Change]:
        """Yield a snapshot, then every change, for ever: when the stream ends, it is taken up where it was left.

        After a time away that the service does not remember, and in a new epoch, a snapshot comes again. `interval` is
        the least time between messages of changed prices, in seconds: 0.05 to 3,600.
        A stream that ended is told as Disconnected, again when the reason becomes another.
        Raises: CallFailed where asking again would not help: so the service said, or TLS cannot succeed, or no first
        message came for `patience` seconds (None: it is waited for).
        """
        pursuit = Pursuit(since, patience)
        while True:
            request = questions.to_watch(account, pursuit.since, interval)
            call = self._method("WatchAccount", v1.WatchAccountResponse, streams=True)(request, metadata=self._metadata)
            try:
                async for message in call:
                    change = pursuit.take(message)
                    if change is not None:
                        yield change
                failure = call_failed(grpc.StatusCode.UNAVAILABLE, "the stream ended")
            except grpc.aio.AioRpcError as error:
                failure = self._failure(error)
            except CallFailed as error:
                failure = error
            finally:
                call.cancel()
            disconnection = pursuit.lose(failure)
            if disconnection is not None:
                yield disconnection
            await asyncio.sleep(pursuit.wait())

    async def _ask(self, question: Question[T]) -> T:
        method = self._method(question.method, question.answer)
        try:
            answer = await method(question.request, timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        return question.read(answer)

    def _failure(self, error: grpc.aio.AioRpcError) -> CallFailed:
        return call_failed(error.code(), error.details(), is_tls=self._is_tls)

    def _method(self, name: str, answer: type[Any], *, streams: bool = False) -> Any:
        known = self._methods.get(name)
        if known is None:
            make = self._channel.unary_stream if streams else self._channel.unary_unary
            known = self._methods[name] = make(
                f"{SERVICE}{name}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=answer.FromString,
            )
        return known
