"""Permissions: what a key may do beyond reading, who says so, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest

from account_monitor.errors import ConfigurationError
from account_monitor.feeds.binance.permissions import check_key, key_rights, spot_rest
from account_monitor.feeds.binance.refusals import VenueRefused
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.rest import BinanceRest
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import HttpReply
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.monitor.alarms import AlarmBoard

RESTRICTIONS = {"ipRestrict": True, "enableReading": True, "enableWithdrawals": False, "enableFutures": False,
                "enableInternalTransfer": False, "permitsUniversalTransfer": False,
                "enableSpotAndMarginTrading": False}  # fmt: skip
CONFIG = {"canTrade": True, "canWithdraw": False, "dualSidePosition": False, "multiAssetsMargin": False}
UNKNOWN_PATH = (404, {"code": -5000, "msg": "Path is invalid"})
BAD_KEY = (401, {"code": -2015, "msg": "Invalid API-key"})


class Answers:
    """A transport that answers by path; `asked` are the addresses without their queries."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self._answers = {"/fapi/v1/time": (200, {"serverTime": 1}), "/api/v3/time": (200, {"serverTime": 1}), **answers}
        self.asked: list[str] = []

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        address = url.partition("?")[0]
        self.asked.append(address)
        status, body = next(answer for path, answer in self._answers.items() if address.endswith(path))
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


async def test_a_key_that_may_only_read_raises_nothing_and_ends_the_alarm() -> None:
    alarms = AlarmBoard(lambda: 0)
    await check_key("main", *both(stating({**RESTRICTIONS, "enableWithdrawals": True})), refuses=False, alarms=alarms)
    assert [(alarm.kind, "withdraw" in alarm.message) for alarm in alarms.open()] == [("KEY_PERMISSIONS", True)]

    await check_key("main", *both(stating(RESTRICTIONS)), refuses=True, alarms=alarms)
    assert alarms.open() == []


async def test_a_key_that_may_do_more_is_refused_by_name_where_that_was_asked_for() -> None:
    alarms = AlarmBoard(lambda: 0)

    with pytest.raises(ConfigurationError, match=r"accounts\.main\.key_permissions.*trade futures"):
        await check_key("main", *both(stating({**RESTRICTIONS, "enableFutures": True})), refuses=True, alarms=alarms)

    assert alarms.open() == []


async def test_what_nobody_answers_is_not_taken_for_harmless() -> None:
    transport = Answers({"/sapi/v1/account/apiRestrictions": BAD_KEY, "/fapi/v1/accountConfig": BAD_KEY})

    with pytest.raises(VenueRefused):
        await check_key("main", *both(transport), refuses=True, alarms=AlarmBoard(lambda: 0))
