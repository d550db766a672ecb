"""Origin: what counts as one where connections, calls, wrong tokens and requests are counted by address?"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_IPV6_SITE_BITS = 64
"""One host has at least so many bits to choose its addresses from."""


@lru_cache(maxsize=1024)
def origin_of(address: str) -> str:
    """Return an address as it is counted: IPv4 as itself, also where it comes as IPv6; of IPv6 the network of 64 bits
    that one machine has to itself; what is no address as it is.
    """
    known = _parsed(address)
    if isinstance(known, ipaddress.IPv6Address) and not known.is_loopback:
        return str(ipaddress.ip_network((known, _IPV6_SITE_BITS), strict=False))
    return address if known is None else str(known)


@lru_cache(maxsize=1024)
def is_this_machine(address: str) -> bool:
    """Whether an address is this machine's own, on loopback: a proxy there has the connections of many."""
    known = _parsed(address)
    return known is not None and known.is_loopback


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (known.ipv4_mapped or known) if isinstance(known, ipaddress.IPv6Address) else known
