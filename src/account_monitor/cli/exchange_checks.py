"""Exchange checks: what an account's exchange answers, asked the way the service asks it. Nothing is changed there.

Getting a listen key extends the one that a running service uses; it is never deleted here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

from account_monitor.cli.findings import Finding, Outcome
from account_monitor.config import AccountSettings, KeyPermissions
from account_monitor.errors import AccountMonitorError, MalformedEvent
from account_monitor.feeds.binance.answers import AccountConfig, server_time_of
from account_monitor.feeds.binance.messages import mark_prices
from account_monitor.feeds.binance.permissions import KeyRights, key_rights, spot_rest
from account_monitor.feeds.binance.refusals import CLOCK_IS_WRONG, VenueLimited, VenueRefused
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.rest import RECV_WINDOW_MS, BinanceRest
from account_monitor.feeds.binance.transport import Closed, Pong, Socket, Text, TransportError, shown_url
from account_monitor.feeds.binance.venue import BinanceVenue

CLOCK_WARNING_MS = 500
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0
PRICES_SECONDS = 6.0
"""Mark prices come every second."""

_HIGH_WEIGHT_PERCENT = 50

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED

_KEY_ADVICE = {
    -2014: "the API key is not one: look for missing characters or white space",
    -2015: "the key is unknown here, not bound to this machine's address, or may not read futures;"
    " keys of the test network work with testnet: true only",
    -1022: "the secret does not belong to the API key",
    CLOCK_IS_WRONG: "set this machine's clock, by NTP",
}


class ExchangeDoctor:
    """The checks of one account."""

    def __init__(self, account: AccountSettings, venue: BinanceVenue) -> None:
        assert account.api_key is not None  # the configuration refuses an exchange without keys
        assert account.secret_key is not None
        self._account = account
        self._venue = venue
        self._secrets = (account.api_key.reveal(), account.secret_key.reveal())
        key, secret = self._secrets
        self._rest: BinanceRest = venue.rest(api_key=key, secret=secret)
        self._requests = AccountRequests(self._rest)
        self._spot = spot_rest(venue, api_key=key, secret=secret)

    async def findings(self) -> AsyncIterator[Finding]:
        """Check what can be checked: without an answer by REST there is no key to try."""
        reachable = await self._check_rest()
        yield reachable
        if reachable.outcome is not FAILED:
            yield await self._check_clock()
            async for finding in self._check_account():
                yield finding
        yield await self._check_prices()
        if reachable.outcome is not FAILED:
            yield self._check_weight()

    # -- requests ------------------------------------------------------------------------------------------------------

    async def _check_rest(self) -> Finding:
        where = shown_url(self._venue.rest_url)
        try:
            await self._venue.read_contracts()
        except AccountMonitorError as error:
            if isinstance(error, VenueLimited):
                return self._finding("rest", FAILED, f"{where}: {error}", "wait, and ask less from this address")
            advice = "look at network and proxy, at testnet, and at rest_url where it is set"
            return self._finding("rest", FAILED, f"{where}: {error}", advice)
        return self._finding("rest", OK, f"{where}: answers")

    async def _check_clock(self) -> Finding:
        clock = self._venue.server_time
        try:
            await clock.refresh(self._ask_time)
        except AccountMonitorError as error:
            return self._finding("clock", FAILED, str(error))
        skew_ms, error_ms = clock.skew_ms, clock.error_ms
        assert skew_ms is not None
        assert error_ms is not None
        direction = "ahead of" if skew_ms > 0 else "behind"
        found = f"this machine is {abs(skew_ms)} ms {direction} the exchange, to within {math.ceil(error_ms)} ms"
        if abs(skew_ms) > RECV_WINDOW_MS:
            return self._finding("clock", FAILED, found, "set the clock, by NTP: requests this far off are refused")
        if abs(skew_ms) > CLOCK_WARNING_MS:
            return self._finding("clock", WARNING, found, "set the clock, by NTP")
        return self._finding("clock", OK, found)

    async def _ask_time(self) -> int:
        return server_time_of(await self._rest.get_public("/fapi/v1/time", 1, urgency="urgent"))

    async def _check_account(self) -> AsyncIterator[Finding]:
        try:
            config = await self._requests.account_config()
        except AccountMonitorError as error:
            advice = _KEY_ADVICE.get(error.code) if isinstance(error, VenueRefused) else None
            yield self._finding("api key", FAILED, str(error), advice)
            return
        yield self._finding("api key", OK, "accepted")
        yield await self._check_permissions()
        yield self._told_modes(config)
        yield await self._check_stream()

    async def _check_permissions(self) -> Finding:
        try:
            rights = await key_rights(self._spot, self._requests)
        except AccountMonitorError as error:
            return self._finding("permissions", WARNING, f"not known: {error}")
        return self._judged(rights)

    def _judged(self, rights: KeyRights) -> Finding:
        if not rights.beyond_reading:
            if rights.is_bound is False:
                return self._finding("permissions", WARNING, f"{rights.text}, from any address", "bind it to this one")
            return self._finding("permissions", OK, rights.text)
        if self._account.key_permissions is KeyPermissions.REFUSE:
            advice = "use a key that may only read: with key_permissions: refuse the account is not followed"
            return self._finding("permissions", FAILED, rights.text, advice)
        return self._finding("permissions", WARNING, rights.text, "a monitor needs a key that may only read")

    def _told_modes(self, config: AccountConfig) -> Finding:
        positions = "hedge mode: long and short apart" if config.is_hedge_mode else "one-way positions"
        assets = "multi-assets margin" if config.is_multi_assets else "single-asset margin"
        return self._finding("modes", OK, f"{positions}, {assets}")

    def _check_weight(self) -> Finding:
        budget = self._venue.budget
        found = f"{budget.used_weight} of {budget.limit} used in this minute, by everybody at this address"
        if budget.used_weight * 100 > budget.limit * _HIGH_WEIGHT_PERCENT:
            return self._finding("request weight", WARNING, found, "others ask a lot from this address")
        return self._finding("request weight", OK, found)

    # -- streams -------------------------------------------------------------------------------------------------------

    async def _check_stream(self) -> Finding:
        """Open the private socket. That it opens says nothing, not even that the key is one: it has to answer."""
        name, base = "user stream", self._venue.websocket_url.rstrip("/")
        where = f"{shown_url(base)}/private"
        try:
            key = await self._requests.obtain()
        except AccountMonitorError as error:
            return self._finding(name, FAILED, f"no listen key: {error}")
        try:
            socket = await self._venue.transport.connect(
                f"{base}/private/ws?listenKey={key}", timeout_seconds=CONNECT_SECONDS
            )
        except TransportError as error:
            return self._finding(name, FAILED, str(error).replace(key, "***"), "look at websocket_url and testnet")
        try:
            return await self._pinged(name, where, socket)
        except TransportError as error:
            return self._finding(name, FAILED, str(error).replace(key, "***"))
        finally:
            await socket.close()

    async def _pinged(self, name: str, where: str, socket: Socket) -> Finding:
        started = asyncio.get_running_loop().time()
        await socket.ping()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    match await socket.receive():
                        case Pong():
                            milliseconds = (asyncio.get_running_loop().time() - started) * 1000
                            found = f"{where}: open, answered a ping after {milliseconds:.0f} ms"
                            return self._finding(name, OK, found)
                        case Closed(code):
                            return self._finding(name, FAILED, f"{where}: closed with code {code}")
                        case Text():
                            pass  # the account trades
        except TimeoutError:
            found = f"{where}: open, and no answer to a ping within {ANSWER_SECONDS:g} s"
            return self._finding(name, FAILED, found, "look at proxies on the way")

    async def _check_prices(self) -> Finding:
        name, base = "mark prices", self._venue.websocket_url.rstrip("/")
        where = f"{shown_url(base)}/market"
        try:
            socket = await self._venue.transport.connect(
                f"{base}/market/ws/!markPrice@arr@1s", timeout_seconds=CONNECT_SECONDS
            )
        except TransportError as error:
            return self._finding(name, FAILED, str(error), "look at websocket_url and testnet")
        try:
            async with asyncio.timeout(PRICES_SECONDS):
                count = await _first_prices(socket)
        except TimeoutError:
            found = f"{where}: open, and no price within {PRICES_SECONDS:g} s"
            advice = "look at websocket_url: an address that is not routed opens, answers and delivers nothing"
            return self._finding(name, FAILED, found, advice)
        finally:
            await socket.close()
        if count is None:
            return self._finding(name, FAILED, f"{where}: closed before a price came")
        return self._finding(name, OK, f"{where}: prices come, of {count} contracts")

    def _finding(self, check: str, outcome: Outcome, found: str, advice: str | None = None) -> Finding:
        for (
            secret
        ) in self._secrets:  # nothing that is said here quotes one; should an exchange ever do, this is the end
            found = found.replace(secret, "***")
        return Finding(self._account.name, check, outcome, found, advice)


async def _first_prices(socket: Socket) -> int | None:
    """Return how many contracts the first message with prices names, None if the socket ends before."""
    while True:
        match await socket.receive():
            case Text(payload):
                try:
                    if b"markPriceUpdate" in payload and (prices := mark_prices(payload, None)):
                        return len(prices)
                except MalformedEvent:
                    pass  # the next one is a second away
            case Closed():
                return None
            case Pong():
                pass
