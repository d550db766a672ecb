"""What the tests of gRPC share: a desk whose gRPC port is open, calls as bytes go, and messages as REST writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc.aio import AioRpcError, Channel

from account_monitor.v1 import account_monitor_pb2 as v1
from tests.integration.trading_desk import TradingDesk

SERVICE = "/account_monitor.v1.AccountMonitor/"

METHODS: dict[str, tuple[type[Any], type[Any]]] = {
    "GetAccountState": (v1.GetAccountStateRequest, v1.AccountState),
    "GetPosition": (v1.GetPositionRequest, v1.Position),
    "GetAllPositions": (v1.GetAllPositionsRequest, v1.GetAllPositionsResponse),
    "GetPnL": (v1.GetPnLRequest, v1.PnL),
    "GetBalance": (v1.GetBalanceRequest, v1.GetBalanceResponse),
    "GetPnLHistory": (v1.GetPnLHistoryRequest, v1.PnLHistory),
}


@asynccontextmanager
async def calling(desk: TradingDesk, **options: int) -> AsyncIterator[Channel]:
    """Connect to the gRPC port."""
    async with grpc.aio.insecure_channel(desk.doors.grpc_address, options=tuple(options.items())) as channel:
        yield channel


async def ask(
    channel: Channel,
    method: str,
    *,
    metadata: tuple[tuple[str, str], ...] = (),
    timeout: float | None = 10.0,
    **request: Any,
) -> Any:
    """Return the answer of a method."""
    asked, answered = METHODS[method]
    call: Any = channel.unary_unary(SERVICE + method, response_deserializer=answered.FromString)
    return await call(asked(**request).SerializeToString(), timeout=timeout, metadata=metadata)


async def refusal(channel: Channel, method: str, **request: Any) -> tuple[str, str]:
    """Return the status and the detail of a refusal."""
    with pytest.raises(AioRpcError) as refused:
        await ask(channel, method, **request)
    detail = refused.value.details() or ""
    assert "Traceback" not in detail
    return refused.value.code().name, detail


def watch(channel: Channel, **request: Any) -> Any:
    """Begin to watch; return the call."""
    method: Any = channel.unary_stream(
        SERVICE + "WatchAccount", response_deserializer=v1.WatchAccountResponse.FromString
    )
    return method(v1.WatchAccountRequest(**{"interval_ms": 50, **request}).SerializeToString())


async def end_of(call: Any) -> tuple[str, str]:
    """Return the status and the detail with which a stream ends, whatever it tells before."""

    async def read_on() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(AioRpcError) as ended:
        await read_on()
    return ended.value.code().name, ended.value.details() or ""


def as_json(message: Message) -> Any:
    """Return a message as protobuf's own rules make JSON of it: what is absent is left out."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def as_proto_json(shown: Any) -> Any:
    """Return what REST shows as protobuf's rules would write it: no null, whole numbers as text, `.000` left out."""
    if isinstance(shown, dict):
        return {name: as_proto_json(value) for name, value in shown.items() if value is not None}
    if isinstance(shown, list):
        return [as_proto_json(value) for value in shown]
    if isinstance(shown, int) and not isinstance(shown, bool):
        return str(shown)
    return shown.replace(".000Z", "Z") if isinstance(shown, str) else shown
