"""Permissions: what may an API key do that a monitor does not need? It needs to read, and nothing else.

The Spot address of the exchange tells what a key may do. Where there is none, as on test networks and behind an address
of the operator's own, only what the account may do is known, and that stands for its keys.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.answers import AccountConfig, KeyPermissions, key_permissions_of
from account_monitor.feeds.binance.budget import WeightBudget
from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.rest import BinanceRest
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.ledger.alerts import Severity
from account_monitor.monitor.alarms import AlarmBoard

SPOT_URLS = {
    "https://fapi.binance.com": "https://api.binance.com",
    "https://demo-fapi.binance.com": "https://demo-api.binance.com",
    "https://testnet.binancefuture.com": "https://testnet.binance.vision",
}
"""The Spot address beside that of the futures; any other address is asked itself."""

EVERY_SECONDS = 24 * 3_600.0
AGAIN_SECONDS = 60.0
"""Until the next look where the last one found nothing out, or too much."""

_PATH = "/sapi/v1/account/apiRestrictions"
_WEIGHT = 1
_TIMEOUT_SECONDS = 5.0

log = structlog.get_logger(__name__)


class KeyRights(NamedTuple):
    """What a key may do beyond reading, such as `trade futures`.

    `is_stated`: the exchange spoke of the key itself, not only of the account. `is_bound`: the key works from certain
    addresses only; None where nobody says.
    """

    beyond_reading: tuple[str, ...]
    is_stated: bool
    is_bound: bool | None

    @property
    def text(self) -> str:
        """Say it in words."""
        who = "the API key" if self.is_stated else "the account"
        if not self.beyond_reading:
            return f"{who} may read and nothing else"
        rights = f"{who} may {' and '.join(self.beyond_reading)}"
        return rights if self.is_stated else f"{rights}; whether its API key may, the exchange does not say"


def spot_rest(venue: BinanceVenue, *, api_key: str, secret: str) -> BinanceRest:
    """Return the requests to the Spot address, which counts weight by itself: a ban there is none here."""
    url = venue.rest_url.rstrip("/")
    return BinanceRest(
        SPOT_URLS.get(url, url),
        venue.transport,
        WeightBudget(venue.server_time.now_ms),
        venue.server_time,
        api_key=api_key,
        secret=secret,
        timeout_seconds=_TIMEOUT_SECONDS,
        time_path="/api/v3/time",
    )


async def key_rights(spot: BinanceRest, requests: AccountRequests) -> KeyRights:
    """Return what the key may do, as far as anybody says. Raises: VenueRefused, VenueUnavailable, VenueLimited."""
    try:
        return _of_key(key_permissions_of(await spot.get(_PATH, _WEIGHT)))
    except (VenueRefused, VenueUnavailable, VenueLimited, MalformedEvent) as error:
        log.info("key_permissions_not_stated", reason=str(error))
    return _of_account(await requests.account_config())


class KeyCheck:
    """Asks at the start, and then every day, what the key of an account may do, and tells people of what is too much.

    `refuses`: the account may not be followed before its key is known to be harmless. Rights that a key is given later
    are told of, and do not end anything: to be blind would be worse.
    """

    def __init__(
        self, account: str, spot: BinanceRest, requests: AccountRequests, *, refuses: bool, alarms: AlarmBoard
    ) -> None:
        self.unready: str | None = "what its API key may do is not known yet" if refuses else None
        """Why the account may not be followed; None once it may."""
        self._account = account
        self._spot = spot
        self._requests = requests
        self._refuses = refuses
        self._alarms = alarms
        self._passed = asyncio.Event()
        if not refuses:
            self._passed.set()
        self._unknown: str | None = None

    async def passed(self) -> None:
        """Return once the account may be followed."""
        await self._passed.wait()

    async def run(self) -> None:
        """Ask until cancelled; soon again after what is unknown or refused, so that a mended key is enough."""
        while True:
            is_done = await self._check()
            await asyncio.sleep(EVERY_SECONDS if is_done else AGAIN_SECONDS)

    async def _check(self) -> bool:
        """Look once; return whether that was all for today."""
        try:
            rights = await key_rights(self._spot, self._requests)
        except (VenueRefused, VenueUnavailable, VenueLimited) as error:
            self._note_unknown(str(error))
            return False
        self._unknown = None
        if not rights.beyond_reading:
            self._alarms.resolve(self._account, "KEY_PERMISSIONS")
            self.unready = None
            self._passed.set()
            return True
        if self._refuses:
            self._tell(rights, "CRITICAL")
            if not self._passed.is_set():
                self.unready = f"key_permissions is refuse, and {rights.text}; it needs a key that may only read"
            return False
        if rights.is_stated:
            self._tell(rights, "WARNING")
        else:
            self._alarms.resolve(self._account, "KEY_PERMISSIONS")
            log.info("key_permissions", account=self._account, known=rights.text)  # true of nearly every account
        return True

    def _tell(self, rights: KeyRights, severity: Severity) -> None:
        text = f"{rights.text}; a monitor needs a key that may only read"
        self._alarms.fire(self._account, "KEY_PERMISSIONS", text, severity=severity)

    def _note_unknown(self, reason: str) -> None:
        if self._unknown != reason:
            log.warning("key_permissions_not_known", account=self._account, reason=reason)
        self._unknown = reason
        if not self._passed.is_set():
            self.unready = f"what its API key may do is not known: {reason}"


def _of_key(said: KeyPermissions) -> KeyRights:
    rights = (
        ("trade futures", said.may_trade_futures),
        ("trade spot and margin", said.may_trade_spot),
        ("transfer", said.may_transfer),
        ("withdraw", said.may_withdraw),
    )
    return KeyRights(tuple(name for name, has in rights if has), True, said.is_bound_to_addresses)


def _of_account(said: AccountConfig) -> KeyRights:
    rights = (("trade", said.can_trade), ("withdraw", said.can_withdraw))
    return KeyRights(tuple(name for name, has in rights if has), False, None)
