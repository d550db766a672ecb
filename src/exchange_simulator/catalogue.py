"""The catalogue: which faults does the simulated exchange know, where do they strike, and what can be set?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Place = Literal["frame", "socket", "key", "connect", "request", "answer", "page"]
"""Where a fault strikes.

frame: one frame of a user data stream. socket: a WebSocket, drawn for everything that is put on it. key: the listen
key, drawn for each user event. connect: a handshake. request: before it is carried out. answer: after it was.
page: lists.
"""


class Kind(NamedTuple):
    place: Place
    text: str
    rate: float
    """The rate it has in a group, or on the command line without a rate of its own."""
    defaults: Mapping[str, float] = {}
    """What can be set besides rate, count, seconds, path, account and streams."""


KINDS: Mapping[str, Kind] = {
    # -- frames of user data streams
    "drop": Kind("frame", "a frame is lost", 0.02),
    "drop_burst": Kind("frame", "this frame and the next ones are lost", 0.005, {"length": 10}),
    "duplicate": Kind("frame", "a frame comes more than once", 0.03, {"copies": 1}),
    "reorder": Kind("frame", "a frame comes after some of the next ones", 0.03, {"within": 5, "hold_ms": 2000}),
    "delay": Kind("frame", "a frame, and those behind it, come late but in order", 0.03, {"ms": 800}),
    "backlog": Kind("frame", "everything comes this much late, in order", 1.0, {"ms": 600_000}),
    "late": Kind("frame", "a frame comes long after those behind it", 0.005, {"ms": 60_000}),
    "cut_json": Kind("frame", "a frame holds half of its JSON", 0.01),
    "concatenated": Kind("frame", "two messages share a frame", 0.01),
    "wrong_types": Kind("frame", "numbers as texts, texts as numbers", 0.01),
    "missing_key": Kind("frame", "a key is absent", 0.01),
    "extra_key": Kind("frame", "a key that nobody knows", 0.02),
    "duplicate_key": Kind("frame", "a key is there twice, with different values", 0.005),
    "unknown_event": Kind("frame", "an event type that nobody knows, besides", 0.02),
    "huge_frame": Kind("frame", "a very large message, besides", 0.001, {"bytes": 10_000_000}),
    "invalid_utf8": Kind("frame", "a text frame with bytes that are no UTF-8", 0.01),
    "binary": Kind("frame", "a binary frame", 0.01),
    "byte_order_mark": Kind("frame", "a frame begins with a byte order mark", 0.005),
    "nested": Kind("frame", "deeply nested JSON, besides", 0.005, {"depth": 20_000}),
    "bad_number": Kind("frame", "a number says NaN, Infinity, 1e999999, 1_000 and the like", 0.01),
    "conflict": Kind("frame", "a fill comes again with another price and fee under its trade id", 0.01),
    # -- sockets
    "close_1000": Kind("socket", "closed in order", 0.001),
    "close_1006": Kind("socket", "gone without a close frame", 0.001),
    "close_1008": Kind("socket", "closed, policy violation", 0.001),
    "close_1011": Kind("socket", "closed, internal error", 0.001),
    "tcp_cut": Kind("socket", "gone in the middle of a message", 0.001),
    "half_open": Kind("socket", "TCP stays, nothing comes any more, not even pongs", 0.001),
    "silent": Kind("socket", "pings and pongs go on, data does not", 0.001),
    # -- listen keys
    "key_expired": Kind("key", "the listen key expires, with its event", 0.002),
    "key_dead": Kind("key", "the listen key is dead, and nothing says so", 0.002),
    # -- handshakes
    "refuse_connect": Kind("connect", "the handshake is refused", 0.2, {"status": 503}),
    "ban_connect": Kind("connect", "the handshake is answered by a ban of the address", 0.02, {"ban_seconds": 120}),
    "hang_connect": Kind("connect", "the handshake is never answered", 0.02),
    # -- requests, not carried out
    "http_429": Kind("request", "429 −1003 with Retry-After", 0.005, {"retry_after": 20}),
    "http_418": Kind("request", "418 −1003, the address is banned", 0.001, {"ban_seconds": 120}),
    "http_403": Kind("request", "403 with HTML, as a firewall answers", 0.01),
    "throttled": Kind("request", "503 −1008", 0.01),
    "unavailable": Kind("request", "503, failed", 0.01),
    "revoked_key": Kind("request", "401 −2015: the API key is no longer valid", 0.002),
    "clock_skew": Kind("request", "the venue's clock differs: −1021", 1.0, {"ms": 3_600_000}),
    # -- answers; what was asked for was carried out
    "http_500": Kind("answer", "500 with HTML", 0.01),
    "http_502": Kind("answer", "502 with HTML", 0.01),
    "http_503": Kind("answer", "503, outcome unknown", 0.01),
    "http_504": Kind("answer", "504 with an empty body", 0.01),
    "html_200": Kind("answer", "200 with HTML", 0.01),
    "empty_body": Kind("answer", "200 with an empty body", 0.01),
    "wrong_content_type": Kind("answer", "right JSON, called text/html", 0.01),
    "gzip_cut": Kind("answer", "compressed, the end is missing", 0.01),
    "half_json": Kind("answer", "200 with half of the JSON", 0.01),
    "slow": Kind("answer", "comes late", 0.02, {"ms": 30_000}),
    "hang": Kind("answer", "never comes", 0.005),
    "reset": Kind("answer", "the connection dies unanswered", 0.01),
    "cut_body": Kind("answer", "the connection dies in the body", 0.01),
    "stale_snapshot": Kind("answer", "account, balance and positions as they were", 0.1, {"ms": 3000}),
    "misstated": Kind("answer", "the first wallet of an account is stated with so much too much", 0.01, {"amount": 25}),
    # -- lists that come in pages
    "page_overlap": Kind("page", "begins with rows that the page before ended with", 0.05, {"rows": 2}),
    "page_missing": Kind("page", "a row is missing", 0.02),
    "page_empty": Kind("page", "empty, although there are rows", 0.05),
    "page_short": Kind("page", "fewer rows than were asked for, although there are more", 0.1, {"rows": 3}),
    "late_rows": Kind("page", "rows that are younger than this are not there yet", 0.02, {"ms": 180_000}),
}

_BY_NAME_ONLY = {"backlog", "clock_skew"}  # they do not come and go: set them by name

GROUPS: Mapping[str, tuple[str, ...]] = {
    "frames": tuple(n for n, k in KINDS.items() if k.place == "frame" and n not in _BY_NAME_ONLY),
    "sockets": tuple(
        n for n, k in KINDS.items() if k.place in ("frame", "socket", "key", "connect") and n not in _BY_NAME_ONLY
    ),
    "rest": tuple(n for n, k in KINDS.items() if k.place in ("request", "answer", "page") and n not in _BY_NAME_ONLY),
    "all": tuple(n for n in KINDS if n not in _BY_NAME_ONLY),
}
"""Names that stand for many faults, each at its usual rate."""
