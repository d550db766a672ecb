"""Hints: what the library's word for a failed connection means, and what to give the client instead."""

from __future__ import annotations

from collections.abc import Iterable

from grpc import StatusCode

_LASTING = (
    ("CERTIFICATE_VERIFY_FAILED", "the certificate there is not trusted; expected tls=Tls(ca=...) of who signed it"),
    ("Hostname Verification", "the certificate there is for another name; expected an address that it names"),
    ("Peer name", "the certificate there is for another name; expected an address that it names"),
    ("WRONG_VERSION_NUMBER", "no TLS is spoken there; expected no tls="),
    ("Failed to create security handshaker", "tls= holds a PEM that cannot be used, or a key of another certificate"),
)
"""Whoever tries again meets the same."""

_PLAIN = "a port of TLS closes what comes without it; expected tls=Tls(...) if it is one"
_TOKEN = "expected token=... that is valid"  # noqa: S105  # no secret: how to give one


def is_lasting(detail: str) -> bool:
    """Whether a connection fails for a reason that time does not mend."""
    return any(mark in detail for mark, _ in _LASTING)


def explained(status: StatusCode, detail: str, *, is_tls: bool) -> str:
    """Return a detail with what is to be done about it, where that is known."""
    return "; ".join([detail, *_hints(status, detail, is_tls=is_tls)])


def _hints(status: StatusCode, detail: str, *, is_tls: bool) -> Iterable[str]:
    if status is StatusCode.UNAUTHENTICATED:
        yield _TOKEN
    elif status is StatusCode.UNAVAILABLE:
        if not is_tls and "failed to connect" in detail and "Socket closed" in detail:  # not one that was open
            yield _PLAIN
        yield from (hint for mark, hint in _LASTING if mark in detail)
