"""Faults of the REST interface: what does a client get instead of, or along with, the right answer?"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from exchange_simulator.catalogue import KINDS
from exchange_simulator.faults import Fault, Faults
from exchange_simulator.limits import Limited, Limits
from exchange_simulator.parameters import Parameters
from exchange_simulator.wire import Reply, error_reply

_REQUEST = tuple(name for name, kind in KINDS.items() if kind.place == "request" and name != "clock_skew")
_ANSWER = tuple(
    name for name, kind in KINDS.items() if kind.place == "answer" and name not in ("stale_snapshot", "misstated")
)

_HTML = {"Content-Type": "text/html"}


def _page(status: int, title: str) -> Reply:
    text = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, dict(_HTML), text.encode())


def limited_reply(limited: Limited) -> Reply:
    """Return the 429 or 418 with the seconds to wait."""
    return error_reply(limited.status, -1003, limited.message, {"Retry-After": str(limited.retry_after_seconds)})


def refused_key(ip: str) -> tuple[int, int, str]:
    """Return status, code and text for a key that may not do this."""
    return 401, -2015, f"Invalid API-key, IP, or permissions for action, request ip: {ip}"


class RestFaults:
    """The faults as requests suffer them."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def skew_ms(self, now_ms: int, account: str, path: str) -> int:
        """Return by how much the venue's clock seems to be ahead."""
        fault = self._strikes("clock_skew", now_ms, account, path)
        return fault["ms"] if fault else 0

    def instead(self, limits: Limits, ip: str, now_ms: int, account: str, path: str) -> Reply | None:
        """Return an answer that stands for a request that is not carried out, None to carry it out."""
        if not self._faults.any_on(_REQUEST):
            return None
        for name in _REQUEST:
            if (name != "revoked_key" or account) and (fault := self._strikes(name, now_ms, account, path)):
                return _refusal(fault, limits, ip)
        return None

    def stale_ms(self, now_ms: int, account: str, path: str) -> int | None:
        """Return by how much the answer of this request lags, None if it does not."""
        fault = self._strikes("stale_snapshot", now_ms, account, path)
        return fault["ms"] if fault else None

    def wants_snapshots(self) -> bool:
        return self._faults.any_on(("stale_snapshot",))

    def widened(self, parameters: Parameters, now_ms: int, account: str, path: str) -> Parameters:
        """Return parameters that ask for rows of the page before, too."""
        from_id = parameters.get("fromId", "")
        if not from_id.isdecimal() or len(from_id) > 18:
            return parameters
        fault = self._strikes("page_overlap", now_ms, account, path)
        if fault is None:
            return parameters
        return Parameters({**parameters, "fromId": str(max(0, int(from_id) - fault["rows"]))}, parameters.signed)

    def page(self, rows: Sequence[Any], now_ms: int, account: str, path: str) -> Sequence[Any]:
        """Return a list as the client gets it."""
        if not rows:
            return rows
        if self._strikes("page_empty", now_ms, account, path):
            return []
        if late := self._strikes("late_rows", now_ms, account, path):
            rows = [row for row in rows if row.get("time", 0) <= now_ms - late["ms"]]
        if len(rows) > 2 and self._strikes("page_missing", now_ms, account, path):
            missing = self._faults.generator("page_missing").randrange(1, len(rows) - 1)
            rows = [row for index, row in enumerate(rows) if index != missing]
        if (short := self._strikes("page_short", now_ms, account, path)) and len(rows) > short["rows"]:
            rows = rows[: max(1, short["rows"])]
        return rows

    def spoiled(self, reply: Reply, now_ms: int, account: str, path: str) -> Reply:
        """Return what becomes of an answer on its way."""
        if path.endswith("/account") and (fault := self._strikes("misstated", now_ms, account, path)):
            reply = _misstated(fault, reply)
        if not self._faults.any_on(_ANSWER):
            return reply
        for name in _ANSWER:
            if fault := self._strikes(name, now_ms, account, path):
                return _spoiled(fault, reply)
        return reply

    def _strikes(self, name: str, now_ms: int, account: str, path: str) -> Fault | None:
        return self._faults.strikes(name, now_ms, account=account, path=path)


def _refusal(fault: Fault, limits: Limits, ip: str) -> Reply:
    match fault.name:
        case "http_429":
            return limited_reply(limits.tell_off(ip, fault["retry_after"]))
        case "http_418":
            return limited_reply(limits.ban(ip, fault["ban_seconds"]))
        case "http_403":
            return _page(403, "403 Forbidden")
        case "throttled":
            text = (
                "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. "
                "Please try again."
            )
            return error_reply(503, -1008, text)
        case "unavailable":
            return error_reply(503, -1001, "Service Unavailable.")
        case _:
            return error_reply(*refused_key(ip))


def _misstated(fault: Fault, reply: Reply) -> Reply:
    """Return a statement with too much in its first wallet; anything but a statement is left as it is."""
    said = json.loads(reply.body)
    if reply.status == HTTPStatus.OK and said.get("assets"):
        wallet = said["assets"][0]
        wallet["walletBalance"] = f"{Decimal(wallet['walletBalance']) + fault['amount']:f}"
        return reply._replace(body=json.dumps(said).encode())
    return reply


def _spoiled(fault: Fault, reply: Reply) -> Reply:
    headers, body = reply.headers, reply.body
    match fault.name:
        case "http_500":
            spoiled = _page(500, "500 Internal Server Error")
        case "http_502":
            spoiled = _page(502, "502 Bad Gateway")
        case "http_503":
            text = "Unknown error, please check your request or try again later."
            spoiled = error_reply(503, -1000, text)
        case "http_504":
            spoiled = Reply(504, dict(_HTML), b"")
        case "html_200":
            spoiled = _page(200, "Just a moment...")
        case "empty_body":
            spoiled = reply._replace(body=b"")
        case "wrong_content_type":
            spoiled = reply._replace(headers={**headers, "Content-Type": "text/html"})
        case "gzip_cut":
            packed = gzip.compress(body, mtime=0)
            spoiled = reply._replace(headers={**headers, "Content-Encoding": "gzip"}, body=packed[: len(packed) // 2])
        case "half_json":
            spoiled = reply._replace(body=body[: len(body) // 2])
        case "slow":
            spoiled = reply._replace(delay_ms=fault["ms"])
        case "hang":
            spoiled = reply._replace(fate="hang")
        case "reset":
            spoiled = reply._replace(fate="reset")
        case _:
            spoiled = reply._replace(fate="cut")
    return spoiled._replace(headers={**headers, **spoiled.headers})
