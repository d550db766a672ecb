"""Streams: what does a client get that opens a URL or subscribes, and in which form?

Since 2026 the streams are split: /public (best prices), /market (everything else about the market), /private (user
data). The unrouted /ws and /stream of old still open, but only public data comes on them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from exchange_simulator.connection import Connection, World
from exchange_simulator.errors import VenueError
from exchange_simulator.parameters import split_pairs
from exchange_simulator.wire import Output, Refused, error_reply, to_json

Kind = Literal["private", "market", "public", "all"]
Legacy = Literal["full", "public-only"]

MOST_STREAMS = 1024

_PUBLIC = ("@bookTicker", "@depth", "!bookTicker")
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Feed(NamedTuple):
    """User data of one listen key, of some event types or of all."""

    key: str
    events: frozenset[str] | None = None


class Opening(NamedTuple):
    """What a URL asks for."""

    kind: Kind
    is_combined: bool
    feeds: tuple[Feed, ...]
    names: tuple[str, ...]


def read_url(path: str, query: str, legacy: Legacy) -> Opening:
    """Return what is asked for. Raises: Refused with 404 for a URL that has no streams, 400 for a broken one."""
    parts = [unquote(part, errors="replace") for part in path.strip("/").split("/")]
    kind: Kind = "all" if legacy == "full" else "public"
    if parts[0] in ("private", "market", "public"):
        kind = parts.pop(0)  # type: ignore[assignment]  # one of the three
    if not parts or parts[0] not in ("ws", "stream"):
        raise Refused(error_reply(404, -5000, f"Path {path}, Method GET is invalid"))
    try:
        pairs = split_pairs(query)
    except VenueError as error:
        raise Refused(error_reply(400, error.code, error.message)) from None
    wanted = [name for name in parts[1:] if name]
    feeds: list[Feed] = []
    for name, value in pairs:
        if name == "streams":
            wanted += [item for item in value.split("/") if item]
        elif name == "listenKey" and value:
            feeds.append(Feed(value))
        elif name == "events" and feeds:
            feeds[-1] = Feed(feeds[-1].key, frozenset(item for item in value.split("/") if item))
    feeds += [Feed(name) for name in wanted if not is_market(name)]
    names = tuple(dict.fromkeys(name for name in wanted if is_market(name)))
    if len(feeds) + len(names) > MOST_STREAMS:
        raise Refused(error_reply(400, -1130, f"More than {MOST_STREAMS} streams."))
    return Opening(kind, parts[0] == "stream", tuple(feeds), names)


def is_market(name: str) -> bool:
    """Tell the name of a market stream from a listen key."""
    return "@" in name or name.startswith("!")


def is_public(name: str) -> bool:
    return any(mark in name for mark in _PUBLIC)


class StreamConnection(Connection):
    """A connection of /private, /market or /public, or an unrouted one."""

    def __init__(
        self,
        world: World,
        output: Callable[[Output], None],
        opening: Opening,
        *,
        ip: str,
        account_of: Callable[[str], str | None],
    ) -> None:
        is_user = opening.kind == "private" or bool(opening.feeds)
        super().__init__(world, output, ip=ip, streams="user" if is_user else "market")
        self._kind = opening.kind
        self._account_of = account_of
        self._is_combined = opening.is_combined
        self._feeds = list(opening.feeds)
        self._names = dict.fromkeys(opening.names)
        self._note_account()

    # -- what is delivered

    def takes(self, name: str) -> bool:
        """Say whether a market stream comes here: it was asked for, on a URL that carries it."""
        if name not in self._names or self._kind == "private":
            return False
        return self._kind == "all" or (self._kind == "public") == is_public(name)

    def names(self) -> list[str]:
        """Return the market streams that come here."""
        return [name for name in self._names if self.takes(name)]

    def send_market(self, name: str, data: str) -> None:
        """Send data (JSON) of a stream that `takes` agreed to."""
        self.send(self._wrapped(name, data))

    def send_user(self, api_key: str, kind: str, data: str) -> None:
        """Send an event (JSON) of an account, once for each feed that wants this kind of it."""
        if self._kind not in ("private", "all"):
            return
        for feed in self._feeds:
            if (feed.events is None or kind in feed.events) and self._account_of(feed.key) == api_key:
                self.send(self._wrapped(feed.key, data), api_key)

    def send_expiry(self, key: str, api_key: str, data: str) -> None:
        """Say that a listen key expired, to whom it concerns, filters or not."""
        if self._kind in ("private", "all") and self.uses(key):
            self.send(self._wrapped(key, data), api_key)

    def uses(self, key: str) -> bool:
        return any(feed.key == key for feed in self._feeds)

    def streams(self) -> list[str]:
        """Return what is subscribed, listen keys first."""
        return [*dict.fromkeys(feed.key for feed in self._feeds), *self._names]

    def _wrapped(self, name: str, data: str) -> str:
        return f'{{"stream":{to_json(name)},"data":{data}}}' if self._is_combined else data

    # -- what is asked

    def heard(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            self.answer('{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}')
            return
        self.answer(to_json(self._answered(message, len(text))))

    def _answered(self, message: Any, length: int) -> dict[str, Any]:
        if not isinstance(message, dict):
            return _invalid("invalid type: expected struct Request at line 1 column 1")
        method, params, request_id = message.get("method"), message.get("params"), message.get("id")
        if "method" not in message:
            return _invalid(f"missing field `method` at line 1 column {length}")
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            return _invalid(f"unknown variant `{method}`, expected one of {expected} at line 1 column 28")
        if not isinstance(request_id, str | int) or isinstance(request_id, bool) or str(request_id).startswith("-"):
            return _invalid("request ID must be an unsigned integer")
        result = self._carried_out(method, params if params is not None else [])
        return result if isinstance(result, dict) else {"result": result, "id": request_id}

    def _carried_out(self, method: str, params: Any) -> Any:
        """Return the result, or the error as an object."""
        if not isinstance(params, list):
            return _invalid("invalid type: expected a sequence")
        if method == "LIST_SUBSCRIPTIONS":
            return self.streams() if not params else _invalid("too many parameters")
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not all(isinstance(name, str) for name in params):
                return _invalid("invalid type: expected a string")
            return self._subscribe(params) if method == "SUBSCRIBE" else self._unsubscribe(params)
        return self._property(method, params)

    def _subscribe(self, names: list[str]) -> Any:
        new = [name for name in dict.fromkeys(names) if name not in self._names and not self.uses(name)]
        if len(self._feeds) + len(self._names) + len(new) > MOST_STREAMS:
            return _invalid("too many parameters")
        for name in new:
            if is_market(name):
                self._names[name] = None
            else:
                self._feeds.append(Feed(name))
        self._note_account()
        return None

    def _unsubscribe(self, names: list[str]) -> None:
        for name in names:
            self._names.pop(name, None)
        self._feeds = [feed for feed in self._feeds if feed.key not in names]

    def _property(self, method: str, params: list[Any]) -> Any:
        if not params or not isinstance(params[0], str):
            return _invalid("property name must be a string")
        if params[0] != "combined":
            return {"code": 0, "msg": "Unknown property"}
        if method == "GET_PROPERTY":
            return self._is_combined if len(params) == 1 else _invalid("too many parameters")
        if len(params) != 2:
            return _invalid("too many parameters")
        if not isinstance(params[1], bool):
            return {"code": 1, "msg": "Invalid value type: expected Boolean"}
        self._is_combined = params[1]
        return None

    def _note_account(self) -> None:
        for feed in self._feeds:
            self.account = self.account or self._account_of(feed.key) or ""


def _invalid(what: str) -> dict[str, Any]:
    return {"code": 2, "msg": f"Invalid request: {what}"}
