"""What does one comparison of an account with 200 positions cost, from the exchange's answer to what is shown?

An account of 200 positions and two wallets on a real journal; the answer is what the exchange sends, 200 positions in
JSON. Measured is the processor's time: decoding, judging, proving that nothing is missing, and the new view. It is all
that happens on the event loop, so it is also how long a fill may have to wait for it.

Beside it, in the same run: what the standard library takes to decode the same answer.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

from account_monitor.clock import now_ms
from account_monitor.feeds.binance.answers import account_of
from account_monitor.feeds.binance.feed import statement_of
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.events import Anchor, Opening
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.judge import Judge
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reconciler import Reconciler, Terms
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal

POSITIONS = 200
ROUNDS = 500


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    journal = Journal.open(folder, "main", clock=now_ms)
    at_ms = now_ms()
    anchors = tuple(Anchor(f"SYM{number}USDT", "BOTH", Decimal("1.5"), Decimal(150), None, at_ms)
                    for number in range(POSITIONS))  # fmt: skip
    wallets = (("BNB", Decimal(10)), ("USDT", Decimal(100_000)))
    monitor = Monitor(
        "main", journal, JournalCheckpoints(journal, USD_ASSETS), Inbox(), clock=now_ms, monotonic=time.monotonic,
        usd_assets=USD_ASSETS, opening=Opening("config", at_ms, wallets, anchors), snapshot_seconds=1.0, has_venue=True,
    )  # fmt: skip
    await monitor.start()
    judge = Judge(time.monotonic)
    judge.start(monitor.view)
    reconciler = Reconciler(
        monitor, judge, AlarmBoard(now_ms), Terms("observe"), clock=now_ms, monotonic=time.monotonic
    )

    async def compare(body: bytes) -> bool:
        statement = statement_of(account_of(body), now_ms())
        judge.hear(statement)
        reconciler.stated(statement)
        is_exact = judge.is_exact(statement, time.monotonic())
        monitor.compared(reconciler.comparison(5.0))
        await monitor.step()
        return is_exact

    same, other = _answer("1.5"), _answer("1.6")
    assert await compare(same)
    agreeing = [await _taken(compare, same) for _ in range(ROUNDS)]
    assert not await compare(other)
    differing = [await _taken(compare, other) for _ in range(ROUNDS // 10)]
    decoding = [_spent(lambda: json.loads(same)) for _ in range(ROUNDS)]
    reference = statistics.median(decoding)
    for name, taken in (("everything agrees", agreeing), ("every position differs", differing)):
        median, worst = statistics.median(taken), sorted(taken)[len(taken) * 99 // 100]
        print(
            f"{POSITIONS} positions, {len(same) / 1024:.0f} KB, {name}: median {median * 1e3:.2f} ms,"
            f" p99 {worst * 1e3:.2f} ms of processor; json.loads of the same {reference * 1e3:.2f} ms,"
            f" so × {median / reference:.1f}"
        )
    await journal.close()


async def _taken(compare: Callable[[bytes], Awaitable[object]], body: bytes) -> float:
    started = time.process_time()
    await compare(body)
    return time.process_time() - started


def _spent(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _answer(quantity: str) -> bytes:
    """Return an answer of `/fapi/v3/account` in the exchange's form."""
    zeros = dict.fromkeys(("initialMargin", "maintMargin", "positionInitialMargin", "openOrderInitialMargin"), "0.00")
    assets = [
        {"asset": asset, "walletBalance": wallet, "unrealizedProfit": "0.00", "marginBalance": wallet, **zeros,
         "crossWalletBalance": wallet, "crossUnPnl": "0.00", "availableBalance": wallet, "maxWithdrawAmount": wallet,
         "updateTime": 1}
        for asset, wallet in (("BNB", "10.00000000"), ("USDT", "100000.00000000"))
    ]  # fmt: skip
    positions = [
        {"symbol": f"SYM{number}USDT", "positionSide": "BOTH", "positionAmt": quantity, "unrealizedProfit": "0.00",
         "isolatedMargin": "0", "notional": "150.00", "isolatedWallet": "0", "initialMargin": "7.5",
         "maintMargin": "0.6", "updateTime": 1}
        for number in range(POSITIONS)
    ]  # fmt: skip
    return json.dumps({"totalWalletBalance": "100000.00", "assets": assets, "positions": positions}).encode()
