"""Line: how the service is reached: address, TLS, token, and what keeps a connection alive."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import grpc

SERVICE = "/account_monitor.v1.AccountMonitor/"

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""An account of some 100,000 positions."""

_SECOND = 1_000
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # A service that is gone without a goodbye is noticed within 20 + 10 s, and missed no longer than 5 s.
    ("grpc.keepalive_time_ms", 20 * _SECOND),
    ("grpc.keepalive_timeout_ms", 10 * _SECOND),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5 * _SECOND),
)

Pem: TypeAlias = bytes | str | Path
"""What PEM says, or the path of a file with it. A text with `-----BEGIN` is no path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Encrypt the line. `ca` None: the certificate authorities of this machine are trusted."""

    ca: Pem | None = None
    cert: Pem | None = None
    """Of this client, where the service asks for one; with `key`."""
    key: Pem | None = field(default=None, repr=False)

    def credentials(self) -> grpc.ChannelCredentials:
        """Return it as gRPC wants it. Files are read now.

        Raises: OSError for a file that cannot be read, ValueError for what is not PEM, or half of a pair.
        """
        if (self.cert is None) != (self.key is None):
            given, missing = ("cert", "key") if self.key is None else ("key", "cert")
            raise ValueError(f"Tls: {given} was given without {missing}, expected both or none")
        ca = _pem("ca", self.ca, "CERTIFICATE")
        if ca is not None:
            _check_authority(ca)
        return grpc.ssl_channel_credentials(
            ca, _pem("key", self.key, "PRIVATE KEY"), _pem("cert", self.cert, "CERTIFICATE")
        )


def metadata_of(token: str | None) -> tuple[tuple[str, str], ...]:
    """Return what every call says of who asks; white space around a token, as a file ends with, is no part of it.

    Raises: ValueError for what no token can be.
    """
    if token is None:
        return ()
    bare = token.strip()
    if not bare:
        raise ValueError("token: was empty, expected one that `account-monitor token create` made, or None")
    for number, character in enumerate(bare, start=1):
        if not "!" <= character <= "~":  # never shown: it is a part of a secret
            raise ValueError(f"token: character {number} of {len(bare)} is none of printable ASCII without spaces")
    return (("authorization", f"Bearer {bare}"),)


def check_secrecy(address: str, *, token: str | None, tls: Tls | None, insecure: bool) -> None:
    """Raises: ValueError where a token would go over a network that all between can read."""
    if token is not None and tls is None and not insecure and not is_on_this_machine(address):
        text = "expected tls=Tls(...), or insecure=True where the network is trusted"
        raise ValueError(f"token: would be sent in clear text to {address!r}; {text}")


def is_on_this_machine(address: str) -> bool:
    """Whether a target of gRPC, such as `host:port`, `ipv6:[::1]:1` or `unix:path`, never leaves this machine."""
    scheme, _, rest = address.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return True
    place = rest.rpartition("/")[2] if scheme in ("dns", "ipv4", "ipv6") else address
    return all(_is_loopback(_host(each)) for each in place.split(","))


def _host(place: str) -> str:
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place if place.count(":") > 1 else place.partition(":")[0]  # a bare IPv6 address has no port


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which may lead anywhere


def _pem(name: str, given: Pem | None, what: str) -> bytes | None:
    if given is None:
        return None
    content, origin = _content(name, given)
    if f"{what}-----".encode() not in content:
        raise ValueError(f"Tls: {name}: {origin} holds no PEM of a {what.lower()}, expected -----BEGIN {what}-----")
    if b"ENCRYPTED" in content:
        raise ValueError(f"Tls: {name}: {origin} is encrypted, expected a key without a passphrase")
    return content


def _content(name: str, given: Pem) -> tuple[bytes, str]:
    """Return what was given and how an error may call it: a key is never shown."""
    if isinstance(given, bytes):
        return given, "what was given"
    if isinstance(given, str) and "-----BEGIN" in given:
        return given.encode(), "what was given"
    if not isinstance(given, str | Path):
        raise TypeError(f"Tls: {name}: was {type(given).__name__}, expected a path or PEM as bytes")
    try:
        return Path(given).read_bytes(), str(given)
    except OSError as error:
        raise OSError(error.errno, f"Tls: {name} cannot be read: {error.strerror}", str(given)) from None


def _check_authority(pem: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except ssl.SSLError:
        raise ValueError("Tls: ca: the PEM is damaged, expected certificates of authorities") from None
