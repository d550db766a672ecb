"""REST: what is signed and sent, what counts as an answer, and that nothing tells a secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
from structlog.testing import capture_logs

from account_monitor.feeds.binance.budget import WeightBudget
from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.rest import BinanceRest
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import HttpReply, Socket, TransportError

NOON_MS = 1_795_348_800_000
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
LISTEN_KEY = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"

JSON_TYPE = "application/json;charset=UTF-8"


def reply(body: object, status: int = 200, **headers: str) -> HttpReply:
    """Return an answer as the exchange gives it; header names are written with `_`."""
    named = {"content-type": JSON_TYPE} | {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status, named, body if isinstance(body, bytes) else json.dumps(body).encode())


def refusal(code: int, message: str, status: int = 400, **headers: str) -> HttpReply:
    return reply({"code": code, "msg": message}, status, **headers)


class Exchange:
    """A transport that answers `/time` itself and everything else from a list; it is `ahead_ms` of the local clock."""

    def __init__(self, *replies: HttpReply | TransportError, ahead_ms: int = 0) -> None:
        self.replies = list(replies)
        self.ahead_ms = ahead_ms
        self.local_ms = NOON_MS
        self.time_reply: HttpReply | None = None
        self.sent: list[tuple[str, str, Mapping[str, str]]] = []
        self.times_asked = 0
        self.slept: list[float] = []
        self.server_time = ServerTime(wall_ms=lambda: self.local_ms, monotonic=lambda: self.local_ms / 1000)
        self.budget = WeightBudget(self.server_time.now_ms, sleep=self.sleep)
        self.rest = self.account()

    def account(self, base_url: str = "https://fapi.binance.com") -> BinanceRest:
        return BinanceRest(base_url, self, self.budget, self.server_time, api_key=KEY, secret=SECRET)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.local_ms += round(seconds * 1000)

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        await asyncio.sleep(0)
        if urlsplit(url).path == "/fapi/v1/time":
            self.times_asked += 1
            assert not headers
            return self.time_reply or reply({"serverTime": self.local_ms + self.ahead_ms})
        self.sent.append((method, url, headers))
        answer = self.replies.pop(0) if self.replies else reply({})
        if isinstance(answer, TransportError):
            raise answer
        return answer

    async def connect(self, url: str, *, timeout_seconds: float) -> Socket:
        raise NotImplementedError

    def query(self, number: int = -1) -> dict[str, str]:
        """Return the parameters of a request that was sent."""
        return dict(parse_qsl(urlsplit(self.sent[number][1]).query))


def signature_of(query: str) -> str:
    return hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()


# -- what is sent ------------------------------------------------------------------------------------------------------


async def test_a_signed_request_ends_with_time_and_signature() -> None:
    exchange = Exchange(reply([]), ahead_ms=1_000)

    body = await exchange.rest.get("/fapi/v1/userTrades", 5, symbol="BTCUSDT", fromId=7, limit=1000, endTime=None)

    query = f"symbol=BTCUSDT&fromId=7&limit=1000&recvWindow=5000&timestamp={NOON_MS + 1_000}"
    url = f"https://fapi.binance.com/fapi/v1/userTrades?{query}&signature={signature_of(query)}"
    assert exchange.sent == [("GET", url, {"X-MBX-APIKEY": KEY})]
    assert body == b"[]"


async def test_the_documented_signature() -> None:
    exchange = Exchange()
    exchange.local_ms = 1591702613943

    await exchange.rest.get(
        "/x", 1, symbol="BTCUSDT", side="BUY", type="LIMIT", quantity=1, price=9000, timeInForce="GTC"
    )

    assert exchange.query()["signature"] == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


async def test_values_are_percent_encoded_before_they_are_signed() -> None:
    exchange = Exchange()

    await exchange.rest.get("/x", 1, symbol="币USDT", note="a b&c+/~", flag=True, price=Decimal("1E-8"))

    query = urlsplit(exchange.sent[0][1]).query
    signed, _, signature = query.rpartition("&signature=")
    assert signed.startswith("symbol=%E5%B8%81USDT&note=a%20b%26c%2B%2F~&flag=true&price=0.00000001&recvWindow=5000&")
    assert signature == signature_of(signed)


async def test_public_requests_carry_neither_key_nor_signature() -> None:
    exchange = Exchange()

    await exchange.rest.get_public("/fapi/v1/premiumIndex", 1, symbol="BTCUSDT")
    await exchange.rest.get_public("/fapi/v1/exchangeInfo", 1)

    assert exchange.sent == [
        ("GET", "https://fapi.binance.com/fapi/v1/premiumIndex?symbol=BTCUSDT", {}),
        ("GET", "https://fapi.binance.com/fapi/v1/exchangeInfo", {}),
    ]
    assert exchange.times_asked == 0


async def test_a_listen_key_is_asked_for_with_the_key_alone() -> None:
    exchange = Exchange(reply({"listenKey": LISTEN_KEY}), reply({"listenKey": LISTEN_KEY}))

    await exchange.rest.post("/fapi/v1/listenKey", 1)
    await exchange.rest.put("/fapi/v1/listenKey", 1)

    assert exchange.sent == [
        ("POST", "https://fapi.binance.com/fapi/v1/listenKey", {"X-MBX-APIKEY": KEY}),
        ("PUT", "https://fapi.binance.com/fapi/v1/listenKey", {"X-MBX-APIKEY": KEY}),
    ]


async def test_a_request_that_waited_for_weight_is_signed_when_it_leaves() -> None:
    exchange = Exchange(reply({}, x_mbx_used_weight_1m="2390"))
    await exchange.rest.get("/a", 5)

    await exchange.rest.get("/b", 5)

    assert exchange.slept == [60.2]
    assert int(exchange.query()["timestamp"]) == NOON_MS + 60_200


# -- the clock ---------------------------------------------------------------------------------------------------------


async def test_the_clock_is_read_once_and_not_before_every_request() -> None:
    exchange = Exchange()

    await asyncio.gather(*[exchange.rest.get("/x", 1) for _ in range(10)])

    assert exchange.times_asked == 3


async def test_a_wrong_time_is_set_right_and_the_request_repeated_once() -> None:
    wrong = refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
    exchange = Exchange(reply({}), wrong, reply({"a": 1}))
    await exchange.rest.get("/x", 1)
    exchange.ahead_ms = -3_600_000  # the machine slept, or the exchange's clock was set

    assert await exchange.rest.get("/x", 1) == b'{"a": 1}'

    assert len(exchange.sent) == 3
    assert int(exchange.query()["timestamp"]) == NOON_MS - 3_600_000


async def test_a_time_that_stays_wrong_is_refused() -> None:
    wrong = refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    exchange = Exchange(wrong, wrong, wrong)

    with pytest.raises(VenueRefused) as refused:
        await exchange.rest.get("/x", 1)

    assert refused.value.code == -1021
    assert len(exchange.sent) == 2


async def test_twenty_accounts_with_a_wrong_time_read_the_clock_once_more() -> None:
    exchange = Exchange()
    await exchange.rest.get("/x", 1)
    exchange.replies = [refusal(-1021, "Timestamp")] * 20

    await asyncio.gather(*[exchange.account().get("/x", 1) for _ in range(20)])

    assert exchange.times_asked == 6


async def test_a_clock_that_cannot_be_read_is_no_answer() -> None:
    exchange = Exchange()
    exchange.time_reply = reply({"serverTime": "soon"})

    with pytest.raises(VenueUnavailable, match="serverTime"):
        await exchange.rest.get("/x", 1)

    assert exchange.sent == []


# -- answers and refusals ----------------------------------------------------------------------------------------------


async def test_a_refusal_has_code_message_and_status() -> None:
    exchange = Exchange(refusal(-1121, "Invalid symbol."))

    with pytest.raises(VenueRefused) as refused:
        await exchange.rest.get("/x", 1)

    assert (refused.value.code, refused.value.message, refused.value.status) == (-1121, "Invalid symbol.", 400)
    assert str(refused.value) == "the exchange refused: code -1121, Invalid symbol. (HTTP 400)"
    assert not refused.value.is_about_the_key


@pytest.mark.parametrize(
    ("code", "status"), [(-2014, 401), (-2015, 401), (-1022, 400)], ids=["format", "permissions", "signature"]
)
async def test_a_refusal_of_the_key_is_known_as_such(code: int, status: int) -> None:
    exchange = Exchange(refusal(code, "Invalid API-key, IP, or permissions for action.", status))

    with pytest.raises(VenueRefused) as refused:
        await exchange.rest.get("/x", 1)

    assert refused.value.is_about_the_key


async def test_a_refusal_with_status_200_is_one() -> None:
    exchange = Exchange(refusal(-1121, "Invalid symbol.", 200))

    with pytest.raises(VenueRefused):
        await exchange.rest.get("/x", 1)


HTML = b"<html><body>502 Bad Gateway</body></html>"

NO_DATA: dict[str, tuple[HttpReply | TransportError, str]] = {
    "HTML with 502": (reply(HTML, 502, content_type="text/html"), "no data in HTTP 502, 41 bytes of text/html"),
    "HTML with 200": (reply(HTML, content_type="text/html; charset=x"), "no data in HTTP 200, 41 bytes of text/html"),
    "HTML said to be JSON": (reply(HTML), "no data in HTTP 200, 41 bytes of application/json"),
    "JSON said to be HTML": (reply({}, content_type="text/html"), "no data in HTTP 200, 2 bytes of text/html"),
    "no type": (HttpReply(200, {}, b"{}"), "no data in HTTP 200, 2 bytes of no type"),
    "empty": (reply(b""), "no data in HTTP 200, 0 bytes of application/json"),
    "cut": (reply(b'{"assets":[{"asset":"USDT"'), "no data in HTTP 200, 26 bytes of application/json"),
    "two": (reply(b"{}{}"), "no data in HTTP 200, 4 bytes of application/json"),
    "NaN": (reply(b'{"a":NaN}'), "no data in HTTP 200, 9 bytes of application/json"),
    "deep": (reply(b"[" * 100_000 + b"]" * 100_000), "no data in HTTP 200, 200,000 bytes of application/json"),
    "unknown outcome": (refusal(-1000, "Unknown error, please check", 503), "no data in HTTP 503, 53 bytes"),
    "overload": (refusal(-1008, "Server is currently overloaded", 503), "application/json, code -1008"),
    "time-out behind": (refusal(-1007, "Timeout waiting for response", 408), "no data in HTTP 408"),
    "data with 500": (reply([], 500), "no data in HTTP 500, 2 bytes of application/json"),
    "redirect": (reply(b"", 302, content_type="text/html", location="https://x/"), "no data in HTTP 302"),
    "4xx without a code": (reply({"error": "x"}, 404), "no data in HTTP 404, 14 bytes of application/json"),
    "odd code": (reply({"code": "x", "msg": 1}, 400), "no data in HTTP 400, 23 bytes of application/json"),
    "transport": (TransportError("GET https://fapi.binance.com/x: no answer within 10 s"), "no answer within 10 s"),
}


@pytest.mark.parametrize(("answer", "said"), NO_DATA.values(), ids=NO_DATA)
async def test_what_is_no_data_is_never_taken_for_it(answer: HttpReply | TransportError, said: str) -> None:
    exchange = Exchange(answer)

    with pytest.raises(VenueUnavailable) as unavailable:
        await exchange.rest.get("/x", 1)

    assert said in str(unavailable.value)
    assert "GET " in str(unavailable.value)


# -- the budget --------------------------------------------------------------------------------------------------------


async def test_every_answer_reports_the_weight_used() -> None:
    exchange = Exchange(refusal(-2015, "no", 401, x_mbx_used_weight_1m="77"), reply({}, x_mbx_used_weight_1m=" 99 "))

    with pytest.raises(VenueRefused):
        await exchange.rest.get("/x", 5)
    assert exchange.budget.used_weight == 77

    await exchange.rest.get("/x", 5)
    assert exchange.budget.used_weight == 99


@pytest.mark.parametrize("said", ["", "many", "-1", "1e3", "99999999999999999999"])
async def test_a_report_that_is_no_number_says_nothing(said: str) -> None:
    exchange = Exchange(reply({}, x_mbx_used_weight_1m=said))

    await exchange.rest.get("/x", 5)

    assert exchange.budget.used_weight == 5 + 3  # and the clock was read


async def test_a_request_that_is_cancelled_gives_its_reservation_back_as_used() -> None:
    exchange = Exchange()
    await exchange.rest.get("/x", 1)
    used = exchange.budget.used_weight

    task = asyncio.create_task(exchange.rest.get("/x", 40))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert exchange.budget.used_weight == used + 40


TOO_MANY = "Too many requests; current limit is 2400 requests per minute."


@pytest.mark.parametrize(
    ("answer", "waits_ms"),
    [
        (refusal(-1003, TOO_MANY, 429, retry_after="35"), 35_000),
        (refusal(-1003, f"Way too many requests; IP banned until {NOON_MS + 720_000}. Please", 418), 720_000),
        (refusal(-1003, f"banned until {NOON_MS + 1000}.", 418, retry_after="437"), 437_000),
        (refusal(-1003, TOO_MANY, 400), 60_000),
        (reply(b"", 418), 120_000),
        (reply(HTML, 429, content_type="text/html", retry_after="x"), 60_000),
        (reply(HTML, 403, content_type="text/html"), 60_000),
    ],
    ids=["429", "418 until", "418 both", "code alone", "418 empty", "429 HTML", "403 of the firewall"],
)
async def test_after_a_limit_no_account_sends_anything_before_its_end(answer: HttpReply, waits_ms: int) -> None:
    exchange = Exchange(answer)

    with pytest.raises(VenueLimited) as limited:
        await exchange.rest.get("/x", 5)

    assert limited.value.until_ms == NOON_MS + waits_ms
    other = exchange.account()
    calls: list[Callable[[], Awaitable[bytes]]] = [
        lambda: other.get("/x", 1, urgency="urgent"),
        lambda: other.get_public("/x", 1),
        lambda: other.post("/x", 1),
        lambda: other.put("/x", 1),
    ]
    exchange.local_ms += waits_ms - 1
    for call in calls:
        with pytest.raises(VenueLimited):
            await call()
    assert len(exchange.sent) == 1
    exchange.local_ms += 1
    for call in calls:
        await call()
    assert len(exchange.sent) == 5


@pytest.mark.parametrize("behind_ms", [3_600_000, 0, -3_600_000])
async def test_when_a_ban_ends_is_not_told_by_a_clock_that_was_never_read(behind_ms: int) -> None:
    exchange = Exchange(ahead_ms=-behind_ms)
    exchange.time_reply = refusal(-1003, f"IP banned until {NOON_MS - behind_ms + 500_000}.", 418)

    with pytest.raises(VenueLimited) as limited:
        await exchange.rest.get("/x", 5)

    assert limited.value.until_ms == NOON_MS + 120_000


async def test_a_limit_on_reading_the_clock_stops_everything_too() -> None:
    exchange = Exchange()
    exchange.time_reply = refusal(-1003, TOO_MANY, 429, retry_after="10")

    for _ in range(3):
        with pytest.raises(VenueLimited):
            await exchange.rest.get("/x", 5)

    assert (exchange.times_asked, exchange.sent) == (1, [])


# -- secrets -----------------------------------------------------------------------------------------------------------

ECHO = f"bad apiKey {KEY} secret {SECRET} signature {'0a' * 32} listenKey {LISTEN_KEY}\x1b[31m"

FAILURES: dict[str, HttpReply | TransportError] = {
    **{name: answer for name, (answer, _) in NO_DATA.items()},
    "refused": refusal(-1102, ECHO),
    "key refused": refusal(-2015, ECHO, 401),
    "clock": refusal(-1021, ECHO),
    "limited": refusal(-1003, ECHO, 429),
    "transport with all of it": TransportError(ECHO),
    "type with all of it": reply(b"", content_type=f"x\x1b[31m{KEY}"),
}

_tells_a_query = re.compile("(?:signature|timestamp|recvWindow)=[0-9a-f]").search


@pytest.mark.parametrize("path", ["/fapi/v3/account", "/fapi/v1/listenKey"])
@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
async def test_no_failure_tells_a_secret(answer: HttpReply | TransportError, path: str) -> None:
    exchange = Exchange(answer, answer)

    with (
        capture_logs() as logs,
        pytest.raises((VenueRefused, VenueUnavailable, VenueLimited)) as failed,
    ):
        await (exchange.rest.post(path, 1) if "listenKey" in path else exchange.rest.get(path, 5, symbol="BTCUSDT"))

    error = failed.value
    told = [exchange.rest, exchange.budget, exchange.server_time, error, error.args, vars(error), logs, str(error)]
    text = "\n".join([*map(repr, told), *traceback.format_exception(error)])
    for secret in (KEY, SECRET, LISTEN_KEY, "0a" * 32, exchange.query().get("signature", SECRET)):
        assert secret not in text
    assert not _tells_a_query(text)
    assert "\x1b" not in str(error)


def test_a_client_shows_where_it_asks_and_nothing_else() -> None:
    assert repr(Exchange().account("https://user:pass@demo-fapi.binance.com/")) == (
        "BinanceRest('https://demo-fapi.binance.com')"
    )
