"""Limits: how much has an address or an account asked for, and when is it sent away?

Windows are fixed minutes of the venue's clock, as the real counters are. Whoever goes on after a 429 is banned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from exchange_simulator.errors import VenueError

WEIGHT_A_MINUTE = 2400
ORDERS_A_MINUTE = 1200
ORDERS_IN_10_SECONDS = 300
FUNDING_IN_5_MINUTES = 500

MINUTE_MS = 60_000
_IGNORED_LIMITS = 5  # requests of an address that was told to wait, until it is banned
_BANS_MS = (120_000, 600_000, 3_600_000, 21_600_000, 86_400_000, 259_200_000)  # 2 minutes, growing to 3 days
_FORGIVEN_MS = 86_400_000  # after a day without a ban the next one is short again
_MOST_ADDRESSES = 10_000  # remembered at once; the oldest are forgotten first
_UNRULY_SOCKETS = 5  # sockets closed within five minutes for too many messages, until the address is banned
_UNRULY_MS = 300_000


class Limited(Exception):
    """The request was not looked at."""

    def __init__(self, status: int, message: str, until_ms: int, now_ms: int) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.until_ms = until_ms
        self.retry_after_seconds = max(1, -(-(until_ms - now_ms) // 1000))


@dataclass(slots=True)
class _Address:
    window: int = -1
    weight: int = 0
    wait_until_ms: int = 0  # as the last 429 said
    refused: int = 0  # since it was sent away, itself included
    funding_window: int = -1
    funding: int = 0
    banned_until_ms: int = 0
    bans: int = 0
    unruly_ms: list[int] = field(default_factory=list)


@dataclass(slots=True)
class OrderCounts:
    """Orders of an account in the current 10 seconds and in the current minute."""

    second_window: int = -1
    in_10_seconds: int = 0
    minute_window: int = -1
    in_minute: int = 0

    def headers(self) -> dict[str, str]:
        return {
            "X-MBX-ORDER-COUNT-10S": str(self.in_10_seconds),
            "X-MBX-ORDER-COUNT-1M": str(self.in_minute),
        }


class Limits:
    """The counters of all addresses and accounts."""

    def __init__(self, clock: Callable[[], int], *, weight_a_minute: int = WEIGHT_A_MINUTE) -> None:
        self._clock = clock
        self._weight_a_minute = weight_a_minute
        self._addresses: dict[str, _Address] = {}
        self._orders: dict[str, OrderCounts] = {}
        self.violations = 0
        """Requests that arrived although their address had been told to wait."""

    def used_weight(self, ip: str) -> int:
        address = self._addresses.get(ip)
        return address.weight if address and address.window == self._clock() // MINUTE_MS else 0

    def is_banned(self, ip: str) -> bool:
        address = self._addresses.get(ip)
        return address is not None and self._clock() < address.banned_until_ms

    def take(self, ip: str, weight: int) -> None:
        """Count a request. Raises: Limited with 429 over the limit, with 418 for whoever goes on."""
        now = self._clock()
        address = self._address(ip)
        self._turn(address, now)
        if now < address.banned_until_ms:
            self.violations += 1
            raise self._banned(address, now)
        address.weight += weight
        if now < address.wait_until_ms:
            self.violations += 1
        elif address.weight <= self._weight_a_minute:
            return
        else:
            address.wait_until_ms = (now // MINUTE_MS + 1) * MINUTE_MS
            address.refused = 0
        address.refused += 1
        if address.refused > _IGNORED_LIMITS:
            self._ban(address, now)
            raise self._banned(address, now)
        raise self._exceeded(address.wait_until_ms, now)

    def tell_off(self, ip: str, seconds: int | None = None) -> Limited:
        """Return a 429 as if the limit had been exceeded; the address is expected to be silent from now on."""
        now = self._clock()
        address = self._address(ip)
        self._turn(address, now)
        until_ms = (now // MINUTE_MS + 1) * MINUTE_MS if seconds is None else now + seconds * 1000
        address.wait_until_ms = max(address.wait_until_ms, until_ms)
        address.refused = 1
        return self._exceeded(address.wait_until_ms, now)

    def ban(self, ip: str, seconds: int | None = None) -> Limited:
        """Ban an address, for as long as it has earned or for `seconds`. Return the 418."""
        now = self._clock()
        address = self._address(ip)
        self._ban(address, now)
        if seconds is not None:
            address.banned_until_ms = now + seconds * 1000
        return self._banned(address, now)

    def lift_bans(self) -> None:
        """Forget every ban and every 429."""
        self._addresses.clear()

    def take_funding(self, ip: str) -> None:
        """Count a call of fundingRate or fundingInfo, which share a limit of their own. Raises: Limited."""
        now = self._clock()
        address = self._address(ip)
        window = now // (5 * MINUTE_MS)
        if address.funding_window != window:
            address.funding_window, address.funding = window, 0
        address.funding += 1
        if address.funding > FUNDING_IN_5_MINUTES:
            raise Limited(
                429, f"Too many requests; current limit is {FUNDING_IN_5_MINUTES} requests per 5 minutes.",
                (window + 1) * 5 * MINUTE_MS, now,
            )  # fmt: skip

    def take_orders(self, api_key: str, count: int) -> OrderCounts:
        """Count new orders of an account. Raises: VenueError −1015 over the limit."""
        counts = self.orders(api_key)
        counts.in_10_seconds += count
        counts.in_minute += count
        if counts.in_10_seconds > ORDERS_IN_10_SECONDS:
            raise _too_many_orders(ORDERS_IN_10_SECONDS, "10 SECONDS")
        if counts.in_minute > ORDERS_A_MINUTE:
            raise _too_many_orders(ORDERS_A_MINUTE, "MINUTE")
        return counts

    def orders(self, api_key: str) -> OrderCounts:
        """Return the orders counted for an account until now."""
        now = self._clock()
        counts = self._orders.setdefault(api_key, OrderCounts())
        if counts.second_window != now // 10_000:
            counts.second_window, counts.in_10_seconds = now // 10_000, 0
        if counts.minute_window != now // MINUTE_MS:
            counts.minute_window, counts.in_minute = now // MINUTE_MS, 0
        return counts

    def note_unruly_socket(self, ip: str) -> None:
        """Note a socket that was closed for sending too much; an address that keeps doing so is banned."""
        now = self._clock()
        address = self._address(ip)
        address.unruly_ms = [at for at in address.unruly_ms if now - at < _UNRULY_MS] + [now]
        if len(address.unruly_ms) >= _UNRULY_SOCKETS:
            address.unruly_ms.clear()
            self._ban(address, now)

    def banned(self, ip: str) -> Limited:
        """Return the 418 of an address that is banned."""
        return self._banned(self._address(ip), self._clock())

    def _address(self, ip: str) -> _Address:
        address = self._addresses.get(ip)
        if address is None:
            if len(self._addresses) >= _MOST_ADDRESSES:
                del self._addresses[next(iter(self._addresses))]
            address = self._addresses[ip] = _Address()
        return address

    def _turn(self, address: _Address, now: int) -> None:
        if address.window != now // MINUTE_MS:
            address.window = now // MINUTE_MS
            address.weight = 0

    def _ban(self, address: _Address, now: int) -> None:
        if now - address.banned_until_ms > _FORGIVEN_MS:
            address.bans = 0
        address.banned_until_ms = now + _BANS_MS[min(address.bans, len(_BANS_MS) - 1)]
        address.bans += 1

    def _exceeded(self, until_ms: int, now: int) -> Limited:
        text = (
            f"Too many requests; current limit is {self._weight_a_minute} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
        return Limited(429, text, until_ms, now)

    def _banned(self, address: _Address, now: int) -> Limited:
        text = (
            f"Way too many requests; IP banned until {address.banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
        return Limited(418, text, address.banned_until_ms, now)


def _too_many_orders(most: int, interval: str) -> VenueError:
    return VenueError(-1015, f"Too many new orders; current limit is {most} orders per {interval}.", 429)
