"""Signatures: was this request made by whoever holds the secret, and just now?"""

from __future__ import annotations

import hashlib
import hmac

from exchange_simulator.errors import VenueError
from exchange_simulator.parameters import Parameters

RECV_WINDOW_MS = 5000
"""How old a request may be that does not say."""

_AHEAD_MS = 1000  # how far a client's clock may be ahead


def sign(secret: str, payload: str) -> str:
    """Return the HMAC-SHA256 of the payload, in hexadecimal digits."""
    return hmac.new(secret.encode(), payload.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def check_signature(secret: str, parameters: Parameters) -> None:
    """Raises: VenueError −1022 unless the signature is right; the case of its digits does not matter."""
    given = parameters.required("signature").lower().encode("utf-8", "replace")
    if not hmac.compare_digest(sign(secret, parameters.signed).encode(), given):
        raise VenueError(-1022, "Signature for this request is not valid.")


def check_time(parameters: Parameters, now_ms: int, *, longest_ms: int | None = None) -> None:
    """Raises: VenueError −1021 unless `timestamp < now + 1000` and `now − timestamp <= recvWindow`."""
    at_ms = parameters.required_integer("timestamp")
    window_ms = parameters.integer("recvWindow")
    window_ms = RECV_WINDOW_MS if window_ms is None else window_ms
    if longest_ms is not None and window_ms > longest_ms:
        raise VenueError(-1131, f"recvWindow must be less than {longest_ms}.")
    if at_ms >= now_ms + _AHEAD_MS:
        raise VenueError(-1021, f"Timestamp for this request was {_AHEAD_MS}ms ahead of the server's time.")
    if now_ms - at_ms > window_ms:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
