"""A simulated exchange in a process of its own, which trades when told to and remembers what clients asked for.

Its clock and that of the benchmark are the same (`time.monotonic` counts for the whole machine), so it can say when a
message left.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import uvloop

from account_monitor.config import AccountSettings
from account_monitor.config.secrets import Secret
from exchange_simulator.accounts import Account
from exchange_simulator.admin import Admin
from exchange_simulator.bots import TradingBot
from exchange_simulator.clock import Clock
from exchange_simulator.exchange import Exchange, Reply, Request
from exchange_simulator.money import UNIT, trimmed
from exchange_simulator.server import Server
from exchange_simulator.symbols import SymbolRules, catalogue, rules
from exchange_simulator.venue import Venue

UNLIMITED = 1_000_000
SECRET = "s" * 64
STATEMENT = "/fapi/v3/account"

_ROUND = ("SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "BNBUSDT")
_ROUND_NOTIONAL = 100  # of an order, in dollars: nearly always one fill
_END_SECONDS = 10.0


class Report(NamedTuple):
    """What the exchange saw. Times are `time.monotonic`."""

    messages: int
    """Of user streams."""
    trades: dict[str, float]
    """By `symbol:trade id`, when its ORDER_TRADE_UPDATE left."""
    statements: dict[str, list[float]]
    """By API key, when the account's state was answered."""
    weights: list[int]
    """Used in each minute of the exchange's clock, the first and the last of them cut."""
    answers: dict[str, int]
    """Requests by HTTP status."""
    violations: int
    """Requests that came although the exchange had said that none may."""
    wallets: dict[str, str]
    """Of the first account."""


class ExchangeProcess:
    """The exchange for the length of a `with` block.

    `messages`: of user streams a second, by a bot on the first account; or `orders`: small ones a second, by all
    accounts in turn. `symbols`: as many contracts, None for the usual ones.
    """

    def __init__(
        self, *, accounts: int = 1, messages: int = 0, orders: int = 0, symbols: int | None = None,
        weight: int = UNLIMITED,
    ) -> None:  # fmt: skip
        self.rest_url = ""
        self.websocket_url = ""
        self._count = accounts
        self._options = [accounts, messages, orders, symbols, weight]
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.exchange", json.dumps(self._options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = self._answer()
        self.rest_url, self.websocket_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.communicate(timeout=_END_SECONDS)
        finally:
            self._process.kill()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def account(self, number: int = 0) -> AccountSettings:
        """Return the settings of an account that lives there."""
        return AccountSettings(
            name=api_key(number),
            rest_url=self.rest_url,
            websocket_url=self.websocket_url,
            api_key=Secret(api_key(number)),
            secret_key=Secret(SECRET),
        )

    def documents(self) -> list[dict[str, Any]]:
        """Return the configuration of all accounts; `environment` has their keys."""
        return [
            {"name": api_key(n), "rest_url": self.rest_url, "websocket_url": self.websocket_url,
             "api_key_env": f"BENCH_KEY_{n}", "secret_key_env": "BENCH_SECRET"}
            for n in range(self._count)
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Return the variables that `documents` names."""
        return {"BENCH_SECRET": SECRET} | {f"BENCH_KEY_{n}": api_key(n) for n in range(self._count)}

    def trade(self) -> None:
        """Begin to trade."""
        self._tell("trade")

    def stop(self) -> None:
        """End trading."""
        self._tell("stop")

    def report(self) -> Report:
        """Return what the exchange saw so far."""
        self._tell("report")
        return Report(*self._answer())

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def api_key(number: int) -> str:
    """Return the API key of an account, which is its name too."""
    return f"desk{number:03}"


def contracts(count: int) -> tuple[SymbolRules, ...]:
    """Return as many perpetuals, with the usual ones among them."""
    usual = catalogue()
    more = [rules(f"BENCH{n:04}USDT", "12.345", tick="0.001", step="0.1") for n in range(count - len(usual))]
    return (*usual, *more)[:count]


# -- the other process -------------------------------------------------------------------------------------------------


class _Watched(Exchange):
    """An exchange that remembers requests, and says in exchangeInfo what its limit is."""

    def __init__(self, venue: Venue, *, weight: int) -> None:
        super().__init__(venue, seed=1, weight_a_minute=weight)
        self.answers: Counter[int] = Counter()
        self.statements: defaultdict[str, list[float]] = defaultdict(list)
        self.weights: dict[int, int] = {}
        self._limit = f'"limit":{weight}'.encode()

    def handle(self, request: Request) -> Reply:
        reply = super().handle(request)
        self.answers[reply.status] += 1
        self.weights[self.venue.now() // 60_000] = self.limits.used_weight(request.ip)
        if request.path == STATEMENT and reply.status == 200:
            self.statements[request.headers["x-mbx-apikey"]].append(time.monotonic())
        if request.path == "/fapi/v1/exchangeInfo":
            return reply._replace(body=reply.body.replace(b'"limit":2400', self._limit))
        return reply


class _Floor:
    """The exchange, and who trades on it."""

    def __init__(self, accounts: int, messages: int, orders: int, symbols: int | None, weight: int) -> None:
        clock = Clock()
        self.venue = Venue(None if symbols is None else contracts(symbols), clock=clock, seed=1, moving=True)
        self.accounts = [
            self.venue.open_account(api_key(n), SECRET, wallets={"USDT": "1000000"}) for n in range(accounts)
        ]
        self.messages = 0
        self.trades: dict[str, float] = {}
        self.venue.on_user_event.append(self._note)  # before the exchange puts it on the wire
        self.exchange = _Watched(self.venue, weight=weight)
        self.server = Server(self.exchange, Admin(self.exchange, clock.shift))
        self._bot = TradingBot(self.venue, self.accounts[0], seed=1)
        self._placed = 0
        self._work: tuple[int, Callable[[], int]] = (messages, self._by_bot) if messages else (orders, self._in_turn)

    def _note(self, account: Account, event: dict[str, Any]) -> None:
        self.messages += 1
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE":
            self.trades[f"{event['o']['s']}:{event['o']['t']}"] = time.monotonic()

    async def trade(self) -> None:
        """Keep to the rate, one action at a time."""
        a_second, act = self._work
        started, before = time.monotonic(), act()
        while True:
            due = started + (act() - before) / a_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _by_bot(self) -> int:
        self._bot.step()
        return self.messages

    def _in_turn(self) -> int:
        """Let the next account buy or sell a little: a round in, and then two rounds in, two rounds out, never flat."""
        number, account = self._placed // len(self.accounts), self.accounts[self._placed % len(self.accounts)]
        contract = self.venue.symbols[_ROUND[number % len(_ROUND)]]
        steps = _ROUND_NOTIONAL * UNIT * UNIT // contract.first_price // contract.step
        side = "SELL" if number >= len(_ROUND) and (number // len(_ROUND) - 1) // 2 % 2 else "BUY"
        order = {"symbol": contract.symbol, "side": side, "type": "MARKET", "quantity": trimmed(steps * contract.step)}
        self.venue.place_order(account, order)
        self._placed += 1
        return self._placed

    def report(self) -> Report:
        exchange = self.exchange
        return Report(
            self.messages,
            self.trades,
            exchange.statements,
            list(exchange.weights.values()),
            {str(status): count for status, count in exchange.answers.items()},
            exchange.limits.violations,
            self.venue.books(self.accounts[0])["wallets"],
        )


async def _serve(options: list[Any]) -> None:
    floor = _Floor(*options)
    print(await floor.server.start("127.0.0.1", 0), flush=True)
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    trading: asyncio.Task[None] | None = None
    while word := (await words.readline()).decode().strip():
        if word == "report":
            print(json.dumps(floor.report()), flush=True)
        elif trading is not None:
            if trading.done():
                trading.result()
            trading.cancel()
        if word == "trade":
            trading = asyncio.create_task(floor.trade())
    await floor.server.stop()


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.argv[1])))
