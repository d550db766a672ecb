"""What if prices moved: over real sockets and in the terminal, of an account whose margins are known."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner, Result

from account_monitor.cli import commands
from account_monitor.ledger.margin import Bracket, MarginTerms
from account_monitor.monitor.monitor import Monitor
from tests.integration.test_rest import refused
from tests.integration.trading_desk import TradingDesk, eventually, get

pytestmark = pytest.mark.integration

D = Decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT")
TERMS = MarginTerms(dict.fromkeys(SYMBOLS, (Bracket(D(10**9), D("0.01"), D(0)),)), dict.fromkeys(SYMBOLS, 10))


async def judged(desk: TradingDesk) -> Monitor:
    """Return an account of 300 that is long 10 BTC at 100, and short 5 ETH at 40, margins at 1 %."""
    monitor = await desk.open(wallet="300")
    await desk.trade(
        desk.fill("BUY", "10", at="100", fee=None), desk.fill("SELL", "5", at="40", symbol="ETHUSDT", fee=None)
    )
    monitor.state_terms(TERMS)
    await eventually(lambda: monitor.view.margin.is_known)
    return monitor


async def test_the_account_before_and_after(desk: TradingDesk) -> None:
    await judged(desk)

    told = await get(desk.doors.http_url + "/api/whatif?shock=-10%")

    assert told["other_prices"] == "-10"
    assert [told[when]["equity"] for when in ("before", "after")] == ["300", "220"]
    assert told["before"]["maintenance_margin"] == "12"
    assert told["after"]["maintenance_margin"] == "10.8"
    assert told["after"]["pools"] == [
        {
            "name": "USDT", "margin_type": "cross", "maintenance_margin": "10.8", "balance": "220",
            "margin_ratio": "0.049090909090909090909090909091",
        }
    ]  # fmt: skip
    assert told["before"]["liquidations"]["BTCUSDT"] == "70.9090909"  # 1,000 − 298 = 9.9 × p
    assert told["liquidated"] == []


@pytest.mark.parametrize(
    ("query", "shocks", "others", "unrealized"),
    [
        ("shock=-10%25&symbol=BTCUSDT", {"BTCUSDT": "-10"}, "0", "-100"),
        ("shock=BTCUSDT:-10%25,ETHUSDT:%2B5%25", {"BTCUSDT": "-10", "ETHUSDT": "5"}, "0", "-110"),
        ("shock=BTCUSDT:-10,+5%25", {"BTCUSDT": "-10"}, "5", "-110"),
    ],
)
async def test_moves_are_of_one_symbol_of_several_or_of_all_others(
    desk: TradingDesk, query: str, shocks: dict[str, str], others: str, unrealized: str
) -> None:
    await judged(desk)

    told = await get(f"{desk.doors.http_url}/api/whatif?{query}")

    assert (told["shocks"], told["other_prices"]) == (shocks, others)
    assert told["after"]["unrealized_pnl"] == unrealized


async def test_what_would_be_liquidated_is_named(desk: TradingDesk) -> None:
    await judged(desk)

    told = await get(desk.doors.http_url + "/api/whatif?shock=-50%25&symbol=BTCUSDT")

    (liquidated,) = told["liquidated"]
    assert (liquidated["pool"], liquidated["positions"]) == ("USDT", ["BTCUSDT", "ETHUSDT"])
    assert 58.1 < float(liquidated["after_pct"]) < 58.2  # at 70.909, of the way from 100 to 50
    assert told["after"]["margin_ratio"] == "100"


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("", 400, "shock"),
        ("?shock=-101%25", 400, "shock: was '-101%', expected a percentage above -100 and up to 1000000"),
        ("?shock=-100%25", 400, "shock: was '-100%', expected"),
        ("?shock=NaN", 400, "shock: was 'NaN', expected"),
        ("?shock=1e999", 400, "shock: was '1e999', expected"),
        ("?shock=", 400, "shock: was '', expected"),
        ("?shock=BTCUSDT:-1,BTCUSDT:-2", 400, "shock: BTCUSDT was given twice"),
        ("?shock=1,2", 400, "shock: two were given without a symbol"),
        ("?shock=1&shock=2", 400, "shock: was given more than once"),
        ("?shock=BTCUSDT:1&symbol=BTCUSDT", 400, "symbol: was 'BTCUSDT', and every shock names its own"),
        ("?shock=" + ",".join(["1"] * 101), 400, "shock: named 101 moves, expected at most 100"),
        ("?shock=-1&symbol=NOSUCH", 404, "symbol: account main never held 'NOSUCH'"),
        ("?shock=NOSUCH:-1", 404, "symbol: account main never held 'NOSUCH'"),
        ("?shock=-1&account=nobody", 404, "nobody"),
    ],
)
async def test_anything_else_is_refused_by_name(desk: TradingDesk, query: str, status: int, detail: str) -> None:
    await judged(desk)

    assert detail in await refused(desk, f"/api/whatif{query}", status)


async def test_without_an_exchange_what_is_known_is_told(desk: TradingDesk) -> None:
    await desk.open(wallet="300")
    await desk.trade(desk.fill("BUY", "10", at="100", fee=None))

    told = await get(desk.doors.http_url + "/api/whatif?shock=-10%25")

    assert (told["after"]["equity"], told["after"]["margin_ratio"], told["liquidated"]) == ("200", None, [])


# -- in the terminal ---------------------------------------------------------------------------------------------------


async def command(desk: TradingDesk, *arguments: str) -> Result:
    """Run the command in a thread: this loop answers it."""
    given = ["whatif", "--url", desk.doors.http_url, *arguments]
    return await asyncio.to_thread(CliRunner().invoke, commands, given)


async def test_the_command_shows_now_and_then(desk: TradingDesk) -> None:
    await judged(desk)

    shown = (await command(desk, "--shock=-50%", "--symbol", "BTCUSDT")).output

    assert "if BTCUSDT -50 %" in shown
    assert any(line.split() == ["equity", "300", "-200"] for line in shown.splitlines())
    assert "cross pool USDT: BTCUSDT, ETHUSDT" in shown
    assert "nothing would be liquidated" in (await command(desk, "--shock=-1%")).output


async def test_the_command_names_what_it_refuses(desk: TradingDesk) -> None:
    await judged(desk)

    def problem(result: Result) -> Any:
        return result.output or str(result.exception)

    assert "was '-200%', expected a percentage above -100" in problem(await command(desk, "--shock=-200%"))
    assert "never held 'NOSUCH'" in problem(await command(desk, "--shock=-1%", "--symbol", "NOSUCH"))
