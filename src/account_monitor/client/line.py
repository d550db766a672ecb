"""Line: how the service is reached: address, TLS, token, and what keeps a connection alive."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Encrypt the line. PEM texts; `ca` None: the certificate authorities of this machine are trusted."""

    ca: bytes | None = None
    cert: bytes | None = None
    """Of this client, where the service asks for one; with `key`."""
    key: bytes | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Return it as gRPC wants it."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.cert)


def metadata_of(token: str | None) -> tuple[tuple[str, str], ...]:
    """Return what every call says of who asks."""
    return () if token is None else (("authorization", f"Bearer {token}"),)
