"""Reflection: tells tools such as grpcurl what can be asked here, under both names of that service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection import SERVICE_NAME
from grpc_reflection.v1alpha.reflection import aio as reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from account_monitor.api.grpc.calls import Calls, Context
from account_monitor.api.problems import bad_parameter

SERVICES = (SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
"""The messages of both are the same on the wire; newer tools ask for the second."""


class _Answer(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802  # of protobuf


def reflection_handlers(calls: Calls, names: tuple[str, ...]) -> list[grpc.GenericRpcHandler]:
    """Return what answers reflection, of services of these names. It needs a token where there are tokens."""
    servicer = reflection.ReflectionServicer((*names, *SERVICES))

    async def tell(bodies: AsyncIterator[bytes], context: Context) -> None:
        answers = cast(AsyncIterator[_Answer], servicer.ServerReflectionInfo(_questions(bodies), context))
        async for answer in answers:
            await context.write(answer.SerializeToString())

    method = "ServerReflectionInfo"
    handler = calls.conversation(method, tell)
    return [grpc.method_handlers_generic_handler(service, {method: handler}) for service in SERVICES]


async def _questions(bodies: AsyncIterator[bytes]) -> AsyncIterator[ServerReflectionRequest]:
    async for body in bodies:
        try:
            yield ServerReflectionRequest.FromString(body)
        except DecodeError:
            raise bad_parameter("request", "expected a ServerReflectionRequest, and it cannot be parsed") from None
