"""What surrounds every call of gRPC: who asks, limits, deadlines, metrics, health, reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc.aio import AioRpcError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from account_monitor.api.access import Caller, TokenAccess
from account_monitor.api.grpc.calls import parsed
from account_monitor.api.grpc.statuses import status_of
from account_monitor.api.listening import listen
from account_monitor.api.problems import KINDS, TOO_MANY_REQUESTS, UNAUTHENTICATED, Refused
from account_monitor.api.server import Doors
from account_monitor.errors import ConfigurationError
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.ports import PnLHistory, PnLQuery
from account_monitor.tokens import TokenSet
from account_monitor.v1 import account_monitor_pb2 as v1
from tests.integration.grpc_rig import METHODS, SERVICE, as_json, ask, calling, end_of, refusal, watch
from tests.integration.trading_desk import TradingDesk, clock, eventually, get, trading_desk

pytestmark = pytest.mark.integration

Metadata = tuple[tuple[str, str], ...]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, grpc_port=0) as opened:
        await opened.open()
        yield opened


def health(channel: grpc.aio.Channel, service: str = "", *, is_watch: bool = False) -> Any:
    make: Any = channel.unary_stream if is_watch else channel.unary_unary
    method = make(
        f"/grpc.health.v1.Health/{'Watch' if is_watch else 'Check'}",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    return method(HealthCheckRequest(service=service), timeout=5)


async def status_of_call(call: Any) -> tuple[str, str]:
    with pytest.raises(AioRpcError) as refused:
        await call
    return refused.value.code().name, refused.value.details() or ""


# -- who asks ------------------------------------------------------------------------------------------------------


class Tokens:
    """Knows two tokens, and which are revoked."""

    def __init__(self) -> None:
        self.callers = {
            "all": Caller("ann", "read", None),
            "alt": Caller("bob", "read", frozenset({"alt"})),
        }
        self.addresses: set[str] = set()
        self.forbidden: list[str] = []

    def visitor(self, token: str | None, address: str) -> Caller:
        raise AssertionError("gRPC has nothing that is told to everyone in part")

    def is_valid(self, caller: Caller) -> bool:
        return caller in self.callers.values()

    async def ended(self, caller: Caller) -> None:
        raise AssertionError("gRPC asks `is_valid` instead")

    def note_forbidden(self, caller: Caller) -> None:
        self.forbidden.append(caller.name)

    def caller(self, token: str | None, address: str) -> Caller:
        self.addresses.add(address)
        if token == "flood":
            raise Refused(TOO_MANY_REQUESTS, "too many tokens that are not valid")
        if token not in self.callers:
            raise Refused(UNAUTHENTICATED, "expected a token")
        return self.callers[token]


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
async def guarded(tmp_path: Path, tokens: Tokens) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, grpc_port=0, access=tokens) as opened:
        await opened.open("main")
        await opened.open("alt")
        yield opened


async def test_every_method_asks_for_a_token_and_keeps_it_to_its_accounts(guarded: TradingDesk, tokens: Tokens) -> None:
    async with calling(guarded) as channel:
        for method in METHODS:
            for metadata, expected in (
                ((), "UNAUTHENTICATED"), (bearer("wrong"), "UNAUTHENTICATED"), (bearer("flood"), "RESOURCE_EXHAUSTED"),
                ((("authorization", "Basic all"),), "UNAUTHENTICATED"), (bearer("alt"), "PERMISSION_DENIED"),
            ):  # fmt: skip
                status, detail = await refusal(channel, method, account="main", metadata=metadata)
                assert status == expected, (method, metadata)
                assert "wrong" not in detail
        assert (await ask(channel, "GetAccountState", account="main", metadata=bearer("all"))).account == "main"
    assert tokens.forbidden == ["bob"] * len(METHODS)


async def test_what_is_no_bearer_counts_as_no_token_and_two_are_refused_as_on_rest(tmp_path: Path) -> None:
    access = TokenAccess(TokenSet(()), clock=clock)
    async with trading_desk(tmp_path, grpc_port=0, access=access) as opened, calling(opened) as channel:
        for stated in ("Basic x", "Bearer", "Bearer ", ""):
            assert (await refusal(channel, "GetPnL", metadata=(("authorization", stated),)))[0] == "UNAUTHENTICATED"
        assert access.refused["missing"] == 4

        status, detail = await refusal(channel, "GetPnL", metadata=(*bearer("one"), *bearer("two")))

    assert (status, detail) == ("INVALID_ARGUMENT", "Authorization: was given 2 times, expected once")
    assert access.refused["unknown"] == 0


async def test_a_token_for_one_account_need_not_name_it_and_hears_of_no_other(guarded: TradingDesk) -> None:
    async with calling(guarded) as channel:
        assert (await ask(channel, "GetAccountState", metadata=bearer("alt"))).account == "alt"
        _, of_another = await refusal(channel, "GetPnL", account="main", metadata=bearer("alt"))
        _, of_none = await refusal(channel, "GetPnL", account="none", metadata=bearer("alt"))
        assert of_another == of_none.replace("none", "main")


async def test_where_a_call_comes_from_is_an_address_without_a_port(guarded: TradingDesk, tokens: Tokens) -> None:
    async with calling(guarded) as channel:
        await refusal(channel, "GetPnL")
    assert tokens.addresses == {"127.0.0.1"}


async def test_a_stream_ends_within_two_seconds_when_its_token_is_revoked(guarded: TradingDesk, tokens: Tokens) -> None:
    async with calling(guarded) as channel:
        method: Any = channel.unary_stream(SERVICE + "WatchAccount")
        call = method(v1.WatchAccountRequest(account="main").SerializeToString(), metadata=bearer("all"))
        await call.read()
        del tokens.callers["all"]
        async with asyncio.timeout(2):
            assert (await end_of(call))[0] == "UNAUTHENTICATED"


async def test_health_needs_no_token_and_reflection_needs_one(guarded: TradingDesk) -> None:
    async with calling(guarded) as channel:
        assert (await health(channel)).status == HealthCheckResponse.NOT_SERVING
        method: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(AioRpcError) as refused:
            await method().read()
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_every_refusal_that_a_call_can_meet_has_a_status() -> None:
    statuses = {kind.name: status_of(kind).name for kind in KINDS}

    expected = {
        "bad-parameter": "INVALID_ARGUMENT", "unauthenticated": "UNAUTHENTICATED", "forbidden": "PERMISSION_DENIED",
        "unknown-account": "NOT_FOUND", "unknown-symbol": "NOT_FOUND", "too-many-requests": "RESOURCE_EXHAUSTED",
        "account-folding": "UNAVAILABLE", "busy": "UNAVAILABLE", "history-unavailable": "UNAVAILABLE",
        "too-many-clients": "RESOURCE_EXHAUSTED", "internal-error": "INTERNAL",
    }  # fmt: skip
    assert expected.items() <= statuses.items()


# -- limits --------------------------------------------------------------------------------------------------------


async def test_beyond_max_connections_calls_are_refused_and_health_is_not(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, grpc_port=0, grpc_max_connections=3) as desk:
        await desk.open()
        async with calling(desk) as channel:
            streams = [watch(channel) for _ in range(3)]
            for stream in streams:
                await stream.read()
            assert await refusal(channel, "GetPnL") == (
                "RESOURCE_EXHAUSTED", "3 calls are being answered; expected to wait for one",
            )  # fmt: skip
            assert (await health(channel)).status == HealthCheckResponse.NOT_SERVING
            streams[0].cancel()

            await eventually(lambda: len(desk.doors.publisher) == 2)
            await ask(channel, "GetPnL")


async def test_who_may_not_ask_takes_no_place(tmp_path: Path, tokens: Tokens) -> None:
    async def ask_on(channel: grpc.aio.Channel, statuses: set[str]) -> None:
        while True:
            statuses.add((await refusal(channel, "GetPnL"))[0])

    async with trading_desk(tmp_path, grpc_port=0, access=tokens, grpc_max_connections=1) as desk:
        await desk.open("main")
        async with calling(desk) as without, calling(desk, **{"grpc.use_local_subchannel_pool": 1}) as channel:
            told: set[str] = set()
            flood = [asyncio.create_task(ask_on(without, told)) for _ in range(100)]
            await eventually(lambda: bool(told))
            for _ in range(100):
                await ask(channel, "GetPnL", metadata=bearer("all"))
            for asking in flood:
                asking.cancel()
            await asyncio.gather(*flood, return_exceptions=True)
        assert told == {"UNAUTHENTICATED"}


async def test_who_may_not_ask_is_told_so_while_every_place_is_taken(tmp_path: Path, tokens: Tokens) -> None:
    async with trading_desk(tmp_path, grpc_port=0, access=tokens, grpc_max_connections=1) as desk:
        await desk.open("main")
        async with calling(desk) as channel:
            method: Any = channel.unary_stream(SERVICE + "WatchAccount")
            stream = method(v1.WatchAccountRequest().SerializeToString(), metadata=bearer("all"))
            await stream.read()
            assert (await refusal(channel, "GetPnL"))[0] == "UNAUTHENTICATED"
            assert (await refusal(channel, "GetPnL", metadata=bearer("all")))[0] == "RESOURCE_EXHAUSTED"
            stream.cancel()


async def test_a_request_that_is_too_large_or_none_at_all_is_refused(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        method: Any = channel.unary_unary(SERVICE + "GetPosition")
        too_large = v1.GetPositionRequest(symbol="x" * 65_536).SerializeToString()
        assert (await status_of_call(method(too_large)))[0] == "RESOURCE_EXHAUSTED"
        status, detail = await status_of_call(method(b"\xff\xff"))
        assert (status, "cannot be parsed" in detail) == ("INVALID_ARGUMENT", True)
        unknown = b"\x7a\x01x"  # field 15
        status, detail = await status_of_call(method(unknown))
        assert (status, "field 15 is unknown here" in detail) == ("INVALID_ARGUMENT", True)


async def test_a_method_that_there_is_not_is_unimplemented(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        for path in ("/account_monitor.v1.AccountMonitor/Nothing", "/nothing/Nothing"):
            method: Any = channel.unary_unary(path)
            assert (await status_of_call(method(b"")))[0] == "UNIMPLEMENTED"


class SlowHistory:
    """Answers when nobody waits any more."""

    def __init__(self) -> None:
        self.was_cancelled = False

    async def pnl(self, query: PnLQuery) -> PnLHistory:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        raise AssertionError


async def test_a_deadline_ends_the_work(desk: TradingDesk) -> None:
    history = SlowHistory()
    desk.desk.history = history  # type: ignore[assignment]  # of it nothing else is asked
    async with calling(desk) as channel:
        with pytest.raises(AioRpcError) as late:
            await ask(channel, "GetPnLHistory", timeout=0.2)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: history.was_cancelled)
    page = await metrics(desk)
    assert 'grpc_requests_total{method="GetPnLHistory",status="DEADLINE_EXCEEDED"} 1.0' in page


# -- metrics -------------------------------------------------------------------------------------------------------


async def metrics(desk: TradingDesk) -> str:
    url = f"{desk.doors.metrics_url}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


async def test_calls_are_counted_by_method_and_status(desk: TradingDesk) -> None:
    assert 'grpc_requests_total{method="GetPnL",status="OK"} 0.0' in await metrics(desk)
    async with calling(desk) as channel:
        await ask(channel, "GetPnL")
        await refusal(channel, "GetPosition", symbol="none")
        await health(channel)
    page = await metrics(desk)

    assert 'grpc_requests_total{method="GetPnL",status="OK"} 1.0' in page
    assert 'grpc_requests_total{method="GetPosition",status="NOT_FOUND"} 1.0' in page
    assert 'grpc_requests_total{method="Check",status="OK"} 1.0' in page
    assert 'grpc_duration_seconds_count{method="GetPnL"} 1.0' in page


# -- health --------------------------------------------------------------------------------------------------------


async def test_health_follows_readiness(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        watching = health(channel, "account_monitor.v1.AccountMonitor", is_watch=True)
        assert (await watching.read()).status == HealthCheckResponse.NOT_SERVING
        desk.desk.wait_for("start", None)
        assert (await watching.read()).status == HealthCheckResponse.SERVING
        assert (await health(channel)).status == HealthCheckResponse.SERVING
        desk.desk.wait_for("nats", "waiting for NATS")
        assert (await watching.read()).status == HealthCheckResponse.NOT_SERVING
        assert (await get(desk.doors.http_url + "/ready", status=503))["reason"] == "waiting for NATS"


async def test_a_service_that_there_is_not_is_unknown(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        assert (await status_of_call(health(channel, "other")))[0] == "NOT_FOUND"
        watching = health(channel, "other", is_watch=True)
        assert (await watching.read()).status == HealthCheckResponse.SERVICE_UNKNOWN


# -- reflection: what grpcurl does -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_a_tool_that_knows_nothing_finds_and_calls_every_method(desk: TradingDesk, version: str) -> None:
    """`grpcurl ADDRESS list`, `describe`, and a call: from what reflection says alone."""
    await desk.trade(desk.fill())
    async with calling(desk) as channel:
        make: Any = channel.stream_stream
        call = make(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )()

        async def asked(**question: Any) -> ServerReflectionResponse:
            await call.write(ServerReflectionRequest(**question))
            answer: ServerReflectionResponse = await call.read()
            return answer

        services = (await asked(list_services="*")).list_services_response.service
        assert {"account_monitor.v1.AccountMonitor", "grpc.health.v1.Health"} <= {each.name for each in services}
        found = await asked(file_containing_symbol="account_monitor.v1.AccountMonitor")
        pool = DescriptorPool()
        for text in [
            *(
                await asked(file_by_filename="google/protobuf/timestamp.proto")
            ).file_descriptor_response.file_descriptor_proto,
            *found.file_descriptor_response.file_descriptor_proto,
        ]:
            proto = FileDescriptorProto.FromString(text)
            if proto.name not in _names(pool, proto.name):
                pool.Add(proto)
        service = pool.FindServiceByName("account_monitor.v1.AccountMonitor")
        assert {method.name for method in service.methods} == {*METHODS, "WatchAccount"}
        position = GetMessageClass(service.methods_by_name["GetPosition"].output_type)
        request = GetMessageClass(service.methods_by_name["GetPosition"].input_type)
        method: Any = channel.unary_unary(SERVICE + "GetPosition")
        answer = position.FromString(await method(request(symbol="BTCUSDT").SerializeToString()))
        assert as_json(answer)["quantity"] == "1"
        assert (await asked(file_containing_symbol="no.such.Thing")).HasField("error_response")
        await call.done_writing()


def _names(pool: DescriptorPool, name: str) -> list[str]:
    try:
        return [pool.FindFileByName(name).name]
    except KeyError:
        return []


async def test_the_descriptors_come_through_the_usual_client_of_reflection(desk: TradingDesk) -> None:
    def services() -> list[str]:
        with grpc.insecure_channel(desk.doors.grpc_address) as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert "account_monitor.v1.AccountMonitor" in await asyncio.to_thread(services)


# -- requests ------------------------------------------------------------------------------------------------------


def test_an_empty_request_is_one() -> None:
    assert parsed(v1.GetPnLRequest, b"") == v1.GetPnLRequest()


# -- the port ------------------------------------------------------------------------------------------------------


async def test_doors_that_close_before_grpc_is_imported_give_the_port_back() -> None:
    doors = Doors(Desk(clock, "1"), http_port=0, metrics_port=0, grpc_port=0)
    await doors.start()
    host, _, port = doors.grpc_address.rpartition(":")
    await doors.stop()

    for listener in await listen(host, int(port), "grpc"):
        listener.close()


async def test_a_port_that_another_service_answers_on_is_taken(desk: TradingDesk) -> None:
    port = int(desk.doors.grpc_address.rpartition(":")[2])
    second = Doors(Desk(clock, "1"), http_port=0, metrics_port=0, grpc_port=port)
    with pytest.raises(ConfigurationError, match=f"grpc: cannot listen on 127.0.0.1:{port}, it is taken"):
        await second.start()


async def test_all_taken_ports_are_named_at_once_and_none_is_left_taken(desk: TradingDesk) -> None:
    http = int(desk.doors.http_url.rpartition(":")[2])
    grpc = int(desk.doors.grpc_address.rpartition(":")[2])
    [free] = await listen("127.0.0.1", 0, "metrics")
    metrics = free.getsockname()[1]
    free.close()
    second = Doors(Desk(clock, "1"), http_port=http, metrics_port=metrics, grpc_port=grpc)

    with pytest.raises(ConfigurationError) as refused:
        await second.start()

    for section, port in (("http", http), ("grpc", grpc)):
        assert f"{section}: cannot listen on 127.0.0.1:{port}, it is taken" in str(refused.value)
    for listener in await listen("127.0.0.1", metrics, "metrics"):
        listener.close()


@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="there is no IPv6 here")
async def test_every_address_of_ipv4_is_none_of_ipv6(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, grpc_host="0.0.0.0", grpc_port=0) as desk:  # noqa: S104  # for the length of a test
        await desk.open()
        host, _, port = desk.doors.grpc_address.rpartition(":")
        assert host == "0.0.0.0"  # noqa: S104  # what is bound is what is said
        async with calling(desk) as channel:
            assert (await ask(channel, "GetPnL")).total_trades == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("::1", int(port))


async def test_every_address_of_a_host_is_served(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, grpc_host="localhost", grpc_port=0) as desk:
        await desk.open()
        assert desk.doors.grpc_address.startswith("localhost:")
        async with calling(desk) as channel:
            assert (await ask(channel, "GetPnL")).total_trades == 0
