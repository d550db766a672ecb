"""The wire: what comes in from clients, and what the shell must put out for them, without any socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

JSON_TYPE = "application/json;charset=UTF-8"


class Request(NamedTuple):
    """An HTTP request. `query` is raw, as it was signed; header names are lower case."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = {}
    ip: str = "127.0.0.1"


class Reply(NamedTuple):
    """An HTTP answer, and what becomes of it on the way.

    answer: it is sent after `delay_ms`. hang: nothing ever comes. reset: the connection dies unanswered.
    cut: headers and half of the body, then the connection dies.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    delay_ms: int = 0
    fate: Literal["answer", "hang", "reset", "cut"] = "answer"


class Text(NamedTuple):
    """A text frame. It may hold lone surrogates: bytes that are no UTF-8, sent to see what the client does."""

    text: str

    @property
    def payload(self) -> bytes:
        """Return the bytes that go on the wire."""
        return self.text.encode("utf-8", "surrogateescape")


class Binary(NamedTuple):
    payload: bytes


class Ping(NamedTuple):
    payload: bytes = b""


class Pong(NamedTuple):
    payload: bytes = b""


class Close(NamedTuple):
    """A close frame; the connection is over."""

    code: int
    reason: str = ""


class Cut(NamedTuple):
    """TCP is gone without a close frame (clients see 1006), in the middle of a frame that began with `partial`."""

    partial: bytes = b""
    announced: int = 0
    """Bytes that the header of the frame in the middle promised; 0: it ended between two frames."""


_PLAIN = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_ESCAPED = json.JSONEncoder(separators=(",", ":"))

Output = Text | Binary | Ping | Pong | Close | Cut


class Refused(Exception):
    """The handshake of a WebSocket is answered with this instead."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"HTTP {reply.status}")
        self.reply = reply

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def body(self) -> bytes:
        return self.reply.body


def to_json(value: Any) -> str:
    """Return JSON as the venue writes it: no spaces, text as it is, unless that has no UTF-8 form."""
    text = _PLAIN.encode(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return _ESCAPED.encode(value)
    return text


def json_reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    body = to_json(value).encode()
    return Reply(status, {"Content-Type": JSON_TYPE, **(headers or {})}, body)


def error_reply(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    return json_reply(status, {"code": code, "msg": message}, headers)
