"""Permissions: what may an API key do that a monitor does not need? It needs to read, and nothing else.

The Spot address of the exchange tells what a key may do. Where there is none, as on test networks and behind an address
of the operator's own, only what the account may do is known, and that stands for its keys.
"""

from __future__ import annotations

from typing import NamedTuple

import structlog

from account_monitor.errors import ConfigurationError, MalformedEvent
from account_monitor.feeds.binance.answers import AccountConfig, KeyPermissions, key_permissions_of
from account_monitor.feeds.binance.budget import WeightBudget
from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.rest import BinanceRest
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.monitor.alarms import AlarmBoard

SPOT_URLS = {
    "https://fapi.binance.com": "https://api.binance.com",
    "https://demo-fapi.binance.com": "https://demo-api.binance.com",
    "https://testnet.binancefuture.com": "https://testnet.binance.vision",
}
"""The Spot address beside that of the futures; any other address is asked itself."""

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


async def check_key(
    account: str, spot: BinanceRest, requests: AccountRequests, *, refuses: bool, alarms: AlarmBoard
) -> KeyRights:
    """Raise the alarm KEY_PERMISSIONS for a key that may do more than read, or refuse the key.

    Raises: ConfigurationError where it is refused; VenueRefused, VenueUnavailable, VenueLimited.
    """
    rights = await key_rights(spot, requests)
    if not rights.beyond_reading:
        alarms.resolve(account, "KEY_PERMISSIONS")
        return rights
    if refuses:
        raise ConfigurationError(
            f"accounts.{account}.key_permissions was refuse, and {rights.text}; use a key that may only read"
        )
    alarms.fire(account, "KEY_PERMISSIONS", f"{rights.text}; a monitor needs a key that may only read")
    return rights


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
