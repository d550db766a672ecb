"""REST: signed requests of one account, and what it means when there is no answer.

A body that is returned is whole, valid JSON from a request that was granted. Everything else is an error that says so.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeAlias
from urllib.parse import quote, urlencode

import msgspec
import structlog

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.answers import server_time_of
from account_monitor.feeds.binance.budget import Permit, Urgency, WeightBudget
from account_monitor.feeds.binance.fields import masked
from account_monitor.feeds.binance.quality import Outcome, RequestQuality
from account_monitor.feeds.binance.refusals import (
    CLOCK_IS_WRONG,
    TOO_MANY_REQUESTS,
    VenueLimited,
    VenueRefused,
    VenueUnavailable,
)
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import HttpReply, Transport, TransportError, count_in, shown_url

RECV_WINDOW_MS = 5000
TIMEOUT_SECONDS = 10.0

Parameter: TypeAlias = str | int | bool | Decimal | None
"""None leaves a parameter out."""

_log = structlog.get_logger(__name__)

_TIME_WEIGHT = 1
_LIMITING = (418, 429)
_FORBIDDEN = 403  # by the firewall, which counts too: going on makes it worse
_MESSAGE_CHARACTERS = 200

_banned_until = re.compile(r"until ([0-9]{13})\b").search
_opaque = re.compile(r"[A-Za-z0-9]{32,}")
_check: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)


class _Refusal(msgspec.Struct):
    code: int
    msg: str = ""


_decode_refusal = msgspec.json.Decoder(_Refusal).decode


class BinanceRest:
    """One account's requests. Budget and clock are shared by all accounts of one address and exchange.

    Raises, from every request: VenueRefused, VenueUnavailable, VenueLimited.
    """

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        budget: WeightBudget,
        server_time: ServerTime,
        *,
        api_key: str,
        secret: str,
        recv_window_ms: int = RECV_WINDOW_MS,
        timeout_seconds: float = TIMEOUT_SECONDS,
        time_path: str = "/fapi/v1/time",
        quality: RequestQuality | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._budget = budget
        self._server_time = server_time
        self._key_header = {"X-MBX-APIKEY": api_key}
        self._secret = secret.encode()
        self._secrets = tuple(text for text in (api_key, secret) if text)
        self._recv_window_ms = recv_window_ms
        self._timeout_seconds = timeout_seconds
        self._time_path = time_path
        self._quality = quality

    def __repr__(self) -> str:
        return f"BinanceRest({shown_url(self._base_url)!r})"

    async def read_clock(self) -> None:
        """Read the exchange's clock, if it is time to."""
        await self._server_time.refresh(self._ask_time)

    async def get(
        self,
        path: str,
        weight: int,
        *,
        urgency: Urgency = "regular",
        leaving: Callable[[], None] = lambda: None,
        **parameters: Parameter,
    ) -> bytes:
        """Return the answer to a signed request. A clock that was wrong is set right, once.

        `leaving` is called right before the request leaves, which may be a while after this was called.
        """
        await self.read_clock()
        seen = self._server_time.estimates
        try:
            return await self._signed(path, weight, urgency, leaving, parameters)
        except VenueRefused as refused:
            if refused.code != CLOCK_IS_WRONG:
                raise
        await self._server_time.estimate(self._ask_time, seen=seen)
        return await self._signed(path, weight, urgency, leaving, parameters)

    async def get_public(
        self, path: str, weight: int, *, urgency: Urgency = "regular", **parameters: Parameter
    ) -> bytes:
        """Return the answer to a request that needs neither key nor signature."""
        permit = await self._budget.acquire(weight, urgency)
        return await self._send("GET", path, _query(parameters), {}, permit)

    async def post(self, path: str, weight: int, *, urgency: Urgency = "urgent") -> bytes:
        """Return the answer to a POST with the key alone, such as for a listen key."""
        permit = await self._budget.acquire(weight, urgency)
        return await self._send("POST", path, "", self._key_header, permit)

    async def put(self, path: str, weight: int, *, urgency: Urgency = "urgent") -> bytes:
        """Return the answer to a PUT with the key alone, such as for keeping a listen key alive."""
        permit = await self._budget.acquire(weight, urgency)
        return await self._send("PUT", path, "", self._key_header, permit)

    async def _ask_time(self) -> int:
        body = await self.get_public(self._time_path, _TIME_WEIGHT, urgency="urgent")
        try:
            return server_time_of(body)
        except MalformedEvent as error:
            raise VenueUnavailable(f"GET {self._time_path}: {error.reason}") from None

    async def _signed(
        self,
        path: str,
        weight: int,
        urgency: Urgency,
        leaving: Callable[[], None],
        parameters: Mapping[str, Parameter],
    ) -> bytes:
        permit = await self._budget.acquire(weight, urgency)
        leaving()
        # Signed when it leaves: waiting for the permit may have taken longer than the window.
        timed = {**parameters, "recvWindow": self._recv_window_ms, "timestamp": self._server_time.now_ms()}
        query = _query(timed)
        signature = hmac.new(self._secret, query.encode(), hashlib.sha256).hexdigest()
        return await self._send("GET", path, f"{query}&signature={signature}", self._key_header, permit)

    async def _send(self, method: str, path: str, query: str, headers: Mapping[str, str], permit: Permit) -> bytes:
        try:
            body = await self._answer(method, path, query, headers, permit)
        except VenueLimited as error:
            self._note("limited", f"{method} {path}: {error}")
            raise
        except VenueRefused as error:
            self._note("refused", f"{method} {path}: {error}")
            raise
        except VenueUnavailable as error:
            self._note("unanswered", str(error))
            raise
        self._note("answered")
        return body

    def _note(self, outcome: Outcome, reason: str = "") -> None:
        if self._quality is not None:
            self._quality.note(outcome, reason)

    async def _answer(self, method: str, path: str, query: str, headers: Mapping[str, str], permit: Permit) -> bytes:
        url = f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}"
        used: int | None = None
        try:
            reply = await self._transport.request(method, url, headers=headers, timeout_seconds=self._timeout_seconds)
            used = count_in(reply.headers.get("x-mbx-used-weight-1m"))
        except TransportError as error:
            raise VenueUnavailable(self._harmless(str(error))) from None
        finally:
            self._budget.settle(permit, used)
        return self._judged(f"{method} {path}", reply)

    def _judged(self, what: str, reply: HttpReply) -> bytes:
        """Return the body of an answer that is one."""
        status, body = reply.status, reply.body
        is_json = _is_json(reply)
        refusal = _refusal_in(body) if is_json else None
        if (
            status in _LIMITING
            or (status == _FORBIDDEN and refusal is None)
            or (refusal is not None and refusal.code == TOO_MANY_REQUESTS)
        ):
            raise self._limited(what, reply, refusal)
        if is_json and refusal is not None and refusal.code < 0 and status < 500 and status != 408:
            self._budget.accepted()
            raise VenueRefused(refusal.code, self._harmless(refusal.msg), status)
        if status == 200 and is_json:
            self._budget.accepted()
            return body
        kind = self._harmless(reply.headers.get("content-type", "no type").partition(";")[0])
        code = "" if refusal is None else f", code {refusal.code}"
        raise VenueUnavailable(f"{what}: no data in HTTP {status}, {len(body):,} bytes of {kind}{code}")

    def _limited(self, what: str, reply: HttpReply, refusal: _Refusal | None) -> VenueLimited:
        banned = _banned_until(refusal.msg) if refusal is not None else None
        until_ms = self._budget.refused(
            reply.status,
            retry_after_seconds=count_in(reply.headers.get("retry-after")),
            banned_for_ms=self._until(int(banned[1])) if banned else None,
        )
        limited = VenueLimited(until_ms)
        _log.warning(
            "venue_limited", url=shown_url(self._base_url), request=what, status=reply.status, said=str(limited)
        )
        return limited

    def _until(self, moment_ms: int) -> int | None:
        """Return how long it is until a moment of the exchange's clock; None before that was ever read."""
        return None if self._server_time.error_ms is None else moment_ms - self._server_time.now_ms()

    def _harmless(self, text: str) -> str:
        """Return a text from outside without secrets, even if the exchange or a library quotes them."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _opaque.sub(lambda found: masked(found[0]), text)[:_MESSAGE_CHARACTERS]
        return "".join(c if c.isprintable() else " " for c in text)


def _query(parameters: Mapping[str, Parameter]) -> str:
    """Return the query as it is signed and sent: percent-encoded first, in the order given."""
    texts = {key: _text(value) for key, value in parameters.items() if value is not None}
    return urlencode(texts, quote_via=quote, safe="")


def _text(value: str | int | bool | Decimal) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)


def _is_json(reply: HttpReply) -> bool:
    """Whether the body is what the exchange sends as data: said to be JSON, and whole."""
    if "json" not in reply.headers.get("content-type", "").lower():
        return False
    try:
        _check.decode(reply.body)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _refusal_in(body: bytes) -> _Refusal | None:
    """Return the refusal that a body is, None for any other."""
    if body.lstrip()[:1] != b"{":
        return None
    try:
        return _decode_refusal(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
