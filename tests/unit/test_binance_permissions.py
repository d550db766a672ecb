"""Permissions: what a key may do beyond reading, who says so, and what follows from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest

from account_monitor.feeds.binance.permissions import KeyCheck, key_rights, spot_rest
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.rest import BinanceRest
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import HttpReply
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.monitor.alarms import AlarmBoard
from tests.simulation.virtual_time import run_virtual

RESTRICTIONS = {"ipRestrict": True, "enableReading": True, "enableWithdrawals": False, "enableFutures": False,
                "enableInternalTransfer": False, "permitsUniversalTransfer": False,
                "enableSpotAndMarginTrading": False}  # fmt: skip
CONFIG = {"canTrade": True, "canWithdraw": False, "dualSidePosition": False, "multiAssetsMargin": False}
UNKNOWN_PATH = (404, {"code": -5000, "msg": "Path is invalid"})
BAD_KEY = (401, {"code": -2015, "msg": "Invalid API-key"})


class Answers:
    """A transport that answers by path; `asked` are the addresses without their queries."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self.answers = {"/fapi/v1/time": (200, {"serverTime": 1}), "/api/v3/time": (200, {"serverTime": 1}), **answers}
        self.asked: list[str] = []

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        address = url.partition("?")[0]
        self.asked.append(address)
        status, body = next(answer for path, answer in self.answers.items() if address.endswith(path))
        return HttpReply(status, {"content-type": "application/json"}, json.dumps(body).encode())

    async def connect(self, url: str, *, timeout_seconds: float) -> NoReturn:
        raise AssertionError(url)


def both(transport: Answers, url: str = "https://fapi.binance.com") -> tuple[BinanceRest, AccountRequests]:
    venue = BinanceVenue(url, "wss://fstream.binance.com", transport, ServerTime())
    requests = AccountRequests(venue.rest(api_key="key", secret="secret"))
    return spot_rest(venue, api_key="key", secret="secret"), requests


def stating(restrictions: Mapping[str, object] | None, config: Mapping[str, object] = CONFIG) -> Answers:
    stated = UNKNOWN_PATH if restrictions is None else (200, restrictions)
    return Answers({"/sapi/v1/account/apiRestrictions": stated, "/fapi/v1/accountConfig": (200, config)})


@pytest.mark.parametrize(
    ("also", "beyond"),
    [
        ({}, ()),
        ({"enableFutures": True}, ("trade futures",)),
        ({"enableSpotAndMarginTrading": True, "enableWithdrawals": True}, ("trade spot and margin", "withdraw")),
        ({"permitsUniversalTransfer": True}, ("transfer",)),
        ({"enableInternalTransfer": True}, ("transfer",)),
    ],
)
async def test_the_spot_address_says_what_a_key_may_do(also: dict[str, bool], beyond: tuple[str, ...]) -> None:
    transport = stating({**RESTRICTIONS, **also})

    rights = await key_rights(*both(transport))

    assert rights.beyond_reading == beyond
    assert (rights.is_stated, rights.is_bound) == (True, True)
    assert "https://api.binance.com/sapi/v1/account/apiRestrictions" in transport.asked


async def test_where_nobody_speaks_of_the_key_the_account_stands_for_it() -> None:
    transport = stating(None)

    rights = await key_rights(*both(transport, "http://127.0.0.1:9100"))

    assert (rights.beyond_reading, rights.is_stated) == (("trade",), False)
    assert "the exchange does not say" in rights.text
    assert "http://127.0.0.1:9100/sapi/v1/account/apiRestrictions" in transport.asked


class Checked:
    """A check that runs in virtual time, on answers that may change meanwhile."""

    def __init__(self, transport: Answers, *, refuses: bool = False) -> None:
        self.transport = transport
        self.alarms = AlarmBoard(lambda: 0)
        self.check = KeyCheck("main", *both(transport), refuses=refuses, alarms=self.alarms)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.check.run())
        await asyncio.sleep(1)
        try:
            yield
        finally:
            task.cancel()

    def change(self, restrictions: Mapping[str, object]) -> None:
        self.transport.answers["/sapi/v1/account/apiRestrictions"] = (200, restrictions)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(alarm.alert.type, alarm.alert.severity) for alarm in self.alarms.open()]


TRADING = {**RESTRICTIONS, "enableFutures": True}


def test_a_key_that_may_do_more_is_told_of_and_looked_at_again_the_next_day() -> None:
    async def scenario() -> None:
        checked = Checked(stating(TRADING))
        async with checked.running():
            assert checked.check.unready is None
            assert checked.told == [("KEY_PERMISSIONS", "WARNING")]
            assert "trade futures" in checked.alarms.open()[0].alert.message

            checked.change(RESTRICTIONS)
            await asyncio.sleep(23 * 3600)
            assert checked.told
            await asyncio.sleep(2 * 3600)
            assert checked.told == []

    run_virtual(scenario())


def test_an_account_whose_key_is_refused_waits_until_the_key_is_mended() -> None:
    async def scenario() -> None:
        checked = Checked(stating(TRADING), refuses=True)
        async with checked.running():
            waiting = asyncio.create_task(checked.check.passed())
            await asyncio.sleep(300)
            assert not waiting.done()
            assert checked.told == [("KEY_PERMISSIONS", "CRITICAL")]
            assert "trade futures" in str(checked.check.unready)

            checked.change(RESTRICTIONS)
            await asyncio.sleep(61)
            assert waiting.done()
            assert (checked.check.unready, checked.told) == (None, [])

    run_virtual(scenario())


def test_rights_that_a_key_is_given_later_are_told_of_and_stop_nothing() -> None:
    async def scenario() -> None:
        checked = Checked(stating(RESTRICTIONS), refuses=True)
        async with checked.running():
            checked.change(TRADING)
            await asyncio.sleep(25 * 3600)
            assert checked.told == [("KEY_PERMISSIONS", "CRITICAL")]
            assert checked.check.unready is None

    run_virtual(scenario())


def test_what_an_account_may_do_is_no_alarm_and_a_refusal_all_the_same() -> None:
    async def scenario() -> None:
        warned, refused = Checked(stating(None)), Checked(stating(None), refuses=True)
        async with warned.running(), refused.running():
            assert (warned.told, warned.check.unready) == ([], None)
            assert refused.told == [("KEY_PERMISSIONS", "CRITICAL")]
            assert "may trade" in str(refused.check.unready)

    run_virtual(scenario())


def test_what_nobody_answers_is_not_taken_for_harmless() -> None:
    async def scenario() -> None:
        transport = Answers({"/sapi/v1/account/apiRestrictions": BAD_KEY, "/fapi/v1/accountConfig": BAD_KEY})
        checked = Checked(transport, refuses=True)
        async with checked.running():
            assert "-2015" in str(checked.check.unready)
            checked.change(RESTRICTIONS)
            await asyncio.sleep(61)
            assert checked.check.unready is None

    run_virtual(scenario())
