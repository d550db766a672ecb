"""Every fault of the simulated exchange shows in the figure that is there for it, and without faults none does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from account_monitor.monitor.ports import VENUE_STREAM
from account_monitor.monitor.quality import poor_of_account, poor_of_address
from exchange_simulator.catalogue import KINDS
from tests.simulation.desk_in_memory import API_KEY, DeskInMemory
from tests.simulation.test_feed_completeness import run, trade

Figure: TypeAlias = Callable[[DeskInMemory], bool]


class Seeded(NamedTuple):
    """A fault as it is switched on, and whether its figure shows it after a minute of trading."""

    shows: Figure
    settings: dict[str, Any]
    disconnects: bool = False
    """Whether the stream has to connect anew for the fault to strike."""


def reconnected(desk: DeskInMemory) -> bool:
    heard = desk.heard
    return bool(heard.gap_count.total and heard.reconnects and heard.gap_ms.total and heard.gaps[-1].reason)


def unreadable(desk: DeskInMemory) -> bool:
    return desk.heard.unreadable.total > 0


def unanswered(desk: DeskInMemory) -> bool:
    return failed(desk, "unanswered")


def limited(desk: DeskInMemory) -> bool:
    return failed(desk, "limited")


def failed(desk: DeskInMemory, outcome: str) -> bool:
    return desk.answering.requests[outcome].total > 0 and desk.answering.last_failure is not None


def repeated(desk: DeskInMemory) -> bool:
    return desk.heard.repeated.total > 10 and desk.heard.fills_repeated[VENUE_STREAM] > 10


def lagged(at_least_ms: int) -> Figure:
    def shows(desk: DeskInMemory) -> bool:
        recent = desk.heard.lag.recent
        return at_least_ms - CLOCK_ERROR_MS <= (recent.max_ms or 0) < at_least_ms + 3_000

    return shows


def lost(desk: DeskInMemory) -> bool:
    """The stream owed something, and was connected anew because of it."""
    return reconnected(desk) and desk.heard.untold_changes.total > 0


def told_after_statements(desk: DeskInMemory) -> bool:
    """What statements show, the stream tells of later, by less than it lags."""
    behind = desk.heard.stream_behind.recent
    return behind.size > 0 and 0 < (behind.max_ms or 0) <= 3_000 and not desk.heard.statement_behind.recent.size


def unheard_for(at_least_ms: int) -> Figure:
    return lambda desk: reconnected(desk) and desk.heard.gap_ms.total >= at_least_ms


CLOCK_ERROR_MS = 50
ONCE = {"count": 1}
STATEMENTS = {"path": "/fapi/v3/account", "count": 3}
SHOWN: dict[str, Seeded] = {
    "drop": Seeded(lost, {"rate": 0.5}),
    "drop_burst": Seeded(lost, {"count": 1, "length": 40}),
    "duplicate": Seeded(repeated, {"rate": 0.5}),
    "reorder": Seeded(lambda desk: desk.heard.disordered.total > 0, {"rate": 0.2}),
    "delay": Seeded(lagged(800), {"rate": 0.1, "ms": 800}),
    "backlog": Seeded(lambda desk: lagged(3_000)(desk) and told_after_statements(desk), {"ms": 3_000}),
    "late": Seeded(lambda desk: lagged(4_000)(desk) and desk.heard.disordered.total > 0, {"rate": 0.1, "ms": 4_000}),
    **{
        name: Seeded(unreadable, {"rate": 0.2})
        for name in ("cut_json", "concatenated", "wrong_types", "missing_key", "duplicate_key", "invalid_utf8",
                     "nested", "bad_number", "byte_order_mark")
    },
    "conflict": Seeded(lambda desk: desk.heard.contradicted.total > 0, {"rate": 0.5}),
    **{name: Seeded(reconnected, ONCE) for name in ("close_1000", "close_1006", "close_1008", "close_1011", "tcp_cut")},
    "half_open": Seeded(lost, ONCE),
    "silent": Seeded(lost, ONCE),
    "key_expired": Seeded(reconnected, ONCE),
    "key_dead": Seeded(lost, ONCE),
    "refuse_connect": Seeded(unheard_for(500), {"count": 2}, disconnects=True),
    "hang_connect": Seeded(unheard_for(9_000), ONCE, disconnects=True),
    "ban_connect": Seeded(lambda desk: desk.answering.limited_until_ms is not None, ONCE, disconnects=True),
    **{name: Seeded(limited, ONCE) for name in ("http_429", "http_418", "http_403")},
    **{
        name: Seeded(unanswered, STATEMENTS)
        for name in ("throttled", "unavailable", "http_500", "http_502", "http_503", "http_504", "html_200",
                     "empty_body", "wrong_content_type", "gzip_cut", "half_json", "slow", "hang", "reset", "cut_body")
    },
    "revoked_key": Seeded(lambda desk: failed(desk, "refused"), ONCE),
    "clock_skew": Seeded(
        lambda desk: abs((desk.answering.clock_offset_ms or 0) + 3_600_000) < 1_000 and failed(desk, "refused"),
        {"ms": 3_600_000},
    ),
    "stale_snapshot": Seeded(
        lambda desk: 2_000 <= (desk.heard.statement_behind.recent.max_ms or 0) <= 4_000, {"ms": 3_000, "rate": 0.5}
    ),
}  # fmt: skip
HARMLESS = {"extra_key", "unknown_event", "binary", "huge_frame"}
"""Messages that are read as if nothing was with them, or counted by type as unknown."""

OF_COMPARISON = {"misstated", "page_overlap", "page_missing", "page_empty", "page_short", "late_rows"}
"""Answers that are whole and wrong: only the comparison with the exchange can tell, and it does."""


def test_every_fault_is_shown_or_named_as_harmless_or_as_a_matter_of_comparison() -> None:
    assert set(KINDS) == set(SHOWN) | HARMLESS | OF_COMPARISON


async def a_minute_of_trading(desk: DeskInMemory) -> None:
    for number in range(100):
        trade(desk, "BTCUSDT", "BUY" if number % 2 else "SELL", "0.01" if number % 3 else "0.02")
        await asyncio.sleep(0.6)


@pytest.mark.parametrize("fault", sorted(SHOWN))
def test_a_fault_shows_in_its_figure(tmp_path: Path, fault: str) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=3)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            seeded = SHOWN[fault]
            assert not seeded.shows(desk)
            desk.faults.set(fault, **seeded.settings)
            if seeded.disconnects:
                desk.exchange.disconnect(API_KEY, 1006)
            await a_minute_of_trading(desk)

            assert desk.faults.struck.get(fault), "it never struck"
            assert seeded.shows(desk), (desk.heard, desk.answering)

    run(scenario())


def test_without_faults_nothing_is_poor(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=3)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            await a_minute_of_trading(desk)

            heard = desk.heard
            assert poor_of_account(heard, desk.address.server_time.now_ms()) == []
            assert poor_of_address(desk.answering) == []
            assert heard.messages.total >= 200
            assert (heard.repeated.total, heard.disordered.total, heard.unreadable.total) == (0, 0, 0)
            assert (heard.gaps, heard.untold_changes.total) == ((), 0)
            assert heard.lag.recent.max_ms is not None
            assert heard.lag.recent.max_ms <= 100

    run(scenario())


def test_harmless_faults_leave_the_figures_as_they_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=3)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            for fault in sorted(HARMLESS):
                desk.faults.set(fault, rate=0.1)
            await a_minute_of_trading(desk)

            assert set(desk.faults.struck) >= HARMLESS
            heard = desk.heard
            assert (heard.repeated.total, heard.disordered.total, heard.gaps) == (0, 0, ())

    run(scenario())


def test_a_gap_that_lasts_is_told_and_the_account_is_poor(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=3)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("refuse_connect")
            desk.exchange.disconnect(API_KEY, 1006)
            await asyncio.sleep(15)

            heard = desk.heard
            assert heard.gaps[-1].to_ms is None
            assert 14_000 <= heard.gap_ms.total <= 16_000
            poor = poor_of_account(heard, desk.address.server_time.now_ms())
            assert poor[0] == "the user stream is not heard"
            desk.faults.clear("all")
            await desk.until(lambda: desk.heard.is_heard)
            assert desk.heard.gaps[-1].to_ms is not None

    run(scenario())


def test_what_was_silent_counts_as_unheard_from_its_last_sign_of_life(tmp_path: Path) -> None:
    """An account where nothing happens: only a pong that does not come tells that the socket is half open."""

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=3)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("half_open", count=1)
            await asyncio.sleep(60)

            assert desk.heard.gap_count.total == 1
            assert 10_000 <= desk.heard.gap_ms.total <= 35_000

    run(scenario())
