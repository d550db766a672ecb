"""A simulated exchange in memory, on a clock that tests turn, with clients that remember what they were sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from exchange_simulator.exchange import Close, Cut, Exchange, Output, Ping, Reply, Request, Text
from exchange_simulator.faults import Faults
from exchange_simulator.signatures import sign
from exchange_simulator.streams import Legacy
from exchange_simulator.symbols import catalogue
from exchange_simulator.venue import Venue

START_MS = 1_795_500_000_000 // 60_000 * 60_000  # the beginning of a minute
SYMBOLS = [rules for rules in catalogue() if rules.symbol in ("BTCUSDT", "ETHUSDT")]

KEY, SECRET = "demo-key", "demo-secret"


class Client:
    """One WebSocket of a client: what came, in order. It answers pings unless told not to."""

    def __init__(self, rig: Rig, path: str, query: str = "", ip: str = "127.0.0.1") -> None:
        self.outputs: list[Output] = []
        self.answers_pings = True
        self.connection = rig.exchange.connect(path, query, self._take, ip)

    def _take(self, output: Output) -> None:
        self.outputs.append(output)
        if isinstance(output, Ping) and self.answers_pings:
            self.connection.receive_pong(output.payload)

    def send(self, message: Any) -> None:
        self.connection.receive_text(message if isinstance(message, str) else json.dumps(message))

    def texts(self) -> list[str]:
        return [output.text for output in self.outputs if isinstance(output, Text)]

    def messages(self) -> list[Any]:
        return [json.loads(text) for text in self.texts()]

    def events(self, kind: str) -> list[Any]:
        """Return the events of one type, taken out of the combined form."""
        inner = [message.get("data", message) for message in self.messages() if isinstance(message, dict)]
        return [message for message in inner if message.get("e") == kind]

    def kinds(self) -> set[str]:
        """Return the types of the events that came; those of lists are taken apart."""
        inner = [message.get("data", message) if isinstance(message, dict) else message for message in self.messages()]
        rows = [row for item in inner for row in (item if isinstance(item, list) else [item])]
        return {row["e"] for row in rows if "e" in row}

    def trade_ids(self) -> list[int]:
        return [event["o"]["t"] for event in self.events("ORDER_TRADE_UPDATE") if event["o"]["x"] == "TRADE"]

    def ending(self) -> Output | None:
        return next((output for output in self.outputs if isinstance(output, Close | Cut)), None)


class Rig:
    """An exchange with two accounts, and a clock."""

    def __init__(self, *, seed: int = 7, legacy: Legacy = "public-only", weight_a_minute: int = 2400) -> None:
        self.now_ms = START_MS
        self.venue = Venue(SYMBOLS, clock=lambda: self.now_ms, seed=seed)
        self.venue.set_ladder("BTCUSDT", bids=[("76888", "900")], asks=[("76888.1", "900")])  # one fill for each order
        self.account = self.venue.open_account(KEY, SECRET, wallets={"USDT": "100000"})
        self.other = self.venue.open_account("other-key", "other-secret", wallets={"USDT": "100000"})
        self.faults = Faults(seed)
        self.exchange = Exchange(
            self.venue, seed=seed, faults=self.faults, legacy_streams=legacy, weight_a_minute=weight_a_minute
        )

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass, stopping wherever something is due."""
        end_ms = self.now_ms + milliseconds
        while (due_ms := self.exchange.next_due_ms()) is not None and due_ms <= end_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.exchange.advance()
        self.now_ms = end_ms
        self.exchange.advance()

    # -- HTTP

    def request(
        self, method: str, path: str, query: str = "", *, body: bytes = b"", key: str | None = None,
        headers: Mapping[str, str] | None = None, ip: str = "127.0.0.1",
    ) -> Reply:  # fmt: skip
        own = {} if key is None else {"x-mbx-apikey": key}
        return self.exchange.handle(Request(method, path, query, body, {**own, **(headers or {})}, ip))

    def signed(self, method: str, path: str, *, key: str = KEY, secret: str = SECRET, **parameters: Any) -> Reply:
        query = urlencode({**parameters, "timestamp": parameters.get("timestamp", self.now_ms)})
        return self.request(method, path, f"{query}&signature={sign(secret, query)}", key=key)

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the answer to a signed GET that succeeds."""
        reply = self.signed("GET", path, **parameters)
        assert reply.status == 200, reply
        return json.loads(reply.body)

    def listen_key(self, key: str = KEY) -> str:
        reply = self.request("POST", "/fapi/v1/listenKey", key=key)
        assert reply.status == 200, reply
        found: str = json.loads(reply.body)["listenKey"]
        return found

    # -- what happens

    def trade(self, side: str = "BUY", quantity: str = "0.01", symbol: str = "BTCUSDT", *, key: str = KEY) -> None:
        """Trade at the market."""
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity}
        self.venue.place_order(self.venue.accounts[key], order)

    def client(self, path: str, query: str = "", ip: str = "127.0.0.1") -> Client:
        return Client(self, path, query, ip)

    def user_client(self) -> Client:
        return Client(self, "/private/ws", f"listenKey={self.listen_key()}")


def error_of(reply: Reply) -> tuple[int, int, str]:
    """Return status, code and text of a refusal."""
    said = json.loads(reply.body)
    return reply.status, said["code"], said["msg"]


def sound(text: str) -> bool:
    """Say whether this is JSON, strictly read."""
    try:
        json.loads(text.encode("utf-8", "surrogateescape"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)
